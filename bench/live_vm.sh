#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A logical volume that is in use moves from one NVMe drive to another, by godwit's hand-off `dm` and by
# pvmove, in a virtual machine of the lab: method.md.
#
# GW_BENCH_RUNS=3		runs of each
# GW_BENCH_SIZE=256M		of the drives
# GW_BENCH_KERNEL=6.12		of the guest
# GW_BENCH_IOPS=500		of the load
# GW_BENCH_BEFORE_S=5		how long the load runs before a move begins
# GW_BENCH_JSON=build/live_vm.jsonl	a line for each row and metric is appended
cd "$(dirname "$0")/.." || exit 1
# shellcheck source-path=SCRIPTDIR source=lib.bash
. bench/lib.bash

RUNS=${GW_BENCH_RUNS:-3}
SIZE=${GW_BENCH_SIZE:-256M}
KERNEL=${GW_BENCH_KERNEL:-6.12}
IOPS=${GW_BENCH_IOPS:-500}
BEFORE_S=${GW_BENCH_BEFORE_S:-5}
WAYS=("godwit" "godwit, guard 2x" "pvmove")
METRICS=(total_s written_mib before_p50_us before_p99_us during_p50_us during_p99_us longest_ms)

# ---- In the guest: each way alternately, "VALUE <tab> ROW <tab> METRIC <tab> NUMBER" ----------------------

FIO_PID=
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
guest_die() { echo "live_vm: $*" >&2; exit 1; }
# Sectors that were written to the drive so far.
written() { awk '{ print $7 }' "/sys/block/$(basename "$(realpath "$1")")/stat"; }
quietly() { "$@" >"$SCRATCH/said" 2>&1 || { cat "$SCRATCH/said" >&2; guest_die "failed: $*"; }; }

# A volume over all of a. For pvmove the group has b, too; godwit takes b as it is.
make_volume() {
	quietly pvcreate -ffy /dev/lab/a
	quietly vgcreate bench /dev/lab/a
	quietly lvcreate -y -Wn -Zn -l 100%FREE -n data bench
	[ "$1" != pvmove ] || { quietly pvcreate -ffy /dev/lab/b; quietly vgextend bench /dev/lab/b; }
	quietly dd if=/dev/urandom of=/dev/mapper/bench-data bs=1M oflag=direct count=$(($(blockdev --getsize64 /dev/mapper/bench-data) >> 20))
}

# By hand: after godwit's move two drives hold the same physical volume.
remove_volume() {
	dmsetup remove --retry bench-data
	wipefs -qaf /dev/lab/a /dev/lab/b
	rm -rf /dev/bench "$SCRATCH/state" "$SCRATCH/run"
}

start_load() {
	rm -f "$SCRATCH"/load_lat*.log
	fio --name=load --filename=/dev/mapper/bench-data --rw=randwrite --bs=4k --iodepth=4 --rate_iops="$IOPS" --direct=1 \
		--ioengine=io_uring --time_based --runtime=600 --randrepeat=0 --norandommap --disable_slat=1 \
		--disable_clat=1 --write_lat_log="$SCRATCH/load" --per_job_logs=0 --log_unix_epoch=1 --eta=never \
		>"$SCRATCH/fio.out" 2>&1 &
	FIO_PID=$!
	sleep 2
	BEFORE_MS=$(now_ms)
	sleep "$BEFORE_S"
}

move() {
	case $1 in
	pvmove) quietly pvmove -i 1 /dev/lab/a /dev/lab/b ;;
	godwit*)
		local guard=()
		[[ $1 != *guard* ]] || guard=(--guard 2x)
		quietly build/godwit migrate /dev/lab/a /dev/lab/b --handoff dm:bench-data --downtime-limit 1s \
			--overwrite --yes --name bench --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" "${guard[@]}" ;;
	esac
}

tell() { printf 'VALUE\t%s\t%s\t%s\n' "$1" "$2" "$3"; }

