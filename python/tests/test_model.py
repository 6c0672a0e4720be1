import json
import signal
import struct
import time

import numpy as np
import pytest

import octet


def read_safetensors(path):
    """Arrays of a safetensors file, by name."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    types = {"F32": np.float32, "I32": np.int32}
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin : 8 + size + end]
        arrays[name] = np.frombuffer(raw, types[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def test_logits_are_those_of_transformers(tiny_folder):
    expected = read_safetensors(tiny_folder / "expected.safetensors")
    name = min(key.removesuffix(".logits") for key in expected if key.endswith(".logits"))
    session = octet.Session(octet.Model(tiny_folder, scheme="f32", threads=2))
    logits = session.evaluate(expected[f"{name}.ids"], rows="all")
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[f"{name}.logits"], atol=2e-4)


def test_rows_of_logits(session):
    ids = session.model.tokenizer.encode("Hello")
    every = session.evaluate(ids, rows="all")
    assert every.shape == (5, session.model.config.vocab_size)
    session.truncate(0)
    last = session.evaluate(ids)
    np.testing.assert_array_equal(last[0], every[-1])
    assert session.evaluate(ids, rows="none").shape[0] == 0
    assert session.tokens == ids + ids
    assert len(session) == 10
    last[0] = 0  # the array is the caller's
    with pytest.raises(ValueError, match="rows"):
        session.evaluate(ids, rows="first")


def test_logits_outlive_the_session(model):
    ids = model.tokenizer.encode("Hello")
    logits = octet.Session(model).evaluate(ids)
    assert np.array_equal(logits, octet.Session(model).evaluate(ids))


def test_facts(model):
    assert model.scheme == "w8a8"
    assert model.device == "cpu"
    assert model.threads == 2
    assert model.kv_cache == "f16"
    assert model.instruction_set in octet.devices()[0].instruction_sets
    assert model.config.family == "qwen2"
    assert model.config.eos_ids == [257]
    assert model.weight_bytes > 0 and model.kv_bytes_per_token > 0


def test_tokenizer(model):
    tokenizer = model.tokenizer
    text = "Grüße, 世界\0<|im_end|>"
    ids = tokenizer.encode(text)
    assert ids == [*"Grüße, 世界\0".encode(), 257]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, keep_special=False) == text.removesuffix("<|im_end|>")
    assert len(tokenizer.encode("<|im_end|>", parse_special=False)) == 10
    assert tokenizer.find("<|im_start|>") == 256
    assert tokenizer.is_special(256) and not tokenizer.is_special(65)
    assert len(tokenizer) == 258
    assert tokenizer.decode(np.array(ids)) == text


def test_tokenizer_without_a_model(tiny_folder, tiny_file, model):
    ids = model.tokenizer.encode("Hello")
    for path in (tiny_folder, tiny_folder / "tokenizer.json", str(tiny_file)):
        assert octet.Tokenizer(path).encode("Hello") == ids


def test_render_chat(model):
    messages: list[octet.Message] = [{"role": "user", "content": "Hi"}]
    expected = "<|im_start|>user\nHi<|im_end|>\n"
    assert model.render_chat(messages, add_generation_prompt=False) == expected
    assert model.render_chat(messages) == expected + "<|im_start|>assistant\n"
    with pytest.raises(KeyError):
        model.render_chat([{"role": "user"}])


def test_errors_have_codes(tmp_path, model):
    with pytest.raises(octet.Error, match="no-such-file") as raised:
        octet.Model("no-such-file")
    assert raised.value.code == octet.ErrorCode.Io
    (tmp_path / "bad.safetensors").write_text("not a model")
    with pytest.raises(octet.Error) as raised:
        octet.Model(tmp_path / "bad.safetensors")
    assert raised.value.code == octet.ErrorCode.InvalidFile
    with pytest.raises(octet.Error, match="w8a8-g128") as raised:
        octet.Model("m", scheme="w4")
    assert raised.value.code == octet.ErrorCode.InvalidArgument
    with pytest.raises(octet.Error, match="1024"):
        octet.Session(model).evaluate([1024])


def test_progress_can_cancel(tiny_folder):
    calls = []
    octet.Model(tiny_folder, progress=lambda done, total: calls.append((done, total)))
    assert calls and calls[-1][0] <= calls[-1][1]
    with pytest.raises(octet.Error) as raised:
        octet.Model(tiny_folder, progress=lambda done, total: False)
    assert raised.value.code == octet.ErrorCode.Cancelled


def test_what_a_progress_function_raises_comes_out(tiny_folder, tmp_path):
    def broken(done, total):
        raise ZeroDivisionError("from progress")

    with pytest.raises(ZeroDivisionError, match="from progress"):
        octet.Model(tiny_folder, progress=broken)
    with pytest.raises(ZeroDivisionError, match="from progress"):
        octet.convert(tiny_folder, tmp_path / "out.safetensors", progress=broken)
    assert not (tmp_path / "out.safetensors").exists()


def test_an_interrupt_ends_a_conversion(tiny_folder, tmp_path):
    """The signal is raised by the first report of progress, in whatever thread that is."""

    def interrupt(*_):
        raise KeyboardInterrupt

    def progress(done, total):
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0.1)

    old = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            octet.convert(tiny_folder, tmp_path / "out.safetensors", progress=progress)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert not (tmp_path / "out.safetensors").exists()


def test_convert(tiny_folder, tmp_path):
    report = octet.convert(tiny_folder, tmp_path / "m.safetensors", scheme="w8a8-g128")
    assert report.output_bytes == (tmp_path / "m.safetensors").stat().st_size
    assert report.calibration_tokens > 0
    assert octet.Model(tmp_path / "m.safetensors").scheme == "w8a8-g128"
    with pytest.raises(ValueError, match="calibration"):
        octet.convert(tiny_folder, tmp_path / "n.safetensors", calibration="yes")
