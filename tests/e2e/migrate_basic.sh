#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whole migrations on real loop devices, with real BPF, under load.
. "$(dirname "$0")/lib.bash"

# fio writes each block of a region once, with checksums, and ends by itself; slow enough to overlap the copy.
fio_once() {
	fio --name=once --filename="$1" --rw=randwrite --bs=4k --size="$2" --direct="${3:-1}" \
		--ioengine=io_uring --iodepth=8 --rate_iops="${4:-6000}" --verify=crc32c \
		--do_verify=0 --verify_state_save=0 --randseed=7 --output="$SCRATCH/fio.out" >/dev/null 2>&1
}

fio_check() {
	fio --name=once --filename="$1" --rw=randwrite --bs=4k --size="$2" --direct=1 \
		--ioengine=io_uring --iodepth=8 --verify=crc32c --verify_only --randseed=7 \
		--output="$SCRATCH/fio.verify" >/dev/null 2>&1 && return 0
	tail -n 5 "$SCRATCH/fio.verify" | sed 's/^/# /'
	return 1
}

raw_under_fio() {
	local source target
	loop source 512M; source=$LOOP
	loop target 512M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M count=300 oflag=direct status=none
	background fio_once "$source" 64M
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.02; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	expect 0 migrate "$source" "$target" --handoff exec --exec-quiesce "sh $SCRATCH/stop" \
		--exec-timeout 60s --quiesce-deadline 90s --bandwidth 200M --verify || return 1
	same "$source" "$target" && fio_check "$target" 64M && nothing_left
}

fs_under_fio() {
	local source target type=$1
	loop source 512M; source=$LOOP
	loop target 512M; target=$LOOP
	"mkfs.$type" -q "$source" || return 1
	mount_at m "$source" || return 1
	dd if=/dev/urandom bs=1M count=150 status=none | tee "$SCRATCH/m/ballast" | sha256sum >"$SCRATCH/sum"
	background fio_once "$SCRATCH/m/once" 48M "$2" 5000
	sleep 0.3
	# fio keeps its lock file and state out of the way of the freeze: it writes below the mount only.
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.05; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	expect 0 migrate "$source" "$target" --handoff freeze --downtime-limit 2s --bandwidth 100M \
		--verify || return 1
	wait_for sh -c "! kill -0 $BACKGROUND 2>/dev/null" || return 1
	same "$source" "$target" || return 1
	umount "$SCRATCH/m"
	mount_at t "$target" || return 1
	sha256sum <"$SCRATCH/t/ballast" | cmp - "$SCRATCH/sum" || return 1
	umount "$SCRATCH/t"
	case $type in
	ext4) e2fsck -fn "$target" >"$SCRATCH/fsck" 2>&1 ;;
	xfs) xfs_repair -n "$target" >"$SCRATCH/fsck" 2>&1 ;;
	esac || { sed 's/^/# /' "$SCRATCH/fsck"; return 1; }
	nothing_left
}

# Acknowledged buffered data that is still in the page cache when the writers stop.
page_cache() {
	local source target
	loop source 128M; source=$LOOP
	loop target 128M; target=$LOOP
	mkfs.ext4 -q "$source" && mount_at m "$source" || return 1
	printf 'dd if=/dev/urandom of=%s/m/late bs=64k count=200 status=none\nsha256sum <%s/m/late >%s/sum\n' \
		"$SCRATCH" "$SCRATCH" "$SCRATCH" >"$SCRATCH/late"
	# Written at the quiesce point itself, by the command, and never synced.
	expect 0 migrate "$source" "$target" --handoff exec \
		--exec-quiesce "sh $SCRATCH/late && fsfreeze -f $SCRATCH/m" \
		--exec-abort "fsfreeze -u $SCRATCH/m" || return 1
	fsfreeze -u "$SCRATCH/m"
	umount "$SCRATCH/m"
	mount_at t "$target" || return 1
	sha256sum <"$SCRATCH/t/late" | cmp - "$SCRATCH/sum"
}

# A raw writer through the page cache, nothing synced: only the fsync of the device brings it out.
page_cache_raw() {
	local source target
	loop source 64M; source=$LOOP
	loop target 64M; target=$LOOP
	printf 'dd if=/dev/urandom of=%s bs=64k seek=100 count=100 conv=notrunc,nocreat status=none\n' \
		"$source" >"$SCRATCH/late"
	expect 0 migrate "$source" "$target" --handoff exec --exec-quiesce "sh $SCRATCH/late" || return 1
	same "$source" "$target" && [ "$(od -An -tx1 -N16 -j$((110 * 65536)) "$target" | tr -d ' 0\n')" != "" ]
}

