#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The software SSD beside QEMU's own nvme device, in one guest, each on a sparse file in the same
folder: fio on the one and the other in turn. A table of medians, and the ratio.

bench/ssd.py [OPTIONS-OF-LAB-RUN...]. GW_BENCH_S: seconds of each run (4); GW_BENCH_ROUNDS: how often
each of them (3); GW_BENCH_DIR: where the files are (/var/tmp).
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile

BUILD = os.environ.get("GW_BUILD") or "build"
RUN_S = os.environ.get("GW_BENCH_S") or "4"
ROUNDS = os.environ.get("GW_BENCH_ROUNDS") or "3"
SIZE = "256M"
# name, unit, fio's options
RUNS = (
    ("4 KiB random read, depth 1", "IOPS", "--rw=randread --bs=4k --iodepth=1"),
    ("4 KiB random write, depth 1", "IOPS", "--rw=randwrite --bs=4k --iodepth=1"),
    ("4 KiB random read, depth 32", "IOPS", "--rw=randread --bs=4k --iodepth=32"),
    ("4 KiB random write, depth 32", "IOPS", "--rw=randwrite --bs=4k --iodepth=32"),
    ("128 KiB read, depth 8", "MB/s", "--rw=read --bs=128k --iodepth=8"),
    ("128 KiB write, depth 8", "MB/s", "--rw=write --bs=128k --iodepth=8"),
)


def guest_part():
    """In the guest: both disks are filled, then measured in turn; a line of JSON for each run."""
    def disk(serial):
        for name in os.listdir("/sys/block"):
            for at in (f"/sys/block/{name}/device/serial", f"/sys/block/{name}/device/device/serial"):
                if os.path.exists(at):
                    with open(at, encoding="ascii") as file:
                        if file.read().strip() == serial:
                            return "/dev/" + name
        raise RuntimeError("no disk " + serial)

    disks = {"ssd": disk("GWBENCH"), "builtin": disk("GWBUILTIN")}
    for path in disks.values():
        subprocess.run(["dd", "if=/dev/urandom", "of=" + path, "bs=1M", "oflag=direct"],
                       stderr=subprocess.DEVNULL, check=False)
    for round_number in range(int(ROUNDS)):
        for name, unit, options in RUNS:
            # Who comes first takes turns, too.
            for which in sorted(disks, reverse=round_number % 2 == 1):
                out = subprocess.run(
                    ["fio", "--name=bench", "--filename=" + disks[which], "--direct=1",
                     "--ioengine=io_uring", "--time_based", "--ramp_time=1", "--runtime=" + RUN_S,
                     "--output-format=json", *options.split()],
                    stdout=subprocess.PIPE, text=True, check=True).stdout
                job = json.loads(out[out.index("{"):])["jobs"][0]
                side = job["read"] if "read" in options else job["write"]
                value = side["iops"] if unit == "IOPS" else side["bw_bytes"] / 1e6
                print(json.dumps([which, name, value]), flush=True)


def start_ssd(folder):
    path = folder + "/ssd.sock"
    process = subprocess.Popen([f"{BUILD}/godwit-ssd", "--subsystem",
                                f"{folder}/ssd,serial=GWBENCH,size={SIZE}iB", "--listen", path],
                               stdout=subprocess.PIPE, text=True)
    if not process.stdout.readline():
        raise RuntimeError("godwit-ssd does not start")
    device = {"driver": "vfio-user-pci", "x-msg-timeout": 60000, "socket": {"type": "unix", "path": path}}
    return process, ["--qemu-arg=-device", "--qemu-arg=" + json.dumps(device)]


def measure(folder):
    image = folder + "/builtin.img"
    with open(image, "wb") as file:
        file.truncate(256 << 20)
    process, plug = start_ssd(folder)
    try:
        out = subprocess.run(
            ["tools/lab/run", "--drive", f"builtin,size={SIZE},serial=GWBUILTIN,file={image}",
             "--timeout", "900", "--env", "GW_BENCH_S=" + RUN_S, "--env", "GW_BENCH_ROUNDS=" + ROUNDS,
             *sys.argv[1:], *plug, "--", "python3", "bench/ssd.py", "in-guest"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    found = {}
    for line in out.splitlines():
        which, name, value = json.loads(line)
        found.setdefault((which, name), []).append(value)
    return found


def spread(values):
    return f"{statistics.median(values):9.0f} ({min(values):.0f} to {max(values):.0f})"


def main():
    with tempfile.TemporaryDirectory(prefix="godwit-bench-", dir=os.environ.get("GW_BENCH_DIR") or "/var/tmp") as folder:
        found = measure(folder)
    print(f"{'':30}{'':6}{'godwit-ssd':>28}{'nvme of QEMU':>28}  ratio")
    for name, unit, _ in RUNS:
        ssd, builtin = found["ssd", name], found["builtin", name]
        print(f"{name:30}{unit:6}{spread(ssd):>28}{spread(builtin):>28}"
              f"  {statistics.median(ssd) / statistics.median(builtin):.2f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["in-guest"]:
        guest_part()
    else:
        main()
