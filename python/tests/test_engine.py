import threading

import numpy as np
import pytest

import octet
from interrupt import interrupted_after

GREEDY = {"temperature": 0.0, "max_tokens": 24}


@pytest.fixture(scope="module")
def engine(model):
    return octet.Engine(model, context=512)


def test_requests_are_answered_as_alone(model, engine):
    prompts = [f"Prompt number {i}" for i in range(12)]
    generations = [engine.submit(prompt, **GREEDY) for prompt in prompts]
    for prompt, generation in zip(prompts, generations):
        expected = "".join(octet.Session(model).complete(prompt, **GREEDY))
        assert "".join(generation) == expected
        assert generation.stats.generated_tokens > 0
        assert list(generation) == []


def test_a_prompt_is_text_ids_or_messages(model, engine):
    text = "Hello"
    ids = model.tokenizer.encode(text)
    assert engine.submit(ids, **GREEDY).text() == engine.submit(text, **GREEDY).text()
    assert engine.submit(np.array(ids), **GREEDY).text() == engine.submit(text, **GREEDY).text()
    messages: list[octet.Message] = [{"role": "user", "content": text}]
    expected = octet.Session(model).generate(text, **GREEDY)
    assert engine.submit(messages, **GREEDY).text() == expected


def test_a_request_is_cancelled(engine):
    generation = engine.submit("Hello", max_tokens=400, stop_at_end_tokens=False)
    next(generation)
    generation.cancel()
    list(generation)
    assert generation.stats.stop == octet.StopReason.cancelled


def test_a_dropped_generation_is_cancelled(model):
    engine = octet.Engine(model, context=512)
    engine.submit("Hello", max_tokens=400, stop_at_end_tokens=False)
    assert engine.drain(60)
    assert engine.stats.cancelled == 1


def test_a_full_queue_is_busy_and_wrong_options_are_told(model):
    engine = octet.Engine(model, context=512, max_running=1, max_waiting=1)
    with pytest.raises(octet.Error) as raised:
        long = [
            engine.submit("Hello", max_tokens=400, stop_at_end_tokens=False) for _ in range(20)
        ]
    assert raised.value.code == octet.ErrorCode.Busy
    with pytest.raises(octet.Error, match="top_p") as raised:
        engine.submit("Hello", top_p=2)
    assert raised.value.code == octet.ErrorCode.InvalidArgument
    with pytest.raises(TypeError, match="temprature"):
        engine.submit("Hello", temprature=2)
    with pytest.raises(TypeError):
        engine.submit(object())


def test_log_probabilities(engine, session):
    generation = engine.submit("Hello", logprobs=2, **GREEDY)
    text = "".join(generation)
    assert len(generation.tokens) == generation.stats.generated_tokens
    for token in generation.tokens:
        assert [top.logprob for top in token.top] == sorted(
            (top.logprob for top in token.top), reverse=True
        )
        assert len(token.top) == 2 and token.logprob <= token.top[0].logprob < 0
    assert "".join(session.complete("Hello", logprobs=2, **GREEDY)) == text
    assert [t.id for t in session.generated] == [t.id for t in generation.tokens]


def test_threads_stream_at_the_same_time(engine):
    expected = engine.submit("Hello", **GREEDY).text()
    texts = []

    def work():
        texts.append("".join(engine.submit("Hello", **GREEDY)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [expected] * 8


def test_an_interrupt_comes_out_of_a_wait(model):
    """Behind a request that takes long, another waits in the queue."""
    engine = octet.Engine(model, context=2048, max_running=1)
    first = engine.submit("Hello", max_tokens=2000, stop_at_end_tokens=False, temperature=2)
    second = engine.submit("Hello")
    with interrupted_after(0.01):
        second.text()
    first.cancel()
    assert len(second.text()) >= 0


def test_statistics(model):
    engine = octet.Engine(model, context=512)
    engine.submit("Hello", **GREEDY).text()
    assert engine.drain(60)
    stats = engine.stats
    assert (stats.submitted, stats.finished, stats.running, stats.waiting) == (1, 1, 0, 0)
    assert stats.pages_used == 0
    assert engine.context == 512
    assert engine.model.scheme == "w8a8"


def test_embeddings(model):
    vector = octet.embed(model, "Hello")
    assert vector.shape == (model.config.hidden_size,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(vector, octet.embed(model, model.tokenizer.encode("Hello")))
    last = octet.embed(model, "Hello", pooling="last", normalize=False)
    assert np.linalg.norm(last) != pytest.approx(1, abs=1e-2)
    with pytest.raises(ValueError, match="pooling"):
        octet.embed(model, "Hello", pooling="max")
