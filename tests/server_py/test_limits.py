"""Who may come in, how much, and what happens to the others."""

import json
import signal
import socket
import threading
import time

import openai
import pytest

from conftest import serving

CHAT = "/v1/chat/completions"
ASK = {
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4,
    "seed": 1,
    "ignore_eos": True,
}
LONG = {**ASK, "max_tokens": 1900, "temperature": 1, "stream": True}


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def raw_request(body, path=CHAT, extra=""):
    body = json.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n{body}"
    ).encode()


def answer_of(connection):
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def test_keys(tiny_model, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# for the tests\nfirst-key\nsecond%41key\n")
    with serving(tiny_model, "--api-key-file", keys) as server:
        for key in ("first-key", "second%41key"):
            with server.client(key) as client:
                assert client.models.list().data[0].id == "tiny"
        for key in ("first-ke", "first-key1", "# for the tests", "secondAkey"):
            with server.client(key) as client, pytest.raises(openai.AuthenticationError) as error:
                client.models.list()
            assert error.value.code == "invalid_api_key"
        for path in (CHAT, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"):
            assert server.post(path, {})[0] == 401
        for path in ("/health", "/ready", "/openapi.json", "/"):
            assert server.get(path)
        with pytest.raises(Exception, match="401"):
            server.get("/metrics")
        assert "octet_steps_total" in server.get("/metrics", {"Authorization": "bearer first-key"})


def test_other_addresses_need_a_key_or_a_word(tiny_model):
    with pytest.raises(RuntimeError, match="InvalidArgument: host 0.0.0.0 .* --api-key-file"):
        with serving(tiny_model, "--host", "0.0.0.0"):
            pass


def test_foreign_host_names_are_refused_on_loopback(server):
    for host, status in (("evil.example", 403), ("localhost.evil.example:80", 403),
                         ("127.0.0.1.evil.example", 403), ("localhost:1234", 200),
                         ("[::1]:80", 200), ("127.0.0.1", 200)):
        with server.connect() as connection:
            connection.sendall(f"GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            assert answer_of(connection).startswith(f"HTTP/1.1 {status} ".encode()), host


def test_pages_of_other_origins(server, tiny_model):
    origin = {"Origin": "https://app.example"}
    status, headers, _ = server.post("/tokenize", {"prompt": "x"}, origin)
    assert status == 200 and headers["Access-Control-Allow-Origin"] is None
    # what a page may send without asking first is not taken
    assert server.post("/tokenize", {"prompt": "x"}, {"Content-Type": "text/plain"})[0] == 415
    with serving(tiny_model, "--cors-origin", "https://app.example") as open_server:
        _, headers, _ = open_server.post("/tokenize", {"prompt": "x"}, origin)
        assert headers["Access-Control-Allow-Origin"] == "https://app.example"
        _, headers, _ = open_server.post("/tokenize", {"prompt": "x"}, {"Origin": "https://b.example"})
        assert headers["Access-Control-Allow-Origin"] is None
        with open_server.connect() as connection:
            connection.sendall(
                f"OPTIONS {CHAT} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n"
                "Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n".encode()
            )
            preflight = answer_of(connection)
        assert preflight.startswith(b"HTTP/1.1 204 ") and b"Authorization" in preflight


HOSTILE = {
    "not JSON": b"{",
    "NaN": b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "a number too large": b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
    "a lone surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep inside": b'{"messages": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "empty": b"",
    "a seed out of range": b'{"messages": [{"role": "user", "content": "x"}], "seed": 18446744073709551615}',
    "a boolean as a number": b'{"messages": [{"role": "user", "content": "x"}], "n": true}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_refused(server, body):
    status, _, answer = server.post(CHAT, body)
    assert status == 400
    error = json.loads(answer)["error"]
    assert error["type"] == "invalid_request_error"
    assert "exception" not in error["message"]


def test_zero_bytes_and_odd_characters_pass(server):
    for text in ("\0", "a\0b", "\ufffe", "\U0010ffff", "\u202e"):
        status, _, answer = server.post("/tokenize", {"prompt": text})
        ids = json.loads(answer)["tokens"]
        assert json.loads(server.post("/detokenize", {"tokens": ids})[2])["prompt"] == text


def test_sizes(tiny_model):
    with serving(tiny_model, "--max-body", "10000") as server:
        assert server.post(CHAT, b'"' + b"x" * 20_000 + b'"')[0] == 413
        chunked = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
            "Transfer-Encoding: chunked\r\n\r\n"
        cases = {
            413: chunked.encode() + b"fff\r\n" + b"x" * 4095 + b"\r\nffff\r\n" + b"x" * 60000,
            431: b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
            400: b"hello\r\n\r\n",
        }
        for status, request in cases.items():
            with server.connect() as connection:
                connection.sendall(request)
                assert answer_of(connection).startswith(f"HTTP/1.1 {status} ".encode())
        with server.connect() as connection:  # a length beyond all bounds
            connection.sendall(raw_request({}).replace(b"Content-Length: 2", b"Content-Length: 99999999999999999999"))
            assert b" 4" in answer_of(connection)[:12]
        assert server.post("/tokenize", {"prompt": "still here"})[0] == 200


def test_requests_one_after_another_and_in_advance(server):
    with server.connect() as connection:
        connection.sendall(raw_request({"prompt": "a"}, "/tokenize") * 3
                           + raw_request({"prompt": "b"}, "/tokenize", "Connection: close\r\n"))
        assert answer_of(connection).count(b"HTTP/1.1 200 ") == 4
    with server.connect() as connection:  # an old client: no chunks
        connection.sendall(raw_request({**ASK, "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = answer_of(connection)
        assert b"chunked" not in answer and answer.endswith(b"data: [DONE]\n\n")
    with server.connect() as connection:
        connection.sendall(raw_request({"prompt": "a"}, "/tokenize", "Expect: 100-continue\r\nConnection: close\r\n"))
        assert answer_of(connection).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_200_slow_clients_do_not_stop_a_normal_one(tiny_model):
    with serving(tiny_model, "--max-connections", "64") as server:
        slow = []
        for i in range(200):
            connection = server.connect()
            # some never speak, some begin the headers, some begin the body
            connection.sendall((b"", b"POST /v1/chat", raw_request(ASK)[:-5])[i % 3])
            slow.append(connection)
        for _ in range(5):
            for connection in slow[::7]:
                try:
                    connection.send(b"x")
                except OSError:
                    pass  # had to go
            assert server.post(CHAT, ASK)[0] == 200
        assert server.metrics()["octet_http_connections"] <= 64 + 4
        for connection in slow:
            connection.close()


def test_slow_requests_end(tiny_model):
    with serving(tiny_model, "--read-timeout", "0.5") as server:
        with server.connect() as connection:
            begin = time.monotonic()
            try:
                for byte in raw_request(ASK):  # a byte at a time would take more than 10 s
                    connection.send(bytes([byte]))
                    time.sleep(0.05)
            except OSError:
                pass
            assert time.monotonic() - begin < 8
        with server.connect() as connection:
            connection.sendall(raw_request(ASK)[:-5])
            assert answer_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_is_dropped(tiny_model):
    with serving(tiny_model, "--write-timeout", "0.5") as server:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", server.port))
            # more than fits into the buffers of both ends
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 600)
            name = 'octet_http_requests_total{route="/",status="499"}'
            wait_for(lambda: server.metrics().get(name) == 1)


def test_disconnecting_cancels_within_a_step(server):
    before = server.metrics()
    for cut in ("first token", "at once", "whole answer"):
        connection = server.connect()
        connection.sendall(raw_request({**LONG, "stream": cut != "whole answer"}))
        if cut == "first token":
            while b'"content":"' not in connection.recv(65536):
                pass
        else:
            wait_for(lambda: server.metrics()["octet_requests_running"] >= 1)
        connection.close()
        wait_for(lambda: server.metrics()["octet_requests_running"] == 0, 5)
    after = server.metrics()
    name = "octet_generations_cancelled_total"
    assert after[name] == before[name] + 3
    made = after["octet_generated_tokens_total"] - before["octet_generated_tokens_total"]
    assert made < 3 * 1000
    assert after["octet_kv_pages_used"] == 0


def test_a_full_queue_answers_429(tiny_model):
    with serving(tiny_model, "--max-running", "1", "--max-waiting", "1") as server:
        busy = [server.connect() for _ in range(2)]
        busy[0].sendall(raw_request(LONG))
        wait_for(lambda: server.metrics()["octet_requests_running"] == 1)
        busy[1].sendall(raw_request(LONG))
        wait_for(lambda: server.metrics()["octet_requests_waiting"] == 1)
        status, headers, body = server.post(CHAT, ASK)
        assert status == 429 and int(headers["Retry-After"]) >= 1
        assert json.loads(body)["error"]["code"] == "queue_full"
        with server.client() as client, pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="tiny", messages=ASK["messages"])
        for connection in busy:
            connection.close()
        wait_for(lambda: server.metrics()["octet_requests_running"] == 0)
        assert server.post(CHAT, ASK)[0] == 200


def test_the_end_waits_for_what_runs(tiny_model):
    with serving(tiny_model, "--drain-seconds", "60") as server:
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(server.post(CHAT, {**ASK, "max_tokens": 400}))
        )
        thread.start()
        wait_for(lambda: server.metrics()["octet_requests_running"] == 1)
        idle = server.connect()
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert answers[0][0] == 200
        assert json.loads(answers[0][2])["usage"]["completion_tokens"] == 400
        assert server.process.wait(20) == 0
        idle.close()


def test_the_end_does_not_wait_forever(tiny_model):
    with serving(tiny_model, "--drain-seconds", "0.2") as server:
        with server.connect() as connection:
            connection.sendall(raw_request(LONG))
            wait_for(lambda: server.metrics()["octet_requests_running"] == 1)
            server.process.send_signal(signal.SIGINT)
            answer = answer_of(connection)
        assert b'"type":"server_error"' in answer and b"[DONE]" not in answer
        assert server.process.wait(20) == 0


def test_new_work_is_refused_while_the_server_ends(tiny_model):
    with serving(tiny_model) as server:
        with server.connect() as running:
            running.sendall(raw_request(LONG))
            wait_for(lambda: server.metrics()["octet_requests_running"] == 1)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: server.post(CHAT, ASK)[0] == 503)
            with pytest.raises(Exception, match="503"):
                server.get("/ready")
            assert server.get("/health")
            server.process.send_signal(signal.SIGTERM)  # a second one: at once
        assert server.process.wait(20) == 0


def test_the_log_has_a_line_a_request_and_no_content(tiny_model):
    secret = {**ASK, "messages": [{"role": "user", "content": "my secret"}]}
    for options, told in ((("--log-format", "json"), False),
                          (("--log-format", "json", "--log-content"), True)):
        with serving(tiny_model, *options) as server:
            # a line comes after its answer, from the thread of that connection
            server.post(CHAT, secret)
            wait_for(lambda: len(server.log()) == 1)
            server.get("/health")
            wait_for(lambda: len(server.log()) == 2)
            server.post(CHAT, b"{")
            wait_for(lambda: len(server.log()) == 3)
            log = [json.loads(line) for line in server.log()]
        assert [line["status"] for line in log] == [200, 200, 400]
        assert log[0]["route"] == CHAT and log[0]["completion_tokens"] == 4
        assert log[0]["seconds"] >= log[0]["first_token_seconds"] > 0
        assert ("my secret" in json.dumps(log)) == told
        assert ("answer" in log[0]) == told
    with serving(tiny_model) as server:
        server.post(CHAT, secret)
        wait_for(lambda: len(server.log()) == 1)
        assert "status=200" in server.log()[0] and "secret" not in server.log()[0]
