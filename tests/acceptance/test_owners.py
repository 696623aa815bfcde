"""What one key made is nobody else's: to another key it does not exist."""

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, running
from tests.acceptance.native import SANDBOX, SMALL, ask, start_video, task_done

MINE, THEIRS = "first-key-0815", "second-key-4711"
TASKS = [
    ("GET", "/api/tasks/{id}"),
    ("GET", "/api/tasks/status/{id}"),
    ("GET", "/api/tasks/{id}/events"),
    ("POST", "/api/tasks/{id}/cancel"),
    ("GET", "/api/tasks?after={id}"),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    env = {"API_KEYS": f"{MINE},{THEIRS}"}
    with running(tmp_path_factory.mktemp("owners"), {"upstreams": [SANDBOX]}, env=env, secrets=[THEIRS]) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def mine(gateway: Gateway) -> httpx.Client:
    return gateway.client()


@pytest.fixture(scope="module")
def theirs(gateway: Gateway) -> httpx.Client:
    return gateway.client(headers={"authorization": f"Bearer {THEIRS}"})


@pytest.mark.parametrize(("method", "path"), TASKS)
def test_foreign_task_is_told_from_a_missing_one_by_nothing(
    mine: httpx.Client, theirs: httpx.Client, method: str, path: str
) -> None:
    here, nowhere = start_video(mine), f"task_{'0' * 32}"
    foreign, missing = (theirs.request(method, path.format(id=id)) for id in (here, nowhere))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.text.replace(here, nowhere) == missing.text
    assert mine.get(f"/api/tasks/{here}").json()["status"] != "cancelled"


def test_lists_hold_ones_own(mine: httpx.Client, theirs: httpx.Client) -> None:
    task_id = start_video(theirs)
    assert [task["id"] for task in theirs.get("/api/tasks").json()["data"]] == [task_id]
    assert task_id not in mine.get("/api/tasks").text
    assert task_done(theirs, task_id)["status"] == "completed"


def test_foreign_conversation_is_not_gone_on_with(mine: httpx.Client, theirs: httpx.Client) -> None:
    chat = ask(mine, message="My name is Ada Zimmermann.")
    for names in ({"chatId": chat["chatId"]}, {"parentId": chat["parentId"]}):
        answer = theirs.post("/api/chat", json={"message": "What is my name?", **names})
        assert (answer.status_code, answer.json()["code"]) == (404, "chat_not_found")
    video = theirs.post("/api/chat", json={**SMALL, "waitForCompletion": False, "chatId": chat["chatId"]})
    assert video.status_code == 404
    own = ask(theirs, message="Hello")
    mixed = {"chatId": own["chatId"], "parentId": chat["parentId"], "message": "What is my name?"}
    assert theirs.post("/api/chat", json=mixed).status_code in (400, 404)


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer nobody-s-key", f"Basic {MINE}", f"Bearer {MINE}x"])
def test_without_a_key_there_is_nothing(gateway: Gateway, authorization: str | None) -> None:
    headers = {"authorization": authorization} if authorization else {}
    with httpx.Client(base_url=gateway.url, headers=headers) as stranger:
        for path in ("/v1/models", "/api/models", "/api/status", "/api/tasks", "/api/nothing"):
            answer = stranger.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert MINE not in answer.text
        assert stranger.get("/healthz").status_code == 200


def test_links_need_no_key(gateway: Gateway, mine: httpx.Client) -> None:
    link = ask(mine, message="a hill", chatType="t2i", size="64x64")["choices"][0]["message"]["content"]
    assert httpx.get(link).content.startswith(b"\x89PNG")