sectors() {
	local source target
	loop source "$3" "$1"; source=$LOOP
	loop target "$4" "$2"; target=$LOOP
	dd if=/dev/urandom of="$source" bs=64k count=300 oflag=direct status=none
	dd if=/dev/urandom of="$source" bs=4k seek=$(($(blockdev --getsize64 "$source") / 4096 - 1)) \
		count=1 oflag=direct status=none
	expect 0 migrate "$source" "$target" --handoff none --verify "${@:5}" || return 1
	same "$source" "$target" "$(blockdev --getsize64 "$source")"
}

# A tail of 512-byte sectors that is no multiple of the grain.
odd_tail() {
	local source target
	loop source $((64 * 1024 * 1024 + 3 * 512)); source=$LOOP
	loop target $((64 * 1024 * 1024 + 3 * 512)); target=$LOOP
	dd if=/dev/urandom of="$source" bs=512 seek=$((64 * 2048 - 5)) count=8 oflag=direct status=none
	expect 0 migrate "$source" "$target" --handoff none --verify --grain "$1" || return 1
	same "$source" "$target"
}

# From a partition to a whole disk and back, with writers on the partition.
partition() {
	local disk target part
	loop disk 256M; disk=$LOOP
	loop target 128M; target=$LOOP
	addpart "$disk" 1 2048 262144 || { SKIP="addpart does not work here"; return 0; }
	part=${disk}p1
	wait_for test -b "$part" || return 1
	dd if=/dev/urandom of="$part" bs=1M count=100 oflag=direct status=none
	background fio_once "$part" 24M 1 8000
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.02; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	expect 0 migrate "$part" "$target" --handoff exec --exec-quiesce "sh $SCRATCH/stop" \
		--quiesce-deadline 60s || return 1
	same "$part" "$target" && fio_check "$target" 24M || return 1
	dd if=/dev/urandom of="$target" bs=1M seek=20 count=10 oflag=direct status=none
	expect 0 migrate "$target" "$part" --handoff none --overwrite || return 1
	same "$part" "$target" || return 1
	drop_partition "$disk" 1
}

discards() {
	local source target
	loop source 512M; source=$LOOP
	loop target 512M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M oflag=direct status=none 2>/dev/null
	background fio --name=trim --filename="$source" --rw=randtrimwrite --bs=16k,16k,64k --size=256M \
		--direct=1 --ioengine=io_uring --iodepth=8 --rate_iops=800 --time_based --runtime=30 \
		--output=/dev/null
	local fio=$BACKGROUND
	background sh -c "sleep 1; exec blkdiscard -o $((300 << 20)) -l $((150 << 20)) '$source'"
	expect 0 migrate "$source" "$target" --handoff exec --bandwidth 150M \
		--exec-quiesce "kill -TERM $fio; while kill -0 $fio || kill -0 $BACKGROUND; do sleep 0.02; done 2>/dev/null" \
		--quiesce-deadline 60s --verify || return 1
	same "$source" "$target"
}

# A bio-based source: block_rq_* never fires there.
zram() {
	local id source target
	[ -e /sys/class/zram-control/hot_add ] || { SKIP="no zram"; return 0; }
	id=$(cat /sys/class/zram-control/hot_add) || { SKIP="zram cannot be added"; return 0; }
	source=/dev/zram$id
	echo 128M >"/sys/block/zram$id/disksize"
	wait_for test -b "$source" || return 1
	loop target 128M 4096; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M count=64 oflag=direct status=none
	background fio_once "$source" 24M 1 6000
	printf 'while kill -0 %s 2>/dev/null; do sleep 0.02; done\n' "$BACKGROUND" >"$SCRATCH/stop"
	expect 0 migrate "$source" "$target" --handoff exec --bandwidth 100M \
		--exec-quiesce "sh $SCRATCH/stop" --quiesce-deadline 60s
	local result=$?
	if [ $result = 0 ]; then
		same "$source" "$target" && fio_check "$target" 24M
		result=$?
	fi
	remove_zram "$id"
	return $result
}

