#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Verbs that touch devices refuse an ordinary user at once; the others serve everyone.
as_user() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
	else
		"$@"
	fi
}
command -v setpriv >/dev/null || { echo "there is no setpriv"; exit 77; }
chmod 755 .
truncate -s 64K a b
for words in 'migrate a b' 'track start /dev/null' 'track status' 'track take x' 'track stop x' \
	'track list' 'track latency x' cleanup; do
	# shellcheck disable=SC2086	# several words
	as_user godwit $words
	echo "$words: $?"
done
for words in help version 'completion bash' 'migrate --help' 'verify a b'; do
	# shellcheck disable=SC2086	# several words
	as_user godwit $words >/dev/null 2>&1
	echo "$words: $?"
done
