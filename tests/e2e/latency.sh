#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `track latency` sees is each I/O of the foreground, once, and none of the copier.
. "$(dirname "$0")/lib.bash"
TRIES=2

# watch DEVICE: lines go to $SCRATCH/lines until stop_watching. Attached when the first one is there.
watch() {
	background "$GODWIT" track --latency "$1" --interval 100ms -o json >"$SCRATCH/lines" 2>"$SCRATCH/err"
	WATCHING=$BACKGROUND
	wait_for test -s "$SCRATCH/lines" || { cat "$SCRATCH/err"; return 1; }
}

# What ended before is in one of the next two lines.
stop_watching() {
	local lines
	lines=$(wc -l <"$SCRATCH/lines")
	wait_for has_lines $((lines + 2)) || return 1
	kill -TERM "$WATCHING"
	wait "$WATCHING"
}

has_lines() { [ "$(wc -l <"$SCRATCH/lines")" -ge "$1" ]; }

# saw EXPRESSION: of Python, over reads, writes, copier, not_timed, missed and all lines.
saw() {
	python3 - "$SCRATCH/lines" "$1" <<-'PY'
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		reads, writes = (sum(line[kind]["count"] for line in lines) for kind in ("read", "write"))
		copier, not_timed, missed = (sum(line[key] for line in lines)
		                             for key in ("copier_ios", "not_timed_ios", "missed"))
		# The kernel says how many it kept from the program; of completions that interrupt
		# some threads it keeps, uncounted, a queue's worth at a time.
		def near(count, wanted):
		    return wanted * 0.96 - missed <= count <= wanted
		if not eval(sys.argv[2]):
		    print("# does not hold:", sys.argv[2])
		    print(f"# reads {reads}, writes {writes}, copier {copier}, not timed {not_timed}, missed {missed}")
		    sys.exit(1)
	PY
}

# load DEVICE [OPTIONS]: 3000 reads and 2000 writes, or what the options make of it.
load() {
	local device=$1
	shift
	fio --filename="$device" --bs=4k --direct=1 --ioengine=io_uring --iodepth=8 --size=16M --norandommap \
		--randrepeat=0 --output="$SCRATCH/fio" --name=r --rw=randread --number_ios=3000 "$@" \
		--name=w --rw=randwrite --number_ios=2000 "$@" || { cat "$SCRATCH/fio"; return 1; }
}

# on_loop FUNCTION: with a loop device, whose settings outlive the test otherwise.
on_loop() {
	local queue was key status
	loop source 64M || return 1
	queue=/sys/block/${LOOP#/dev/}/queue
	declare -A was
	for key in nomerges iostats wbt_lat_usec scheduler; do
		was[$key]=$(cat "$queue/$key") || { SKIP="the kernel has no $key"; return 0; }
	done
	was[scheduler]=$(sed 's/.*\[\(.*\)\].*/\1/' "$queue/scheduler")
	# What is next to each other would become one request.
	echo 2 >"$queue/nomerges"
	"$@"
	status=$?
	for key in "${!was[@]}"; do
		echo "${was[$key]}" >"$queue/$key"
	done
	return $status
}

each_once() {
	watch "$LOOP" && load "$LOOP" && stop_watching || return 1
	saw 'near(reads, 3000) and near(writes, 2000) and copier == 0 and not_timed == 0' || return 1
	python3 "$HERE/../cli/schema.py" "$HERE/../../docs/schema/track.schema.json" lines <"$SCRATCH/lines" || return 1
	# Times that are times: longer than nothing, and no longer than the whole took.
	saw 'all(0 < line[kind]["p50_ns"] <= line[kind]["p99_ns"] <= line[kind]["p999_ns"] <=
		line[kind]["max_ns"] < 60e9 for line in lines for kind in ("read", "write") if line[kind]["count"])' &&
		saw 'all(line["read"]["max_ns"] == 0 for line in lines if not line["read"]["count"])'
}

# A scheduler and the throttling of write-back want times, too.
without_times() {
	local queue=/sys/block/${LOOP#/dev/}/queue
	echo none >"$queue/scheduler" && echo 0 >"$queue/wbt_lat_usec" && echo 0 >"$queue/iostats"
}

without_iostats() {
	without_times || return 1
	watch "$LOOP" && load "$LOOP" && stop_watching &&
		saw 'near(reads, 3000) and near(writes, 2000)'
}

# Unless the kernel keeps the times for somebody else.
iostats_taken_away() {
	watch "$LOOP" && without_times || return 1
	load "$LOOP" && stop_watching && saw 'near(reads + writes + not_timed, 5000)'
}

copier_apart() {
	watch "$LOOP" && load "$LOOP" --prioclass=2 --prio=6 && load "$LOOP" --prioclass=2 --prio=5 &&
		stop_watching && saw 'near(reads, 3000) and near(writes, 2000) and near(copier, 5000)'
}

partition() {
	addpart "$LOOP" 1 65536 32768 || { SKIP="no partitions"; return 0; }
	local part=${LOOP}p1
	wait_for test -b "$part" || return 1
	watch "$part" && load "$part" && load "$LOOP" && stop_watching &&
		saw 'near(reads, 3000) and near(writes, 2000)'
}

zram() {
	local id status
	[ -e /sys/class/zram-control/hot_add ] || { SKIP="no zram"; return 0; }
	id=$(cat /sys/class/zram-control/hot_add) || { SKIP="zram cannot be added"; return 0; }
	echo 64M >"/sys/block/zram$id/disksize"
	watch "/dev/zram$id" && load "/dev/zram$id" && stop_watching &&
		saw 'near(reads, 3000) and near(writes, 2000) and copier == 0'
	status=$?
	remove_zram "$id"
	return $status
}

refusals() {
	expect 3 "$GODWIT" track latency "$SCRATCH/err" 2>"$SCRATCH/err" && said "no block device" &&
		expect 3 "$GODWIT" track latency /dev/nowhere 2>"$SCRATCH/err" && said nowhere
}

ends_by_itself() {
	loop source 16M && "$GODWIT" track latency "$LOOP" --interval 50ms --count 3 >"$SCRATCH/out" || return 1
	[ "$(wc -l <"$SCRATCH/out")" = 4 ] && grep -q 'p99.9' "$SCRATCH/out"
}

if ! needs_bpf; then
	echo "ok - latency # SKIP $SKIP"
	exit 0
fi
command -v fio >/dev/null || { echo "ok - latency # SKIP no fio"; exit 0; }
run "each I/O of the foreground is seen once" on_loop each_once
run "a disk without statistics" on_loop without_iostats
run "statistics that go away lose no I/O" on_loop iostats_taken_away
run "the copier's I/O is told apart" on_loop copier_apart
run "of a partition only its own" on_loop partition
run "zram, a bio-based disk" zram
run "refusals" refusals
run "ends by itself" ends_by_itself
exit $FAILED
