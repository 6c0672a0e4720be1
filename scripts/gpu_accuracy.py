#!/usr/bin/env python3
"""A model on a CUDA device against the same weights on the CPU: perplexity of a text, logits with
given tokens, greedy continuations. Needs Python and numpy.

usage: gpu_accuracy.py OCTET MODEL TEXT PROMPTS.json [OPTIONS of octet]
PROMPTS.json: tests/data/smollm2's greedy.json.
"""
import json
import subprocess
import sys

import numpy

octet, model, text, prompts_path, *options = sys.argv[1:]
devices = ("cpu", "cuda")


def run(command, device, *arguments, stdin=None):
    result = subprocess.run([octet, command, model, *arguments, *device_options(command, device)],
                            capture_output=True, text=True, input=stdin)
    if result.returncode != 0:
        sys.exit(result.stderr)
    return result.stdout


def device_options(command, device):
    return [] if command == "tokenize" else ["--device", device, *options]


def tensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    types = {"F32": numpy.float32, "I32": numpy.int32}
    return {name: numpy.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]],
                                   types[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


def logits(device, lists, *more):
    with open("/tmp/octet-ids.json", "w") as file:
        json.dump(lists, file)
    path = f"/tmp/octet-{device}.safetensors"
    run("logits", device, "--ids-file", "/tmp/octet-ids.json", "-o", path, *more)
    return tensors(path)


def margin(row):
    best = numpy.partition(row, -2)[-2:]
    return float(abs(best[1] - best[0]))


def compare_perplexity():
    found = {d: json.loads(run("eval", d, "--text", text, "--json"))["perplexity"] for d in devices}
    print(f"perplexity: cpu {found['cpu']:.5f}, cuda {found['cuda']:.5f}: "
          f"{100 * (found['cuda'] / found['cpu'] - 1):+.4f} %")


def compare_logits():
    with open(text) as file:
        line = json.dumps({"text": file.read()[:4000]})
    ids = json.loads(run("tokenize", "", stdin=line + "\n"))["ids"][:256]
    cpu, cuda = (logits(d, [ids])["logits"].astype(numpy.float64) for d in devices)
    cosine = (cpu * cuda).sum(1) / numpy.sqrt((cpu * cpu).sum(1) * (cuda * cuda).sum(1))
    other = [i for i in range(len(ids)) if cpu[i].argmax() != cuda[i].argmax()]
    print(f"logits of {len(ids)} given tokens: least cosine {cosine.min():.7f}, "
          f"largest difference {abs(cpu - cuda).max():.4f}, another best id at {len(other)}, "
          f"margins there {[round(margin(cpu[i]), 4) for i in other]}")


def compare_greedy():
    with open(prompts_path) as file:
        prompts = [p["prompt_ids"] for p in json.load(file)["prompts"]]
    count = 64
    cpu, cuda = (logits(d, prompts, "--last", "--greedy", str(count)) for d in devices)
    for i, prompt in enumerate(prompts):
        a, b = (list(map(int, t[f"greedy.{i}"])) for t in (cpu, cuda))
        if a == b:
            print(f"greedy, prompt {i}: the same {count} tokens")
            continue
        at = next(j for j in range(count) if a[j] != b[j])
        row = logits("cpu", [prompt + a[:at]], "--last")["logits"][0]
        print(f"greedy, prompt {i}: differs from token {at} on; the CPU's margin there is "
              f"{margin(row):.4f}")


compare_perplexity()
compare_logits()
compare_greedy()
