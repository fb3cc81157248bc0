#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rounds, limits and predictions: what cannot converge is said early and given up, what can
# keeps to its bandwidth and its downtime, and nothing is copied twice without need.
. "$(dirname "$0")/lib.bash"
TRIES=2

NAME=converge$$

# pair [SIZE]: S, full of random data, and T.
pair() {
	loop source "${1:-32M}" && S=$LOOP && loop target "${1:-32M}" && T=$LOOP || return 1
	dd if=/dev/urandom of="$S" bs=1M oflag=direct status=none 2>/dev/null
	true
}

# writer RATE [REGION [OPTIONS]]: random blocks of 4 KiB, so many a second, until it is killed.
writer() {
	background fio --thread --name=w --filename="$S" --rw=randwrite --bs=4k --size="${2:-32M}" \
		--direct=1 --ioengine=io_uring --iodepth=8 --rate_iops="$1" --time_based --runtime=600 \
		--randrepeat=0 --norandommap --output=/dev/null "${@:3}"
	WRITING=$BACKGROUND
	printf 'kill -KILL %s; while [ -d /proc/%s ] && ! grep -q "^State:.Z" /proc/%s/status; do sleep 0.01; done\n' \
		"$WRITING" "$WRITING" "$WRITING" >"$SCRATCH/stop"
}

start() {
	background "$GODWIT" migrate "$S" "$T" --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
}

# tell VERB [OPERANDS]: what runs.
tell() {
	expect 0 "$GODWIT" "$1" "$NAME" "${@:2}" --run-dir "$SCRATCH/run" 2>"$SCRATCH/told"
}

journal_has() {
	wait_for grep -aq "$1" "$SCRATCH/state/journal" && return 0
	sed 's/^/#   /' "$SCRATCH/err"
	return 1
}

# journalled EXPRESSION: of Python, over `records`: a list of (type, seconds, payload).
journalled() {
	python3 - "$SCRATCH/state/journal" "$1" <<-'PY'
		import json, struct, sys
		data, at, records = open(sys.argv[1], "rb").read(), 0, []
		while at + 40 <= len(data):
		    magic, version, kind, size, _, seq, wall_ns, _ = struct.unpack_from("<4sHHIIQQQ", data, at)
		    if magic != b"GWRJ":
		        break
		    records.append((kind, wall_ns / 1e9, json.loads(data[at + 40:at + 40 + size])))
		    at += (40 + size + 7) // 8 * 8
		rounds = [r for r in records if r[0] == 3]
		notes = [r for r in records if r[0] == 5]
		if not eval(sys.argv[2]):
		    print("# does not hold:", sys.argv[2])
		    for one in rounds + notes:
		        print("#  ", one)
		    sys.exit(1)
	PY
}

# ---- what cannot converge ----

# diverges OPTIONS: said within two seconds of round two, with the figures; then exit code 5.
diverges() {
	pair || return 1
	writer 12000
	expect 5 migrate "$S" "$T" --handoff exec --exec-quiesce "touch $SCRATCH/quiesced" \
		--bandwidth 16M --downtime-limit 5ms --exec-abort true "$@" || return 1
	said 'will not converge.*[0-9] MiB/s are dirtied at a grain of 4.0 KiB, [0-9.]+ MiB/s are copied' &&
		said 'predicted blackout [0-9].*limit 5.0 ms.*--bandwidth.*--downtime-limit' || return 1
	journalled 'len([n for n in notes if "will not converge" in n[2]["text"]]) == 1' || return 1
	# Round two begins when round one is recorded.
	journalled '[n for n in notes if "will not converge" in n[2]["text"]][0][1] - rounds[0][1] < 2.0' || return 1
	[ ! -e "$SCRATCH/quiesced" ] || { echo "# the writers were stopped"; return 1; }
	kill -0 "$WRITING" && nothing_left && reported "report['exit_code'] == 5 and not report['converged']"
}

max_rounds() {
	diverges --max-rounds 3 && said "giving up after 3 rounds" && journalled 'len(rounds) == 3'
}

timeout_without_progress() {
	diverges --timeout 4s && said "no progress .*--timeout" &&
		journalled 'records[-1][1] - rounds[0][1] < 15'
}

