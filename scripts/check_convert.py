#!/usr/bin/env python3
"""Converts a full-size checkpoint of random weights by both INT8 schemes and holds the result
against its bars: seconds, peak memory, size, and that the Python package safetensors lists it.
Exit status 1 if one is missed. Needs the release build of octet; standard library only, but pip
fetches safetensors into build/python where it is not installed.

usage: check_convert.py [SHAPE]   (r1-distill-qwen-1.5b unless given: 5.5 GB of disk)
"""
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time

MAX_SECONDS = 180
MAX_BYTES_RESIDENT = 1e9
MAX_SHARE_OF_FP32 = 0.26

ROOT = pathlib.Path(__file__).resolve().parent.parent
OCTET = ROOT / "build/release/bin/octet"
PYTHON_PACKAGES = ROOT / "build/python"
LIST = """
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="np") as file:
    assert file.metadata()["octet.format"] in ("1", "2"), file.metadata()
    print(sum(1 for name in file.keys() if file.get_slice(name).get_shape() is not None))
"""


def convert(source, scheme, output):
    """Seconds and peak resident bytes."""
    start = time.monotonic()
    process = subprocess.Popen([OCTET, "convert", source, "--scheme", scheme, "-o", output],
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"octet convert --scheme {scheme} failed, exit status "
                 f"{os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def python_environment():
    """Where safetensors and numpy can be imported; None if they cannot be had."""
    if all(importlib.util.find_spec(name) for name in ("safetensors", "numpy")):
        return os.environ
    if not PYTHON_PACKAGES.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", PYTHON_PACKAGES,
               "safetensors", "numpy"]
        if subprocess.run(pip).returncode != 0:
            return None
    return {**os.environ, "PYTHONPATH": str(PYTHON_PACKAGES)}


def main():
    shape = sys.argv[1] if len(sys.argv) > 1 else "r1-distill-qwen-1.5b"
    environment = python_environment()
    if environment is None:
        print("not run: the listing by Python's safetensors (pip could not install it)")
    missed = False
    with tempfile.TemporaryDirectory(prefix="check-convert.", dir=ROOT / "build") as folder:
        source = pathlib.Path(folder) / shape
        # In its own process: the peak memory of a child includes what its parent held at the fork.
        subprocess.run([sys.executable, ROOT / "scripts/make_random_checkpoint.py", shape, source],
                       check=True)
        fp32_bytes = 2 * (source / "model.safetensors").stat().st_size  # it is BF16
        for scheme in ("w8a8", "w8a8-g128"):
            output = pathlib.Path(folder) / f"{scheme}.safetensors"
            seconds, resident = convert(source, scheme, output)
            share = output.stat().st_size / fp32_bytes
            print(f"{shape} {scheme}: {seconds:.1f} s, peak {resident / 1e6:.0f} MB, "
                  f"{output.stat().st_size / 1e6:.0f} MB = {100 * share:.2f} % of fp32", flush=True)
            missed |= seconds > MAX_SECONDS or resident > MAX_BYTES_RESIDENT
            missed |= share > MAX_SHARE_OF_FP32
            if environment:
                listing = subprocess.run([sys.executable, "-c", LIST, output], env=environment,
                                         capture_output=True, text=True)
                missed |= listing.returncode != 0
                print(f"  safetensors lists {listing.stdout.strip()} tensors"
                      if listing.returncode == 0 else listing.stderr)
            output.unlink()
    if missed:
        sys.exit(f"missed a bar: {MAX_SECONDS} s, {MAX_BYTES_RESIDENT / 1e6:.0f} MB, "
                 f"{100 * MAX_SHARE_OF_FP32:.0f} % of fp32, listed by safetensors")


if __name__ == "__main__":
    main()
