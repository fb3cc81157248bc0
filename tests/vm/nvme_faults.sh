#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The main job with the source `nvme` while drives misbehave: controllers are reset, paths of a
# multipath head in turn, commands time out, the target is pulled out, or the source.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
NAME=nvme

# fill DEVICE MIB
fill() { dd if=/dev/urandom of="$1" bs=1M count="$2" oflag=direct status=none; }
# Each block of a region is written once, with checksums that fio can verify elsewhere.
fio_on() {
	fio --name=once --filename="$1" --rw=randwrite --bs=4k --size=16M --iodepth=8 --verify=crc32c \
		--verify_state_save=0 --randseed=7 "${@:2}" >"$SCRATCH/fio.out" 2>&1
}
by_block() { fio_on "$1" --direct=1 --ioengine=io_uring "${@:2}"; }
# The quiesce command waits for the writer $BACKGROUND to end.
until_it_ends() {
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.05; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	quiesce=(--handoff exec --exec-quiesce "sh $SCRATCH/stop" --exec-timeout 120s --quiesce-deadline 150s)
}

resets() {
	local controllers=("$@") i
	for ((i = 0; i < 6; i++)); do
		sleep 0.7
		nvme reset "${controllers[i % ${#controllers[@]}]}" || return 1
	done
}

through_resets() {
	local source=$1 writer resetter
	shift
	fill "$source" 32
	background resets "$@"
	resetter=$BACKGROUND
	background by_block "$source" --do_verify=0 --rate_iops=1000
	writer=$BACKGROUND
	until_it_ends
	expect 0 migrate "$source" /dev/lab/b "${quiesce[@]}" --bandwidth 30M --verify --overwrite || return 1
	wait "$resetter" || { echo "# a reset failed"; return 1; }
	wait "$writer" || { echo "# the writer failed"; tail -n 5 "$SCRATCH/fio.out"; return 1; }
	same "$source" /dev/lab/b "$(blockdev --getsize64 "$source")" && nothing_left &&
		by_block /dev/lab/b --verify_only
}

# 400 writes to a drive that does 100 a second, each with a second's time: they are aborted, the controller
# is reset, they are sent again. Once the source is tracked, until something has timed out.
timeouts_so_far() { dmesg | grep -c 'nvme.*timeout'; }
impatient_writer() {
	local round before status=1
	before=$(timeouts_so_far)
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" &&
		for round in 1 2 3 4 5; do
			by_block "$SLOW" --do_verify=0 --iodepth=400 --size=1600K || break
			[ "$(timeouts_so_far)" = "$before" ] || { status=0; break; }
		done
	[ $status = 0 ] || tail -n 5 "$SCRATCH/fio.out"
	echo "# the writer is done in round $round"
	touch "$SCRATCH/written"
	return $status
}
timeouts_on() {
	local writer
	fill $SLOW 32
	background impatient_writer
	writer=$BACKGROUND
	expect 0 migrate $SLOW /dev/lab/b --handoff exec --exec-quiesce "until [ -e $SCRATCH/written ]; do sleep 0.05; done" \
		--exec-timeout 120s --quiesce-deadline 150s --verify --overwrite || return 1
	wait "$writer" || { echo "# the writer failed, or nothing timed out"; return 1; }
	same $SLOW /dev/lab/b 67108864 && nothing_left && said '.source.: no answer in time to Write' || return 1
	by_block /dev/lab/b --size=1600K --verify_only || { tail -n 5 "$SCRATCH/fio.out"; return 1; }
	"$GODWIT" events "$SCRATCH/state" --kind timeouts >"$SCRATCH/events" &&
		grep -q 'source  no answer in time to Write: NSID' "$SCRATCH/events" && return
	echo "# the event log tells of no timeout"
	return 1
}
SLOW=/dev/lab/slow
through_timeouts() {
	local queue retries=/sys/module/nvme_core/parameters/max_retries patience tries result
	queue=/sys/block/$(basename "$(realpath $SLOW)")/queue
	patience=$(cat "$queue/io_timeout") tries=$(cat $retries)
	echo 1000 >"$queue/io_timeout"
	# The drive counts each attempt: what is sent again has to wait for it.
	echo 255 >$retries
	timeouts_on
	result=$?
	echo "$patience" >"$queue/io_timeout"
	echo "$tries" >$retries
	return $result
}

# The source goes on; what it is told is that the target failed.
target_pulled_out() {
	local controller status
	fill /dev/lab/a 64
	controller=$(basename "$(realpath /dev/lab/b.ctrl)")
	background migrate /dev/lab/a /dev/lab/b --handoff none --bandwidth 10M --overwrite
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
	sleep 1
	echo 1 >"/sys/class/nvme/$controller/device/remove"
	wait "$BACKGROUND"
	status=$?
	[ $status = 4 ] || [ $status = 7 ] || { echo "# exit status $status"; tail -n 5 "$SCRATCH/err"; return 1; }
	by_block /dev/lab/a --do_verify=1 || { echo "# the source does not go on"; return 1; }
	"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >/dev/null 2>&1
	echo 1 >/sys/bus/pci/rescan
	tools/lab/guest/drives wait && nothing_left
}

# Nobody can go on: the exit code says so, and what is left can be cleaned up.
source_pulled_out() {
	local controller status
	fill /dev/lab/a 64
	controller=$(basename "$(realpath /dev/lab/a.ctrl)")
	background migrate /dev/lab/a /dev/lab/b --handoff none --bandwidth 10M --overwrite
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
	sleep 1
	echo 1 >"/sys/class/nvme/$controller/device/remove"
	wait "$BACKGROUND"
	status=$?
	[ $status = 4 ] || [ $status = 7 ] || { echo "# exit status $status"; tail -n 5 "$SCRATCH/err"; return 1; }
	"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >/dev/null 2>&1
	echo 1 >/sys/bus/pci/rescan
	tools/lab/guest/drives wait && nothing_left
}

run "through resets" through_resets /dev/lab/a /dev/lab/a.ctrl
run "through resets of both paths in turn" through_resets /dev/lab/m /dev/lab/m.ctrl /dev/lab/m.ctrl2
run "through timeouts of the source" through_timeouts
run "the target is pulled out" target_pulled_out
run "the source is pulled out" source_pulled_out
exit $FAILED
