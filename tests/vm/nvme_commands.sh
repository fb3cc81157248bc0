#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# The source `nvme`, a row for each kind of command and sender: what is sent is compared with what was
# marked, exactly. What QEMU's drive refuses is an attempt, and is marked as one.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash
TRACKCTL=$PWD/build/e2e/trackctl
TRACKING=commands	# not NAME: that one goes after each test

# Each function sends something to DEVICE, in blocks of 4 KiB where it is given FIRST and COUNT.
direct() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" oflag=direct conv=notrunc status=none; }
large() {
	dd if=/dev/urandom of="$1" bs="$(($3 * 4))k" oseek=$(($2 * 4096)) count=1 oflag=direct,seek_bytes \
		iflag=fullblock conv=notrunc status=none
}
buffered() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" conv=notrunc,fsync status=none; }
dsync() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" oflag=direct,dsync conv=notrunc status=none; }
discard() { blkdiscard -f -o $(($2 * 4096)) -l $(($3 * 4096)) "$1"; }
zeroes() { blkdiscard -f -z -o $(($2 * 4096)) -l $(($3 * 4096)) "$1"; }
fio_to() {
	fio --name=row --filename="$1" --bs=4k --offset=$(($2 * 4096)) --size=$(($3 * 4096)) --iodepth=16 \
		--output="$SCRATCH/fio" "${@:4}" || { sed 's/^/# /' "$SCRATCH/fio"; return 1; }
}
queued() { fio_to "$@" --rw=randwrite --direct=1 --ioengine=io_uring; }
many_jobs() { fio_to "$@" --rw=write --direct=1 --ioengine=io_uring --numjobs=2; }
trims() { fio_to "$@" --rw=randtrim --direct=1 --ioengine=libaio; }
uring_passthrough() { fio_to "$1.ng" "${@:2}" --rw=randwrite --ioengine=io_uring_cmd --cmd_type=nvme; }
reads() { fio_to "$@" --rw=randread --direct=1 --ioengine=io_uring; }

# NVMe commands of nvme-cli: DEVICE, FIRST and COUNT in logical blocks.
data() { head -c $(($1 * 512)) /dev/urandom >"$SCRATCH/data"; }
nvme_write() { data "$3" && nvme write "$1" -s "$2" -c $(($3 - 1)) -z $(($3 * 512)) -d "$SCRATCH/data"; }
nvme_write_4k() { data 8 && nvme write "$1" -s "$2" -c 0 -z 4096 -d "$SCRATCH/data"; }
nvme_write_ng() { nvme_write "$1.ng" "${@:2}"; }
nvme_zeroes() { nvme write-zeroes "$1" -s "$2" -c $(($3 - 1)); }
nvme_uncorrectable() { nvme write-uncor "$1" -s "$2" -c $(($3 - 1)); }
# The rest: DEVICE and the tool's own arguments.
nvme_dsm() { nvme dsm "$1" "${@:2}"; }
nvme_copy() { nvme copy "$1" "${@:2}"; }
nvme_list() { "$PWD/build/e2e/nvme_list" "$@"; }
nvme_compare() { head -c 4096 "$1" >"$SCRATCH/data"; nvme compare "$1" -s 0 -c 7 -z 4096 -d "$SCRATCH/data"; }
nvme_read() { nvme read "$1" -s 0 -c 7 -z 4096 -d "$SCRATCH/data"; }
nvme_flush() { nvme flush "$1" -n 1; }
nvme_verify() { nvme verify "$1" -s 0 -c 7; }
io_passthru() { nvme io-passthru "$1" -n 1 "${@:2}"; }
admin_passthru() { nvme admin-passthru "$1.ctrl" "${@:2}"; }
admin_harmless() {
	nvme id-ctrl "$1.ctrl" && nvme smart-log "$1.ctrl" && nvme get-feature "$1.ctrl" -f 7 &&
		nvme set-feature "$1.ctrl" -f 4 -v 0x14b
}
nvme_sanitize() { nvme sanitize "$1.ctrl" -a 2; }
nvme_security() { nvme security-send "$1.ctrl" -p 0 -s 0 -t 8 -f "$SCRATCH/data"; }
# Both with 4 KiB of zeroes: a namespace of no blocks, a list of no controllers.
nvme_create_ns() { admin_passthru "$1" -o 0x0d --cdw10=0 -l 4096 -w -i /dev/zero; }
nvme_detach_ns() { admin_passthru "$1" -o 0x15 -n "$2" --cdw10=1 -l 4096 -w -i /dev/zero; }
nvme_format() { nvme format "$1" -f -n "$2"; }
zone_write() { data "$3" && nvme write "$1" -s "$2" -c $(($3 - 1)) -z $(($3 * 512)) -d "$SCRATCH/data"; }
zone_append() { data "$3" && nvme zns zone-append "$1" -s "$2" -z $(($3 * 512)) -d "$SCRATCH/data"; }
zone() { nvme zns "$2-zone" "$1" "${@:3}"; }

