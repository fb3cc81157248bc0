#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Convergence under a writer: time beside size / limit, amplification, blackout as predicted and as
# measured. method.md. Root.
#
# GW_BENCH_RUNS=3		runs of each
# GW_BENCH_BYTES=2147483648	size of the devices, a multiple of 1 MiB
# GW_BENCH_ONLY=			a pattern (grep -E) of the rows to run; default all
# GW_BENCH_JSON=build/converge.jsonl	a line for each row and metric is appended
# GW_BENCH_DIR=/dev/shm		a directory for the files below the devices
# GW_BENCH_PLOT=		a file: instead, one run with a limit of 64 MiB/s is drawn there, as SVG
cd "$(dirname "$0")/.." || exit 1
# shellcheck source-path=SCRIPTDIR source=lib.bash
. bench/lib.bash

RUNS=${GW_BENCH_RUNS:-3}
BYTES=${GW_BENCH_BYTES:-2147483648}
TOOLS=$(realpath "$GW_BUILD")/bench
WRITER=

# Name | limit in MiB/s (0: none) | options of fio; "-" for no writer
PLAN=(
	"5000 random, 256 MiB/s|256|--rw=randwrite --bs=4k --rate_iops=5000 --iodepth=8"
	"2000 random|0|--rw=randwrite --bs=4k --rate_iops=2000 --iodepth=8"
	"5000 zipf, 256 MiB/s|256|--rw=randwrite --bs=4k --rate_iops=5000 --iodepth=8 --random_distribution=zipf:1.2"
	"5000 zipf|0|--rw=randwrite --bs=4k --rate_iops=5000 --iodepth=8 --random_distribution=zipf:1.2"
	"stopped writer|0|-"
)

make_devices() {
	have fio || die "fio is not installed"
	"$TOOLS/fill" -s 1 "$BYTES" "$SCRATCH/source.img" || exit 1
	"$TOOLS/fill" -a "$BYTES" "$SCRATCH/target.img" || exit 1
	loop "$SCRATCH/source.img" && SOURCE=$LOOP
	loop "$SCRATCH/target.img" && TARGET=$LOOP
}

# shellcheck disable=SC2317
bench_cleanup() {
	[ -z "$WRITER" ] || kill -KILL "$WRITER" 2>/dev/null
	WRITER=
}

# writer OPTIONS...: until the quiesce command, $SCRATCH/quiesce, stops it.
start_writer() {
	echo true >"$SCRATCH/quiesce"
	[ "$1" != - ] || return 0
	fio --thread --name=w --filename="$SOURCE" --size="$BYTES" --direct=1 --ioengine=io_uring \
		--time_based --runtime=600 --randrepeat=0 --norandommap --output=/dev/null "$@" &
	WRITER=$!
	disown
	printf 'kill -KILL %s; while [ -d /proc/%s ] && ! grep -q "^State:.Z" /proc/%s/status; do sleep 0.001; done\n' \
		"$WRITER" "$WRITER" "$WRITER" >"$SCRATCH/quiesce"
	sleep 1
}

