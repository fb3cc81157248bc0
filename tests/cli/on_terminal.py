#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command with its standard error (and input) on a terminal of a given width.

usage: on_terminal.py COLUMNS STDERR_FILE COMMAND... ; exits as the command does.
With PTY_INPUT in the environment, that text is typed. With PTY_SIGNAL_AFTER=SECONDS
the command gets SIGINT then.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time


def main():
    columns, path, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(command, stdin=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    if os.environ.get("PTY_INPUT"):
        os.write(master, os.environ["PTY_INPUT"].encode())
    after = float(os.environ.get("PTY_SIGNAL_AFTER", "0"))
    began, signalled = time.monotonic(), False
    with open(path, "wb") as out:
        while True:
            ready, _, _ = select.select([master], [], [], 0.05)
            if after and not signalled and time.monotonic() - began > after:
                child.send_signal(signal.SIGINT)
                signalled = True
            if not ready:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            out.write(data)
    sys.exit(child.wait())


main()
