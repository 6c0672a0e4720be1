"""Random blocks of every quantized GGUF type that octet reads, and what gguf-py makes of them.

usage: dequantize.py FOLDER  (needs PyPI's gguf and safetensors; made with gguf 0.19.0)
Writes FOLDER/dequantize/expected.safetensors: TYPE.blocks U8 [blocks, bytes], TYPE.values F32.
The bytes come from a fixed generator; only the fp16 scales are kept finite.
"""
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

# Where a block has its fp16 numbers, in bytes.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}


def random_bytes(state):
    """The high bytes of a 32-bit linear congruential generator (Numerical Recipes' constants)."""
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state >> 24


def main():
    source = random_bytes(1)
    tensors = {}
    for name, halves in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        count = 3 if values == 256 else 12
        blocks = np.array([next(source) for _ in range(count * size)], np.uint8).reshape(count, size)
        for at in halves:
            high = blocks[:, at + 1]
            high[high & 0x7C == 0x7C] &= 0xBF  # neither infinity nor NaN
            high[0] &= 0x83  # a subnormal scale in each type
        tensors[name + ".blocks"] = blocks
        tensors[name + ".values"] = gguf.dequantize(blocks, kind).astype(np.float32)
        assert np.isfinite(tensors[name + ".values"]).all()
    folder = os.path.join(sys.argv[1], "dequantize")
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, "expected.safetensors"))


main()
