#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The main job with the source `nvme`: under passthrough writers, on a multipath head, through SIGKILL;
# and the race that a slow drive shows.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$PWD/build/e2e/trackctl
WRITER=$PWD/build/demo-writer
NAME=nvme

# fill DEVICE MIB
fill() { dd if=/dev/urandom of="$1" bs=1M count="$2" oflag=direct status=none; }
# Each block of a region is written once, with checksums that fio can verify elsewhere.
fio_on() {
	fio --name=once --filename="$1" --rw=randwrite --bs=4k --size=16M --iodepth=8 --verify=crc32c \
		--verify_state_save=0 --randseed=7 "${@:2}" >"$SCRATCH/fio.out" 2>&1
}
by_block() { fio_on "$1" --direct=1 --ioengine=io_uring "${@:2}"; }
by_passthrough() { fio_on "$1.ng" --ioengine=io_uring_cmd --cmd_type=nvme "${@:2}"; }
# The quiesce command waits for the writer $BACKGROUND to end.
until_it_ends() {
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.05; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	quiesce=(--handoff exec --exec-quiesce "sh $SCRATCH/stop" --exec-timeout 120s --quiesce-deadline 150s)
}

under() {
	local writer=$1 source=$2 target=$3
	fill "$source" 32
	background "$writer" "$source" --do_verify=0 --rate_iops=1000
	until_it_ends
	expect 0 migrate "$source" "$target" "${quiesce[@]}" --bandwidth 60M --verify --overwrite &&
		same "$source" "$target" "$(blockdev --getsize64 "$source")" && nothing_left || return 1
	said 'memory: .*, NVMe events [0-9.]+ KiB\); digest' || return 1
	said 'does not report allocated blocks' || return 1	# QEMU's model: it was asked, and all is read
	grep -q nvme <<< "$("$GODWIT" report "$SCRATCH/state")" || { echo "# it was not tracked by nvme"; return 1; }
	fio_on "$target" --direct=1 --ioengine=io_uring --verify_only || { tail -n 5 "$SCRATCH/fio.out"; return 1; }
}

# Every record that the file system has acknowledged is on the target.
frozen() {
	mkfs.ext4 -qF /dev/lab/a && mount_at m /dev/lab/a && mkdir "$SCRATCH/m/w" || return 1
	background "$WRITER" --run "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/writer" 2>&1
	wait_for test -s "$SCRATCH/acks" || return 1
	expect 0 migrate /dev/lab/a /dev/lab/b --handoff freeze --downtime-limit 10s --verify --overwrite || return 1
	wait "$BACKGROUND" 2>/dev/null
	umount "$SCRATCH/m"
	mount_at t /dev/lab/b && "$WRITER" --check "$SCRATCH/t/w" "$SCRATCH/acks" >"$SCRATCH/check" 2>&1 ||
		{ sed 's/^/# /' "$SCRATCH/check"; return 1; }
	umount "$SCRATCH/t" && e2fsck -fn /dev/lab/b >"$SCRATCH/fsck" 2>&1 || { sed 's/^/# /' "$SCRATCH/fsck"; return 1; }
	grep -q nvme <<< "$("$GODWIT" report "$SCRATCH/state")" && nothing_left
}

killed_and_continued() {
	local migration
	fill /dev/lab/a 64
	background migrate /dev/lab/a /dev/lab/b --handoff none --bandwidth 20M --verify --overwrite
	migration=$BACKGROUND
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
	sleep 1
	kill -KILL "$(pgrep -P "$migration" godwit || echo "$migration")"
	wait "$migration" 2>/dev/null
	# Nobody runs, and the programs go on marking.
	by_passthrough /dev/lab/a --do_verify=0 || { cat "$SCRATCH/fio.out"; return 1; }
	"$GODWIT" track status "$NAME" | sed 's/^/# /'
	expect 0 continue_migration && same /dev/lab/a /dev/lab/b && nothing_left &&
		by_block /dev/lab/b --verify_only
}

# The copier takes a mark and reads the old block while the write is still on its way; each block is
# written once, so that what was copied too early and not marked again at completion stays wrong.
slow_drive() {
	local rounds
	FAST=1 "$TRACKCTL" start "$NAME" /dev/lab/slow || return 1
	truncate -s 64M "$SCRATCH/target"
	background "$TRACKCTL" copy "$NAME" /dev/lab/slow "$SCRATCH/target" "$SCRATCH/until" >"$SCRATCH/copy"
	fio --name=slow --filename=/dev/lab/slow --rw=randwrite --bs=4k --size=1200k --direct=1 \
		--ioengine=io_uring --iodepth=32 --buffer_pattern=0x5a --output=/dev/null || return 1
	touch "$SCRATCH/until"
	wait "$BACKGROUND" || return 1
	"$TRACKCTL" stats "$NAME" | paste -sd' ' | sed 's/^/# /'
	"$TRACKCTL" stop "$NAME" || return 1
	rounds=$(sed 's/rounds //' "$SCRATCH/copy")
	echo "# $rounds rounds of copying"
	[ "$rounds" -ge 3 ] || { echo "# the copy did not overlap with the writes"; return 1; }
	same /dev/lab/slow "$SCRATCH/target" $((1200 << 10))	# only what was marked is copied
}

# Of 256 writes on their way to a drive that does 100 a second, some must be found in the kernel's
# tables when the programs are there, and the start returns only after them.
start_waits() {
	local result=0
	background fio --name=before --filename=/dev/lab/slow --rw=randwrite --bs=4k --size=16M --direct=1 \
		--ioengine=libaio --iodepth=256 --time_based --runtime=120 --output=/dev/null
	wait_for in_flight_on /dev/lab/slow 200 || return 1
	SOURCE=$1 DEBUG=1 FAST=1 "$TRACKCTL" start "$NAME" /dev/lab/slow 2>"$SCRATCH/err" || result=1
	kill -INT "$BACKGROUND"
	grep 'from before' "$SCRATCH/err" | sed 's/^/# /'
	grep -q '[1-9][0-9]* writes from before the tracking were in flight, and have ended' "$SCRATCH/err" ||
		{ tail -n 5 "$SCRATCH/err" | sed 's/^/# /'; result=1; }
	wait "$BACKGROUND"
	"$TRACKCTL" stop "$NAME" && return $result
}
in_flight_on() { [ "$(awk '{ print $2 }' "/sys/block/$(basename "$(realpath "$1")")/inflight")" -ge "$2" ]; }

start_surveys() {
	DEBUG=1 FAST=1 "$TRACKCTL" start "$NAME" "$1" 2>"$SCRATCH/err" && "$TRACKCTL" stop "$NAME" || return 1
	grep -q ' 0 writes from before the tracking' "$SCRATCH/err" ||
		{ tail -n 5 "$SCRATCH/err" | sed 's/^/# /'; return 1; }
}

run "a start waits for commands from before it (nvme)" start_waits nvme
run "a start waits for requests from before it (block)" start_waits block
run "a start on an idle multipath head" start_surveys /dev/lab/m
run "slow drive: what was copied too early is marked again" slow_drive
run "under io_uring passthrough" under by_passthrough /dev/lab/a /dev/lab/b
run "a multipath head" under by_block /dev/lab/m /dev/lab/b
run "live ext4, freeze" frozen
run "SIGKILL, writes, --continue" killed_and_continued
exit $FAILED
