#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# godwit check: each requirement once met and once not, on real devices; nothing is changed by looking.
. "$(dirname "$0")/lib.bash"

# check SOURCE TARGET [OPTIONS]: rows as "id|state|why|mend" lines in $SCRATCH/rows. Without
# tracking, whose self-test takes a second, unless TRACKED is set.
TRACKED=
check() {
	local code
	"$GODWIT" check -o json --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		--track ${TRACKED:-none} "$@" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
	code=$?
	python3 - "$SCRATCH/out" >"$SCRATCH/rows" <<'PYTHON' || { cat "$SCRATCH/err"; return 99; }
import json, sys
document = json.load(open(sys.argv[1]))
for row in document["rows"]:
    print("|".join(row[key] for key in ("id", "state", "why", "mend")))
PYTHON
	return $code
}

# row ID STATE [PATTERN]: the row has that state; what it says and its mend match.
row() {
	local line
	line=$(grep "^$1|" "$SCRATCH/rows")
	case $line in
	"$1|$2|"*) ;;
	*) echo "# expected $1 to be $2: ${line:-no such row}"; return 1 ;;
	esac
	grep -Eqi -- "${3:-}" <<<"$line" && return 0
	echo "# expected $1 to say '$3': $line"
	return 1
}

# only_unmet ID...: these rows are unmet, and no other ones.
only_unmet() {
	local found wanted
	found=$(grep -E '^[^|]*\|unmet\|' "$SCRATCH/rows" | cut -d'|' -f1 | sort | paste -sd ' ')
	wanted=$(printf '%s\n' "$@" | sort | paste -sd ' ')
	[ "$found" = "$wanted" ] && return 0
	echo "# unmet: '$found', expected '$wanted'"
	grep -E '^[^|]*\|unmet\|' "$SCRATCH/rows" | sed 's/^/#   /'
	return 1
}

# each_mends: no row that is unmet, or warns, leaves the reader without a way out; those that had nothing to
# look at follow another.
each_mends() {
	grep -E '^[^|]*\|(unmet|warning)\|[^|]*\|$' "$SCRATCH/rows" | grep -v '|cannot be looked at ' || return 0
	echo "# rows without a mend"
	return 1
}

# refused SOURCE TARGET OPTIONS -- ID...: exit code 3, exactly these rows unmet, each with a mend.
refused() {
	local options=() code
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	check "${options[@]}"
	code=$?
	[ $code = 3 ] || { echo "# exit code $code, expected 3"; cat "$SCRATCH/err"; return 1; }
	only_unmet "$@" && each_mends
}

# pair [SIZE] [SECTOR] [TARGET SECTOR]
pair() {
	loop source "${1:-64M}" "${2:-512}" && S=$LOOP && loop target "${1:-64M}" "${3:-${2:-512}}" &&
		T=$LOOP
}

partition() {
	addpart "$1" "$2" "$3" "$4" && wait_for test -b "${1}p$2"
}

all_met() {
	local TRACKED=auto
	pair || return 1
	expect 0 check "$S" "$T" --handoff none && only_unmet || return 1
	row source-exists met && row bpf met && row io-uring met && row memory met &&
		row duration met 'about' && row state-space met
}

mounted_source_is_frozen() {
	local TRACKED=auto
	pair || return 1
	mkfs.ext4 -q "$S" && mount_at 'a b' "$S" || return 1
	expect 0 check "$S" "$T" && row handoff met 'freeze .*/a b' || return 1
	unmount_from 'a b' "$S" || return 1
	refused "$S" "$T" -- handoff && row handoff unmet '--handoff none'
}

