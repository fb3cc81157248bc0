#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
truncate -s 4K a
godwit verify a nowhere
