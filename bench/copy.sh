#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Throughput and CPU of a copy, beside qemu-img, dd and nbdcopy: method.md. Root.
#
# GW_BENCH_RUNS=5		runs of each
# GW_BENCH_BYTES=2147483648	size of the devices, a multiple of 1 MiB
# GW_BENCH_TARGET=written	the target before each run: written (every block allocated), or fresh
# GW_BENCH_ONLY=			a pattern (grep -E) of the rows to run; default all
# GW_BENCH_BUFFERS=		1: instead, godwit with 4, 8, 16, 32 buffers; or a list of numbers
# GW_BENCH_JSON=build/copy.jsonl	a line for each row and metric is appended
# GW_BENCH_DIR=/dev/shm		a tmpfs for the files below the devices
cd "$(dirname "$0")/.." || exit 1
# shellcheck source-path=SCRIPTDIR source=lib.bash
. bench/lib.bash

RUNS=${GW_BENCH_RUNS:-5}
BYTES=${GW_BENCH_BYTES:-2147483648}
TARGET_STATE=${GW_BENCH_TARGET:-written}
BUFFERS=${GW_BENCH_BUFFERS:-}
TOOLS=$(realpath "$GW_BUILD")/bench
CHECKED=" "

make_devices() {
	"$TOOLS/fill" -s 1 "$BYTES" "$SCRATCH/source.img" || exit 1
	truncate -s "$BYTES" "$SCRATCH/target.img"
	loop "$SCRATCH/source.img" && SOURCE=$LOOP
	loop "$SCRATCH/target.img" && TARGET=$LOOP
}

# The same before every run, whatever the last one left there.
reset_target() {
	case $TARGET_STATE in
	written)
		"$TOOLS/fill" -a "$BYTES" "$SCRATCH/target.img" || exit 1
		;;
	fresh)
		fallocate -p -o 0 -l "$BYTES" "$SCRATCH/target.img" || exit 1
		;;
	*)
		die "GW_BENCH_TARGET=$TARGET_STATE: written or fresh"
		;;
	esac
	blockdev --flushbufs "$SOURCE" "$TARGET"
	rm -rf "$SCRATCH/state" "$SCRATCH/run"
}

run_godwit() {
	"$TOOLS/measure" -o "$SCRATCH/measured" "$GODWIT" migrate "$SOURCE" "$TARGET" --name bench \
		--track none --handoff none --overwrite --yes -o json --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" "$@" >"$SCRATCH/report.json" 2>"$SCRATCH/log"
}

run_qemu() {
	"$TOOLS/measure" -o "$SCRATCH/measured" qemu-img convert -n -W -m 16 -T none -t none -f raw \
		-O raw "$SOURCE" "$TARGET" 2>"$SCRATCH/log"
}

run_dd() {
	"$TOOLS/measure" -o "$SCRATCH/measured" dd if="$SOURCE" of="$TARGET" bs=4M iflag=direct \
		oflag=direct conv=fsync 2>"$SCRATCH/log"
}

run_dd_xxh() {
	# shellcheck disable=SC2016
	"$TOOLS/measure" -o "$SCRATCH/measured" bash -e -o pipefail -c '
		dd if="$1" of="$2" bs=4M iflag=direct oflag=direct conv=fsync
		a=$(dd if="$1" bs=4M iflag=direct | xxh128sum)
		b=$(dd if="$2" bs=4M iflag=direct | xxh128sum)
		[ "$a" = "$b" ]' bash "$SOURCE" "$TARGET" 2>"$SCRATCH/log"
}

run_nbdcopy() {
	"$TOOLS/measure" -o "$SCRATCH/measured" nbdcopy --flush "$SOURCE" "$TARGET" 2>"$SCRATCH/log"
}

member() {
	sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$SCRATCH/measured"
}

# The rounds of the report: bytes over time, without start, checks, and end.
copy_gib_per_s() {
	python3 -c '
import json, sys
rounds = json.load(open(sys.argv[1]))["rounds"]
print(sum(r["copied_bytes"] for r in rounds) / 2**30 / (sum(r["elapsed_ns"] for r in rounds) / 1e9))
' "$SCRATCH/report.json"
}

