# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# For tests on real devices: TAP lines, scratch loop devices, tidying up. Source it; then
# call `plan`, and the test functions with `run NAME FUNCTION [ARGS]`.
set -u
set -o pipefail

GODWIT=${GODWIT:-build/godwit}
GODWIT_FAULT=${GODWIT_FAULT:-build/fault/godwit}
[ -x "$GODWIT" ] && GODWIT=$(realpath "$GODWIT")
[ -x "$GODWIT_FAULT" ] && GODWIT_FAULT=$(realpath "$GODWIT_FAULT")
HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
PATH=$PATH:/usr/sbin:/sbin:$HERE/../support/bin
FAILED=0
WAIT_S=180
TRIES=1			# of a test that fails and has found no data to differ: more in those that judge times
SCRATCH=
LOOPS=()
MOUNTS=()
PIDS=()

# Everything of one test lies here: files, state directories, run directory.
scratch_begin() {
	SCRATCH=$(mktemp -d "${GW_TEST_DIR:-/dev/shm}/godwit-test.XXXXXX")
	LOOPS=() MOUNTS=() PIDS=()
}

# Undoes whatever a test did, in the right order; called after each test and on exit.
# shellcheck disable=SC2317
scratch_end() {
	local i keys
	[ -n "$SCRATCH" ] || return 0
	for i in "${PIDS[@]}"; do
		kill -CONT "$i" 2>/dev/null
		kill -KILL "$i" 2>/dev/null
		wait "$i" 2>/dev/null
	done
	if ls "$SCRATCH"/run/*.state >/dev/null 2>&1; then
		"$GODWIT" cleanup --run-dir "$SCRATCH/run" >/dev/null 2>&1
	fi
	# A test that failed may leave what cleanup does not find; the next one is not to fail by it.
	rm -rf "/sys/fs/bpf/godwit/${NAME:-t$$}"
	for ((i = ${#MOUNTS[@]} - 1; i >= 0; i--)); do
		fsfreeze -u "${MOUNTS[i]}" 2>/dev/null
		umount "${MOUNTS[i]}" 2>/dev/null || umount -l "${MOUNTS[i]}" 2>/dev/null
	done
	keys=("${!LOOPS[@]}")
	for ((i = ${#keys[@]} - 1; i >= 0; i--)); do
		release "${LOOPS[keys[i]]}"
	done
	rm -rf "$SCRATCH"
	SCRATCH=
}
trap 'scratch_end' EXIT
trap 'exit 1' INT TERM

# The number of a loop device that was detached is somebody else's a moment later: this tells.
attachment() {
	cat "/sys/block/${1#/dev/}/diskseq" 2>/dev/null
}

# release "DEVICE ATTACHMENT": at the end, unless it is ours no more.
release() {
	local device=${1% *} part
	[ "$(attachment "$device")" = "${1#* }" ] || return 0
	for part in "$device"p*; do
		[ -b "$part" ] && WAIT_S=10 drop_partition "$device" "${part##*p}"
	done
	blockdev --setrw "$device" 2>/dev/null
	losetup -d "$device" 2>/dev/null
}

# attach FILE [OPTIONS]: as a loop device, until the test ends; its path in $LOOP.
attach() {
	local try
	LOOP=
	for try in {1..50}; do
		LOOP=$(losetup --show -f "${@:2}" "$1" 2>/dev/null) && break
		sleep 0.1
	done
	[ -n "$LOOP" ] || { echo "# no loop device ($try tries)"; return 1; }
	LOOPS+=("$LOOP $(attachment "$LOOP")")
	blockdev --setrw "$LOOP"
}

# detach DEVICE: before the test ends.
detach() {
	local i
	for i in "${!LOOPS[@]}"; do
		[ "${LOOPS[i]% *}" != "$1" ] || unset 'LOOPS[i]'
	done
	losetup -d "$1"
}

# loop NAME SIZE [SECTOR]: a sparse file as a loop device with direct I/O; its path in $LOOP.
loop() {
	local file=$SCRATCH/$1.img
	[ -e "$file" ] || truncate -s "$2" "$file"
	attach "$file" --direct-io=on -b "${3:-512}"
}

# loop_to_swap NAME SIZE: one that the test may give another file: whoever else looks for a free
# device meanwhile finds others first, which have lower numbers.
loop_to_swap() {
	local i spares=()
	for i in 1 2 3 4; do
		loop "spare$i" 1M && spares+=("$LOOP") || return 1
	done
	loop "$1" "$2" || return 1
	for i in "${spares[@]}"; do
		detach "$i"
	done
}

attach_at() { losetup --direct-io=on "$1" "$2" 2>/dev/null; }

# exchange DEVICE FILE: the same number, another disk.
exchange() {
	detach "$1" && wait_for attach_at "$1" "$2" || return 1
	LOOPS+=("$1 $(attachment "$1")")
}

# drop_partition DEVICE NUMBER: somebody who looks at all devices may have it open for a moment.
drop_partition() {
	wait_for delpart "$1" "$2"
}

# remove_zram NUMBER: likewise.
remove_zram() {
	wait_for eval "echo 1 >/sys/block/zram$1/reset"
	wait_for eval "echo $1 >/sys/class/zram-control/hot_remove"
}

# mount_at NAME DEVICE [OPTIONS]: mounts on $SCRATCH/NAME.
mount_at() {
	mkdir -p "$SCRATCH/$1"
	mount ${3:+-o "$3"} "$2" "$SCRATCH/$1" || return 1
	MOUNTS+=("$SCRATCH/$1")
}

# unmount_from NAME DEVICE: and nobody has it mounted any more. A mount namespace made meanwhile, by
# anybody, has a copy of the mount while it lives.
unmount_from() {
	umount "$SCRATCH/$1" && wait_for is_free "$2"
}

is_free() { python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)' "$1"; }

background() {
	"$@" &
	PIDS+=($!)
	BACKGROUND=$!
}

# migrate SOURCE TARGET [OPTIONS]: under the scratch directory's state and run directories.
migrate() {
	"$GODWIT" migrate "$@" --name "${NAME:-t$$}" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

continue_migration() {
	"$GODWIT" migrate --continue "${NAME:-t$$}" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

# same A B [BYTES]: equal by content, read around the page cache.
same() {
	blockdev --flushbufs "$1" 2>/dev/null
	blockdev --flushbufs "$2" 2>/dev/null
	if ! cmp ${3:+-n "$3"} "$1" "$2" >"$SCRATCH/cmp" 2>&1; then
		sed 's/^/# /' "$SCRATCH/cmp"
		echo "# $1 and $2 differ"
		return 1
	fi
}

# expect CODE COMMAND...: runs it and demands the exit code.
expect() {
	local want=$1 got
	shift
	"$@"
	got=$?
	[ "$got" = "$want" ] && return 0
	echo "# exit code $got, expected $want: $*"
	[ -s "$SCRATCH/err" ] && tail -n 15 "$SCRATCH/err" | sed 's/^/#   /'
	return 1
}

is_stopped() { grep -q '^State:.T' "/proc/$1/status"; }

# dead_with_watchdog STEP COMMAND...: as a service manager ends it: godwit comes to STEP, and both die.
dead_with_watchdog() {
	local pid child watchdog=
	GODWIT_KILL_STOPS=1 GODWIT_KILL_AT=$1 "${@:2}" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pid=$!
	wait_for is_stopped $pid || { echo "# $1 was not reached"; kill -KILL $pid; return 1; }
	for child in $(cat /proc/$pid/task/*/children); do
		[ "$(cat "/proc/$child/comm")" = godwit-watchdog ] && watchdog=$child
	done
	kill -KILL $watchdog $pid
	expect 137 wait $pid || return 1
	[ -n "$watchdog" ] || { echo "# there is no watchdog"; return 1; }
}

