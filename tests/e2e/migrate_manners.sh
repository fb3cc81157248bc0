#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How the copier behaves beside others: its CPUs, its nice value, its threads, and its memory, which
# stays what was announced; the user's commands get what the caller had.
. "$(dirname "$0")/lib.bash"
TRIES=2

NAME=manners$$
SLACK_KIB=2048			# beyond what is announced, while it copies
START_KIB=6144			# once, before: the checks, and the loader of the BPF programs
THREADS_MAX=20			# engine, control socket, io_uring's workers: 8 of each kind at most

begin() {
	loop source 48M && S=$LOOP && loop target 48M && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M count=48 oflag=direct status=none
}

start() {
	background "$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" --overwrite --bandwidth 3M "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
	wait_for grep -aq settled_bytes "$SCRATCH/state/journal"
}

# Slow enough to be looked at; now to the end.
hurry() {
	expect 0 "$GODWIT" set "$NAME" bandwidth=0 --run-dir "$SCRATCH/run" 2>"$SCRATCH/hurried"
}

# of_all_threads NICE CPUS
of_all_threads() {
	local task nice cpus count=0
	for task in "/proc/$PID/task"/*; do
		nice=$(sed 's/.*) //' "$task/stat" 2>/dev/null | cut -d ' ' -f 17) || continue
		cpus=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' "$task/status")
		count=$((count + 1))
		[ "$nice" = "$1" ] && [ "$cpus" = "$2" ] && continue
		[ -e "$task/stat" ] || continue
		echo "# $(cat "$task/comm"): nice $nice, CPUs $cpus"
		return 1
	done
	[ $count -ge 1 ] && [ $count -le $THREADS_MAX ] || { echo "# $count threads"; return 1; }
}

cpus_and_nice() {
	local all nice
	all=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status)
	nice=$(nice)
	begin || return 1
	start --cpus "${all%%[,-]*}" --nice 7 --handoff exec --exec-abort true \
		--exec-quiesce "{ nice; sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status; } >$SCRATCH/had" ||
		return 1
	of_all_threads 7 "${all%%[,-]*}" && hurry || return 1
	expect 0 wait "$PID" || return 1
	[ "$(xargs <"$SCRATCH/had")" = "$nice $all" ] && same "$S" "$T" ||
		{ echo "# the command had: $(xargs <"$SCRATCH/had")"; return 1; }
}

by_default() {
	local all nice
	all=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status)
	nice=$(nice)
	begin && start --handoff none || return 1
	of_all_threads $((nice > 5 ? nice : 5)) "$all" || return 1
	kill -KILL "$PID"
	wait "$PID" 2>/dev/null
	# What was asked for once holds for whoever goes on; and anew.
	background "$GODWIT" migrate --continue "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" --nice 12 >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
	# Its socket comes after its manners.
	wait_for "$GODWIT" status "$NAME" --run-dir "$SCRATCH/run" && of_all_threads 12 "$all" && hurry || return 1
	expect 0 wait "$PID" && same "$S" "$T"
}

no_such_cpu() {
	begin || return 1
	expect 3 migrate "$S" "$T" --handoff none --overwrite --cpus 1023 && said 'none of these CPUs' &&
		nothing_left
}

# footprint OPTIONS...: anonymous memory, now and at its worst, beside what was announced.
footprint() {
	local announced_kib anon_kib peak_kib file_kib
	begin && start --handoff none "$@" || return 1
	anon_kib=$(awk '/^RssAnon/ { print $2 }' "/proc/$PID/status")
	file_kib=$(awk '/^RssFile|^RssShmem/ { sum += $2 } END { print sum }' "/proc/$PID/status")
	hurry || return 1
	wait_for grep -aq '"round":' "$SCRATCH/state/journal" || return 1
	peak_kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$PID/status" 2>/dev/null)
	expect 0 wait "$PID" || return 1
	announced_kib=$("$GODWIT" report "$SCRATCH/state" -o json |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["settings"]["memory_bytes"] >> 10)')
	echo "# announced $announced_kib KiB; anonymous $anon_kib, files and shared $file_kib, peak ${peak_kib:-ended}"
	[ "$anon_kib" -le $((announced_kib + SLACK_KIB)) ] &&
		[ "${peak_kib:-0}" -le $((announced_kib + START_KIB + file_kib)) ]
}

if ! needs_bpf; then
	echo "ok - manners # SKIP $SKIP"
	exit 0
fi
run "CPUs and nice value, and what the commands get" cpus_and_nice
run "nice by default, and in a continuation" by_default
run "CPUs that are not there" no_such_cpu
run "footprint with 8 buffers" footprint
run "footprint with 40 buffers, verified" footprint --buffers 40 --verify
exit $FAILED
