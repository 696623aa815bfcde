"""The last generations, made by the sandbox: with a task and without one."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.routes.library_rig import ASSETS, Caller, Rig, opened

HISTORY = "/api/history"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with opened(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def made(rig: Rig) -> dict[str, str]:
    """Generations of each sort, oldest first; their ids in the history by name."""
    image = {"prompt": "a lighthouse", "model": "sandbox-image", "size": "64x64"}
    told: dict[str, str] = {}
    rig.me.told("POST", "/v1/images/generations", image)
    told["image"] = rig.me.get(ASSETS, limit=1).json()["assets"][0]["id"]
    for name, body in {
        "task": {"kind": "t2i", **image, "n": 2},
        "chat": {"kind": "t2t", "message": "What is 6 times 7?", "model": "sandbox-chat"},
        "last": {"kind": "t2i", **image},
    }.items():
        answer = rig.me.ask("POST", "/api/tasks", body, headers={"prefer": "wait=20"})
        assert answer.status_code == 200, answer.text
        told[name] = answer.json()["id"]
    rig.me.registers("made elsewhere")
    rig.other.told("POST", "/v1/images/generations", image)
    return told


def entries(caller: Caller, **params: Any) -> list[dict[str, Any]]:
    answer = caller.get(HISTORY, **params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_generations_are_told_newest_first(rig: Rig, made: dict[str, str]) -> None:
    body = rig.me.told("GET", HISTORY)
    assert (body["object"], body["has_more"], body["next"]) == ("list", False, None)
    assert [one["id"] for one in body["data"]] == [made[name] for name in ("last", "chat", "task", "image")]
    by_id = {one["id"]: one for one in body["data"]}
    image, task, chat = by_id[made["image"]], by_id[made["task"]], by_id[made["chat"]]
    assert image == {
        "id": made["image"],
        "object": "generation",
        "kind": "t2i",
        "model": "sandbox-image",
        "prompt": "a lighthouse",
        "size": "64x64",
        "status": "succeeded",
        "progress": 100,
        "task_id": None,
        "error": None,
        "code": None,
        "cost": image["cost"],
        "currency": image["currency"],
        "finished_at": image["created_at"],
        "preview": image["preview"],
        "assets": image["assets"],
        "created_at": image["created_at"],
    }
    assert (task["task_id"], task["status"], task["size"], task["progress"]) == (
        made["task"],
        "succeeded",
        "64x64",
        100,
    )
    assert [one["asset_type"] for one in task["assets"]] == ["image", "image"]
    for one in [*image["assets"], *task["assets"]]:
        assert rig.me.client.get(one["file_url"]).headers["content-type"] == "image/png"
    assert (chat["prompt"], chat["assets"], chat["preview"]) == ("What is 6 times 7?", [], None)


def test_previews_are_shown(rig: Rig) -> None:
    asset = rig.other.has(preview=True, created_at=4e9)
    [entry] = entries(rig.other, limit=1)
    assert entry["id"] == asset.id
    assert rig.client.get(entry["preview"]).status_code == 200
    assert entry["assets"][0]["thumbnail_url"].endswith(str(asset.thumbnail_key))


def test_a_failure_is_told_in_a_sentence(rig: Rig, made: dict[str, str]) -> None:
    body = {"kind": "t2v", "model": "sandbox-video", "prompt": "a lighthouse", "seconds": 1}
    answer = rig.other.ask("POST", "/api/tasks", body, headers={"prefer": "wait=30", "x-sandbox-fault": "failed_job"})
    assert answer.json()["status"] == "failed", answer.text
    [entry] = entries(rig.other, status="failed")
    assert (entry["id"], entry["status"], entry["assets"]) == (answer.json()["id"], "failed", [])
    assert (entry["error"], entry["code"]) == (answer.json()["error"]["message"], answer.json()["error"]["code"])
    assert len(entry["error"]) > 10


def test_filters(rig: Rig, made: dict[str, str]) -> None:
    def named(**params: Any) -> set[str]:
        found = {one["id"] for one in entries(rig.me, **params)}
        return {name for name, one in made.items() if one in found}

    assert named(kind="t2t") == {"chat"}
    assert named(kind="text_to_image") == {"image", "task", "last"}
    assert named(model="sandbox-chat") == {"chat"}
    assert named(status="completed") == set(made)
    assert named(status="running") == set()
    assert named(model="none") == set()


def test_pages_follow_each_other(rig: Rig, made: dict[str, str]) -> None:
    found: list[str] = []
    params: dict[str, Any] = {"limit": 1}
    for _ in range(10):
        body = rig.me.get(HISTORY, **params).json()
        found += [one["id"] for one in body["data"]]
        if not body["has_more"]:
            break
        params["before"] = body["next"]
    assert found == [made[name] for name in ("last", "chat", "task", "image")]


def cursor(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("kind=embroidery", "kind"),
        ("status=done", "status"),
        ("status=failed&status=queued", "status"),
        ("model=", "model"),
        ("offset=1", "offset"),
        ("before=1", "before"),
        ("before=!!!!", "before"),
        ("before=%C3%A9", "before"),
        (f"before={cursor('1.0')}", "before"),
        (f"before={cursor('1e999 task_1')}", "before"),
        (f"before={cursor('-- task_1')}", "before"),
        (f"before={cursor('1.0 task_1 x')}", "before"),
    ],
)
def test_a_wrong_query_is_told(rig: Rig, query: str, param: str) -> None:
    answer = rig.me.ask("GET", f"{HISTORY}?{query}")
    assert (answer.status_code, answer.json()["param"]) == (400, param)
