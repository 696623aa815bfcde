"""The native API under /api on the sandbox: chats, media, tasks, files, models, accounts."""

import io
import time
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, eventually, lines, running

SMALL: dict[str, Any] = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1}
SANDBOX = {"name": "sandbox", "type": "sandbox", "image_seconds": 0.1, "video_seconds": 0.3}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = {"upstreams": [SANDBOX], "tasks": {"wait_timeout": 20}}
    with running(tmp_path_factory.mktemp("native"), config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def ask(http: httpx.Client, path: str = "/api/chat", **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert isinstance(body["error"], str)
    assert answer.headers["x-request-id"]
    return body


def png(width: int = 40, height: int = 30) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(held, "PNG")
    return held.getvalue()


def size_of(film: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(film)) as opened:
        track = opened.streams.video[0]
        return track.width, track.height


def task_done(http: httpx.Client, task_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told: dict[str, Any] = http.get(f"/api/tasks/status/{task_id}").json()
        return None if told["status"] == "processing" else told

    return eventually(look, 15) or {}


def start_video(http: httpx.Client, fault: str = "", **body: Any) -> str:
    headers = {"x-sandbox-fault": fault} if fault else {}
    told = http.post("/api/chat", json={**SMALL, "waitForCompletion": False, **body}, headers=headers).json()
    return str(told["task_id"])


# --- text ---


def test_chat_answers_with_the_names_to_go_on_by(http: httpx.Client) -> None:
    answer = ask(http, message="Hello")
    assert answer["object"] == "chat.completion"
    assert said(answer)
    assert answer["response_id"] == answer["parentId"]
    assert answer["chatId"]


def test_chat_streams_as_chunks(http: httpx.Client) -> None:
    *chunks, done = lines(http.post("/api/chat", json={"message": "Hello", "stream": True}))
    assert done == "[DONE]"
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0]["chatId"]
    assert chunks[0]["response_id"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v2/chat"])
def test_versions_mean_the_same(http: httpx.Client, path: str) -> None:
    assert said(ask(http, path, message="Hello"))
    assert http.get(path.replace("chat", "models")).json() == http.get("/api/models").json()


def test_openai_chat_is_found_here_too(http: httpx.Client) -> None:
    answer = ask(http, "/api/chat/completions", messages=[{"role": "user", "content": "Hello"}])
    assert said(answer)
    wrong = http.post("/api/chat/completions", json={"messages": 1})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")


def test_third_turn_knows_the_first(http: httpx.Client) -> None:
    first = ask(http, message="My name is Ada Zimmermann.")
    second = ask(http, message="I like hills.", chatId=first["chatId"], parentId=first["parentId"])
    third = ask(http, message="What is my name?", chatId=second["chatId"], parentId=second["parentId"])
    assert {first["chatId"]} == {second["chatId"], third["chatId"]}
    assert "Ada" in said(third)


def test_conversation_goes_on_by_its_chat_alone_and_branches_by_parent(http: httpx.Client) -> None:
    chat = http.post("/api/chats", json={"name": "Names", "model": "qwen3-max"}).json()
    assert chat["success"] is True
    first = ask(http, message="My name is Ada Zimmermann.", chatId=chat["chatId"])
    assert "Ada" in said(ask(http, message="What is my name?", chatId=chat["chatId"]))
    ask(http, message="My name is Bob Yates.", chatId=chat["chatId"])
    branch = ask(http, message="What is my name?", chatId=chat["chatId"], parentId=first["parentId"])
    assert "Ada" in said(branch)
    assert "Bob" not in said(branch)


def test_conversation_goes_on_from_a_stream(http: httpx.Client) -> None:
    first = lines(http.post("/api/chat", json={"message": "My name is Ada Zimmermann.", "stream": True}))[0]
    answer = ask(http, message="What is my name?", chatId=first["chatId"], parentId=first["response_id"])
    assert "Ada" in said(answer)


def test_whole_conversation_counts(http: httpx.Client) -> None:
    turns = [
        {"role": "user", "content": "My name is Ada Zimmermann."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]},
    ]
    assert "Ada" in said(ask(http, messages=turns))
    assert "Ada" in said(ask(http, messages=turns[:2], message="What is my name?"))


def test_parts_of_a_message_may_be_ours_or_openais(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    ours = [{"type": "text", "text": "What is this?"}, {"type": "image", "image": link}]
    theirs = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": link}}]
    assert said(ask(http, message=ours))
    assert said(ask(http, message=theirs))
    assert said(ask(http, message="What is this?", files=[{"url": link, "name": "red.png"}]))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "message"),
        ({"message": ""}, "invalid_value", "message"),
        ({"message": "x", "chatType": "t2x"}, "unknown_chat_type", "chatType"),
        ({"message": "x", "chatType": "t2i", "size": "big"}, "invalid_value", "size"),
        ({"message": "x", "chatType": "t2i", "n": 1000}, "invalid_value", "n"),
        ({"message": "x", "stream": "yes"}, "invalid_value", "stream"),
    ],
)
def test_wrong_request_names_what_is_wrong(http: httpx.Client, body: dict[str, Any], code: str, param: str) -> None:
    assert refused(http.post("/api/chat", json=body), 400, code)["param"] == param


