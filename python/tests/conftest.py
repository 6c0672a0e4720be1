"""A tiny model with random weights (tests/data) and a tokenizer of single bytes."""

import io
import json
import os
import pathlib
import tarfile

import pytest

import octet

DATA = pathlib.Path(__file__).parents[2] / "tests" / "data"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_vocabulary():
    """GPT-2's map of bytes to printable characters: bytes that are printable stand for themselves."""
    vocabulary, shifted = {}, 0
    for byte in range(256):
        itself = 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE
        vocabulary[chr(byte) if itself else chr(0x100 + shifted)] = byte
        shifted += not itself
    return vocabulary


def added_token(id, content):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": content, "special": True, **flags}


def write_tokenizer(folder):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [added_token(256, "<|im_start|>"), added_token(257, "<|im_end|>")],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": byte_vocabulary(), "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = {"eos_token": "<|im_end|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 257}))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A Hugging Face directory, with expected.safetensors of transformers' results in it."""
    parts = sorted(DATA.glob("tiny-qwen2.tar.xz.?"))
    archive = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(folder)
    write_tokenizer(folder / "tiny-qwen2")
    return folder / "tiny-qwen2"


@pytest.fixture(scope="session")
def tiny_file(tiny_folder):
    """The same, converted."""
    path = tiny_folder / "tiny.int8.safetensors"
    octet.convert(tiny_folder, path)
    return path


@pytest.fixture(scope="session")
def model(tiny_file):
    return octet.Model(tiny_file, threads=2)


@pytest.fixture
def session(model):
    return octet.Session(model, context=512)


@pytest.fixture(scope="session")
def smollm2():
    path = os.environ.get("OCTET_SMOLLM2")
    if not path:
        pytest.skip("not run: OCTET_SMOLLM2 names no model")
    return octet.Model(path, threads=2)
