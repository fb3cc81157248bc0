#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a power failure leaves: replays the log of dm-log-writes to each flush.

log_replay.py LOG JOURNAL SOURCE GRAIN LEAST [--whole]

Each batch that the journal calls settled has a flush of its own. With the log replayed to the Kth
flush, and not an entry further, the blocks of batches 1 to K must be the source's. At least LEAST
batches must have been settled; with --whole, everything is there after the last flush.
"""

import os
import re
import struct
import sys

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def entries(path):
    """(flags, first byte, length, where its data is) in the order of the log."""
    with open(path, "rb") as log:
        magic, version, count, sector_bytes = struct.unpack("<QQQI", log.read(28))
        if magic != MAGIC or version != 1:
            raise SystemExit("# this is no log of dm-log-writes")
        at = sector_bytes
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", log.read(32))
            at += sector_bytes
            length = sectors * sector_bytes
            yield flags, sector * sector_bytes, length, at
            if not flags & DISCARD:
                at += length


def batches(path):
    with open(path, "rb") as journal:
        data = journal.read()
    found = []
    for text in re.findall(rb"\{[^{}]*\"settled_bytes\"[^{}]*\"first_grain\"[^{}]*\}", data):
        one = {key: int(re.search(rb"\"" + key.encode() + rb"\": ?(\d+)", text)[1])
               for key in ("settled_bytes", "first_grain", "end_grain")}
        found.append(one)
    return found


def main():
    log, journal, source, grain, least = sys.argv[1:6]
    grain, least, whole = int(grain), int(least), "--whole" in sys.argv
    with open(source, "rb") as file:
        wanted = file.read()
    settled = batches(journal)
    print(f"# {len(settled)} batches settled")
    if len(settled) < least:
        raise SystemExit(f"# fewer than {least}")
    for one in settled:
        # One buffer, a source that stands still: batches are exact, one after the other.
        if one["settled_bytes"] != (one["end_grain"] - one["first_grain"]) * grain:
            raise SystemExit(f"# a batch with gaps: {one}")
    image = bytearray(len(wanted))
    flushes = writes = 0
    with open(log, "rb") as data:
        for flags, first, length, at in entries(log):
            # A flush covers what is before it in the log; its own data comes after.
            if flags & FLUSH:
                flushes += 1
                for k, one in enumerate(settled[:flushes]):
                    a, b = one["first_grain"] * grain, one["end_grain"] * grain
                    if image[a:b] != wanted[a:b]:
                        raise SystemExit(f"# after flush {flushes}, batch {k + 1} is not there: {one}")
            if length == 0 or flags & MARK:
                continue
            writes += 1
            if flags & DISCARD:
                image[first:first + length] = bytes(length)
            else:
                data.seek(at)
                image[first:first + length] = data.read(length)
    print(f"# {writes} writes, {flushes} flushes in the log")
    if flushes < len(settled):
        raise SystemExit("# more was called settled than was flushed")
    if whole and image != wanted:
        raise SystemExit("# the target is not the source")


main()
