#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Behind -- a word is an operand whatever it looks like.
truncate -s 64K ./-v ./--json
godwit verify -q -- -v --json
