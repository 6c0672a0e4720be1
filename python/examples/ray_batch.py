"""Answers the lines of a file with Ray Data, several models at a time:

    python ray_batch.py MODEL PROMPTS.txt ANSWERS_FOLDER [--replicas 2] [--threads 1]

ANSWERS_FOLDER gets JSON files of {"prompt": ..., "answer": ...}.
"""

import argparse

import octet
import ray


class Answer:
    """One replica: an engine, which answers the prompts of a batch side by side."""

    def __init__(self, model: str, threads: int, max_tokens: int):
        self.engine = octet.Engine(octet.Model(model, threads=threads))
        self.max_tokens = max_tokens

    def submit(self, prompt: str) -> octet.Generation:
        messages: list[octet.Message] = [{"role": "user", "content": prompt}]
        return self.engine.submit(messages, temperature=0, max_tokens=self.max_tokens)

    def __call__(self, batch: dict) -> dict:
        generations = [self.submit(prompt) for prompt in batch["text"]]
        answers = [generation.text() for generation in generations]
        return {"prompt": batch["text"], "answer": answers}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("prompts")
    parser.add_argument("answers")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    parser.add_argument("--max-tokens", type=int, default=256)
    options = parser.parse_args()

    # Reading and writing find a place beside replicas that take every CPU.
    beside = {"num_cpus": 0}
    ray.data.read_text(options.prompts, ray_remote_args=beside).map_batches(
        Answer,
        fn_constructor_args=(options.model, options.threads, options.max_tokens),
        compute=ray.data.ActorPoolStrategy(size=options.replicas),
        num_cpus=options.threads,
        batch_size=16,
    ).write_json(options.answers, ray_remote_args=beside)


if __name__ == "__main__":
    main()
