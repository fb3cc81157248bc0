#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL at random moments, and between every two steps; each is followed by --continue
# and an identical target, with a writer running all the while. Several migrations at a time:
# most of each is waiting.
. "$(dirname "$0")/lib.bash"

KILLS=${GW_KILLS:-200}
CHAINS=${GW_KILL_CHAINS:-4}	# of five kills into one migration, beside those
LANES=${GW_KILL_LANES:-3}
SEED=${GW_SEED:-$$}
AS=()				# exec: the process itself, without a shell around it
WORK=()				# "name|function|arguments"

begin() {
	loop source 16M; SOURCE=$LOOP
	loop target 16M; TARGET=$LOOP
	dd if=/dev/urandom of="$SOURCE" bs=1M oflag=direct status=none 2>/dev/null
	background fio --thread --name=w --filename="$SOURCE" --rw=randwrite --bs=4k,4k --size=16M --direct=1 \
		--ioengine=io_uring --iodepth=4 --rate_iops=1500 --time_based --runtime=600 \
		--randrepeat=0 --output=/dev/null
	FIO=$BACKGROUND
	QUIESCE="kill -KILL $FIO; while [ -d /proc/$FIO ] && ! grep -q '^State:.Z' /proc/$FIO/status; do sleep 0.01; done"
}

start() {
	"${AS[@]}" "$1" migrate "$SOURCE" "$TARGET" --handoff exec --exec-quiesce "$QUIESCE" --overwrite \
		--bandwidth 24M --downtime-limit 2s --quiesce-deadline 30s --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

go_on() {
	"${AS[@]}" "$1" migrate --continue "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

# Dead, and reaped or not; it may be reaped between any two looks.
writer_is_gone() {
	grep -q '^State:.Z' "/proc/$FIO/status" 2>/dev/null || ! kill -0 "$FIO" 2>/dev/null
}

# After the kill: go on until it is done, and compare. Died before it had begun: start anew.
finish() {
	go_on "$GODWIT"
	local result=$?
	if [ $result = 3 ] && grep -q "before it had begun\|no migration" "$SCRATCH/err"; then
		"$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >/dev/null 2>&1
		start "$GODWIT"
		result=$?
	fi
	if [ $result != 0 ]; then
		echo "# --continue: exit code $result"
		sed 's/^/#   /' "$SCRATCH/err"
		return 1
	fi
	writer_is_gone || { echo "# the writer still runs"; return 1; }
	same "$SOURCE" "$TARGET" && nothing_left
}

# kill_after MS COMMAND...: killed then. Return: was it still there?
kill_after() {
	local pid ms=$1
	shift
	AS=(exec)
	"$@" &
	pid=$!
	AS=()
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ $? = 137 ]
}

# One kill, at any moment from the start until well into the rounds, then to the end.
random_kill() {
	local ms=$((RANDOM % 1600))
	begin
	kill_after $ms start "$GODWIT" || echo "# it had ended after $ms ms"
	finish
}

# Several kills into one migration, then to the end.
random_kills() {
	local i
	begin
	kill_after $((400 + RANDOM % 1200)) start "$GODWIT"
	for ((i = 1; i < $1; i++)); do
		kill_after $((RANDOM % 900)) go_on "$GODWIT"
	done
	finish
}

# Killed at a step by name, at its n-th passing; the point must have been reached. Of a writer that
# was given no time there is less to move: then once more.
kill_at() {
	local result
	for _ in 1 2 3 4 5; do
		begin
		GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
		result=$?
		[ $result = 0 ] || break
		rm -rf "$SCRATCH/state"
	done
	[ $result = 137 ] || { echo "# $1 was never reached: exit code $result"; tail -3 "$SCRATCH/err"; return 1; }
	finish
}

# And a second time, in the process that goes on.
kill_twice_at() {
	begin
	GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
	GODWIT_KILL_AT=$2 go_on "$GODWIT_FAULT"
	finish
}

# cleanup instead of --continue: nothing is left, twice over, and the writer goes on.
kill_and_clean() {
	local result
	begin
	QUIESCE=true
	GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
	result=$?
	[ $result = 137 ] || { echo "# $1 was never reached: exit code $result"; return 1; }
	expect 0 "$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err" &&
		expect 0 "$GODWIT" cleanup "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err" &&
		nothing_left && kill -0 "$FIO"
}

if ! needs_bpf; then
	echo "ok - kills # SKIP $SKIP"
	exit 0
fi
echo "# seed $SEED"
STEPS=(state-made journal-made started track-started pending-set tracking-recorded batch-flushed batch-recorded
	round-copied quiescing-recorded quiesced drained last-copied flushed committing committed
	switched resumed ended)
MOVES=(move-loaded move-stored move-cleared take-stored take-cleared take-live-cleared)
for step in "${STEPS[@]}"; do
	WORK+=("killed at $step|kill_at|$step")
done
# Not those of the self-test: runs of the base pass, and the take that follows it.
for move in "${MOVES[@]}"; do
	after=round-copied
	[[ $move = take-* ]] && after=tracking-recorded
	for n in 1 7 40; do
		WORK+=("killed in a bitmap move at $move, time $n|kill_at|$after,$move:$n")
	done
done
WORK+=("killed twice in moves|kill_twice_at|round-copied,move-stored:3 move-stored:2"
	"killed twice around a batch|kill_twice_at|batch-flushed:2 batch-recorded:1")
for step in track-started batch-recorded quiesced committing; do
	WORK+=("cleanup after a kill at $step|kill_and_clean|$step")
done
for ((i = 1; i <= CHAINS; i++)); do
	WORK+=("five kills into one migration, $i|random_kills|5")
done
for ((i = 1; i <= KILLS; i++)); do
	WORK+=("random kill $i|random_kill|")
done

# Every LANES-th piece of work, from the given one on.
lane() {
	local i name function arguments
	trap 'scratch_end' EXIT
	trap 'exit 1' INT TERM
	NAME=kill$$-$1
	RANDOM=$((SEED + $1))
	for ((i = $1; i < ${#WORK[@]}; i += LANES)); do
		IFS='|' read -r name function arguments <<< "${WORK[i]}"
		# shellcheck disable=SC2086	# they are several
		run "$name" "$function" $arguments
	done
	exit $FAILED
}

lanes=()
for ((i = 0; i < LANES; i++)); do
	lane $i &
	lanes+=($!)
done
trap 'kill "${lanes[@]}" 2>/dev/null; exit 1' INT TERM
for i in "${lanes[@]}"; do
	wait "$i" || FAILED=1
done
exit $FAILED
