#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An oracle that is not ours: QEMU's dirty bitmap of a drive, against what the tracker in the guest
says after the same load. Nothing that QEMU saw changed may be missing.

tests/vm/oracle.py OPTIONS-OF-LAB-RUN...: TAP lines.

The bitmap is set up over QMP while the guest waits for a line of input, and read through an NBD
export of it (nbdinfo) after the guest has taken the tracker's marks; a last line lets it end.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile

DRIVES = ("a", "k", "m", "v")
GRAIN = 4096
EMULATOR_CRASHED = 121
LOAD_S = int(os.environ.get("GW_ORACLE_S") or 30)


class EmulatorCrash(Exception):
    """The guest was broken by what runs it."""


class Qmp:
    """Commands to QEMU, one after the other."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


def grains(extents):
    found = set()
    for first, length in extents:
        found.update(range(first // GRAIN, -(-(first + length) // GRAIN)))
    return found


def seen_by_qemu(path, drive):
    out = subprocess.run(["nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{drive}",
                          f"nbd+unix:///{drive}?socket={path}"],
                         stdout=subprocess.PIPE, check=True).stdout
    return grains((extent["offset"], extent["length"]) for extent in json.loads(out)
                  if extent["type"] & 1)


def wait_line(guest, wanted):
    """Lines of the guest until the wanted one; what is between comes back."""
    lines = []
    for line in guest.stdout:
        line = line.rstrip("\n")
        if line == wanted:
            return lines
        lines.append(line)
        if line.startswith("# "):
            print(line)
    if guest.wait() == EMULATOR_CRASHED:
        raise EmulatorCrash
    raise RuntimeError(f"the guest ended before it said \"{wanted}\"")


def taken_by_tracker(lines):
    """Lines "DRIVE FIRST-SECTOR SECTORS SECTOR-BYTES" of the guest's part."""
    found = {drive: set() for drive in DRIVES}
    for line in lines:
        match = re.fullmatch(r"(\w+) (\d+) (\d+) (\d+)", line)
        if match:
            first, count, sector = (int(match[i]) for i in (2, 3, 4))
            found[match[1]] |= grains([(first * sector, count * sector)])
    return found


def compare(drive, qemu, tracker):
    name = f"{drive}: nothing that QEMU saw changed is missing in the tracker"
    missing = sorted(qemu - tracker)
    print(f"# {drive}: {len(qemu)} grains changed as QEMU saw it, {len(tracker)} marked, "
          f"{len(tracker - qemu)} of them unchanged")
    if not qemu:
        print(f"not ok - {name}: it saw nothing")
    elif missing:
        print(f"# missing: {missing[:20]}")
        print(f"not ok - {name}: {len(missing)} are missing")
    else:
        print(f"ok - {name}")
    return bool(qemu) and not missing


def judge():
    """One guest. Return: whether all is well."""
    with tempfile.TemporaryDirectory() as folder:
        qmp_path, nbd_path = os.path.join(folder, "qmp"), os.path.join(folder, "nbd")
        guest = subprocess.Popen(
            ["tools/lab/run", "--verbose", "--timeout", "600", "--retries", "0", "--qmp", qmp_path, *sys.argv[1:], "--",
             "tests/vm/oracle-load", str(LOAD_S), *DRIVES],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            wait_line(guest, "ready")
            qmp = Qmp(qmp_path)
            for drive in DRIVES:
                qmp("block-dirty-bitmap-add", node=drive, name=drive, granularity=GRAIN)
            guest.stdin.write("go\n")
            guest.stdin.flush()
            tracker = taken_by_tracker(wait_line(guest, "taken"))
            qmp("nbd-server-start", addr={"type": "unix", "data": {"path": nbd_path}})
            good = True
            for drive in DRIVES:
                qmp("block-dirty-bitmap-disable", node=drive, name=drive)
                qmp("block-export-add", type="nbd", id="nbd-" + drive, name=drive,
                    **{"node-name": drive}, bitmaps=[drive])
                good &= compare(drive, seen_by_qemu(nbd_path, drive), tracker[drive])
            guest.stdin.write("end\n")
            guest.stdin.close()
            status = guest.wait(60)
            if status != 0:
                print(f"not ok - the guest came to a bad end ({status})")
            return good and status == 0
        finally:
            guest.terminate()
            guest.wait()


def main():
    try:
        return judge()
    except EmulatorCrash:
        print("lab: emulator crash 1 of this run, tried again", file=sys.stderr)
        return judge()


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except (EmulatorCrash, RuntimeError, subprocess.SubprocessError, OSError) as error:
        print(f"not ok - oracle: {error}")
        sys.exit(1)
