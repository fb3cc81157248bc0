#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The source `block` on what a development machine does not have: device-mapper, md, virtio-blk, an
# NVMe namespace. After the start with its self-test, the marks are what was written, exactly.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
NAME=marks

# 4 KiB blocks FIRST and COUNT, by the way that WRITER names.
direct() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" oflag=direct conv=notrunc status=none; }
buffered() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" conv=notrunc,fsync status=none; }
zeroes() { blkdiscard -f -z -o $(($2 * 4096)) -l $(($3 * 4096)) "$1"; }
discard() { blkdiscard -f -o $(($2 * 4096)) -l $(($3 * 4096)) "$1"; }
queued() {
	fio --name=queued --filename="$1" --rw=randwrite --bs=4k --offset=$(($2 * 4096)) \
		--size=$(($3 * 4096)) --direct=1 --ioengine=io_uring --iodepth=32 --output=/dev/null
}

# Sectors of the device become blocks; neighbours become one.
taken() {
	local sector
	sector=$(blockdev --getss "$1")
	"$GODWIT" track take "$NAME" 2>"$SCRATCH/err" | awk -v n="$sector" '
		/^[0-9]/ { first = $1 * n / 4096; count = $2 * n / 4096
			if (at == first) { at += count; next }
			if (at != "") print from, at - from
			from = first; at = first + count }
		END { if (at != "") print from, at - from }'
}

# marks DEVICE WRITER...: each writes a range of its own, with gaps between.
marks() {
	local device=$1 writer at=16 want='' got
	shift
	expect 0 "$GODWIT" track start "$device" --track block --name "$NAME" --grain 4K >"$SCRATCH/out" \
		2>"$SCRATCH/err" || return 1
	for writer; do
		"$writer" "$device" $at 256 || { echo "# $writer failed"; return 1; }
		want+="$at 256"$'\n'
		at=$((at + 256 + 256))
	done
	dd if="$device" of=/dev/null bs=1M count=4 iflag=direct status=none
	got=$(taken "$device")
	[ "$got"$'\n' = "$want" ] || { echo "# taken: ${got//$'\n'/, }; written: ${want//$'\n'/, }"; return 1; }
	got=$(taken "$device")
	[ -z "$got" ] || { echo "# and then again: $got"; return 1; }
	expect 0 "$GODWIT" track stop "$NAME" 2>"$SCRATCH/err" && nothing_left
}

on_linear() {
	dmsetup create marks-linear --table "0 $(blockdev --getsz /dev/lab/b) linear /dev/lab/b 0" || return 1
	marks /dev/mapper/marks-linear direct buffered queued discard
	local result=$?
	dmsetup remove --retry marks-linear
	return $result
}

on_raid1() {
	local result
	mdadm --create /dev/md/marks --run --level=1 --raid-devices=2 --assume-clean --metadata=1.2 \
		--homehost=any /dev/lab/a /dev/lab/b >"$SCRATCH/md" 2>&1 || { sed 's/^/# /' "$SCRATCH/md"; return 1; }
	marks "$(realpath /dev/md/marks)" direct buffered queued discard
	result=$?
	mdadm --stop /dev/md/marks >"$SCRATCH/md" 2>&1
	mdadm --zero-superblock /dev/lab/a /dev/lab/b
	return $result
}

run "NVMe namespace, 512-byte blocks" marks /dev/lab/a direct buffered queued zeroes discard
run "NVMe namespace, 4096-byte blocks" marks /dev/lab/k direct buffered queued zeroes discard
run "virtio-blk" marks /dev/lab/v direct buffered queued zeroes discard
run "device-mapper (linear)" on_linear
run "md (raid1)" on_raid1
exit $FAILED
