"""The pages of docs tell every route, every provider and every fault that there is."""

import re
from functools import cache
from pathlib import Path

import pytest

from gateway.routes import TABLE, Entry
from gateway.sandbox.faults import KEYS, SHARED_KEYS
from gateway.upstreams import types

DOCS = Path(__file__).parents[2] / "docs"


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def told(word: str, text: str) -> bool:
    """Whether a word stands in a text by itself, not within another."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def shown(path: str) -> str:
    """A path as a page shows it: what a parameter may hold is no part of its name."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.method} {entry.path}")
def test_every_route_is_told(entry: Entry) -> None:
    line = re.compile(rf"\b{entry.method}\b[^\n]*{re.escape(shown(entry.path))}(?![\w/{{-])")
    assert any(line.search(page(file.name)) for file in DOCS.glob("*.md"))


@pytest.mark.parametrize("provider", sorted(types()))
def test_every_provider_is_told_with_the_variables_that_make_its_accounts(provider: str) -> None:
    for word in (provider, *types()[provider].env_credentials):
        assert told(word, page("providers.md")), word


@pytest.mark.parametrize("provider", sorted(types()))
def test_every_key_of_a_provider_s_own_is_told(provider: str) -> None:
    kind = types()[provider]
    for name in (*kind.options_model.model_fields, *kind.account_options_model.model_fields):
        assert told(name, page("providers.md")), name


@pytest.mark.parametrize("fault", KEYS)
def test_every_fault_is_told_with_its_keys(fault: str) -> None:
    for word in (fault, *KEYS[fault], *SHARED_KEYS):
        assert told(word, page("providers.md")), word
