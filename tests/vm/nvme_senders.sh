#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The source `nvme` and senders that not every kernel has: polled queues (nvme.poll_queues=1 on its command
# line), and commands that time out on a slow drive. Marks and exact record are what was sent.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$PWD/build/e2e/trackctl
NAME=senders
A=/dev/lab/a SLOW=/dev/lab/slow

# marked GRAINS: exactly these runs since the start, and the same in the exact record.
marked() {
	local marks recorded sectors
	marks=$("$TRACKCTL" take "$NAME" | paste -sd,) && recorded=$("$TRACKCTL" record "$NAME" 0 | paste -sd,) || return 1
	"$TRACKCTL" stats "$NAME" | paste -sd' ' | sed 's/^/# /'
	sectors=$(awk -F, -v OFS=, '{ for (i = 1; i <= NF; i++) { split($i, a, " "); $i = a[1] * 8 " " a[2] * 8 } print }' <<< "$1")
	[ "$marks" = "$1" ] && [ "$recorded" = "$sectors" ] && return
	echo "# marked: $marks; recorded: $recorded; expected: $1"
	return 1
}
start() { FAST=1 RECORD=$((1 << 20)) "$TRACKCTL" start "$NAME" "$1"; }
stop() { "$TRACKCTL" stop "$NAME" && nothing_left; }

# fio_to DEVICE FIRST COUNT: blocks of 4 KiB, each once.
fio_to() {
	fio --name=x --filename="$1" --bs=4k --offset=$(($2 * 4096)) --size=$(($3 * 4096)) --rw=randwrite --direct=1 \
		--ioengine=io_uring --iodepth=16 --output="$SCRATCH/fio" "${@:4}" || { sed 's/^/# /' "$SCRATCH/fio"; return 1; }
}

polled() {
	[ "$(cat /sys/module/nvme/parameters/poll_queues)" -gt 0 ] 2>/dev/null ||
		{ SKIP="the driver has no polled queues"; return 1; }
	start $A && fio_to $A 64 512 --hipri --iodepth=4 && marked '64 512' && stop
}

# More is in flight than the drive does within its time limit: attempts are aborted and sent again.
timeouts() {
	local queue before result
	queue=/sys/block/$(basename "$(realpath $SLOW)")/queue
	before=$(cat "$queue/io_timeout")
	echo 1000 >"$queue/io_timeout"
	start $SLOW && fio_to $SLOW 64 500 --iodepth=400 && dmesg | grep -q 'nvme.*timeout' && marked '64 500'
	result=$?
	echo "$before" >"$queue/io_timeout"
	"$TRACKCTL" stop "$NAME"
	return $result
}

run "polled queues" polled
run "commands that time out" timeouts
exit $FAILED
