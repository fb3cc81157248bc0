#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Migrations under load, and what the load notices of it, beside QEMU's block job: method.md. Root.
#
# GW_BENCH_RUNS=5		runs of each
# GW_BENCH_BYTES=2147483648	size of the devices, a multiple of 1 MiB
# GW_BENCH_ONLY=			a pattern (grep -E) of the rows to run, as "LOAD: WAY"; default all
# GW_BENCH_BEFORE_S=5		how long the load runs before a migration begins
# GW_BENCH_LIMIT=268435456	of the limited rows, bytes/s
# GW_BENCH_TIMEOUT_S=60		what does not finish is cancelled after so long
# GW_BENCH_JSON=build/live.jsonl	a line for each row and metric is appended
# GW_BENCH_DIR=/dev/shm		a tmpfs for the files below the devices
cd "$(dirname "$0")/.." || exit 1
# shellcheck source-path=SCRIPTDIR source=lib.bash
. bench/lib.bash

RUNS=${GW_BENCH_RUNS:-5}
BYTES=${GW_BENCH_BYTES:-2147483648}
BEFORE_S=${GW_BENCH_BEFORE_S:-5}
LIMIT=${GW_BENCH_LIMIT:-268435456}
TIMEOUT_S=${GW_BENCH_TIMEOUT_S:-60}
TOOLS=$(realpath "$GW_BUILD")/bench
LIVE=$(realpath bench/live.py)
LOADS=("2000 random" "5000 random" "5000 zipf" "200 MB/s sequential" "5000 mixed")
FIO_PID=
DAEMON=
METRICS=(total_s copied_to_size amplification predicted_ms blackout_ms user_ms before_p50_us before_p99_us
	before_p999_us before_max_us during_p50_us during_p99_us during_p999_us during_max_us
	p99_ratio iops cpu_s_per_gib switch_max_us)

# fio's words for a load; the rate is what the writer is to achieve.
load_options() {
	case $1 in
	"2000 random") LOAD=(--rw=randwrite --bs=4k --rate_iops=2000) ;;
	"5000 random") LOAD=(--rw=randwrite --bs=4k --rate_iops=5000) ;;
	"5000 zipf") LOAD=(--rw=randwrite --bs=4k --rate_iops=5000 --random_distribution=zipf:1.1) ;;
	"200 MB/s sequential") LOAD=(--rw=write --bs=64k --rate=200000000) ;;
	"5000 mixed") LOAD=(--rw=randrw --rwmixread=70 --bs=4k "--rate_iops=3500,1500") ;;
	esac
}

bench_cleanup() {
	local pid
	for pid in $FIO_PID $DAEMON; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	[ -z "$SCRATCH" ] || "$GODWIT" cleanup --run-dir "$SCRATCH/run" >/dev/null 2>&1
}

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

make_devices() {
	"$TOOLS/fill" -s 1 "$BYTES" "$SCRATCH/source.img" || exit 1
	"$TOOLS/fill" -a "$BYTES" "$SCRATCH/target.img" || exit 1
	loop "$SCRATCH/source.img" && SOURCE=$LOOP
	loop "$SCRATCH/target.img" && TARGET=$LOOP
}

# start_load LOAD ENGINE-OPTIONS...: with every completion in a log; then the time before.
start_load() {
	load_options "$1"
	shift
	rm -f "$SCRATCH"/load_lat*.log
	fio --name=load --size="$BYTES" --iodepth=16 --time_based --runtime=600 --randrepeat=0 \
		--norandommap --disable_slat=1 --disable_clat=1 --write_lat_log="$SCRATCH/load" \
		--per_job_logs=0 --log_unix_epoch=1 --eta=never "${LOAD[@]}" "$@" \
		>"$SCRATCH/fio.out" 2>&1 &
	FIO_PID=$!
	sleep 1
	BEFORE_MS=$(now_ms)
	sleep "$BEFORE_S"
	BEGAN_MS=$(now_ms)
}

# The writers stop by themselves, as a service does: what they have submitted ends.
stop_load() {
	kill -TERM "$FIO_PID" 2>/dev/null
	wait "$FIO_PID" 2>/dev/null
	FIO_PID=
}

# took ROW UNTIL_MS: what the load noticed, before the migration and until then.
took() {
	local row=$1 p50 p99 p999 max iops before_p99
	read -r p50 p99 p999 max iops < <("$LIVE" latency "$SCRATCH/load_lat.log" "$BEFORE_MS" "$BEGAN_MS")
	[ "$p50" != - ] || { cat "$SCRATCH/fio.out" >&2; die "$row: the load did nothing"; }
	value "$row" before_p50_us "$p50"
	value "$row" before_p99_us "$p99"
	value "$row" before_p999_us "$p999"
	value "$row" before_max_us "$max"
	before_p99=$p99
	read -r p50 p99 p999 max iops < <("$LIVE" latency "$SCRATCH/load_lat.log" "$BEGAN_MS" "$2")
	[ "$p50" != - ] || return 0
	value "$row" during_p50_us "$p50"
	value "$row" during_p99_us "$p99"
	value "$row" during_p999_us "$p999"
	value "$row" during_max_us "$max"
	value "$row" p99_ratio "$(awk -v a="$p99" -v b="$before_p99" 'BEGIN { print a / b }')"
	value "$row" iops "$iops"
}

