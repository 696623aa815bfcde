"""The task API as its users meet it: any kind of work, waiting, versions, events, deleting."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, eventually, running
from tests.acceptance.native import SANDBOX, refused, size_of

FILM = {"kind": "t2v", "prompt": "waves", "size": "128x72", "seconds": 1}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("tasks"), {"upstreams": [SANDBOX]}) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def make(http: httpx.Client, *, wait: int = 0, fault: str = "", **body: Any) -> tuple[httpx.Response, dict[str, Any]]:
    headers = {"prefer": f"wait={wait}"} if wait else {}
    headers |= {"x-sandbox-fault": fault} if fault else {}
    answer = http.post("/api/tasks", json=body, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer, answer.json()


def done(http: httpx.Client, task_id: str) -> dict[str, Any]:
    told: dict[str, Any] = http.get(f"/api/tasks/{task_id}?wait=20").json()
    return told


def test_a_task_is_promised_at_once_with_where_and_when_to_ask(http: httpx.Client) -> None:
    answer, task = make(http, **FILM, metadata={"order": "7"}, fault="slow_job;seconds=1")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/tasks/{task['id']}"
    assert answer.headers["x-task-id"] == task["id"]
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert (task["object"], task["kind"], task["metadata"]) == ("task", "t2v", {"order": "7"})
    assert httpx.get(task["links"]["self"]).json()["id"] == task["id"]
    assert done(http, task["id"])["metadata"] == {"order": "7"}


def test_who_prefers_to_wait_gets_the_end(http: httpx.Client) -> None:
    answer, task = make(http, wait=20, **FILM)
    assert (answer.status_code, task["status"]) == (200, "succeeded")
    assert "retry-after" not in answer.headers
    [file] = task["output"]["files"]
    assert size_of(httpx.get(file["url"]).content) == (128, 72)


def test_who_prefers_to_wait_less_gets_the_promise(http: httpx.Client) -> None:
    answer, task = make(http, wait=1, **FILM, fault="slow_job;seconds=3")
    assert (answer.status_code, task["status"]) == (202, "running")
    chat = http.post(
        "/api/chat",
        json={"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1},
        headers={"prefer": "wait=1", "x-sandbox-fault": "slow_job;seconds=3"},
    )
    assert (chat.status_code, chat.json()["status"]) == (200, "processing")
    waited = http.post(
        "/api/chat", json={**chat_film(), "waitForCompletion": False}, headers={"prefer": "wait=20"}
    ).json()
    assert waited["video_url"].endswith(".mp4")


def chat_film() -> dict[str, Any]:
    return {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1}


def test_several_images_are_outputs_of_one_task(http: httpx.Client) -> None:
    _, task = make(http, wait=20, kind="t2i", prompt="a lighthouse", n=3, size="96x64")
    assert [file["index"] for file in task["output"]["files"]] == [0, 1, 2]
    assert {(file["width"], file["height"], file["mime"]) for file in task["output"]["files"]} == {
        (96, 64, "image/png")
    }
    assert task["usage"]["images"] == 3


@pytest.mark.parametrize(
    ("body", "mime"),
    [
        ({"kind": "tts", "text": "hello there"}, "audio/mpeg"),
        ({"kind": "text_to_speech", "prompt": "hello there", "format": "wav"}, "audio/wav"),
        ({"kind": "t2m", "input": {"prompt": "a tune", "seconds": 1}}, "audio/mpeg"),
    ],
    ids=["speech", "long name", "music under input"],
)
def test_sound_can_be_a_task(http: httpx.Client, body: dict[str, Any], mime: str) -> None:
    _, task = make(http, wait=20, **body)
    [file] = task["output"]["files"]
    assert (file["mime"].replace("x-wav", "wav"), file["seconds"] > 0) == (mime, True)


def test_text_can_be_a_task(http: httpx.Client) -> None:
    _, task = make(http, wait=20, kind="t2t", prompt="What is 2+3?")
    assert "5" in task["output"]["text"]
    assert task["input"]["messages"] == [{"role": "user", "content": "What is 2+3?"}]
    status = http.get(f"/api/tasks/status/{task['id']}").json()
    assert (status["content"], status["video_url"]) == (task["output"]["text"], None)


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        ({"first_frame": "X"}, "i2v"),
        ({"first_frame": "X", "last_frame": "X"}, "flf2v"),
        ({"reference_images": ["X", "X", "X"]}, "ref2v"),
        ({"images": ["X"], "kind": "t2v"}, "i2v"),
        ({"images": [{"url": "X"}], "kind": "t2i"}, "i2i"),
    ],
)
def test_what_images_are_for_makes_the_kind(http: httpx.Client, images: dict[str, Any], kind: str) -> None:
    pixel = "data:image/png;base64," + PNG
    _, task = make(
        http, wait=20, prompt="go on", size="128x72", **json.loads(json.dumps(images).replace('"X"', f'"{pixel}"'))
    )
    assert (task["kind"], task["status"]) == (kind, "succeeded")


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_an_unchanged_task_is_not_sent_again(http: httpx.Client) -> None:
    _, task = make(http, wait=20, **FILM)
    first = http.get(f"/api/tasks/{task['id']}")
    assert first.headers["etag"].startswith('W/"')
    second = http.get(f"/api/tasks/{task['id']}", headers={"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.content, second.headers["etag"]) == (304, b"", first.headers["etag"])


def test_a_look_may_wait_for_the_end_or_for_news(http: httpx.Client) -> None:
    _, task = make(http, **FILM, fault="slow_job;seconds=1")
    now = http.get(f"/api/tasks/{task['id']}")
    news = http.get(f"/api/tasks/{task['id']}?wait=20", headers={"if-none-match": now.headers["etag"]})
    assert news.status_code == 200
    assert news.headers["etag"] != now.headers["etag"]
    assert done(http, task["id"])["status"] == "succeeded"
    short = http.get(f"/api/tasks/{make(http, **FILM, fault='slow_job;seconds=3')[1]['id']}?wait=1")
    assert (short.status_code, short.json()["status"]) == (200, "running")


def frames(response: httpx.Response) -> list[dict[str, str]]:
    found = []
    for block in response.iter_text():
        for frame in filter(None, block.split("\n\n")):
            if not frame.startswith(":"):
                found.append(dict(line.split(": ", 1) for line in frame.split("\n")))
    return found


def test_events_tell_every_change_and_go_on_where_the_reader_was(http: httpx.Client) -> None:
    _, task = make(http, **FILM, fault="slow_job;seconds=1")
    with http.stream("GET", f"/api/tasks/{task['id']}/events") as stream:
        seen = frames(stream)
    versions = [int(frame["id"]) for frame in seen]
    assert versions == sorted(set(versions))
    assert {frame["event"] for frame in seen} == {"task.updated"}
    assert json.loads(seen[-1]["data"])["status"] == "succeeded"
    with http.stream("GET", f"/api/tasks/{task['id']}/events", headers={"last-event-id": "1"}) as stream:
        assert [frame["id"] for frame in frames(stream)] == [seen[-1]["id"]]
    nothing = http.get(f"/api/tasks/{task['id']}/events", headers={"last-event-id": seen[-1]["id"]})
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_a_deleted_task_and_what_it_made_are_gone(http: httpx.Client) -> None:
    _, task = make(http, wait=20, **FILM)
    url = task["output"]["files"][0]["url"]
    assert httpx.get(url).status_code == 200
    answer = http.delete(f"/api/tasks/{task['id']}")
    assert answer.json() == {"id": task["id"], "object": "task.deleted", "deleted": True}
    assert httpx.get(url).status_code == 404
    refused(http.get(f"/api/tasks/{task['id']}"), 404, "task_not_found")
    refused(http.delete(f"/api/tasks/{task['id']}"), 404, "task_not_found")


def test_a_task_that_goes_on_is_not_deleted(http: httpx.Client) -> None:
    _, task = make(http, **FILM, fault="slow_job;seconds=2")
    refused(http.delete(f"/api/tasks/{task['id']}"), 409, "task_not_final")
    assert done(http, task["id"])["status"] == "succeeded"


def test_with_every_account_resting_a_task_tells_its_place(tmp_path: Path) -> None:
    stanza = {**SANDBOX, "accounts": [{"name": "only", "requests_per_minute": 1}]}
    with running(tmp_path, {"upstreams": [stanza]}) as gateway:
        http = gateway.client()
        first, second, third = (make(http, **FILM)[1] for _ in range(3))
        assert done(http, first["id"])["status"] == "succeeded"
        told = [http.get(f"/api/tasks/{task['id']}").json() for task in (second, third)]
        assert [one["status"] for one in told] == ["queued", "queued"]
        assert [one["queue_position"] for one in told] == [0, 1]
        assert all(0 < one["eta_seconds"] <= 61 for one in told)
        cancelled = http.post(f"/api/tasks/{second['id']}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert http.get(f"/api/tasks/{third['id']}").json()["queue_position"] == 0


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"kind": "t2v"}, "prompt", "missing_required_parameter"),
        ({"kind": "t2x", "prompt": "x"}, "kind", "unknown_chat_type"),
        ({"kind": "t2v", "prompt": "x", "n": 2}, "n", "unsupported_value"),
        ({"kind": "t2v", "prompt": "x", "input": {"prompt": "y"}}, "prompt", "invalid_value"),
        ({"kind": "t2v", "prompt": "x", "last_frame": "https://a.example/x.png"}, "first_frame", "invalid_value"),
        ({"prompt": "x", "images": ["https://a.example/x.png"], "reference_images": ["https://a.example/y.png"]},
         "images", "invalid_value"),
        ({"kind": "i2v", "prompt": "x"}, "chatType", "invalid_value"),
        ({"kind": "t2v", "prompt": "x", "first_frame": "ftp://a.example/x"}, "first_frame", "invalid_url"),
        ({"kind": "t2v", "prompt": "x", "metadata": {"a": 1}}, "metadata", "invalid_value"),
        ({"kind": "t2v", "prompt": "x", "metadata": {str(n): "v" for n in range(17)}}, "metadata", "invalid_value"),
        ({"kind": "t2v", "prompt": "x", "deadline_s": 0}, "deadline_s", "invalid_value"),
        ({"kind": "t2v", "prompt": "x", "webhook_url": "http://127.0.0.1/x"}, "webhook_url", "invalid_url"),
        ({"kind": "t2v", "prompt": "x", "webhook_url": "ftp://a.example"}, "webhook_url", "invalid_url"),
        ({"kind": "t2v", "prompt": "x", "webhook": {"url": "https://a.example", "events": ["x"]}},
         "webhook.events", "invalid_value"),
        ({"kind": "embedding", "prompt": "x"}, "kind", "unknown_chat_type"),
    ],
    ids=lambda value: "" if isinstance(value, str) else json.dumps(value)[:60],
)  # fmt: skip
def test_what_cannot_be_a_task_is_told_and_nothing_is_written(
    http: httpx.Client, body: dict[str, Any], param: str, code: str
) -> None:
    before = http.get("/api/tasks?limit=100").json()["data"]
    told = refused(http.post("/api/tasks", json=body), 400, code)
    assert told["param"].startswith(param)
    assert len(http.get("/api/tasks?limit=100").json()["data"]) == len(before)


def test_a_deadline_of_the_caller_s_own_counts(http: httpx.Client) -> None:
    _, task = make(http, **FILM, deadline_s=1, fault="slow_job;seconds=60")
    ended = eventually(lambda: (told := done(http, task["id"]))["finished_at"] and told, 30)
    assert ended is not None
    assert (ended["status"], ended["error"]["code"]) == ("expired", "expired")


def test_many_waiting_readers_all_see_the_end(http: httpx.Client, gateway: Gateway) -> None:
    _, task = make(http, **FILM, fault="slow_job;seconds=1")
    ends: list[str] = []

    def read() -> None:
        with httpx.stream("GET", f"{gateway.url}/api/tasks/{task['id']}/events", timeout=30) as stream:
            ends.append(json.loads(frames(stream)[-1]["data"])["status"])

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    assert ends == ["succeeded"] * 20