# said PATTERN: the last migration wrote it to stderr or stdout.
said() {
	grep -Eqi -- "$1" "$SCRATCH/err" "$SCRATCH/out" && return 0
	echo "# not said: $1"
	tail -n 15 "$SCRATCH/err" | sed 's/^/#   /'
	return 1
}

# reported EXPRESSION: a Python expression about the `report` of the migration holds.
reported() {
	"$GODWIT" report "$SCRATCH/state" -o json >"$SCRATCH/report" || return 1
	python3 - "$SCRATCH/report" "$1" <<-'PY'
		import json, sys
		report = json.load(open(sys.argv[1]))
		if not eval(sys.argv[2]):
		    print("# does not hold:", sys.argv[2])
		    print("#   totals", report["totals"], report["not_copied"])
		    print("#   blackout", report.get("blackout"))
		    for one in report["rounds"]:
		        print("#  ", one)
		    sys.exit(1)
	PY
}

# report_fits: the report is what its schema says.
report_fits() {
	"$GODWIT" report "$SCRATCH/state" -o json >"$SCRATCH/report" &&
		python3 "$HERE/../cli/schema.py" "$HERE/../../docs/schema/report.schema.json" <"$SCRATCH/report"
}

nothing_left() {
	local bad=0
	if [ -e "/sys/fs/bpf/godwit/${NAME:-t$$}" ]; then
		echo "# pins are left: $(ls "/sys/fs/bpf/godwit/${NAME:-t$$}")"
		bad=1
	fi
	if ls "$SCRATCH"/run/*.state >/dev/null 2>&1; then
		echo "# a run file is left"
		bad=1
	fi
	return $bad
}

# wait_for COMMAND...: until it succeeds. Only what never comes takes so long as WAIT_S.
wait_for() {
	local end=$((SECONDS + WAIT_S))
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			echo "# never true: $*"
			return 1
		fi
		sleep 0.05
	done
}

needs_bpf() {
	[ "$(id -u)" = 0 ] || { SKIP="needs root"; return 1; }
	[ -e /sys/kernel/btf/vmlinux ] || { SKIP="the kernel has no BTF"; return 1; }
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || { SKIP="no bpffs"; return 1; }
	losetup -f >/dev/null 2>&1 || { SKIP="no loop device"; return 1; }
}

# run NAME FUNCTION [ARGS]: one test in fresh scratch space. SKIP, when set, is the reason for a skip.
# With GW_ONLY=REGEX only tests whose names match it; the others are left out without a word.
run() {
	local name=$1 log result try started_s=$SECONDS
	[[ $name =~ ${GW_ONLY:-} ]] || return 0
	shift
	for ((try = 1;; try++)); do
		SKIP=
		scratch_begin
		log=$SCRATCH/log
		"$@" >"$log" 2>&1
		result=$?
		[ -n "$SKIP" ] || [ $result = 0 ] || [ $try -ge $TRIES ] || grep -q ' differ$' "$log" && break
		sed 's/^\([^#]\)/# \1/' "$log"
		echo "# once more: $name"
		scratch_end
	done
	if [ -n "$SKIP" ]; then
		echo "ok - $name # SKIP $SKIP"
	elif [ $result = 0 ]; then
		echo "ok - $name"
	else
		FAILED=1
		sed 's/^\([^#]\)/# \1/' "$log"
		echo "not ok - $name"
	fi
	echo "# $((SECONDS - started_s)) s"
	scratch_end
}