# Nothing is left, and it does not fit all the same: no reason to be busy. A longer limit is heard at once.
too_short() {
	local before
	pair || return 1
	start --handoff none --downtime-limit 1ms
	journal_has 'another round: 0 B left' || return 1
	said 'downtime-limit 1.0 ms: .* such a limit cannot be kept' && journal_has 'limit 1.0 ms; .* cannot be kept' || return 1
	expect 0 "$GODWIT" set "$NAME" downtime-limit=1ms --run-dir "$SCRATCH/run" >"$SCRATCH/reply" 2>&1 || return 1
	grep -q 'cannot be kept' "$SCRATCH/reply" || { cat "$SCRATCH/reply"; return 1; }
	before=$(cpu_ticks "$PID")
	sleep 2
	[ $(($(cpu_ticks "$PID") - before)) -lt $((2 * $(getconf CLK_TCK) / 5)) ] || { echo "# it spins"; return 1; }
	expect 0 "$GODWIT" set "$NAME" downtime-limit=10s --run-dir "$SCRATCH/run" 2>"$SCRATCH/reply" || return 1
	wait "$PID" || { tail -5 "$SCRATCH/err"; return 1; }
	same "$S" "$T" && nothing_left && reported "report['rounds_total'] < 100"
}

# Progress is what counts, not size: far longer than --timeout in all.
slow_but_steady() {
	pair || return 1
	expect 0 migrate "$S" "$T" --handoff none --bandwidth 8M --timeout 1s && same "$S" "$T" && nothing_left &&
		reported "report['elapsed_ns'] > 3.5e9"
}

# ---- what can ----

# Never more than a tenth above the limit, in any 100 ms. The kernel counts I/O when it
# ends, and on a busy machine many can end at once: the best of five tries counts.
bandwidth() {
	pair 48M || return 1
	for _ in 1 2 3 4 5; do
		rm -rf "$SCRATCH/state"
		start --handoff none --overwrite --bandwidth "$1"
		python3 - "${T#/dev/}" "$2" "$PID" >"$SCRATCH/rate" <<-'PY'
			import os, sys, time
			name, limit, pid = sys.argv[1], float(sys.argv[2]), sys.argv[3]
			samples = []
			def is_running():
			    try:
			        return open(f"/proc/{pid}/stat").read().rsplit(")")[1].split()[0] != "Z"
			    except OSError:
			        return False
			with open(f"/sys/block/{name}/stat") as stat:
			    while is_running():
			        before = time.monotonic()
			        stat.seek(0)
			        written = int(stat.read().split()[6]) * 512
			        samples.append((before, time.monotonic(), written))
			        time.sleep(0.02)
			worst, total, first = 0, samples[-1][2] - samples[0][2], 0
			for last in range(len(samples)):
			    while first + 1 < last and samples[last][0] - samples[first + 1][1] >= 0.1:
			        first += 1
			    elapsed = samples[last][1] - samples[first][0]
			    if samples[last][0] - samples[first][1] >= 0.1:
			        worst = max(worst, (samples[last][2] - samples[first][2]) / elapsed)
			busy = [s for s in samples if samples[0][2] < s[2] < samples[-1][2]]
			mean = (busy[-1][2] - busy[0][2]) / (busy[-1][1] - busy[0][0])
			print(f"# limit {limit:.0f}, worst 100 ms {worst:.0f}, mean {mean:.0f} B/s, {total} B")
			# That runs start evenly is shown in virtual time (prop_pacer); here their ends are
			# seen, which a busy machine clumps. Neither a burst, nor far too slow, nor nothing.
			sys.exit(0 if worst <= 1.5 * limit and mean >= 0.4 * limit and total >= 48 << 20 else 1)
		PY
		if [ $? = 0 ]; then
			wait "$PID"
			return
		fi
		cat "$SCRATCH/rate"
		wait "$PID"
	done
	return 1
}

converges() {
	pair 64M || return 1
	writer 1500 8M
	expect 0 migrate "$S" "$T" --handoff exec --exec-quiesce "sh $SCRATCH/stop" --bandwidth 40M \
		--downtime-limit 200ms --verify && same "$S" "$T" && nothing_left || return 1
	reported "report['converged'] and report['committed'] and len(report['rounds']) >= 3" &&
		reported "0 < report['blackout']['predicted_ns'] <= 200e6" &&
		reported "report['blackout']['total_ns'] > 0 and report['blackout']['user_ns'] > 0" || return 1
	# The phases add up to the whole.
	reported "abs(sum(v for k, v in report['blackout'].items() if k not in
		('predicted_ns', 'total_ns', 'early_sync_ns')) - report['blackout']['total_ns']) < 1e6" &&
		reported "report['totals']['recopied_bytes'] > 0 and report['totals']['amplification'] > 0" &&
		said 'predicted'
}

