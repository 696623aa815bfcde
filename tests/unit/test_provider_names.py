"""A provider's name is in its own files and in no other of the gateway: not in code, not in words, not in a comment.

`test_floors.py` looks at what the code says; this one reads every line of every file. A dialect is no provider: the
one who is only spoken to in OpenAI's is known by its dialect's name. The sandbox is a room of the house.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from gateway.upstreams import types

ROOT = Path(__file__).parents[2] / "gateway"
HOUSE_WORDS = frozenset({"sandbox", "openai_compatible"})
"""Types that are no provider's name: the stand-in of the house, and a dialect."""
MODEL_IDS = {"upstreams/dashscope/models.py": re.compile(r"qwen(?=\d|-|\|)")}
"""Names of models that more than one provider serves, by the file that has them in its table."""


@cache
def texts() -> dict[str, str]:
    """Every file of the gateway that is text, by its path."""
    found = {}
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            data = path.read_bytes()
            if b"\0" not in data:
                found[path.relative_to(ROOT).as_posix()] = data.decode()
    return found


def is_own(path: str, provider: str) -> bool:
    return re.match(rf"upstreams/{re.escape(provider)}(\.py$|/)", path) is not None


def lines_with(provider: str, path: str) -> list[str]:
    """The lines of a file that hold the name: as a word, or as a part of an identifier, however it is spelled."""
    text = texts()[path]
    if path in MODEL_IDS:
        text = MODEL_IDS[path].sub("", text)
    word, title = re.escape(provider), re.escape(provider.title().replace("_", ""))
    name = re.compile(rf"(?<![A-Za-z]){word}(?![a-z])|{title}(?![a-z])|(?<![A-Z]){word.upper()}(?![A-Z])")
    return [f"{path}:{at}: {line.strip()}" for at, line in enumerate(text.splitlines(), 1) if name.search(line)]


PROVIDERS = sorted(name for name, one in types().items() if one.__module__.startswith("gateway.upstreams."))


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name not in HOUSE_WORDS])
def test_a_provider_is_named_in_its_own_files_only(provider: str) -> None:
    others = [path for path in texts() if not is_own(path, provider)]
    assert [line for path in others for line in lines_with(provider, path)] == []
    assert any(lines_with(provider, path) for path in texts() if is_own(path, provider)), "this test sees names"
