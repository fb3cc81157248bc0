#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches a migration over its control socket and draws it: converge_plot.py SOCKET OUT.svg TITLE

What is left to copy (of this round, and dirtied since), the rates of copying and of dirtying,
over time, from the socket's progress events. Ends with the migration."""
import json
import math
import socket
import sys
import time

WIDTH, LEFT, RIGHT = 860, 90, 20
PANELS = ((40, 260), (330, 550))        # top and bottom of each, in pixels
MIB = 1 << 20
COLOURS = {"base": "#dbe9f6", "round": "#eef5ea", "quiesced": "#f9dcdc", "waiting": "#f6f1d9"}


def watch(path):
    link = socket.socket(socket.AF_UNIX)
    for _ in range(600):
        try:
            link.connect(path)
            break
        except OSError:
            time.sleep(0.02)
    link.sendall(b'{"schema_version": 1, "command": "watch"}\n')
    samples, began = [], None
    for line in link.makefile():
        progress = json.loads(line).get("progress")
        if not progress or progress["phase"] == "prepare":
            continue
        if progress["total_bytes"] == 0 and progress["phase"] != "quiesced":
            continue
        began = progress["elapsed_ns"] if began is None else began
        if progress["phase"] in ("committed", "ended", "verify"):
            break
        samples.append({
            "s": (progress["elapsed_ns"] - began) / 1e9,
            "phase": progress["phase"], "round": progress["round"],
            "left": progress["total_bytes"] - progress["done_bytes"] + progress["dirty_bytes"],
            "copy": progress["rate_bytes_per_s"], "dirty": progress["dirty_bytes_per_s"]})
    return samples


class Panel:
    def __init__(self, place, seconds, most, least=0.0):
        self.top, self.bottom = place
        self.seconds, self.most, self.least = seconds, most, least

    def x(self, s):
        return LEFT + (WIDTH - LEFT - RIGHT) * s / self.seconds

    def y(self, value):
        if self.least:                  # logarithmic
            value = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        else:
            value = value / self.most
        return self.bottom - (self.bottom - self.top) * value

    def line(self, points, colour):
        path = " ".join(f"{self.x(s):.1f},{self.y(v):.1f}" for s, v in points)
        return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>'

    def ticks(self, values, unit):
        for v in values:
            y = self.y(v)
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ccc"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{v:g} {unit}</text>'


def stretches(samples):
    first = samples[0]
    for last, after in zip(samples, samples[1:] + [None]):
        if after is None or after["round"] != first["round"] or after["phase"] != first["phase"]:
            yield first, (after or last)["s"]
            first = after


def draw(samples, title):
    seconds = max(samples[-1]["s"], 0.1)
    left = Panel(PANELS[0], seconds, max(s["left"] for s in samples) / MIB * 1.3, 0.1)
    rate = Panel(PANELS[1], seconds, max(max(s["copy"], s["dirty"]) for s in samples) / MIB * 1.1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 600" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="600" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="15">{title}</text>']
    for one, end in stretches(samples):
        for panel in (left, rate):
            x = panel.x(one["s"])
            out.append(f'<rect x="{x:.1f}" y="{panel.top}" width="{panel.x(end) - x:.1f}" '
                       f'height="{panel.bottom - panel.top}" '
                       f'fill="{COLOURS.get(one["phase"], "#eee")}" stroke="#bbb"/>')
    out += left.ticks([t for t in (0.1, 1, 10, 100, 1000) if t < left.most], "MiB")
    step = 10 ** math.floor(math.log10(rate.most))
    step = step / 2 if rate.most / step < 3 else step
    out += rate.ticks([i * step for i in range(int(rate.most / step) + 1)], "MiB/s")
    out.append(left.line([(s["s"], s["left"] / MIB) for s in samples], "#1f4e8c"))
    # At the first sample of a round no rate is known yet.
    known = [s for s in samples if s["copy"] > 0]
    out.append(rate.line([(s["s"], s["copy"] / MIB) for s in known], "#2c7a2c"))
    out.append(rate.line([(s["s"], s["dirty"] / MIB) for s in known], "#b3501b"))
    out.append(f'<text x="{LEFT + 8}" y="{PANELS[0][1] - 8}" fill="#1f4e8c">left to copy</text>')
    out.append(f'<text x="{LEFT + 8}" y="{PANELS[1][1] - 24}" fill="#2c7a2c">copied</text>')
    out.append(f'<text x="{LEFT + 8}" y="{PANELS[1][1] - 8}" fill="#b3501b">dirtied</text>')
    every = max(1, round(seconds / 10))
    for s in range(0, int(seconds) + 1, every):
        out.append(f'<text x="{rate.x(s):.1f}" y="{PANELS[1][1] + 18}" text-anchor="middle">{s} s</text>')
    out.append(f'<text x="{LEFT}" y="590">blue: base pass; green: rounds; red: writers stopped</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    samples = watch(sys.argv[1])
    if not samples:
        sys.exit("no progress was seen")
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(draw(samples, sys.argv[3]))


main()
