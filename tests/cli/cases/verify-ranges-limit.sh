#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
truncate -s 1M a b
for i in 0 2 4 6; do
	printf x | dd of=b bs=4096 seek=$i conv=notrunc status=none
done
godwit verify a b --settle 1ms --ranges 2
