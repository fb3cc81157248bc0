#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The main job with the source `nvme` while drives misbehave: controllers are reset, paths of a
# multipath head in turn, the target is pulled out, or the source.
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

# The source goes on; what it is told is that the target failed.
target_pulled_out() {
	local controller status
	fill /dev/lab/a 64
	controller=$(basename "$(realpath /dev/lab/b.ctrl)")
	background migrate /dev/lab/a /dev/lab/b --handoff none --bandwidth 10M --overwrite
	wait_for 180 test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
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
	wait_for 180 test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
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
run "the target is pulled out" target_pulled_out
run "the source is pulled out" source_pulled_out
exit $FAILED
