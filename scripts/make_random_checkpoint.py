#!/usr/bin/env python3
"""Writes a Hugging Face checkpoint of a known shape with random BF16 weights: config.json,
generation_config.json and model.safetensors (or shards with an index), no tokenizer.

The same shape, seed and version of Python give the same bytes. Standard library only.

usage: make_random_checkpoint.py r1-distill-qwen-1.5b FOLDER [--shards 2] [--seed 1]
"""
import argparse
import json
import pathlib
import random

BLOCK = 1 << 24  # bytes made at a time


def qwen(hidden, layers, heads, kv_heads, intermediate, theta, positions, tied):
    return {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151936,
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": intermediate, "rope_theta": theta,
        "max_position_embeddings": positions, "tie_word_embeddings": tied, "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "torch_dtype": "bfloat16", "use_sliding_window": False,
        "sliding_window": 4096, "bos_token_id": 151643, "eos_token_id": 151643}


# The public configurations of these models.
SHAPES = {
    "r1-distill-qwen-1.5b": qwen(1536, 28, 12, 2, 8960, 1e4, 131072, False),
    "qwen2.5-0.5b": qwen(896, 24, 14, 2, 4864, 1e6, 32768, True),
    "qwen2.5-1.5b": qwen(1536, 28, 12, 2, 8960, 1e6, 131072, True),
    "qwen1.5-1.8b": qwen(2048, 24, 16, 16, 5504, 1e6, 32768, False),
    "smollm2-135m": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152,
        "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "intermediate_size": 1536, "rope_theta": 1e5,
        "max_position_embeddings": 8192, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "torch_dtype": "bfloat16", "attention_bias": False,
        "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2},
}


def model_tensors(config):
    """Name and shape of every tensor."""
    hidden = config["hidden_size"]
    intermediate = config["intermediate_size"]
    head_dim = hidden // config["num_attention_heads"]
    kv = config["num_key_value_heads"] * head_dim
    tensors = [("model.embed_tokens.weight", [config["vocab_size"], hidden])]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        tensors.append((prefix + "input_layernorm.weight", [hidden]))
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            tensors.append((f"{prefix}self_attn.{name}_proj.weight", [rows, hidden]))
            if config["model_type"] == "qwen2":
                tensors.append((f"{prefix}self_attn.{name}_proj.bias", [rows]))
        tensors += [
            (prefix + "self_attn.o_proj.weight", [hidden, hidden]),
            (prefix + "post_attention_layernorm.weight", [hidden]),
            (prefix + "mlp.gate_proj.weight", [intermediate, hidden]),
            (prefix + "mlp.up_proj.weight", [intermediate, hidden]),
            (prefix + "mlp.down_proj.weight", [hidden, intermediate])]
    tensors.append(("model.norm.weight", [hidden]))
    if not config["tie_word_embeddings"]:
        tensors.append(("lm_head.weight", [config["vocab_size"], hidden]))
    return tensors


def tensor_bytes(shape):
    count = 2
    for extent in shape:
        count *= extent
    return count


def weight_high_bytes():
    """Maps a random byte to the high byte of a BF16: its sign, and all but the last bit of its
    exponent. The low byte (that last bit and the mantissa) stays as it was drawn. The result
    lies between 2^-13 and 2^-4, half of it between 2^-7 and 2^-5, symmetric around 0."""
    table = bytearray(256)
    for drawn in range(256):
        share = drawn & 0x7F
        exponent = 61 if share < 4 else 60 if share < 68 else 59 if share < 108 else \
            58 if share < 122 else 57
        table[drawn] = (drawn & 0x80) | exponent
    return bytes(table)


WEIGHT_HIGH = weight_high_bytes()
NORM_LOW = bytes(0x80 | drawn & 0x1F for drawn in range(256))  # 1.0 to 1.24
NORM_HIGH = bytes([0x3F] * 256)


def random_bf16(generator, size, is_norm):
    block = bytearray(generator.randbytes(size))
    if is_norm:
        block[0::2] = block[0::2].translate(NORM_LOW)
    block[1::2] = block[1::2].translate(NORM_HIGH if is_norm else WEIGHT_HIGH)
    return block


def write_safetensors(path, tensors, generator):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        begin, end = end, end + tensor_bytes(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            left = tensor_bytes(shape)
            while left:
                size = min(left, BLOCK)
                file.write(random_bf16(generator, size, name.endswith("norm.weight")))
                left -= size


def split(tensors, parts):
    """Cuts the list where the sizes sum to about an equal share each."""
    total = sum(tensor_bytes(shape) for _, shape in tensors)
    shards, so_far = [[] for _ in range(parts)], 0
    for name, shape in tensors:
        shards[min(so_far * parts // total, parts - 1)].append((name, shape))
        so_far += tensor_bytes(shape)
    return [shard for shard in shards if shard]


def write_checkpoint(shape, folder, shards=1, seed=1):
    """Returns the bytes of all tensors."""
    config = SHAPES[shape]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")

    generator = random.Random(seed)
    tensors = model_tensors(config)
    total = sum(tensor_bytes(extents) for _, extents in tensors)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, generator)
        return total
    weight_map, parts = {}, split(tensors, shards)
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-{len(parts):05}.safetensors"
        write_safetensors(folder / name, part, generator)
        weight_map.update((tensor, name) for tensor, _ in part)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.shards < 1:
        parser.error("--shards must be at least 1")
    write_checkpoint(arguments.shape, arguments.folder, arguments.shards, arguments.seed)


if __name__ == "__main__":
    main()
