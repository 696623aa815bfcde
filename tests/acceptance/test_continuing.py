"""Going on from what was made: an image, an answer, a task; over restarts, and never from another's."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, running
from tests.acceptance.native import SANDBOX

KEYS = {"API_KEYS": "key-of-ada-0815,key-of-bob-0815"}
IMAGE = {"chatType": "t2i", "message": "a tower", "size": "64x64"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("continuing"), {"upstreams": [SANDBOX]}, env=KEYS) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 202), answer.text
    return answer.json()  # type: ignore[no-any-return]


def newest(http: httpx.Client) -> dict[str, Any]:
    """The asset that was made last."""
    return ok(http.get("/api/content-assets?limit=1"))["assets"][0]  # type: ignore[no-any-return]


def made_from(http: httpx.Client, asset_id: str) -> dict[str, Any]:
    asset = newest(http)
    assert asset["metadata"].get("kind", asset.get("kind")) in ("i2i", None)
    assert [parent["id"] if isinstance(parent, dict) else parent for parent in asset["parents"]] == [asset_id]
    return asset


def test_an_image_is_edited_by_its_id(http: httpx.Client) -> None:
    ok(http.post("/api/chat", json=IMAGE))
    first = newest(http)["id"]
    ok(http.post("/api/chat", json={"message": "redder", "continue_from": first, "size": "64x64"}))
    made_from(http, first)
    task = ok(
        http.post(
            "/api/tasks",
            json={"prompt": "bluer", "kind": "t2i", "continue_from": first},
            headers={"prefer": "wait=20"},
        )
    )
    assert (task["kind"], task["input"]["images"]) == ("i2i", 1)
    made_from(http, first)
    ok(
        http.post(
            "/v1/images/generations", json={"prompt": "greener", "model": "sandbox-image", "continue_from": first}
        )
    )
    made_from(http, first)


def test_a_film_begins_with_it(http: httpx.Client) -> None:
    ok(http.post("/api/chat", json=IMAGE))
    film = {"kind": "t2v", "prompt": "it moves", "size": "128x72", "seconds": 1, "continue_from": newest(http)["id"]}
    task = ok(http.post("/api/tasks", json=film))
    assert task["kind"] == "i2v"


def test_the_answer_of_a_chat_names_what_it_made(gateway: Gateway, http: httpx.Client) -> None:
    said = ok(http.post("/api/chat", json=IMAGE))
    first = newest(http)["id"]
    again = ok(http.post("/api/chat", json={"message": "redder", "continue_from": said["response_id"]}))
    made_from(http, first)
    assert again["chatId"] == said["chatId"]
    second = newest(http)["id"]
    ok(http.post("/api/chat", json={"message": "and redder", "continue_from": again["response_id"]}))
    made_from(http, second)


def test_a_text_goes_on_after_a_restart(gateway: Gateway) -> None:
    with gateway.client() as http:
        said = ok(http.post("/api/chat", json={"message": "My name is Ada."}))
    gateway.restart()
    with gateway.client() as http:
        asked = {"message": "What is my name?", "continue_from": said["response_id"]}
        again = ok(http.post("/api/chat", json=asked))
        assert again["chatId"] == said["chatId"]
        assert "Ada" in again["choices"][0]["message"]["content"]
        task = ok(http.post("/api/tasks", json={**asked, "kind": "t2t"}, headers={"prefer": "wait=20"}))
        assert "Ada" in task["output"]["text"]
        onward = {"message": "Say my name once more.", "continue_from": task["id"], "kind": "t2t"}
        last = ok(http.post("/api/tasks", json=onward, headers={"prefer": "wait=20"}))
        said_so_far = [turn["content"] for turn in last["input"]["messages"]]
        assert said_so_far[0] == "My name is Ada."
        assert said_so_far[-1] == "Say my name once more."


def test_a_task_that_made_an_image_is_gone_on_from(gateway: Gateway) -> None:
    with gateway.client() as http:
        body = {"kind": "t2i", "prompt": "a tower", "size": "64x64"}
        task = ok(http.post("/api/tasks", json=body, headers={"prefer": "wait=20"}))
        ok(http.post("/api/chat", json={"message": "redder", "continue_from": task["id"]}))
        made_from(http, task["output"]["files"][0]["id"])


def test_no_image_is_gone_on_from_where_there_are_but_words(http: httpx.Client) -> None:
    task = ok(http.post("/api/tasks", json={"kind": "t2t", "prompt": "a tower"}, headers={"prefer": "wait=20"}))
    turn = ok(http.post("/api/chat", json={"message": "a tower"}))["response_id"]
    picture = {"prompt": "redder", "model": "sandbox-image"}
    for name in (task["id"], turn):
        for path, body in (
            ("/v1/images/generations", picture),
            ("/v1/images/generations", {"prompt": "redder"}),
            ("/api/tasks", {"prompt": "redder", "kind": "t2i"}),
            ("/api/tasks", picture),
        ):
            answer = http.post(path, json={**body, "continue_from": name})
            assert answer.status_code == 400, (path, answer.text)
            assert f"{name} has no image to go on from" in answer.text


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/api/chat", {"message": "x", "continue_from": "asset_" + "0" * 32}, 404, None),
        ("/api/chat", {"message": "x", "continue_from": "resp_" + "0" * 32}, 404, None),
        ("/api/tasks", {"prompt": "x", "kind": "t2i", "continue_from": "task_" + "0" * 32}, 404, None),
        ("/api/chat", {"message": "x", "continue_from": "yesterday"}, 400, "continue_from"),
        ("/api/chat", {"message": "x", "continue_from": 7}, 400, "continue_from"),
        ("/api/tasks", {"prompt": "x", "continue_from": "asset_" + "0" * 32, "images": ["a"]}, 400, "images"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(
    gateway: Gateway, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    with gateway.client() as http:
        answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["param"] == param


def test_nobody_goes_on_from_what_is_another_s(gateway: Gateway) -> None:
    with gateway.client() as ada:
        said = ok(ada.post("/api/chat", json=IMAGE))
        names = [newest(ada)["id"], said["response_id"]]
    with httpx.Client(
        base_url=gateway.url, headers={"authorization": "Bearer key-of-bob-0815"}, trust_env=False
    ) as bob:
        for name in names:
            assert bob.post("/api/chat", json={"message": "mine", "continue_from": name}).status_code == 404
