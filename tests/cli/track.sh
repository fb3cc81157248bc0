#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The track verbs on a loop device: what take tells, and that a mark goes only after it was told.
# shellcheck source=tests/cli/lib.bash
. "$(dirname "$0")/lib.bash"

[ "$(id -u)" = 0 ] || { skip "track" "needs root"; exit 0; }
grep -q ' /sys/fs/bpf bpf ' /proc/mounts || { skip "track" "no BPF file system on /sys/fs/bpf"; exit 0; }
truncate -s 64M "$SCRATCH/image"
loop=$(losetup --show -f "$SCRATCH/image") || { skip "track" "no loop device"; exit 0; }
name=cli$$
run=(--run-dir "$SCRATCH/run")

clean_up() {
	"$GODWIT" track stop "$name" -q "${run[@]}" 2>/dev/null
	losetup -d "$loop"
	rm -rf "$SCRATCH" "/var/lib/godwit/$name" "/var/lib/godwit/$name-dead"
}
trap clean_up EXIT

# write FIRST_4K COUNT_4K
write() { dd if=/dev/urandom of="$loop" bs=4096 seek="$1" count="$2" oflag=direct conv=notrunc status=none; }

# takes RANGES: exactly these, as "lba count lba count"
takes() {
	local got
	got=$("$GODWIT" track take "$name" "${run[@]}" | xargs) || return 1
	[ "$got" = "$1" ] || { echo "took \"$got\", not \"$1\""; return 1; }
}

# refuses STATUS WORD COMMAND...: with a message that holds the word, and nothing on stdout
refuses() {
	"${@:3}" >"$SCRATCH/out" 2>"$SCRATCH/err"
	local status=$?
	cat "$SCRATCH/err"
	[ $status = "$1" ] && grep -q -- "$2" "$SCRATCH/err" && [ ! -s "$SCRATCH/out" ]
}

dirty() { "$GODWIT" track status "$1" -o json | sed -n 's/.*"dirty_grains": \([0-9]*\).*/\1/p'; }
is_dirty() { [ "$(dirty "$name")" = "$1" ] || { echo "$(dirty "$name") grains are dirty, not $1"; return 1; }; }
fits_schema() { "$GODWIT" track "$@" -o json | python3 tests/cli/schema.py docs/schema/track.schema.json; }

check "start" "$GODWIT" track start "$loop" --name "$name" --grain 4K "${run[@]}"
[ $failed = 0 ] || exit 1
check "start twice is refused" refuses 3 "$name" "$GODWIT" track start "$loop" --name "$name" "${run[@]}"
check "start of a file is refused" refuses 3 "regular file" "$GODWIT" track start "$SCRATCH/image" "${run[@]}"
check "nothing is dirty at first" is_dirty 0
write 5 3
write 16383 1
check "status counts grains" is_dirty 4
check "status by device" [ "$(dirty "$loop")" = 4 ]
check "status fits its schema" fits_schema status "$name"
check "list has the name" grep -qx "$name" <("$GODWIT" track list)
check "take to a full disk is refused" refuses 4 "no mark was dropped" bash -c \
	'"$0" "$@" >/dev/full' "$GODWIT" track take "$name" "${run[@]}"
check "nothing was dropped" is_dirty 4
check "take tells the ranges" takes "40 24 131064 8"
check "take dropped them" is_dirty 0
check "take tells nothing twice" takes ""
write 0 1
check "take as JSON fits its schema" fits_schema take "$name" "${run[@]}"
check "take by device" test -z "$("$GODWIT" track take "$loop" "${run[@]}")"

# What a migration of the same disk holds as long as it lives.
write 1 1
for lock in "$SCRATCH"/run/*.lock; do
	exec 9<>"$lock"
	flock -n 9 || echo "not ok - a lock stayed behind"
done
check "take is refused while a migration runs" refuses 3 "migration" "$GODWIT" track take "$name" "${run[@]}"
check "stop is refused while a migration runs" refuses 3 "migration" "$GODWIT" track stop "$name" "${run[@]}"
check "status is not refused" is_dirty 1
exec 9>&-

# A migration of that name whose journal has no end: the last record is cut off.
truncate -s 64K "$SCRATCH/source" "$SCRATCH/target"
"$GODWIT" migrate "$SCRATCH/source" "$SCRATCH/target" -q --overwrite --handoff none \
	--name "$name-dead" "${run[@]}" 2>"$SCRATCH/err"
mv "/var/lib/godwit/$name-dead" "/var/lib/godwit/$name"
truncate -s -1 "/var/lib/godwit/$name/journal"
check "take is refused after a migration died" refuses 3 "did not end" "$GODWIT" track take "$name" "${run[@]}"
check "stop is refused after a migration died" refuses 3 "cleanup" "$GODWIT" track stop "$name" "${run[@]}"
check "nothing was taken meanwhile" is_dirty 1
rm -r "/var/lib/godwit/$name"

# The exact record, of another start: what was written, when, and how often does not matter.
recorded() {
	local got
	got=$("$GODWIT" track record "$name" 2>"$SCRATCH/err" | awk '$3 <= $4 && $4 < 3600 { print $1, $2, $5 }' | xargs) || return 1
	[ "$got" = "$1" ] || { echo "recorded \"$got\", not \"$1\""; return 1; }
}
warned() { grep -q "$1" "$SCRATCH/err"; }
sectors() { dd if=/dev/urandom of="$loop" bs=512 seek="$1" count="$2" iflag=fullblock oflag=direct conv=notrunc status=none; }
check "record without --record is refused" refuses 3 "no exact record" "$GODWIT" track record "$name"
"$GODWIT" track stop "$name" -q "${run[@]}"
check "start with a record" "$GODWIT" track start "$loop" --name "$name" --record-memory 384K "${run[@]}"
sectors 3 1
sectors 3 1
sectors 131071 1
blkdiscard -o 1M -l 64K "$loop"
check "record tells the sectors" recorded "3 1 2048 128 131071 1"
check "record fits its schema" fits_schema record "$name"
check "a take leaves it alone" test -n "$("$GODWIT" track take "$name" "${run[@]}")"
check "record tells them again" recorded "3 1 2048 128 131071 1"
# 1024 ranges have room.
fio --name=many --filename="$loop" --rw=write:1k --bs=512 --size=8M --offset=4M --number_ios=1200 --direct=1 \
	--ioengine=io_uring --output=/dev/null
"$GODWIT" track record "$name" >"$SCRATCH/record" 2>"$SCRATCH/err"
check "with no room left it becomes coarse" grep -q ' coarse$' "$SCRATCH/record"
check "and says so" warned "no room"
check "the coarse record fits its schema" fits_schema record "$name"

check "stop by device" "$GODWIT" track stop "$loop" "${run[@]}"
check "stop again is refused" refuses 3 "$name" "$GODWIT" track stop "$name" "${run[@]}"
check "status of nothing is refused" refuses 3 "$name" "$GODWIT" track status "$name"
exit $failed
