"""The chat page with a server behind it whose answers a test writes itself."""

import http.server
import json
import pathlib
import threading
import time

PAGE = pathlib.Path(__file__).resolve().parents[2] / "tools/serve/page.html"


class ScriptedServer(http.server.ThreadingHTTPServer):
    """Streams `reasoning` and `content`, some characters at a time. Keeps the requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reasoning, self.content = "", ""
        self.seconds_per_piece = 0.0
        self.failure = None  # (status, message)
        self.requests = []
        self.disconnects = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, content_type, body):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            models = {"data": [{"id": "r1-distill-qwen-1.5b"}]}
            self.reply(200, "application/json", json.dumps(models).encode())
        else:
            self.reply(200, "text/html; charset=utf-8", PAGE.read_bytes())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((body, self.headers["Authorization"]))
        if self.server.failure:
            status, message = self.server.failure
            error = {"error": {"message": message}}
            self.reply(status, "application/json", json.dumps(error).encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.stream()
        except OSError:
            self.server.disconnects += 1

    def stream(self):
        pieces = []
        for key, text in (
            ("reasoning_content", self.server.reasoning),
            ("content", self.server.content),
        ):
            pieces += [{key: text[i : i + 4]} for i in range(0, len(text), 4)]
        for piece in pieces:
            self.event({"choices": [{"index": 0, "delta": piece, "finish_reason": None}]})
            time.sleep(self.server.seconds_per_piece)
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({"choices": [], "usage": {"completion_tokens": len(pieces)}})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()