files() {
	local source target
	truncate -s $((40 * 1024 * 1024 + 777)) "$SCRATCH/source.raw"
	dd if=/dev/urandom of="$SCRATCH/source.raw" bs=1M seek=3 count=5 conv=notrunc status=none
	printf 'the end' | dd of="$SCRATCH/source.raw" bs=1 seek=$((40 * 1024 * 1024 + 700)) conv=notrunc status=none
	expect 0 migrate "$SCRATCH/source.raw" "$SCRATCH/target.raw" --verify || return 1
	cmp "$SCRATCH/source.raw" "$SCRATCH/target.raw" || return 1
	# Holes are kept: the copy takes no more room than the data.
	[ "$(stat -c %b "$SCRATCH/target.raw")" -le $(((5 << 20) / 512 + 512)) ] ||
		{ echo "# target takes $(stat -c %b "$SCRATCH/target.raw") blocks"; return 1; }
	rm -rf "$SCRATCH/state"
	loop device 64M; target=$LOOP
	dd if=/dev/urandom of="$target" bs=1M oflag=direct status=none 2>/dev/null
	expect 0 migrate "$SCRATCH/source.raw" "$target" --overwrite --verify || return 1
	same "$SCRATCH/source.raw" "$target" $((40 * 1024 * 1024 + 777))
}

# What is zero on the source must be zero on a target that held something else.
zeroes() {
	local source target
	loop source 128M; source=$LOOP
	loop target 128M; target=$LOOP
	dd if=/dev/urandom of="$target" bs=1M oflag=direct status=none 2>/dev/null
	dd if=/dev/urandom of="$source" bs=4k seek=100 count=3 oflag=direct status=none
	expect 0 migrate "$source" "$target" --handoff none --overwrite --verify || return 1
	same "$source" "$target" || return 1
	# And it was not written as data.
	"$GODWIT" report "$SCRATCH/state" -o json >"$SCRATCH/report" || return 1
	python3 - "$SCRATCH/report" <<-'PY'
		import json, sys
		report = json.load(open(sys.argv[1]))
		assert report["totals"]["written_bytes"] < 1 << 20, report["totals"]
		assert report["totals"]["zeroed_bytes"] > 120 << 20, report["totals"]
	PY
}

target_is_zero() {
	local source target
	loop source 128M; source=$LOOP
	loop target 128M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M seek=64 count=1 oflag=direct status=none
	expect 0 migrate "$source" "$target" --handoff none --target-is-zero --verify || return 1
	same "$source" "$target" && [ "$(stat -c %b "$SCRATCH/target.img")" -lt 4096 ]
}

verify_after() {
	local source target
	loop source 128M; source=$LOOP
	loop target 128M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M oflag=direct status=none 2>/dev/null
	# The new owner writes to the target at once; that is left out and nothing else.
	expect 0 migrate "$source" "$target" --handoff exec --exec-quiesce true --verify=after \
		--exec-resume "dd if=/dev/zero of=$target bs=1M seek=10 count=5 oflag=direct status=none" ||
		return 1
	said 'left out|excluded|verified'
}

resync_fresh() {
	local source target
	loop source 128M; source=$LOOP
	loop target 128M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M oflag=direct status=none 2>/dev/null
	dd if="$source" of="$target" bs=1M oflag=direct status=none 2>/dev/null
	dd if=/dev/urandom of="$target" bs=4k seek=777 count=5 oflag=direct status=none
	expect 0 migrate "$source" "$target" --handoff none --overwrite --resync || return 1
	same "$source" "$target" || return 1
	"$GODWIT" report "$SCRATCH/state" -o json >"$SCRATCH/report" || return 1
	python3 -c "import json; r = json.load(open('$SCRATCH/report')); assert r['totals']['written_bytes'] == 5 * 4096, r['totals']"
}

if ! needs_bpf; then
	echo "ok - whole migrations # SKIP $SKIP"
	exit 0
fi
run "raw device under fio, exec" raw_under_fio
run "ext4 under fio with direct I/O, freeze" fs_under_fio ext4 1
run "ext4 under buffered fio, freeze" fs_under_fio ext4 0
run "XFS under fio with direct I/O, freeze" fs_under_fio xfs 1
run "data in a mounted file system's page cache" page_cache
run "data in the device's page cache" page_cache_raw
run "sectors 512 to 512" sectors 512 512 64M 80M
run "sectors 4096 to 4096" sectors 4096 4096 64M 64M
run "sectors 4096 to 512" sectors 4096 512 64M 64M
run "coarse grain" sectors 512 512 64M 64M --grain 1M
run "tail of three sectors, grain 4K" odd_tail 4K
run "tail of three sectors, grain 64K" odd_tail 64K
run "partition to disk and back" partition
run "discard-heavy load" discards
run "zram, a bio-based source" zram
run "regular files, holes kept" files
run "zeroes replace what the target held" zeroes
run "target known to be zero" target_is_zero
run "verify after the switch leaves out what the new owner wrote" verify_after
run "resync writes only what differs" resync_fresh
exit $FAILED
