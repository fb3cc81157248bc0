#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every option of the tables is in the manual page, with its choices and default, and in the completion; the
# completion works.
# shellcheck source=tests/cli/lib.bash
. "$(dirname "$0")/lib.bash"

page_of() { echo "$ROOT/docs/man/godwit-${1%% *}.8.scd"; }

# In a manual page "--name" is written "*--name*".
is_documented() {
	local page option bad=0
	page=$(page_of "$1")
	[ -e "$page" ] || { echo "there is no $page"; return 1; }
	for option in $(options_of "$1"); do
		grep -q -- "\*\(-[a-z]\*, \*\)\?--$option\*" "$page" || { echo "--$option is missing in $page"; bad=1; }
	done
	return $bad
}

# What is documented exists: no left-overs of options that went away.
has_no_leftovers() {
	local option page bad=0
	page=$(page_of "$1")
	# Only those that a paragraph of their own describes; others may be those of another page.
	for option in $(grep '^\*-' "$page" | grep -o -- '\*--[a-z-]*\*' | tr -d '*' | sort -u); do
		grep -qx -- "${option#--}" <<< "$(verbs | while read -r verb; do
			[ "${verb%% *}" != "${1%% *}" ] || options_of "$verb"
		done)" || { echo "$page tells of $option"; bad=1; }
	done
	return $bad
}

# Choices and defaults, a line for each option that has some: "track auto|nvme|block|none auto".
facts_of() {
	# shellcheck disable=SC2086	# two words
	"$GODWIT" $1 --help | awk '
		function put() {
			if (text ~ /\|/ || text ~ /\(default: /) {
				choices = text ~ /^[^ ]+ [^ ]*\|/ ? text : "- -"
				sub(/^[^ ]+ /, "", choices); sub(/ .*/, "", choices)
				word = text ~ /\(default: / ? text : "-"
				sub(/.*\(default: */, "", word); sub(/[ ,;)].*/, "", word)
				name = text; sub(/[ [].*/, "", name)
				print name, choices, word
			}
			text = ""
		}
		/^  (-., |    )--[a-z]/ { put(); sub(/^ +(-., )?--/, ""); text = $0; gsub(/ +/, " ", text); next }
		/^               +[^ ]/ { if (text != "") { sub(/^ +/, ""); text = text " " $0 } next }
		{ put() }
		END { put() }'
}

# In its page, what is said of an option, in plain letters and on one line.
paragraph_of() {
	awk -v head="^[*](-[a-z][*], [*])?--$2[*]" '$0 ~ head { on = 1 } /^$/ { on = 0 } on { printf "%s ", $0 }' "$(page_of "$1")" |
		tr -d '*_\\' | tr -s '\t ' ' '
}

has_the_same_facts() {
	local option choices word text bad=0
	while read -r option choices word; do
		text=$(paragraph_of "$1" "$option")
		[ "$choices" = - ] || [[ $text = *"--$option $choices "* ]] ||
			{ echo "--$option takes $choices; the page: ${text:0:80}"; bad=1; }
		[ "$word" = - ] || [[ $text != *Default:* ]] || [[ " ${text#*Default:} " = *[' (']"$word"[' .,;)']* ]] ||
			{ echo "--$option has the default $word; the page: ${text#*Default:}"; bad=1; }
	done < <(facts_of "$1")
	return $bad
}
names_every_verb() {
	local verb word bad=0
	while read -r verb; do
		for word in $verb; do
			grep -q "\*$word\*" "$ROOT/docs/man/godwit.8.scd" || { echo "godwit(8) does not tell of $verb"; bad=1; }
		done
	done < <(verbs)
	return $bad
}
facts_are_found() {
	[ "$(facts_of migrate | grep -c '^\(track auto|nvme|block|none auto\|nice - 5\|output text|json text\)$')" = 3 ]
}

# complete WORD...: what the completion offers for the last word.
complete_words() {
	bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
		_godwit; printf "%s\n" "${COMPREPLY[@]}"' - "$SCRATCH/completion" "$@"
}

is_completed() {
	local option bad=0 words
	read -ra words <<< "$1"
	for option in $(options_of "$1"); do
		grep -qx -- "--$option" <<< "$(complete_words godwit "${words[@]}" "--$option")" ||
			{ echo "--$option is not offered"; bad=1; }
	done
	return $bad
}

# offers WORDS EXPECTED: exactly these (sorted)
offers() {
	local line=$1 expected=$2 words got
	read -ra words <<< "$line"
	[ "${line% }" = "$line" ] || words+=('')
	got=$(complete_words "${words[@]}" | sort | xargs)
	[ "$got" = "$expected" ] || { echo "\"$line\" gave \"$got\", not \"$expected\""; return 1; }
}

verbs_exist() { [ "$(verbs | wc -l)" -ge 13 ]; }
check "the verbs are known to this test" verbs_exist
check "choices and defaults are known to this test" facts_are_found
"$GODWIT" completion bash >"$SCRATCH/completion"
check "completion is a bash script" bash -n "$SCRATCH/completion"
while read -r verb; do
	case $verb in
	help | version | completion) ;;
	*)
		check "$verb: options in the manual" is_documented "$verb"
		check "$verb: no other options in the manual" has_no_leftovers "$verb"
		check "$verb: choices and defaults in the manual" has_the_same_facts "$verb"
		;;
	esac
	check "$verb: options in the completion" is_completed "$verb"
done < <(verbs)
check "the main page names every verb" names_every_verb
check "completes verbs" offers 'godwit ver' 'verify version'
check "completes verbs of a group" offers 'godwit track sta' 'start status'
check "completes choices" offers 'godwit migrate --track ' 'auto block none nvme'
check "completes choices behind =" offers 'godwit migrate --handoff = fr' 'freeze'
check "completes an optional choice" offers 'godwit migrate --verify = ' 'after during'
touch "$SCRATCH/journal-a" "$SCRATCH/journal-b"
check "completes paths" offers "godwit report $SCRATCH/journal-" "$SCRATCH/journal-a $SCRATCH/journal-b"
mkdir "$SCRATCH/dirs" "$SCRATCH/dirs/one" && touch "$SCRATCH/dirs/two"
check "completes directories" offers "godwit migrate --state-dir $SCRATCH/dirs/" "$SCRATCH/dirs/one"
check "completes no values that it cannot know" offers 'godwit migrate --name ' ''
exit $failed
