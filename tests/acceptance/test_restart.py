"""Videos that are being made when the gateway dies or is told to go, and clients that do not wait for theirs."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, eventually, qwen, running, served
from tests.acceptance.tap import Tap
from tests.emulators.qwen import Fault, QwenSite, jwt

TOKEN = jwt("ada")
SMALL: dict[str, Any] = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1}
SLOW = {"x-sandbox-fault": "slow_job;seconds=2"}
SANDBOX = {"upstreams": [{"name": "sandbox", "type": "sandbox", "video_seconds": 0.3}], "server": {"drain_seconds": 1}}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, SANDBOX) as gateway:
        yield gateway


def start_video(gateway: Gateway) -> str:
    answer = gateway.client().post("/api/chat", json={**SMALL, "waitForCompletion": False}, headers=SLOW)
    return str(answer.json()["task_id"])


def task(gateway: Gateway, task_id: str) -> dict[str, Any]:
    told: dict[str, Any] = gateway.client().get(f"/api/tasks/{task_id}").json()
    return told


def tasks(gateway: Gateway) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = gateway.client().get("/api/tasks").json()["data"]
    return told


def done(gateway: Gateway, task_id: str, seconds: float = 15) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = task(gateway, task_id)
        return now if now["status"] not in ("queued", "running") else None

    return eventually(look, seconds) or {}


def ask_and_leave(gateway: Gateway, body: bytes) -> socket.socket:
    """A client that waits for its answer, on a socket that the test may close."""
    host, port = gateway.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    head = f"POST /api/chat HTTP/1.1\r\nhost: {host}\r\nx-sandbox-fault: slow_job;seconds=2\r\n"
    sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return sock


@pytest.mark.parametrize("end", ["kill -9", "SIGTERM"])
def test_video_is_finished_after_a_restart(gateway: Gateway, end: str) -> None:
    task_id = start_video(gateway)
    assert task(gateway, task_id)["status"] in ("queued", "running")
    if end == "SIGTERM":
        gateway.stop()
        assert gateway.ended() == 0
    else:
        gateway.crash()
    gateway.start()
    made = done(gateway, task_id)
    assert made["status"] == "succeeded"
    [file] = made["output"]["files"]
    assert len(httpx.get(gateway.url + "/" + file["url"].split("/", 3)[3]).content) == file["bytes"]
    assert len(tasks(gateway)) == 1


def test_video_finished_before_a_crash_is_still_there(gateway: Gateway) -> None:
    answer = gateway.client().post("/api/chat", json=SMALL).json()
    before = httpx.get(answer["video_url"]).content
    gateway.crash()
    gateway.start()
    told = gateway.client().get(f"/api/tasks/status/{answer['task_id']}").json()
    assert told["status"] == "completed"
    assert httpx.get(told["video_url"]).content == before
    old = gateway.url + "/" + answer["video_url"].split("/", 3)[3]
    assert httpx.get(old).content == before, "a link outlives the process that signed it"


def test_conversation_goes_on_after_a_crash(gateway: Gateway) -> None:
    first = gateway.client().post("/api/chat", json={"message": "My name is Ada Zimmermann."}).json()
    gateway.crash()
    gateway.start()
    body = {"message": "What is my name?", "chatId": first["chatId"], "parentId": first["parentId"]}
    assert "Ada" in gateway.client().post("/api/chat", json=body).json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", ["true", "false"])
def test_client_that_leaves_loses_nothing(gateway: Gateway, stream: str) -> None:
    body = b'{"chatType":"t2v","message":"waves","size":"128x72","seconds":1,"stream":%s}' % stream.encode()
    sock = ask_and_leave(gateway, body)
    [waiting] = eventually(lambda: tasks(gateway))
    sock.close()
    assert done(gateway, waiting["id"])["status"] == "succeeded"
    assert len(tasks(gateway)) == 1


def test_client_whose_gateway_dies_loses_nothing(gateway: Gateway) -> None:
    sock = ask_and_leave(gateway, b'{"chatType":"t2v","message":"waves","size":"128x72","seconds":1}')
    [waiting] = eventually(lambda: tasks(gateway))
    eventually(lambda: task(gateway, waiting["id"])["started_at"])
    gateway.crash()
    gateway.start()
    assert done(gateway, waiting["id"])["status"] == "succeeded"
    sock.close()


def test_client_that_waits_when_the_gateway_goes_is_told_where_to_ask(gateway: Gateway) -> None:
    heard: list[httpx.Response] = []
    late = {"x-sandbox-fault": "slow_job;seconds=4"}
    post = gateway.client().post
    client = threading.Thread(target=lambda: heard.append(post("/api/chat", json=SMALL, headers=late)))
    client.start()
    eventually(lambda: tasks(gateway))
    gateway.stop()
    client.join(10)
    [answer] = heard
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
    assert answer.headers["x-should-retry"] == "false", "another request would be another video"
    gateway.ended()
    gateway.start()
    assert done(gateway, answer.json()["task_id"])["status"] == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_create_whose_answer_is_lost_is_never_sent_again(tmp_path: Path, number: int) -> None:
    site = QwenSite((TOKEN,))
    tap = Tap(site, "/chat/completions")
    with served(tap) as url:
        config = {"upstreams": [qwen(url, TOKEN)], "server": {"drain_seconds": 1}}
        with running(tmp_path, config, secrets=[TOKEN]) as gateway:
            tap.shut()
            client = threading.Thread(target=waits_in_vain, args=(gateway.client(),))
            client.start()
            eventually(lambda: site.asked("completions"))
            [submitting] = tasks(gateway)
            gateway.stop(number)
            gateway.ended()
            client.join()
            tap.open()
            gateway.start()
            ended = done(gateway, submitting["id"])
            assert (ended["status"], ended["error"]["code"]) == ("failed", "submit_outcome_unknown")
            eventually(lambda: not gateway.in_flight())
            assert len(site.asked("completions")) == 1
            assert [len(person.tasks) for person in site.people.values()] == [1]


def waits_in_vain(client: httpx.Client) -> None:
    with suppress(httpx.TransportError):
        client.post("/api/chat", json={**SMALL, "model": "qwen3-max", "size": "16:9"})


def test_create_that_breaks_off_is_never_sent_again(tmp_path: Path) -> None:
    """The upstream made the job, and neither its answer nor its conversation tells so."""
    site = QwenSite((TOKEN, jwt("bob")))
    with served(site) as url:
        config = {"upstreams": [qwen(url, TOKEN, jwt("bob"))]}
        with running(tmp_path, config, secrets=[TOKEN]) as gateway:
            site.fail("completions", Fault.cut_after_create())
            site.fail("detail", *[Fault.api("internal_error", "The server had an error")] * 10)
            body = {**SMALL, "model": "qwen3-max", "size": "16:9"}
            answer = gateway.client().post("/api/chat", json=body)
            assert answer.status_code == 502, answer.text
            assert answer.json()["code"] == "submit_outcome_unknown"
            assert answer.headers["x-should-retry"] == "false"
            assert task(gateway, answer.json()["task_id"])["status"] == "failed"
            assert len(site.asked("completions")) == 1
