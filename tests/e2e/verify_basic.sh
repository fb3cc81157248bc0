#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# godwit verify on real devices and files: what it finds, what it names, what it refuses.
. "$(dirname "$0")/lib.bash"

verify() {
	"$GODWIT" verify "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

# The ranges that were listed, as "FIRST-LAST FIRST-LAST".
ranges() {
	sed -n 's/^differs LBA \([0-9]*\) to \([0-9]*\) .*/\1-\2/p' "$SCRATCH/out" | paste -sd ' '
}

ranges_are() {
	[ "$(ranges)" = "$1" ] && return 0
	echo "# ranges '$(ranges)', expected '$1'"
	return 1
}

# value KEY: a number of the JSON document in $SCRATCH/out.
value() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
		"$SCRATCH/out" "$1"
}

value_is() {
	[ "$(value "$1")" = "$2" ] && return 0
	echo "# $1 is $(value "$1"), expected $2"
	return 1
}

# Turns over one byte.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc,fsync status=none
}

# pair SIZE [SECTOR]: two loop devices of the same random content.
pair() {
	head -c "$1" /dev/urandom >"$SCRATCH/a.img"
	cp "$SCRATCH/a.img" "$SCRATCH/b.img"
	loop a 0 "${2:-512}" && A=$LOOP && loop b 0 "${2:-512}" && B=$LOOP
}

equal_devices() {
	pair $((20 << 20)) "$1" && expect 0 verify "$A" "$B" && said '^same: 20.0 MiB'
}

# The first byte, the last one, both sides of a border between two reads, two neighbours.
differences_are_named() {
	local sector=$1 size=$((5 << 20)) lbas=$((4096 / $1))
	local last=$((size / sector - lbas))
	pair $size "$sector" || return 1
	expect 0 verify "$A" "$B" || return 1
	flip "$B" 0
	flip "$A" $((size - 1))
	flip "$B" $(((1 << 20) - 1))
	flip "$A" $((1 << 20))
	flip "$B" $(((3 << 20) + 5000))
	blockdev --flushbufs "$A" "$B"
	expect 1 verify "$A" "$B" || return 1
	ranges_are "0-$((lbas - 1)) $((255 * lbas))-$((257 * lbas - 1)) $((769 * lbas))-$((770 * lbas - 1)) $last-$((last + lbas - 1))" || return 1
	expect 1 verify -o json "$A" "$B" && value_is different_bytes $((5 * 4096)) &&
		value_is lba_bytes "$sector" && value_is ranges_total 4 &&
		value_is compared_bytes $size || return 1
	expect 1 verify --grain 1M "$A" "$B" || return 1
	ranges_are "0-$((512 * lbas - 1)) $((768 * lbas))-$((1280 * lbas - 1))"
}

partition_against_disk() {
	pair $((8 << 20)) || return 1
	addpart "$A" 1 2048 4096 || return 1
	wait_for test -b "${A}p1" || return 1
	dd if="$SCRATCH/a.img" bs=1M skip=1 count=2 status=none >"$SCRATCH/c.img"
	loop c 0 || return 1
	expect 0 verify "${A}p1" "$LOOP" && flip "$LOOP" 8192 &&
		expect 1 verify "${A}p1" "$LOOP" && ranges_are 16-23
	local result=$?
	drop_partition "$A" 1
	return $result
}

# Every size of a tail, file to file and file to device; the last byte counts.
tails() {
	local tail size
	for tail in 1 511 512 513 4095 4096 4097 8191; do
		size=$(((1 << 20) + tail))
		head -c $size /dev/urandom >"$SCRATCH/x"
		cp "$SCRATCH/x" "$SCRATCH/y"
		head -c 20000 /dev/urandom >>"$SCRATCH/y"	# more on the target is no difference
		expect 0 verify "$SCRATCH/x" "$SCRATCH/y" || return 1
		truncate -s $((2 << 20)) "$SCRATCH/y"
		attach "$SCRATCH/y" || return 1
		expect 0 verify "$SCRATCH/x" "$LOOP" || return 1
		flip "$LOOP" $((size - 1))
		blockdev --flushbufs "$LOOP"
		expect 1 verify "$SCRATCH/x" "$LOOP" || return 1
		expect 1 verify "$SCRATCH/x" "$SCRATCH/y" || return 1
		flip "$LOOP" $((size - 1))
		flip "$LOOP" $size
		blockdev --flushbufs "$LOOP"
		expect 0 verify "$SCRATCH/x" "$LOOP" || { echo "# tail $tail"; return 1; }
		detach "$LOOP"
		rm "$SCRATCH/y"
	done
}

