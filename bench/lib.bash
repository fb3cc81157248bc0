# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# For the benchmarks: scratch devices, tidying up, medians, JSON lines. Source it.
set -u
set -o pipefail

GW_BUILD=${GW_BUILD:-build}
GODWIT=${GODWIT:-$GW_BUILD/godwit}
HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
SCRATCH=
LOOPS=()
ROWS=()		# names, in the order in which they are shown

die() {
	echo "$0: $*" >&2
	exit 1
}

note() {
	echo "# $*"
}

have() {
	command -v "$1" >/dev/null
}

# Another build must not change what is measured in the middle of it: a copy of the program.
bench_begin() {
	[ "$(id -u)" = 0 ] || die "needs root (loop devices, BPF)"
	[ -x "$GODWIT" ] || die "$GODWIT: not built"
	SCRATCH=$(mktemp -d "${GW_BENCH_DIR:-/dev/shm}/godwit-bench.XXXXXX") || exit 1
	trap 'bench_end' EXIT
	trap 'exit 130' INT TERM
	cp "$GODWIT" "$SCRATCH/godwit"
	GODWIT=$SCRATCH/godwit
	COMMIT=$(git -C "$HERE" describe --always --dirty 2>/dev/null || echo unknown)
	JSON=${GW_BENCH_JSON:-$GW_BUILD/$(basename "$0" .sh).jsonl}
	: >>"$JSON" || die "$JSON: cannot be written"
	: >"$SCRATCH/values"
	note "$(uname -sr), $(nproc) CPUs, $(cpu_model), commit $COMMIT"
	note "load average at the start: $(load)"
}

# bench_cleanup: what a benchmark has to undo ahead of its devices.
bench_end() {
	local i
	if declare -F bench_cleanup >/dev/null; then
		bench_cleanup
	fi
	for i in "${LOOPS[@]}"; do
		losetup -d "$i" 2>/dev/null
	done
	[ -z "$SCRATCH" ] || rm -rf "$SCRATCH"
	SCRATCH=
}

cpu_model() {
	sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1
}

load() {
	cut -d ' ' -f 1 /proc/loadavg
}

# loop FILE: as a loop device with direct I/O; its path in $LOOP.
loop() {
	local try
	LOOP=
	for try in 1 2 3 4 5 6 7 8; do
		LOOP=$(losetup --show -f --direct-io=on "$1" 2>/dev/null) && break
		sleep 0.1
	done
	[ -n "$LOOP" ] || die "no loop device for $1 ($try tries)"
	LOOPS+=("$LOOP")
}

# row NAME: shown, in this order.
row() {
	ROWS+=("$1")
}

# value ROW METRIC NUMBER: one run's.
value() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$SCRATCH/values"
}

# stats ROW METRIC: "median min max runs"; nothing without a run.
stats() {
	awk -F '\t' -v row="$1" -v metric="$2" '$1 == row && $2 == metric { print $3 }' \
		"$SCRATCH/values" | sort -g | awk '{ v[NR] = $1 } END {
		if (NR == 0)
			exit
		median = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		print median, v[1], v[NR], NR }'
}

median() {
	stats "$1" "$2" | cut -d ' ' -f 1
}

# cell ROW METRIC FORMAT: "median (min..max)", or a dash.
cell() {
	# shellcheck disable=SC2016
	stats "$1" "$2" | awk -v format="$3" '
		{ printf format " (" format ".." format ")", $1, $2, $3; seen = 1 }
		END { if (!seen) printf "-" }'
}

# ratio A B: of two numbers.
ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { if (a == "" || b == "" || b == 0) print "-"; else printf "%.2f", a / b }'
}

# json ROW METRIC UNIT [EXTRA]: a line for a row, with machine, kernel and commit. EXTRA: more members.
json() {
	local median min max runs
	read -r median min max runs < <(stats "$1" "$2") || return 0
	[ -n "$median" ] || return 0
	printf '{"bench": "%s", "row": "%s", "metric": "%s", "unit": "%s", "median": %s, "min": %s, "max": %s, "runs": %s, %s"machine": "%s, %s CPUs", "kernel": "%s", "commit": "%s", "load": %s, "time": "%s"}\n' \
		"$(basename "$0" .sh)" "$1" "$2" "$3" "$median" "$min" "$max" "$runs" "${4:+$4, }" \
		"$(cpu_model)" "$(nproc)" "$(uname -r)" "$COMMIT" "$(load)" \
		"$(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$JSON"
}
