import json
import re
import sys
import threading

import pytest

import octet
from interrupt import interrupted_after

GREEDY = {"temperature": 0.0, "max_tokens": 24}


def test_a_stream_is_what_greedy_evaluation_gives(model, session):
    text = "".join(session.complete("Hello there", **GREEDY))
    ids = model.tokenizer.encode("Hello there")
    made = []
    for _ in range(session.stats.generated_tokens):
        logits = octet.Session(model).evaluate(ids + made)
        made.append(int(logits[0, :258].argmax()))
    assert model.tokenizer.decode(made, keep_special=False) == text
    assert session.stats.stop in (octet.StopReason.limit, octet.StopReason.end_token)


def test_a_conversation(model, session):
    first = session.generate("One", **GREEDY)
    assert session.messages == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": first},
    ]
    second = "".join(session.stream("Two", **GREEDY))
    assert session.stats.cached_tokens > 0
    other = octet.Session(model)
    other.messages = session.messages[:2]
    assert other.generate("Two", **GREEDY) == second


def test_a_stream_that_is_dropped_or_closed_leaves_its_part(session):
    whole = session.generate("One", **GREEDY)
    session.messages = []
    for piece in session.stream("One", **GREEDY):
        break
    del piece
    session.stream("Two", **GREEDY).close()
    turns = session.messages
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert turns[3]["content"] == ""
    assert whole.startswith(turns[1]["content"]) and turns[1]["content"] != whole


def test_an_iterator_stays_at_its_end(session):
    stream = session.stream("One", max_tokens=2, temperature=0)
    list(stream)
    assert list(stream) == []
    stream.close()


def test_a_stream_outlives_the_names_of_session_and_model(tiny_file):
    stream = octet.Session(octet.Model(tiny_file)).complete("Hello", **GREEDY)
    assert len("".join(stream)) > 0


@pytest.mark.parametrize("name", octet.Options.__annotations__)
def test_each_option_is_known(session, name):
    kind = octet.Options.__annotations__[name]
    values = {int: 1, float: 0.5, bool: True, octet.CancelToken: octet.CancelToken()}
    others = {"repetition_penalty": 1.5, "stop": ["a"], "json_schema": {}, "regex": "a+"}
    value = others[name] if name in others else values[kind]
    session.generate("One", **{name: value}, **({} if name == "max_tokens" else {"max_tokens": 1}))
    with pytest.raises(TypeError, match=name):
        session.generate("One", **{name: object()})


def test_options_have_an_effect(session):
    def complete(**options):
        return "".join(session.complete("Hello", **{**GREEDY, **options}))

    text = complete()
    assert len(complete(max_tokens=2)) < len(text)
    assert complete(stop=[text[3:6]]) == text[: text.index(text[3:6])]
    drawn = complete(temperature=3, top_k=0, seed=1)
    assert drawn == complete(temperature=3, top_k=0, seed=1)
    assert drawn != complete(temperature=3, top_k=0, seed=2)
    with pytest.raises(TypeError, match="temprature"):
        complete(temprature=1)
    with pytest.raises(octet.Error, match="top_p") as raised:
        complete(top_p=2)
    assert raised.value.code == octet.ErrorCode.InvalidArgument


@pytest.fixture
def no_preemption():
    """Threads run on until they give the interpreter's lock up by themselves."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def test_the_lock_of_the_interpreter_is_free_while_a_model_runs(model, no_preemption):
    session = octet.Session(model, context=2048)
    ended, turns = threading.Event(), []

    def count():
        while not ended.wait(0.0005):
            turns.append(1)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(turns)
    session.evaluate([65] * 2000)
    after = len(turns)
    ended.set()
    thread.join()
    assert after > before


def test_threads_take_turns_in_a_session(model):
    session = octet.Session(model, context=64)
    errors = []

    def work():
        try:
            for _ in range(20):
                session.truncate(0)
                session.generate("Hi", max_tokens=3)
        except octet.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The 64 positions fill up, which is an error, and no crash.
    assert all(error.code == octet.ErrorCode.InvalidArgument for error in errors)


def test_an_interrupt_ends_generate(model):
    """A signal arrives while many tokens are made; what its handler raises comes out."""
    session = octet.Session(model, context=2048)
    with interrupted_after(0.005):
        session.generate("One", max_tokens=2000, temperature=2, stop_at_end_tokens=False)
    assert session.stats.stop == octet.StopReason.callback
    assert len(session.messages) == 2
    session.generate("Two", **GREEDY)


def test_an_answer_fulfils_its_constraint(session):
    assert re.fullmatch(r"\d{3}[ab]+", session.generate("One", regex=r"\d{3}[ab]+", max_tokens=9))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for given in (schema, json.dumps(schema)):
        answer = json.loads(session.generate("Two", json_schema=given, max_tokens=60))
        assert isinstance(answer["a"], int)
    with pytest.raises(octet.Error) as raised:
        session.generate("One", json_schema={"not": {}})
    assert raised.value.code == octet.ErrorCode.Unsupported
    with pytest.raises(TypeError, match="one of them"):
        session.generate("One", json_schema={}, regex="a")


def test_fork_save_load_and_drop(model, session, tmp_path):
    session.generate("One", **GREEDY)
    session.save(tmp_path / "saved")
    fork = session.fork()
    loaded = octet.Session.load(model, tmp_path / "saved", context=300)
    two = session.generate("Two", **GREEDY)
    assert len(fork.messages) == 2 and loaded.context == 300
    assert fork.generate("Two", **GREEDY) == loaded.generate("Two", **GREEDY) == two
    assert session.drop_last_turn() and len(session.messages) == 2
    with pytest.raises(octet.Error) as raised:
        octet.Session.load(model, tmp_path / "none")
    assert raised.value.code == octet.ErrorCode.Io


def test_oldest_turns_are_dropped_when_asked_for(model):
    turns = [{"role": "user", "content": "x" * 60}, {"role": "assistant", "content": "Yes."}]
    strict, lenient = octet.Session(model, 100), octet.Session(model, 100, drop_oldest=True)
    strict.messages = lenient.messages = turns
    with pytest.raises(octet.Error, match="100"):
        strict.generate("B", max_tokens=1)
    lenient.generate("B", max_tokens=1)
    assert lenient.stats.dropped_turns == 1


def test_a_cancelled_token_ends_the_work_it_was_given_to(session):
    cancel = octet.CancelToken()
    stream = session.complete("Hello", cancel=cancel, max_tokens=400, stop_at_end_tokens=False)
    next(stream)
    cancel.cancel()
    list(stream)
    assert session.stats.stop == octet.StopReason.cancelled
    with pytest.raises(octet.Error) as raised:
        session.complete("Hi", cancel=cancel)
    assert raised.value.code == octet.ErrorCode.Cancelled


def test_an_interrupt_ends_the_evaluation_of_a_prompt(model):
    """The conversation is then as before."""
    session = octet.Session(model, context=2048)
    with interrupted_after(0.005):
        session.stream("x" * 1900)
    assert session.messages == []


def test_smollm2_answers(smollm2):
    session = octet.Session(smollm2)
    assert "Paris" in session.generate("What is the capital of France?", temperature=0, max_tokens=20)
