#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What breaks in the middle: devices that fail, vanish or hang, signals, streams nobody reads.
# Each ends with its exit code, the source as it was and running, and nothing left.
. "$(dirname "$0")/lib.bash"

NAME=errors$$

fill() {
	dd if=/dev/urandom of="$1" bs=1M oflag=direct status=none 2>/dev/null
	blockdev --flushbufs "$1"
}

# start SOURCE TARGET [OPTIONS]: in the background, its process in $PID.
start() {
	background env --default-signal=INT,TERM,PIPE "$GODWIT" migrate "$@" --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
	PID=$BACKGROUND
}

journal_has() {
	wait_for grep -aq "$1" "$SCRATCH/state/journal" && return 0
	sed 's/^/#   /' "$SCRATCH/err"
	return 1
}

# ended CODE: the one in the background did so.
ended() {
	local code
	wait_for gone "$PID" || { stacks "$PID"; return 1; }
	wait "$PID"
	code=$?
	[ $code = "$1" ] && return 0
	echo "# exit code $code, expected $1"
	tail -n 15 "$SCRATCH/err" | sed 's/^/#   /'
	return 1
}

gone() {
	[ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

stacks() {
	cat "/proc/$1/task"/*/stack 2>/dev/null | sed 's/^/#   /'
}

# A file system of its own at $SCRATCH/NAME; what lies on it can be full, or frozen.
host() {
	loop "$1" "$2" && mkfs.ext4 -q "$LOOP" && mount_at "$1" "$LOOP"
}

# loop_on FILE SIZE: a loop device over a file that is allocated already.
loop_on() {
	fallocate -l "$2" "$1" && sync "$1" && attach "$1" --direct-io=on
}

unharmed() {
	[ "$1" = "$(sha256sum <"$SCRATCH/source.img")" ] && return 0
	echo "# the source has changed"
	return 1
}

# ---- I/O errors ----

target_full() {
	local source before
	loop source 32M; source=$LOOP
	fill "$source"
	before=$(sha256sum <"$SCRATCH/source.img")
	mkdir "$SCRATCH/small"
	mount -t tmpfs -o size=12M none "$SCRATCH/small" && MOUNTS+=("$SCRATCH/small")
	truncate -s 32M "$SCRATCH/small/target.img"
	attach "$SCRATCH/small/target.img" --direct-io=on || return 1
	expect 4 migrate "$source" "$LOOP" --handoff none && said "target.*LBA [0-9]+" &&
		unharmed "$before" && nothing_left && reported "report['exit_code'] == 4"
}

# The end of its file is cut off under the source.
source_cut() {
	local source
	loop source 32M; source=$LOOP
	loop target 32M
	fill "$source"
	start "$source" "$LOOP" --handoff none --bandwidth 4M
	journal_has settled_bytes || return 1
	truncate -s 1M "$SCRATCH/source.img"
	ended 4 && said "source.*LBA [0-9]+" && nothing_left && reported "report['exit_code'] == 4"
}

# Detached while in use: the kernel waits for the last that has it open.
detached() {
	local source target
	loop source 32M; source=$LOOP
	loop target 32M; target=$LOOP
	fill "$source"
	start "$source" "$target" --handoff none --bandwidth 2M
	journal_has settled_bytes || return 1
	detach "$source"
	detach "$target"
	expect 0 "$GODWIT" set "$NAME" bandwidth=0 --run-dir "$SCRATCH/run" 2>"$SCRATCH/set" || return 1
	ended 0 || return 1
	nothing_left && cmp "$SCRATCH/source.img" "$SCRATCH/target.img"
}

# ---- I/O that hangs ----

# The target's I/O hangs: given up after --timeout, and not when the target comes back.
target_hangs() {
	local source target before
	loop source 64M; source=$LOOP
	fill "$source"
	before=$(sha256sum <"$SCRATCH/source.img")
	host host 128M && loop_on "$SCRATCH/host/target.img" 64M || return 1
	target=$LOOP
	start "$source" "$target" --handoff none --bandwidth 4M --timeout 5s
	journal_has settled_bytes || return 1
	fsfreeze -f "$SCRATCH/host"
	wait_for said_meanwhile "no progress" || { stacks "$PID"; fsfreeze -u "$SCRATCH/host"; return 1; }
	fsfreeze -u "$SCRATCH/host"
	ended 5 && said "no progress.*--timeout" && unharmed "$before" && nothing_left
}

said_meanwhile() {
	grep -q "$1" "$SCRATCH/err"
}

# It hangs in the blackout: the source is not stopped for longer than the deadline.
hangs_in_blackout() {
	local source target began
	loop source 64M; source=$LOOP
	mkfs.ext4 -q "$source" && mount_at m "$source" || return 1
	host host 128M && loop_on "$SCRATCH/host/target.img" 64M || return 1
	target=$LOOP
	start "$source" "$target" --handoff exec --quiesce-deadline 3s \
		--exec-quiesce "fsfreeze -f $SCRATCH/m && fsfreeze -f $SCRATCH/host && touch $SCRATCH/stopped" \
		--exec-abort "fsfreeze -u $SCRATCH/m && echo \$GODWIT_BY >$SCRATCH/abort"
	wait_for test -e "$SCRATCH/stopped" || return 1
	began=$SECONDS
	wait_for test -s "$SCRATCH/abort" || { fsfreeze -u "$SCRATCH/host"; return 1; }
	[ $((SECONDS - began)) -le 10 ] || { echo "# $((SECONDS - began)) s"; return 1; }
	timeout 60 dd if=/dev/urandom of="$SCRATCH/m/goes-on" bs=4k count=1 oflag=sync status=none ||
		{ echo "# the source does not go on"; return 1; }
	fsfreeze -u "$SCRATCH/host"
	ended 5 && nothing_left
}

# ---- signals ----

# interrupted SIGNAL JOURNAL-TEXT: as soon as the journal holds it.
interrupted() {
	local source before
	loop source 64M; source=$LOOP
	loop target 64M
	fill "$source"
	before=$(sha256sum <"$SCRATCH/source.img")
	start "$source" "$LOOP" --handoff none --bandwidth 2M
	journal_has "$2" || return 1
	kill "-$1" "$PID"
	ended 6 && said "cancel" && unharmed "$before" && nothing_left && reported "report['exit_code'] == 6"
}

# In the rounds, with a writer on the mounted file system; it is not frozen and goes on.
interrupted_in_rounds() {
	local source writer
	loop source 128M; source=$LOOP
	loop target 128M
	mkfs.ext4 -q "$source" && mount_at m "$source" || return 1
	dd if=/dev/urandom of="$SCRATCH/m/ballast" bs=1M count=40 conv=fsync status=none
	background fio --thread --name=w --filename="$SCRATCH/m/w" --rw=randwrite --bs=4k --size=16M \
		--direct=1 --ioengine=io_uring --rate_iops=2000 --time_based --runtime=600 --output=/dev/null
	writer=$BACKGROUND
	start "$source" "$LOOP" --bandwidth 40M --downtime-limit 1ms
	journal_has '"round":2' || return 1
	kill -INT "$PID"
	ended 6 && nothing_left && kill -0 "$writer" &&
		timeout 60 dd if=/dev/zero of="$SCRATCH/m/goes-on" bs=4k count=1 oflag=sync status=none
}

# In the blackout: by the command that stops the writers, so that it cannot come at another time.
interrupted_in_blackout() {
	local source before
	loop source 32M; source=$LOOP
	loop target 32M
	fill "$source"
	before=$(sha256sum <"$SCRATCH/source.img")
	start "$source" "$LOOP" --handoff exec --exec-quiesce "kill -$1 \$PPID" \
		--exec-abort "echo \$GODWIT_BY >>$SCRATCH/abort"
	ended 6 && [ "$(cat "$SCRATCH/abort")" = migrate ] && unharmed "$before" && nothing_left
}

# After the commit record nothing can be taken back: the signal is too late.
interrupted_after_commit() {
	local source
	loop source 32M; source=$LOOP
	loop target 32M
	fill "$source"
	start "$source" "$LOOP" --handoff exec --exec-quiesce true --exec-switch "kill -INT \$PPID" \
		--exec-abort "touch $SCRATCH/abort"
	ended 0 && [ ! -e "$SCRATCH/abort" ] && same "$source" "$LOOP" && nothing_left
}

interrupted_before() {
	local source i code
	loop source 16M; source=$LOOP
	loop target 16M
	fill "$source"
	# At any moment of the set-up, the self-test included.
	for i in 0.05 0.2 0.4 0.6 0.8 1.0; do
		start "$source" "$LOOP" --handoff none --bandwidth 500K --overwrite
		sleep $i
		kill -INT "$PID" 2>/dev/null
		# Before the program is up, the signal itself ends it.
		wait "$PID"
		code=$?
		case $code in
		6 | 130) ;;
		*) echo "# after $i s: exit code $code"; cat "$SCRATCH/err"; return 1 ;;
		esac
		nothing_left || { echo "# after $i s"; return 1; }
		rm -rf "$SCRATCH/state"
	done
}

# ---- streams ----

stdout_closed() {
	local source
	loop source 16M; source=$LOOP
	loop target 16M
	fill "$source"
	"$GODWIT" migrate "$source" "$LOOP" --handoff none --name "$NAME" --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >&- 2>"$SCRATCH/err" </dev/null
	echo "# closed: exit code $?"
	same "$source" "$LOOP" && nothing_left || return 1
	rm -rf "$SCRATCH/state"
	"$GODWIT" migrate "$source" "$LOOP" --overwrite --handoff none --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err" </dev/null | true
	same "$source" "$LOOP" && nothing_left || return 1
	# All three of them: no device may become number 1 or 2.
	rm -rf "$SCRATCH/state"
	"$GODWIT" migrate "$source" "$LOOP" --overwrite --handoff none --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" <&- >&- 2>&-
	same "$source" "$LOOP" && nothing_left
}

# Nobody reads its messages for a while: then it waits, but not with a stopped source.
stderr_full() {
	local source
	loop source 64M; source=$LOOP
	loop target 64M
	mkfs.ext4 -q "$source" && mount_at m "$source" || return 1
	mkfifo "$SCRATCH/pipe"
	exec 7<>"$SCRATCH/pipe"
	head -c 65536 /dev/zero >&7
	background env --default-signal=INT "$GODWIT" migrate "$source" "$LOOP" --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" --quiesce-deadline 90s \
		>"$SCRATCH/out" 2>"$SCRATCH/pipe"
	PID=$BACKGROUND
	wait_for test -e "$SCRATCH/state/journal" || { exec 7>&-; return 1; }
	for _ in 1 2 3 4 5 6; do
		timeout 60 dd if=/dev/urandom of="$SCRATCH/m/goes-on" bs=4k count=1 oflag=sync status=none ||
			{ echo "# the source is stopped"; exec 7>&-; return 1; }
		sleep 0.5
	done
	background cat "$SCRATCH/pipe" >/dev/null
	touch "$SCRATCH/err"
	ended 0
	local result=$?
	exec 7>&-
	return $result
}

if ! needs_bpf; then
	echo "ok - failures # SKIP $SKIP"
	exit 0
fi
run "the target's storage is full" target_full
run "the source ends too early" source_cut
run "both are detached, and stay until the end" detached
run "the target hangs" target_hangs
run "the target hangs in the blackout" hangs_in_blackout
run "SIGINT in the set-up" interrupted_before
run "SIGINT when tracking begins" interrupted INT generation
run "SIGINT in the base pass" interrupted INT settled_bytes
run "SIGTERM in the base pass" interrupted TERM settled_bytes
run "SIGINT in the rounds" interrupted_in_rounds
run "SIGINT in the blackout" interrupted_in_blackout INT
run "SIGTERM in the blackout" interrupted_in_blackout TERM
run "SIGINT after the commit" interrupted_after_commit
run "standard streams closed" stdout_closed
run "standard error is full" stderr_full
exit $FAILED
