#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The hand-off: who owns the data when the tool dies, is late, or its commands fail. A
# writer acknowledges records to a log outside the source; all of them must be where the owner is.
. "$(dirname "$0")/lib.bash"

NAME=handoff$$
WRITER=${DEMO_WRITER:-build/demo-writer}
[ -x "$WRITER" ] && WRITER=$(realpath "$WRITER")

# The source S with ext4 at $SCRATCH/m and a writer on it; the target T.
begin() {
	loop source 128M && S=$LOOP && loop target 128M && T=$LOOP || return 1
	mkfs.ext4 -q "$S" && mount_at m "$S" || return 1
	dd if=/dev/urandom of="$SCRATCH/m/ballast" bs=1M count=20 conv=fsync status=none
	mkdir "$SCRATCH/m/w"
	background "$WRITER" --run "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/writer" 2>&1
	WRITING=$BACKGROUND
	goes_on
}

acked() {
	stat -c %s "$SCRATCH/acks" 2>/dev/null || echo 0
}

acked_more() {
	[ "$(acked)" -gt "$1" ]
}

# Records are acknowledged, from now on, too.
goes_on() {
	wait_for acked_more "$(acked)" && return 0
	echo "# the writer does not go on"
	return 1
}

writer_ends() {
	wait_for sh -c "! kill -0 $WRITING 2>/dev/null || grep -q '^State:.Z' /proc/$WRITING/status" ||
		{ echo "# the writer did not fail"; return 1; }
	wait "$WRITING" 2>/dev/null
	true
}