def test_unknown_names_are_not_found(http: httpx.Client) -> None:
    refused(http.post("/api/chat", json={"message": "x", "chatId": "chat_none"}), 404, "chat_not_found")
    refused(http.get("/api/tasks/task_none"), 404, "task_not_found")
    refused(http.get("/api/tasks/status/task_none"), 404, "task_not_found")
    refused(http.post("/api/tasks/task_none/cancel"), 404, "task_not_found")
    refused(http.get("/api/nothing"), 404, "not_found")
    refused(http.delete("/api/chat"), 405, "method_not_allowed")


# --- images ---


def test_image_is_a_link_with_its_measures(http: httpx.Client) -> None:
    answer = ask(http, message="a hill", chatType="t2i", size="128x96")
    image = Image.open(io.BytesIO(http.get(said(answer)).content))
    assert (image.format, image.size) == ("PNG", (128, 96))
    assert answer["usage"].keys() >= {"input_tokens", "output_tokens"}
    assert {name: answer["usage"][name] for name in ("width", "height", "image_count")} == {
        "width": 128,
        "height": 96,
        "image_count": 1,
    }
    assert answer["chatId"]
    assert answer["parentId"] == answer["response_id"]


def test_several_images_are_a_line_each(http: httpx.Client) -> None:
    answer = ask(http, message="a hill", chatType="text_to_image", size="64x64", n=3)
    links = said(answer).strip().split("\n")
    assert len(set(links)) == 3
    assert {http.get(link).headers["content-type"] for link in links} == {"image/png"}
    assert answer["usage"]["image_count"] == 3


