#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The main job with the source `block` on NVMe namespaces: raw under fio, a live ext4, a drive slow
# enough to show what a fast one hides, and what is refused.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$PWD/build/e2e/trackctl
WRITER=$PWD/build/demo-writer
NAME=block

fio_on() {
	fio --name=once --filename="$1" --rw=randwrite --bs=4k --size=24M --direct=1 --ioengine=io_uring \
		--iodepth=8 --verify=crc32c --verify_state_save=0 --randseed=7 "${@:2}" >"$SCRATCH/fio.out" 2>&1
}

# Each block of a region is written once while the copy runs; the quiesce command waits for the end.
raw_under_fio() {
	dd if=/dev/urandom of=/dev/lab/a bs=1M count=48 oflag=direct status=none
	background fio_on /dev/lab/a --do_verify=0 --rate_iops=1500
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.05; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	expect 0 migrate /dev/lab/a "$1" --track block --handoff exec --exec-quiesce "sh $SCRATCH/stop" --exec-timeout 120s \
		--quiesce-deadline 150s --bandwidth 60M --verify --overwrite || return 1
	same /dev/lab/a "$1" && nothing_left || return 1
	fio_on "$1" --verify_only && return 0
	tail -n 5 "$SCRATCH/fio.out" | sed 's/^/# /'
	return 1
}

# Every record that the file system has acknowledged is on the target, and the source takes no more.
live_ext4() {
	mkfs.ext4 -qF /dev/lab/a && mount_at m /dev/lab/a && mkdir "$SCRATCH/m/w" || return 1
	dd if=/dev/urandom of="$SCRATCH/m/ballast" bs=1M count=32 conv=fsync status=none
	sha256sum <"$SCRATCH/m/ballast" >"$SCRATCH/sum"
	background "$WRITER" --run "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/writer" 2>&1
	wait_for test -s "$SCRATCH/acks" || return 1
	expect 0 migrate /dev/lab/a /dev/lab/b --track block --handoff freeze --downtime-limit 10s --verify \
		--quiesce-deadline 150s --overwrite || return 1
	wait "$BACKGROUND" 2>/dev/null
	umount "$SCRATCH/m"
	mount_at t /dev/lab/b || return 1
	"$WRITER" --check "$SCRATCH/t/w" "$SCRATCH/acks" >"$SCRATCH/check" 2>&1 ||
		{ sed 's/^/# /' "$SCRATCH/check"; return 1; }
	sha256sum <"$SCRATCH/t/ballast" | cmp - "$SCRATCH/sum" || return 1
	umount "$SCRATCH/t"
	e2fsck -fn /dev/lab/b >"$SCRATCH/fsck" 2>&1 || { sed 's/^/# /' "$SCRATCH/fsck"; return 1; }
	nothing_left
}

# The copier takes a mark and reads the old block while the write is still on its way; each block is
# written once, so that what was copied too early and not marked again at completion stays wrong.
slow_drive() {
	local rounds
	FAST=1 SOURCE=block "$TRACKCTL" start "$NAME" /dev/lab/slow || return 1
	truncate -s 64M "$SCRATCH/target"
	background "$TRACKCTL" copy "$NAME" /dev/lab/slow "$SCRATCH/target" "$SCRATCH/until" >"$SCRATCH/copy"
	fio --name=slow --filename=/dev/lab/slow --rw=randwrite --bs=4k --size=1200k --direct=1 \
		--ioengine=io_uring --iodepth=32 --buffer_pattern=0x5a --output=/dev/null || return 1
	touch "$SCRATCH/until"
	wait "$BACKGROUND" || return 1
	"$TRACKCTL" stop "$NAME" || return 1
	rounds=$(sed 's/rounds //' "$SCRATCH/copy")
	echo "# $rounds rounds of copying"
	# One round would have seen each write only after its end.
	[ "$rounds" -ge 3 ] || { echo "# the copy did not overlap with the writes"; return 1; }
	same /dev/lab/slow "$SCRATCH/target"
}

multipath_refused() {
	touch "$SCRATCH/out"
	expect 3 "$GODWIT" track start /dev/lab/m --track block --name "$NAME" 2>"$SCRATCH/err" &&
		said 'multipath' && nothing_left
}

run "raw writes, fio's checksums on the target" raw_under_fio /dev/lab/b
run "live ext4, freeze" live_ext4
run "slow drive: what was copied too early is marked again" slow_drive
run "a multipath head is refused by the source block" multipath_refused
exit $FAILED
