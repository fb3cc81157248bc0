#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The whole program with --handoff freeze is killed around the commit record, while a writer
# writes to the mounted source. No record: the writer goes on, on the source. A record: it gets an
# error, and every write it was told to be safe is on the target. Also with the watchdog dead:
# then `godwit cleanup` does it.
. "$(dirname "$0")/lib.bash"

# Appends numbers, each synced; the last that was safe stands in acked. Ends at the first error.
write_numbers() {
	exec python3 - "$SCRATCH/source/numbers" "$SCRATCH/acked" <<-'PYTHON'
	import os, sys
	numbers = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
	acked = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
	n = 0
	while True:
	    n += 1
	    os.write(numbers, b"%08d\n" % n)
	    os.fdatasync(numbers)
	    os.pwrite(acked, b"%08d\n" % n, 0)
	PYTHON
}

acked() {
	local n
	n=$(cat "$SCRATCH/acked" 2>/dev/null)
	echo $((10#${n:-0}))
}

goes_on() {
	local before
	before=$(acked)
	wait_for eval "[ \$(acked) -gt $((before + 3)) ]"
}

has_ended() {
	! kill -0 "$WRITER" 2>/dev/null || grep -q '^State:.Z' "/proc/$WRITER/status"
}

begin() {
	NAME=dies$$
	loop source 320M; SOURCE=$LOOP
	loop target 320M; TARGET=$LOOP
	mkfs."$1" -q "$SOURCE" >/dev/null || return 1
	mount_at source "$SOURCE" || return 1
	background write_numbers 2>"$SCRATCH/writer"
	WRITER=$BACKGROUND
	goes_on
}

# migrate_until POINT: 137 when it was killed there.
migrate_until() {
	GODWIT_KILL_AT=$1 "$GODWIT_FAULT" migrate "$SOURCE" "$TARGET" --handoff freeze \
		--downtime-limit 5s --quiesce-deadline 60s --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

cleanup() {
	"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

# The target holds the numbers 1 to the last that was acknowledged, and at most one more.
target_holds_all() {
	local count
	count=$(acked)
	mount_at target "$TARGET" "$1" || return 1
	seq -f %08.0f "$count" | cmp -s - <(head -n "$count" "$SCRATCH/target/numbers") ||
		{ echo "# of $count numbers the target has $(wc -l <"$SCRATCH/target/numbers")"; return 1; }
	[ "$(wc -l <"$SCRATCH/target/numbers")" -le $((count + 1)) ]
}

writer_was_told() {
	wait_for has_ended || return 1
	grep -q 'Errno 5\|SIGBUS' "$SCRATCH/writer" || { sed 's/^/# /' "$SCRATCH/writer"; return 1; }
}

mount_option() {
	[ "$1" = xfs ] && echo nouuid || echo rw
}

before_commit() {
	begin "$1" || return 1
	expect 137 migrate_until "$2" || return 1
	goes_on || return 1
	expect 0 cleanup && expect 0 cleanup && goes_on && nothing_left
}

after_commit() {
	begin "$1" || return 1
	expect 137 migrate_until "$2" || return 1
	writer_was_told || return 1
	target_holds_all "$(mount_option "$1")" || return 1
	expect 0 cleanup && expect 0 cleanup && nothing_left
}

watchdog_is_gone() { ! pgrep -f -- "--name $NAME " >/dev/null; }

# Killed between shutdown and thaw; so is its watchdog, which comes to the same place.
both_after_commit() {
	begin "$1" || return 1
	expect 137 migrate_until handoff-shut-down || return 1
	wait_for watchdog_is_gone || return 1
	expect 0 cleanup || return 1
	writer_was_told || return 1
	expect 0 cleanup || return 1
	target_holds_all "$(mount_option "$1")" && nothing_left
}

is_blocked() { grep -q '^State:.D' "/proc/$WRITER/status"; }

both_before_commit() {
	local before
	begin "$1" || return 1
	dead_with_watchdog drained "$GODWIT_FAULT" migrate "$SOURCE" "$TARGET" --handoff freeze \
		--downtime-limit 5s --quiesce-deadline 60s --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" || return 1
	wait_for is_blocked || return 1
	before=$(acked)
	sleep 0.5
	[ "$(acked)" = "$before" ] || { echo "# the source goes on by itself"; return 1; }
	expect 0 cleanup && goes_on && expect 0 cleanup && nothing_left
}

if [ ! -x "$GODWIT_FAULT" ]; then
	echo "ok - handoff_dies # SKIP no build with fault points (make FAULT=1)"
	exit 0
fi
if ! needs_bpf; then
	echo "ok - handoff_dies # SKIP $SKIP"
	exit 0
fi
for fs in ext4 xfs; do
	for point in quiescing-recorded handoff-armed handoff-froze quiesced flushed committing; do
		run "$fs: killed at $point, the writer goes on" before_commit $fs $point
	done
	for point in committed handoff-switch handoff-switched switched; do
		run "$fs: killed at $point, the target has all" after_commit $fs $point
	done
	run "$fs: both killed before the commit, cleanup thaws" both_before_commit $fs
	run "$fs: both killed between shutdown and thaw, cleanup finishes" both_after_commit $fs
done
exit $FAILED