# per PER NUMBER: NUMBER / PER
per() {
	awk -v a="$2" -v b="$1" 'BEGIN { print b == 0 ? 0 : a / b }'
}

run_none() {
	start_load "$2" --ioengine=io_uring --direct=1 --filename="$SOURCE"
	sleep "$BEFORE_S"
	local until
	until=$(now_ms)
	stop_load
	took "$1" "$until"
}

# run_godwit ROW LOAD OPTIONS...
run_godwit() {
	local row=$1 load=$2 copied recopied written predicted blackout user elapsed code
	shift 2
	rm -rf "$SCRATCH/state" "$SCRATCH/run"
	start_load "$load" --ioengine=io_uring --direct=1 --filename="$SOURCE"
	cat >"$SCRATCH/quiesce" <<-EOF
		date +%s%3N >"$SCRATCH/quiesced"
		kill -TERM $FIO_PID
		while [ -d /proc/$FIO_PID ] && ! grep -q '^State:.Z' /proc/$FIO_PID/status; do sleep 0.01; done
	EOF
	rm -f "$SCRATCH/quiesced"
	"$TOOLS/measure" -o "$SCRATCH/measured" timeout -s TERM "$TIMEOUT_S" "$GODWIT" migrate "$SOURCE" "$TARGET" \
		--name bench --handoff exec --exec-quiesce "sh $SCRATCH/quiesce" --exec-abort true \
		--overwrite --yes -o json --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" "$@" \
		>"$SCRATCH/report.json" 2>"$SCRATCH/log"
	code=$?
	[ -s "$SCRATCH/quiesced" ] || now_ms >"$SCRATCH/quiesced"
	stop_load
	took "$row" "$(cat "$SCRATCH/quiesced")"
	read -r copied recopied written predicted blackout user elapsed < <("$LIVE" report "$SCRATCH/report.json")
	value "$row" copied_to_size "$(per "$BYTES" "$copied")"
	value "$row" amplification "$(per "$written" "$recopied")"
	if [ $code != 0 ]; then
		note "$row: did not finish (exit code $code): $(tail -n 1 "$SCRATCH/log" | cut -c1-160)"
		value "$row" unfinished 1
		return
	fi
	cmp "$SOURCE" "$TARGET" || die "$row: the target is not the source"
	value "$row" total_s "$(per 1000000000 "$elapsed")"
	value "$row" predicted_ms "$(per 1000000 "$predicted")"
	value "$row" blackout_ms "$(per 1000000 $((blackout - user)))"
	value "$row" user_ms "$(per 1000000 "$user")"
	value "$row" cpu_s_per_gib "$(awk -v g="$BYTES" -v u="$(member user_s)" -v s="$(member sys_s)" \
		'BEGIN { print (u + s) / (g / 2^30) }')"
}

member() {
	sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$SCRATCH/measured"
}

# CPU seconds of the daemon so far, from /proc, in ticks of 10 ms.
daemon_cpu_s() {
	awk '{ sub(/.*\) /, ""); print ($12 + $13) / 100 }' "/proc/$DAEMON/stat"
}

# run_mirror ROW LOAD MODE SPEED: the load goes through the daemon, before and during.
run_mirror() {
	local row=$1 began ready ended copied cpu=(0 0 0) socket=$SCRATCH/nbd monitor=$SCRATCH/qmp
	rm -f "$socket" "$monitor"
	qemu-storage-daemon \
		--blockdev "driver=host_device,node-name=src,filename=$SOURCE,cache.direct=on,aio=native" \
		--blockdev "driver=host_device,node-name=dst,filename=$TARGET,cache.direct=on,aio=native" \
		--nbd-server "addr.type=unix,addr.path=$socket" \
		--export type=nbd,id=load,node-name=src,name=load,writable=on \
		--chardev "socket,id=qmp,path=$monitor,server=on,wait=off" --monitor chardev=qmp \
		>"$SCRATCH/log" 2>&1 &
	DAEMON=$!
	for _ in {1..100}; do
		[ -S "$socket" ] && break
		sleep 0.05
	done
	cpu[0]=$(daemon_cpu_s)
	start_load "$2" --ioengine=nbd --uri="nbd+unix:///load?socket=$socket"
	cpu[1]=$(daemon_cpu_s)
	read -r began ready ended copied < <("$LIVE" mirror "$monitor" "$3" "$4" "$TIMEOUT_S")
	cpu[2]=$(daemon_cpu_s)
	[ -n "${ended:-}" ] || { cat "$SCRATCH/log" >&2; die "$row: the block job failed"; }
	sleep 0.5
	stop_load
	kill -TERM "$DAEMON"
	wait "$DAEMON" 2>/dev/null
	DAEMON=
	took "$row" "$((ready != 0 ? ready : ended))"
	value "$row" copied_to_size "$(per "$BYTES" "$copied")"
	if [ "$ready" = 0 ]; then
		note "$row: did not finish in $TIMEOUT_S s"
		value "$row" unfinished 1
		return
	fi
	value "$row" total_s "$(per 1000 $((ended - began)))"
	value "$row" switch_max_us "$("$LIVE" longest "$SCRATCH/load_lat.log" $((ready - 100)) $((ended + 300)))"
	# Less what serving the load costs by itself, as it did before.
	value "$row" cpu_s_per_gib "$(awk -v a="${cpu[0]}" -v b="${cpu[1]}" -v c="${cpu[2]}" -v before="$BEFORE_S" \
		-v took="$((ended - began))" -v bytes="$BYTES" 'BEGIN {
		print (c - b - (b - a) / (before + 1) * took / 1000) / (bytes / 2^30) }')"
}

