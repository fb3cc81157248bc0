#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The hand-off `dm`: a drive is swapped under a writer that goes on writing. Every record that was
# acknowledged, before or after, is on the device; whoever dies at whatever step, it maps one
# drive or the other, runs, and is not suspended.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
S=/dev/lab/a T=/dev/lab/b
NAME=swap
WRITER=$PWD/build/demo-writer
[ -x "$WRITER" ] || { echo "build/demo-writer is not built"; exit 77; }

numbers() { lsblk -dno MAJ:MIN "$(realpath "$1")" | tr -d ' '; }
S_NUMBERS=$(numbers $S) T_NUMBERS=$(numbers $T)
SECTORS=$(blockdev --getsz $S)

# Two segments, the second one first on the drive.
table_on() {
	printf '0 100000 linear %s %d\n100000 %d linear %s 0\n' "$1" $((SECTORS - 100000)) \
		$((SECTORS - 100000)) "$1"
}

# ext4 on the device, with a writer.
begin() {
	blkdiscard -f $T 2>/dev/null
	blkdiscard -f $S 2>/dev/null
	table_on "$S_NUMBERS" | dmsetup create data || return 1
	mkfs.ext4 -q /dev/mapper/data && mount_at m /dev/mapper/data || return 1
	mkdir "$SCRATCH/m/w"
	rm -f "$SCRATCH/acks"
	background "$WRITER" --run "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/writer" 2>&1
	WRITING=$BACKGROUND
	goes_on
}

acked() { stat -c %s "$SCRATCH/acks" 2>/dev/null || echo 0; }
acked_more() { [ "$(acked)" -gt "$1" ]; }
goes_on() {
	wait_for acked_more "$(acked)" && return 0
	echo "# the writer does not go on"
	return 1
}

end() {
	kill -TERM "$WRITING" 2>/dev/null
	wait "$WRITING" 2>/dev/null
	umount "$SCRATCH/m"
	dmsetup remove --retry data
	rm -rf "$SCRATCH/state" "$SCRATCH/run"
}

# maps NUMBERS: it maps that drive and nothing else, runs, and nothing else is loaded.
maps() {
	local table
	table=$(dmsetup table data)
	[ "$table" = "$(table_on "$1")" ] || { echo "# its table is: ${table//$'\n'/; }"; return 1; }
	grep -q '^State: *ACTIVE' <<< "$(dmsetup info data)" || { echo "# it is suspended"; return 1; }
	! grep -q INACTIVE <<< "$(dmsetup info data)" || { echo "# a table is loaded"; return 1; }
	! grep -q godwit <<< "$(dmsetup ls)" || { echo "# the device for the try is left"; return 1; }
}

# The writer's records, read from the drive that the device maps now.
holds_all() {
	kill -TERM "$WRITING" 2>/dev/null
	wait "$WRITING" 2>/dev/null
	umount "$SCRATCH/m" && mount_at m /dev/mapper/data || return 1
	"$WRITER" --check "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/check" 2>&1 ||
		{ sed 's/^/# /' "$SCRATCH/check"; return 1; }
}

swap() { "$1" migrate $S $T --handoff dm:data --name $NAME --overwrite --state-dir "$SCRATCH/state" \
	--run-dir "$SCRATCH/run" "${@:2}" >"$SCRATCH/out" 2>"$SCRATCH/err"; }
cleanup_by() { "$1" cleanup $NAME --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
	>"$SCRATCH/out" 2>"$SCRATCH/err"; }
cleanup() { expect 0 cleanup_by "$GODWIT"; }

swapped() {
	begin && expect 0 swap "$GODWIT" --verify && maps "$T_NUMBERS" && goes_on && nothing_left &&
		holds_all
	local result=$?
	end
	return $result
}

# Killed before the commit record: back on the source; then --continue.
dead_before() {
	begin && GODWIT_KILL_AT=$1 expect 137 swap "$GODWIT_FAULT" && goes_on && maps "$S_NUMBERS" &&
		expect 0 continue_migration && maps "$T_NUMBERS" && goes_on && nothing_left && holds_all
	local result=$?
	end
	return $result
}

# Killed after it: on to the target.
dead_after() {
	begin && GODWIT_KILL_AT=$1 expect 137 swap "$GODWIT_FAULT" && goes_on && maps "$T_NUMBERS" &&
		expect 0 continue_migration && maps "$T_NUMBERS" && goes_on && nothing_left && holds_all
	local result=$?
	end
	return $result
}

# group_dead STEP NUMBERS [STEP-OF-CLEANUP]: godwit dies at the step, and its watchdog, and a first
# cleanup; the next has the last word.
group_dead() {
	begin && dead_with_watchdog "$1" "$GODWIT_FAULT" migrate $S $T --handoff dm:data --name $NAME \
		--overwrite --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" &&
		{ [ $# -lt 3 ] || GODWIT_KILL_AT=$3 expect 137 cleanup_by "$GODWIT_FAULT"; } &&
		cleanup && maps "$2" && goes_on && cleanup && maps "$2" && goes_on && nothing_left && holds_all
	local result=$?
	end
	return $result
}

run "swapped under its writer" swapped
run "killed before the commit: back on the source, and --continue" dead_before handoff-loaded
run "killed after the commit: on the target" dead_after committed
run "killed after the commit, the device resumed: on the target" dead_after handoff-dm-resumed
run "killed with its watchdog before the commit: cleanup goes back" group_dead handoff-loaded "$S_NUMBERS"
run "killed with its watchdog after the commit: cleanup goes on" group_dead committed "$T_NUMBERS"
run "killed with its watchdog, cleanup with the table loaded anew: cleanup goes on" group_dead committed \
	"$T_NUMBERS" handoff-dm-loaded-anew
exit $FAILED