one_run() {
	local way=$1 began ended sectors p50 p99 p999 max iops
	make_volume "$way"
	start_load
	sectors=$(written /dev/lab/b)
	began=$(now_ms)
	move "$way"
	ended=$(now_ms)
	sectors=$(($(written /dev/lab/b) - sectors))
	sleep 1
	kill -TERM "$FIO_PID"
	wait "$FIO_PID"
	read -r p50 p99 p999 max iops < <(bench/live.py latency "$SCRATCH/load_lat.log" "$BEFORE_MS" "$began")
	tell "$way" before_p50_us "$p50"
	tell "$way" before_p99_us "$p99"
	read -r p50 p99 p999 max iops < <(bench/live.py latency "$SCRATCH/load_lat.log" "$began" $((ended + 500)))
	echo "# $way: p99.9 $p999 us, $iops I/Os a second meanwhile"
	tell "$way" during_p50_us "$p50"
	tell "$way" during_p99_us "$p99"
	tell "$way" longest_ms "$(awk -v n="$max" 'BEGIN { print n / 1000 }')"
	tell "$way" total_s "$(awk -v n=$((ended - began)) 'BEGIN { print n / 1000 }')"
	tell "$way" written_mib $((sectors >> 11))
	dmsetup table bench-data | grep -q " linear $(lsblk -dno MAJ:MIN "$(realpath /dev/lab/b)" | tr -d ' ') " ||
		guest_die "$way: the volume is not on the other drive"
	remove_volume
}

in_guest() {
	local run i
	SCRATCH=$(mktemp -d)
	for ((run = 0; run < RUNS; run++)); do
		for ((i = 0; i < ${#WAYS[@]}; i++)); do
			one_run "${WAYS[run % 2 ? ${#WAYS[@]} - 1 - i : i]}"
		done
	done
}

# ---- On the host -----------------------------------------------------------------------------------------

show() {
	local way
	printf '\n%-18s %-22s %-20s %-24s %-26s %s\n' "" "total, s" "written, MiB" "before p50 / p99, us" "during p50 / p99, us" \
		"longest, ms"
	for way in "${WAYS[@]}"; do
		printf '%-18s %-22s %-20s %-24s %-26s %s\n' "$way" "$(cell "$way" total_s %.1f)" \
			"$(cell "$way" written_mib %.0f)" \
			"$(median "$way" before_p50_us) / $(median "$way" before_p99_us)" \
			"$(median "$way" during_p50_us) / $(median "$way" during_p99_us)" "$(cell "$way" longest_ms %.0f)"
		for metric in "${METRICS[@]}"; do
			json "$way" "$metric" "${metric##*_}" "\"guest\": \"$KERNEL\", \"size\": \"$SIZE\""
		done
	done
	echo
	for way in "godwit" "godwit, guard 2x"; do
		note "$way to pvmove: total $(ratio "$(median "$way" total_s)" "$(median pvmove total_s)")," \
			"written $(ratio "$(median "$way" written_mib)" "$(median pvmove written_mib)")," \
			"p99 $(ratio "$(median "$way" during_p99_us)" "$(median pvmove during_p99_us)")," \
			"longest $(ratio "$(median "$way" longest_ms)" "$(median pvmove longest_ms)")"
	done
	note "median (min..max) of $RUNS runs, drives of $SIZE, $IOPS writes a second, guest $KERNEL; load average now: $(load)"
	note "JSON lines: $JSON"
}

if [ -n "${GW_BENCH_IN_GUEST:-}" ]; then
	in_guest
	exit
fi
bench_begin
GW_BUILD=$GW_BUILD tools/lab/run --kernel "$KERNEL" --drive "a,size=$SIZE" --drive "b,size=$SIZE" --timeout 3600 --retries 1 \
	--env GW_BENCH_IN_GUEST=1 --env "GW_BENCH_RUNS=$RUNS" --env "GW_BENCH_IOPS=$IOPS" --env "GW_BENCH_BEFORE_S=$BEFORE_S" \
	-- bash bench/live_vm.sh >"$SCRATCH/guest" || { cat "$SCRATCH/guest"; die "the guest failed"; }
grep '^#' "$SCRATCH/guest"
sed -n 's/^VALUE\t//p' "$SCRATCH/guest" >"$SCRATCH/values"
show
