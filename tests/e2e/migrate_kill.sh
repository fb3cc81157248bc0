#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL at random moments, and between every two steps; each is followed by --continue
# and an identical target, with a writer running all the while.
. "$(dirname "$0")/lib.bash"

KILLS=${GW_KILLS:-200}
SEED=${GW_SEED:-$$}
RANDOM=$SEED

begin() {
	loop source 48M; SOURCE=$LOOP
	loop target 48M; TARGET=$LOOP
	dd if=/dev/urandom of="$SOURCE" bs=1M oflag=direct status=none 2>/dev/null
	background fio --thread --name=w --filename="$SOURCE" --rw=randwrite --bs=4k,4k --size=48M --direct=1 \
		--ioengine=io_uring --iodepth=4 --rate_iops=1500 --time_based --runtime=600 \
		--randrepeat=0 --output=/dev/null
	FIO=$BACKGROUND
	QUIESCE="kill -KILL $FIO; while [ -d /proc/$FIO ] && ! grep -q '^State:.Z' /proc/$FIO/status; do sleep 0.01; done"
}

start() {
	"$1" migrate "$SOURCE" "$TARGET" --handoff exec --exec-quiesce "$QUIESCE" --overwrite \
		--bandwidth 60M --downtime-limit 2s --quiesce-deadline 30s --name "$NAME" \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
}

go_on() {
	"$1" migrate --continue "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err"
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
	! kill -0 "$FIO" 2>/dev/null || grep -q '^State:.Z' "/proc/$FIO/status" || { echo "# the writer still runs"; return 1; }
	same "$SOURCE" "$TARGET" && nothing_left
}

# Several kills into one migration, then to the end.
random_kills() {
	local i pid
	NAME=kill$$
	begin
	for ((i = 0; i < $1; i++)); do
		if [ $i = 0 ]; then
			start "$GODWIT" &
		else
			go_on "$GODWIT" &
		fi
		pid=$!
		sleep "$(printf '0.%03d' $((RANDOM % 900)))"
		pkill -KILL -P $pid 2>/dev/null
		wait $pid 2>/dev/null
	done
	finish
}

# Killed at a step by name, at its n-th passing; the point must have been reached.
kill_at() {
	local result
	NAME=kill$$
	begin
	GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
	result=$?
	[ $result = 137 ] || { echo "# $1 was never reached: exit code $result"; tail -3 "$SCRATCH/err"; return 1; }
	finish
}

# And a second time, in the process that goes on.
kill_twice_at() {
	NAME=kill$$
	begin
	GODWIT_KILL_AT=$1 start "$GODWIT_FAULT"
	GODWIT_KILL_AT=$2 go_on "$GODWIT_FAULT"
	finish
}

# cleanup instead of --continue: nothing is left, twice over, and the writer goes on.
kill_and_clean() {
	local result
	NAME=kill$$
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
STEPS=(started track-started pending-set tracking-recorded batch-flushed batch-recorded
	round-copied quiescing-recorded quiesced drained last-copied flushed committing committed
	switched resumed ended)
MOVES=(move-loaded move-stored move-cleared take-stored take-cleared take-live-cleared)
for step in "${STEPS[@]}"; do
	run "killed at $step" kill_at "$step"
done
# Not those of the self-test: runs of the base pass, and the take that follows it.
for move in "${MOVES[@]}"; do
	after=round-copied
	[[ $move = take-* ]] && after=tracking-recorded
	for n in 1 7 40; do
		run "killed in a bitmap move at $move, time $n" kill_at "$after,$move:$n"
	done
done
run "killed twice in moves" kill_twice_at round-copied,move-stored:3 move-stored:2
run "killed twice around a batch" kill_twice_at batch-flushed:2 batch-recorded:1
for step in track-started batch-recorded quiesced committing; do
	run "cleanup after a kill at $step" kill_and_clean "$step"
done
for ((done = 0; done < KILLS; done += 5)); do
	run "random kills $((done + 1)) to $((done + 5))" random_kills 5
done
exit $FAILED
