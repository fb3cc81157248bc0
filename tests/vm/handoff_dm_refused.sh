#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# What the hand-off `dm` refuses: with a sentence, before anything is copied, and the device-mapper device
# is as it was. And how a device that is under none gets there: the recipe of `dm-wrap`, carried out.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
S=/dev/lab/a T=/dev/lab/b
NAME=swap

# refused TABLE WORDS [OPTION]: exit code 3 with these words, and the device is as it was.
refused() {
	local before result
	dmsetup create data --table "$1" || return 1
	before=$(dmsetup table data)
	[ -z "${4-}" ] || eval "$4"
	expect 3 "$GODWIT" migrate $S $T --handoff "${3:-dm:data}" --name $NAME --overwrite \
		--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" &&
		said "$2" && [ "$before" = "$(dmsetup table data)" ]
	result=$?
	[ -z "${5-}" ] || eval "$5"
	dmsetup remove --retry data
	return $result
}

recipe() {
	local result
	mkfs.ext4 -qF $S && mount_at m $S && echo contents >"$SCRATCH/m/file" || return 1
	expect 0 "$GODWIT" dm-wrap $S --name data >"$SCRATCH/out" || return 1
	grep -v '^#' "$SCRATCH/out" | bash -e && grep -q "^/dev/mapper/data $SCRATCH/m " /proc/mounts &&
		[ "$(cat "$SCRATCH/m/file")" = contents ] &&
		expect 0 "$GODWIT" migrate $S $T --handoff dm:data --name $NAME --overwrite \
			--state-dir "$SCRATCH/state" --run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err" &&
		echo more >>"$SCRATCH/m/file" && umount "$SCRATCH/m" && dmsetup remove --retry data &&
		mount_at m $T && [ "$(paste -sd, "$SCRATCH/m/file")" = contents,more ]
	result=$?
	umount "$SCRATCH/m"
	dmsetup info data >/dev/null 2>&1 && dmsetup remove --retry data
	return $result
}

run "refused: no such device" refused "0 1000 linear $S 0" "no device-mapper device nothing" dm:nothing
run "refused: it does not map the source" refused "0 1000 linear /dev/lab/k 0" "does not map the source"
run "refused: not linear" refused "0 1024 striped 2 128 $S 0 /dev/lab/k 0" "linear segments"
run "refused: another user of the source" refused "0 1000 linear $S 0" "is used by" dm:data \
	"dmsetup create other --table '0 1000 linear $S 2000'" "dmsetup remove --retry other"
run "refused: suspended" refused "0 1000 linear $S 0" "is suspended" dm:data \
	"dmsetup suspend data" "dmsetup resume data"
run "refused: another table is loaded" refused "0 1000 linear $S 0" "another table loaded" dm:data \
	"dmsetup load data --table '0 1000 linear $S 1000'" "dmsetup clear data"
run "dm-wrap's recipe, and a migration of what it made" recipe
exit $FAILED
