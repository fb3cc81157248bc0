#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The event log: a scripted session of admin commands is compared with what was logged of it, each with
# its sender and status; through a reset, and over the death of a migration's process.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
NAME=nvme
A=/dev/lab/a B=/dev/lab/b

# has LOG PATTERN [OPTIONS]: a line of `godwit events` fits.
has() {
	"$GODWIT" events "$1" "${@:3}" >"$SCRATCH/events" || return 1
	grep -Eq -- "$2" "$SCRATCH/events" && return 0
	echo "# no event fits: $2"
	sed 's/^/#   /' "$SCRATCH/events" | cut -c1-180 | tail -n 40
	return 1
}
has_not() { ! has "$@" >/dev/null || { echo "# there: $2"; return 1; }; }

session() {
	nvme set-feature "$1.ctrl" -f 4 -v 0x14b && nvme get-feature "$1.ctrl" -f 6 &&
		nvme id-ctrl "$1.ctrl" && nvme smart-log "$1.ctrl" || return 1
	nvme admin-passthru "$1.ctrl" -o 0xc1 --cdw10=0x1234 && return 1
	nvme sanitize "$1.ctrl" -a 2 && return 1
	nvme format "$1" -f -n 1
}

# What was sent, in its order, by nvme-cli, and nothing beside it.
live_session() {
	local number controller
	background "$GODWIT" events --live "$A" --write "$SCRATCH/log" >"$SCRATCH/live" 2>"$SCRATCH/err"
	wait_for grep -q 'watched from here' "$SCRATCH/live" || { cat "$SCRATCH/err"; return 1; }
	session "$A" >"$SCRATCH/said" 2>&1 || { sed 's/^/# /' "$SCRATCH/said"; return 1; }
	nvme id-ctrl /dev/lab/k.ctrl >/dev/null	# another drive's is not shown
	wait_for grep -q 'Format NVM' "$SCRATCH/live" || return 1
	kill -TERM "$BACKGROUND" && wait "$BACKGROUND" || { cat "$SCRATCH/err"; return 1; }
	controller=$(basename "$(realpath $A.ctrl)")
	"$GODWIT" events "$SCRATCH/log" --kind changes | sed -n 's/.* nvme[0-9]*  \(.*\)  \[user: nvme [0-9]*, uid 0, .*/\1/p' \
		>"$SCRATCH/got"
	cat >"$SCRATCH/want" <<-'END'
		Set Features: Temperature Threshold (04h), NSID NSID, 0000014bh; Successful Completion
		vendor specific (admin opcode 0xc1): NSID 0h, 00001234h 00000000h; Invalid Command Opcode (001h), Do Not Retry
		Sanitize: Block Erase; Invalid Command Opcode (001h), Do Not Retry
		Format NVM: NSID 1h, LBA format 0, no secure erase; Successful Completion
	END
	# nvme-cli names no namespace, or all of them.
	sed -Ei 's/(Threshold .04h.), NSID [0-9a-f]+h/\1, NSID NSID/' "$SCRATCH/got"
	diff "$SCRATCH/want" "$SCRATCH/got" | sed 's/^/# /'
	diff -q "$SCRATCH/want" "$SCRATCH/got" >/dev/null || return 1
	has "$SCRATCH/log" "$controller  Get Features: Volatile Write Cache .*\[user: nvme" &&
		has "$SCRATCH/log" 'Get Log Page: SMART / Health Information .*\[user: nvme' &&
		has "$SCRATCH/log" '"opcode":193,.*"cdw10":4660,.*"status":16385,.*"by":"user",.*"comm":"nvme"' -o json &&
		has "$SCRATCH/log" '"serial":"GWA"' -o json && has "$SCRATCH/log" 'Format NVM' --drive GWA --since 1h || return 1
	has_not "$SCRATCH/log" 'Identify' --kind changes && has_not "$SCRATCH/log" 'Format' --drive other &&
		has_not "$SCRATCH/log" 'Format' --until 1h && has_not "$SCRATCH/log" 'GWB' -o json
}

# The driver's own commands are told apart from a user's.
live_reset() {
	background "$GODWIT" events --live >"$SCRATCH/live" 2>"$SCRATCH/err"
	wait_for grep -q 'watched from here' "$SCRATCH/live" || { cat "$SCRATCH/err"; return 1; }
	nvme reset $A.ctrl || return 1
	wait_for grep -q 'Asynchronous Event Configuration' "$SCRATCH/live" || return 1
	kill -TERM "$BACKGROUND" && wait "$BACKGROUND" || return 1
	grep -q 'Set Features: Number of Queues .*\[kernel' "$SCRATCH/live" &&
		awk '/is resetting/ { a = NR } /Create I\/O Submission Queue: queue 1/ { b = NR } /is live/ { c = NR }
			END { exit !(a && a < b && b < c) }' "$SCRATCH/live" && return 0
	sed 's/^/# /' "$SCRATCH/live"
	return 1
}