# row MARKS RESULT DEVICE FUNCTION [ARGUMENTS]: MARKS is the runs of 4 KiB blocks ("16 8, 32 8"), "none",
# or "whole PATTERN" for the reason. Behind an "=", what the exact record is to have got, in runs of
# sectors, where that is not the whole of these blocks. RESULT: ok, fails (the drive refuses it), or any.
row() {
	local want=${1%% = *} exact=${1#*= } result=$2 status marks since recorded
	[[ $1 = *\ =\ * ]] || exact=$(sed -E 's/[0-9]+/$((&*8))/g' <<< "$want")
	touch "$SCRATCH/data"
	since=$("$TRACKCTL" now)
	"$4" "$3" "${@:5}" >"$SCRATCH/said" 2>&1
	status=$?
	marks=$("$TRACKCTL" take "$TRACKING" | paste -sd, | sed 's/,/, /g') || return 1
	recorded=$("$TRACKCTL" record "$TRACKING" "$since" | grep -v '^whole' | paste -sd, | sed 's/,/, /g')
	case $result$status in
	ok0 | fails[1-9]* | any*) ;;
	*)
		echo "# exit status $status, expected: $result"
		sed 's/^/#   /' "$SCRATCH/said"
		return 1 ;;
	esac
	case $want in
	none) [ -z "$marks$recorded" ] && return ;;
	whole*) [[ $marks =~ ^whole\ .*${want#whole } ]] && return ;;
	*) eval "exact=\"$exact\""; [ "$marks" = "$want" ] && [ "$recorded" = "$exact" ] && return ;;
	esac
	echo "# marked: $marks; expected: $want"
	echo "# recorded: $recorded${exact:+; expected: $exact}"
	return 1
}

# What differs from a copy made before is marked; more may be (a file system writes the same again).
changes_are_marked() {
	local device=$1 bytes
	bytes=$(blockdev --getsize64 "$device")
	cat "$device" >"$SCRATCH/before"
	shift
	"$@" >"$SCRATCH/said" 2>&1 || { sed 's/^/# /' "$SCRATCH/said"; return 1; }
	sync
	"$TRACKCTL" take "$TRACKING" >"$SCRATCH/marks" || return 1
	grep -q '^whole' "$SCRATCH/marks" && { cat "$SCRATCH/marks"; return 1; }
	blockdev --flushbufs "$device"
	{ cmp -l "$SCRATCH/before" "$device" || true; } | awk -v bytes="$bytes" '
		FNR == NR { for (i = 0; i < $2; i++) marked[$1 + i]; next }
		{ block = int(($1 - 1) / 4096)
		  if (block != last || NR == 1) { changed[block]; last = block } }
		END { for (b in changed) {
				n++
				if (!(b in marked)) { bad++; print "# block " b " has changed and is not marked" }
		      }
		      print "# " n " blocks have changed"; exit (bad > 0 || n == 0) }' "$SCRATCH/marks" -
}
file_system() {
	mkfs.ext4 -qF -E nodiscard "$1" && mount_at fs "$1" && cp -r /godwit/docs "$SCRATCH/fs" &&
		umount "$SCRATCH/fs"
}
trimmed() {
	mount_at fs "$1" && rm -rf "$SCRATCH/fs/docs" && sync && fstrim "$SCRATCH/fs" && umount "$SCRATCH/fs"
}

begin() { RECORD=$((4 << 20)) "$TRACKCTL" start "$TRACKING" "$1"; }
end() {
	"$TRACKCTL" stats "$TRACKING" >"$SCRATCH/stats"
	sed 's/^/# /' "$SCRATCH/stats" | paste -sd' '
	"$TRACKCTL" stop "$TRACKING" && [ ! -e "/sys/fs/bpf/godwit/$TRACKING" ] || return 1
	grep -qx 'lost_found 0' "$SCRATCH/stats" && grep -qx 'unseen 0' "$SCRATCH/stats"
}

# By the verbs that a user has: what was sent since the start, to the block, with times in their order.
record_by_verbs() {
	"$GODWIT" track start "$1" --name verbs --record >"$SCRATCH/said" 2>&1 || { sed 's/^/# /' "$SCRATCH/said"; return 1; }
	nvme_dsm "$1" -n 1 -d -s 128,515 -b 8,33 >/dev/null && nvme_write "$1" 4001 3 >/dev/null && nvme_write "$1" 4002 1 >/dev/null &&
		"$GODWIT" track record verbs >"$SCRATCH/record" && "$GODWIT" track record verbs -o json >"$SCRATCH/record.json" || return 1
	sed 's/^/# /' "$SCRATCH/record"
	"$GODWIT" track stop verbs >/dev/null 2>&1 && grep -q 'exact record: .* of memory, fixed' "$SCRATCH/said" &&
		[ "$(cut -d' ' -f 1,2 "$SCRATCH/record" | paste -sd,)" = "128 8,515 33,4001 1,4002 1,4003 1" ] &&
		awk '$3 <= 0 || $4 < $3 { bad = 1 } { first[$1] = $3; last[$1] = $4 }
			END { exit bad || first[4001] < last[515] || last[4002] <= last[4001] }' "$SCRATCH/record" &&
		python3 -c 'import json, sys; sys.exit(not json.load(open(sys.argv[1]))["is_exact"])' "$SCRATCH/record.json"
}
A=/dev/lab/a K=/dev/lab/k M=/dev/lab/m Z=/dev/lab/z

run "self-test and start" begin $A
export FAST=1
run "direct write" row '16 3' ok $A direct 16 3
run "direct write of 2 MiB, split" row '512 512' ok $A large 512 512
run "buffered writes and fsync" row '100 64' ok $A buffered 100 64
run "O_DSYNC write" row '20 2' ok $A dsync 20 2
run "io_uring, 16 in flight" row '1024 256' ok $A queued 1024 256
run "two writers" row '2048 128' ok $A many_jobs 2048 128
run "reads" row none ok $A reads 0 64
run "discard" row '4096 1024' ok $A discard 4096 1024
run "many discards" row '8192 256' ok $A trims 8192 256
run "zeroes" row '3000 40' ok $A zeroes 3000 40
run "Write by ioctl, half a grain" row '5 2 = 44 8' ok $A nvme_write 44 8
run "Write by ioctl on the character device" row '7 1' ok $A nvme_write_ng 56 8
run "Write by io_uring passthrough" row '6000 64' ok $A uring_passthrough 6000 64
run "Write Zeroes by ioctl" row '300 4' ok $A nvme_zeroes 2400 32
run "Write Zeroes of the whole namespace" row 'whole Write Zeroes' any $A io_passthru -o 8 --cdw12=0x800007
run "Dataset Management, three ranges" row '16 1, 64 5, 256 1 = 128 8, 512 33, 2048 1' ok $A nvme_dsm -n 1 -d -s 128,512,2048 -b 8,33,1
run "Dataset Management, 16 KiB in all" row '1000 1, 30000 4 = 8000 1, 240000 32' ok $A nvme_dsm -n 1 -d -s 240000,8000 -b 32,1
run "Dataset Management, hints only" row none any $A nvme_dsm -n 1 -r -s 128 -b 8
run "Copy of two ranges" row '100 3' ok $A nvme_copy -d 800 -s 0,64 -b 7,15
# Wherever in an entry the page ends, and with data that the kernel copies as it is aligned to nothing.
for bytes in 4 8 12 16 24 25 0; do
	run "Dataset Management, $bytes bytes of the list in the page before" row '16 1, 64 5, 256 1 = 128 8, 512 33, 2048 1' \
		ok $A nvme_list ioctl $bytes dsm 128:8 512:33 2048:1
done
for bytes in 4 16 20 28 48 50; do
	run "Copy, $bytes bytes of the list in the page before" row '100 3' ok $A nvme_list ioctl $bytes copy 0:8 64:16 800
done
for way in "uring 4" "uring 0" "vec 12" "vec 16" "fixed 20"; do
	run "Dataset Management by io_uring, $way" row '16 1, 64 5, 256 1 = 128 8, 512 33, 2048 1' \
		ok $A.ng nvme_list $way dsm 128:8 512:33 2048:1
	run "Copy by io_uring, $way" row '100 3' ok $A.ng nvme_list $way copy 0:8 64:16 800
done
run "a list that cannot be found" row 'whole .*ranges of an NVMe command' ok $A.ng nvme_list inside 20 dsm 128:8
run "Write Uncorrectable, an attempt" row '500 1' any $A nvme_uncorrectable 4000 8
run "Write past the end, an attempt" row none fails $A nvme_write 99999999 8
run "Compare" row none any $A nvme_compare
run "Read by ioctl" row none ok $A nvme_read
run "Verify" row none any $A nvme_verify
run "Flush" row none ok $A nvme_flush
run "an unknown I/O opcode" row 'whole vendor specific .I/O opcode 0x99' fails $A io_passthru -o 0x99
run "Identify, logs, features" row none ok $A admin_harmless
run "an unknown admin opcode" row 'whole vendor specific .admin opcode 0xc1' fails $A admin_passthru -o 0xc1
run "Security Send, an attempt" row 'whole Security Send' any $A nvme_security
run "Sanitize, an attempt" row 'whole sanitize' any $A nvme_sanitize
run "not again: this drive cannot sanitize" row none ok $A true
run "namespace creation, an attempt" row none fails $A nvme_create_ns
run "Namespace Attachment of another, an attempt" row none fails $A nvme_detach_ns 9
run "Namespace Attachment of it, an attempt" row 'whole namespace' fails $A nvme_detach_ns 1
run "mkfs and files on ext4" changes_are_marked $A file_system $A
run "fstrim" changes_are_marked $A trimmed $A
run "Format of another namespace" row none any $A nvme_format 9
run "Format NVM" row 'whole formatted' ok $A nvme_format 1
run "end" end
run "the exact record, by the verbs" record_by_verbs $A

run "blocks of 4 KiB: start" begin $K
run "blocks of 4 KiB: direct write" row '33 3' ok $K direct 33 3
run "blocks of 4 KiB: Write by ioctl" row '3 1' ok $K nvme_write_4k 3
run "blocks of 4 KiB: Dataset Management" row '9 2' ok $K nvme_dsm -n 2 -d -s 9 -b 2
run "blocks of 4 KiB: end" end

run "multipath: start" begin $M
run "multipath: direct writes" row '16 64' ok $M direct 16 64
run "multipath: io_uring" row '1024 256' ok $M queued 1024 256
run "multipath: discard" row '4096 64' ok $M discard 4096 64
run "multipath: Write by ioctl" row '7 1' ok $M nvme_write 56 8
run "multipath: Write by io_uring passthrough" row '6000 64' ok $M uring_passthrough 6000 64
run "multipath: end" end

# Zones of 16 MiB: 4096 grains, 32768 blocks.
run "zones: start" begin $Z
run "zones: Write" row '4096 2' ok $Z zone_write 32768 16
run "zones: Append" row '4098 3' ok $Z zone_append 32768 24
run "zones: open and close" row none ok $Z zone open -s 65536
run "zones: close" row none ok $Z zone close -s 65536
run "zones: finish" row '4096 4096' ok $Z zone finish -s 32768
run "zones: reset" row '4096 4096' ok $Z zone reset -s 32768
run "zones: reset all" row 'whole all zones were reset' ok $Z zone reset -a
run "zones: end" end
exit $FAILED
