#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# Settled means durable: the target under dm-log-writes, its log replayed to each flush. What the journal
# called settled by then is there, in a migration that ends and in one that is killed right after a record.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
NAME=logged
GRAIN=4096 SECTORS=$((40 << 11))
SOURCE=/dev/mapper/source TARGET=/dev/mapper/target

modprobe dm-log-writes 2>/dev/null
grep -q '^log-writes' <<< "$(dmsetup targets)" || { echo "this kernel has no dm-log-writes"; exit 77; }

begin() {
	blkdiscard -f /dev/lab/b
	dmsetup create source --table "0 $SECTORS linear /dev/lab/a 0" &&
		dmsetup create target --table "0 $SECTORS log-writes /dev/lab/b /dev/lab/m" || return 1
	dd if=/dev/urandom of=$SOURCE bs=1M count=40 oflag=direct status=none
}

# What is in the log is complete only when the device is gone.
end() {
	local try
	for ((try = 0; try < 100; try++)); do
		dmsetup remove target 2>/dev/null && break
		sleep 0.1
	done
	blockdev --flushbufs /dev/lab/m
	tests/vm/log_replay.py /dev/lab/m "$SCRATCH/state/journal" $SOURCE $GRAIN "$@"
}

# One buffer: batches are exact ranges. Slow enough for several, which last a second each.
copy() {
	"$@" migrate $SOURCE $TARGET --name $NAME --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" --track none \
		--handoff none --buffers 1 --grain $GRAIN --bandwidth 8M --overwrite >"$SCRATCH/out" 2>"$SCRATCH/err"
}

to_the_end() {
	begin && expect 0 copy "$GODWIT" && end 3 --whole
}

# Killed when the record of a batch has just become durable.
killed() {
	begin || return 1
	GODWIT_KILL_AT=batch-recorded:$1 expect 137 copy "$GODWIT_FAULT" && end "$1"
}

tidy() {
	dmsetup remove target 2>/dev/null
	dmsetup remove source 2>/dev/null
	"$GODWIT" cleanup $NAME --run-dir "$SCRATCH/run" >/dev/null 2>&1
}
tidied() { "$@"; local result=$?; tidy; return $result; }

run "target log: replayed to each flush of a migration" tidied to_the_end
run "target log: killed after the first record" tidied killed 1
run "target log: killed after the third record" tidied killed 3
exit $FAILED
