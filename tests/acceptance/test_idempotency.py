"""Requests that are sent again to a gateway: by clients, by SDKs, after leaving and after crashes."""

import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.acceptance.gateway_process import Gateway, eventually, running

KEYS = "key-of-ada-0815,key-of-bob-4711"
SANDBOX = {"name": "sandbox", "type": "sandbox", "image_seconds": 0.4, "video_seconds": 0.3, "chunk_delay": 0.01}
CONFIG = {"upstreams": [SANDBOX], "server": {"drain_seconds": 1}}
IMAGES, CHATS = "/v1/images/generations", "/v1/chat/completions"
IMAGE: dict[str, Any] = {"prompt": "a hill", "size": "256x256"}
CHAT: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
VIDEO: dict[str, Any] = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1}
SLOW = {"x-sandbox-fault": "silence;seconds=30;after=1"}
"""Its first event comes, and then nothing more."""
NOTICED_SECONDS = 3.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("idempotency"), CONFIG, env={"API_KEYS": KEYS}) as gateway:
        yield gateway


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, CONFIG, env={"API_KEYS": KEYS}) as gateway:
        yield gateway


def made(gateway: Gateway, group: str = "t2i") -> int:
    return int(gateway.accounts()["sandbox/default"]["used_today"].get(group, 0))


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def draw(client: OpenAI, key: str, **fields: Any) -> Any:
    """An image, as an SDK asks for it."""
    raw = client.images.with_raw_response
    return raw.generate(prompt="a hill", size="256x256", extra_headers=keyed(key), extra_body=fields)


def at_once(count: int, ask: Callable[[], Any]) -> list[Any]:
    """So many callers, none before the others."""
    barrier = threading.Barrier(count)

    def asked() -> Any:
        barrier.wait()
        return ask()

    with ThreadPoolExecutor(count) as callers:
        return [one.result() for one in [callers.submit(asked) for _ in range(count)]]


def send(gateway: Gateway, path: str, body: Any, headers: dict[str, str]) -> socket.socket:
    """The request that httpx would send, but its sender may leave."""
    host, port = gateway.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=20)
    data = httpx.Request("POST", gateway.url, json=body).content
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"authorization: Bearer {gateway.key}"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"content-length: {len(data)}"]
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + data)
    return sock


def in_progress(answer: httpx.Response) -> bool:
    if answer.status_code != 409:
        return False
    assert answer.json()["error"]["code"] == "idempotency_in_progress"
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
    return True


# --- the same key ---


def test_sdk_gets_the_same_image_for_the_same_key(gateway: Gateway) -> None:
    client, before = gateway.openai(), made(gateway)
    first, second = draw(client, "same"), draw(client, "same")
    assert first.content == second.content
    assert first.parse().data[0].b64_json == second.parse().data[0].b64_json
    assert [answer.headers.get("idempotent-replayed") for answer in (first, second)] == [None, "true"]
    assert made(gateway) == before + 1
    with pytest.raises(openai.UnprocessableEntityError) as told:
        draw(client, "same", seed=5)
    assert told.value.code == "idempotency_key_reuse"
    bob = gateway.openai(api_key=KEYS.split(",")[1])
    assert draw(bob, "same", seed=5).headers.get("idempotent-replayed") is None


def test_sdk_streams_the_same_words_for_the_same_key(gateway: Gateway) -> None:
    client = gateway.openai()

    def heard() -> list[Any]:
        return list(client.chat.completions.create(**CHAT, stream=True, extra_headers=keyed("words")))

    assert heard() == heard()
    assert made(gateway, "t2t") == 1


