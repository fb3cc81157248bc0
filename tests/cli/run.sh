#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Golden command-line tests. Each cases/NAME.sh runs in an empty directory with godwit in its PATH;
# what it says and its exit status are compared with what stands beside it:
#
#   NAME.stdout.exact, NAME.stderr.exact   every byte
#   NAME.stdout.glob, NAME.stderr.glob     the whole text, where * stands for anything
#   NAME.exit                              the status; 0 if there is no such file
#
# What has no file must be empty. Status 77 is a skip, the last line of stdout says why.
#
#   tests/cli/run.sh [NAME]...
set -u
cd "$(dirname "$0")/../.." || exit 2
godwit=${GODWIT:-${GW_BUILD:-build}/godwit}
[ -x "$godwit" ] || { echo "not ok - there is no $godwit"; exit 1; }

cases=$PWD/tests/cli/cases
scratch=$(mktemp -d "${TMPDIR:-/tmp}/godwit-cli.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# A copy, which every user may run.
mkdir "$scratch/bin"
cp "$godwit" "$scratch/bin/godwit"
chmod 755 "$scratch" "$scratch/bin" "$scratch/bin/godwit"
export PATH=$scratch/bin:$PATH LC_ALL=C.UTF-8 TERM=xterm
unset NO_COLOR

# matches WHICH NAME: is the text of this stream as it should be?
matches() {
	local text=$scratch/$1 wanted=$cases/$2.$1 pattern
	if [ -e "$wanted.exact" ]; then
		cmp -s "$text" "$wanted.exact"
	elif [ -e "$wanted.glob" ]; then
		# Only * is special.
		pattern=$(sed 's/[][\\?()]/\\&/g' "$wanted.glob")
		# shellcheck disable=SC2053	# it is a pattern
		[[ $(<"$text") == $pattern ]]
	else
		[ ! -s "$text" ]
	fi
}

run_case() {
	local name=$1 status wanted=0 stream bad=''
	mkdir "$scratch/here"
	(cd "$scratch/here" && bash "$cases/$name.sh") >"$scratch/stdout" 2>"$scratch/stderr"
	status=$?
	rm -rf "$scratch/here"
	if [ $status = 77 ]; then
		echo "ok - $name # SKIP $(tail -n 1 "$scratch/stdout")"
		return
	fi
	[ ! -e "$cases/$name.exit" ] || wanted=$(<"$cases/$name.exit")
	[ "$status" = "$wanted" ] || bad+=" status $status instead of $wanted;"
	for stream in stdout stderr; do
		matches $stream "$name" || bad+=" $stream;"
	done
	if [ -z "$bad" ]; then
		echo "ok - $name"
		return
	fi
	failed=1
	echo "not ok - $name:$bad"
	for stream in stdout stderr; do
		sed "s/^/#   $stream: /" "$scratch/$stream"
	done
}

failed=0
[ $# -gt 0 ] || set -- "$cases"/*.sh
for path; do
	name=${path##*/}
	run_case "${name%.sh}"
done
exit $failed