# Not by a pipe: grep -q would end it early, and godwit by SIGPIPE.
knows_guard() {
	grep -q -- --guard <<<"$("$GODWIT" migrate --help)"
}

add() {
	[ -z "${GW_BENCH_ONLY:-}" ] || grep -qE -- "$GW_BENCH_ONLY" <<<"$1: $2" || return 0
	PLAN+=("$1: $2|$1|$3")
	row "$1: $2"
}

choose() {
	local load
	PLAN=()
	for load in "${LOADS[@]}"; do
		add "$load" "no migration" run_none
		add "$load" "godwit" run_godwit
		add "$load" "godwit, limit" "run_godwit --bandwidth $LIMIT"
		if knows_guard; then
			add "$load" "godwit, guard 2x" "run_godwit --guard 2x"
		fi
		have qemu-storage-daemon || continue
		grep -qw nbd <<<"$(fio --enghelp 2>/dev/null)" || continue
		add "$load" "mirror" "run_mirror background 0"
		add "$load" "mirror, limit" "run_mirror background $LIMIT"
		add "$load" "mirror, write-blocking" "run_mirror write-blocking 0"
		add "$load" "mirror, write-blocking, limit" "run_mirror write-blocking $LIMIT"
	done
	knows_guard || note "guard: skipped, this godwit has none"
	have qemu-storage-daemon ||
		note "mirror: skipped, qemu-storage-daemon is not installed (Debian package qemu-system-common)"
	[ ${#PLAN[@]} -gt 0 ] || die "GW_BENCH_ONLY=$GW_BENCH_ONLY: no such row"
}

run_all() {
	local run i at count=${#PLAN[@]} name load way
	for ((run = 0; run < RUNS; run++)); do
		for ((i = 0; i < count; i++)); do
			at=$((run % 2 ? count - 1 - i : i))
			IFS='|' read -r name load way <<<"${PLAN[at]}"
			# shellcheck disable=SC2086
			set -- $way
			"$1" "$name" "$load" "${@:2}"
		done
	done
}

unfinished() {
	local count
	count=$(stats "$1" unfinished | cut -d ' ' -f 4)
	[ -z "$count" ] || echo "$count of $RUNS did not finish"
}

show() {
	local name metric
	printf '\n%-40s %-20s %7s %6s %-19s %-19s %9s\n' "" "total, s" "copied" "ampl." "blackout, ms" "predicted, ms" "CPU s/GiB"
	for name in "${ROWS[@]}"; do
		printf '%-40s %-20s %7s %6s %-19s %-19s %9s  %s\n' "$name" "$(cell "$name" total_s %.2f)" \
			"$(one "$name" copied_to_size %.3f)" "$(one "$name" amplification %.2f)" \
			"$(cell "$name" blackout_ms %.1f)" "$(cell "$name" predicted_ms %.1f)" \
			"$(one "$name" cpu_s_per_gib %.2f)" "$(unfinished "$name")"
	done
	printf '\n%-40s %-25s %-27s %-17s %6s %7s\n' "latency, us" "before p50/p99/p99.9/max" "during" "p99 to before" "IOPS" "switch"
	for name in "${ROWS[@]}"; do
		printf '%-40s %-25s %-27s %-17s %6s %7s\n' "$name" "$(percentiles "$name" before)" \
			"$(percentiles "$name" during)" "$(cell "$name" p99_ratio %.1f)" \
			"$(one "$name" iops %.0f)" "$(one "$name" switch_max_us %.0f)"
		for metric in "${METRICS[@]}"; do
			json "$name" "$metric" "${metric##*_}" "\"bytes\": $BYTES, \"limit_bytes_per_s\": $LIMIT"
		done
	done
	echo
	note "median (min..max) of $RUNS runs, $BYTES bytes, limit $LIMIT bytes/s; load average now: $(load)"
	note "JSON lines: $JSON"
}

one() {
	# shellcheck disable=SC2016
	stats "$1" "$2" | awk -v format="$3" '{ printf format, $1; seen = 1 } END { if (!seen) printf "-" }'
}

percentiles() {
	echo "$(one "$1" "$2_p50_us" %.0f)/$(one "$1" "$2_p99_us" %.0f)/$(one "$1" "$2_p999_us" %.0f)/$(one "$1" "$2_max_us" %.0f)"
}

bench_begin
# Cut short, it shows what there is.
trap 'show; exit 130' INT TERM
make_devices
choose
run_all
show
