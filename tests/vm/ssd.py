#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The software SSD in a real guest: the kernel's own driver on four of its controllers, two of them
of a subsystem that can migrate.

tests/vm/ssd.py OPTIONS-OF-LAB-RUN... [quick | whole]: TAP lines, most of them from tests/vm/ssd-guest.
In `whole`, a second guest is connected to the same process after the first has ended; then the
process dies.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

BUILD = os.environ.get("GW_BUILD") or "build"
# Silence that ends the connection for good is 5 s by default; a busy machine can be that slow.
PATIENCE_MS = 60000
# Of a guest: what ends the test as a whole ends it, too.
LIMIT_S = os.environ.get("GW_TEST_LIMIT_S") or "1700"
EMULATOR_BROKE = 121


# Whoever ends us with it wants the guest gone, too, and the folder.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class Lines:
    """What is printed, unless the emulator broke the guest: then all of it is done again."""

    def __init__(self):
        self.lines = []

    def add(self, line):
        self.lines.append(line)

    def say(self, good, name):
        self.add(f"{'ok' if good else 'not ok'} - {name}\n")


def plug(path, slot):
    return ["--qemu-arg=-device", "--qemu-arg=" + json.dumps({
        "driver": "vfio-user-pci", "addr": f"{slot:x}.0", "x-msg-timeout": PATIENCE_MS,
        "socket": {"type": "unix", "path": path}})]


class Ssd:
    """Two subsystems of two controllers each, in a process."""

    def __init__(self, folder):
        self.sockets = [f"{folder}/{i}.sock" for i in range(4)]
        command = [f"{BUILD}/godwit-ssd",
                   "--subsystem", f"{folder}/plain,size=512M,serial=GWSSD",
                   "--listen", self.sockets[0], "--listen", self.sockets[1],
                   "--subsystem", f"{folder}/lm,preset=hmlm,size=64M,serial=GWLM",
                   "--listen", self.sockets[2], "--listen", self.sockets[3]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in self.sockets:
            if not self.process.stdout.readline():
                raise RuntimeError("godwit-ssd does not start")

    def devices(self):
        return [word for slot, path in enumerate(self.sockets, 0x10) for word in plug(path, slot)]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Return: whether it had lived until now, and ends well."""
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGTERM)
        return alive and self.process.wait(timeout=120) == 0


def guest(ssd, lines, options, words, on_line, script="tests/vm/ssd-guest"):
    """A guest from boot to end; on_line(line, process) gets what is for the host."""
    command = ["tools/lab/run", "--verbose", "--retries", "0", "--timeout", LIMIT_S, "--drive", "none",
               *options, *ssd.devices(), "--", "bash", script, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith("not ok"):
                print("# " + line, file=sys.stderr, end="")
            if line.startswith("@"):
                on_line(line.split(), process)
            else:
                lines.add(line)
        status = process.wait()
    finally:
        process.terminate()
    if status >= 120:
        lines.say(False, f"the guest came to a bad end ({status})")
    return status


def whole(ssd, lines, options):
    told = {}

    def note(words, _):
        told[words[0]] = words[-1]

    def die(_, process):
        lines.say(ssd.process.poll() is None, "the SSD lived until it was to die")
        ssd.kill()
        process.stdin.write("dead\n")
        process.stdin.flush()

    status = guest(ssd, lines, [*options, "--with", "nvme-cli"], ["whole"], note)
    if status != 0:
        return status
    return guest(ssd, lines, options, ["again", told.get("@sum", "none")], die)


def judge(lines, options, part):
    with tempfile.TemporaryDirectory(prefix="godwit-ssd-") as folder:
        ssd = Ssd(folder)
        try:
            if part == "whole":
                return whole(ssd, lines, options)
            status = guest(ssd, lines, options, [part], lambda *_: None)
            lines.say(ssd.end(), "the SSD lived until it was told to end, and ended well")
            return status
        finally:
            ssd.kill()


def main():
    words = sys.argv[1:]
    part = words.pop() if words and words[-1] in ("quick", "whole") else "whole"
    for _ in range(2):
        lines = Lines()
        status = judge(lines, words, part)
        if status != EMULATOR_BROKE:
            break
    sys.stdout.writelines(lines.lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
