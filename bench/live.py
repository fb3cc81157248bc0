#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""For live.sh: latencies out of fio's log, figures out of a report, and the block job's driver.

live.py latency LOG FROM_MS TO_MS       completions in that time (since 1970): p50 p99 p999 max_us iops
live.py longest LOG FROM_MS TO_MS       the longest one, in us
live.py report JSON                     copied recopied written predicted_ns blackout_ns user_ns elapsed_ns
live.py mirror SOCKET MODE SPEED LIMIT_S  moves node src to node dst; prints began_ms ready_ms ended_ms copied
"""
import json
import socket
import sys
import time


def samples(log, first_ms, last_ms):
    """Latencies, in us, of what ended in that time."""
    found = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            fields = line.split(",", 2)
            at_ms = int(fields[0])
            if first_ms <= at_ms < last_ms:
                found.append(int(fields[1]) / 1000)
    return sorted(found)


def latency(log, first_ms, last_ms):
    found = samples(log, first_ms, last_ms)
    if not found:
        return "- - - - 0"

    def at(part):
        return found[min(len(found) - 1, int(part * len(found)))]

    iops = len(found) / ((last_ms - first_ms) / 1000)
    return f"{at(0.5):.0f} {at(0.99):.0f} {at(0.999):.0f} {found[-1]:.0f} {iops:.0f}"


def report(path):
    with open(path, encoding="utf-8") as file:
        whole = json.load(file)
    totals = whole["totals"]
    blackout = whole["blackout"] or {}
    return " ".join(str(n) for n in (
        totals["copied_bytes"], totals["recopied_bytes"], totals["source_write_bytes"],
        blackout.get("predicted_ns", 0), blackout.get("total_ns", 0), blackout.get("user_ns", 0),
        whole["elapsed_ns"]))


class Monitor:
    """QMP: one JSON object a line."""

    def __init__(self, path):
        end = time.monotonic() + 10
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("r", encoding="utf-8")
        self.events = []
        self.file.readline()
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.file.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                sys.exit(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def has(self, name):
        return any(event["event"] == name for event in self.events)


def now_ms():
    return int(time.time() * 1000)


def mirror(path, mode, speed, limit_s):
    """Until the job is ready, then over to the target, as its users do. ready_ms 0: it never was."""
    monitor = Monitor(path)
    began_ms, ready_ms, copied = now_ms(), 0, 0
    monitor.run("blockdev-mirror", **{"job-id": "live", "device": "src", "target": "dst",
                                      "sync": "full", "copy-mode": mode, "speed": speed})
    while not monitor.has("BLOCK_JOB_COMPLETED"):
        for job in monitor.run("query-block-jobs"):
            copied = max(copied, job["offset"])
        if ready_ms == 0 and monitor.has("BLOCK_JOB_READY"):
            ready_ms = now_ms()
            monitor.run("block-job-complete", device="live")
        if ready_ms == 0 and now_ms() - began_ms > limit_s * 1000:
            monitor.run("block-job-cancel", device="live", force=True)
            limit_s = float("inf")
        if monitor.has("BLOCK_JOB_CANCELLED"):
            return f"{began_ms} 0 {now_ms()} {copied}"
        time.sleep(0.005)
    return f"{began_ms} {ready_ms} {now_ms()} {copied}"


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    if verb == "latency":
        print(latency(arguments[0], int(arguments[1]), int(arguments[2])))
    elif verb == "longest":
        found = samples(arguments[0], int(arguments[1]), int(arguments[2]))
        print(f"{found[-1]:.0f}" if found else "-")
    elif verb == "report":
        print(report(arguments[0]))
    elif verb == "mirror":
        print(mirror(arguments[0], arguments[1], int(arguments[2]), float(arguments[3])))
    else:
        sys.exit(__doc__)


main()