# once ROW COMMAND...: one run; its first one must leave a target that equals the source.
once() {
	local name=$1 gib
	shift
	reset_target
	"$@" || { cat "$SCRATCH/log" >&2; die "$name failed"; }
	if [[ $CHECKED != *" $name, "* ]]; then
		cmp "$SOURCE" "$TARGET" || die "$name: the target is not the source"
		CHECKED+=" $name, "
	fi
	gib=$(awk -v b="$BYTES" 'BEGIN { print b / 2^30 }')
	value "$name" gib_per_s "$(awk -v g="$gib" -v s="$(member wall_s)" 'BEGIN { print g / s }')"
	value "$name" cpu_s_per_gib "$(awk -v g="$gib" -v u="$(member user_s)" -v s="$(member sys_s)" \
		'BEGIN { print (u + s) / g }')"
	if [ "$1" = run_godwit ]; then
		value "$name, copy alone" gib_per_s "$(copy_gib_per_s)"
	fi
}

# needs ROW PROGRAM PACKAGE: what is skipped is said.
needs() {
	have "$2" && return 0
	note "$1: skipped, $2 is not installed (Debian package $3)"
	return 1
}

choose_tools() {
	PLAN=("godwit|run_godwit")
	row "godwit"
	row "godwit, copy alone"
	if needs qemu-img qemu-img qemu-utils; then
		PLAN+=("qemu-img|run_qemu")
		row qemu-img
	fi
	PLAN+=("dd|run_dd")
	row dd
	if needs "dd, xxh128 of both" xxh128sum xxhash; then
		PLAN+=("dd, xxh128 of both|run_dd_xxh")
		row "dd, xxh128 of both"
	fi
	if needs nbdcopy nbdcopy libnbd-bin; then
		PLAN+=("nbdcopy|run_nbdcopy")
		row nbdcopy
	fi
}

choose_buffers() {
	local n
	[ "$BUFFERS" != 1 ] || BUFFERS="4 8 16 32"
	PLAN=()
	for n in $BUFFERS; do
		PLAN+=("$n buffers|run_godwit --buffers $n")
		row "$n buffers"
		row "$n buffers, copy alone"
	done
}

keep_only() {
	local item kept=()
	for item in "${PLAN[@]}"; do
		if grep -qE -- "$1" <<<"${item%%|*}"; then
			kept+=("$item")
		fi
	done
	PLAN=("${kept[@]}")
	[ ${#PLAN[@]} -gt 0 ] || die "GW_BENCH_ONLY=$1: no such row"
}

# Forward and backward in turn: what drifts hits all of them.
run_all() {
	local run i at count=${#PLAN[@]}
	for ((run = 0; run < RUNS; run++)); do
		for ((i = 0; i < count; i++)); do
			at=$((run % 2 ? count - 1 - i : i))
			# shellcheck disable=SC2086
			once "${PLAN[at]%%|*}" ${PLAN[at]#*|}
		done
	done
}

show() {
	local name extra
	printf '\n%-26s %-20s %6s  %s\n' "" "GiB/s" "to dd" "own CPU, s/GiB"
	for name in "${ROWS[@]}"; do
		[ -n "$(median "$name" gib_per_s)" ] || continue
		printf '%-26s %-20s %6s  %s\n' "$name" "$(cell "$name" gib_per_s %.2f)" \
			"$(ratio "$(median "$name" gib_per_s)" "$(median dd gib_per_s)")" \
			"$(cell "$name" cpu_s_per_gib %.3f)"
		extra="\"bytes\": $BYTES, \"target\": \"$TARGET_STATE\""
		json "$name" gib_per_s GiB/s "$extra"
		json "$name" cpu_s_per_gib s/GiB "$extra"
	done
	echo
	note "median (min..max) of $RUNS runs, $BYTES bytes, target $TARGET_STATE; load average now: $(load)"
	note "JSON lines: $JSON"
}

bench_begin
make_devices
if [ -n "$BUFFERS" ]; then
	choose_buffers
else
	choose_tools
fi
[ -z "${GW_BENCH_ONLY:-}" ] || keep_only "$GW_BENCH_ONLY"
run_all
show
