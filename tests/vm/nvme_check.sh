#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2317	# functions are called through run()
#
# godwit check on NVMe drives: what Identify, features and sysfs say becomes the right rows.
cd "$(dirname "$0")/../.." || exit 2
. tests/e2e/lib.bash

check_json() {
	"$GODWIT" check "$1" "$2" -o json --track none --handoff none --overwrite --state-dir "$SCRATCH/state" \
		--run-dir "$SCRATCH/run" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

# check CODE SOURCE TARGET: rows as "id|state|why|mend" lines in $SCRATCH/rows. Without tracking, whose self-test takes long.
check() {
	expect "$1" check_json "$2" "$3" || { grep -A4 '"unmet",' "$SCRATCH/out" | sed 's/^/# /'; return 1; }
	python3 -c 'import json, sys
for row in json.load(open(sys.argv[1]))["rows"]:
    print("|".join(row[key] for key in ("id", "state", "why", "mend")))' "$SCRATCH/out" >"$SCRATCH/rows"
}

# row ID STATE [PATTERN]
row() {
	local line
	line=$(grep "^$1|" "$SCRATCH/rows")
	[[ $line = "$1|$2|"* ]] && grep -Eq -- "${3:-}" <<<"$line" && return 0
	echo "# expected $1 to be $2 '${3:-}': ${line:-no such row}"
	return 1
}

alike() {
	local bad=0 id
	check 0 /dev/lab/a /dev/lab/b || return 1
	row nvme-identify met 'GWA.*GWB' && row nvme-lba-format met same && row nvme-capacity met same &&
		row nvme-source-shared met private || return 1
	for id in command-set metadata protection write-cache atomic-write deallocated readable \
		write-protection source-reserved target-reserved target-shared firmware warnings spare temperature; do
		row "nvme-$id" met || bad=1
	done
	return $bad
}

k_has_blocks_of() {
	wait_for grep -q "$1" "/sys/block/$(basename "$(readlink /dev/lab/k)")/queue/logical_block_size"
}

# What the mend says is what mends it. The drive is of 4096 bytes again at the end, for other tests.
larger_blocks() {
	local mend
	check 3 /dev/lab/a /dev/lab/k || return 1
	row nvme-lba-format unmet '512 bytes on the source, 4096' || return 1
	mend=$(sed -n 's/^nvme-lba-format|.*|\(nvme format [^(]*\)(.*/\1/p' "$SCRATCH/rows")
	echo "# $mend"
	$mend --force && k_has_blocks_of 512 || return 1
	check 0 /dev/lab/a /dev/lab/k && row nvme-lba-format met same || return 1
	nvme format /dev/lab/k --block-size=4096 --force && k_has_blocks_of 4096
}

zoned() {
	check 3 /dev/lab/a /dev/lab/z && row nvme-command-set unmet 'target speaks the zoned' && row not-zoned unmet
}

# One of its two controllers is taken from the kernel, as a virtual machine would.
shared() {
	local controller address
	check 0 /dev/lab/m /dev/lab/b && row nvme-source-shared met "all 2 controllers .* this host's" || return 1
	controller=$(basename "$(readlink /dev/lab/m.ctrl2)")
	address=$(basename "$(readlink -f "/sys/class/nvme/$controller/device")")
	echo "$address" >/sys/bus/pci/drivers/nvme/unbind || return 1
	check 0 /dev/lab/m /dev/lab/b
	row nvme-source-shared warning '1 of the 2 controllers' && row nvme-source-shared warning 'detach-ns' &&
		check 0 /dev/lab/v /dev/lab/m && row nvme-target-shared warning 'spoils the copy'
	controller=$?
	echo "$address" >/sys/bus/pci/drivers/nvme/bind
	return $controller
}

no_flushes() {
	local cache result
	cache=/sys/block/$(basename "$(readlink /dev/lab/b)")/queue/write_cache
	echo "write through" >"$cache" || return 1
	check 3 /dev/lab/a /dev/lab/b && row nvme-write-cache unmet 'write back'
	result=$?
	echo "write back" >"$cache"
	return $result
}

failing_reads() {
	local result
	nvme set-feature /dev/lab/a --namespace-id=1 --feature-id=5 --value=0x10000 >/dev/null || return 1
	check 3 /dev/lab/a /dev/lab/b && row nvme-readable unmet 'set-feature .*feature-id=5 --value=0'
	result=$?
	nvme set-feature /dev/lab/a --namespace-id=1 --feature-id=5 --value=0 >/dev/null
	return $result
}

# Without the drives there are no rows about them, and with one the other end is told apart.
other_disks() {
	check 0 /dev/lab/m /dev/lab/v && row nvme-lba-format met 'target is no NVMe namespace' &&
		check 0 /dev/lab/v /dev/lab/v.copy && ! grep -q '^nvme-' "$SCRATCH/rows"
}

truncate -s 128M /tmp/copy
ln -sf /tmp/copy /dev/lab/v.copy
run "check: two like drives" alike
run "check: larger blocks, and the format that mends it" larger_blocks
run "check: a zoned target" zoned
run "check: a controller that this kernel does not drive" shared
run "check: a cache that gets no flushes" no_flushes
run "check: reads of deallocated blocks that fail" failing_reads
run "check: other disks" other_disks
exit $FAILED
