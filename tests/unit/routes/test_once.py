"""Requests that come twice, by route: what is answered, what is made again, and what nobody remembers."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import create_engine, select
from starlette.testclient import TestClient

from gateway import errors
from gateway.app import create_app
from gateway.config import load
from gateway.db.tables import requests
from gateway.routes import TABLE
from gateway.routes.front import Front
from gateway.routes.once import may_be_made

KEY, OTHER_KEY = "key-of-the-tests-1", "key-of-the-tests-2"
CONFIG = """
upstreams: [{name: sandbox, type: sandbox, image_seconds: 0, chunk_delay: 0}]
"""
TURNS = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "gpt", "messages": TURNS}
IMAGE: dict[str, Any] = {"prompt": "a hill", "size": "64x64"}
IMAGES, CHATS, SPEECH = "/v1/images/generations", "/v1/chat/completions", "/v1/audio/speech"
EARS = ("/v1/audio/transcriptions", "/v1/audio/translations")


class Made(NamedTuple):
    """A request, and the group that the sandbox counts it in."""

    path: str
    body: dict[str, Any]
    group: str


WORK = [
    Made(CHATS, CHAT, "t2t"),
    Made("/api/chat/completions", CHAT, "t2t"),
    Made("/api/chat", {"message": "hi"}, "t2t"),
    Made("/api/chat", {"message": "a hill", "chatType": "t2i", "size": "64x64"}, "t2i"),
    Made("/api/chat", {"message": "hello", "chatType": "tts"}, "tts"),
    Made("/api/chat", {"message": "calm", "chatType": "t2m", "seconds": 1}, "t2m"),
    Made(CHATS, {**CHAT, "chatType": "t2i", "size": "64x64"}, "t2i"),
    Made(IMAGES, IMAGE, "t2i"),
    Made(SPEECH, {"input": "hello"}, "tts"),
    Made("/v1/embeddings", {"input": "a hill"}, "embedding"),
]
PAID = [made for made in WORK if made.group not in ("t2t", "embedding")]
FREE = [made for made in WORK if made not in PAID]


class Caller:
    """A client of a gateway of its own."""

    def __init__(self, app: Front, client: TestClient, home: Path) -> None:
        self.app = app
        self.client = client
        self.home = home

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json=body, headers=sent | ({"idempotency-key": key} if key is not None else {}))

    def again(self, path: str, body: Any, tries: str = "1", **headers: str) -> httpx.Response:
        return self.post(path, body, x_stainless_retry_count=tries, **headers)

    def made(self, group: str) -> int:
        """How much of it was made."""
        [account] = self.client.get("/api/status").json()["accounts"]
        return int(account["used_today"].get(group, 0))

    def rows(self) -> list[Any]:
        engine = create_engine(f"sqlite:///{next((self.home / 'var').rglob('*.db'))}")
        try:
            with engine.connect() as connection:
                return list(connection.execute(select(requests)).all())
        finally:
            engine.dispose()


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    (tmp_path / "config.yaml").write_text(CONFIG)
    env = {"API_KEYS": f"{KEY},{OTHER_KEY}", "GATEWAY_DATA_DIR": str(tmp_path / "var")}
    app = create_app(load(env, tmp_path), {})
    with TestClient(app, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {KEY}"}) as client:
        yield Caller(app, client, tmp_path)


def replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


def code_of(answer: httpx.Response) -> str:
    told = answer.json()
    return str(told["error"]["code"] if isinstance(told["error"], dict) else told["code"])


def same(first: httpx.Response, second: httpx.Response) -> None:
    """The second is the first once more, and says so."""
    assert not replayed(first)
    assert replayed(second)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    tried = {"x-gateway-account", "x-gateway-attempts"}  # nobody is asked a second time
    its_own = {"x-request-id", "idempotent-replayed", "content-length", *tried}
    assert not tried & set(second.headers)
    left, right = ({name: got.headers[name] for name in set(got.headers) - its_own} for got in (first, second))
    assert left == right
    assert second.headers["content-length"] == str(len(first.content))
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


# --- with a key ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("work", WORK, ids=lambda work: f"{work.path} {work.group}")
def test_the_same_request_has_the_same_answer(caller: Caller, work: Made, stream: bool) -> None:
    body = {**work.body, "stream": stream}
    first = caller.post(work.path, body, "one")
    assert first.status_code == 200
    same(first, caller.post(work.path, body, "one"))
    assert caller.made(work.group) == 1
    assert not replayed(caller.post(work.path, body, "two"))
    assert caller.made(work.group) == 2


@pytest.mark.parametrize("path", EARS)
def test_a_form_is_the_same_whatever_its_boundary(caller: Caller, path: str) -> None:
    def post(boundary: str, name: str = "a.wav") -> httpx.Response:
        form = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        form += sound() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"content-type": f"multipart/form-data; boundary={boundary}", "idempotency-key": "one"}
        return caller.client.post(path, content=form, headers=headers)

    first = post("aaa")
    assert first.status_code == 200, first.text
    same(first, post("a-b-c"))
    assert code_of(post("aaa", "b.wav")) == "idempotency_key_reuse"
    assert caller.made("transcription") == 1
    assert caller.app.house.uploading == 0


def sound() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return held.getvalue()


def test_a_large_request_is_the_same_too(caller: Caller) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "word " * 100_000}]}
    same(caller.post(CHATS, body, "one"), caller.post(CHATS, body, "one"))
    body["messages"][0]["content"] += "!"
    assert caller.post(CHATS, body, "one").status_code == 422


def test_the_aliases_of_a_path_are_one_path(caller: Caller) -> None:
    same(caller.post("/api/chat", {"message": "hi"}, "one"), caller.post("/api/v2/chat", {"message": "hi"}, "one"))


@pytest.mark.parametrize("path", [CHATS, "/api/chat"])
def test_another_request_with_the_key_is_refused(caller: Caller, path: str) -> None:
    caller.post(path, CHAT, "one")
    answer = caller.post(path, {**CHAT, "seed": 1}, "one")
    assert (answer.status_code, code_of(answer)) == (422, "idempotency_key_reuse")
    assert answer.headers["x-should-retry"] == "false"
    other = caller.post("/v1/embeddings", CHAT, "one")
    assert (other.status_code, code_of(other)) == (422, "idempotency_key_reuse")
    assert caller.made("t2t") == 1


def test_the_keys_of_two_callers_are_two(caller: Caller) -> None:
    caller.post(IMAGES, IMAGE, "one")
    answer = caller.post(IMAGES, {**IMAGE, "n": 2}, "one", authorization=f"Bearer {OTHER_KEY}")
    assert (answer.status_code, replayed(answer)) == (200, False)
    assert len({row.owner for row in caller.rows()}) == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "täg".encode(), b"tab\tkey", b"\x7f"], ids=range(5))
@pytest.mark.parametrize("path", [CHATS, "/api/chat", *EARS])
def test_a_key_that_is_none_is_refused(caller: Caller, path: str, key: str | bytes) -> None:
    answer = caller.client.post(path, content=b"{}", headers={b"idempotency-key": key})  # type: ignore[dict-item]
    assert (answer.status_code, code_of(answer)) == (400, "invalid_value")
    assert "Idempotency-Key" in answer.text
    assert caller.rows() == []


def test_two_keys_are_none(caller: Caller) -> None:
    answer = caller.client.post(CHATS, json=CHAT, headers=[("idempotency-key", "one"), ("Idempotency-Key", "two")])
    assert (answer.status_code, code_of(answer)) == (400, "invalid_value")


@pytest.mark.parametrize("key", ["k", "k" * 255, '!~ key "of" mine; 100%'])
def test_any_printable_key_will_do(caller: Caller, key: str) -> None:
    same(caller.post(CHATS, CHAT, key), caller.post(CHATS, CHAT, key))


def test_keys_are_not_kept_as_they_are(caller: Caller) -> None:
    caller.post(CHATS, CHAT, "a secret of mine")
    [row] = caller.rows()
    assert "secret" not in repr(row)


# --- what went wrong ---


def test_what_was_refused_for_its_form_is_forgotten(caller: Caller) -> None:
    for body in ({}, {"prompt": ""}, {**IMAGE, "size": "huge"}, {**IMAGE, "model": "org/nothing", "n": 99}):
        answer = caller.post(IMAGES, body, "one")
        assert (answer.status_code, replayed(answer)) == (400, False)
        assert caller.rows() == []
    assert caller.post(IMAGES, IMAGE, "one").status_code == 200


@pytest.mark.parametrize(
    "fault", ["rate_limit", "daily_quota", "bad_key", "no_balance", "challenge", "unreachable", "refused"]
)
@pytest.mark.parametrize("work", [WORK[0], *PAID], ids=lambda work: f"{work.path} {work.group}")
def test_what_certainly_was_not_made_may_be_tried_again(caller: Caller, work: Made, fault: str) -> None:
    answer = caller.post(work.path, work.body, "one", x_sandbox_fault=fault)
    assert answer.status_code >= 400
    assert caller.rows() == []
    assert caller.post(work.path, work.body, "one").status_code == 200


@pytest.mark.parametrize("fault", ["server_error", "garbage", "cut;after=1"])
@pytest.mark.parametrize("work", PAID, ids=lambda work: f"{work.path} {work.group}")
def test_what_may_have_been_made_is_not_made_again(caller: Caller, work: Made, fault: str) -> None:
    first = caller.post(work.path, work.body, "one", x_sandbox_fault=fault)
    assert first.status_code == 502
    assert first.headers["x-should-retry"] == "false"
    made = caller.made(work.group)
    same(first, caller.post(work.path, work.body, "one"))
    assert caller.made(work.group) == made
    assert caller.post(work.path, work.body, "two").status_code == 200


@pytest.mark.parametrize("fault", ["server_error", "garbage", "cut;after=1"])
@pytest.mark.parametrize("work", FREE, ids=lambda work: f"{work.path} {work.group}")
def test_what_costs_nothing_is_tried_again_after_any_failure(caller: Caller, work: Made, fault: str) -> None:
    assert caller.post(work.path, work.body, "one", x_sandbox_fault=fault).status_code == 502
    assert caller.rows() == []
    assert caller.post(work.path, work.body, "one").status_code == 200


@pytest.mark.parametrize("work", [WORK[0], PAID[0]], ids=["text", "image"])
def test_a_stream_that_broke_off_is_not_kept(caller: Caller, work: Made) -> None:
    body = {**work.body, "stream": True}
    broken = caller.post(work.path, body, "one", x_sandbox_fault="cut;after=2")
    assert (broken.status_code, "stream_interrupted" in broken.text) == (200, True)
    assert caller.rows() == []
    whole = caller.post(work.path, body, "one")
    assert whole.text.endswith("data: [DONE]\n\n")
    same(whole, caller.post(work.path, body, "one"))


def test_what_was_made_but_could_not_be_stored_is_not_made_again(caller: Caller) -> None:
    objects = caller.app.house.storage._root
    assert objects is not None
    (objects / "images").write_text("in the way")
    first = caller.post(IMAGES, IMAGE, "one")
    assert (first.status_code, code_of(first)) == (503, "storage_unavailable")
    (objects / "images").unlink()
    same(first, caller.post(IMAGES, IMAGE, "one"))


def test_a_replay_needs_nothing_but_the_answer(caller: Caller) -> None:
    """The chat that it belongs to may be gone, and so may the model."""
    first = caller.post("/api/chat", {"message": "hi"}, "one")
    caller.app.house.catalog.resolve = None  # type: ignore[method-assign, assignment]
    same(first, caller.post("/api/chat", {"message": "hi"}, "one"))


# --- without a key ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("work", PAID, ids=lambda work: f"{work.path} {work.group}")
def test_who_tries_again_by_itself_gets_what_was_made(caller: Caller, work: Made, stream: bool) -> None:
    body = {**work.body, "stream": stream}
    first = caller.post(work.path, body, x_stainless_retry_count="0")
    same(first, caller.again(work.path, body))
    same(first, caller.again(work.path, body, "02"))
    assert caller.made(work.group) == 1


@pytest.mark.parametrize("tries", ["0", "00", "", "x", "-1", "1.0", "9" * 5000 + "x"], ids=range(7))
def test_who_asks_twice_gets_two(caller: Caller, tries: str) -> None:
    answers = [caller.post(IMAGES, IMAGE), caller.again(IMAGES, IMAGE, tries)]
    assert [replayed(answer) for answer in answers] == [False, False]
    assert caller.made("t2i") == 2
    same(answers[1], caller.again(IMAGES, IMAGE, "9" * 5000))


def test_another_request_is_no_second_try(caller: Caller) -> None:
    caller.post(IMAGES, IMAGE)
    assert not replayed(caller.again(IMAGES, {**IMAGE, "seed": 2}))
    assert not replayed(caller.again(IMAGES, IMAGE, authorization=f"Bearer {OTHER_KEY}"))
    assert caller.made("t2i") == 3


def test_a_second_try_after_what_may_have_been_made_has_the_same_answer(caller: Caller) -> None:
    first = caller.post(IMAGES, IMAGE, x_sandbox_fault="server_error")
    same(first, caller.again(IMAGES, IMAGE))
    assert not replayed(caller.again(SPEECH, {"input": "hello"}, x_sandbox_fault="rate_limit"))
    assert not replayed(caller.again(SPEECH, {"input": "hello"}))


def test_a_key_and_none_are_two(caller: Caller) -> None:
    caller.post(IMAGES, IMAGE, "one")
    assert not replayed(caller.again(IMAGES, IMAGE))
    assert caller.made("t2i") == 2


@pytest.mark.parametrize("tries", ["0", "1"])
@pytest.mark.parametrize("work", FREE, ids=lambda work: f"{work.path} {work.group}")
def test_text_without_a_key_is_nobody_s_business(
    caller: Caller, work: Made, tries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("look", "claim", "keep", "release"):
        monkeypatch.delattr(type(caller.app.house.idempotency), name)
    assert caller.again(work.path, work.body, tries).status_code == 200


# --- the rest ---


def test_every_route_that_makes_something_is_guarded() -> None:
    for entry in TABLE:
        makes = entry.path.startswith(("/v1/", "/api/chat/")) or entry.path in ("/api/chat", "/api/tasks")
        if makes and entry.method == "POST" and entry.path != "/v1/files":  # a file costs nothing, and is kept once
            assert hasattr(entry.endpoint, "__wrapped__"), entry.path


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (errors.InvalidRequest(), False, False),
        (errors.ContentRefused(), False, False),
        (errors.ClientLeft(), False, False),
        (errors.Draining(), False, False),
        (KeyboardInterrupt(), False, False),
        (errors.RateLimited(), False, False),
        (errors.CredentialRejected(), False, False),
        (errors.AdapterContract(), False, False),
        (errors.AllResting(), False, True),
        (errors.StorageUnavailable(), False, True),
        (errors.UpstreamUnreachable(sent="no"), False, True),
        (errors.UpstreamFailed(), True, True),
        (errors.UpstreamTimeout(sent="unknown"), True, True),
        (errors.UpstreamGarbled(), True, True),
        (errors.GenerationFailed(), True, True),
        (ValueError("a bug"), True, True),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_whether_something_may_have_been_made(error: BaseException, before: bool, after: bool) -> None:
    assert (may_be_made(error, begun=False), may_be_made(error, begun=True)) == (before, after)