def test_fifty_at_once_make_one_image(gateway: Gateway) -> None:
    before = made(gateway)

    def ask() -> httpx.Response:
        with gateway.client() as http:
            return http.post(IMAGES, json=IMAGE, headers=keyed("fifty"))

    answers = at_once(50, ask)
    assert made(gateway) == before + 1
    done = [answer for answer in answers if answer.status_code == 200]
    assert done
    assert all(in_progress(answer) for answer in answers if answer not in done)
    assert len({answer.content for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1


def test_fifty_sdks_at_once_all_get_the_one_image(gateway: Gateway) -> None:
    before = made(gateway)
    client = gateway.openai(max_retries=5)
    answers = at_once(50, lambda: draw(client, "sdks").content)
    assert len(set(answers)) == 1
    assert made(gateway) == before + 1


def test_fifty_at_once_make_one_video(gateway: Gateway) -> None:
    before = made(gateway, "t2v")

    def ask() -> Any:
        with gateway.client() as http:
            return http.post("/api/chat", json={**VIDEO, "waitForCompletion": False}, headers=keyed("film"))

    answers = at_once(50, ask)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert made(gateway, "t2v") == before + 1


def test_client_that_left_its_video_finds_it_by_its_key(gateway: Gateway) -> None:
    before = made(gateway, "t2v")
    body = {**VIDEO, "message": "a long wait"}
    sock = send(gateway, "/api/chat", body, {**keyed("left film"), "x-sandbox-fault": "slow_job;seconds=1"})
    eventually(lambda: made(gateway, "t2v") == before + 1)
    sock.close()
    with gateway.client() as http:
        answer = http.post("/api/chat", json=body, headers=keyed("left film"))
        assert answer.json()["video_url"], answer.text
        [task] = [task for task in http.get("/api/tasks").json()["data"] if task["input"]["prompt"] == "a long wait"]
        assert answer.headers["x-task-id"] == task["id"]
    assert made(gateway, "t2v") == before + 1


@pytest.mark.parametrize("path", ["/api/chat", "/api/tasks"])
def test_second_try_without_a_key_is_the_same_task(gateway: Gateway, path: str) -> None:
    body = {**VIDEO, "message": f"waves by {path}", "waitForCompletion": False}
    with gateway.client() as http:
        answers = [http.post(path, json=body, headers={"x-stainless-retry-count": tries}) for tries in ("0", "1", "0")]
    first, again, anew = (answer.headers["x-task-id"] for answer in answers)
    assert first == again != anew


# --- a sender that tries again by itself ---


def test_sdk_that_was_refused_tries_again_and_pays_once(gateway: Gateway) -> None:
    before = made(gateway)
    with gateway.client() as http:
        first = http.post(IMAGES, json=IMAGE, headers={"x-stainless-retry-count": "0"})
        again = http.post(IMAGES, json=IMAGE, headers={"x-stainless-retry-count": "1"})
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        anew = http.post(IMAGES, json=IMAGE, headers={"x-stainless-retry-count": "0"})
        assert "idempotent-replayed" not in anew.headers
    assert made(gateway) == before + 2


def test_second_try_waits_for_the_first(gateway: Gateway) -> None:
    body = {**IMAGE, "prompt": "a slow hill"}
    with gateway.client() as http, ThreadPoolExecutor(1) as callers:
        begun = gateway.in_flight()
        first = callers.submit(http.post, IMAGES, json=body)
        eventually(lambda: gateway.in_flight() > begun)
        assert in_progress(http.post(IMAGES, json=body, headers={"x-stainless-retry-count": "1"}))
        assert first.result().status_code == 200
        again = http.post(IMAGES, json=body, headers={"x-stainless-retry-count": "2"})
        assert again.content == first.result().content


# --- leaving, going, crashing ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), [(IMAGES, IMAGE), (CHATS, CHAT)], ids=["image", "text"])
def test_client_that_leaves_frees_its_key(gateway: Gateway, path: str, body: Any, stream: bool) -> None:
    key, asked = keyed(f"left {path} {stream}"), {**body, "stream": stream}
    before = gateway.in_flight()
    sock = send(gateway, path, asked, {**key, **SLOW})
    eventually(lambda: gateway.in_flight() > before)
    with gateway.client() as http:
        assert in_progress(http.post(path, json=asked, headers=key))
        sock.close()
        eventually(lambda: gateway.in_flight() == before, NOTICED_SECONDS)
        answer = eventually(lambda: _unless_in_progress(http.post(path, json=asked, headers=key)), NOTICED_SECONDS)
        assert answer is not None
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)


def _unless_in_progress(answer: httpx.Response) -> httpx.Response | None:
    return None if in_progress(answer) else answer


@pytest.mark.parametrize("stream", [False, True])
def test_shutdown_frees_the_keys_of_what_it_ends(own: Gateway, stream: bool) -> None:
    body = {**IMAGE, "stream": stream}
    sock = send(own, IMAGES, body, {**keyed("going"), **SLOW})
    eventually(lambda: own.in_flight() == 1)
    own.stop()
    told = b""
    while data := sock.recv(65536):
        told += data
        if b"shutting_down" in told:
            break
    assert b"shutting_down" in told
    assert own.ended() == 0
    own.start()
    assert own.client().post(IMAGES, json=body, headers=keyed("going")).status_code == 200


def test_crash_holds_a_key_no_longer_than_its_lease(own: Gateway) -> None:
    sock = send(own, IMAGES, IMAGE, {**keyed("crash"), **SLOW})
    eventually(lambda: own.in_flight() == 1)
    own.crash()
    sock.close()
    own.start()
    with own.client() as http:
        assert in_progress(http.post(IMAGES, json=IMAGE, headers=keyed("crash")))
    own.restart(signal.SIGKILL)
    _time_goes_by(own, 60)
    with own.client() as http:
        answer = http.post(IMAGES, json=IMAGE, headers=keyed("crash"))
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
        again = http.post(IMAGES, json=IMAGE, headers=keyed("crash"))
        assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")


def _time_goes_by(gateway: Gateway, seconds: float) -> None:
    [file] = gateway.home.rglob("*.db")
    with sqlite3.connect(file, timeout=5) as database:
        database.execute("UPDATE requests SET lease_until = lease_until - ?", (seconds,))
    database.close()


def test_answers_outlive_a_restart(own: Gateway) -> None:
    with own.client() as http:
        first = http.post(IMAGES, json=IMAGE, headers=keyed("lasting"))
        film = http.post("/api/chat", json={**VIDEO, "waitForCompletion": False}, headers=keyed("film")).json()
    own.restart()
    with own.client() as http:
        again = http.post(IMAGES, json=IMAGE, headers=keyed("lasting"))
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        same = http.post("/api/chat", json={**VIDEO, "waitForCompletion": False}, headers=keyed("film")).json()
        assert same["task_id"] == film["task_id"]
        assert len(http.get("/api/tasks").json()["data"]) == 1
