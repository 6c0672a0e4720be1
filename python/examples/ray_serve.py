"""Answers over HTTP with Ray Serve, several models at a time:

    python ray_serve.py MODEL [--replicas 2] [--threads 1] [--port 8000]

    curl -N localhost:8000 -d '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 32}'

The answer streams as plain text. In another program, Chat is a deployment like any other:
serve.run(Chat.bind(MODEL, 1)).
"""

import argparse

import octet
from ray import serve
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse


@serve.deployment
class Chat:
    def __init__(self, model: str, threads: int):
        self.engine = octet.Engine(octet.Model(model, threads=threads))
        self.replica = serve.get_replica_context().replica_id.unique_id

    async def __call__(self, request: Request) -> Response:
        try:
            options = await request.json()
            messages = options.pop("messages")
            if unknown := options.keys() - octet.Options.__annotations__.keys():
                raise KeyError(*unknown)  # also: nobody else sets priorities
            answer = self.engine.submit(messages, **options)
        except (octet.Error, KeyError, TypeError, ValueError) as error:
            busy = isinstance(error, octet.Error) and error.code == octet.ErrorCode.Busy
            return PlainTextResponse(f"{error}\n", status_code=503 if busy else 400)
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
