"""Answers over HTTP with Ray Serve, several models at a time:

    python ray_serve.py MODEL [--replicas 2] [--threads 1] [--port 8000]

    curl -N localhost:8000 -d '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 32}'

The answer streams as plain text. In another program, Chat is a deployment like any other:
serve.run(Chat.bind(MODEL, 1)).
"""

import argparse
import asyncio

import octet
from ray import serve
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse


@serve.deployment
class Chat:
    def __init__(self, model: str, threads: int):
        self.model = octet.Model(model, threads=threads)
        self.replica = serve.get_replica_context().replica_id.unique_id

    def answer(self, messages: list[octet.Message], options: octet.Options) -> octet.TextStream:
        session = octet.Session(self.model)
        session.messages = messages[:-1]
        return session.stream(messages[-1]["content"], **options)

    async def __call__(self, request: Request) -> Response:
        options = await request.json()
        try:
            messages = options.pop("messages")
            answer = await asyncio.to_thread(self.answer, messages, options)
        except (octet.Error, KeyError, TypeError) as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        return StreamingResponse(
            answer, media_type="text/plain; charset=utf-8", headers={"X-Replica": self.replica}
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()

    serve.start(http_options={"port": options.port})
    chat = Chat.options(
        num_replicas=options.replicas, ray_actor_options={"num_cpus": options.threads}
    )
    serve.run(chat.bind(options.model, options.threads), blocking=True)


if __name__ == "__main__":
    main()
