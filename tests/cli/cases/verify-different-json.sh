#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
truncate -s 1M a b
printf x | dd of=b bs=1 seek=4097 conv=notrunc status=none
godwit verify a b --settle 1ms -o json
