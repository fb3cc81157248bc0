#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's port moves to the controller of another subsystem while fio writes and verifies.

tests/vm/ssd_switch.py OPTIONS-OF-LAB-RUN...: TAP lines, most of them from tests/vm/ssd-switch-guest,
which manages the migration itself, through the two managing controllers. What a VMM would do, the
switch of the port, is done here when the guest asks for it.
"""

import json
import subprocess
import sys
import tempfile

from ssd import BUILD, EMULATOR_BROKE, Lines, Ssd, guest, plug

# Each controller has a disk of its own; a machine that is slow is no reason for a reset.
PARAMETERS = ["--append", "nvme_core.multipath=N", "--append", "nvme_core.io_timeout=240"]


class Pair(Ssd):
    """Two subsystems that can migrate, in a process. The last controller is the target: nobody is
    connected to it."""

    def __init__(self, folder):
        self.sockets = [f"{folder}/{name}.sock" for name in ("a0", "a1", "b0", "b1")]
        self.control = f"{folder}/control.sock"
        command = [f"{BUILD}/godwit-ssd", "--control", self.control,
                   "--subsystem", f"{folder}/a,preset=hmlm,size=32M,serial=GWA",
                   "--listen", self.sockets[0], "--listen", self.sockets[1],
                   "--subsystem", f"{folder}/b,preset=hmlm,size=32M,serial=GWB",
                   "--listen", self.sockets[2], "--listen", self.sockets[3]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in self.sockets:
            if not self.process.stdout.readline():
                raise RuntimeError("godwit-ssd does not start")

    def devices(self):
        return [word for slot, path in enumerate(self.sockets[:3], 0x10) for word in plug(path, slot)]

    def ask(self, *words):
        return subprocess.run([f"{BUILD}/godwit-ssd", "ctl", self.control, *words],
                              stdout=subprocess.PIPE, text=True, check=False)


def judge(lines, options):
    with tempfile.TemporaryDirectory(prefix="godwit-ssd-") as folder:
        ssd = Pair(folder)

        def switch(_, process):
            answer = ssd.ask("switch-port", "1/2", "2/2")
            lines.say(answer.returncode == 0, "the port is switched")
            if answer.returncode != 0:
                lines.add("# " + answer.stdout)
            process.stdin.write("switched\n" if answer.returncode == 0 else "refused\n")
            process.stdin.flush()

        try:
            status = guest(ssd, lines, [*PARAMETERS, *options], [], switch, "tests/vm/ssd-switch-guest")
            if status == 0:
                child = json.loads(ssd.ask("status").stdout)["subsystems"][1]["controllers"][1]
                lines.say(child["read_commands"] > 0 and child["write_commands"] > 0,
                          "the target has executed what came after the switch")
            lines.say(ssd.end(), "the SSD lived until it was told to end, and ended well")
            return status
        finally:
            ssd.kill()


def main():
    for _ in range(2):
        lines = Lines()
        status = judge(lines, sys.argv[1:])
        if status != EMULATOR_BROKE:
            break
    sys.stdout.writelines(lines.lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