migrate_with() {
	"$1" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		"${@:2}" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

cleanup() {
	expect 0 "$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

# target_holds_all: the target is clean and has each record that the source acknowledged.
target_holds_all() {
	umount "$SCRATCH/m" || return 1
	e2fsck -fn "$T" >"$SCRATCH/fsck" 2>&1 || { sed 's/^/# /' "$SCRATCH/fsck"; return 1; }
	mount_at t "$T" ro || return 1
	"$WRITER" --check "$SCRATCH/t/w" "$SCRATCH/acks" >"$SCRATCH/check" 2>&1 ||
		{ sed 's/^/# /' "$SCRATCH/check"; return 1; }
	umount "$SCRATCH/t"
}

# Killed before the commit record: the watchdog thaws, the writer never knows.
dead_before() {
	begin || return 1
	GODWIT_KILL_AT=$1 expect 137 migrate_with "$GODWIT_FAULT" || return 1
	goes_on || return 1
	"$WRITER" --check "$SCRATCH/m/w" "$SCRATCH/acks" >"$SCRATCH/check" 2>&1
	expect 0 continue_migration && writer_ends && nothing_left && target_holds_all && same "$S" "$T"
}

# Killed after it: the source takes no write any more, and its writers are told so.
dead_after() {
	local first
	begin || return 1
	GODWIT_KILL_AT=$1 expect 137 migrate_with "$GODWIT_FAULT" || return 1
	first=$(sha256sum <"$SCRATCH/source.img")
	writer_ends || return 1
	dd if=/dev/zero of="$SCRATCH/m/late" bs=4k count=1 oflag=sync status=none 2>/dev/null &&
		{ echo "# the source takes writes"; return 1; }
	[ "$first" = "$(sha256sum <"$SCRATCH/source.img")" ] || { echo "# the source has changed"; return 1; }
	expect 0 continue_migration && said "committed|done before" && nothing_left || return 1
	target_holds_all && same "$S" "$T" &&
		[ "$first" = "$(sha256sum <"$SCRATCH/source.img")" ]
}

group_dead() {
	begin && dead_with_watchdog "$1" "$GODWIT_FAULT" migrate "$S" "$T" --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run"
}

# Each of its workers waits in the file system; what was written before is acknowledged.
is_blocked() { [ "$(grep -l '^State:.D' "/proc/$WRITING/task"/*/status | wc -l)" = 5 ]; }

stays_stopped() {
	local before
	wait_for is_blocked || return 1
	before=$(acked)
	sleep 0.3
	[ "$before" = "$(acked)" ] && return 0
	echo "# the source goes on by itself"
	return 1
}

group_dead_before() {
	group_dead "$1" && stays_stopped && cleanup && goes_on && nothing_left && cleanup && goes_on &&
		"$WRITER" --check "$SCRATCH/m/w" "$SCRATCH/acks" >/dev/null
}

group_dead_after() {
	local first
	group_dead "$1" && stays_stopped || return 1
	first=$(sha256sum <"$SCRATCH/source.img")
	cleanup && writer_ends && nothing_left && cleanup || return 1
	[ "$first" = "$(sha256sum <"$SCRATCH/source.img")" ] || { echo "# the source has changed"; return 1; }
	target_holds_all && same "$S" "$T"
}

# cleanup alone, over all that the run directory knows, after godwit died and its watchdog did its part.
cleanup_of_all() {
	begin || return 1
	GODWIT_KILL_AT=quiesced expect 137 migrate_with "$GODWIT_FAULT" || return 1
	goes_on || return 1
	expect 0 "$GODWIT" cleanup --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" &&
		nothing_left && goes_on
}

# Too much is left for the deadline: the source goes on.
deadline() {
	begin || return 1
	cat >"$SCRATCH/dirty" <<-SH
		while dd if=/dev/urandom of=$SCRATCH/m/big bs=1M count=40 conv=notrunc,fsync status=none; do :; done
	SH
	background sh "$SCRATCH/dirty" 2>/dev/null
	expect 5 migrate "$S" "$T" --bandwidth 60M --downtime-limit 1m --quiesce-deadline 5ms &&
		said "deadline" && nothing_left && goes_on || return 1
	timeout 10 dd if=/dev/zero of="$SCRATCH/m/x" bs=4k count=1 oflag=sync status=none
}

# Two partitions, one of them mounted in two places.
several_mounts() {
	local result disk
	loop source 160M; disk=$LOOP
	loop target 160M; T=$LOOP
	addpart "$disk" 1 2048 131072 || { SKIP="addpart does not work here"; return 0; }
	addpart "$disk" 2 133120 131072
	wait_for test -b "${disk}p2" && mkfs.ext4 -q "${disk}p1" && mkfs.ext4 -q "${disk}p2" &&
		mount_at a "${disk}p1" && mount_at b "${disk}p2" && mount_at c "$SCRATCH/a" bind &&
		dd if=/dev/urandom of="$SCRATCH/c/one" bs=1M count=3 status=none &&
		dd if=/dev/urandom of="$SCRATCH/b/two" bs=1M count=3 status=none &&
		expect 0 migrate "$disk" "$T" --verify && nothing_left
	result=$?
	for m in a b c; do
		touch "$SCRATCH/$m/late" 2>/dev/null && { echo "# $m takes writes"; result=1; }
	done
	umount "$SCRATCH/c" "$SCRATCH/b" "$SCRATCH/a"
	drop_partition "$disk" 1
	drop_partition "$disk" 2
	[ $result = 0 ] && same "$disk" "$T"
}

# A mounted disk claims its partitions, too: what an old partition table left is no other user.
mounted_whole() {
	local result
	loop source 64M; S=$LOOP
	loop target 64M; T=$LOOP
	addpart "$S" 1 2048 16384 || { SKIP="addpart does not work here"; return 0; }
	mkfs.ext4 -q "$S" && mount_at a "$S" &&
		dd if=/dev/urandom of="$SCRATCH/one" bs=1M count=3 status=none &&
		cp "$SCRATCH/one" "$SCRATCH/a" &&
		expect 0 migrate "$S" "$T" --verify && nothing_left && mount_at b "$T" ro &&
		cmp "$SCRATCH/one" "$SCRATCH/b/one"
	result=$?
	umount "$SCRATCH/a" "$SCRATCH/b"
	drop_partition "$S" 1
	return $result
}

stdout_on_source() {
	begin || return 1
	"$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/m/out" 2>"$SCRATCH/err"
	[ $? = 3 ] || { echo "# exit code is not 3"; cat "$SCRATCH/err"; return 1; }
	said "stdout|standard output|/m/out" && nothing_left && [ ! -e "$SCRATCH/state" ] && goes_on
}

# ---- exec ----

pair() {
	loop source 32M && S=$LOOP && loop target 32M && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M oflag=direct status=none 2>/dev/null
	true
}

note() {
	printf 'echo "$GODWIT_PHASE $GODWIT_BY" >>%s/phases; env | sort | grep -E "^GODWIT_(BY|MIGRATION|PHASE|SOURCE|STATE_DIR|TARGET)=" >%s/env.$GODWIT_PHASE' \
		"$SCRATCH" "$SCRATCH"
}

phases() {
	[ "$(paste -sd, "$SCRATCH/phases")" = "$1" ] && return 0
	echo "# phases: $(paste -sd, "$SCRATCH/phases"), expected $1"
	return 1
}

environment() {
	local phase
	pair || return 1
	expect 0 migrate "$S" "$T" --handoff exec --exec-quiesce "$(note); cat" --exec-switch "$(note)" \
		--exec-resume "$(note)" --exec-abort "$(note)" || return 1
	phases "quiesce migrate,switch migrate,resume migrate" || return 1
	for phase in quiesce switch resume; do
		diff - "$SCRATCH/env.$phase" <<-END | sed 's/^/# /'
			GODWIT_BY=migrate
			GODWIT_MIGRATION=$NAME
			GODWIT_PHASE=$phase
			GODWIT_SOURCE=$S
			GODWIT_STATE_DIR=$SCRATCH/state
			GODWIT_TARGET=$T
		END
		[ "${PIPESTATUS[0]}" = 0 ] || return 1
	done
	reported "report['blackout']['user_ns'] > 0"
}

quiesce_fails() {
	local before
	pair || return 1
	before=$(sha256sum <"$SCRATCH/source.img")
	expect 4 migrate "$S" "$T" --handoff exec --exec-quiesce "$(note); exit 9" \
		--exec-switch "$(note)" --exec-abort "$(note)" && said "quiesce" &&
		phases "quiesce migrate,abort migrate" && nothing_left &&
		[ "$before" = "$(sha256sum <"$SCRATCH/source.img")" ]
}

quiesce_too_long() {
	local began=$SECONDS
	pair || return 1
	expect 4 migrate "$S" "$T" --handoff exec --exec-timeout 2s --exec-quiesce "$(note); sleep 600" \
		--exec-abort "$(note)" && said "exec-timeout|too long|longer|within" &&
		phases "quiesce migrate,abort migrate" && nothing_left && [ $((SECONDS - began)) -lt 100 ]
}

switch_fails() {
	pair || return 1
	expect 7 migrate "$S" "$T" --handoff exec --exec-quiesce "$(note)" \
		--exec-switch "$(note); test -e $SCRATCH/mended" --exec-resume "$(note)" \
		--exec-abort "$(note)" && said "committed.*cleanup" &&
		phases "quiesce migrate,switch migrate" && same "$S" "$T" || return 1
	touch "$SCRATCH/mended"
	cleanup && phases "quiesce migrate,switch migrate,switch cleanup,resume cleanup" && nothing_left &&
		cleanup
}

# The command itself is wrong, and cannot be mended: what it should do is done by hand.
switch_by_hand() {
	pair || return 1
	expect 7 migrate "$S" "$T" --handoff exec --exec-quiesce "$(note)" \
		--exec-switch "$(note); false" --exec-resume "$(note)" || return 1
	expect 7 "$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		2>"$SCRATCH/err" && said "by hand .*cleanup $NAME --skip-commands" &&
		phases "quiesce migrate,switch migrate,switch cleanup" || return 1
	expect 0 "$GODWIT" cleanup "$NAME" --skip-commands --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" && said "only the target may run" &&
		phases "quiesce migrate,switch migrate,switch cleanup" && nothing_left && cleanup &&
		phases "quiesce migrate,switch migrate,switch cleanup"
}

# A freeze is not the user's to undo by a word.
no_commands_to_skip() {
	begin || return 1
	GODWIT_KILL_AT=quiesced expect 137 migrate_with "$GODWIT_FAULT" || return 1
	goes_on 2 && expect 3 "$GODWIT" cleanup "$NAME" --skip-commands --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" 2>"$SCRATCH/err" && said "leave --skip-commands away" && cleanup &&
		nothing_left && goes_on
}

abort_fails() {
	pair || return 1
	expect 7 migrate "$S" "$T" --handoff exec --exec-quiesce "$1" \
		--exec-abort "$(note); test -e $SCRATCH/mended" --quiesce-deadline 60s && phases "abort migrate" ||
		return 1
	# It is still due: the source's writers do not run.
	touch "$SCRATCH/mended"
	cleanup && phases "abort migrate,abort cleanup" && nothing_left && cleanup &&
		phases "abort migrate,abort cleanup"
}

# The watchdog runs what is due when godwit dies.
exec_dead() {
	pair || return 1
	GODWIT_KILL_AT=$1 expect 137 migrate_with "$GODWIT_FAULT" --handoff exec --exec-quiesce "$(note)" \
		--exec-switch "$(note)" --exec-resume "$(note)" --exec-abort "$(note)" || return 1
	wait_for grep -q "$2" "$SCRATCH/phases" || return 1
	wait_for phases "$3" || { phases "$3"; return 1; }
	expect 0 continue_migration && same "$S" "$T" && nothing_left
}

if ! needs_bpf; then
	echo "ok - hand-off # SKIP $SKIP"
	exit 0
fi
if [ ! -x "$WRITER" ] || [ ! -x "$GODWIT_FAULT" ]; then
	echo "ok - hand-off # SKIP $WRITER or $GODWIT_FAULT is not built"
	exit 0
fi
for step in quiesced drained last-copied committing; do
	run "killed at $step: the writer goes on, and --continue" dead_before $step
done
for step in committed switched resumed; do
	run "killed at $step: only the target may run" dead_after $step
done
run "killed at quiesced, its watchdog too: cleanup thaws" group_dead_before last-copied
run "killed at committed, its watchdog too: cleanup shuts down" group_dead_after committed
run "cleanup of all that is known" cleanup_of_all
run "the deadline passes" deadline
run "several file systems, one mounted twice" several_mounts
run "a disk mounted as a whole, with partitions" mounted_whole
run "standard output on the source" stdout_on_source
run "exec: environment of the commands" environment
run "exec: quiesce fails" quiesce_fails
run "exec: quiesce takes too long" quiesce_too_long
run "exec: switch fails after the commit" switch_fails
run "exec: the switch command is wrong: done by hand" switch_by_hand
run "no commands to skip" no_commands_to_skip
run "exec: quiesce fails, and abort fails: cleanup" abort_fails false
run "exec: cancelled, and abort fails: cleanup" abort_fails "kill -INT \$PPID"
run "exec: killed when quiesced" exec_dead quiesced "abort" \
	"quiesce migrate,abort watchdog"
run "exec: killed when committed" exec_dead committed "resume" \
	"quiesce migrate,switch watchdog,resume watchdog"
exit $FAILED
