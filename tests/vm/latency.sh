#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The latencies on this kernel: each I/O of an NVMe namespace once, the copier's priority apart.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash

load() {
	fio --filename=/dev/lab/a --bs=4k --direct=1 --ioengine=io_uring --iodepth=4 --size=16M --norandommap \
		--output="$SCRATCH/fio" --name=r --rw=randread --number_ios=600 "$@" \
		--name=w --rw=randwrite --number_ios=400 "$@" || { cat "$SCRATCH/fio"; return 1; }
}

counts() {
	local lines
	echo 2 >"/sys/block/$(basename "$(realpath /dev/lab/a)")/queue/nomerges"
	background "$GODWIT" track --latency /dev/lab/a --interval 200ms -o json >"$SCRATCH/lines" 2>"$SCRATCH/err"
	wait_for test -s "$SCRATCH/lines" || { cat "$SCRATCH/err"; return 1; }
	load && load --prioclass=2 --prio=6 || return 1
	lines=$(wc -l <"$SCRATCH/lines")
	wait_for sh -c "[ \$(wc -l <$SCRATCH/lines) -ge $((lines + 2)) ]" || return 1
	kill -TERM "$BACKGROUND"
	wait "$BACKGROUND"
	python3 - "$SCRATCH/lines" <<-'PY'
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		reads, writes = (sum(line[kind]["count"] for line in lines) for kind in ("read", "write"))
		copier, missed = (sum(line[key] for line in lines) for key in ("copier_ios", "missed"))
		print(f"# reads {reads}, writes {writes}, copier {copier}, missed {missed}")
		timed = all(0 < line[kind]["p50_ns"] <= line[kind]["max_ns"] < 60e9
		            for line in lines for kind in ("read", "write") if line[kind]["count"])
		ok = all(wanted - missed <= count <= wanted
		         for count, wanted in ((reads, 600), (writes, 400), (copier, 1000)))
		sys.exit(0 if ok and timed else 1)
	PY
}

run "each I/O once, the copier's apart" counts
exit $FAILED
