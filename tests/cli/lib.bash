# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# For the command-line tests that are no golden files: sourced with the current directory anywhere.
# shellcheck disable=SC2034	# ROOT and failed are for those that source this
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
ROOT=$PWD
GODWIT=$(realpath "${GODWIT:-${GW_BUILD:-build}/godwit}")
[ -x "$GODWIT" ] || { echo "not ok - there is no $GODWIT"; exit 1; }
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/godwit-cli.XXXXXX")
trap 'rm -rf "$SCRATCH"' EXIT
export LC_ALL=C.UTF-8 TERM=xterm
unset NO_COLOR
failed=0

# check NAME COMMAND...: one result; the command's own words are comments.
check() {
	# No name that a test may use: functions see their caller's variables.
	local check_label=$1 said
	shift
	if said=$("$@" 2>&1); then
		echo "ok - $check_label"
	else
		echo "not ok - $check_label"
		failed=1
	fi
	[ -z "$said" ] || sed 's/^/#   /' <<< "$said"
}

# skip NAME WHY
skip() { echo "ok - $1 # SKIP $2"; }

# All verbs, a line each; those of a group with both words.
verbs() { "$GODWIT" help | sed -n 's/^  \([a-z-]\+\( [a-z]\+\)\?\)  .*/\1/p'; }

# Long options of a verb, a line each.
options_of() {
	# shellcheck disable=SC2086	# two words
	"$GODWIT" $1 --help | sed -n 's/^  .\{0,4\} *--\([a-z-]*\).*/\1/p'
}
