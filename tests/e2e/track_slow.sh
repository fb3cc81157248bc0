#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# Marks at completion, on a device slow enough for it to matter: the copier takes a mark, and reads
# the old block while the write is still under way. Each block is written once, so that what was
# copied too early and is not marked again stays wrong. A fast device never shows this.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$(realpath "${GW_BUILD:-build}/e2e/trackctl")
BLOCKS=2048
IOPS=400
export FAST=1
GW_TEST_DIR=/var/tmp	# on a disk, not in memory

# The disk below the file system that holds DIR, as major:minor; empty if there is none.
disk_below() {
	local dev
	dev=$(findmnt -rno MAJ:MIN -T "$1" | head -n 1) || return 1
	[ -e "/sys/dev/block/$dev" ] || return 1
	[ ! -e "/sys/dev/block/$dev/partition" ] || dev=$(cat "/sys/dev/block/$dev/../dev")
	echo "$dev"
}

# A cgroup whose writes to disk $1 are throttled to $2 a second; its path in $GROUP.
throttle() {
	GROUP=/sys/fs/cgroup/blkio/godwit-test-$$
	if mkdir "$GROUP" 2>/dev/null; then
		echo "$1 $2" >"$GROUP/blkio.throttle.write_iops_device" && return 0
		rmdir "$GROUP"
	fi
	GROUP=/sys/fs/cgroup/godwit-test-$$
	grep -qs '\bio\b' /sys/fs/cgroup/cgroup.controllers || return 1
	echo +io >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
	mkdir "$GROUP" && echo "$1 wiops=$2" >"$GROUP/io.max"
}

# write_slowly DEVICE BLOCKS: each once, by somebody who is throttled.
write_slowly() {
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$1/cgroup.procs" && exec fio --name=slow --filename="$2" --rw=randwrite \
		--bs=4k --size="$3" --direct=1 --ioengine=io_uring --iodepth=32 --randrepeat=0 \
		--buffer_pattern=0x5a --output=/dev/null' bash "$GROUP" "$1" $(($2 * 4096))
}

# A loop device over a disk that can be slowed to $1 writes a second, in $LOOP; else a reason to SKIP.
slow_loop() {
	local disk
	needs_bpf || return
	disk=$(disk_below "$GW_TEST_DIR") || { SKIP="$GW_TEST_DIR is on no disk of its own"; return 1; }
	# Allocated, so that a write of the file is a write of the disk.
	fallocate -l $((BLOCKS * 4096)) "$SCRATCH/source.img"
	dd if=/dev/zero of="$SCRATCH/source.img" bs=1M count=$((BLOCKS / 256)) conv=notrunc,fsync \
		status=none
	loop source $((BLOCKS * 4096)) || return 1
	[ "$(losetup -nO DIO "$LOOP")" -eq 1 ] || { SKIP="no direct I/O on $GW_TEST_DIR"; return 1; }
	throttle "$disk" "$1" || { SKIP="no cgroup that throttles block devices"; return 1; }
}

slow_device() {
	local source target name=slow$$ rounds result=0
	slow_loop $IOPS || return
	source=$LOOP
	target=$SCRATCH/target
	truncate -s $((BLOCKS * 4096)) "$target"
	"$TRACKCTL" start "$name" "$source" || { rmdir "$GROUP"; return 1; }
	background "$TRACKCTL" copy "$name" "$source" "$target" "$SCRATCH/until" \
		>"$SCRATCH/copy.out"
	local start=$SECONDS
	write_slowly "$source" $BLOCKS || result=1
	local took=$((SECONDS - start))
	touch "$SCRATCH/until"
	wait "$BACKGROUND" || result=1
	rounds=$(sed 's/rounds //' "$SCRATCH/copy.out")
	"$TRACKCTL" stats "$name"
	"$TRACKCTL" stop "$name" || result=1
	wait_for rmdir "$GROUP"
	echo "# $rounds rounds of copying in $took s"
	[ "$took" -ge $((BLOCKS / IOPS / 2)) ] || { SKIP="the device could not be slowed"; return; }
	blockdev --flushbufs "$source"
	if ! cmp -l "$source" "$target" | awk '{ b[int(($1 - 1) / 4096)] }
		END { n = length(b); if (n > 0) print "# " n " blocks of source and target differ"; exit n > 0 }'; then
		result=1
	fi
	return $result
}

writes_in_flight() { [ "$(awk '{ print $2 }' "/sys/block/${LOOP#/dev/}/inflight")" -ge "$1" ]; }

# A copier that read these blocks now would have the old data, and if the end of their writes is not
# seen either, nothing would tell. Others write all the while: the queue is never empty.
start_waits() {
	local name=slow$$ slow fast before=6 result=0
	slow_loop 1 || return
	background write_slowly "$LOOP" $before
	slow=$BACKGROUND
	wait_for writes_in_flight $((before - 2)) || result=1
	background fio --name=fast --filename="$LOOP" --rw=randwrite --bs=4k --offset=1M --size=4M \
		--time_based --runtime=120 --direct=1 --ioengine=io_uring --iodepth=4 --output=/dev/null
	fast=$BACKGROUND
	"$TRACKCTL" start "$name" "$LOOP" || result=1
	dd if="$LOOP" bs=4k count=$before iflag=direct status=none | tr -d '\132' >"$SCRATCH/old"
	kill -0 "$fast" || { echo "# the other writer has ended"; result=1; }
	kill -INT "$fast"
	wait "$slow" "$fast"
	"$TRACKCTL" stats "$name"
	"$TRACKCTL" stop "$name" || result=1
	wait_for rmdir "$GROUP"
	[ ! -s "$SCRATCH/old" ] || { echo "# writes from before the start are still under way: what was read and what was written differ"; result=1; }
	return $result
}

run "a start waits for writes from before it, and for no others" start_waits
run "a slow device: what was copied too early is marked again at completion" slow_device
exit $FAILED
