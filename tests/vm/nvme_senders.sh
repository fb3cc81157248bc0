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

timeouts_so_far() { dmesg | grep -c 'nvme.*timeout'; }

# More is in flight than the drive does within its time limit: attempts are aborted, then the controller is
# reset and all are sent again. As often as it takes, for the drive counts each attempt, and a request
# keeps the limit that it began with.
timeouts() {
	local queue retries=/sys/module/nvme_core/parameters/max_retries patience tries before
	queue=/sys/block/$(basename "$(realpath $SLOW)")/queue
	patience=$(cat "$queue/io_timeout") tries=$(cat $retries) before=$(timeouts_so_far)
	echo 1000 >"$queue/io_timeout"
	echo 255 >$retries
	start $SLOW && until_one_times_out "$before" && marked '64 400'
	local result=$?
	echo "$patience" >"$queue/io_timeout"
	echo "$tries" >$retries
	"$TRACKCTL" stop "$NAME"
	return $result
}
# A guest that gets no time of its host sends so slowly that nothing has to wait.
until_one_times_out() {
	local round
	for round in 1 2 3 4 5; do
		fio_to $SLOW 64 400 --iodepth=400 || return 1
		echo "# round $round: $(($(timeouts_so_far) - $1)) lines about timeouts"
		[ "$(timeouts_so_far)" = "$1" ] || return 0
	done
	return 1
}

run "polled queues" polled
run "commands that time out" timeouts
exit $FAILED
