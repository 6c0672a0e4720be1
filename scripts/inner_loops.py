#!/usr/bin/env python3
"""Counts the instructions of a kernel's inner loops: whether a compiler keeps sums in registers,
and how fast ARM's are, which QEMU cannot tell.

usage: inner_loops.py OBJECT INSTRUCTION [--mca LLVM-MCA --cpu CPU]

OBJECT is an object file for AArch64 or x86-64, INSTRUCTION the one that multiplies (sdot, smmla,
sadalp, fmla; vpdpbusd, vpmaddwd, vfmadd231ps).
Prints, for each innermost loop with at least 8 of them, and one in eight instructions: how many,
the instructions in all, the vector registers that loads fill, those put on the stack (what is only
read there are constants), and, with llvm-mca (16 or later; AArch64), the cycles of a pass on CPU
(neoverse-n1, ...) if every load hits the first cache. Exits with 1 if there is no such loop, or if
one puts a vector register on the stack.
"""
import argparse
import re
import subprocess
import sys

PASSES = 100
AARCH64, X86_64 = 183, 62  # e_machine


def machine(path):
    with open(path, "rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF":
        sys.exit(f"{path}: no object file")
    found = int.from_bytes(header[18:20], "little")
    if found not in (AARCH64, X86_64):
        sys.exit(f"{path}: of machine {found}, {AARCH64} (AArch64) or {X86_64} (x86-64) expected")
    return found


def functions(path):
    """(name, [(address, instruction, operands)]) of each function."""
    objdump = "aarch64-linux-gnu-objdump" if machine(path) == AARCH64 else "objdump"
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", "-C", path],
        check=True, capture_output=True, text=True).stdout
    for part in re.split(r"\n(?=[0-9a-f]+ <)", text)[1:]:
        name = re.match(r"[0-9a-f]+ <(.*)>:", part)[1]
        lines = re.findall(r"^\s+([0-9a-f]+):\s+(?:\{vex\} )?(\S+)[ \t]*(.*)$", part, re.MULTILINE)
        yield name, [(int(address, 16), name, operands) for address, name, operands in lines]


def innermost_loops(body):
    """The instructions between a backward branch and its target, if no other such pair is inside."""
    index = {address: i for i, (address, _, _) in enumerate(body)}
    loops = []
    for i, (_, name, operands) in enumerate(body):
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if is_branch(name) and target:
            first = index.get(int(target[1], 16), i)
            if first < i:
                loops.append((first, i))
    for first, last in loops:
        if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops):
            yield body[first:last + 1]


def is_branch(name):
    return re.match(r"b$|b\.|cbn?z|tbn?z|j", name) is not None


def is_vector(operands):
    return re.search(r"^\{?[qvds]\d|%[xyz]mm", operands) is not None


def vector_loads(loop):
    return sum(2 if name == "ldp" else 1 for _, name, operands in loop
               if is_vector(operands) and (name.startswith("ld") or "),%" in operands))


def vector_spills(loop):
    return sum(is_vector(operands) and ("[sp" in operands and name.startswith("st")
                                        or operands.endswith("(%rsp)"))
               for _, name, operands in loop)


def cycles(loop, mca, cpu):
    """Cycles of a pass by llvm-mca's model of the processor."""
    lines = [f"{name} {re.sub(r'(//|<).*', '', operands)}" for _, name, operands in loop
             if not is_branch(name)]
    report = subprocess.run(
        [mca, "--march=aarch64", f"--mcpu={cpu}", "--mattr=+dotprod,+i8mm",
         f"--iterations={PASSES}"],
        input="\n".join(lines), check=True, capture_output=True, text=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / PASSES


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("object")
    parser.add_argument("instruction")
    parser.add_argument("--mca")
    parser.add_argument("--cpu", default="neoverse-n1")
    arguments = parser.parse_args()
    seen = set()
    spilled = False
    for name, body in functions(arguments.object):
        for loop in innermost_loops(body):
            count = sum(instruction == arguments.instruction for _, instruction, _ in loop)
            if count < 8 or count * 8 < len(loop):
                continue
            line = (f"{count} {arguments.instruction} of {len(loop)} instructions, "
                    f"{vector_loads(loop)} loads, {vector_spills(loop)} spills")
            if arguments.mca:
                line += f", {cycles(loop, arguments.mca, arguments.cpu):.1f} cycles"
            spilled = spilled or vector_spills(loop) > 0
            if line not in seen:
                print(line)
            seen.add(line)
    return 1 if spilled or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
