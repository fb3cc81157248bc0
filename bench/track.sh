#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What tracking costs: run time of the BPF programs per I/O, and IOPS with and without:
# method.md. Root.
#
# GW_BENCH_RUNS=5		runs of each
# GW_BENCH_SECONDS=2		of one run
# GW_BENCH_BYTES=1073741824	size of the devices
# GW_BENCH_DEVICES="loop zram"	request-based, bio-based
# GW_BENCH_DEPTHS="1 32"
# GW_BENCH_PARTS="cost iops"
# GW_BENCH_JSON=build/track.jsonl	a line for each row and metric is appended
# GW_BENCH_DIR=/dev/shm		a tmpfs for the file below the loop device
cd "$(dirname "$0")/.." || exit 1
# shellcheck source-path=SCRIPTDIR source=lib.bash
. bench/lib.bash

RUNS=${GW_BENCH_RUNS:-5}
SECONDS_EACH=${GW_BENCH_SECONDS:-2}
BYTES=${GW_BENCH_BYTES:-1073741824}
DEVICES=${GW_BENCH_DEVICES:-loop zram}
DEPTHS=${GW_BENCH_DEPTHS:-1 32}
PARTS=${GW_BENCH_PARTS:-cost iops}
TOOLS=$(realpath "$GW_BUILD")/bench
NAME=bench-$$
PINS=/sys/fs/bpf/godwit/$NAME
ZRAM=
OBSERVER=

bench_cleanup() {
	stop_observer
	"$GODWIT" track stop "$NAME" --run-dir "$SCRATCH/run" -q 2>/dev/null
	[ -z "$ZRAM" ] || echo "$ZRAM" >/sys/class/zram-control/hot_remove
}

# device KIND: its path in $DEVICE; returns 1, with a reason, if there is none.
device() {
	case $1 in
	loop)
		truncate -s "$BYTES" "$SCRATCH/disk.img"
		loop "$SCRATCH/disk.img"
		DEVICE=$LOOP
		;;
	zram)
		modprobe zram 2>/dev/null
		ZRAM=$(cat /sys/class/zram-control/hot_add 2>/dev/null)
		[ -n "$ZRAM" ] || { note "zram: skipped, this kernel has none"; return 1; }
		DEVICE=/dev/zram$ZRAM
		echo "$BYTES" >"/sys/block/zram$ZRAM/disksize" || return 1
		;;
	*)
		die "GW_BENCH_DEVICES: $1: loop or zram"
		;;
	esac
	# Every block is there: what the device has to allocate is no part of the question.
	[ "$BYTES" -le $((4 << 30)) ] || return 0
	"$TOOLS/fill" -a "$BYTES" "$DEVICE" || die "$DEVICE cannot be filled"
	blockdev --flushbufs "$DEVICE"
}

load_of() {
	fio --name=bench --filename="$DEVICE" --rw=randwrite --bs=4k --ioengine=io_uring --direct=1 \
		--iodepth="$1" --time_based --runtime="$SECONDS_EACH" --output-format=terse \
		--terse-version=3
}

# Of fio's terse line, version 3: writes in KiB, and a second.
terse_ios() {
	awk -F ';' '$1 == 3 { print $47 / 4 }'
}

terse_iops() {
	awk -F ';' '$1 == 3 { print $49 }'
}

start_tracking() {
	"$GODWIT" track start "$DEVICE" --name "$NAME" --run-dir "$SCRATCH/run" -q
}

stop_tracking() {
	"$GODWIT" track stop "$NAME" --run-dir "$SCRATCH/run" -q
}

# ---- run time of the programs ----

links_of() {
	local copy
	if [ "$1" = zram ]; then
		echo "-l submit:block_bio_queue:$PINS/link_submit"
	else
		echo "-l submit:block_rq_issue:$PINS/link_submit"
		echo "-l requeue:block_rq_requeue:$PINS/link_requeue"
	fi
	for copy in 1 2 3; do
		if [ "$1" = zram ]; then
			echo "-l complete$copy:block_bio_complete:$PINS/link_complete$copy"
		else
			echo "-l complete$copy:block_rq_complete:$PINS/link_complete$copy"
		fi
	done
}

