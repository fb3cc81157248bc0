#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --throttle-writers: what does not converge without it does with it; the cgroup's former limit is
# back after the switch, a cancellation, a death at any step, and when the watchdog died as well.
. "$(dirname "$0")/lib.bash"
TRIES=2

NAME=throttle$$
FORMER=$((40 << 20))		# the administrator's own limit
# The writer's 36 MiB/s against 8 MiB/s keep 25 of 32 MiB dirty, and half of the writes still 18:
# no device here copies that within the downtime limit, so two steps are needed on a fast machine,
# too. A quarter of what writes would do on a slow one.
SIZE_MIB=32
RATES=(--bandwidth 8M --downtime-limit 20ms)

# A cgroup of our own: v1's blkio where that is mounted or can be, else v2's io.
make_cgroup() {
	local root
	root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)blkio(,|$)/ { print $2; exit }' /proc/mounts)
	if [ -z "$root" ] && mkdir -p "$SCRATCH/blkio" &&
		mount -t cgroup -o blkio none "$SCRATCH/blkio" 2>/dev/null; then
		MOUNTS+=("$SCRATCH/blkio")
		root=$SCRATCH/blkio
	fi
	FILE=blkio.throttle.write_bps_device
	if [ -z "$root" ]; then
		root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
		grep -qw io "$root/cgroup.controllers" 2>/dev/null &&
			echo +io >"$root/cgroup.subtree_control" 2>/dev/null
		FILE=io.max
	fi
	CGROUP=$root/gw-$NAME
	[ -n "$root" ] && mkdir -p "$CGROUP" && [ -e "$CGROUP/$FILE" ] && return 0
	rmdir "$CGROUP" 2>/dev/null
	SKIP="no cgroup with a blkio or io controller"
	return 1
}

set_limit() {
	if [ "$FILE" = io.max ]; then
		echo "$NUMBER wbps=$1" >"$CGROUP/$FILE"
	else
		echo "$NUMBER $1" >"$CGROUP/$FILE"
	fi
}

limit() {
	sed -n "s/^$NUMBER .*wbps=\([0-9]*\).*/\1/p; s/^$NUMBER \([0-9]*\)\$/\1/p" "$CGROUP/$FILE"
}

limit_is() {
	[ "$(limit)" = "$1" ] && return 0
	echo "# the limit is \"$(limit)\", expected \"$1\""
	return 1
}

is_throttled() {
	[ -n "$(limit)" ] && [ "$(limit)" -lt "$FORMER" ]
}

begin() {
	make_cgroup || return 1
	loop source "${SIZE_MIB}M" && S=$LOOP && loop target "${SIZE_MIB}M" && T=$LOOP || return 1
	NUMBER=$(cat "/sys/block/${S#/dev/}/dev")
	dd if=/dev/urandom of="$S" bs=1M count="$SIZE_MIB" oflag=direct status=none
	set_limit "$FORMER" || return 1
}

in_cgroup() {
	echo "$BASHPID" >"$CGROUP/cgroup.procs"
	exec "$@"
}