# More differences than the table holds at once: still one range, and every byte counted.
table_overflows() {
	local size=$((1100 << 20))
	truncate -s $size "$SCRATCH/a.img"
	tr '\0' '\377' </dev/zero | head -c $size >"$SCRATCH/b.img"
	loop a 0 && A=$LOOP && loop b 0 && B=$LOOP || return 1
	expect 1 verify --settle 10ms -o json "$A" "$B" && value_is different_bytes $size &&
		value_is ranges_total 1 && value_is compared_bytes $size
}

list_is_bounded() {
	local i
	pair $((4 << 20)) || return 1
	for i in 1 3 5 7 9; do
		flip "$B" $((i * 8192))
	done
	blockdev --flushbufs "$B"
	expect 1 verify --ranges 2 "$A" "$B" && ranges_are "16-23 48-55" &&
		said '3 more ranges are not listed'
}

# sectors_read DEVICE
sectors_read() { awk '{ print $3 }' "/sys/block/${1#/dev/}/stat"; }
has_read() { [ $(($(sectors_read "$1") - $2)) -ge "$3" ]; }

# in_background OPTIONS DEVICES: stopped and killed by $VERIFYING, the process itself.
in_background() {
	background env --default-signal=INT "$GODWIT" verify "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	VERIFYING=$BACKGROUND
}

# Differs at the first look, is the same at the second: a write that was under way. What is stopped
# between them stays there; one that has had its second look by then is tried again.
in_flight() {
	local before read
	pair $((4 << 20)) || return 1
	for _ in {1..20}; do
		flip "$A" 70000
		blockdev --flushbufs "$A"
		before=$(sectors_read "$B")
		in_background --settle 3s -o json "$A" "$B"
		wait_for has_read "$B" "$before" 8192 || return 1
		kill -STOP "$VERIFYING"
		wait_for is_stopped "$VERIFYING" || return 1
		read=$(($(sectors_read "$B") - before))
		flip "$B" 70000
		blockdev --flushbufs "$B"
		kill -CONT "$VERIFYING"
		if [ $read = 8192 ]; then
			expect 0 wait "$VERIFYING" && value_is in_flight_bytes 4096 && value_is different_bytes 0
			return
		fi
		wait "$VERIFYING"
	done
	echo "# it was never stopped between two looks"
	return 1
}

# write_on DEVICE: another sixth block every 2 ms; then how many ms there were at most between two.
write_on() {
	rm -f "$SCRATCH/writing" "$SCRATCH/enough"
	background nice -n -10 python3 -c 'import itertools, mmap, os, sys, time
device, writing, enough = sys.argv[1:]
page = mmap.mmap(-1, 4096)
fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
last, longest = None, 0
for number in itertools.count():
    page[:8] = number.to_bytes(8, "little")
    os.pwritev(fd, [page], 5 * 4096)
    longest, last = max(longest, time.monotonic() - (last or time.monotonic())), time.monotonic()
    number == 10 and open(writing, "w").close()
    if os.path.exists(enough):
        break
    time.sleep(0.002)
print(int(longest * 1000))' "$1" "$SCRATCH/writing" "$SCRATCH/enough" >"$SCRATCH/longest" 2>/dev/null
	wait_for test -e "$SCRATCH/writing"
}

# Never the same twice: not called a difference, and not called the same. It may be, if the writer
# stood still between two looks; then once more.
never_settles() {
	pair $((4 << 20)) || return 1
	for _ in {1..20}; do
		write_on "$A" || return 1
		expect 1 verify --settle 100ms "$A" "$B" || return 1
		touch "$SCRATCH/enough"
		wait "$BACKGROUND" || return 1
		[ "$(cat "$SCRATCH/longest")" -lt 50 ] || grep -q '^still changes' "$SCRATCH/out" && break
	done
	said '^still changes LBA 40 to 47 ' && said '^still changing when the tries ran out: 4.0 KiB'
}

