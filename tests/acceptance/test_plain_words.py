"""Failures in the caller's language, wherever a caller meets them: answers, streams, tasks, the history, an SDK."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.gateway_process import Gateway, running
from tests.acceptance.native import SANDBOX, SMALL, refused, start_video, task_done

ADMIN, MAKER = "key-of-the-admin-1", "key-of-the-maker-1"
CHINESE = {"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}
CONFIG = {
    "upstreams": [SANDBOX],
    "access": {
        "keys": [{"name": "boss", "key": ADMIN, "role": "admin"}, {"name": "ada", "key": MAKER, "role": "developer"}]
    },
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("words"), CONFIG, secrets=(ADMIN, MAKER)) as gateway:
        yield gateway


def caller(gateway: Gateway, key: str = MAKER, **headers: str) -> httpx.Client:
    return gateway.client(headers={"authorization": f"Bearer {key}", **headers})


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def test_a_refusal_is_told_in_the_language_that_is_asked_for(gateway: Gateway) -> None:
    for headers, language in ((CHINESE, "zh"), ({"accept-language": "fr, en;q=0.1"}, "en"), ({}, "en")):
        answer = caller(gateway, **headers).get("/api/tasks/task_x")
        told = refused(answer, 404, "task_not_found")
        assert answer.headers["content-language"] == language
        assert "task_x" in told["error"] and told["error"].endswith(told["advice"])
        assert (is_chinese(told["error"]), is_chinese(told["advice"])) == (language == "zh",) * 2


def test_even_who_has_no_key_is_told_so(gateway: Gateway) -> None:
    answer = httpx.post(f"{gateway.url}/v1/embeddings", json={}, headers=CHINESE)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert is_chinese(answer.json()["error"]["message"])


def test_an_sdk_shows_what_happened_and_what_to_do(gateway: Gateway) -> None:
    client = gateway.openai(api_key=MAKER, default_headers={**CHINESE, "x-sandbox-fault": "refused"})
    with pytest.raises(openai.BadRequestError) as told:
        client.images.generate(model="sandbox-image", prompt="a hill")
    assert (told.value.code, told.value.param, told.value.type) == (
        "content_policy_violation",
        "prompt",
        "invalid_request_error",
    )
    assert isinstance(told.value.body, dict)
    assert told.value.body["message"].endswith(told.value.body["advice"])
    assert is_chinese(told.value.body["message"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello there"}]}),
        ("/api/chat", {"model": "sandbox-chat", "message": "Hello there"}),
        ("/v1/images/generations", {"model": "sandbox-image", "prompt": "a hill", "size": "64x64"}),
    ],
)
def test_a_stream_that_breaks_off_says_so_in_the_same_language(gateway: Gateway, path: str, body: Any) -> None:
    fault = "cut;after=1" if "images" in path else "cut;after=2"
    with caller(gateway, **CHINESE, **{"x-sandbox-fault": fault}) as http:
        answer = http.post(path, json={**body, "stream": True})
    last = [line for line in answer.text.splitlines() if line.startswith("data: {")][-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (answer.status_code, error["code"]) == (200, "stream_interrupted")
    assert is_chinese(error["message"])


def test_a_task_s_failure_is_told_in_the_language_of_whoever_looks(gateway: Gateway) -> None:
    made = start_video(caller(gateway), "failed_job")
    english = task_done(caller(gateway), made)
    assert (english["status"], english["code"]) == ("failed", "generation_failed")
    assert english["error"].endswith(english["advice"]) and not is_chinese(english["error"])
    theirs = caller(gateway, **CHINESE)
    chinese = theirs.get(f"/api/tasks/status/{made}").json()
    whole = theirs.get(f"/api/tasks/{made}").json()["error"]
    [entry] = [one for one in theirs.get("/api/history").json()["data"] if one["task_id"] == made]
    events = theirs.get(f"/api/tasks/{made}/events").text
    for told in (chinese["error"], chinese["advice"], whole["message"], whole["advice"], entry["error"]):
        assert is_chinese(told)
    assert json.loads(events.partition("data: ")[2])["error"] == whole
    assert {"code", "message", "type", "param", "advice"} == set(whole)


def test_the_upstream_s_own_words_are_for_admins(gateway: Gateway) -> None:
    for key, shown in ((MAKER, False), (ADMIN, True)):
        http = caller(gateway, key, **CHINESE, **{"x-sandbox-fault": "server_error;status=503"})
        told = refused(http.post("/api/chat", json=SMALL), 502, "upstream_failed")
        assert ("detail" in told, is_chinese(told["error"])) == (shown, True)
        kept = caller(gateway, key, **CHINESE).get(f"/api/tasks/{told['task_id']}").json()["error"]
        assert (kept.get("detail"), is_chinese(kept["message"])) == ("HTTP 503" if shown else None, True)