# writer [in_cgroup]: far more than is copied, until it is killed.
writer() {
	background "$@" fio --thread --name=w --filename="$S" --rw=randwrite --bs=4k --size="${SIZE_MIB}M" \
		--direct=1 --ioengine=io_uring --iodepth=8 --rate_iops=9000 --time_based --runtime=600 \
		--randrepeat=0 --norandommap --output=/dev/null
	WRITING=$BACKGROUND
	# Not KILL: a write that waits for the limit would reach the source after its process has gone.
	STOP="kill -TERM $WRITING; while [ -d /proc/$WRITING ] && ! grep -q '^State:.Z' /proc/$WRITING/status; do sleep 0.01; done"
	wait_for grep -q . "$CGROUP/cgroup.procs" || [ $# = 0 ]
}

options() {
	OPTIONS=("$S" "$T" --handoff exec --exec-quiesce "$STOP" --exec-abort true "${RATES[@]}"
		--name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" --throttle-writers "$CGROUP")
}

start() {
	options
	background "${1:-$GODWIT}" migrate "${OPTIONS[@]}" >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
}

run_cleanup() {
	"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err"
}

end() {
	kill -KILL "$WRITING" 2>/dev/null
	wait "$WRITING" 2>/dev/null
	rmdir "$CGROUP" 2>/dev/null
	return "$1"
}

# ---- the tests; each one leaves its cgroup to end() ----

only_with_it() {
	begin && writer in_cgroup || return 1
	expect 5 migrate "$S" "$T" --handoff exec --exec-quiesce "$STOP" --exec-abort true \
		"${RATES[@]}" --timeout 6s && said 'will not converge|did not get less' && limit_is "$FORMER" || return 1
	rm -rf "$SCRATCH/state"
	options
	expect 0 "$GODWIT" migrate "${OPTIONS[@]}" --overwrite >"$SCRATCH/out" 2>"$SCRATCH/err" || return 1
	limit_is "$FORMER" && same "$S" "$T" && nothing_left || return 1
	said 'throttling the writers to [0-9.]+ MiB/s, they wrote [0-9.]+ MiB/s: .* are dirtied, .* are copied' || return 1
	# Each step is told before the switch is, and the end after the last step.
	reported "(lambda t: t['restored'] and t['steps'] >= 1 and t['throttled_ns'] > 1e8 and
		t['former_bytes_per_s'] == $FORMER and (1 << 20) <= t['lowest_bytes_per_s'] < $FORMER and
		t['write_before_bytes_per_s'] > t['write_after_bytes_per_s'])(report['throttle'])" &&
		reported "[m['kind'] for m in report['messages']].count('throttled') == report['throttle']['steps'] + 1" &&
		reported "report['blackout']['total_ns'] > 0" && report_fits
}

cancelled() {
	begin && writer in_cgroup && start || return 1
	wait_for is_throttled || return 1
	kill -TERM "$PID"
	wait "$PID"
	[ $? = 6 ] || { echo "# not cancelled"; return 1; }
	limit_is "$FORMER" && nothing_left && kill -0 "$WRITING" && reported "report['throttle']['restored']"
}

# status EXPRESSION: of Python, about the `throttle` of the status.
status() {
	"$GODWIT" status "$NAME" --run-dir "$SCRATCH/run" -o json >"$SCRATCH/status" &&
		python3 "$HERE/../cli/schema.py" "$HERE/../../docs/schema/control-status.schema.json" <"$SCRATCH/status" &&
		python3 -c "import json, sys; throttle = json.load(open('$SCRATCH/status'))['throttle']; sys.exit(not ($1))" &&
		return 0
	echo "# does not hold: $1"
	cat "$SCRATCH/status"
	return 1
}

steps_are_told() {
	[ "$(grep -c 'throttling the writers to' "$SCRATCH/err")" -gt "$1" ]
}

# What the status says of it; switched off, it stays off, and it begins anew when it is switched on.
switched_off() {
	local steps
	begin && writer in_cgroup || return 1
	options
	background "$GODWIT" migrate "${OPTIONS[@]}" --wait-switch >"$SCRATCH/out" 2>"$SCRATCH/err"
	wait_for is_throttled && wait_for status "throttle['limit_bytes_per_s'] > 0" || return 1
	status "throttle['cgroup'] == '$CGROUP' and throttle['former_bytes_per_s'] == $FORMER and throttle['steps'] >= 1 and
		throttle['throttled_ns'] > 0 and not throttle['given_up']" || return 1
	"$GODWIT" status "$NAME" --run-dir "$SCRATCH/run" >"$SCRATCH/out" &&
		grep -Eq '^  writers +throttled to [0-9.]+ MiB/s for .*before it: 40.0 MiB/s' "$SCRATCH/out" || { cat "$SCRATCH/out"; return 1; }
	expect 0 "$GODWIT" set "$NAME" --run-dir "$SCRATCH/run" throttle-writers=off && limit_is "$FORMER" || return 1
	status "throttle['limit_bytes_per_s'] == 0 and throttle['throttled_ns'] > 0" || return 1
	# Longer than a step takes.
	sleep 2.5
	limit_is "$FORMER" || return 1
	steps=$(grep -c 'throttling the writers to' "$SCRATCH/err")
	expect 0 "$GODWIT" set "$NAME" --run-dir "$SCRATCH/run" throttle-writers=on || return 1
	wait_for steps_are_told "$steps" && wait_for is_throttled || return 1
	expect 0 "$GODWIT" cancel "$NAME" --run-dir "$SCRATCH/run" || return 1
	limit_is "$FORMER" && nothing_left && kill -0 "$WRITING" || return 1
	[ "$(grep -c 'cancelled$' "$SCRATCH/err")" = 1 ] || { echo "# told more than once:"; cat "$SCRATCH/err"; return 1; }
	reported "report['throttle']['restored'] and any('throttling is switched off' in m['text'] for m in report['messages'])"
}

# Killed at a step: the watchdog restores. Then on to the end, or cleaned up, twice.
killed() {
	begin && writer in_cgroup || return 1
	GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
	wait "$PID" 2>/dev/null
	[ $? = 137 ] || { echo "# $1 was never reached"; tail -3 "$SCRATCH/err"; return 1; }
	wait_for limit_is "$FORMER" && kill -0 "$WRITING" || return 1
	if [ "$2" = continue ]; then
		expect 0 continue_migration && same "$S" "$T" && limit_is "$FORMER" && nothing_left &&
			reported "report['throttle']['restored'] and report['committed']"
	else
		expect 0 run_cleanup && said 'no longer throttled' && expect 0 run_cleanup &&
			limit_is "$FORMER" && nothing_left && reported "report['throttle']['restored']"
	fi
}

both_killed() {
	local watchdog
	begin && writer in_cgroup && start || return 1
	wait_for is_throttled || return 1
	watchdog=$(pgrep -P "$PID" -x godwit-watchdog) || { echo "# no watchdog"; return 1; }
	kill -STOP "$PID"
	kill -KILL "$watchdog" "$PID"
	wait "$PID" 2>/dev/null
	is_throttled || { echo "# not throttled any more: $(limit)"; return 1; }
	# Another migration of that name does not begin on top of it.
	options
	expect 3 "$GODWIT" migrate "${OPTIONS[@]}" >"$SCRATCH/out" 2>"$SCRATCH/err" || return 1
	expect 0 run_cleanup && limit_is "$FORMER" || return 1
	# The second time somebody else's limit is none of its business.
	set_limit $((5 << 20))
	expect 0 run_cleanup && limit_is $((5 << 20)) && nothing_left
}

without_its_watchdog() {
	begin && writer in_cgroup && start || return 1
	wait_for is_throttled || return 1
	pkill -KILL -P "$PID" -x godwit-watchdog || return 1
	wait_for limit_is "$FORMER" && wait_for said 'watchdog .* has died' || return 1
	kill -TERM "$PID"
	wait "$PID"
	limit_is "$FORMER"
}

# Who goes on after a death can do without: what was to be throttled may have been started anew elsewhere.
cgroup_is_gone() {
	local sleeper
	begin && background in_cgroup sleep 600 || return 1
	sleeper=$BACKGROUND
	wait_for grep -q . "$CGROUP/cgroup.procs" || return 1
	STOP=true
	start && wait_for grep -aq settled_bytes "$SCRATCH/state/journal" || return 1
	kill -KILL "$PID" "$sleeper"
	wait "$PID" "$sleeper" 2>/dev/null
	wait_for rmdir "$CGROUP" || return 1
	expect 3 continue_migration --throttle-writers "$CGROUP" && said "no cgroup" || return 1
	expect 0 continue_migration && said 'will not be throttled.*no cgroup' && same "$S" "$T" && nothing_left
}

# The writer is somewhere else; only an idle process is in the cgroup.
no_effect() {
	begin && background in_cgroup sleep 600 && writer && start || return 1
	wait_for grep -q 'no effect' "$SCRATCH/err" || return 1
	limit_is "$FORMER" || return 1
	kill -TERM "$PID"
	wait "$PID"
	limit_is "$FORMER"
}

somebody_elses_limit() {
	begin && writer in_cgroup && start || return 1
	wait_for is_throttled || return 1
	set_limit $((38 << 20))
	kill -TERM "$PID"
	wait "$PID"
	limit_is $((38 << 20)) && said 'somebody else has set'
}

refusals() {
	begin && STOP=true || return 1
	expect 3 migrate "$S" "$T" --overwrite --handoff none --throttle-writers /no/such/group &&
		said 'no cgroup /no/such/group' || return 1
	expect 3 migrate "$S" "$T" --overwrite --handoff none --throttle-writers "$CGROUP" &&
		said 'no process is in it' || return 1
	expect 3 migrate "$S" "$T" --overwrite --handoff none --throttle-writers "$SCRATCH" &&
		said 'neither io.max nor blkio' || return 1
	background in_cgroup sleep 600
	WRITING=$BACKGROUND
	wait_for grep -q . "$CGROUP/cgroup.procs" || return 1
	expect 3 migrate "$SCRATCH/source.img" "$SCRATCH/file" --throttle-writers "$CGROUP" &&
		said 'regular file' || return 1
	expect 3 migrate "$S" "$T" --overwrite --handoff none --track none --throttle-writers "$CGROUP" &&
		said 'without tracking' || return 1
	set_limit 1000000
	expect 3 migrate "$S" "$T" --overwrite --handoff none --throttle-writers "$CGROUP" && said 'has a limit of' &&
		limit_is 1000000 && nothing_left && [ ! -e "$SCRATCH/state" ]
}

tidy() {
	WRITING=
	"$@"
	end $?
}

if ! needs_bpf; then
	echo "ok - throttled writers # SKIP $SKIP"
	exit 0
fi
run "does not converge without, does with it" tidy only_with_it
run "interrupted while throttled" tidy cancelled
run "told of, switched off and on, cancelled over the socket" tidy switched_off
run "both killed, cleanup restores" tidy both_killed
run "its watchdog dies alone" tidy without_its_watchdog
run "writers in another cgroup" tidy no_effect
run "the cgroup is gone when it goes on" tidy cgroup_is_gone
run "somebody else's limit stays" tidy somebody_elses_limit
run "refusals" tidy refusals
if [ -x "$GODWIT_FAULT" ]; then
	run "killed at throttle-recorded, then --continue" tidy killed throttle-recorded continue
	run "killed at throttle-set, then --continue" tidy killed throttle-set continue
	run "killed at throttle-set the second time, then cleanup" tidy killed throttle-set:2 cleanup
	run "killed at throttle-restored, then cleanup" tidy killed throttle-restored cleanup
else
	echo "ok - killed at each step # SKIP no build with fault points (make FAULT=1)"
fi
exit $FAILED
