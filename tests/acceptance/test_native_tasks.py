"""Videos and their tasks in the native API, on the sandbox."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, lines, running
from tests.acceptance.native import SANDBOX, SMALL, ask, png, refused, said, size_of, start_video, task_done


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("tasks"), {"upstreams": [SANDBOX]}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


# --- videos ---


def test_video_is_waited_for(http: httpx.Client) -> None:
    answer = ask(http, **SMALL)
    assert answer["id"] == answer["response_id"] == answer["parentId"] == answer["task_id"]
    assert said(answer) == answer["video_url"]
    assert size_of(http.get(answer["video_url"]).content) == (128, 72)
    assert http.get(f"/api/tasks/{answer['task_id']}").json()["status"] == "succeeded"


def test_video_is_promised_and_polled_for(http: httpx.Client) -> None:
    promise = ask(http, **SMALL, waitForCompletion=False)
    assert (promise["status"], promise["parentId"]) == ("processing", promise["task_id"])
    assert promise["message"]
    assert promise["chatId"]
    first = http.get(f"/api/v1/tasks/status/{promise['task_id']}").json()
    assert (first["task_status"], first["content"], first["video_url"]) == ("processing", "", None)
    done = task_done(http, promise["task_id"])
    assert (done["task_status"], done["status"], done["progress"]) == ("completed", "completed", 100)
    assert done["content"] == done["video_url"] == done["data"]["content"]
    assert (done["error"], done["eta_seconds"]) == (None, 0)
    assert size_of(http.get(done["video_url"]).content) == (128, 72)


def test_video_streams_with_progress_where_asked(http: httpx.Client) -> None:
    answer = http.post("/api/chat", json={**SMALL, "stream": True, "progress": True})
    *chunks, done = lines(answer)
    assert done == "[DONE]"
    steps = [chunk["progress"] for chunk in chunks if "progress" in chunk]
    assert steps == sorted(steps)
    assert steps
    content = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert size_of(http.get(content.strip()).content) == (128, 72)
    assert chunks[0]["task_id"] == answer.headers["x-task-id"]


def test_image_becomes_a_video(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png(64, 64))}).json()["file"]["url"]
    answer = ask(http, **{**SMALL, "message": [{"type": "text", "text": "go"}, {"type": "image", "image": link}]})
    task = http.get(f"/api/tasks/{answer['task_id']}").json()
    assert (task["kind"], task["input"]["images"], task["status"]) == ("i2v", 1, "succeeded")


def test_conversation_goes_on_after_a_video(http: httpx.Client) -> None:
    first = ask(http, message="My name is Ada Zimmermann.")
    names = {"chatId": first["chatId"], "parentId": first["parentId"]}
    film = ask(http, **SMALL, **names, waitForCompletion=False)
    assert film["chatId"] == first["chatId"]
    last = ask(http, message="What is my name?", chatId=film["chatId"], parentId=film["parentId"])
    assert "Ada" in said(last)


@pytest.mark.parametrize("stream", [False, True])
def test_video_begins_a_conversation(http: httpx.Client, stream: bool) -> None:
    answer = http.post("/api/chat", json={**SMALL, "stream": stream})
    film = lines(answer)[0] if stream else answer.json()
    assert film["parentId"] == film["task_id"]
    assert said(ask(http, message="Hello", chatId=film["chatId"], parentId=film["parentId"]))


# --- tasks ---


def test_task_tells_everything_but_secrets(http: httpx.Client) -> None:
    task_id = start_video(http, seed=7)
    task_done(http, task_id)
    task = http.get(f"/api/tasks/{task_id}").json()
    assert (task["id"], task["object"], task["kind"], task["upstream"]) == (task_id, "task", "t2v", "sandbox")
    assert task["input"] == {"prompt": "waves", "size": "128x72", "seconds": 1.0, "seed": 7, "n": 1, "images": 0}
    [file] = task["output"]["files"]
    assert (file["mime"], file["width"], file["height"]) == ("video/mp4", 128, 72)
    assert file["seconds"] == pytest.approx(1, abs=0.2)
    assert len(http.get(file["url"]).content) == file["bytes"]
    assert task["created_at"] <= task["started_at"] <= task["finished_at"] < task["deadline"]


def test_failed_job_says_so(http: httpx.Client) -> None:
    told = task_done(http, start_video(http, "failed_job"))
    assert (told["status"], told["code"], told["video_url"]) == ("failed", "generation_failed", None)
    assert told["error"]
    answer = http.post("/api/chat", json=SMALL, headers={"x-sandbox-fault": "failed_job"})
    assert refused(answer, 502, "generation_failed")["task_id"].startswith("task_")
    assert task_done(http, start_video(http, "expired_job"))["status"] == "expired"


def test_failed_job_ends_a_stream_with_an_error(http: httpx.Client) -> None:
    answer = http.post("/api/chat", json={**SMALL, "stream": True}, headers={"x-sandbox-fault": "failed_job"})
    told = lines(answer)
    assert told[-1]["error"]["code"] == "generation_failed"
    assert "[DONE]" not in told


def test_tasks_are_listed_by_filter_and_page(http: httpx.Client) -> None:
    before = time.time() - 1
    ids = [start_video(http, model=f"listed-{at % 2}") for at in range(5)]
    for task_id in ids:
        task_done(http, task_id)
    one = http.get("/api/tasks", params={"model": "listed-1", "limit": 1, "from": before}).json()
    assert ([task["id"] for task in one["data"]], one["has_more"], one["object"]) == ([ids[3]], True, "list")
    two = http.get("/api/tasks", params={"model": "listed-1", "after": one["last_id"]}).json()
    assert ([task["id"] for task in two["data"]], two["has_more"]) == ([ids[1]], False)
    params = {"model": "listed-0", "status": "completed", "kind": "text_to_video", "order": "asc"}
    assert [task["id"] for task in http.get("/api/tasks", params=params).json()["data"]] == ids[::2]
    assert http.get("/api/tasks", params={"model": "listed-0", "status": "failed"}).json()["data"] == []
    assert http.get("/api/tasks", params={"to": before - 3600}).json()["data"] == []
    assert refused(http.get("/api/tasks", params={"status": "odd"}), 400, "invalid_value")["param"] == "status"
    assert refused(http.get("/api/tasks", params={"limit": "0"}), 400, "invalid_value")["param"] == "limit"


def test_task_events_are_told_to_the_end(http: httpx.Client) -> None:
    task_id = start_video(http)
    answer = http.get(f"/api/tasks/{task_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = lines(answer)
    assert {event["id"] for event in told} == {task_id}
    assert told[-1]["status"] == "succeeded"
    assert told[-1]["output"]["files"][0]["url"]
    assert [event["progress"] for event in told] == sorted(event["progress"] for event in told)


def test_cancelled_task_stays_cancelled(http: httpx.Client) -> None:
    task_id = start_video(http, "slow_job;seconds=30")
    first = http.post(f"/api/tasks/{task_id}/cancel")
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert http.post(f"/api/tasks/{task_id}/cancel").status_code == 200
    told = http.get(f"/api/tasks/status/{task_id}").json()
    assert (told["status"], told["video_url"]) == ("cancelled", None)


def test_finished_task_is_not_cancelled(http: httpx.Client) -> None:
    task_id = start_video(http)
    task_done(http, task_id)
    assert http.post(f"/api/tasks/{task_id}/cancel").json()["status"] == "succeeded"


def test_wait_has_a_limit_and_the_task_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("impatient")
    with running(home, {"upstreams": [SANDBOX], "tasks": {"wait_timeout": 1}}) as gateway:
        http = gateway.client()
        answer = http.post("/api/chat", json=SMALL, headers={"x-sandbox-fault": "slow_job;seconds=2"})
        told = refused(answer, 504, "timeout")
        assert told["status"] == "timeout"
        assert told["chatId"]
        assert answer.headers["x-should-retry"] == "false"
        assert http.get(f"/api/tasks/status/{told['task_id']}").json()["status"] == "processing"
        assert task_done(http, told["task_id"])["status"] == "completed"
