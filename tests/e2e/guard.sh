#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --guard: the workload's latency governs the copier, which gets done all the same; the report
# tells of each I/O of the workload once, and of none of the copier's.
. "$(dirname "$0")/lib.bash"
TRIES=2

NAME=guard$$

# pair [SIZE]: S, full of random data, and T.
pair() {
	loop source "${1:-24M}" && S=$LOOP && loop target "${1:-24M}" && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M oflag=direct status=none 2>/dev/null
	true
}

# load IOPS [OPTIONS]: random reads and writes of 4 KiB until it is killed.
load() {
	local iops=$1
	shift
	background fio --thread --name=w --filename="$S" --rw=randrw --bs=4k --size=24M --direct=1 \
		--ioengine=io_uring --iodepth=4 --rate_iops="$iops,$iops" --time_based --runtime=600 \
		--randrepeat=0 --norandommap --output=/dev/null "$@"
	stop_is_kill
}

# The quiesce command: who loads is dead.
stop_is_kill() {
	printf 'kill -KILL %s; while [ -d /proc/%s ] && ! grep -q "^State:.Z" /proc/%s/status; do sleep 0.01; done\n' \
		"$BACKGROUND" "$BACKGROUND" "$BACKGROUND" >"$SCRATCH/stop"
}

guarded() {
	migrate "$S" "$T" --handoff exec --exec-quiesce "sh $SCRATCH/stop" "$@"
}

# Of Python: the latencies in the report, by stretch.
STRETCHES='{one["stretch"]: one for one in report["latencies"]}'

# Every I/O is too slow: the copier comes down to its floor, says why, and gets done.
holds_back() {
	pair && load 800 || return 1
	expect 0 guarded --guard p99=1us && same "$S" "$T" && nothing_left || return 1
	said 'before the start p99 of .* already, the limit is' && said 'instead of .* took longer than' &&
		said 'the limit cannot be kept: .* floor of 4.0 MiB/s' || return 1
	# 24 MiB at 4 MiB/s or a little more, after two seconds of looking.
	reported 'report["elapsed_ns"] > 5e9 and report["settings"]["guard"] == "p99=1us"'
}

# Nobody suffers: no faster than it can, but not held back.
lets_go() {
	pair 64M && load 800 || return 1
	expect 0 guarded --guard p99=10s && same "$S" "$T" && nothing_left || return 1
	said 'guard, in all: 0.00 % of [0-9]+ I/Os above the limit, 1 % may be; the rate was cut 0 times' || return 1
	reported "[${STRETCHES}[k]['read']['count'] > 100 for k in ('before', 'during')] == [True, True]" &&
		reported "all(${STRETCHES}[k]['write']['p99_ns'] > 0 for k in ('before', 'during'))" &&
		reported "${STRETCHES}['before']['elapsed_ns'] >= 2e9" && report_fits
}

relative() {
	pair && load 800 || return 1
	expect 0 guarded --guard 50x && same "$S" "$T" && said 'guard 50x: p99 of reads may take'
}

# Writers, and a read now and then: ten seconds would not do for a limit from those few, and nobody waits for them.
rare_reads() {
	pair || return 1
	background fio --thread --filename="$S" --bs=4k --size=24M --direct=1 --ioengine=io_uring --time_based --runtime=600 \
		--output=/dev/null --name=w --rw=randwrite --rate_iops=1000 --name=r --rw=randread --rate_iops=2
	stop_is_kill
	expect 0 guarded --guard 50x && same "$S" "$T" &&
		reported "${STRETCHES}['before']['read']['count'] > 0 and 2e9 <= ${STRETCHES}['before']['elapsed_ns'] < 8e9"
}

# Of nothing there is no multiple: a limit all the same.
of_nothing() {
	pair && expect 0 migrate "$S" "$T" --handoff none --guard 2x && same "$S" "$T" &&
		said 'too few I/Os before the start'
}

