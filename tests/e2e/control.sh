#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A running migration is asked, told, and treated badly; in the background and by a service
# manager; and whatever ends it, nothing is left.
. "$(dirname "$0")/lib.bash"
SCHEMAS=$HERE/../../docs/schema
NAME=ctl$$

# control VERB [OPERANDS]: its output in out and err.
control() { "$GODWIT" "$@" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"; }

# field KEY: of the status.
field() { "$GODWIT" status "$NAME" -o json --run-dir "$SCRATCH/run" | python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }
is_in() { [ "$(field '["state"]' 2>/dev/null)" = "$1" ]; }
wait_state() { wait_for is_in "$1"; }
copied() { field '["progress"]["done_bytes"]'; }
stands_still() { local before; before=$(copied) && sleep 0.3 && [ "$before" = "$(copied)" ]; }
fits() { python3 "$HERE/../cli/schema.py" "$SCHEMAS/$1.schema.json"; }

devices() {
	loop source "${1:-128M}"; SOURCE=$LOOP
	loop target "${1:-128M}"; TARGET=$LOOP
	dd if=/dev/urandom of="$SOURCE" bs=1M oflag=direct status=none 2>/dev/null
	mkdir -p "$SCRATCH/run"
}

# A migration in the background that takes long enough for a busy machine; tests speed it up in the end.
start() {
	expect 0 migrate "$SOURCE" "$TARGET" --handoff none --background --bandwidth 1M "$@" || return 1
	[ "$(cat "$SCRATCH/out")" = "$NAME" ] || { echo "# its name was not printed"; return 1; }
	PID=$(field '["pid"]')
	PIDS+=("$PID")
}

socket_is_gone() { ! ls "$SCRATCH"/run/*.so* >/dev/null 2>&1 || { echo "# a socket is left"; return 1; }; }
all_gone() { nothing_left && socket_is_gone; }
is_dead() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

in_background() {
	local session
	devices 64M
	start || return 1
	session=$(ps -o sid= -p "$PID")
	[ "$session" -eq "$PID" ] || { echo "# it is in session $session"; return 1; }
	kill -HUP -- -$$ 2>/dev/null
	[ "$(readlink "/proc/$PID/fd/1")" = "$SCRATCH/state/log" ] || { echo "# its output: $(readlink "/proc/$PID/fd/1")"; return 1; }
	expect 0 control list || return 1
	said "^$NAME  base" || return 1
	expect 0 control set bandwidth=0 || return 1
	# NAME is not needed: it is the only one. The watch ends as the migration does.
	control watch
	case $? in 0 | 3) ;; *) cat "$SCRATCH/err"; return 1 ;; esac
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone &&
		reported 'report["exit_code"] == 0' && grep -q '^  result  *done' "$SCRATCH/state/log"
}

background_refused() {
	devices 8M
	head -c 100k /dev/urandom | dd of="$TARGET" conv=fsync status=none
	expect 3 migrate "$SOURCE" "$SOURCE" --handoff none --background || return 1
	said "the same" && ! [ -e "$SCRATCH/state/log" ] && all_gone
}

paused() {
	local before after fio
	devices 64M
	start --timeout 4s || return 1
	background fio --thread --name=w --filename="$SOURCE" --rw=randwrite --bs=4k --size=64M --direct=1 \
		--rate_iops=500 --time_based --runtime=6 --randrepeat=0 --output=/dev/null
	fio=$BACKGROUND
	expect 0 control pause "$NAME" || return 1
	wait_for stands_still || return 1
	before=$(copied)
	# Longer than --timeout.
	wait "$fio"
	after=$(copied)
	[ "$before" = "$after" ] || { echo "# copied in a pause: $before, $after"; return 1; }
	is_in paused || { echo "# it is in state $(field '["state"]')"; return 1; }
	expect 3 control pause && said "not possible in state paused" && said "possible are .*resume" || return 1
	expect 3 control switch || return 1
	expect 0 control set bandwidth=500M && expect 0 control resume || return 1
	control watch
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone || return 1
	reported 'any(m["kind"] == "request" and m["text"].startswith("pause, by uid 0, process") for m in report["messages"])'
}

# What was set, or given to one that went on, holds for the process that goes on, too; the last word counts.
set_and_continue() {
	devices 64M
	start || return 1
	expect 0 control set "$NAME" bandwidth=2M downtime-limit=700ms max-rounds=9 guard=p99=900ms || return 1
	expect 2 control set "$NAME" downtime-limit=2h && said "1.0 ms to 1 h" || return 1
	die && expect 0 continue_migration --background --max-rounds 8 --exec-timeout 7s --wait-switch || return 1
	set_are $((2 << 20)) 700000000 8 7000000000 || return 1
	expect 0 control set "$NAME" exec-timeout=6s && die && expect 0 continue_migration --background || return 1
	set_are $((2 << 20)) 700000000 8 6000000000 || return 1
	expect 0 control set guard=off bandwidth=0 && wait_state waiting && expect 0 control cancel && all_gone
}

die() {
	PID=$(field '["pid"]')
	PIDS+=("$PID")
	kill -KILL "$PID"
	wait_for is_dead "$PID"
}

# set_are BANDWIDTH DOWNTIME-LIMIT ROUNDS EXEC-TIMEOUT
set_are() {
	[ "$(field '["settings"]["bandwidth_bytes_per_s"]')" = "$1" ] &&
		[ "$(field '["settings"]["downtime_limit_ns"]')" = "$2" ] &&
		[ "$(field '["settings"]["guard"]')" = p99=900ms ] &&
		[ "$(field '["settings"]["max_rounds"]')" = "$3" ] &&
		[ "$(field '["settings"]["exec_timeout_ns"]')" = "$4" ] && return 0
	field '["settings"]'
	return 1
}

# While the engine's thread waits for a command of the user's: answered at once, cancelled afterwards.
quiesced() {
	devices 16M
	mkfifo "$SCRATCH/go"
	expect 0 migrate "$SOURCE" "$TARGET" --handoff exec --exec-quiesce "cat $SCRATCH/go" --exec-abort "touch $SCRATCH/aborted" \
		--exec-timeout 10m --quiesce-deadline 20m --background || return 1
	wait_state quiesced || return 1
	expect 0 timeout 60 "$GODWIT" status --run-dir "$SCRATCH/run" >"$SCRATCH/out" && said "possible now.*cancel" || return 1
	expect 3 control pause && said "state quiesced" && expect 3 control set bandwidth=1M || return 1
	background "$GODWIT" cancel --run-dir "$SCRATCH/run" 2>"$SCRATCH/cancel"
	wait_for grep -q 'will be done as soon as' "$SCRATCH/cancel" || return 1
	echo >"$SCRATCH/go"
	wait "$BACKGROUND" || { echo "# cancel: $?"; return 1; }
	[ -e "$SCRATCH/aborted" ] && all_gone && reported 'report["exit_code"] == 6 and not report["committed"]'
}

committed() {
	devices 16M
	mkfifo "$SCRATCH/go"
	expect 0 migrate "$SOURCE" "$TARGET" --handoff exec --exec-quiesce true --exec-switch "cat $SCRATCH/go" \
		--exec-timeout 10m --background || return 1
	wait_state committed || return 1
	expect 3 control cancel && said "state committed: only the target may run" || return 1
	expect 3 control pause && expect 3 control switch || return 1
	echo >"$SCRATCH/go"
	wait_for all_gone && reported 'report["exit_code"] == 0 and report["committed"]' &&
		same "$SOURCE" "$TARGET"
}

# A mounted file system, and what it is like; source and target of 64 MiB.
mounted() {
	loop source 64M; SOURCE=$LOOP
	loop target 64M; TARGET=$LOOP
	mkfs.ext4 -q "$SOURCE" && mount_at m "$SOURCE" || return 1
	head -c 20M /dev/urandom >"$SCRATCH/m/data"
	sync -f "$SCRATCH/m"
	sha256sum "$SCRATCH/m/data" >"$SCRATCH/sum"
	grep " $SCRATCH/m " /proc/mounts >"$SCRATCH/mounts"
}

cleanup() {
	"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err"
}

# What a migration that was given up must have left: nothing, and cleanup finds nothing to mend.
is_as_before() {
	untouched && all_gone || return 1
	# The kernel takes a ring down in the background.
	wait_for is_free "$TARGET" || return 1
	expect 0 cleanup && expect 0 cleanup && untouched
}

# cancel_in STATE OPTIONS: a mounted file system is as it was, and can be written.
cancel_in() {
	local state=$1
	shift
	mounted || return 1
	[ "$state" != baseline ] || trickle "$SOURCE"
	expect 0 migrate "$SOURCE" "$TARGET" --background "$@" || return 1
	PID=$(field '["pid"]')
	if [ "$state" = paused ]; then
		expect 0 control pause && expect 0 control cancel || return 1
	else
		python3 "$HERE/control.py" "$SCRATCH/run/$NAME.sock" "cancel_in:$state" || return 1
	fi
	wait_for is_dead "$PID" && is_as_before && reported 'report["exit_code"] == 6'
}

# More than is copied: there is always another round.
cancel_in_a_round() {
	background sh -c "
		while :; do
			[ ! -e '$SCRATCH/m/data' ] || dd if=/dev/zero of='$SCRATCH/m/more' bs=1M count=12 oflag=direct conv=notrunc status=none
			sleep 0.1
		done"
	cancel_in round --bandwidth 40M --downtime-limit 5ms
}

# Some I/O, so that it looks on for longer than two seconds, and a test has time to come.
trickle() {
	background sh -c "
		while dd if='$1' of='$SCRATCH/trickled' bs=4k count=1 iflag=direct status=none; do sleep 0.1; done"
	wait_for test -s "$SCRATCH/trickled"
}

# begin_and_kill STATE OPTIONS: SIGKILL in that state.
begin_and_kill() {
	local state=$1
	shift
	[ "$state" != baseline ] || trickle "$SOURCE"
	expect 0 migrate "$SOURCE" "$TARGET" --background "$@" || return 1
	PID=$(field '["pid"]')
	PIDS+=("$PID")
	[ "$state" != paused ] || expect 0 control pause || return 1
	wait_state "$state" || return 1
	kill -KILL "$PID"
	wait_for is_dead "$PID" && wait_for is_listed dead
}

measured() {
	devices 16M
	trickle "$SOURCE"
	start --guard p99=1s && is_in baseline || { echo "# it is in state $(field '["state"]')"; return 1; }
	expect 3 control pause && said "not possible in state baseline" && expect 0 control set bandwidth=0 || return 1
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone
}

kill_in_and_clean() {
	mounted && begin_and_kill "$@" && expect 0 cleanup && said 'nothing is left but its journal' && is_as_before
}

kill_in_and_continue() {
	devices 16M
	begin_and_kill "$@" --handoff none || return 1
	dd if=/dev/urandom of="$SOURCE" bs=1M count=1 seek=3 oflag=direct status=none
	expect 0 continue_migration --background --bandwidth 1M || return 1
	PID=$(field '["pid"]')
	expect 0 control set guard=off bandwidth=0 || return 1
	if [ "$1" = waiting ]; then
		wait_state waiting && expect 0 control switch || return 1
	fi
	control watch
	case $? in 0 | 3) ;; *) cat "$SCRATCH/err"; return 1 ;; esac
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone && reported 'report["exit_code"] == 0'
}

is_listed() { control list && grep -q "^$NAME  $1" "$SCRATCH/out"; }

untouched() {
	grep " $SCRATCH/m " /proc/mounts | cmp - "$SCRATCH/mounts" && sha256sum --quiet -c "$SCRATCH/sum" &&
		timeout 60 sh -c "echo more >$SCRATCH/m/more && sync -f $SCRATCH/m"
}

# Killed at a step, with a mounted file system; cleaned up, twice.
kill_and_clean() {
	local result
	mounted || return 1
	GODWIT=$GODWIT_FAULT GODWIT_KILL_AT=$1 migrate "$SOURCE" "$TARGET" --downtime-limit 2s
	result=$?
	[ $result = 137 ] || { echo "# $1 was never reached: $result"; return 1; }
	# The watchdog may still be at work.
	wait_for is_listed dead || return 1
	expect 0 cleanup && is_as_before
}

stale_socket() {
	devices 16M
	start || return 1
	expect 0 control pause || return 1
	kill -KILL "$PID"
	wait_for is_dead "$PID" || return 1
	expect 0 control list && said "^$NAME  dead  stale socket; writes are still tracked" || return 1
	"$GODWIT" list --run-dir "$SCRATCH/run" -o json | fits list || return 1
	expect 3 control status "$NAME" && said "does not run, its socket is that of a dead process" || return 1
	expect 3 control watch && said "no migration is running" || return 1
	# Whoever goes on takes the name over.
	expect 0 continue_migration --bandwidth 1G && same "$SOURCE" "$TARGET" && all_gone || return 1
	python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('$SCRATCH/run/old.sock')"
	expect 0 control list && said "^old  dead  stale socket" || return 1
	expect 0 control cleanup old && socket_is_gone
}

# What is not ours, and what runs, in the run directory: left alone, and nobody waits for it.
strangers() {
	local run=$SCRATCH/run
	devices 16M
	echo precious >"$SCRATCH/precious"
	ln -s "$SCRATCH/precious" "$run/$NAME.state"
	expect 3 migrate "$SOURCE" "$TARGET" --handoff none && said "$NAME.state: " || return 1
	rm -f "$run/$NAME.state" "$run"/disk-*.lock
	ln -s "$SCRATCH/precious" "$run/disk-$(lsblk -dno MAJ:MIN "$SOURCE" | tr -d ' ').lock"
	expect 3 migrate "$SOURCE" "$TARGET" --handoff none && said "lock: " || return 1
	[ "$(cat "$SCRATCH/precious")" = precious ] || { echo "# written through a link"; return 1; }
	rm "$run"/disk-*.lock
	mkfifo "$run/fifo.state"
	touch "$run/$(printf 'a\033[31m').state" "$run/a b.sock"
	expect 0 timeout 30 "$GODWIT" list --run-dir "$run" >"$SCRATCH/out" 2>"$SCRATCH/err" || return 1
	grep -q '^fifo  dead' "$SCRATCH/out" && [ "$(wc -l <"$SCRATCH/out")" = 1 ] || { cat "$SCRATCH/out"; return 1; }
	rm "$run/fifo.state" "$run"/a*
	start || return 1
	expect 0 control cleanup && said "$NAME runs, and is left alone" || return 1
	expect 3 cleanup && said "running in another process" || return 1
	expect 0 control set bandwidth=0 || return 1
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone
}

# A process that stands still does not keep those waiting for ever who ask.
nobody_accepts() {
	mkdir -p "$SCRATCH/run"
	cat >"$SCRATCH/deaf.py" <<-'PY'
		import socket, sys, time
		listening = socket.socket(socket.AF_UNIX)
		listening.bind(sys.argv[1])
		listening.listen(0)
		waiting = []
		while True:
		    one = socket.socket(socket.AF_UNIX)
		    one.setblocking(False)
		    waiting.append(one)
		    try:
		        one.connect(sys.argv[1])
		    except BlockingIOError:
		        break
		open(sys.argv[2], "w").close()
		time.sleep(600)
	PY
	background python3 "$SCRATCH/deaf.py" "$SCRATCH/run/deaf.sock" "$SCRATCH/full"
	wait_for test -e "$SCRATCH/full" || return 1
	expect 3 timeout 60 "$GODWIT" status deaf --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" &&
		said "deaf.sock: .*timed out"
}

# rude MANNER: as control.py has it; the migration does not mind.
rude() {
	devices 64M
	start || return 1
	python3 "$HERE/control.py" "$SCRATCH/run/$NAME.sock" "$@" 2>&1 | sed 's/^/# /'
	[ "${PIPESTATUS[0]}" = 0 ] || return 1
	expect 0 control set bandwidth=0 || return 1
	wait_for is_dead "$PID" && same "$SOURCE" "$TARGET" && all_gone
}

only_the_owner() {
	devices 16M
	# Whoever started it may steer it at once, also when the target is to be tracked.
	start --verify=after && expect 0 control pause || return 1
	[ "$(stat -c %a "$SCRATCH/run/$NAME.sock")" = 600 ] || return 1
	chmod 755 "$SCRATCH" "$SCRATCH/run"
	chmod 666 "$SCRATCH/run/$NAME.sock"
	# Whoever gets through the mode is asked who he is.
	python3 - "$SCRATCH/run/$NAME.sock" <<-'PY' || return 1
		import json, os, socket, sys
		os.setgid(65534)
		os.setuid(65534)
		client = socket.socket(socket.AF_UNIX)
		client.connect(sys.argv[1])
		reply = json.loads(client.makefile().readline())
		assert reply["error"] == "permission", reply
	PY
	expect 0 control cancel && all_gone
}

documents() {
	local line
	devices 32M
	expect 0 migrate "$SOURCE" "$TARGET" --handoff none --background --bandwidth 2M --verify -o json || return 1
	PIDS+=("$(field '["pid"]')")
	fits background <"$SCRATCH/out" && expect 0 control pause || return 1
	"$GODWIT" status --run-dir "$SCRATCH/run" -o json | fits control-status || return 1
	"$GODWIT" list --run-dir "$SCRATCH/run" -o json | fits list || return 1
	background sh -c "'$GODWIT' watch --run-dir '$SCRATCH/run' -o json >'$SCRATCH/events'"
	wait_for test -s "$SCRATCH/events" || return 1
	python3 - "$SCRATCH/run/$NAME.sock" "$SCRATCH" <<-'PY' || return 1
		import socket, sys
		client = socket.socket(socket.AF_UNIX)
		client.connect(sys.argv[1])
		lines = client.makefile("rw")
		for name, text in ("control-list", '{"list":{}}'), \
			("control-done", '{"schema_version":1,"id":"x","command":"set","max_rounds":0}'), \
			("control-refusal", '{"schema_version":1,"command":"pause"}'), \
			("control-done", '{"schema_version":1,"command":"set","bandwidth_bytes_per_s":0}'), \
			("control-done", '{"schema_version":1,"command":"resume"}'):
		    lines.write(text + "\n")
		    lines.flush()
		    open(sys.argv[2] + "/" + name, "w").write(lines.readline())
	PY
	for line in control-list control-done control-refusal; do
		fits $line <"$SCRATCH/$line" || { cat "$SCRATCH/$line"; return 1; }
	done
	is_documented "$SCRATCH/control-list" || return 1
	wait "$BACKGROUND" || return 1
	while IFS= read -r line; do
		fits control-event <<< "$line" || { echo "# $line"; return 1; }
	done <"$SCRATCH/events"
	for line in '"event":"request","command":"set"' '"event":"state"' '"event":"ended","exit_code":0' '"text":"switching:'; do
		grep -q "$line" "$SCRATCH/events" || { echo "# no $line"; return 1; }
	done
}

# is_documented FILE: what can be asked in which state, and what else the reply to list tells of, is in docs/control.md.
is_documented() {
	python3 - "$1" "$HERE/../../docs/control.md" <<-'PY'
		import json, sys
		told, page = json.load(open(sys.argv[1])), open(sys.argv[2]).read()
		rows = [[cell.strip() for cell in line.split("|")[1:-1]]
		        for line in page.split("\n## States\n\n")[1].split("\n\n")[0].splitlines()]
		written = {}
		for row in rows[2:]:
		    for state in row[0].split(","):
		        written[state.split("(")[0].strip()] = {name for name, cell in zip(rows[0][1:], row[1:]) if cell}
		possible = {state["name"]: {one["name"] for one in told["commands"] if state["name"] in one["states"] and one["changes"]}
		            for state in told["states"]}
		faults = [f"{state}: possible are {possible.get(state)}, written is {written.get(state)}"
		          for state in {*possible, *written} if possible.get(state) != written.get(state)]
		names = [one["name"] for one in told["commands"]] + [one["name"] for command in told["commands"] for one in command["arguments"]]
		faults += [f"{name} is not in the page" for name in names if f"`{name}`" not in page]
		for fault in faults:
		    print("#", fault)
		sys.exit(1 if faults else 0)
	PY
}

# What a service manager hears.
notified() {
	devices 16M
	python3 - "$SCRATCH/manager" >"$SCRATCH/heard" <<-'PY' &
		import socket, sys
		manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		manager.bind(sys.argv[1])
		manager.settimeout(60)
		while True:
		    text = manager.recv(4096).decode()
		    print(text, end="", flush=True)
		    if "STOPPING=1" in text:
		        break
	PY
	PIDS+=($!)
	wait_for test -S "$SCRATCH/manager" || return 1
	NOTIFY_SOCKET=$SCRATCH/manager expect 0 migrate "$SOURCE" "$TARGET" --handoff exec \
		--exec-quiesce "env >$SCRATCH/environment" --bandwidth 20M || return 1
	wait_for grep -q STOPPING=1 "$SCRATCH/heard" || return 1
	[ "$(grep -c READY=1 "$SCRATCH/heard")" = 1 ] && grep -q 'STATUS=base pass' "$SCRATCH/heard" &&
		! grep -q NOTIFY_SOCKET "$SCRATCH/environment"
}

unit_file() {
	local unit
	command -v systemd-analyze >/dev/null || { SKIP="there is no systemd-analyze"; return 0; }
	unit=$(dirname "$GODWIT")/godwit@.service
	[ -e "$unit" ] || unit=$HERE/../../tools/godwit/godwit@.service.in
	mkdir "$SCRATCH/unit"
	sed "s|[@/a-zA-Z]*/sbin/godwit|$GODWIT|" "$unit" >"$SCRATCH/unit/godwit-test@.service"
	systemd-analyze verify --man=no "$SCRATCH/unit/godwit-test@x.service" >"$SCRATCH/err" 2>&1 &&
		[ ! -s "$SCRATCH/err" ] && return 0
	sed 's/^/# /' "$SCRATCH/err"
	return 1
}

if ! needs_bpf; then
	echo "ok - control # SKIP $SKIP"
	exit 0
fi
command -v python3 >/dev/null || { echo "ok - control # SKIP there is no python3"; exit 0; }
run "in the background, watched to its end" in_background
run "in the background, refused" background_refused
run "paused, resumed" paused
run "what was set, a process later" set_and_continue
run "the workload is measured first, and that is a state" measured
run "quiesced: answered at once, cancelled" quiesced
run "committed: no way back" committed
run "cancelled before the copy, while the workload is measured" cancel_in baseline --guard p99=1s
run "cancelled in the base pass" cancel_in base --bandwidth 2M
run "cancelled in a later round" cancel_in_a_round
run "cancelled while it reads back" cancel_in verifying --verify --bandwidth 12M
run "cancelled while it waits for the switch" cancel_in waiting --wait-switch
run "cancelled in a pause" cancel_in paused --bandwidth 2M
for state in baseline paused waiting; do
	case $state in
	baseline) options=(--guard p99=1s) ;;
	paused) options=(--bandwidth 1M) ;;
	waiting) options=(--wait-switch) ;;
	esac
	run "killed in state $state, cleaned up twice" kill_in_and_clean $state "${options[@]}"
	run "killed in state $state, continued" kill_in_and_continue $state "${options[@]}"
done
for step in control-bound control-started batch-flushed quiesced committing; do
	run "killed at $step, cleaned up twice" kill_and_clean "$step"
done
run "a stale socket" stale_socket
run "strangers in the run directory" strangers
run "a socket that nobody accepts on" nobody_accepts
run "garbage, too long, half, slow messages" rude garbage oversized half slow
run "a client that never reads, a crowd" rude never_reads crowd
run "two clients at once, settings out of range" rude two ranges
run "only its owner may ask" only_the_owner
run "every message fits its schema" documents
run "a service manager is told" notified
run "the unit file" unit_file
exit $FAILED
