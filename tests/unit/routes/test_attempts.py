"""What was tried for a generation: told to admins on every answer, and to nobody else."""

from __future__ import annotations

import io
import json
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx
import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.errors import RateLimited
from gateway.routes.front import Front

ADMIN, MAKER = "key-of-an-admin-1", "key-of-a-maker-1"
CONFIG = f"""
access:
  keys:
    - {{name: rules, key: {ADMIN}, role: admin}}
    - {{name: makes, key: {MAKER}, role: developer}}
upstreams:
  - name: lab
    type: sandbox
    chunk_delay: 0
    image_seconds: 0
    video_seconds: 0
    accounts: [{{name: a, priority: 1}}, {{name: b}}]
"""
ONE_FAILS, BOTH_FAIL = "rate_limit;account=a", "rate_limit"
SAY = {"messages": [{"role": "user", "content": "hi"}]}
FILM = {"message": "waves", "chatType": "t2v", "size": "128x72", "seconds": 1}
TRIED = re.compile(r"lab/a upstream_rate_limited \d+\.\d+s, lab/b (ok|streaming) \d+\.\d+s")


class Asked(NamedTuple):
    path: str
    body: dict[str, Any]
    form: bool = False
    prefer: str = ""

    def streams(self) -> bool:
        return bool(self.body.get("stream"))


GENERATIONS = (
    Asked("/v1/chat/completions", SAY),
    Asked("/v1/chat/completions", {**SAY, "stream": True}),
    Asked("/api/chat", {"message": "hi"}),
    Asked("/api/chat", {"message": "hi", "stream": True}),
    Asked("/api/chat/completions", SAY),
    Asked("/api/chat", {"message": "a hill", "chatType": "t2i"}),
    Asked("/v1/chat/completions", {"message": "a hill", "chatType": "t2i", "stream": True}),
    Asked("/api/chat", {"message": "a tune", "chatType": "t2m"}),
    Asked("/v1/images/generations", {"prompt": "a hill"}),
    Asked("/v1/images/generations", {"prompt": "a hill", "stream": True}),
    Asked("/v1/audio/speech", {"input": "hi"}),
    Asked("/v1/audio/transcriptions", {}, form=True),
    Asked("/v1/audio/translations", {}, form=True),
    Asked("/v1/embeddings", {"input": "hi"}),
)
FILMS = (
    Asked("/api/chat", FILM),
    Asked("/v1/chat/completions", FILM),
    Asked("/api/chat", FILM, prefer="wait=20"),
    Asked("/api/tasks", {**FILM, "kind": "t2v"}, prefer="wait=20"),
)


def name(asked: Asked) -> str:
    return f"{asked.path} {asked.body.get('chatType', '')} {asked.prefer}{' stream' * asked.streams()}"


