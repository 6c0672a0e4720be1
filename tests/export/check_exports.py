"""Whether transformers, compressed-tensors and gguf read what octet exported.

usage: check_exports.py FOLDER
FOLDER holds ct/ and hf/ (directories), m.gguf, and expected.json: {"ids": [...], "logits": [...] of
every position of hf/ by octet in f32, "text": ..., "text_ids": [...]}.
Prints one line a check; fails by an exception.
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, CompressedTensorsConfig

FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # one scheme each in vLLM


def check_compressed(folder):
    stored = load_file(folder / "model.safetensors")
    int8 = sorted(name for name, tensor in stored.items() if tensor.dtype == torch.int8)
    assert int8 and not any(name.startswith("octet.") for name in stored)
    for name in int8:
        for group in FUSED:
            kind = name.split(".")[-2]
            if kind in group:
                assert all(name.replace(kind, other) in int8 for other in group), name
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    scheme = QuantizationConfig.model_validate(config).config_groups["group_0"]
    assert scheme.weights.strategy == "channel" and scheme.input_activations.strategy == "token"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=CompressedTensorsConfig(run_compressed=False))
    state = model.state_dict()
    for name in int8:
        wanted = stored[name].float() * stored[name + "_scale"].float()
        assert (state[name] - wanted).abs().max() <= 1e-6 * wanted.abs().max(), name
    assert torch.equal(state["lm_head.weight"], stored["lm_head.weight"])
    print(f"compressed-tensors: {len(int8)} int8 weights as transformers multiplies them out")


def check_hf(folder, expected):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        logits = model(torch.tensor([expected["ids"]])).logits[0].numpy()
    wanted = np.array(expected["logits"], np.float32).reshape(logits.shape)
    difference = np.abs(logits - wanted).max()
    assert difference <= 1e-4 * np.abs(wanted).max(), difference
    print(f"hf: logits within {difference:.1e} of octet's, largest {np.abs(wanted).max():.1f}")


def check_tokenizer(folder, expected):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(expected["text"], add_special_tokens=False)["input_ids"]
    assert ids == expected["text_ids"], (ids, expected["text_ids"])
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False,
                                         add_generation_prompt=True)
    assert chat == expected["chat"], chat
    print(f"tokenizer of {folder.name}: the same {len(ids)} ids, the same chat")


def check_gguf(path, folder):
    hf = load_file(folder / "model.safetensors")
    reader = gguf.GGUFReader(path)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 4)
    by_gguf = {}
    for name, tensor in hf.items():
        stem, kind = name.rsplit(".", 1)
        by_gguf[f"{names.get_name(stem)}.{kind}"] = tensor.float().numpy()
    assert {tensor.name for tensor in reader.tensors} == set(by_gguf)
    quantized = 0
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        wanted = by_gguf[tensor.name].reshape(values.shape)
        quantized += tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
        assert np.abs(values - wanted).max() <= np.abs(wanted).max() / 200, tensor.name
    assert quantized > 0
    print(f"gguf: {len(reader.tensors)} tensors, {quantized} of them Q8_0")


def main():
    folder = Path(sys.argv[1])
    expected = json.loads((folder / "expected.json").read_text())
    check_compressed(folder / "ct")
    check_hf(folder / "hf", expected)
    for name in ("ct", "hf"):
        check_tokenizer(folder / name, expected)
    check_gguf(folder / "m.gguf", folder / "hf")


if __name__ == "__main__":
    main()