# What is written before the base pass comes there needs no second copy; what is written
# behind it needs exactly one.
amplification() {
	pair 64M || return 1
	start --handoff none --bandwidth 4M
	wait_for cursor_past $((8 << 20)) && tell pause || return 1
	! cursor_past $((44 << 20)) || { echo "# it was paused too late"; return 1; }
	dd if=/dev/urandom of="$S" bs=1M seek=48 count=8 oflag=direct status=none
	dd if=/dev/urandom of="$S" bs=1M seek=4 count=3 oflag=direct status=none
	tell set bandwidth=0 && tell resume || return 1
	wait_for sh -c "! kill -0 $PID 2>/dev/null || grep -q '^State:.Z' /proc/$PID/status" || return 1
	wait "$PID" || { tail -5 "$SCRATCH/err"; return 1; }
	same "$S" "$T" && reported "report['totals']['source_write_bytes'] == 11 << 20" &&
		reported "report['totals']['recopied_bytes'] == 3 << 20"
}

cursor_past() {
	python3 - "$SCRATCH/state/journal" "$1" <<-'PY'
		import re, sys
		ends = re.findall(rb'"end_grain":\s*(\d+)', open(sys.argv[1], "rb").read())
		sys.exit(0 if ends and int(ends[-1]) * 4096 >= int(sys.argv[2]) else 1)
	PY
}

# A round is added as long as it makes the blackout much shorter, and no grain is copied much more
# often than it was written.
local_minimum() {
	pair 128M || return 1
	writer 2000 128M
	expect 0 migrate "$S" "$T" --handoff exec --exec-quiesce "sh $SCRATCH/stop" --bandwidth 64M \
		--downtime-limit 10s && same "$S" "$T" && nothing_left || return 1
	# The first pass would do for the limit.
	reported "3 <= len(report['rounds']) <= 9 and report['totals']['amplification'] < 0.8" &&
		reported "report['rounds'][-1]['copied_bytes'] < report['rounds'][1]['copied_bytes']"
}

# Few blocks that are written all the time are left for the last round, and told of. They were
# dirtied before the first pass came there, and after it.
hot_blocks() {
	pair 64M || return 1
	writer 4000 64M --random_distribution=zoned:10/99:90/1
	expect 0 migrate "$S" "$T" --handoff exec --exec-quiesce "sh $SCRATCH/stop" --bandwidth 64M \
		--downtime-limit 2s --verify && same "$S" "$T" && nothing_left || return 1
	reported "any(r['held_bytes'] > 0 for r in report['rounds'])" &&
		reported "report['totals']['amplification'] < 0.3" &&
		reported "report['hot'][0]['again_bytes'] > 0" &&
		reported "report['hot'][0]['first_lba'] + report['hot'][0]['bytes'] // 512 > 63 << 11" &&
		"$GODWIT" report "$SCRATCH/state" >"$SCRATCH/out" && said "hot ranges"
}

# Killed while blocks are held back: they stand in no memory of the process alone.
hot_blocks_and_a_death() {
	pair 64M || return 1
	writer 4000 512k --offset=48M
	start --handoff exec --exec-quiesce "sh $SCRATCH/stop" --bandwidth 64M --wait-switch
	journal_has 'converged: waiting' || return 1
	kill -KILL "$PID"
	wait "$PID" 2>/dev/null
	sh "$SCRATCH/stop"
	background "$GODWIT" migrate --continue "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
	# It was to wait, and goes on to.
	wait_for ask '"command": "status"' '"waiting"' && ask '"command": "switch"' '"ok": *true' || return 1
	wait "$PID" || return 1
	same "$S" "$T" && nothing_left
}

# ---- --wait-switch ----

# ask REQUEST PATTERN: over the control socket; the reply matches.
ask() {
	python3 - "$SCRATCH/run/$NAME.sock" "$1" <<-'PY' >"$SCRATCH/reply" 2>&1 || return 1
		import socket, sys
		link = socket.socket(socket.AF_UNIX)
		link.settimeout(10)
		link.connect(sys.argv[1])
		link.sendall(('{"schema_version": 1, ' + sys.argv[2] + '}\n').encode())
		print(link.makefile().readline())
	PY
	grep -Eq -- "$2" "$SCRATCH/reply"
}

cpu_ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