# One run. Other disks' events run the programs too: more than one in twenty, and it is tried again;
# the last try (3) is taken as it is, with all of their time put down to the load: an upper bound.
cost_once() {
	local kind=$1 depth=$2 try=$3 ios
	# shellcheck disable=SC2046
	"$TOOLS/prog_cost" $(links_of "$kind") fio --name=bench --filename="$DEVICE" \
		--rw=randwrite --bs=4k --ioengine=io_uring --direct=1 --iodepth="$depth" \
		--time_based --runtime="$SECONDS_EACH" --output-format=terse --terse-version=3 \
		>"$SCRATCH/cost" 2>"$SCRATCH/fio" || { cat "$SCRATCH/fio" >&2; die "prog_cost failed"; }
	ios=$(terse_ios <"$SCRATCH/fio")
	awk -F '\t' -v ios="$ios" '$1 == "submit" && $3 > ios * 1.05 { exit 1 }' "$SCRATCH/cost" || {
		[ "$try" = 3 ] || return 1
		note "$kind, depth $depth: many I/Os of other disks in a run: its figures are too high"
	}
	awk -F '\t' -v row="$kind, depth $depth" -v ios="$ios" -v OFS='\t' '
		{
			empty = $5 ? $6 / $5 : 0
			net = ($4 - $3 * empty) / ios
			all += net
			misses += $7
			print row, $1, net
			if ($1 == "complete1")
				print row, "empty", empty
		}
		END { print row, "all", all; print row, "misses", misses }' "$SCRATCH/cost" \
		>>"$SCRATCH/values"
}

cost() {
	local kind=$1 depth run try taken
	for depth in $DEPTHS; do
		row "$kind, depth $depth"
	done
	for ((run = 0; run < RUNS; run++)); do
		for depth in $DEPTHS; do
			taken=
			for ((try = 1; try <= 3 && !taken; try++)); do
				start_tracking || die "godwit track start failed"
				if cost_once "$kind" "$depth" "$try"; then
					taken=1
				fi
				stop_tracking
			done
		done
	done
}

show_cost() {
	local name metric
	printf '\nns an I/O, net of an empty program on the same tracepoint\n'
	printf '%-16s %-10s %s\n' "" "" "median (min..max)"
	for name in "${ROWS[@]}"; do
		for metric in submit requeue complete1 complete2 complete3 all empty misses; do
			[ -n "$(median "$name" $metric)" ] || continue
			printf '%-16s %-10s %s\n' "$name" "$metric" "$(cell "$name" $metric %.0f)"
			json "$name" "$metric" "$([ $metric = misses ] && echo events || echo ns)" \
				"\"part\": \"cost\", \"device_bytes\": $BYTES"
		done
	done
	note "empty: an empty program's own run time, taken off; misses: events the programs were skipped for"
}

# ---- IOPS ----

stop_observer() {
	[ -n "$OBSERVER" ] || return 0
	kill -INT "$OBSERVER" 2>/dev/null
	wait "$OBSERVER" 2>/dev/null
	OBSERVER=
}

