"""Answers in text are assets where a request says so, or the operator does and the request does not say no."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load

CONFIG = """
library: {{keep_text: {keep}, previews: false}}
upstreams: [{{name: lab, type: sandbox, chunk_delay: 0}}]
"""


@contextmanager
def serving(home: Path, keep: str = "false") -> Iterator[TestClient]:
    (home / "config.yaml").write_text(CONFIG.format(keep=keep))
    env = {"GATEWAY_DATA_DIR": str(home / "data")}
    with TestClient(create_app(load(env, home), env), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as http:
        yield http


@pytest.fixture
def http(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        yield client


def ask(http: TestClient, path: str = "/v1/chat/completions", **more: Any) -> Any:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Of otters"}]
    return http.post(path, json={"messages": said, **more}, headers=more.pop("headers", None))


def kept(http: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get("/api/content-assets/").json()["assets"]
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_what_a_request_asks_to_store_is_an_asset(http: TestClient, path: str, stream: bool) -> None:
    answer = ask(http, path, store=True, stream=stream)
    assert answer.status_code == 200
    [asset] = kept(http)
    assert (asset["asset_type"], asset["prompt"], asset["kind"]) == ("text", "Of otters", "t2t")
    if not stream:
        assert answer.headers["x-asset-id"] == asset["id"]
        told = answer.json()["choices"][0]["message"]["content"]
        assert http.get(f"/api/content-assets/{asset['id']}").json()["content"] == told.strip()


@pytest.mark.parametrize(("keep", "store", "there"), [("true", None, 1), ("true", False, 0), ("false", None, 0)])
def test_the_operator_decides_where_the_request_says_nothing(
    tmp_path: Path, keep: str, store: bool | None, there: int
) -> None:
    with serving(tmp_path, keep) as http:
        ask(http, **({} if store is None else {"store": store}))
        made = http.post("/api/tasks", json={"prompt": "Of otters", "chatType": "t2t"}, headers={"prefer": "wait=10"})
        assert made.json()["status"] == "succeeded"
        assert len(kept(http)) == there + (keep == "true")


def test_a_conversation_s_answer_is_kept_too(http: TestClient) -> None:
    first = ask(http, "/api/chat").json()
    ask(http, "/api/chat", chatId=first["chatId"], store=True)
    assert len(kept(http)) == 1


def test_a_store_that_is_no_boolean_is_refused_before_anything_is_asked(http: TestClient) -> None:
    answer = ask(http, store="yes")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "store")
    assert kept(http) == []


def test_an_answer_that_was_cut_is_no_asset(http: TestClient) -> None:
    headers = {"x-sandbox-fault": "cut;after=2"}
    answer = http.post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "Of otters"}], "stream": True, "store": True},
        headers=headers,
    )
    assert "[DONE]" not in answer.text
    assert kept(http) == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_kept_is_still_an_answer(http: TestClient, tmp_path: Path, stream: bool) -> None:
    objects = tmp_path / "data" / "objects"
    shutil.rmtree(objects)
    objects.write_text("a file where a directory belongs")
    answer = ask(http, store=True, stream=stream)
    assert answer.status_code == 200
    assert "x-asset-id" not in answer.headers
    assert ("[DONE]" in answer.text) == stream
    assert kept(http) == []
