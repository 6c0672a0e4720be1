"""Each command in docs/server.md does what it says."""

import re
import shlex
import subprocess
import sys

import pytest

from conftest import COMMAND, ROOT, serving

TEXT = (ROOT / "docs/server.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands():
    """The lines of all sh blocks, continued ones joined."""
    return [
        line for block in blocks("sh") for line in block.replace("\\\n", "").splitlines() if line
    ]


@pytest.fixture
def folder(tiny_model, tmp_path):
    (tmp_path / "r1.int8.safetensors").symlink_to(tiny_model)
    (tmp_path / "keys.txt").write_text("one-key\n")
    return tmp_path


@pytest.fixture
def documented_server(folder, monkeypatch):
    """The server with the documented keys, which every documented request may use."""
    monkeypatch.chdir(folder)
    with serving("r1.int8.safetensors", "--api-key-file", "keys.txt") as server:
        yield server


def test_every_serve_command_starts(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = [shlex.split(line) for line in commands() if line.startswith("octet serve")]
    assert len(found) == 2
    for words in found:
        options = words[3:]
        if "--port" in options:  # it may be taken on this machine; the test asks for a free one
            at = options.index("--port")
            del options[at : at + 2]
        with serving(words[2], *options) as server:
            assert server.model == "r1"
            assert "octet" in server.get("/")


def test_every_curl_command_answers(documented_server, folder):
    found = [line for line in commands() if line.startswith("curl")]
    assert len(found) == 2
    for line in found:
        line = re.sub(r"http://127.0.0.1:\d+", documented_server.url, line)
        if "Authorization" not in line:
            line += " -H 'Authorization: Bearer one-key'"
        result = subprocess.run(
            ["bash", "-c", line + " --fail-with-body -sS"], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "[DONE]" in result.stdout or "octet_steps_total" in result.stdout


def test_the_python_program_runs(documented_server, folder):
    (program,) = blocks("python")
    program = program.replace("http://127.0.0.1:8080", documented_server.url)
    program = program.replace('"none"', '"one-key"')
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0 and result.stdout.strip(), result.stderr


def test_every_option_that_the_text_names_exists():
    text = subprocess.run([COMMAND, "serve", "--help"], capture_output=True, text=True).stdout
    for option in set(re.findall(r"`(--[a-z-]+)", TEXT)):
        assert option in text, option
