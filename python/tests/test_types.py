"""What a type checker makes of the package."""

import subprocess
import sys

PROGRAM = """
import octet

def right(model: octet.Model) -> str:
    session = octet.Session(model, context=64)
    for piece in session.stream("Hi", max_tokens=2, temperature=0.5, stop=["a"], regex="a+"):
        piece.upper()
    session.messages = [{"role": "user", "content": "Hi"}]
    if session.stats.stop == octet.StopReason.limit:
        session.evaluate([1], rows="all").shape
    engine = octet.Engine(model)
    return engine.submit(session.messages, priority=1, seed=2).text()

def wrong(model: octet.Model) -> None:
    octet.Session(model).generate("Hi", temprature=1.0)
    octet.Session(model).evaluate([1], rows="first")
    octet.Model("m").tokenizer.encode(3)
"""


def test_the_package_is_typed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, "program.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    wrong = PROGRAM.splitlines().index("def wrong(model: octet.Model) -> None:") + 2
    lines = [line for line in result.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in lines] == [str(wrong), str(wrong + 1), str(wrong + 2)], (
        result.stdout
    )
