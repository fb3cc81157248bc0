#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A host at a socket of godwit-ssd, for tests of what it tells: ssd_host.py SOCKET COMMAND...

Starts the controller, with one pair of I/O queues, and does in turn
  write LBA[+COUNT], read LBA[+COUNT]    of namespace 1, blocks of 512 bytes
  set FID=VALUE, save FID=VALUE          Set Features (with the save bit)
  get FID, saved FID, supported FID      Get Features: prints the dword, in decimal
A status that is not zero is printed as "status SCT-and-SC in hexadecimal".
"""
import array
import json
import mmap
import os
import socket
import struct
import sys
import time

VERSION, DMA_MAP, REGION_WRITE = 1, 2, 10
BAR0, CONFIGURATION = 0, 7
MEMORY_BYTES, PAGE, ENTRIES, PATIENCE_S = 1 << 20, 4096, 64, 60
BUFFER = 64 * PAGE
SELECT = {"get": 0, "saved": 2, "supported": 3}


class Host:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.memory_fd = os.memfd_create("host")
        os.ftruncate(self.memory_fd, MEMORY_BYTES)
        self.memory = mmap.mmap(self.memory_fd, MEMORY_BYTES)
        self.tail, self.seen = [0, 0], [0, 0]
        self.ask(VERSION, struct.pack("<HH", 0, 0) + json.dumps({"capabilities": {}}).encode() + b"\0")
        self.ask(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, MEMORY_BYTES), self.memory_fd)
        self.write(CONFIGURATION, 4, b"\x06\x00")		# memory space, bus master
        self.register(0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1))
        for offset, page in ((0x28, 1), (0x30, 2)):
            self.register(offset, page * PAGE)
            self.register(offset + 4, 0)
        self.register(0x14, 0x00460001)
        self.execute(0, 0x05, 0, 3 * PAGE, (ENTRIES - 1) << 16 | 1, 1)
        self.execute(0, 0x01, 0, 4 * PAGE, (ENTRIES - 1) << 16 | 1, 1 << 16 | 1)

    def ask(self, command, payload, fd=None):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.socket.sendmsg([struct.pack("<HHIII", 1, command, 16 + len(payload), 0, 0), payload], rights)
        head = self.socket.recv(16, socket.MSG_WAITALL)
        _, _, size, flags, error = struct.unpack("<HHIII", head)
        if size > 16:
            self.socket.recv(size - 16, socket.MSG_WAITALL)
        if flags & 0x20:
            sys.exit(f"message {command}: {os.strerror(error)}")

    def write(self, region, offset, data):
        self.ask(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)

    def register(self, offset, value):
        self.write(BAR0, offset, struct.pack("<I", value))

    def execute(self, queue, opcode, nsid, prp, cdw10, cdw11=0, cdw12=0):
        """Return: status, dword 0."""
        entry = struct.pack("<BBHI16xQQ6I", opcode, 0, self.seen[queue] & 0xffff, nsid, prp, prp + PAGE,
                            cdw10, cdw11, cdw12, 0, 0, 0)
        at = (1 + 3 * queue) * PAGE + self.tail[queue] * 64
        self.memory[at:at + 64] = entry
        self.tail[queue] = (self.tail[queue] + 1) % ENTRIES
        self.register(0x1000 + 8 * queue, self.tail[queue])
        at = (2 + queue) * PAGE + self.seen[queue] % ENTRIES * 16
        phase = 1 - self.seen[queue] // ENTRIES % 2
        until = time.monotonic() + PATIENCE_S
        while self.memory[at + 14] & 1 != phase:
            if time.monotonic() > until:
                sys.exit(f"opcode {opcode:x}h is not completed")
            time.sleep(0.001)
        self.seen[queue] += 1
        self.register(0x1004 + 8 * queue, self.seen[queue] % ENTRIES)
        dw0, status = struct.unpack("<I10xH", self.memory[at:at + 16])
        return status >> 1 & 0x7ff, dw0


def run(host, word, value):
    if word in ("write", "read"):
        lba, _, count = value.partition("+")
        return host.execute(1, 1 if word == "write" else 2, 1, BUFFER, int(lba), 0, int(count or 1) - 1)
    if word in SELECT:
        return host.execute(0, 0x0a, 0, BUFFER, SELECT[word] << 8 | int(value, 0))
    fid, _, number = value.partition("=")
    return host.execute(0, 0x09, 0, BUFFER, (word == "save") << 31 | int(fid, 0), int(number, 0))


def main():
    host, words = Host(sys.argv[1]), sys.argv[2:]
    for word, value in zip(words[::2], words[1::2]):
        status, dw0 = run(host, word, value)
        if status != 0:
            print(f"status {status:x}")
        elif word in SELECT:
            print(dw0)


main()
