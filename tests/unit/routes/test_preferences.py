"""Preferences over HTTP: whose they are, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.routes.library_rig import Caller, Rig, opened

AT = "/api/preferences"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with opened(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def me(rig: Rig) -> Caller:
    return rig.me


def test_each_caller_has_its_own(rig: Rig, me: Caller) -> None:
    me.told("PUT", f"{AT}/t2i", {"model": "sandbox-image", "params": {"n": 2, "size": "64x64"}})
    me.told("PUT", f"{AT}/text_to_text", {"model": "sandbox-chat"})
    assert [one["kind"] for one in me.told("GET", AT)["data"]] == ["t2i", "t2t"]
    other = rig.other
    assert other.told("GET", AT)["data"] == []
    assert other.get(f"{AT}/t2i").status_code == 404
    assert other.ask("DELETE", f"{AT}/t2i").status_code == 404
    quote = me.told("POST", "/api/quote", {"prompt": "x", "kind": "t2i"})
    assert (quote["parameters"]["n"], quote["parameters"]["size"]) == (2, "64x64")
    assert other.told("POST", "/api/quote", {"prompt": "x", "kind": "t2i"})["parameters"]["n"] == 1
    for kind in ("t2i", "t2t"):
        assert me.told("DELETE", f"{AT}/{kind}") == {"kind": kind, "object": "preference.deleted", "deleted": True}
    assert me.told("GET", AT) == {"object": "list", "data": []}


def test_a_chat_takes_what_is_preferred_for_it_under_its_own_name(me: Caller) -> None:
    given = {"response_format": {"type": "json_object"}, "temperature": 0.5, "max_tokens": 5, "stop": ["."], "own": 1}
    saved = me.told("PUT", f"{AT}/t2t", {"model": "sandbox-chat", "parameters": given})
    try:
        assert saved["parameters"] == given
        words = [{"role": "user", "content": "hi"}]
        made = me.told("POST", "/v1/chat/completions", {"messages": words})
        assert (made["model"], made["usage"]["completion_tokens"]) == ("sandbox-chat", 5)
        quote = me.told("POST", "/api/quote", {"messages": words, "response_format": {"type": "text"}})
        assert quote["parameters"] == {**given, "response_format": {"type": "text"}}
    finally:
        me.told("DELETE", f"{AT}/t2t")


def test_a_reader_may_not_save(rig: Rig) -> None:
    assert rig.viewer.ask("PUT", f"{AT}/t2i", {"model": "sandbox-image"}).status_code == 403
    assert rig.viewer.told("GET", AT)["data"] == []


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("odd", {"model": "sandbox-image"}, "kind"),
        ("t2i", {}, "model"),
        ("t2i", {"model": "auto"}, "model"),
        ("t2i", {"model": "x" * 300}, "model"),
        ("t2v", {"model": "sandbox-image"}, "model"),
        ("t2i", {"model": "sandbox-image", "parameters": {"n": 99}}, "n"),
        ("t2i", {"model": "sandbox-image", "parameters": {"size": "huge"}}, "size"),
        ("t2i", {"model": "sandbox-image", "parameters": {"model": "x"}}, "model"),
        ("t2i", {"model": "sandbox-image", "parameters": {"on_unsupported": "drop"}}, "on_unsupported"),
        ("t2i", {"model": "sandbox-image", "parameters": {"style": "a\0"}}, "parameters"),
        ("t2i", {"model": "sandbox-image", "parameters": {"style": "a" * 20_000}}, "parameters"),
        ("t2i", {"model": "sandbox-image", "colour": "red"}, "colour"),
        ("t2t", {"model": "sandbox-chat", "parameters": {"size": "1:1"}}, "size"),
        ("t2t", {"model": "sandbox-chat", "parameters": {"temperature": "hot"}}, "temperature"),
        ("t2t", {"model": "sandbox-chat", "parameters": {"max_tokens": "many"}}, "max_tokens"),
        ("t2t", {"model": "sandbox-chat", "parameters": {"response_format": "json"}}, "response_format"),
        ("t2t", {"model": "sandbox-chat", "parameters": {"stop": [1]}}, "stop[0]"),
    ],
)
def test_what_cannot_be_preferred_is_refused_and_nothing_is_saved(me: Caller, kind: str, body: Any, param: str) -> None:
    answer = me.ask("PUT", f"{AT}/{kind}", body)
    assert (answer.status_code, answer.json().get("param")) == (400, param), answer.text
    assert me.told("GET", AT)["data"] == []
