"""The programs in the documentation run as they stand."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/python.md", "python/README.md", "README.md"])
def test_programs(page, tiny_folder, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("DeepSeek-R1-Distill-Qwen-1.5B").symlink_to(tiny_folder)
    pathlib.Path("r1.int8.safetensors").symlink_to(tiny_file)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert programs
    for program in programs:
        exec(compile(program, page, "exec"), {})