# As a library user would leave it, so that a file is not changed by being looked at.
nothing_changes() {
	local before
	pair 64M || return 1
	head -c 64M /dev/urandom >"$SCRATCH/target.img"
	before=$(sha256sum "$SCRATCH"/*.img)
	check "$S" "$T" --handoff none --overwrite
	[ "$before" = "$(sha256sum "$SCRATCH"/*.img)" ] || { echo "# content changed"; return 1; }
	[ ! -e "$SCRATCH/state" ] && [ ! -e "$SCRATCH/run" ] && return 0
	echo "# made: $(ls -d "$SCRATCH"/state "$SCRATCH"/run 2>&1)"
	return 1
}

missing() {
	pair || return 1
	refused "$SCRATCH/nothing" "$T" --handoff none -- source-exists || return 1
	row source-exists unmet 'No such file' || return 1
	refused "$S" "$SCRATCH/no/where" --handoff none -- target-exists || return 1
	# A slip of the pen below /dev does not become a file in memory.
	refused "$S" /dev/loop4711x --handoff none -- target-exists || return 1
	[ ! -e /dev/loop4711x ] || return 1
	refused "$SCRATCH" "$T" --handoff none -- source-exists kinds || return 1
	refused "$S" /dev/null --handoff none -- target-exists kinds
}

same_device() {
	pair || return 1
	ln -s "$S" "$SCRATCH/by-id"
	refused "$S" "$SCRATCH/by-id" --handoff none -- different no-overlap &&
		row different unmet 'are the same' || return 1
	truncate -s 1M "$SCRATCH/file"
	ln "$SCRATCH/file" "$SCRATCH/hard"
	refused "$SCRATCH/file" "$SCRATCH/hard" --overwrite -- different no-overlap
}

partitions() {
	pair || return 1
	partition "$S" 1 2048 16384 && partition "$S" 2 18432 16384 || return 1
	refused "${S}p1" "$S" --handoff none -- no-overlap &&
		row no-overlap unmet 'is a partition of'
	local result=$?
	[ $result = 0 ] && { expect 0 check "${S}p1" "${S}p2" --handoff none && only_unmet; result=$?; }
	[ $result = 0 ] && { refused "${S}p1" "$SCRATCH/source.img" --overwrite --handoff none -- \
		no-overlap target-loops; result=$?; }
	drop_partition "$S" 1 && drop_partition "$S" 2 && return $result
}

# A loop device whose backing file lies on the file system of the other.
stacked() {
	local TRACKED=auto
	pair || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	truncate -s 32M "$SCRATCH/m/image"
	attach "$SCRATCH/m/image" && T=$LOOP || return 1
	refused "$S" "$T" -- no-overlap target-size || return 1
	row no-overlap unmet 'is stored on' || return 1
	row handoff warning "${T##*/} works on a file there" || return 1
	# The other way round: it is mounted, too.
	refused "$T" "$S" --handoff none --overwrite -- no-overlap target-free target-mounts target-loops
}

target_too_small() {
	pair || return 1
	truncate -s $(((64 << 20) - 512)) "$SCRATCH/target.img"
	losetup -c "$T"
	refused "$S" "$T" --handoff none -- target-size && row target-size unmet '512 less' || return 1
	expect 0 check "$T" "$S" --handoff none && row target-size met '512 bytes more'
}

empty_source() {
	loop target 64M || return 1
	: >"$SCRATCH/empty"
	refused "$SCRATCH/empty" "$LOOP" -- source-size
}

sector_sizes() {
	pair 64M 512 4096 || return 1
	refused "$S" "$T" --handoff none -- logical-sectors &&
		row logical-sectors unmet "sectors have 4096 bytes, the source's 512" || return 1
	expect 0 check "$T" "$S" --handoff none && row logical-sectors warning 'partition' || return 1
	head -c 1000001 /dev/urandom >"$SCRATCH/odd"
	expect 0 check "$SCRATCH/odd" "$S" && row logical-sectors met 'zeroes'
}

target_in_use() {
	pair || return 1
	mkfs.ext4 -q "$T" && mount_at m "$T" || return 1
	refused "$S" "$T" --handoff none -- target-mounts target-free target-content &&
		row target-mounts unmet "umount '$SCRATCH/m'" || return 1
	partition "$T" 1 2048 4096 2>/dev/null
	unmount_from m "$T" && expect 0 check "$S" "$T" --handoff none --overwrite && only_unmet
}

target_claimed() {
	pair || return 1
	python3 -c 'import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)
open(sys.argv[2], "w").close()
time.sleep(600)' "$T" "$SCRATCH/claimed" &
	PIDS+=($!)
	wait_for test -e "$SCRATCH/claimed" || return 1
	refused "$S" "$T" --handoff none -- target-free
}

target_under_a_loop() {
	local TRACKED=auto
	pair || return 1
	local other
	attach "$T" && other=$LOOP || return 1
	refused "$S" "$T" --handoff none -- target-loops && row target-loops unmet "${other##*/}" ||
		return 1
	# As a source, a hand-off by freezing cannot stop it.
	mkfs.ext4 -q "$T" && mount_at m "$T" || return 1
	refused "$T" "$S" -- handoff && row handoff unmet "${other##*/} writes to it"
}

