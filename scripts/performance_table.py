#!/usr/bin/env python3
"""The first table of docs/performance.md, as Markdown: rows of `octet bench`, in turns.

usage: performance_table.py [--rounds 3] [--rows TEXT] [--split GB/s]
                            -- MODEL [octet bench's options]

A shared machine changes within seconds. So all rows are run once a round, in short repetitions with
the peaks measured before and after each, and a repetition counts only where these two agree within
a twentieth (the last column says how many did, of how many). Rates and shares are medians of what
counts, with the least and the most; decode has a row for each of the kinds of minutes that --split
tells apart. --rows: only rows whose options contain TEXT. Standard library only. Needs the release
build of octet (or OCTET, its path); the machine should do nothing else.
"""
import argparse
import statistics
import sys

from octet_bench import bench

AVX2 = {"OCTET_MAX_ISA": "avx2"}
# (environment, options, speeds that the row shows)
ROWS = (
    ({}, "--prompt 512 --depth 16 --gen 12 --reps 8", ("prefill", "decode")),
    ({}, "--threads 1 --prompt 512 --depth 16 --gen 8 --reps 5", ("prefill", "decode")),
    ({}, "--prompt 2048 --gen 1 --reps 2", ("prefill",)),
    ({}, "--prompt 512 --depth 16 --gen 1 --reps 5 --kv-cache int16", ("prefill",)),
    ({}, "--prompt 2048 --gen 1 --reps 2 --kv-cache int16", ("prefill",)),
    ({}, "--prompt 2048 --gen 1 --reps 2 --kv-cache int8", ("prefill",)),
    ({}, "--scheme w8a8-g128 --prompt 512 --depth 16 --gen 12 --reps 8", ("prefill", "decode")),
    ({}, "--depth 256 --prompt 1 --gen 12 --reps 10", ("decode",)),
    ({}, "--batch 8 --depth 256 --prompt 1 --gen 8 --reps 10", ("decode",)),
    (AVX2, "--prompt 512 --depth 16 --gen 12 --reps 5", ("prefill", "decode")),
)


def steady(repetition):
    before, after = repetition["peak_before"], repetition["peak_after"]
    return abs(before - after) < 0.05 * max(before, after)


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def cells(repetitions, all_repetitions):
    count = f"{len(repetitions)} of {all_repetitions} |"
    if not repetitions:
        return f"| | | | {count}"
    rates = [r["tokens_per_second"] for r in repetitions]
    shares = [100 * r["share"] for r in repetitions]
    peaks = [max(r["peak_before"], r["peak_after"]) / 1e9 for r in repetitions]
    return (f"| {spread(rates)} | {spread(shares)} % | {min(peaks):.0f} to {max(peaks):.0f} "
            f"| {count}")


def rows_of(repetitions, speed, split):
    """The cells of a speed's rows."""
    kept = [r for r in repetitions if steady(r)]
    if speed == "prefill" or not split:
        return [cells(kept, len(repetitions))]
    kinds = [], []
    for r in kept:
        kinds[max(r["peak_before"], r["peak_after"]) <= 1e9 * split].append(r)
    return [cells(kind, len(repetitions)) for kind in kinds if kind] or [cells([], len(repetitions))]


def main():
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="")
    parser.add_argument("--split", type=float, default=0)
    own = parser.parse_args(sys.argv[1:split])
    arguments = sys.argv[split + 1:]
    if not arguments:
        sys.exit(__doc__)
    rows = [row for row in ROWS if own.rows in row[1]]
    results = [{speed: [] for speed in row[2]} for row in rows]
    for turn in range(own.rounds):
        for row, (environment, options, speeds) in enumerate(rows):
            print(f"round {turn + 1}: {options}", file=sys.stderr, flush=True)
            result = bench([*arguments, *options.split()], environment)
            for speed in speeds:
                results[row][speed] += result[speed]["repetitions"]
    print("| options | speed | tokens/s | share of the peak or the bandwidth | peak, G/s "
          "| repetitions |\n|---|---|---|---|---|---|")
    for (environment, options, speeds), of_row in zip(rows, results):
        name = " ".join([*(f"{k}={v}" for k, v in environment.items()), options])
        for speed in speeds:
            for row in rows_of(of_row[speed], speed, own.split):
                print(f"| `{name}` | {speed} {row}")


if __name__ == "__main__":
    main()