@contextmanager
def gateway(home: Path) -> Iterator[TestClient]:
    (home / "config.yaml").write_text(CONFIG)
    with TestClient(create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """For faults that the caller asks for and no account is blamed for."""
    with gateway(tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TestClient]:
    """For faults that change whose turn it is."""
    with gateway(tmp_path) as opened:
        yield opened


def sound() -> bytes:
    """A tenth of a second of silence."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 800, "NONE", "NONE"))
        file.writeframes(bytes(1600))
    return out.getvalue()


def answer_to(client: TestClient, asked: Asked, key: str, fault: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    headers |= {"x-sandbox-fault": fault} if fault else {}
    headers |= {"prefer": asked.prefer} if asked.prefer else {}
    if asked.form:
        return client.post(asked.path, files={"file": ("a.wav", sound(), "audio/wav")}, headers=headers)
    return client.post(asked.path, json=asked.body, headers=headers)


def told(answer: httpx.Response) -> list[str]:
    """Headers that only admins get."""
    return [header for header in answer.headers if header in ("x-gateway-account", "x-gateway-attempts")]


# --- answers ---


@pytest.mark.parametrize("asked", GENERATIONS + FILMS, ids=name)
def test_an_answer_tells_an_admin_who_served_it_and_what_was_tried(client: TestClient, asked: Asked) -> None:
    answer = answer_to(client, asked, ADMIN, ONE_FAILS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-account"] == "lab/b"
    [outcome] = TRIED.fullmatch(answer.headers["x-gateway-attempts"]).groups()  # type: ignore[union-attr]
    assert outcome == ("streaming" if asked.streams() else "ok")


@pytest.mark.parametrize("asked", GENERATIONS + FILMS, ids=name)
def test_an_answer_tells_others_neither(client: TestClient, asked: Asked) -> None:
    answer = answer_to(client, asked, MAKER, ONE_FAILS)
    assert answer.status_code == 200, answer.text
    assert told(answer) == []
    assert b"lab/a" not in answer.content
    assert b"lab/b" not in answer.content


def test_what_is_no_generation_tells_nothing(client: TestClient) -> None:
    for path in ("/v1/models", "/api/status", "/api/tasks", "/healthz"):
        assert told(client.get(path, headers={"authorization": f"Bearer {ADMIN}"})) == []


def test_a_task_that_streams_tells_what_is_known_when_it_begins(client: TestClient) -> None:
    answer = answer_to(client, Asked("/api/chat", {**FILM, "stream": True}), ADMIN, ONE_FAILS)
    assert (answer.status_code, answer.headers["x-gateway-account"]) == (200, "lab/b")
    assert TRIED.fullmatch(answer.headers["x-gateway-attempts"])


# --- errors ---


@pytest.mark.parametrize("asked", GENERATIONS, ids=name)
def test_an_error_tells_an_admin_all_that_was_tried_and_why_it_failed(client: TestClient, asked: Asked) -> None:
    answer = answer_to(client, asked, ADMIN, BOTH_FAIL)
    assert answer.status_code == 429
    body = answer.json()
    attempts = (body["error"] if isinstance(body["error"], dict) else body)["attempts"]
    assert [(one["upstream"], one["account"], one["outcome"]) for one in attempts] == [
        ("lab", "lab/a", "upstream_rate_limited"),
        ("lab", "lab/b", "upstream_rate_limited"),
    ]
    for one in attempts:
        assert set(one) == {"upstream", "account", "outcome", "seconds", "reason"}
        assert one["seconds"] >= 0
        assert one["reason"] == "The upstream limits the rate of the account that was used."
    assert re.fullmatch(
        r"lab/a upstream_rate_limited \d+\.\d+s, lab/b upstream_rate_limited \d+\.\d+s",
        answer.headers["x-gateway-attempts"],
    )
    assert answer.headers["x-gateway-account"] == "lab/b"


@pytest.mark.parametrize("asked", GENERATIONS, ids=name)
def test_an_error_tells_others_nothing_of_it(client: TestClient, asked: Asked) -> None:
    answer = answer_to(client, asked, MAKER, BOTH_FAIL)
    assert (answer.status_code, told(answer)) == (429, [])
    assert "attempts" not in answer.text
    assert "lab/" not in answer.text


def test_an_error_before_anything_was_tried_tells_of_nothing(client: TestClient) -> None:
    answer = answer_to(client, Asked("/v1/chat/completions", {}), ADMIN)
    assert (answer.status_code, told(answer)) == (400, [])
    assert "attempts" not in answer.text


def last_event(answer: httpx.Response) -> Any:
    [*_, data] = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize(
    ("asked", "fault", "outcome"),
    [
        (Asked("/v1/chat/completions", {**SAY, "stream": True}), "cut;after=2", "stream_interrupted"),
        (Asked("/api/chat", {"message": "hi", "stream": True}), "cut;after=2", "stream_interrupted"),
        (Asked("/v1/images/generations", {"prompt": "x", "stream": True}), "garbage;after=1", "bad_upstream_response"),
    ],
    ids=["v1", "api", "images"],
)
def test_a_stream_that_fails_tells_an_admin_in_its_last_event(
    fresh: TestClient, asked: Asked, fault: str, outcome: str
) -> None:
    answer = answer_to(fresh, asked, ADMIN, fault)
    assert re.fullmatch(r"lab/a streaming \d+\.\d+s", answer.headers["x-gateway-attempts"])
    [attempt] = last_event(answer)["error"]["attempts"]
    assert (attempt["account"], attempt["outcome"]) == ("lab/a", outcome)
    others = last_event(answer_to(fresh, asked, MAKER, fault))["error"]
    assert (others["code"], others.get("attempts")) == (outcome, None)


def test_a_whole_answer_that_breaks_off_tells_it_as_an_error(fresh: TestClient) -> None:
    answer = answer_to(fresh, Asked("/api/chat", {"message": "hi"}), ADMIN, "cut;after=2")
    assert (answer.status_code, answer.json()["code"]) == (502, "stream_interrupted")
    assert [one["outcome"] for one in answer.json()["attempts"]] == ["stream_interrupted"]
    assert re.fullmatch(r"lab/a stream_interrupted \d+\.\d+s", answer.headers["x-gateway-attempts"])


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_video_that_fails_tells_what_was_tried_for_it(fresh: TestClient, path: str) -> None:
    answer = answer_to(fresh, Asked(path, FILM), ADMIN, "failed_job")
    assert answer.status_code == 502
    body = answer.json() if path == "/api/chat" else answer.json()["error"]
    assert [(one["account"], one["outcome"]) for one in body["attempts"]] == [("lab/a", "ok")]
    assert answer.headers["x-gateway-account"] == "lab/a"
    others = answer_to(fresh, Asked(path, FILM), MAKER, "failed_job")
    assert (others.status_code, told(others), "attempts" in others.text) == (502, [], False)


def test_a_video_that_fails_while_it_streams_tells_it_in_its_last_event(fresh: TestClient) -> None:
    asked = Asked("/api/chat", {**FILM, "stream": True})
    error = last_event(answer_to(fresh, asked, ADMIN, "failed_job"))["error"]
    assert [(one["account"], one["outcome"]) for one in error["attempts"]] == [("lab/a", "ok")]
    assert "attempts" not in last_event(answer_to(fresh, asked, MAKER, "failed_job"))["error"]


def rest(client: TestClient) -> None:
    """Nobody can serve for a moment: what is asked for is a task that waits."""

    def blame() -> None:
        pool = cast(Front, client.app).house.relay.pools["lab"]
        for account in pool.accounts:
            pool.blame(account.id, RateLimited(retry_after=3), model="sandbox-video", kind="t2v")

    assert client.portal is not None
    client.portal.call(blame)


def test_a_video_that_had_to_wait_tells_who_made_it_in_the_end(fresh: TestClient) -> None:
    rest(fresh)
    answer = answer_to(fresh, Asked("/api/chat", FILM), ADMIN)
    assert (answer.status_code, answer.headers["x-gateway-account"]) == (200, "lab/a")
    assert re.fullmatch(r"lab/a ok \d+\.\d+s", answer.headers["x-gateway-attempts"])


def test_a_video_that_had_to_wait_and_failed_tells_it_in_its_last_event(fresh: TestClient) -> None:
    rest(fresh)
    answer = answer_to(fresh, Asked("/api/chat", {**FILM, "stream": True}), ADMIN, "failed_job")
    assert told(answer) == []
    [attempt] = last_event(answer)["error"]["attempts"]
    assert (attempt["account"], attempt["outcome"]) == ("lab/a", "ok")


def test_a_wrong_wish_to_wait_makes_no_video(client: TestClient) -> None:
    def tasks() -> int:
        return len(client.get("/api/tasks?limit=100", headers={"authorization": f"Bearer {MAKER}"}).json()["data"])

    before = tasks()
    for asked in (
        Asked("/api/chat", {**FILM, "waitForCompletion": "no"}),
        Asked("/api/chat", {**FILM, "stream": True, "progress": 3}),
        Asked("/api/chat", FILM, prefer="wait=soon"),
    ):
        assert answer_to(client, asked, MAKER).status_code == 400
    assert tasks() == before
