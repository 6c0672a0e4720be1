"""Many clients at a time: each answer is the one that the request gets alone, and nothing is left."""

import concurrent.futures
import json
import os
import random
import socket

from conftest import SANITIZED, serving
from test_limits import answer_of, raw_request, wait_for

REQUESTS = int(os.environ.get("OCTET_LOAD_REQUESTS", 200))
CLIENTS = 16
CONTEXT = ("--ctx", "4200")
CHAT = "/v1/chat/completions"


def make_requests(count):
    draw = random.Random(7)
    requests = []
    for i in range(count):
        length = int(4000 ** draw.uniform(0, 1))  # 1 to 4,000 bytes, which are tokens here
        shared = "The same beginning for several. " * 130
        text = (shared if i % 3 == 0 else draw.randbytes(length).hex())[:length]
        requests.append(
            {
                "messages": [{"role": "user", "content": text}],
                "max_tokens": draw.randint(1, 60),
                "temperature": draw.choice([0, 0.8, 1.5]),
                "seed": i,
                "ignore_eos": draw.random() < 0.5,
            }
        )
    return requests


def text_of(server, request):
    status, _, body = server.post(CHAT, request)
    assert status == 200, body
    choice = json.loads(body)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def streamed_text_of(server, request):
    with server.connect() as connection:
        connection.sendall(raw_request({**request, "stream": True}, extra="Connection: close\r\n"))
        answer = answer_of(connection).decode()
    assert answer.startswith("HTTP/1.1 200 ") and "data: [DONE]" in answer
    chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    choices = [chunk["choices"][0] for chunk in chunks]
    return "".join(c["delta"].get("content", "") for c in choices), choices[-1]["finish_reason"]


def give_up(server, request, draw):
    """Goes away in the middle of the request, or of the answer."""
    bytes_ = raw_request({**request, "max_tokens": 500, "stream": draw.random() < 0.7})
    with server.connect() as connection:
        connection.sendall(bytes_[: draw.choice([len(bytes_), len(bytes_), len(bytes_) // 2])])
        connection.settimeout(draw.uniform(0.001, 0.3))
        try:
            connection.recv(4096)
        except socket.timeout:
            pass


def one_client_request(server, number, requests, alone):
    draw = random.Random(number)
    i = draw.randrange(len(requests))
    kind = draw.random()
    if kind < 0.15:
        give_up(server, requests[i], draw)
    elif kind < 0.25:
        bad = draw.choice([b"{", b"[]", b"\xff", b'{"messages": 1}', b'{"n": -1}'])
        assert server.post(CHAT, bad)[0] == 400
    elif kind < 0.6:
        assert streamed_text_of(server, requests[i]) == alone[i], requests[i]
    else:
        assert text_of(server, requests[i]) == alone[i], requests[i]


def run_load(server, requests, alone, first):
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        numbers = range(first, first + REQUESTS)
        for done in [pool.submit(one_client_request, server, n, requests, alone) for n in numbers]:
            done.result()
    wait_for(lambda: server.metrics()["octet_requests_running"] == 0)


def test_mixed_requests_of_many_clients(tiny_model):
    requests = make_requests(40)
    with serving(tiny_model, *CONTEXT) as quiet:
        alone = [text_of(quiet, request) for request in requests]
    with serving(tiny_model, *CONTEXT, "--max-running", "12") as server:
        run_load(server, requests, alone, 0)
        resident = server.resident_bytes()
        run_load(server, requests, alone, REQUESTS)
        metrics = server.metrics()
        grown = server.resident_bytes() - resident
    assert metrics["octet_generations_cancelled_total"] >= REQUESTS / 20
    assert metrics["octet_cached_tokens_total"] > 0
    assert metrics["octet_kv_pages_used"] == 0
    assert metrics["octet_requests_waiting"] == 0
    assert metrics["octet_generations_failed_total"] == 0
    assert metrics["octet_generations_submitted_total"] == metrics["octet_generations_finished_total"]
    assert SANITIZED or grown < 16e6  # their own memory grows; leaks are found at the exit
