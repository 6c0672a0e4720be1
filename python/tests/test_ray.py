"""The examples with Ray, as a user runs them."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import octet

pytest.importorskip("ray", reason="not run: the examples with Ray, which is not installed")

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
PROMPTS = [f"Prompt number {i}" for i in range(24)]
MAX_TOKENS = 8


@pytest.fixture(scope="module")
def expected(model):
    """What the model answers to each prompt by itself."""
    return {
        prompt: octet.Session(model).generate(prompt, temperature=0, max_tokens=MAX_TOKENS)
        for prompt in PROMPTS
    }


def test_a_batch(tiny_file, tmp_path, expected):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    program = [sys.executable, EXAMPLES / "ray_batch.py", tiny_file]
    program += [tmp_path / "prompts.txt", tmp_path / "answers", "--max-tokens", str(MAX_TOKENS)]
    subprocess.run(program, check=True, timeout=300)
    lines = [line for file in (tmp_path / "answers").iterdir() for line in file.open()]
    answers = [json.loads(line) for line in lines]
    assert len(answers) == len(PROMPTS)
    assert {answer["prompt"]: answer["answer"] for answer in answers} == expected


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def address(tiny_file):
    port = free_port()
    program = [sys.executable, EXAMPLES / "ray_serve.py", tiny_file, "--port", str(port)]
    # A machine that is busy starts Serve's proxy in more than the 5 seconds that are the default.
    slow = {**os.environ, "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
    server = subprocess.Popen(program, env=slow)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for(url, server):
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            ask(url, "Hi")
            return
        except OSError:  # no connection, no route, no answer yet
            time.sleep(0.5)
    pytest.fail("the server does not answer")


def ask(url, prompt, **options):
    messages = [{"role": "user", "content": prompt}]
    wanted = {"messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS, **options}
    request = urllib.request.Request(url, json.dumps(wanted).encode())
    return urllib.request.urlopen(request, timeout=60)


def test_answers_over_http(address, expected):
    # All at the same time, over both replicas.
    responses = {prompt: ask(address, prompt) for prompt in PROMPTS}
    for prompt, response in responses.items():
        assert response.read().decode() == expected[prompt]


def test_the_answer_streams(address):
    response = ask(address, "Tell me", max_tokens=200)
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert len(response.read1()) < len(response.read())


def test_several_replicas_answer(address):
    replicas = {ask(address, prompt).headers["X-Replica"] for prompt in PROMPTS}
    assert len(replicas) == 2


def test_a_wrong_request_is_told(address):
    with pytest.raises(urllib.error.HTTPError) as raised:
        ask(address, "Hi", top_p=2)
    assert raised.value.code == 400
    assert b"top_p" in raised.value.read()