reads_no_faster_than_told() {
	pair $((32 << 20)) || return 1
	expect 0 verify --bandwidth 32M/s -o json "$A" "$B" || return 1
	[ "$(value elapsed_ns)" -ge 900000000 ] && [ "$(value elapsed_ns)" -lt 60000000000 ] &&
		return 0
	echo "# took $(value elapsed_ns) ns"
	return 1
}

refusals() {
	pair $((4 << 20)) || return 1
	truncate -s 3M "$SCRATCH/c.img"
	loop c 0 || return 1
	expect 3 verify "$A" "$A" && said 'are the same' || return 1
	expect 3 verify "$A" "$LOOP" && said 'smaller' || return 1
	expect 3 verify "$A" "$SCRATCH/nothing" && said 'cannot find .*nothing' || return 1
	expect 3 verify "$SCRATCH" "$A" && said 'neither a block device' || return 1
	expect 2 verify "$A" || return 1
	expect 2 verify --grain 5000 "$A" "$B"
}

# The backing file shrinks: reads behind its end fail. The end and the LBA are named.
read_errors() {
	pair $((4 << 20)) || return 1
	truncate -s 3M "$SCRATCH/b.img"
	expect 4 verify "$A" "$B" && said "reading target $B at LBA 6144 " || return 1
	expect 4 verify "$B" "$A" && said "reading source $B at LBA 6144 "
}

disappears() {
	local before
	pair $((16 << 20)) || return 1
	before=$(sectors_read "$B")
	in_background --bandwidth 1M/s "$A" "$B"
	wait_for has_read "$B" "$before" 1 || return 1
	# A loop device that is open goes only with its last user; its file goes at once.
	: >"$SCRATCH/b.img"
	expect 4 wait "$VERIFYING" && said "reading target $B at LBA"
}

interrupted() {
	local before
	pair $((16 << 20)) || return 1
	before=$(sectors_read "$B")
	in_background --bandwidth 1M/s "$A" "$B"
	wait_for has_read "$B" "$before" 1 || return 1
	kill -INT "$VERIFYING"
	expect 6 wait "$VERIFYING"
}

# A file system that has no direct I/O is read through the page cache.
without_direct_io() {
	mkdir "$SCRATCH/m"
	mount -t ramfs none "$SCRATCH/m" || { SKIP="no ramfs"; return 0; }
	MOUNTS+=("$SCRATCH/m")
	head -c 3000001 /dev/urandom >"$SCRATCH/m/x"
	cp "$SCRATCH/m/x" "$SCRATCH/y"
	expect 0 verify "$SCRATCH/m/x" "$SCRATCH/y" && flip "$SCRATCH/m/x" 3000000 &&
		expect 1 verify "$SCRATCH/m/x" "$SCRATCH/y" && ranges_are 5856-5859
}

# An ordinary user may compare what may be read, with little memory to lock.
as_ordinary_user() {
	command -v setpriv >/dev/null || { SKIP="no setpriv"; return 0; }
	chmod 755 "$SCRATCH"
	cp "$GODWIT" "$SCRATCH/godwit"
	head -c 3000001 /dev/urandom >"$SCRATCH/x"
	cp "$SCRATCH/x" "$SCRATCH/y"
	setpriv --reuid 65534 --clear-groups prlimit --memlock=6291456 \
		"$SCRATCH/godwit" verify "$SCRATCH/x" "$SCRATCH/y" >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect 0 test $? = 0
}

needs_loops() {
	[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
	losetup -f >/dev/null 2>&1 || { echo "no loop device"; exit 77; }
}

needs_loops
run "equal, 512 byte sectors" equal_devices 512
run "equal, 4096 byte sectors" equal_devices 4096
run "differences are named, 512 byte sectors" differences_are_named 512
run "differences are named, 4096 byte sectors" differences_are_named 4096
run "partition against a disk" partition_against_disk
run "tails of files" tails
run "more differences than fit at once" table_overflows
run "the list of ranges is bounded" list_is_bounded
run "what was under way is no difference" in_flight
run "what never settles is said" never_settles
run "bandwidth" reads_no_faster_than_told
run "refusals" refusals
run "read errors name end and LBA" read_errors
run "a device that disappears" disappears
run "SIGINT" interrupted
run "a file system without direct I/O" without_direct_io
run "ordinary user, little locked memory" as_ordinary_user
exit $FAILED
