#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The kernel's own NVMe target (nvmet, over nvme-loop) and the source `nvme`: what it sends to the drive that it
# serves is marked; a namespace that it serves, whose size can be changed, is tracked and migrated itself.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$PWD/build/e2e/trackctl
NAME=target
A=/dev/lab/a B=/dev/lab/b
NVMET=/sys/kernel/config/nvmet
SUBSYSTEM=$NVMET/subsystems/lab-served
PORT=$NVMET/ports/1

put() { printf %s "$2" >"$1" || { echo "# $1: \"$2\" is not taken"; return 1; }; }
served_disk() {
	local at
	at=$(grep -lx lab-served /sys/class/nvme-subsystem/*/subsysnqn) || return 1
	for at in "${at%/*}"/nvme*n*; do
		[ -b "/dev/${at##*/}" ] && SERVED=/dev/${at##*/} && return
	done
	return 1
}
# Without nvme-cli: 2.3 gives the host a name and no identifier. The kernel then takes its own identifier, which
# it knows by another name, and refuses ("found same hostid ... but different hostnqn").
connect() {
	put /dev/nvme-fabrics transport=loop,nqn=lab-served && wait_for served_disk && served_disk && return
	dmesg | tail -n 8 | sed 's/^/#   /'
	return 1
}

# serve namespaces DISK, serve passthru CONTROLLER: a target, and a controller that sees it; $SERVED.
serve() {
	{ modprobe nvmet && modprobe nvme-loop; } 2>/dev/null || { SKIP="no nvme-loop for this kernel"; return 1; }
	mountpoint -q /sys/kernel/config || { mount -t configfs configfs /sys/kernel/config && MOUNTS+=(/sys/kernel/config); } || return 1
	mkdir -p "$SUBSYSTEM" "$PORT" || return 1
	put "$SUBSYSTEM/attr_allow_any_host" 1 || return 1
	if [ "$1" = namespaces ]; then
		mkdir "$SUBSYSTEM/namespaces/1" && put "$SUBSYSTEM/namespaces/1/device_path" "$(realpath "$2")" &&
			put "$SUBSYSTEM/namespaces/1/enable" 1 || return 1
	else
		[ -d "$SUBSYSTEM/passthru" ] || { SKIP="this kernel's target passes nothing through"; return 1; }
		put "$SUBSYSTEM/passthru/device_path" "$(realpath "$2")" && put "$SUBSYSTEM/passthru/enable" 1 || return 1
	fi
	put "$PORT/addr_trtype" loop && ln -s "$SUBSYSTEM" "$PORT/subsystems/lab-served" && connect
}

unserve() {
	local at
	for at in /sys/class/nvme/*/transport; do
		[ "$(cat "$at")" != loop ] || echo 1 >"${at%/*}/delete_controller"
	done
	rm -f "$PORT/subsystems/lab-served"
	[ ! -e "$SUBSYSTEM/passthru/enable" ] || echo 0 >"$SUBSYSTEM/passthru/enable"
	rmdir "$SUBSYSTEM/namespaces/1" "$SUBSYSTEM" "$PORT"
} 2>/dev/null

# marked GRAINS: exactly these runs since the last time, and the same in the exact record.
marked() {
	local marks recorded sectors
	marks=$("$TRACKCTL" take "$NAME" | paste -sd,) && recorded=$("$TRACKCTL" record "$NAME" "$SINCE" | paste -sd,) || return 1
	sectors=$(awk -F, -v OFS=, '{ for (i = 1; i <= NF; i++) { split($i, a, " "); $i = a[1] * 8 " " a[2] * 8 } print }' <<< "$1")
	[ "$marks" = "$1" ] && [ "$recorded" = "$sectors" ] && SINCE=$("$TRACKCTL" now) && return
	echo "# marked: $marks; recorded: $recorded; expected: $1"
	return 1
}
fio_to() {
	fio --name=x --filename="$1" --bs=4k --offset=$(($2 * 4096)) --size=$(($3 * 4096)) --rw=randwrite --direct=1 \
		--ioengine=io_uring --iodepth=16 --output="$SCRATCH/fio" || { sed 's/^/# /' "$SCRATCH/fio"; return 1; }
}

# What is written to the served namespace comes to the drive by the target's own requests.
sends() {
	serve "$@" || return 1
	FAST=1 RECORD=$((1 << 20)) "$TRACKCTL" start "$NAME" $A && SINCE=$("$TRACKCTL" now) || return 1
	fio_to "$SERVED" 64 256 && marked '64 256' && blkdiscard -f -o 8M -l 1M "$SERVED" && marked '2048 256' &&
		blkdiscard -f -z -o 16M -l 64K "$SERVED" && marked '4096 16' &&
		dd if=/dev/urandom of="$SERVED" bs=2M oseek=12 count=1 oflag=direct conv=notrunc status=none && marked '6144 512' || return 1
	"$TRACKCTL" stats "$NAME" >"$SCRATCH/stats" && "$TRACKCTL" stop "$NAME" && nothing_left && grep -qx 'lost_found 0' "$SCRATCH/stats"
}

# A namespace over a file of 64 MiB.
serve_file() {
	loop source 64M && dd if=/dev/urandom of="$LOOP" bs=1M count=64 oflag=direct status=none && serve namespaces "$LOOP"
}
resize() {
	truncate -s "$1" "$SCRATCH/source.img" && losetup -c "$LOOP" && put "$SUBSYSTEM/namespaces/1/revalidate_size" 1 &&
		wait_for size_is "$SERVED" $((${1%M} << 20))
}
size_is() { [ "$(blockdev --getsize64 "$1")" = "$2" ]; }

track() { "$GODWIT" track "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"; }
resized_while_tracked() {
	serve_file && expect 0 track start "$SERVED" --name "$NAME" && expect 0 track take "$NAME" && resize "$1" &&
		expect 3 track take "$NAME" && said 'has changed: ' && expect 0 track stop "$NAME" && nothing_left
}

resized_while_migrated() {
	local status
	serve_file || return 1
	background migrate "$SERVED" $B --handoff none --bandwidth 4M --overwrite
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" && resize "$1" || { tail -n 5 "$SCRATCH/err"; return 1; }
	wait "$BACKGROUND"
	status=$?
	[ $status = 4 ] && said "has changed: " && nothing_left && return
	echo "# exit status $status"
	tail -n 5 "$SCRATCH/err" | sed 's/^/#   /'
	return 1
}

served() {
	local result pid
	"$@"
	result=$?
	for pid in "${PIDS[@]}"; do pkill -KILL -P "$pid"; done
	wait
	"$TRACKCTL" remove "$NAME" >/dev/null 2>&1
	unserve
	return $result
}

run "a namespace that the drive is behind" served sends namespaces $A
run "a controller that is passed through" served sends passthru $A.ctrl
run "a namespace that grows while it is tracked" served resized_while_tracked 96M
run "a namespace that grows while it is migrated" served resized_while_migrated 96M
exit $FAILED
