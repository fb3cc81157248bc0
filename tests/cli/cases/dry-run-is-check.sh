#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
truncate -s 1M a
godwit check a a >check
godwit migrate --dry-run a a >dry-run
status=$?
grep -v -e rate -e "read at" check >check.1
grep -v -e rate -e "read at" dry-run | cmp - check.1 || exit 1
exit $status