def test_image_streams_as_chunks(http: httpx.Client) -> None:
    body = {"message": "a hill", "chatType": "t2i", "size": "64x64", "stream": True}
    *chunks, done = lines(http.post("/api/chat", json=body))
    assert done == "[DONE]"
    content = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert http.get(content.strip()).headers["content-type"] == "image/png"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_image_is_made_from_an_image(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    parts = [{"type": "text", "text": "make it blue"}, {"type": "image", "image": link}]
    answer = ask(http, message=parts, chatType="i2i", size="64x64")
    assert http.get(said(answer)).content.startswith(b"\x89PNG")


# --- videos and their tasks ---


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


def test_task_tells_everything_but_secrets(http: httpx.Client) -> None:
    task_id = start_video(http, seed=7)
    task_done(http, task_id)
    task = http.get(f"/api/tasks/{task_id}").json()
    assert (task["id"], task["object"], task["kind"], task["upstream"]) == (task_id, "task", "t2v", "sandbox")
    assert task["input"] == {"prompt": "waves", "size": "128x72", "seconds": 1.0, "seed": 7, "images": 0}
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


# --- files ---


def test_upload_is_kept_byte_for_byte(http: httpx.Client) -> None:
    data = png(300, 200)
    told = http.post("/api/files/upload", files={"file": ("my red.png", data, "text/plain")}).json()
    file = told["file"]
    assert (told["success"], file["name"], file["size"], file["type"]) == (True, "my red.png", len(data), "image/png")
    assert file["fileId"]
    answer = http.get(file["url"])
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    part = http.get(file["url"], headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert http.head(file["url"]).headers["content-length"] == str(len(data))


def test_upload_that_cannot_be_kept_says_why(http: httpx.Client) -> None:
    refused(http.post("/api/files/upload", files={"other": ("a.png", png())}), 400, "missing_file")
    refused(http.post("/api/files/upload", files={"file": ("a.png", b"")}), 400, "empty_file")
    refused(http.post("/api/files/upload", files={"file": ("a.png", b"\x00\x01\x02")}), 415, "unsupported_file_type")
    large = {"file": ("a.png", png() + bytes(25 * 1024 * 1024))}
    refused(http.post("/api/files/upload", files=large), 413, "file_too_large")


def test_changed_link_opens_nothing(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    assert http.get(link.replace("uploads", "images")).status_code in (403, 404)
    token = link.split("/files/")[1].split("/")[0]
    assert http.get(link.replace(token, token[::-1])).status_code == 403


def test_ticket_takes_one_file_straight(http: httpx.Client) -> None:
    data = png()
    ticket = http.post("/api/files/getstsToken", json={"filename": "red.png", "filesize": len(data)}).json()
    assert (ticket["method"], ticket["expires_at"] > time.time()) == ("PUT", True)
    assert http.put(ticket["url"], content=data[:-1], headers=ticket["headers"]).status_code == 400
    file = http.put(ticket["url"], content=data, headers=ticket["headers"]).json()["file"]
    assert http.get(file["url"]).content == data
    assert http.put(ticket["url"].replace("red.png", "blue.png"), content=data).status_code == 403


# --- what there is, and how it stands ---


def test_models_tell_what_they_do(http: httpx.Client) -> None:
    every = http.get("/api/models").json()
    films = http.get("/api/models", params={"kind": "t2v"}).json()["data"]
    assert every["object"] == "list"
    assert films
    assert all("t2v" in model["kinds"] for model in films)
    assert {model["id"] for model in every["data"]} > {model["id"] for model in films}
    assert http.get(f"/api/models/{films[0]['id']}").json() == films[0]
    refused(http.get("/api/models", params={"kind": "odd"}), 400, "invalid_value")


def test_status_spends_nothing(http: httpx.Client) -> None:
    [before] = http.get("/api/status").json()["accounts"]
    [after] = http.get("/api/status").json()["accounts"]
    assert before == after
    assert (after["id"], after["name"], after["upstream"]) == ("sandbox/default", "default", "sandbox")
    assert (after["status"], after["resetAt"], after["in_flight"]) == ("OK", None, 0)


def test_status_tells_who_rests_until_when(http: httpx.Client) -> None:
    body = {"message": "Hello"}
    answer = http.post("/api/chat", json=body, headers={"x-sandbox-fault": "rate_limit;retry_after=1"})
    refused(answer, 429, "upstream_rate_limited")
    [told] = http.get("/api/status").json()["accounts"]
    assert told["status"] == "RATE_LIMITED"
    assert told["resetAt"]
    eventually(lambda: http.get("/api/status").json()["accounts"][0]["status"] == "OK")
    assert said(ask(http, **body))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"message": "Hello"}, "t2t"),
        ({"message": "a hill", "chatType": "t2i", "size": "16:9"}, "t2i"),
        ({"prompt": "waves", "kind": "text_to_video", "seconds": 3}, "t2v"),
    ],
)
def test_quote_tells_and_spends_nothing(http: httpx.Client, body: dict[str, Any], kind: str) -> None:
    before = len(http.get("/api/tasks").json()["data"]), http.get("/api/status").json()["accounts"][0]["used_today"]
    quote = ask(http, "/api/quote", **body)
    assert (quote["kind"], quote["upstream"], quote["available"]) == (kind, "sandbox", True)
    assert quote["adjustments"] == []
    after = len(http.get("/api/tasks").json()["data"]), http.get("/api/status").json()["accounts"][0]["used_today"]
    assert before == after
