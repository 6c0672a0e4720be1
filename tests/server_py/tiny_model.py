"""A tiny model with a tokenizer: the weights of a fixture, a token for each byte, and a chat template.

Ids 0 to 255 are the bytes in GPT-2's order, 256 <|im_start|>, 257 <|im_end|> (an end token), and in
a model that thinks 258 <think>, 259 </think>; ids beyond have no text.
"""

import json
import pathlib
import shutil

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# R1-Distill's template opens the reasoning itself.
THINKING_TEMPLATE = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


def _byte_vocabulary():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (chr(0x100 + i) for i in range(256))
    return {(chr(b) if b in printable else next(others)): b for b in range(256)}


def make_tiny_model(fixture: pathlib.Path, folder: pathlib.Path, thinking=False) -> pathlib.Path:
    folder.mkdir()
    shutil.copy(fixture / "model.safetensors", folder)
    # The weights are random, so any length will do.
    config = json.loads((fixture / "config.json").read_text()) | {"max_position_embeddings": 8192}
    added = ["<|im_start|>", "<|im_end|>"] + (["<think>", "</think>"] if thinking else [])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": 256 + i, "content": content, "special": i < 2, **flags}
            for i, content in enumerate(added)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": _byte_vocabulary(), "merges": []},
    }
    template = THINKING_TEMPLATE if thinking else TEMPLATE
    files = {
        "config.json": config,
        "generation_config.json": {"eos_token_id": 257},
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"eos_token": "<|im_end|>", "chat_template": template},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder
