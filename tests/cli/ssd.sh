#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# godwit-ssd as a user meets it: configuration files, the control socket, scripts, exit status.
# shellcheck source=tests/cli/lib.bash
. "$(dirname "$0")/lib.bash"

SSD=$(realpath "${GW_BUILD:-build}/godwit-ssd")
[ -x "$SSD" ] || { echo "not ok - there is no $SSD"; exit 1; }
cd "$SCRATCH" || exit 2
pid=

stop() {
	[ -z "$pid" ] || { kill "$pid"; wait "$pid"; }
	pid=
}
trap 'stop; rm -rf "$SCRATCH"' EXIT

# start WORDS...: until it says that it is there
start() {
	"$SSD" "$@" >out 2>said &
	pid=$!
	for ((i = 0; i < 5000; i++)); do
		[ "$(wc -l <out)" -lt 2 ] || return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.02
	done
	cat said >&2
}

# refuses STATUS TEXT WORDS...: it ends so, and says that
refuses() {
	local wanted=$1 text=$2 status
	shift 2
	timeout 60 "$SSD" "$@" >out 2>&1
	status=$?
	[ $status = "$wanted" ] || { echo "status $status"; cat out; return 1; }
	grep -qF -- "$text" out || { cat out; return 1; }
}

ctl() { "$SSD" ctl control "$@"; }
# fits SCHEMA [lines]: what is on standard input
fits() {
	python3 "$ROOT/tests/cli/schema.py" "$ROOT/docs/schema/ssd-$1.schema.json" "${@:2}"
}
status_fits() { ctl status | fits status; }
trace_fits() { ctl trace json | fits trace lines; }
changes_fit() { ctl changes 1 | fits changes lines; }
# Commands of a host at controller 20, and what is printed for them.
host() { python3 "$ROOT/tests/cli/ssd_host.py" 1 "$@"; }
prints() {
	local wanted=$1
	shift
	[ "$(host "$@" | paste -sd ' ')" = "$wanted" ] || { host "$@"; return 1; }
}

# In a mount namespace of its own: a store whose file system is full, and has room again.
full_disk() {
	mkdir -p small
	mount -t tmpfs -o size=256k none small || return 1
	start --subsystem small/a,size=1GiB,cache=0 --listen 0 --listen 1
	prints '' write 0 || return 1
	cat /dev/zero >small/filler 2>/dev/null
	# Of another part of the map, too, which has no space yet.
	prints 'status 81 status 81' write 8 write 1572864 || return 1
	rm small/filler
	prints '' write 8 write 1572864 read 0 || return 1
	kill "$pid" && wait "$pid"
}
# A pipe with a reader that never reads: more commands than it has room for lines.
stalled_trace() {
	local words=() i status
	mkfifo stalled
	exec 9<>stalled
	for ((i = 0; i < 800; i++)); do words+=(write $((i % 64))); done
	start --subsystem stalled-a,size=1MiB --listen 0 --listen 1 --trace stalled
	prints '' "${words[@]}"
	status=$?
	kill "$pid" && wait "$pid" || status=1
	exec 9>&-
	[ $status = 0 ] && grep -q ' commands are not in the trace$' said
}
# What was cached has no room in the end: nobody is to take it for kept.
full_in_the_end() {
	local status
	mkdir -p small
	mount -t tmpfs -o size=256k none small || return 1
	start --subsystem small/a,size=64MiB,record=/dev/full --listen 0 --listen 1 --trace /dev/full
	prints '' write 0 || return 1
	cat /dev/zero >small/filler 2>/dev/null
	prints 'status 6' set 6=0 || return 1
	kill "$pid"
	wait "$pid"
	status=$?
	[ $status = 4 ] && grep -q "write cache held is lost" said && [ "$(grep -c "is not complete" said)" = 2 ] &&
		return 0
	echo "status $status"
	cat said
	return 1
}
export SSD ROOT
export -f full_disk full_in_the_end start host prints

cat >drive.conf <<'END'
preset = hmlm
serial = S-1
size = 64MiB
record = changes
[controller 2]
id = 20
END
echo 'fault 1/20 error=280 nth=3' >script
printf 'serial = 1\nseriel = 2\n' >bad.conf
echo 'fault 1/7 hang' >bad.script

check "a wrong key names its line" refuses 2 "bad.conf:2: there is no key 'seriel': is it serial?" \
	--subsystem a,config=bad.conf --listen 0
check "a wrong key on the command line" refuses 2 "io-queues= is a number from 1 to 32" \
	--subsystem a,io-queues=99 --listen 0
check "a wrong line of a script" refuses 2 "bad.script:1: there is no controller 1/7" \
	--subsystem a --listen 0 --script bad.script
echo precious >file
check "a file that is no socket is not replaced" refuses 3 "file is there and is no socket" \
	--subsystem b --listen file
check "nor by the control socket" refuses 3 "file is there and is no socket" \
	--subsystem b --listen 0 --control file
check "and is as it was" grep -qx precious file
# Not by check(), whose commands run in a process of their own.
start --subsystem a,config=drive.conf --listen 0 --listen 1 --control control --script script --trace trace
check "starts" kill -0 "$pid"
check "says what there is" grep -q '^controller 20 of nqn.2026-11.org.godwit:ssd:S-1 listens on 1$' out
check "a directory that is in use" refuses 3 "a is in use" --subsystem a,record=changes --listen 9
if command -v python3 >/dev/null; then
	check "status is what its schema says" status_fits
	check "the third command fails, as the script has it" prints 'status 280' write 8+4 write 8+4 write 9
	check "a line of the trace is what its schema says" trace_fits
	check "a line of the changes is, too" changes_fit
	check "and of their file" fits changes lines <changes
	check "a feature is saved" prints '333 333' save 4=333 saved 4 get 4
else
	skip "what hosts see, and schemas" "there is no python3"
fi
check "the script was carried out" grep -qF '"text":"error=280 nth=3"' <(ctl faults 1/20)
check "a command that there is not" refuses 3 '"error":"commands: status,' ctl control frobnicate
check "a controller that there is not" refuses 3 'there is no controller 1/2' ctl control reset 1/2
check "files are there" test -e changes -a -e trace
stop
if command -v python3 >/dev/null; then
	start --subsystem a,config=drive.conf --listen 0 --listen 1
	check "what was saved is the current value of a new process" prints 333 get 4
	stop
	check "a trace that nobody reads holds up no command, and is told to lack some" stalled_trace
fi
if command -v python3 >/dev/null && unshare -m true 2>/dev/null; then
	check "a full file system fails commands, and not the process" unshare -m bash -u -c full_disk
	check "and what is lost by it in the end is told" unshare -m bash -u -c full_in_the_end
else
	skip "a full file system" "there is no python3, or no mount namespace"
fi
check "sockets are not left behind" test ! -e 0 -a ! -e 1 -a ! -e control
exit $failed