# await FILE TEXT: until the observer has said so, or is gone.
await() {
	local i
	for ((i = 0; i < 100; i++)); do
		if grep -q "$2" "$1" 2>/dev/null; then
			sleep 0.3
			return 0
		fi
		kill -0 "$OBSERVER" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

start_bpftrace() {
	local event=block_rq_complete
	[ "$KIND" != zram ] || event=block_bio_complete
	bpftrace -e "tracepoint:block:$event { @ = count(); }" >"$SCRATCH/observer" 2>&1 &
	OBSERVER=$!
	await "$SCRATCH/observer" Attaching && sleep 0.5
}

start_blktrace() {
	: >"$SCRATCH/observer"
	blktrace -d "$DEVICE" -o - >/dev/null 2>"$SCRATCH/observer" &
	OBSERVER=$!
	sleep 0.5
	kill -0 "$OBSERVER" 2>/dev/null
}

# Variants that this machine has. An observer that cannot start is left out, with its reason.
choose_variants() {
	local reason
	VARIANTS=("not tracked" "not tracked, again" "tracked")
	if ! have bpftrace; then
		note "bpftrace count: skipped, bpftrace is not installed"
	elif start_bpftrace; then
		VARIANTS+=("bpftrace count")
	else
		note "bpftrace count: skipped, $(tail -n 1 "$SCRATCH/observer")"
	fi
	stop_observer
	if ! have blktrace; then
		note "blktrace: skipped, it is not installed"
		return
	fi
	[ -d /sys/kernel/debug/block ] || mount -t debugfs none /sys/kernel/debug 2>/dev/null
	if start_blktrace; then
		VARIANTS+=("blktrace")
	else
		reason=$(head -n 1 "$SCRATCH/observer")
		note "blktrace: skipped, ${reason:-it ended at once}"
	fi
	stop_observer
}

iops_once() {
	local variant=$1 depth=$2
	case $variant in
	tracked) start_tracking || die "godwit track start failed" ;;
	"bpftrace count") start_bpftrace || die "bpftrace: $(tail -n 1 "$SCRATCH/observer")" ;;
	blktrace) start_blktrace || die "blktrace: $(head -n 1 "$SCRATCH/observer")" ;;
	esac
	value "$KIND, depth $depth, $variant" iops "$(load_of "$depth" 2>/dev/null | terse_iops)"
	case $variant in
	tracked) stop_tracking ;;
	*) stop_observer ;;
	esac
}

# Forward and backward in turn: what drifts hits all of them.
iops() {
	local depth run i at variant
	KIND=$1
	choose_variants
	for depth in $DEPTHS; do
		for variant in "${VARIANTS[@]}"; do
			row "$KIND, depth $depth, $variant"
		done
	done
	for ((run = 0; run < RUNS; run++)); do
		for depth in $DEPTHS; do
			for ((i = 0; i < ${#VARIANTS[@]}; i++)); do
				at=$((run % 2 ? ${#VARIANTS[@]} - 1 - i : i))
				iops_once "${VARIANTS[at]}" "$depth"
			done
		done
	done
}

# Is the tracked median inside of all runs that were not tracked?
verdict() {
	local low high tracked
	tracked=$(median "$1, tracked" iops)
	low=$( (stats "$1, not tracked" iops; stats "$1, not tracked, again" iops) |
		awk '{ print $2 }' | sort -g | head -n 1)
	high=$( (stats "$1, not tracked" iops; stats "$1, not tracked, again" iops) |
		awk '{ print $3 }' | sort -g | tail -n 1)
	awk -v t="$tracked" -v l="$low" -v h="$high" -v row="$1" 'BEGIN {
		where = t < l ? "below" : t > h ? "above" : "inside of"
		printf "# %s: tracked %.0f is %s the spread of not tracked, %.0f..%.0f\n", row, t, where, l, h }'
}

show_iops() {
	local name kind depth plain
	printf '\n%-36s %-26s %s\n' "IOPS, 4 KiB random writes" "median (min..max)" "to not tracked"
	for name in "${ROWS[@]}"; do
		depth=${name#*, depth }
		plain="${name%%,*}, depth ${depth%%,*}, not tracked"
		printf '%-36s %-26s %s\n' "$name" "$(cell "$name" iops %.0f)" \
			"$(ratio "$(median "$name" iops)" "$(median "$plain" iops)")"
		json "$name" iops 1/s "\"part\": \"iops\", \"device_bytes\": $BYTES"
	done
	for kind in $DEVICES; do
		for depth in $DEPTHS; do
			[ -z "$(median "$kind, depth $depth, tracked" iops)" ] ||
				verdict "$kind, depth $depth"
		done
	done
}

bench_begin
have fio || die "fio is not installed"
for PART in $PARTS; do
	ROWS=()
	for KIND in $DEVICES; do
		if device "$KIND"; then
			"$PART" "$KIND"
		fi
		if [ -n "$ZRAM" ]; then
			echo "$ZRAM" >/sys/class/zram-control/hot_remove
			ZRAM=
		fi
	done
	"show_$PART"
	note "$RUNS runs of $SECONDS_EACH s each; load average now: $(load)"
done
note "JSON lines: $JSON"