target_swapped_to() {
	pair || return 1
	mkswap -q "$T" >/dev/null 2>&1
	swapon "$T" 2>/dev/null || { SKIP="swapon is not possible here"; return 0; }
	refused "$S" "$T" --handoff none --overwrite -- target-free target-swap
	local result=$?
	swapoff "$T"
	return $result
}

signatures() {
	pair || return 1
	mkfs.xfs -q -f -s size=512 "$T" >/dev/null 2>&1 || mkfs.ext4 -q "$T" || return 1
	refused "$S" "$T" --handoff none -- target-content &&
		row target-content unmet 'file system.*--overwrite' || return 1
	expect 0 check "$S" "$T" --handoff none --overwrite && row target-content met 'overwritten'
}

read_only() {
	pair || return 1
	blockdev --setro "$T"
	refused "$S" "$T" --handoff none -- target-writable && row target-writable unmet setrw &&
		expect 0 check "$T" "$S" --handoff none &&
		row source-readable met 'read-only, which is fine'
	local result=$?
	blockdev --setrw "$T"		# a loop device would keep it for its next user
	return $result
}

unreadable_source() {
	pair || return 1
	: >"$SCRATCH/source.img"
	refused "$S" "$T" --handoff none -- source-readable && row source-readable unmet 'dmesg'
}

file_targets() {
	pair || return 1
	expect 0 check "$S" "$SCRATCH/new" --handoff none && row target-exists met 'will be made' ||
		return 1
	[ ! -e "$SCRATCH/new" ] || { echo "# it was made"; return 1; }
	head -c 100 /dev/urandom >"$SCRATCH/old"
	refused "$S" "$SCRATCH/old" --handoff none -- target-content || return 1
	expect 0 check "$S" "$SCRATCH/old" --handoff none --overwrite || return 1
	mkdir "$SCRATCH/small" && mount -t tmpfs -o size=8M none "$SCRATCH/small" || return 1
	MOUNTS+=("$SCRATCH/small")
	expect 0 check "$S" "$SCRATCH/small/new" --handoff none &&
		row target-size warning 'only if the rest of it reads as zeroes' || return 1
	head -c 16M /dev/urandom >"$SCRATCH/full"
	refused "$SCRATCH/full" "$SCRATCH/small/new" -- target-size || return 1
	expect 0 check "$S" "$SCRATCH/new" --handoff none --verify=after &&
		row verify warning 'would be called a difference'
}

file_sources() {
	local TRACKED=auto
	loop target 64M || return 1
	head -c 1M /dev/urandom >"$SCRATCH/file"
	expect 0 check "$SCRATCH/file" "$LOOP" && row tracking warning 'must not change' || return 1
	refused "$SCRATCH/file" "$LOOP" --track block -- tracking
}

untracked() {
	local TRACKED=auto
	pair || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	refused "$S" "$T" --track none -- tracking && row tracking unmet 'mounted at' || return 1
	mount -o remount,ro "$SCRATCH/m"
	expect 0 check "$S" "$T" --track none && row bpf met 'not needed'
}

handoffs() {
	local TRACKED=auto
	pair || return 1
	refused "$S" "$T" --handoff freeze -- handoff && row handoff unmet 'nothing is mounted' ||
		return 1
	expect 0 check "$S" "$T" --handoff exec --exec-quiesce true && row handoff warning 'exec-abort' ||
		return 1
	expect 0 check "$S" "$T" --handoff exec --exec-quiesce true --exec-abort true &&
		row handoff met || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	expect 0 check "$S" "$T" --handoff none && row handoff warning 'you vouch'
}

names() {
	pair || return 1
	expect 2 "$GODWIT" check "$S" "$T" --handoff none --name a/b 2>/dev/null || return 1
	expect 2 "$GODWIT" check "$S" "$T" --handoff none --name a.b 2>/dev/null || return 1
	expect 0 check "$S" "$T" --handoff none && row name met "${S##*/}-${T##*/}"
}

state_directories() {
	local TRACKED=auto
	pair || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	: >"$SCRATCH/file"
	refused "$S" "$T" --state-dir "$SCRATCH/file/state" -- state-dir || return 1
	refused "$S" "$T" --state-dir "$SCRATCH/m/state" -- state-place || return 1
	row state-place unmet 'would lie on the source' || return 1
	mkdir "$SCRATCH/tiny" && mount -t tmpfs -o size=1M none "$SCRATCH/tiny" || return 1
	MOUNTS+=("$SCRATCH/tiny")
	refused "$S" "$T" --state-dir "$SCRATCH/tiny/a/b" -- state-space &&
		row state-space unmet "free"
}

