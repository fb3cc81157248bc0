#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a command with a list of ranges whose first bytes end a page of memory.

nvme_list.py DEVICE BYTES dsm FIRST:COUNT...          deallocates these blocks
nvme_list.py DEVICE BYTES copy FIRST:COUNT... TO      copies them to TO and after
"""

import ctypes
import fcntl
import mmap
import struct
import sys

IO_CMD = 0xC0484E43  # NVME_IOCTL_IO_CMD, linux/nvme_ioctl.h
PAGE = mmap.PAGESIZE


def main():
    path, before, kind, *rest = sys.argv[1:]
    to = int(rest.pop()) if kind == "copy" else 0
    entries = b""
    for first, count in (map(int, pair.split(":")) for pair in rest):
        if kind == "copy":
            entries += struct.pack("<QQHHIQ", 0, first, count - 1, 0, 0, 0)
        else:
            entries += struct.pack("<IIQ", 0, count, first)
    pages = mmap.mmap(-1, 4 * PAGE)
    at = PAGE - int(before)
    pages[at : at + len(entries)] = entries
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + at
    opcode, low, high, dword12 = 0x09, len(rest) - 1, 0x4, 0
    if kind == "copy":
        opcode, low, high, dword12 = 0x19, to & 0xFFFFFFFF, to >> 32, len(rest) - 1
    with open(path, "rb") as device:
        nsid = fcntl.ioctl(device, 0x4E40)  # NVME_IOCTL_ID
        command = struct.pack("<BBHIIIQQIIIIIIIIII", opcode, 0, 0, nsid, 0, 0, 0, address, 0, len(entries), low, high,
                              dword12, 0, 0, 0, 0, 0)
        status = fcntl.ioctl(device, IO_CMD, bytearray(command))
    if status != 0:
        sys.exit(f"status {status:#x}")


main()
