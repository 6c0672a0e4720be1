#!/usr/bin/env python3
"""The first table of docs/performance.md, as Markdown: rows of `octet bench`, in turns.

usage: performance_table.py [--rounds 3] [--rows TEXT] -- MODEL [octet bench's options]

A machine's read bandwidth may change within seconds. So all rows are run once a round, and a run
counts only where the peaks before and after it agree within a tenth (the last column says how many
did, of how many). Rates and shares are medians of the runs' medians, with the least and the most.
--rows: only rows whose options contain TEXT. Standard library only. Needs the release build of
octet (or OCTET, its path); the machine should do nothing else.
"""
import argparse
import statistics
import sys

from octet_bench import bench

AVX2 = {"OCTET_MAX_ISA": "avx2"}
# (environment, options, speeds that the row shows)
ROWS = (
    ({}, "--prompt 512 --depth 16 --gen 48", ("prefill", "decode")),
    ({}, "--threads 1 --prompt 512 --depth 16 --gen 32", ("prefill", "decode")),
    ({}, "--prompt 2048 --gen 1", ("prefill",)),
    ({}, "--prompt 2048 --gen 1 --kv-cache int8", ("prefill",)),
    ({}, "--scheme w8a8-g128 --prompt 512 --depth 16 --gen 48", ("prefill", "decode")),
    ({}, "--depth 256 --prompt 1 --gen 48", ("decode",)),
    ({}, "--batch 8 --depth 256 --prompt 1 --gen 24", ("decode",)),
    (AVX2, "--prompt 512 --depth 16 --gen 48", ("prefill", "decode")),
)
SHARES = {"prefill": ("share_of_peak", "int8_ops_per_second"),
          "decode": ("share_of_bandwidth", "read_bytes_per_second")}


def steady(result, peak):
    before, after = result["peaks_before"][peak], result["peaks_after"][peak]
    return abs(before - after) < 0.1 * max(before, after)


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def cells(results, speed):
    share, peak = SHARES[speed]
    kept = [r for r in results if steady(r, peak)]
    if not kept:
        return f"| | | 0 of {len(results)} |"
    rates = [r[speed]["tokens_per_second"]["median"] for r in kept]
    shares = [100 * r[speed][share] for r in kept]
    return f"| {spread(rates)} | {spread(shares)} % | {len(kept)} of {len(results)} |"


def main():
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="")
    own = parser.parse_args(sys.argv[1:split])
    arguments = sys.argv[split + 1:]
    if not arguments:
        sys.exit(__doc__)
    rows = [row for row in ROWS if own.rows in row[1]]
    results = [[] for _ in rows]
    for turn in range(own.rounds):
        for row, (environment, options, _) in enumerate(rows):
            print(f"round {turn + 1}: {options}", file=sys.stderr, flush=True)
            results[row].append(bench([*arguments, *options.split()], environment))
    print("| options | speed | tokens/s | share of the peak or the bandwidth | runs |\n"
          "|---|---|---|---|---|")
    for (environment, options, speeds), of_row in zip(rows, results):
        name = " ".join([*(f"{k}={v}" for k, v in environment.items()), options])
        for speed in speeds:
            print(f"| `{name}` | {speed} {cells(of_row, speed)}")


if __name__ == "__main__":
    main()
