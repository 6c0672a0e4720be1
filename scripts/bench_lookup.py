#!/usr/bin/env python3
"""Measures prompt lookup: decoding speed with and without it, on a task that repeats its prompt
(a listing to copy with one name changed) and on one that does not (a story, drawn at temperature 1:
greedy, a small model soon repeats itself). Both make the same text, which is compared. Prints rows for docs/performance.md.
usage: bench_lookup.py MODEL [-n TOKENS] [--reps N] [--task NAME] [--octet PATH]"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def listing():
    """60 lines of C that a small model has not seen before."""
    fields = ["width", "height", "depth", "weight", "price", "stock", "rating", "discount",
              "colour", "margin"]
    lines = []
    for field in fields:
        lines += [f"int get_{field}(struct item *box) {{",
                  "    if (box == NULL) return -1;",
                  f"    return box->{field};",
                  "}",
                  f"void set_{field}(struct item *box, int value) {{ box->{field} = value; }}",
                  ""]
    return "\n".join(lines)


TASKS = {
    "edit": (["--greedy"], "Here is a C file:\n```c\n" + listing() + "```\nRepeat the whole file exactly, but "
            "rename the parameter `value` to `amount`. Answer with the code only."),
    "story": (["--temp", "1", "--top-k", "0", "--seed", "1"],
              "Write a long story about a lighthouse keeper who finds a letter in a bottle."),
}


def generate(arguments, task, lookup):
    sampling, prompt = TASKS[task]
    command = [arguments.octet, "run", arguments.model, "-p", prompt, *sampling, "-n",
               str(arguments.tokens), "--lookup", lookup, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(arguments, task):
    runs = {"on": [], "off": []}
    for _ in range(arguments.reps):  # in turns: the machine's speed changes with time
        for lookup in runs:
            runs[lookup].append(generate(arguments, task, lookup))
    texts = {run["text"] for of in runs.values() for run in of}
    if len(texts) != 1:
        sys.exit(f"bench_lookup.py: {task}: the text is not the same with and without lookup")
    rates = {k: sorted(run["decode_tokens_per_second"] for run in of) for k, of in runs.items()}
    cell = {k: f"{statistics.median(r):.1f} ({r[0]:.1f} to {r[-1]:.1f})" for k, r in rates.items()}
    gain = statistics.median(rates["on"]) / statistics.median(rates["off"])
    run = runs["on"][0]
    print(f"| {task} | {run['generated_tokens']} | {cell['off']} | {cell['on']} | {gain:.2f} | "
          f"{run['drafted_tokens']} | {run['accepted_tokens']} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", "--tokens", type=int, default=256)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--octet", default=os.path.join(ROOT, "build/release/bin/octet"))
    arguments = parser.parse_args()
    print("| task | tokens | without, tokens/s | with | gain | drafted | accepted |\n"
          "|---|---|---|---|---|---|---|")
    for task in arguments.task or TASKS:
        measure(arguments, task)


if __name__ == "__main__":
    main()
