#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --free-space: what a mounted file system calls free is not read, and nothing else is missed, while files come, go and grow.
. "$(dirname "$0")/lib.bash"

# Files are written, deleted and written again in what was freed, until told to end.
churn() {
	local i=0
	while [ ! -e "$SCRATCH/enough" ]; do
		i=$((i + 1))
		dd if=/dev/urandom of="$1/churn.$((i % 7))" bs=64k count=$((i % 13 + 1)) status=none 2>/dev/null || return 0
		[ $((i % 3)) != 0 ] || rm -f "$1/churn.$(((i + 3) % 7))"
		[ $((i % 5)) != 0 ] || fallocate -l 300K "$1/reserved.$((i % 4))" || return 0
	done
}

under_writers() {
	local type=$1 source target
	loop source 400M; source=$LOOP
	loop target 400M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M oflag=direct status=none	# what is free is not zero
	"mkfs.$type" -q -f "$source" 2>/dev/null || "mkfs.$type" -q -F "$source" || return 1
	mount_at m "$source" || return 1
	dd if=/dev/urandom of="$SCRATCH/m/ballast" bs=1M count=40 status=none
	# Freed just before, and perhaps not yet on disk.
	dd if=/dev/urandom of="$SCRATCH/m/gone" bs=1M count=60 conv=fsync status=none
	rm "$SCRATCH/m/gone"
	background churn "$SCRATCH/m"
	sleep 0.3
	printf 'touch %s/enough; while kill -0 %s 2>/dev/null; do sleep 0.05; done; cd %s/m && sha256sum * >%s/sums\n' \
		"$SCRATCH" "$BACKGROUND" "$SCRATCH" "$SCRATCH" >"$SCRATCH/stop"
	echo "fsfreeze -f $SCRATCH/m" >>"$SCRATCH/stop"
	expect 0 migrate "$source" "$target" --free-space --verify --overwrite --bandwidth 120M --downtime-limit 2s \
		--handoff exec --exec-quiesce "sh $SCRATCH/stop" --exec-abort "fsfreeze -u $SCRATCH/m" \
		--exec-timeout 60s --quiesce-deadline 90s
	local result=$?
	fsfreeze -u "$SCRATCH/m" 2>/dev/null
	[ $result = 0 ] || return 1
	reported "report['not_copied']['free_bytes'] > 150 << 20 and report['totals']['copied_bytes'] < 250 << 20" || return 1
	said 'are free, say the file systems' || return 1
	umount "$SCRATCH/m"
	mount_at t "$target" || return 1
	(cd "$SCRATCH/t" && sha256sum -c --quiet "$SCRATCH/sums") || return 1
	umount "$SCRATCH/t"
	case $type in
	ext4) e2fsck -fn "$target" >"$SCRATCH/fsck" 2>&1 ;;
	xfs) xfs_repair -n "$target" >"$SCRATCH/fsck" 2>&1 ;;
	esac || { sed 's/^/# /' "$SCRATCH/fsck"; return 1; }
	nothing_left
}

# Nothing to be had: said, and all is copied.
without_file_system() {
	local source target
	loop source 64M; source=$LOOP
	loop target 64M; target=$LOOP
	dd if=/dev/urandom of="$source" bs=1M count=20 oflag=direct status=none
	expect 0 migrate "$source" "$target" --free-space --handoff none && said 'no file system is mounted' &&
		same "$source" "$target" && nothing_left
}

needs_bpf || { echo "ok - free space # SKIP $SKIP"; exit 0; }
run "free space of ext4, under writers" under_writers ext4
run "free space of XFS, under writers" under_writers xfs
run "free space without a file system" without_file_system
exit $FAILED