# Each once: those of fio, at a time when the copier reads all of the source.
counts() {
	local queue
	pair 64M || return 1
	queue=/sys/block/${S#/dev/}/queue/nomerges
	echo 2 >"$queue"
	background "$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		--handoff none --guard p99=10s --bandwidth 3M >"$SCRATCH/out" 2>"$SCRATCH/err"
	wait_for grep -aq generation "$SCRATCH/state/journal" || return 1
	fio --filename="$S" --bs=4k --direct=1 --ioengine=io_uring --size=24M --norandommap --output=/dev/null \
		--name=r --rw=randread --number_ios=3000 --rate_iops=1500 \
		--name=w --rw=randwrite --number_ios=2000 --rate_iops=1000
	expect 0 "$GODWIT" set "$NAME" bandwidth=0 --run-dir "$SCRATCH/run" 2>"$SCRATCH/told" || return 1
	wait "$BACKGROUND" || { tail -5 "$SCRATCH/err"; return 1; }
	echo 0 >"$queue"
	same "$S" "$T" || return 1
	# What the kernel kept from the program was missed; the journal knows how many that were. Of
	# completions that interrupt some threads it keeps, uncounted, a queue's worth at a time.
	MISSED=$(grep -ao '"missed":[0-9]*' "$SCRATCH/state/journal" | awk -F: '{ n += $2 } END { print n }')
	reported "2880 - $MISSED <= sum(one['read']['count'] for one in report['latencies'] if one['stretch'] != 'during') <= 3000" &&
		reported "1920 - $MISSED <= sum(one['write']['count'] for one in report['latencies'] if one['stretch'] != 'during') <= 2000" &&
		reported "${STRETCHES}['during']['read']['count'] > 0"
}

# Without a guard it is told as well.
told_without() {
	pair && load 800 || return 1
	expect 0 guarded --bandwidth 16M || return 1
	reported "report['settings']['guard'] == '' and ${STRETCHES}['during']['read']['count'] > 100" || return 1
	"$GODWIT" report "$SCRATCH/state" >"$SCRATCH/out" && said "The workload's I/O" && said 'during +reads +[0-9]'
}

continued() {
	pair && load 800 || return 1
	background "$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		--handoff exec --exec-quiesce "sh $SCRATCH/stop" --guard p99=1us >"$SCRATCH/out" 2>"$SCRATCH/err"
	wait_for grep -aq settled_bytes "$SCRATCH/state/journal" || return 1
	kill -KILL "$BACKGROUND"
	wait "$BACKGROUND"
	expect 0 continue_migration --guard p99=5s && same "$S" "$T" && nothing_left || return 1
	said 'guard p99=5s' && [ "$(grep -ac 'of reads may take' "$SCRATCH/state/journal")" -ge 1 ]
}

# The level by which the copier is told apart is not for others.
priority() {
	pair && load 400 --prioclass=2 --prio=6 || return 1
	expect 0 guarded --guard p99=1s && said 'best-effort priority 6.*ionice'
}

refused() {
	truncate -s 1M "$SCRATCH/a"
	expect 2 migrate "$SCRATCH/a" "$SCRATCH/b" --guard 2x && said 'not tracked' && [ ! -e "$SCRATCH/b" ]
}

if ! needs_bpf; then
	echo "ok - guard # SKIP $SKIP"
	exit 0
fi
command -v fio >/dev/null || { echo "ok - guard # SKIP no fio"; exit 0; }
run "a limit that cannot be kept: the floor, and done all the same" holds_back
run "a limit that nobody exceeds" lets_go
run "a limit relative to before the start" relative
run "few reads beside many writes are not waited for" rare_reads
run "a limit relative to nothing" of_nothing
run "each I/O of the workload is told of once, none of the copier's" counts
run "without a guard the latencies are told, too" told_without
run "a continuation is guarded, too" continued
run "a workload with the copier's priority is told of" priority
run "a source that is not tracked" refused
exit $FAILED
