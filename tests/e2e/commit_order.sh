#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
# The order of what no kill can tell apart: the commit record is durable before the source is shut
# down, and that comes before the thaw. Seen in the system calls of a whole migration.
. "$(dirname "$0")/lib.bash"

# line PATTERN [AFTER]: number of the first line of the trace behind AFTER that matches; in $LINE.
line() {
	LINE=$(awk -v pattern="$1" -v after="${2:-0}" 'NR > after && $0 ~ pattern { print NR; exit }' \
		"$SCRATCH/trace")
	[ -n "$LINE" ] && return 0
	echo "# not in the trace behind line ${2:-0}: $1"
	tail -n 40 "$SCRATCH/trace" | cut -c1-160 | sed 's/^/#   /'
	return 1
}

commit_order() {
	local source target frozen recorded synced down
	loop source "$2"; source=$LOOP
	loop target "$2"; target=$LOOP
	mkfs."$1" -q "$source" >/dev/null && mount_at m "$source" || return 1
	cp /bin/bash "$SCRATCH/m/file" && sync "$SCRATCH/m/file"
	# A file for each thread: none is cut in two by what another one does meanwhile.
	strace -ff -y -s 200 -o "$SCRATCH/traced" -e trace=write,fdatasync,ioctl "$GODWIT" migrate \
		"$source" "$target" --handoff freeze --downtime-limit 10s --quiesce-deadline 60s \
		--name "$NAME" --state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" \
		>"$SCRATCH/out" 2>"$SCRATCH/err" || { sed 's/^/# /' "$SCRATCH/err"; return 1; }
	grep -l FIFREEZE "$SCRATCH"/traced.* | xargs -r cat >"$SCRATCH/trace"
	line 'ioctl\(.*FIFREEZE.* = 0' && frozen=$LINE &&
		line 'write\(.*/journal>.*blackout_so_far_ns' "$frozen" && recorded=$LINE &&
		line 'fdatasync\(.*/journal>\) *= 0' "$recorded" && synced=$LINE &&
		line 'ioctl\(.*(SHUTDOWN|GOINGDOWN|0x58, 0x7d)' "$frozen" && down=$LINE &&
		line 'ioctl\(.*FITHAW' "$frozen" || return 1
	[ "$synced" -lt "$down" ] && [ "$down" -lt "$LINE" ] && return 0
	echo "# frozen $frozen, recorded $recorded, synced $synced, shut down $down, thawed $LINE"
	return 1
}

if ! needs_bpf; then
	echo "ok - the order around the commit # SKIP $SKIP"
	exit 0
fi
if ! strace -o /dev/null true 2>/dev/null; then
	echo "ok - the order around the commit # SKIP strace cannot trace here"
	exit 0
fi
NAME=order$$
run "ext4: record, sync, shutdown, thaw" commit_order ext4 64M
run "XFS: record, sync, shutdown, thaw" commit_order xfs 320M
exit $FAILED
