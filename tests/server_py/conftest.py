"""A server on loopback with a tiny model, for tests over real sockets."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import urllib.request

import openai
import pytest

from tiny_model import make_tiny_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OCTET_BUILD", ROOT / "build/release"))
COMMAND = BUILD / "bin/octet"
SANITIZED = "OCTET_SANITIZED" in os.environ
TIMEOUT = 600 if SANITIZED else 20  # seconds that a client waits


class Server:
    """A running `octet serve`. Its log is in `log_path`."""

    def __init__(self, model, *options):
        self.log_path = pathlib.Path(tempfile.mkstemp(prefix="octet-server-")[1])
        command = [COMMAND, "serve", model, "--port", "0", "--json", "--threads", "1", *options]
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=self.log_path.open("w"),
            text=True,
        )
        ready = self.process.stdout.readline()
        if not ready:
            self.process.wait(10)
            raise RuntimeError(f"the server did not start: {self.log_path.read_text()}")
        self.url = json.loads(ready)["url"]
        self.model = json.loads(ready)["model"]
        self.port = json.loads(ready)["port"]

    def client(self, key="none", **options):
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, **options)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def get(self, path, headers={}):
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, headers=headers), timeout=TIMEOUT
        ) as response:
            return response.read().decode()

    def post(self, path, body, headers={}):
        """Status, headers and body of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=3 * TIMEOUT) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def metrics(self):
        """name or name{labels} -> value"""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def log(self):
        return self.log_path.read_text().splitlines()

    def stop(self, seconds=2 * TIMEOUT):
        """Ends it as an operator would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return make_tiny_model(BUILD / "test-data/tiny-qwen2", folder)


@pytest.fixture(scope="session")
def thinking_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "thinker"
    return make_tiny_model(BUILD / "test-data/tiny-qwen2", folder, thinking=True)


@contextlib.contextmanager
def serving(model, *options):
    """A server of the test's own; it must end well."""
    server = Server(model, *options)
    try:
        yield server
    finally:
        status = server.stop()
        log = server.log_path.read_text()
        server.log_path.unlink()
    assert status == 0, log
    assert "ERROR: " not in log and "WARNING: ThreadSanitizer" not in log, log


@pytest.fixture(scope="session")
def server(tiny_model):
    with serving(tiny_model) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with server.client() as client:
        yield client
