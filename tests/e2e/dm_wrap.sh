#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `dm-wrap` prints the commands for this very device, and runs none of them.
. "$(dirname "$0")/lib.bash"

wrap() { "$GODWIT" dm-wrap "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"; }
# The commands, without what is for people.
commands() { grep -v '^#' "$SCRATCH/out"; }
printed() {
	diff <(printf '%s\n' "$@") <(commands) | sed 's/^/# /'
	diff -q <(printf '%s\n' "$@") <(commands) >/dev/null
}
free_name() { NAME=wrap$$; }

mounted() {
	free_name
	loop source 64M && mkfs.ext4 -qF "$LOOP" && mount_at m "$LOOP" || return 1
	expect 0 wrap "$LOOP" --name $NAME &&
		printed "umount '$SCRATCH/m'" "dmsetup create $NAME --table '0 131072 linear $LOOP 0'" \
			"mount /dev/mapper/$NAME '$SCRATCH/m'" &&
		grep -q "^# *godwit migrate $LOOP TARGET --handoff dm:$NAME\$" "$SCRATCH/out" || return 1
	# It has run nothing.
	grep -q "^$LOOP $SCRATCH/m " /proc/mounts && [ ! -e /dev/mapper/$NAME ]
}

idle() {
	loop source 64M
	expect 0 wrap "$LOOP" && printed "dmsetup create data --table '0 131072 linear $LOOP 0'" &&
		grep -q '^# Stop whatever uses it' "$SCRATCH/out"
}

swapped_to() {
	local result
	loop source 64M && mkswap "$LOOP" >/dev/null && swapon "$LOOP" || { SKIP="no swap here"; return 0; }
	expect 0 wrap "$LOOP" && grep -q '^# Something has it' "$SCRATCH/out"
	result=$?
	swapoff "$LOOP"
	return $result
}

# Of a partition its own sectors count; of a disk with partitions in use there is no such device.
partition() {
	loop source 64M
	addpart "$LOOP" 1 2048 65536 && wait_for test -b "${LOOP}p1" || { SKIP="no partitions"; return 0; }
	mkfs.ext4 -qF "${LOOP}p1" && mount_at m "${LOOP}p1" || return 1
	expect 0 wrap "${LOOP}p1" && grep -q "'0 65536 linear ${LOOP}p1 0'" "$SCRATCH/out" || return 1
	expect 3 wrap "$LOOP" && said 'mounted from a partition' && [ ! -s "$SCRATCH/out" ]
}

refused() {
	truncate -s 1M "$SCRATCH/file"
	expect 3 wrap "$SCRATCH/file" && said 'no block device' && expect 2 wrap
}

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
losetup -f >/dev/null 2>&1 || { echo "no loop device"; exit 77; }
run "a mounted device" mounted
run "an idle device" idle
run "a device in use otherwise" swapped_to
run "partitions" partition
run "what is no block device" refused
exit $FAILED
