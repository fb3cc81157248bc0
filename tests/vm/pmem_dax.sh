#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory with DAX: a store reaches it by no bio, so that no tracepoint tells. The source `block`
# must not begin with such a disk. Needs a guest with memmap=SIZE!START on its command line.
. "$(dirname "$0")/../e2e/lib.bash"

NAME=dax$$

refused() {
	local disk=/dev/pmem0 target
	mkfs.ext4 -q -b 4096 -F "$disk" && mount_at mounted "$disk" dax=always || return 1
	loop target 64M && target=$LOOP || return 1
	touch "$SCRATCH/out"
	expect 3 "$GODWIT" track start "$disk" --name "$NAME" 2>"$SCRATCH/err" && said "DAX" || return 1
	expect 3 migrate "$disk" "$target" && said "DAX" && nothing_left
}

modprobe nd_e820 2>/dev/null
modprobe nd_pmem 2>/dev/null
if [ ! -b /dev/pmem0 ]; then
	echo "ok - memory with DAX # SKIP no /dev/pmem0"
	exit 0
fi
needs_bpf || { echo "ok - memory with DAX # SKIP $SKIP"; exit 0; }
run "memory with DAX is refused" refused
exit $FAILED
