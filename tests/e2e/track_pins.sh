#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# What is pinned: it outlives who started it, is found by others, is refused when it is in
# the way, and is gone after stop and remove, in whatever state it was.
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source-path=SCRIPTDIR source=lib.bash
. tests/e2e/lib.bash
TRACKCTL=$(realpath "${GW_BUILD:-build}/e2e/trackctl")
PINS=/sys/fs/bpf/godwit
export FAST=1
TRACKED=pins.$$
NAME=pins%2E$$		# bpffs takes no dots; what is under it is removed after each test
DIR=$PINS/$NAME

write_grain() {
	dd if=/dev/urandom of="$1" bs=4096 count="${3:-1}" seek="$2" oflag=direct conv=notrunc status=none
}

tracked_loop() {
	needs_bpf || return 1
	loop source 64M || return 1
	"$TRACKCTL" start "$TRACKED" "$LOOP"
}

taken() {
	local got
	got=$("$TRACKCTL" take "$TRACKED" | tr '\n' ',')
	[ "$got" = "$1" ] || { echo "# taken $got instead of $1"; return 1; }
}

# No pins, and no process of this test that holds programs.
gone() {
	local pid
	[ ! -e "$DIR" ] || { echo "# still there: $(ls "$DIR")"; return 1; }
	for pid in $(bpftool prog show 2>/dev/null | grep -o 'trackctl([0-9]*)' | tr -dc '0-9\n'); do
		! grep -aq "$TRACKED" "/proc/$pid/cmdline" || { echo "# process $pid has programs"; return 1; }
	done
}

# The starter has ended already; others mark, take and stop.
outlives() {
	tracked_loop || return
	write_grain "$LOOP" 7 3
	write_grain "$LOOP" 100
	taken "7 3,100 1," || return 1
	taken "" || return 1
	write_grain "$LOOP" 8
	taken "8 1," || return 1
	grep -qxF "$TRACKED" <<< "$("$TRACKCTL" list)" || return 1
	"$TRACKCTL" stop "$TRACKED" || return 1
	gone
}

killed_starter() {
	local i
	needs_bpf || return
	loop source 64M || return 1
	# At some moment of the start: either all of it is there and works, or it is half of it.
	for i in 0.02 0.05 0.1 0.2 0.3 0.5; do
		background "$TRACKCTL" start "$TRACKED" "$LOOP" >/dev/null 2>&1
		sleep $i
		kill -KILL "$BACKGROUND" 2>/dev/null
		wait "$BACKGROUND"
		if "$TRACKCTL" stats "$TRACKED" >/dev/null 2>"$SCRATCH/err"; then
			write_grain "$LOOP" 5
			taken "5 1," || return 1
			"$TRACKCTL" stop "$TRACKED" || return 1
		else
			grep -q 'nothing is tracked' "$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
			"$TRACKCTL" remove "$TRACKED" || return 1
		fi
		gone || return 1
	done
}

half_made() {
	tracked_loop || return
	rm "$DIR/header"
	"$TRACKCTL" take "$TRACKED" 2>"$SCRATCH/err" && return 1
	grep -q 'half made' "$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
	# A new start clears it away,
	"$TRACKCTL" start "$TRACKED" "$LOOP" || return 1
	write_grain "$LOOP" 3
	taken "3 1," || return 1
	# and so does remove, twice if one likes.
	rm "$DIR/header" "$DIR/live"
	"$TRACKCTL" remove "$TRACKED" && gone && "$TRACKCTL" remove "$TRACKED"
}

one_at_a_time() {
	tracked_loop || return
	"$TRACKCTL" start "$TRACKED" "$LOOP" 2>"$SCRATCH/err" && return 1
	grep -q 'under the name' "$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
	"$TRACKCTL" start "other$$" "$LOOP" 2>"$SCRATCH/err" && return 1
	grep -q "tracked already, under the name $TRACKED" "$SCRATCH/err" ||
		{ cat "$SCRATCH/err"; return 1; }
	[ ! -e "$PINS/other$$" ] || return 1
	"$TRACKCTL" stop "$TRACKED" && "$TRACKCTL" start "other$$" "$LOOP" && "$TRACKCTL" stop "other$$"
}

# The same number, another disk.
exchanged() {
	local before result=0
	needs_bpf && loop_to_swap source 64M || return
	before=$LOOP
	"$TRACKCTL" start "$TRACKED" "$before" || return 1
	truncate -s 64M "$SCRATCH/second.img"
	exchange "$before" "$SCRATCH/second.img" || return 1
	"$TRACKCTL" take "$TRACKED" 2>"$SCRATCH/err" && result=1
	grep -Eq 'another disk|lost its medium|is gone' "$SCRATCH/err" || { cat "$SCRATCH/err"; result=1; }
	# It does not stand in the way of the new disk.
	"$TRACKCTL" start "other$$" "$before" && "$TRACKCTL" stop "other$$" || result=1
	"$TRACKCTL" remove "$TRACKED" || result=1
	gone || result=1
	return $result
}

# Something else lies where a map should be.
foreign() {
	local what
	tracked_loop || return
	for what in live coarse slots header; do
		rm "$DIR/$what"
		bpftool map create "$DIR/$what" type array key 4 value 8 entries 1 name foreign || return 1
		"$TRACKCTL" take "$TRACKED" 2>"$SCRATCH/err" && return 1
		[ -s "$SCRATCH/err" ] || return 1
	done
	grep -q 'another version' "$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
	"$TRACKCTL" remove "$TRACKED" && gone
}

bad_names() {
	local name
	needs_bpf || return
	loop source 64M || return 1
	for name in "" a/b "a b" "$(printf 'x%.0s' {1..61})" $'a\tb'; do
		"$TRACKCTL" start "$name" "$LOOP" 2>"$SCRATCH/err" && return 1
		grep -q 'name' "$SCRATCH/err" || return 1
	done
}

no_self_test() {
	! grep -q 'godwit self-test' <<< "$(losetup -a)"
}

self_test() {
	local i
	needs_bpf || return
	loop source 64M || return 1

	unset FAST
	for i in 1 2 3; do
		"$TRACKCTL" start "$TRACKED" "$LOOP" || return 1
		"$TRACKCTL" stop "$TRACKED" || return 1
	done
	export FAST=1
	# Others may be testing themselves at this moment.
	wait_for no_self_test
}

run "tracking outlives its starter; stop leaves nothing" outlives
run "a starter killed at any moment leaves all or something removable" killed_starter
run "half-made pins are said to be that, and go away" half_made
run "one tracking of a disk at a time" one_at_a_time
run "another disk of the same number is noticed" exchanged
run "foreign maps are refused, and can be removed" foreign
run "names that cannot be" bad_names
run "the self-test passes and leaves no device" self_test
exit $FAILED
