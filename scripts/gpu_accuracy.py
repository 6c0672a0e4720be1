#!/usr/bin/env python3
"""A model on a CUDA device against the same weights on the CPU: perplexity of a text, logits with
given tokens, greedy continuations. Beside it the CPU against itself with an fp32 KV cache in place
of fp16: what differences of one rounding grow to where activations are quantized anew each time.
Needs Python and numpy.

usage: gpu_accuracy.py OCTET MODEL TEXT PROMPTS.json [OPTIONS of octet]
PROMPTS.json: tests/data/smollm2's greedy.json.
"""
import json
import subprocess
import sys

import numpy

octet, model, text, prompts_path, *options = sys.argv[1:]
reference = ["--device", "cpu"]
others = {"cuda": ["--device", "cuda"], "cuda, exact": ["--device", "cuda", "--exact"],
          "cpu, fp32 cache": ["--device", "cpu", "--kv-cache", "f32"]}


def run(command, *arguments, stdin=None):
    result = subprocess.run([octet, command, model, *arguments],
                            capture_output=True, text=True, input=stdin)
    if result.returncode != 0:
        sys.exit(result.stderr)
    return result.stdout


def tensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    types = {"F32": numpy.float32, "I32": numpy.int32}
    return {name: numpy.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]],
                                   types[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


def logits(variant, lists, *more):
    with open("/tmp/octet-ids.json", "w") as file:
        json.dump(lists, file)
    path = "/tmp/octet-logits.safetensors"
    run("logits", "--ids-file", "/tmp/octet-ids.json", "-o", path, *variant, *options, *more)
    return tensors(path)


def margin(row):
    best = numpy.partition(row, -2)[-2:]
    return float(abs(best[1] - best[0]))


def perplexity(variant):
    return json.loads(run("eval", "--text", text, "--json", *variant, *options))["perplexity"]


def compare_logits(name, expected, found):
    cosine = (expected * found).sum(1) / numpy.sqrt((expected**2).sum(1) * (found**2).sum(1))
    other = [i for i in range(len(found)) if expected[i].argmax() != found[i].argmax()]
    print(f"{name}: logits of {len(found)} given tokens: cosine {cosine.min():.5f} at least, "
          f"{numpy.median(cosine):.5f} in the middle; another best id at {len(other)}, margins "
          f"there {[round(margin(expected[i]), 3) for i in other]}")


def compare_greedy(name, prompts, expected, found):
    for i, prompt in enumerate(prompts):
        a, b = (list(map(int, t[f"greedy.{i}"])) for t in (expected, found))
        if a == b:
            print(f"{name}: greedy, prompt {i}: the same {len(a)} tokens")
            continue
        at = next(j for j in range(len(a)) if a[j] != b[j])
        row = logits(reference, [prompt + a[:at]], "--last")["logits"][0]
        print(f"{name}: greedy, prompt {i}: differs from token {at} on; the CPU's margin there is "
              f"{margin(row):.3f}")


def main():
    with open(text) as file:
        line = json.dumps({"text": file.read()[:4000]})
    ids = json.loads(run("tokenize", stdin=line + "\n"))["ids"][:256]
    with open(prompts_path) as file:
        prompts = [p["prompt_ids"] for p in json.load(file)["prompts"]]

    def results(variant):
        return (perplexity(variant), logits(variant, [ids])["logits"].astype(numpy.float64),
                logits(variant, prompts, "--last", "--greedy", "64"))

    expected = results(reference)
    for name, variant in others.items():
        found = results(variant)
        print(f"{name}: perplexity {found[0]:.5f}, cpu {expected[0]:.5f}: "
              f"{100 * (found[0] / expected[0] - 1):+.4f} %")
        compare_logits(name, expected[1], found[1])
        compare_greedy(name, prompts, expected[2], found[2])


main()