# A journal that is damaged is not taken for one that has ended.
name_is_taken() {
	pair || return 1
	mkdir "$SCRATCH/state"
	head -c 4096 /dev/urandom >"$SCRATCH/state/journal"
	refused "$S" "$T" --handoff none -- name-free || return 1
	rm "$SCRATCH/state/journal"
	expect 0 check "$S" "$T" --handoff none
}

locks() {
	pair || return 1
	local numbers
	numbers=$(cat "/sys/class/block/${S##*/}/dev")
	mkdir "$SCRATCH/run"
	flock "$SCRATCH/run/disk-$numbers.lock" sleep 60 &
	PIDS+=($!)
	wait_for sh -c "! flock -n '$SCRATCH/run/disk-$numbers.lock' true" || return 1
	refused "$S" "$T" --handoff none -- source-lock || return 1
	refused "$T" "$S" --handoff none -- target-lock || return 1
	# What is locked is the disk, for all of its partitions.
	partition "$S" 1 2048 16384 || return 1
	refused "${S}p1" "$T" --handoff none -- source-lock
	local result=$?
	drop_partition "$S" 1
	# flock's child holds the lock as well.
	pkill -P "${PIDS[-1]}" sleep
	return $result
}

tracked_already() {
	local TRACKED=auto
	pair || return 1
	"$GODWIT" track start "$S" --name "check$$" --run-dir "$SCRATCH/run" >"$SCRATCH/out" \
		2>"$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
	refused "$S" "$T" --handoff none -- source-lock && row source-lock unmet "track stop check$$" &&
		refused "$T" "$S" --handoff none --name "check$$" -- name-free
	local result=$?
	"$GODWIT" track stop "check$$" >/dev/null 2>&1
	return $result
}

no_bpffs() {
	unshare -m umount -l /sys/fs/bpf 2>/dev/null || { SKIP="no mount namespaces"; return 0; }
	pair || return 1
	unshare -m sh -c 'while umount -l /sys/fs/bpf 2>/dev/null; do :; done; exec "$0" check -o json --handoff none "$@"' \
		"$GODWIT" "$S" "$T" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
	expect 0 test $? = 3 && said 'mount -t bpf bpf'
}

# Root without the capability, as in a container.
no_privileges() {
	command -v setpriv >/dev/null || { SKIP="no setpriv"; return 0; }
	pair || return 1
	setpriv --bounding-set -sys_admin,-bpf,-perfmon --inh-caps -sys_admin,-bpf,-perfmon \
		"$GODWIT" check -o json "$S" "$T" --handoff none --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect 0 test $? = 3 && said 'has no CAP_SYS_ADMIN'
}

no_io_uring() {
	local old
	old=$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null) ||
		{ SKIP="no sysctl kernel.io_uring_disabled"; return 0; }
	[ -n "${GW_TEST_SYSCTL:-}" ] || { SKIP="GW_TEST_SYSCTL is not set: it would touch others"; return 0; }
	pair || return 1
	echo 2 >/proc/sys/kernel/io_uring_disabled
	refused "$S" "$T" --handoff none -- io-uring && row io-uring unmet 'sysctl'
	local result=$?
	echo "$old" >/proc/sys/kernel/io_uring_disabled
	return $result
}

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
losetup -f >/dev/null 2>&1 || { echo "no loop device"; exit 77; }
needs_bpf || { echo "$SKIP"; exit 77; }
run "all met" all_met
run "a mounted source is frozen" mounted_source_is_frozen
run "looking changes nothing" nothing_changes
run "missing and wrong paths" missing
run "the same device, by another name" same_device
run "partitions" partitions
run "stacked on one another" stacked
run "target too small" target_too_small
run "empty source" empty_source
run "sector sizes" sector_sizes
run "mounted target" target_in_use
run "claimed target" target_claimed
run "a loop device on the target, or on the source" target_under_a_loop
run "target swapped to" target_swapped_to
run "signatures" signatures
run "read-only" read_only
run "unreadable source" unreadable_source
run "file as target" file_targets
run "file as source" file_sources
run "untracked" untracked
run "hand-offs" handoffs
run "names" names
run "state directories" state_directories
run "name is taken" name_is_taken
run "locks" locks
run "tracked already" tracked_already
run "no bpffs" no_bpffs
run "no privileges" no_privileges
run "no io_uring" no_io_uring
exit $FAILED
