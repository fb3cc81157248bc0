#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# --throttle-writers with cgroup v2, which a machine that has v1's blkio cannot show: what does not
# converge without it does with it, and the administrator's own limit is back after the switch.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
NAME=throttle
CGROUP=/sys/fs/cgroup/writers
FORMER=$((20 << 20))
NUMBER=$(cat "/sys/block/$(basename "$(realpath /dev/lab/a)")/dev")

limit() { sed -n "s/^$NUMBER .*wbps=\([0-9]*\).*/\1/p" "$CGROUP/io.max"; }

limit_is() {
	[ "$(limit)" = "$1" ] && return 0
	echo "# the limit is \"$(limit)\", expected \"$1\""
	return 1
}

in_cgroup() {
	echo "$BASHPID" >"$CGROUP/cgroup.procs"
	exec "$@"
}

# Partitions, so that the copy is short; the limit is on their disk.
partition() {
	echo 'size=24M' | sfdisk -q --wipe always "$1" >/dev/null || return 1
	PARTITION=$(realpath "$1")p1
	wait_for test -b "$PARTITION"
}

only_with_it() {
	local source target
	partition /dev/lab/a && source=$PARTITION && partition /dev/lab/b && target=$PARTITION || return 1
	dd if=/dev/urandom of="$source" bs=1M count=24 oflag=direct status=none
	echo +io >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p "$CGROUP" &&
		echo "$NUMBER wbps=$FORMER" >"$CGROUP/io.max" || return 1
	background in_cgroup fio --thread --name=w --filename="$source" --rw=randwrite --bs=16k --size=24M \
		--direct=1 --ioengine=io_uring --iodepth=8 --rate=10m --time_based --runtime=600 \
		--randrepeat=0 --norandommap --output=/dev/null
	# Not KILL: a write that waits for the limit would reach the source after its process has gone.
	printf 'kill -TERM %s; while [ -d /proc/%s ] && ! grep -q "^State:.Z" /proc/%s/status; do sleep 0.05; done\n' \
		"$BACKGROUND" "$BACKGROUND" "$BACKGROUND" >"$SCRATCH/stop"
	wait_for grep -q . "$CGROUP/cgroup.procs" || return 1
	set -- "$source" "$target" --overwrite --handoff exec --exec-quiesce "sh $SCRATCH/stop" --exec-abort true \
		--bandwidth 4M --downtime-limit 100ms
	expect 5 migrate "$@" --timeout 3s && said 'will not converge' && limit_is "$FORMER" || return 1
	rm -rf "$SCRATCH/state"
	expect 0 migrate "$@" --throttle-writers "$CGROUP" || return 1
	limit_is "$FORMER" && same "$source" "$target" && nothing_left &&
		reported "report['throttle']['restored'] and report['throttle']['steps'] >= 1"
}

tidy() {
	local result
	"$@"
	result=$?
	kill "${PIDS[@]}" 2>/dev/null
	wait
	rmdir "$CGROUP" 2>/dev/null
	sfdisk -q --delete /dev/lab/a >/dev/null 2>&1
	sfdisk -q --delete /dev/lab/b >/dev/null 2>&1
	return $result
}

run "io.max: it converges only with it, and the former limit is back" tidy only_with_it
exit $FAILED
