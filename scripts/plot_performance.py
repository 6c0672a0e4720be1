#!/usr/bin/env python3
"""Draws speed against prompt length, depth and threads from results of `octet bench --json`.

usage: plot_performance.py measure RESULTS -- MODEL [octet bench's options]
           runs the sweeps (a few minutes; the machine should do nothing else) and adds one JSON
           object a line to RESULTS
       plot_performance.py draw RESULTS FOLDER
           writes FOLDER/prompt.svg, depth.svg and threads.svg

Standard library only. Needs the release build of octet (or OCTET, its path) to measure.
"""
import json
import pathlib
import subprocess
import sys

from octet_bench import bench
from svg_chart import COLORS, RIGHT, TOP, Axis, Chart

PROMPTS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048)
DEPTHS = (1024, 2048, 4096, 8192, 16384, 32768)
SHORT = ("--prompt", "8", "--gen", "16")  # where only one of the two speeds is looked at
SIZE = 520, 300


def measure(results, arguments):
    threads = int(subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout)
    sweeps = [("prompt", ("--prompt", str(n), "--gen", "1")) for n in PROMPTS]
    sweeps += [("depth", (*SHORT, "--depth", ",".join(str(n) for n in DEPTHS)))]
    sweeps += [("threads", ("--threads", str(n))) for n in range(1, threads + 1)]
    with open(results, "a", encoding="utf-8") as file:
        for sweep, options in sweeps:
            print(*options, flush=True)
            result = bench([*arguments, *options])
            for point in result.pop("depths", [{}]):
                file.write(json.dumps({"sweep": sweep, **result, **point}) + "\n")
            file.flush()


def ticks(low, high, logarithmic):
    """Round values that cover [low, high]."""
    if logarithmic:
        values, value = [], 1
        while value < high * 1.01:
            if value >= low * 0.99:
                values.append(value)
            value *= 2
        return values[:: 1 + len(values) // 10]
    step = 1
    while high / step > 6:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, int(high) + step, step))


def draw(path, title, x_title, y_title, series, logarithmic):
    """series: {name: [(x, median, min, max)]}"""
    points = [point for values in series.values() for point in values]
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    ys = ticks(0, max(p[3] for p in points), False)
    chart = Chart(SIZE, title, x_title, y_title, Axis(low, high, logarithmic), Axis(0, ys[-1]))
    chart.ticks([x for x in ticks(low, high, logarithmic) if low <= x <= high], ys)
    for line, (color, (name, values)) in enumerate(zip(COLORS, series.items())):
        values = sorted(values)
        chart.line([(x, median) for x, median, _, _ in values], color)
        for x, median, least, most in values:
            chart.range(x, least, most, color)
            chart.point(x, median, color, radius=3)
        chart.text(chart.width - RIGHT, TOP + 14 * line, name, anchor="end", color=color)
    chart.save(path)


def series_of(results, sweep, speed, x):
    """{"scheme, KV cache, instruction set": points} of one sweep."""
    series = {}
    for result in results:
        if result["sweep"] != sweep:
            continue
        rate = result[speed]["tokens_per_second"]
        name = f'{result["scheme"]}, {result["kv_cache"]} KV, {result["isa"]}'
        series.setdefault(name, []).append((x(result), rate["median"], rate["min"], rate["max"]))
    return series


def main():
    if len(sys.argv) > 4 and sys.argv[1] == "measure" and sys.argv[3] == "--":
        return measure(sys.argv[2], sys.argv[4:])
    if len(sys.argv) != 4 or sys.argv[1] != "draw":
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    folder = pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    plots = (("prompt", "prefill", "Prefill", "tokens of the prompt", True,
              lambda r: r["prefill"]["tokens"]),
             ("depth", "decode", "Decode", "tokens in the KV cache", True,
              lambda r: r["decode"]["depth"]),
             ("threads", "prefill", "Prefill of 512", "threads", False, lambda r: r["threads"]))
    for sweep, speed, title, x_title, logarithmic, x in plots:
        series = series_of(results, sweep, speed, x)
        if series:
            draw(folder / f"{sweep}.svg", title, x_title, "tokens/s", series, logarithmic)


if __name__ == "__main__":
    main()