# An event of the drive itself, and what the kernel asks then.
live_detached() {
	background "$GODWIT" events --live --write "$SCRATCH/log" >"$SCRATCH/live" 2>"$SCRATCH/err"
	wait_for grep -q 'watched from here' "$SCRATCH/live" || { cat "$SCRATCH/err"; return 1; }
	nvme attach-ns /dev/lab/m.ctrl -n 2 -c 0 >/dev/null || return 1
	wait_for grep -q 'Notice: Namespace Attribute Changed' "$SCRATCH/live" || { cat "$SCRATCH/live"; return 1; }
	nvme detach-ns /dev/lab/m.ctrl -n 2 -c 0 >/dev/null
	kill -TERM "$BACKGROUND" && wait "$BACKGROUND" || return 1
	has "$SCRATCH/log" 'Namespace Attachment: Controller Attach, NSID 2h; Successful.*\[user: nvme'
}

feature_is() {
	local value
	value=$(nvme get-feature "$1.ctrl" -f "$2" | sed -n 's/.*value:\(0x\)\?\([0-9a-fA-F]*\).*/\2/p')
	[ $((16#${value:-0})) = $(($3)) ] && return 0
	echo "# feature $2 of $1 is $value, not $3"
	return 1
}

# What is sent while nobody runs waits in the ring for whoever goes on.
migration() {
	local migration
	dd if=/dev/urandom of=$A bs=1M count=64 oflag=direct status=none
	background migrate $A $B --handoff none --bandwidth 40M --overwrite
	migration=$BACKGROUND
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" || return 1
	sleep 1
	nvme set-feature $A.ctrl -f 4 -v 0x14c >/dev/null && nvme set-feature $B.ctrl -f 4 -v 0x14d >/dev/null &&
		nvme set-feature $A.ctrl -f 6 -v 0 >/dev/null && nvme set-feature $A.ctrl -f 0xb -v 0x100 >/dev/null || return 1
	sleep 0.5
	kill -KILL "$(pgrep -P "$migration" godwit || echo "$migration")"
	wait "$migration" 2>/dev/null
	nvme set-feature $A.ctrl -f 4 -v 0x14e >/dev/null || return 1
	expect 0 continue_migration && same $A $B && nothing_left || return 1
	has "$SCRATCH/state" 'nvme[0-9] source  Set Features: Temperature Threshold .*14ch' --drive source --kind changes &&
		has "$SCRATCH/state" 'nvme[0-9] target  Set Features: Temperature Threshold .*14dh' --kind changes &&
		has "$SCRATCH/state" 'source  Set Features: Temperature Threshold .*14eh' &&
		has "$SCRATCH/state" 'not watched any more' && said 'Volatile Write Cache .*set on nvme' &&
		said 'Asynchronous Event Configuration .*not set on the target' &&
		feature_is $B 4 0x14e && feature_is $B 6 0 && has_not "$SCRATCH/state" 14dh --drive source
}

# begin FROM TO [OPTIONS]: a migration that takes its time; $BACKGROUND.
begin() {
	dd if=/dev/urandom of="$1" bs=1M count=48 oflag=direct status=none
	background migrate "$@" --handoff none --bandwidth 40M --overwrite
	wait_for test -e "/sys/fs/bpf/godwit/$NAME/header" && sleep 1
}
ends_with() {
	local status
	wait "$BACKGROUND"
	status=$?
	[ $status = "$1" ] && said "$2" && nothing_left && return 0
	echo "# exit status $status"
	sed 's/^/#   /' "$SCRATCH/err" | tail -n 8
	return 1
}
source_formatted() {
	begin $A $B && nvme format $A -f -n 1 >/dev/null || return 1
	ends_with 6 "source .* was erased \(Format NVM: NSID 1h, .*by nvme [0-9]+, uid 0"
}
# What the drive refuses erases nothing; with the option the new contents are copied.
source_formatted_restart() {
	begin $A $B --restart-on-erase || return 1
	nvme sanitize $A.ctrl -a 2 >/dev/null 2>&1 && return 1
	nvme format $A -f -n 1 >/dev/null || return 1
	dd if=/dev/urandom of=$A bs=1M count=8 oflag=direct status=none
	ends_with 0 'was erased .*Format NVM.*copied anew' && same $A $B && ! said 'erased .*Sanitize' >/dev/null
}
sanitize_refused_and_reset() {
	begin $A $B || return 1
	nvme sanitize $A.ctrl -a 2 >/dev/null 2>&1 && return 1
	nvme reset $A.ctrl || return 1
	ends_with 0 'source.*: the controller is resetting' && same $A $B
}
target_formatted() {
	begin $A $B && nvme format $B -f -n 1 >/dev/null || return 1
	ends_with 4 'target .* was erased .*Format NVM'
}

run "a session of admin commands" live_session
run "a reset" live_reset
run "an asynchronous event" live_detached
run "a migration's log, over the death of its process" migration
run "the source is formatted: that ends it" source_formatted
run "the source is formatted, and copied anew" source_formatted_restart
run "a refused Sanitize and a reset" sanitize_refused_and_reset
run "the target is formatted" target_formatted
exit $FAILED