# What the journal and the report say: seconds from the first read to consistent, and so on.
figures() {
	python3 - "$SCRATCH/state/journal" "$SCRATCH/report.json" "$1" "$BYTES" <<-'PY'
		import json, struct, sys
		data, at, records = open(sys.argv[1], "rb").read(), 0, []
		while at + 40 <= len(data):
		    magic, _, kind, size, _, _, wall_ns, _ = struct.unpack_from("<4sHHIIQQQ", data, at)
		    if magic != b"GWRJ":
		        break
		    records.append((kind, wall_ns / 1e9, json.loads(data[at + 40:at + 40 + size])))
		    at += (40 + size + 7) // 8 * 8
		report = json.load(open(sys.argv[2]))
		rounds, blackout = report["rounds"], report["blackout"]
		base = next(r for r in records if r[0] == 3)
		first_read = base[1] - base[2]["elapsed_ns"] / 1e9
		commit = next(r for r in records if "blackout_so_far_ns" in r[2])
		seconds = commit[1] - first_read
		limit = float(sys.argv[3]) * 2**20
		print("seconds", seconds)
		if limit:
		    print("to_limit", seconds / (float(sys.argv[4]) / limit))
		print("amplification", report["totals"]["amplification"])
		print("rounds", len(rounds))
		print("base_gib_per_s", rounds[0]["copy_bytes_per_s"] / 2**30)
		print("predicted_ms", blackout["predicted_ns"] / 1e6)
		print("blackout_ms", (blackout["total_ns"] - blackout["user_ns"]) / 1e6)
		last = rounds[-1]["copied_bytes"]
		print("last_mib", last / 2**20)
		if last and blackout["copy_ns"]:
		    print("last_mib_per_s", last / 2**20 / (blackout["copy_ns"] / 1e9))
	PY
}

once() {
	local name=$1 limit=$2 limits=() metric number
	[ "$limit" = 0 ] || limits=(--bandwidth "${limit}M")
	shift 2
	rm -rf "$SCRATCH/state" "$SCRATCH/run"
	start_writer "$@"
	"$GODWIT" migrate "$SOURCE" "$TARGET" --name bench --handoff exec \
		--exec-quiesce "sh $SCRATCH/quiesce" --exec-abort true --overwrite --yes -o json \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		"${limits[@]}" \
		>"$SCRATCH/report.json" 2>"$SCRATCH/log" ||
		{ cat "$SCRATCH/log" >&2; die "$name failed"; }
	bench_cleanup
	cmp "$SOURCE" "$TARGET" || die "$name: the target is not the source"
	while read -r metric number; do
		value "$name" "$metric" "$number"
	done < <(figures "$limit")
}

show() {
	local item name metric
	printf '\n%-24s %-16s %-18s %-18s %-16s %-20s %s\n' "" "s" "to size/limit" "amplification" \
		"last MiB/s" "predicted, ms" "blackout, ms"
	for item in "${PLAN[@]}"; do
		name=${item%%|*}
		[ -n "$(median "$name" seconds)" ] || continue
		printf '%-24s %-16s %-18s %-18s %-16s %-20s %s\n' "$name" "$(cell "$name" seconds %.1f)" \
			"$(cell "$name" to_limit %.3f)" "$(cell "$name" amplification %.2f)" \
			"$(cell "$name" last_mib_per_s %.0f)" "$(cell "$name" predicted_ms %.1f)" \
			"$(cell "$name" blackout_ms %.1f)"
		for metric in seconds to_limit amplification rounds base_gib_per_s last_mib last_mib_per_s \
			predicted_ms blackout_ms; do
			json "$name" "$metric" "$metric" "\"bytes\": $BYTES"
		done
	done
	echo
	note "median (min..max) of $RUNS runs, $BYTES bytes; the user's command is not in the blackout"
	note "JSON lines: $JSON"
}

# One run, and its picture: docs/convergence.md.
plot() {
	local watching
	bench/converge_plot.py "$SCRATCH/run/bench.sock" "$GW_BENCH_PLOT" \
		"$((BYTES >> 20)) MiB, 5000 random writes of 4 KiB a second, --bandwidth 64M" &
	watching=$!
	once plot 64 --rw=randwrite --bs=4k --rate_iops=5000 --iodepth=8
	wait "$watching"
}

bench_begin
make_devices
if [ -n "${GW_BENCH_PLOT:-}" ]; then
	plot
	exit
fi
for ((run = 0; run < RUNS; run++)); do
	for item in "${PLAN[@]}"; do
		IFS='|' read -r name limit options <<<"$item"
		grep -qE -- "${GW_BENCH_ONLY:-}" <<<"$name" || continue
		# shellcheck disable=SC2086
		once "$name" "$limit" $options
	done
done
show
