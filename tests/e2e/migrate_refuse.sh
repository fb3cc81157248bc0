#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Refusals: each names the thing and the way out, has its exit code, and leaves source and
# target as they were, and nothing of its own behind.
. "$(dirname "$0")/lib.bash"

NAME=refuse$$

# pair [SIZE] [SECTOR] [TARGET SECTOR]: S, with content, and T.
pair() {
	loop source "${1:-16M}" "${2:-512}" && S=$LOOP || return 1
	loop target "${1:-16M}" "${3:-${2:-512}}" && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M count=8 oflag=direct status=none
	touch "$SCRATCH/out" "$SCRATCH/err"
}

contents() {
	sync "$SCRATCH"/*.img 2>/dev/null
	sha256sum "$SCRATCH"/*.img
}

# refused PATTERN SOURCE TARGET [OPTIONS]: exit code 3 (or $CODE), said with a way out, and without a trace.
CODE=3
refused() {
	local pattern=$1 before
	shift
	before=$(contents)
	expect "$CODE" migrate "$@" && said "$pattern" && untouched "$before"
}

untouched() {
	[ "$1" = "$(contents)" ] || { echo "# content has changed"; return 1; }
	nothing_left || return 1
	[ ! -e "$SCRATCH/state" ] || { echo "# a state directory is left: $(ls "$SCRATCH/state")"; return 1; }
}

# One that is under way, slowly; NAME, state and run directory as in `migrate`.
slow_migration() {
	background env --default-signal=INT "$GODWIT" migrate "$S" "$T" --handoff none --bandwidth 1M --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" "$@" \
		>"$SCRATCH/slow.out" 2>"$SCRATCH/slow.err"
	SLOW=$BACKGROUND
	wait_for grep -aq settled_bytes "$SCRATCH/state/journal" && return 0
	sed 's/^/#   /' "$SCRATCH/slow.err"
	return 1
}

kill_slow() {
	kill -KILL "$SLOW"
	wait "$SLOW" 2>/dev/null
	true
}

dead_migration() {
	slow_migration "$@" && kill_slow
}

clean_up() {
	expect 0 "$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err" && nothing_left
}

# ---- paths and places ----

missing() {
	pair || return 1
	refused "$SCRATCH/no-source.*(lsblk|check the path)" "$SCRATCH/no-source" "$T" --handoff none &&
		refused "/dev/loop4711x.*(lsblk|check the path)" "$S" /dev/loop4711x --handoff none &&
		[ ! -e /dev/loop4711x ] || return 1
	# One slip of the pen is one error, and not all that could not be looked at for it.
	! grep -q "looked at\|warning" "$SCRATCH/err" || { sed 's/^/# /' "$SCRATCH/err"; return 1; }
}

same_device() {
	pair || return 1
	ln -s "$S" "$SCRATCH/by-id"
	refused "are the same.*another target" "$S" "$S" --handoff none &&
		refused "are the same.*another target" "$S" "$SCRATCH/by-id" --handoff none
}

partition_of_other() {
	local result
	pair || return 1
	addpart "$S" 1 2048 8192 || { SKIP="addpart does not work here"; return 0; }
	wait_for test -b "${S}p1" && refused "partition of" "${S}p1" "$S" --handoff none &&
		refused "partition of" "$S" "${S}p1" --handoff none --overwrite
	result=$?
	drop_partition "$S" 1
	return $result
}

# Two loop devices that share a piece of one file.
overlapping() {
	local low high
	pair || return 1
	attach "$SCRATCH/source.img" --sizelimit $((10 << 20)) && low=$LOOP || return 1
	attach "$SCRATCH/source.img" -o $((4 << 20)) && high=$LOOP || return 1
	refused "source.img|share|stored" "$low" "$high" --handoff none --overwrite
}

stored_on_other() {
	local inner
	pair 64M || return 1
	# Left alone it would write: to have all inode tables zeroed, and that a file was read.
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$S" && mount_at m "$S" noatime || return 1
	truncate -s 80M "$SCRATCH/m/image"
	attach "$SCRATCH/m/image" && inner=$LOOP || return 1
	sync
	refused "stored on|stored" "$S" "$inner" --handoff freeze
}

too_small() {
	loop source 16M && S=$LOOP && loop target 15M && T=$LOOP || return 1
	refused "15728640|15.0 MiB.*larger" "$S" "$T" --handoff none
}

mounted_target() {
	local result
	pair 64M || return 1
	mkfs.ext4 -q "$T" && mount_at m "$T" || return 1
	expect 3 migrate "$S" "$T" --handoff none --overwrite && said "mounted.*umount" && nothing_left || return 1
	unmount_from m "$T" || return 1
	addpart "$T" 1 2048 65536 || return 0
	wait_for test -b "${T}p1" && mkfs.ext4 -q "${T}p1" && mount_at m "${T}p1" &&
		expect 3 migrate "$S" "$T" --handoff none --overwrite && said "mounted.*umount" &&
		nothing_left
	result=$?
	umount "$SCRATCH/m" 2>/dev/null
	drop_partition "$T" 1
	return $result
}

sector_sizes() {
	pair 16M 512 4096 || return 1
	refused "4096.*(nvme format|losetup -b)" "$S" "$T" --handoff none
}

signature() {
	pair 64M || return 1
	mkfs.ext4 -q "$T"
	refused "ext4.*--overwrite" "$S" "$T" --handoff none
}

read_only_target() {
	local result
	pair || return 1
	blockdev --setro "$T"
	refused "read-only.*setrw" "$S" "$T" --handoff none
	result=$?
	blockdev --setrw "$T"
	return $result
}

# ---- kernel and machine ----

unprivileged() {
	local before
	pair || return 1
	before=$(contents)
	chmod 755 "$SCRATCH"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$GODWIT" migrate "$S" "$T" --handoff none \
		--name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
	[ $? = 3 ] && said "needs root.*sudo" && untouched "$before"
}

# without PATH: a file system of the kernel is not there.
without() {
	local before
	pair || return 1
	before=$(contents)
	unshare -m sh -c "mount -t tmpfs none $1 && exec \"\$@\"" sh "$GODWIT" migrate "$S" "$T" \
		--handoff none --name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
	[ $? = 3 ] || { echo "# exit code is not 3"; cat "$SCRATCH/err"; return 1; }
	said "$2" && untouched "$before"
}

# ---- another one is at work ----

second_migration() {
	pair || return 1
	loop other 16M || return 1
	slow_migration || return 1
	# The same once more; the same source under another name; to where the first one writes.
	expect 3 migrate "$S" "$T" --handoff none && said "runs|running|in use|used" || return 1
	NAME=${NAME}x expect 3 second "$S" "$LOOP" && said "another godwit|tracks|lock" || return 1
	NAME=${NAME}x expect 3 second "$LOOP" "$S" && said "another godwit|migrated away|lock" || return 1
	NAME=${NAME}x nothing_left_of_second || return 1
	kill -0 "$SLOW" || { echo "# the first one is gone"; return 1; }
	kill -INT "$SLOW"
	wait "$SLOW"
	[ $? = 6 ] && nothing_left
}

second() {
	"$GODWIT" migrate "$@" --name "$NAME" --handoff none --overwrite --state-dir "$SCRATCH/state2" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

nothing_left_of_second() {
	[ ! -e "/sys/fs/bpf/godwit/$NAME" ] && [ ! -e "$SCRATCH/run/$NAME.state" ] &&
		[ ! -e "$SCRATCH/state2" ] && return 0
	echo "# left: $(ls -d "/sys/fs/bpf/godwit/$NAME" "$SCRATCH/run/$NAME.state" "$SCRATCH/state2" 2>/dev/null)"
	return 1
}

other_partition() {
	local result disk
	pair 64M || return 1
	disk=$S
	loop other 64M || return 1
	addpart "$disk" 1 2048 32768 || { SKIP="addpart does not work here"; return 0; }
	addpart "$disk" 2 65536 32768
	wait_for test -b "${disk}p2" || return 1
	S=${disk}p1
	slow_migration && NAME=${NAME}x expect 3 second "${disk}p2" "$LOOP" &&
		said "another godwit|lock" && NAME=${NAME}x nothing_left_of_second
	result=$?
	kill -INT "$SLOW"
	wait "$SLOW"
	drop_partition "$disk" 1
	drop_partition "$disk" 2
	return $result
}

# Files, of which no pins tell: the run file is the first one's, whatever becomes of the second.
same_name() {
	local run=$SCRATCH/run/$NAME.state before
	head -c 8M /dev/urandom >"$SCRATCH/S" && truncate -s 4M "$SCRATCH/S2" || return 1
	S=$SCRATCH/S T=$SCRATCH/T
	slow_migration --track none || return 1
	before=$(cat "$run")
	expect 3 "$GODWIT" migrate "$SCRATCH/S2" "$SCRATCH/T2" --handoff none --name "$NAME" \
		--state-dir "$SCRATCH/other" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" &&
		said "name $NAME is running" || return 1
	[ "$(cat "$run")" = "$before" ] && [ ! -e "$SCRATCH/T2" ] && [ ! -e "$SCRATCH/other" ] || return 1
	kill_slow
	clean_up
}

# ---- --continue ----

continue_of_nothing() {
	touch "$SCRATCH/out"
	expect 3 continue_migration && said "no migration $NAME.*--state-dir" && nothing_left &&
		[ ! -e "$SCRATCH/state" ]
}

continue_of_running() {
	pair || return 1
	slow_migration || return 1
	expect 3 continue_migration && said "running in another process" || return 1
	kill -0 "$SLOW" && kill -INT "$SLOW"
	wait "$SLOW"
	[ $? = 6 ] && nothing_left
}

# broken WANTED PATTERN EDIT: a journal that was tampered with. Nothing is touched; with
# the old journal back it goes on.
broken() {
	local before pins
	pair || return 1
	dead_migration || return 1
	cp "$SCRATCH/state/journal" "$SCRATCH/journal.old"
	python3 -c "
import sys
path = '$SCRATCH/state/journal'
data = bytearray(open(path, 'rb').read())
$3
open(path, 'wb').write(data)" || return 1
	before=$(contents)
	pins=$(find "/sys/fs/bpf/godwit/$NAME" | sort)
	expect "$1" continue_migration && said "$2" || return 1
	[ "$before" = "$(contents)" ] || { echo "# content has changed"; return 1; }
	[ "$pins" = "$(find "/sys/fs/bpf/godwit/$NAME" | sort)" ] || { echo "# pins have changed"; return 1; }
	cp "$SCRATCH/journal.old" "$SCRATCH/state/journal"
	expect 0 continue_migration --bandwidth 1G && same "$S" "$T" && nothing_left
}

# The first record says version 2, and its checksum is right.
NEWER='
import ctypes, struct
xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
data[4] = 2
length = 40 + struct.unpack_from("<I", data, 8)[0]
data[32:40] = bytes(8)
struct.pack_into("<Q", data, 32, xxh3(bytes(data[:length]), length))
'

# The number is free for another disk at once; here it is one of the same size.
other_disk() {
	local before
	loop_to_swap source 16M && S=$LOOP && loop target 16M && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M count=8 oflag=direct status=none
	dead_migration || return 1
	cp "$SCRATCH/source.img" "$SCRATCH/impostor.img"
	exchange "$S" "$SCRATCH/impostor.img" || return 1
	before=$(contents)
	expect 3 continue_migration && said "source $S is another disk.*cleanup $NAME" || return 1
	[ "$before" = "$(contents)" ] && clean_up
}

reboot() {
	local changed=$((37 * 4096))
	pair 64M || return 1
	dd if=/dev/urandom of="$S" bs=1M count=60 oflag=direct status=none
	dd if="$S" of="$T" bs=1M oflag=direct status=none
	dead_migration --overwrite || return 1
	rm -r "/sys/fs/bpf/godwit/$NAME"
	# Unseen by anyone, and what the dead migration had copied is the same already.
	dd if=/dev/urandom of="$S" bs=4k count=37 seek=3000 oflag=direct status=none
	expect 3 continue_migration && said "pinned tracking.*gone.*--resync" || return 1
	expect 0 continue_migration --resync --bandwidth 1G && same "$S" "$T" && nothing_left || return 1
	reported "report['totals']['written_bytes'] == $changed" &&
		reported "report['not_copied']['same_bytes'] == (64 << 20) - $changed" &&
		reported "report['continues'] == 1"
}

# The last write to a file reaches past its end; one that died after it leaves it like that.
long_file() {
	local bytes=$(((16 << 20) + 512))
	loop source $bytes && S=$LOOP || return 1
	T=$SCRATCH/file
	dd if=/dev/urandom of="$S" bs=512 count=1 seek=32768 oflag=direct status=none
	GODWIT=$GODWIT_FAULT GODWIT_KILL_AT=round-copied expect 137 migrate "$S" "$T" --handoff none ||
		return 1
	truncate -s $(((16 << 20) + 4096)) "$T"
	expect 0 continue_migration && same "$S" "$T" && nothing_left
}

# By its name it is the same disk; by its number it was taken out since. (No disk here has a name
# for ever, so that its number cannot change without more ado: the journal is changed.)
target_was_away() {
	pair || return 1
	dead_migration || return 1
	python3 - "$SCRATCH/state/journal" <<-'PY' || return 1
		import ctypes, re, struct, sys
		xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
		xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
		data = bytearray(open(sys.argv[1], "rb").read())
		at, found = 0, 0
		while at + 40 <= len(data):
		    type, payload = struct.unpack_from("<HI", data, at + 6)
		    end = at + 40 + payload
		    if type == 14:
		        number = re.search(rb'"target_diskseq":(\d+)', data[at + 40:end])
		        last = at + 40 + number.end(1) - 1
		        data[last] = ord("1") if data[last] != ord("1") else ord("2")
		        data[at + 32:at + 40] = bytes(8)
		        struct.pack_into("<Q", data, at + 32, xxh3(bytes(data[at:end]), end - at))
		        found += 1
		    at = (end + 7) // 8 * 8
		open(sys.argv[1], "wb").write(data)
		sys.exit(found != 1)
	PY
	# Somebody had it meanwhile.
	dd if=/dev/zero of="$T" bs=4k count=1 oflag=direct status=none
	expect 3 continue_migration && said "taken out and put back.*--resync" || return 1
	expect 0 continue_migration --resync --bandwidth 1G && same "$S" "$T" && nothing_left
}

# The same number, name and size; what was settled lies where the partition was.
target_moved() {
	local disk=
	loop source 16M && S=$LOOP && loop target 32M && disk=$LOOP || return 1
	T=${disk}p1
	dd if=/dev/urandom of="$S" bs=1M count=8 oflag=direct status=none
	addpart "$disk" 1 2048 32768 && wait_for test -b "$T" && touch "$SCRATCH/out" "$SCRATCH/err" || return 1
	dead_migration || return 1
	# The dead one lets go of it in a moment.
	drop_partition "$disk" 1 && wait_for addpart "$disk" 1 8192 32768 && wait_for test -b "$T" || return 1
	expect 3 continue_migration && said "elsewhere on its disk.*--resync" || return 1
	expect 0 continue_migration --resync --bandwidth 1G && same "$S" "$T" && nothing_left
}

# ---- state ----

tmpfs_at() {
	mkdir -p "$SCRATCH/$1"
	mount -t tmpfs -o "size=$2" none "$SCRATCH/$1" && MOUNTS+=("$SCRATCH/$1")
}

state_at() {
	"$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$1" --run-dir "$SCRATCH/run" "${@:2}" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

no_space() {
	local before
	pair || return 1
	tmpfs_at small 1M || return 1
	before=$(contents)
	expect 3 state_at "$SCRATCH/small/state" --handoff none && said "small.*(--grain|free)" || return 1
	untouched "$before" && [ -z "$(ls -A "$SCRATCH/small")" ]
}

# Full in the middle: the source goes on and nothing stays, whatever the journal could not say.
fills_up() {
	local code
	pair || return 1
	tmpfs_at small 5M || return 1
	background "$GODWIT" migrate "$S" "$T" --handoff none --name "$NAME" --bandwidth 4M \
		--state-dir "$SCRATCH/small/state" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
	wait_for grep -aq settled_bytes "$SCRATCH/small/state/journal" || return 1
	dd if=/dev/zero of="$SCRATCH/small/ballast" bs=4k status=none 2>/dev/null
	wait "$BACKGROUND"
	code=$?
	# The reserve was taken at the start: it does not even notice.
	[ $code = 0 ] || { echo "# exit code $code"; cat "$SCRATCH/err"; return 1; }
	same "$S" "$T" && nothing_left
}

state_on_source() {
	local before result
	pair 64M || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	expect 3 state_at "$SCRATCH/m/state" && said "state.*--state-dir" && nothing_left || return 1
	[ ! -e "$SCRATCH/m/state" ] || { echo "# it was made"; return 1; }
	umount "$SCRATCH/m"
}

state_on_target() {
	local result
	pair 64M || return 1
	addpart "$T" 1 2048 65536 || { SKIP="addpart does not work here"; return 0; }
	wait_for test -b "${T}p1" && mkfs.ext4 -q "${T}p1" && mount_at m "${T}p1" &&
		expect 3 state_at "$SCRATCH/m/state" --handoff none --overwrite && said "mounted|--state-dir" &&
		nothing_left && [ ! -e "$SCRATCH/m/state" ]
	result=$?
	umount "$SCRATCH/m"
	drop_partition "$T" 1
	return $result
}

# ---- hand-off ----

unmounted_source() {
	pair || return 1
	refused "nothing is mounted.*--handoff none" "$S" "$T" &&
		refused "nothing is mounted|no .*mounted" "$S" "$T" --handoff freeze &&
		refused "quiesce" "$S" "$T" --handoff exec
}

mounted_untracked() {
	pair 64M || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	expect 3 migrate "$S" "$T" --track none && said "--track block" && nothing_left &&
		[ ! -e "$SCRATCH/state" ]
}

# ---- options ----

options() {
	local CODE=2
	pair || return 1
	refused "grain" "$S" "$T" --handoff none --grain 3000 &&
		refused "grain" "$S" "$T" --handoff none --grain 2M &&
		refused "buffers" "$S" "$T" --handoff none --buffers 0 &&
		refused "buffers" "$S" "$T" --handoff none --buffers 5000 &&
		refused "bandwidth" "$S" "$T" --handoff none --bandwidth fast &&
		refused "bandwidth" "$S" "$T" --handoff none --bandwidth 12Q/s &&
		refused "bandwidth" "$S" "$T" --handoff none --bandwidth -5M &&
		refused "downtime-limit" "$S" "$T" --handoff none --downtime-limit 10 &&
		refused "timeout" "$S" "$T" --handoff none --timeout 0s &&
		refused "max-rounds" "$S" "$T" --handoff none --max-rounds x &&
		refused "handoff" "$S" "$T" --handoff thaw &&
		refused "name" "$S" "$T" --handoff none --name "a/b" &&
		refused "verify" "$S" "$T" --handoff none --verify=never
}

if ! needs_bpf; then
	echo "ok - refusals # SKIP $SKIP"
	exit 0
fi
run "source, or target, is missing" missing
run "the same device, by another name too" same_device
run "a partition of the other" partition_of_other
run "sectors in common" overlapping
run "target is stored on the source" stored_on_other
run "target too small" too_small
run "target, or a partition of it, is mounted" mounted_target
run "sectors larger than the source's" sector_sizes
run "a signature on the target" signature
run "a read-only target" read_only_target
run "an ordinary user" unprivileged
run "no bpffs" without /sys/fs/bpf "bpffs.*mount -t bpf"
run "no BTF" without /sys/kernel/btf "BTF.*CONFIG_DEBUG_INFO_BTF"
run "a second migration of the same source" second_migration
run "another partition of a disk that is being migrated" other_partition
run "a second migration of the same name" same_name
run "continue: no such migration" continue_of_nothing
run "continue: it runs" continue_of_running
run "continue: a target file that is too long" long_file
run "continue: a target partition that was made anew elsewhere" target_moved
run "continue: a damaged journal" broken 7 "journal.*(damaged|record)" "data[60] ^= 1"
run "continue: a foreign journal" broken 7 "journal" "data = bytearray(b'GIF89a' * 1000)"
if ldconfig -p | grep libxxhash.so.0 >/dev/null; then
	run "continue: a journal of a newer version" broken 3 "newer" "$NEWER"
	run "continue: a target that was away" target_was_away
else
	echo "ok - continue: a journal of a newer version # SKIP no libxxhash.so.0 to sign it with"
fi
run "continue: an empty journal" broken 3 "before it had begun.*cleanup" "data = bytearray()"
run "continue: the number belongs to another disk" other_disk
run "continue: after a reboot, and --resync" reboot
run "no room for journal and digests" no_space
run "the state directory's file system fills up" fills_up
run "state directory on the source" state_on_source
run "state directory on the target" state_on_target
run "an unmounted source without a word on its writers" unmounted_source
run "a mounted source without tracking" mounted_untracked
run "bad values of options" options
exit $FAILED
