#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every JSON document is what its schema says, keys in order.
# shellcheck source=tests/cli/lib.bash
. "$(dirname "$0")/lib.bash"

command -v python3 >/dev/null || { skip "documents" "there is no python3"; exit 0; }
cd "$SCRATCH" || exit 2

# fits SCHEMA STATUS WORDS...: godwit's document and its exit status
fits() {
	local schema=$1 wanted=$2 status
	shift 2
	"$GODWIT" "$@" -o json >document 2>said
	status=$?
	[ $status = "$wanted" ] || { echo "status $status"; cat said; return 1; }
	python3 "$ROOT/tests/cli/schema.py" "$ROOT/docs/schema/$schema.schema.json" <document
}

# The checker itself must notice what is wrong.
notices() { ! python3 "$ROOT/tests/cli/schema.py" "$ROOT/docs/schema/verify.schema.json"; }

truncate -s 1M a b
cp a c
printf x | dd of=c bs=1 seek=70000 conv=notrunc status=none
check "verify, same" fits verify 0 verify a b
check "verify, different" fits verify 1 verify a c --settle 1ms
check "check, no source" fits check 3 check nowhere b
check "check, same file" fits check 3 check a a
# Each row of the check, with these names, is in its page; those of NVMe drives need a drive.
rows_are_documented() {
	"$GODWIT" check a b --track none --handoff none -o json 2>/dev/null | sed -n 's/^ *"id": "\(..*\)",$/\1/p' | sort >rows
	sed -n 's/^| `\([a-z-]*\)` .*/\1/p' "$ROOT/docs/check.md" | grep -v '^nvme-' | sort >written
	[ "$(wc -l <rows)" -ge 30 ] && diff rows written
}
check "rows of the check are in its page" rows_are_documented
"$GODWIT" verify a b -o json >good 2>/dev/null
check "a key too many is noticed" notices < <(sed '2a "more": 1,' good)
check "a key too few is noticed" notices < <(grep -v '"equal"' good)
check "another order is noticed" notices < <(awk '/"source"/ { kept = $0; next } { print } /"target"/ { print kept }' good)
check "another type is noticed" notices < <(sed 's/"equal": true/"equal": "true"/' good)
events_fit() {
	local line lines=0
	"$GODWIT" events "$ROOT/tests/cli/events.log" -o json >lines || return 1
	while IFS= read -r line; do
		python3 "$ROOT/tests/cli/schema.py" "$ROOT/docs/schema/events.schema.json" <<< "$line" || return 1
		lines=$((lines + 1))
	done <lines
	[ $lines = 9 ] || { echo "$lines lines"; return 1; }
}
check "events, a line each" events_fit
if [ "$(id -u)" != 0 ]; then
	skip "migrate, refused" "needs root"
	skip "migrate, a file" "needs root"
	skip "track list" "needs root"
	exit $failed
fi
dirs=(--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run")
check "migrate, refused" fits migrate 3 migrate nowhere b "${dirs[@]}"
head -c 1M /dev/urandom >a
check "migrate, a file" fits migrate 0 migrate a d --handoff none "${dirs[@]}"
check "migrate, the target is the same" cmp a d
check "report" fits report 0 report state
check "a refusal prints no older report" fits migrate 3 migrate a a "${dirs[@]}"
refusal_says_why() { grep -q '"exit_code": 3' document && grep -q 'the same' document; }
check "the refusal says why" refusal_says_why
check "track list" fits track 0 track list
exit $failed