wait_switch() {
	local before rounds
	pair || return 1
	start --handoff exec --exec-quiesce "touch $SCRATCH/quiesced" --wait-switch --timeout 3s
	wait_for ask '"command": "status"' '"waiting"' || return 1
	before=$(cpu_ticks "$PID")
	sleep 4
	# Nothing is dirty: it sleeps, and --timeout is no matter. A fifth of a CPU would be far too much.
	[ $(($(cpu_ticks "$PID") - before)) -lt $((4 * $(getconf CLK_TCK) / 5)) ] || { echo "# it spins"; return 1; }
	[ ! -e "$SCRATCH/quiesced" ] && ask '"command": "status"' '"waiting"' || return 1
	# What is written meanwhile is copied when it gets too much for the limit.
	rounds=$("$GODWIT" report "$SCRATCH/state" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["rounds_total"])')
	dd if=/dev/urandom of="$S" bs=1M count=16 seek=4 oflag=direct status=none
	"$GODWIT" switch "$NAME" --run-dir "$SCRATCH/run" 2>"$SCRATCH/reply" || { cat "$SCRATCH/reply"; return 1; }
	wait "$PID" || { tail -5 "$SCRATCH/err"; return 1; }
	[ -e "$SCRATCH/quiesced" ] && same "$S" "$T" && nothing_left &&
		reported "report['rounds_total'] > $rounds and report['totals']['recopied_bytes'] == 16 << 20"
}

wait_switch_cancelled() {
	pair || return 1
	writer 500 8M
	start --handoff exec --exec-quiesce "touch $SCRATCH/quiesced" --exec-abort true --wait-switch
	wait_for ask '"command": "status"' '"waiting"' || return 1
	kill -TERM "$PID"
	wait "$PID"
	[ $? = 6 ] && [ ! -e "$SCRATCH/quiesced" ] && kill -0 "$WRITING" && nothing_left
}

# A prediction above the limit puts the switch off; a lavish limit does not.
downtime_limit() {
	pair || return 1
	writer 3000 32M
	expect 0 migrate "$S" "$T" --handoff exec --exec-quiesce "sh $SCRATCH/stop" --bandwidth 24M \
		--downtime-limit 30s && same "$S" "$T" || return 1
	reported "2 <= len(report['rounds']) <= 7 and report['rounds'][-1]['final']"
}

# ---- tracking by hand ----

# A look takes no lock.
track() {
	if [ "$1" = status ]; then
		"$GODWIT" track "$@" 2>"$SCRATCH/err"
	else
		"$GODWIT" track "$@" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err"
	fi
}

# took RANGES: exactly these are dirty, as "LBA count LBA count ..."
took() {
	local got
	got=$(track take "$NAME" | xargs)
	[ "$got" = "$1" ] && return 0
	echo "# took \"$got\", expected \"$1\""
	return 1
}

track_by_hand() {
	pair 64M || return 1
	expect 0 track start "$S" --name "$NAME" || return 1
	dd if=/dev/zero of="$S" bs=4k seek=100 count=2 oflag=direct status=none
	dd if=/dev/zero of="$S" bs=512 seek=8191 count=2 oflag=direct status=none
	blkdiscard -o $((32 << 20)) -l $((1 << 20)) "$S" 2>/dev/null ||
		dd if=/dev/zero of="$S" bs=1M seek=32 count=1 oflag=direct status=none
	track status "$NAME" >"$SCRATCH/out" || return 1
	took "800 16 8184 16 65536 2048" && took "" || return 1
	# Neither a second tracking nor a migration's of the same name.
	expect 3 track start "$S" --name "$NAME" && said "$NAME" || return 1
	expect 3 migrate "$S" "$T" --handoff none && said "track stop" || return 1
	expect 0 track stop "$NAME" && nothing_left && expect 3 track status "$NAME"
}

track_of_a_migration() {
	pair || return 1
	start --handoff none --bandwidth 1M
	journal_has settled_bytes || return 1
	expect 3 track take "$NAME" && said "migration" || return 1
	expect 3 track stop "$NAME" && said "migration" || return 1
	expect 3 track start "$S" --name "${NAME}x" && said "lock|migration|another" || return 1
	track status "$NAME" >"$SCRATCH/out" && said "$NAME" || return 1
	kill -TERM "$PID"
	wait "$PID"
	[ $? = 6 ] && nothing_left
}

if ! needs_bpf; then
	echo "ok - convergence # SKIP $SKIP"
	exit 0
fi
run "does not converge, --max-rounds" max_rounds
run "does not converge, --timeout" timeout_without_progress
run "a downtime limit that nothing fits" too_short
run "slow, but with progress" slow_but_steady
run "bandwidth 16M in any 100 ms" bandwidth 16M $((16 << 20))
run "bandwidth 100M in any 100 ms" bandwidth 100M $((100 << 20))
run "converges, as predicted" converges
run "what is written ahead of the base pass is copied once" amplification
run "a lavish downtime limit" downtime_limit
run "a local minimum within the limit" local_minimum
run "hot blocks are held back" hot_blocks
run "hot blocks, and a death" hot_blocks_and_a_death
run "--wait-switch" wait_switch
run "--wait-switch, cancelled" wait_switch_cancelled
run "tracking by hand" track_by_hand
run "tracking of a running migration" track_of_a_migration
exit $FAILED
