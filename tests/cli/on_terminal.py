#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command with its standard error (and input) on a terminal of a given width.

usage: on_terminal.py COLUMNS STDERR_FILE COMMAND... ; exits as the command does.
With PTY_INPUT in the environment, that text is typed. With PTY_INTERRUPT the command
gets SIGINT when it has said something.
"""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios


def main():
    columns, path, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(command, stdin=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    if os.environ.get("PTY_INPUT"):
        os.write(master, os.environ["PTY_INPUT"].encode())
    interrupts = bool(os.environ.get("PTY_INTERRUPT"))
    with open(path, "wb") as out:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            out.write(data)
            if interrupts:
                child.send_signal(signal.SIGINT)
                interrupts = False
    sys.exit(child.wait())


main()
