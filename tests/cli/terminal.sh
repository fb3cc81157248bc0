#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Progress and messages on a real (pseudo) terminal, and where there is none.
# shellcheck source=tests/cli/lib.bash
. "$(dirname "$0")/lib.bash"

command -v python3 >/dev/null || { skip "terminal" "there is no python3"; exit 0; }
# verify sleeps between reads to keep the rate, so that there is time to draw.
truncate -s 6M "$SCRATCH/a" "$SCRATCH/b"
slow=("$GODWIT" verify "$SCRATCH/a" "$SCRATCH/b" --bandwidth 4M/s)
escape=$'\e'

# on COLUMNS COMMAND...: runs it on a terminal; what it said there is in $SCRATCH/err.
on() { timeout 60 python3 "$ROOT/tests/cli/on_terminal.py" "$1" "$SCRATCH/err" "${@:2}" >"$SCRATCH/out"; }

# Lines as the terminal showed them, one for each drawing.
drawings() { tr '\r' '\n' <"$SCRATCH/err" | sed 's/ *$//' | grep -v '^$'; }

# draws COLUMNS: three times at least; tried again where there is hardly time to.
draws() {
	for _ in {1..10}; do
		on "$1" "${slow[@]}" || return 1
		[ "$(drawings | wc -l)" -lt 3 ] || return 0
	done
	echo "fewer than 3 drawings"
	return 1
}

# fits COLUMNS: the last column stays free, trailing blanks included.
fits() {
	draws "$1" || return 1
	! tr '\r' '\n' <"$SCRATCH/err" | grep -E ".{$1}"
}

ends_clean() {
	on 80 "${slow[@]}" || return 1
	# The last that is written is blanks over the line, then the cursor at its start.
	[ -z "$(tr '\r' '\n' <"$SCRATCH/err" | tail -n 2 | tr -d ' \n')" ]
}

never_above_hundred() {
	draws 80 || return 1
	drawings | grep -o '[0-9.]*%' | tr -d % | awk '
		$1 > 100 || $1 < last { print $1 " after " last; bad = 1 } { last = $1 }
		END { exit bad || NR == 0 }'
}

redraws_seldom() {
	local began=$EPOCHREALTIME most
	on 80 "${slow[@]}" || return 1
	# Half a second's over: the first one, and those of the end.
	most=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { print int((b - a) * 10) + 5 }')
	[ "$(drawings | wc -l)" -le "$most" ] || { echo "$(drawings | wc -l) drawings, not $most"; return 1; }
}

has_colour() { on 80 "$GODWIT" verify "$SCRATCH/a" "$SCRATCH/nowhere"; grep -q "$escape" "$SCRATCH/err"; }

# no_escape COMMAND...: whatever it does, no escape code comes
no_escape() {
	on 80 "$@"
	[ -s "$SCRATCH/err" ] || { echo "it said nothing"; return 1; }
	! grep -q "$escape" "$SCRATCH/err"
}

# plain COMMAND...: neither escape codes nor carriage returns in a file
plain() {
	"$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	[ -s "$SCRATCH/err" ] || { echo "it said nothing"; return 1; }
	! grep -q "[$escape"$'\r]' "$SCRATCH/err"
}

dumb_is_plain() {
	on 80 env TERM=dumb "${slow[@]}" || return 1
	# The terminal itself makes CR LF of a line's end.
	! grep -q "[$escape"$'\r]' <<< "$(sed 's/\r$//' "$SCRATCH/err")"
}

few_plain_lines() {
	plain "${slow[@]}" || return 1
	[ "$(wc -l <"$SCRATCH/err")" -le 2 ]
}

quiet_is_quiet() { "${slow[@]}" -q >"$SCRATCH/out" 2>&1; [ ! -s "$SCRATCH/out" ]; }

interrupted() {
	PTY_INTERRUPT=1 on 80 "${slow[@]}" --bandwidth 256K/s
	local status=$?
	[ $status = 6 ] || { echo "status $status"; return 1; }
	grep -q 'cancelled' "$SCRATCH/err"
}

check "progress fits 40 columns" fits 40
check "progress fits 20 columns" fits 20
check "progress fits 5 columns" fits 5
check "progress fits 200 columns" fits 200
check "nothing of the progress stays" ends_clean
check "percent rises to 100 and no further" never_above_hundred
check "at most ten drawings a second" redraws_seldom
check "errors have a colour on a terminal" has_colour
check "no escape codes with NO_COLOR" no_escape env NO_COLOR=1 "$GODWIT" verify "$SCRATCH/a" "$SCRATCH/nowhere"
check "no escape codes in the progress line" no_escape "${slow[@]}"
check "no escape codes on a dumb terminal" no_escape env TERM=dumb "$GODWIT" verify "$SCRATCH/a" "$SCRATCH/nowhere"
check "no escape codes without a terminal" plain "$GODWIT" verify "$SCRATCH/a" "$SCRATCH/nowhere"
check "plain progress without a terminal" few_plain_lines
check "plain progress on a dumb terminal" dumb_is_plain
check "no progress with -q" quiet_is_quiet
check "SIGINT ends with status 6" interrupted

# asks INPUT STATUS OPTIONS...: a migration onto a file that holds something
asks() {
	printf hello >"$SCRATCH/target"
	PTY_INPUT=$1 on 80 "$GODWIT" migrate "$SCRATCH/a" "$SCRATCH/target" --handoff none \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" "${@:3}"
	local status=$?
	[ $status = "$2" ] || { echo "status $status"; cat "$SCRATCH/err"; return 1; }
	if [ "$2" = 0 ]; then
		cmp "$SCRATCH/a" "$SCRATCH/target"
	else
		[ "$(cat "$SCRATCH/target")" = hello ]
	fi
}
asks_nobody() {
	printf hello >"$SCRATCH/target"
	! echo y | "$GODWIT" migrate "$SCRATCH/a" "$SCRATCH/target" --handoff none --yes \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" 2>"$SCRATCH/err" || return 1
	[ "$(cat "$SCRATCH/target")" = hello ] && ! grep -q '\[y/N\]' "$SCRATCH/err"
}

if [ "$(id -u)" = 0 ]; then
	check "asks before it overwrites, yes" asks $'y\n' 0
	check "asks before it overwrites, no" asks $'n\n' 3
	check "asks before it overwrites, nothing" asks $'\n' 3
	check "does not ask with --yes" asks '' 0 --yes
	check "does not ask with --overwrite" asks '' 0 --overwrite
	check "asks nobody without a terminal" asks_nobody
else
	skip "asks before it overwrites" "needs root"
fi
exit $failed
