"""Batches as their users meet them: a list of generations under a limit, each with an answer of its own."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, eventually, running
from tests.acceptance.native import SANDBOX

KEYS = {"API_KEYS": "key-of-ada-0815,key-of-bob-0815"}
FILM = {"kind": "t2v", "prompt": "waves", "size": "128x72", "seconds": 1}
IMAGE = {"kind": "t2i", "prompt": "a tower", "size": "64x64"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("batches"), {"upstreams": [SANDBOX]}, env=KEYS) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with client(gateway) as http:
        yield http


def client(gateway: Gateway, owner: str = "ada") -> httpx.Client:
    headers = {"authorization": f"Bearer key-of-{owner}-0815"}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=30, trust_env=False)


def made(http: httpx.Client, requests: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    answer = http.post("/api/batches", json={"requests": requests, **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/batches/{answer.json()['id']}"
    return answer.json()  # type: ignore[no-any-return]


def over(http: httpx.Client, batch: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told: dict[str, Any] = http.get(f"/api/batches/{batch['id']}").json()
        return told if told["status"] != "running" else None

    found = eventually(look, seconds)
    assert found is not None
    return found


def test_each_generation_has_an_answer_of_its_own_and_failures_stand_apart(http: httpx.Client) -> None:
    wrong = [{**IMAGE, "size": "enormous"}, {**IMAGE, "model": "no/such-model-" + "x" * 300}, {"kind": "t2i"}]
    batch = made(http, [IMAGE, *wrong, FILM, {"prompt": "say hello", "kind": "t2t"}], metadata={"order": "7"})
    assert (batch["object"], batch["total"], batch["metadata"]) == ("batch", 6, {"order": "7"})
    done = over(http, batch)
    assert done["status"] == "completed"
    assert done["counts"] == {"succeeded": 3, "failed": 3, "running": 0}
    rows = done["items"]
    assert [row["index"] for row in rows] == list(range(6))
    assert [row["status"] for row in rows] == ["succeeded", "failed", "failed", "failed", "succeeded", "succeeded"]
    assert rows[0]["task"]["output"]["files"][0]["mime"] == "image/png"
    assert rows[4]["task"]["output"]["files"][0]["mime"] == "video/mp4"
    assert rows[5]["task"]["output"]["text"]
    assert [row["error"]["param"] for row in rows[1:4]] == ["size", "model", "prompt"]
    assert [row["task_id"] for row in rows[1:4]] == [None] * 3
    assert rows[0]["error"] is None
    assert http.get(f"/api/tasks/{rows[0]['task_id']}").json()["status"] == "succeeded"


def test_no_more_run_at_once_than_was_asked_for(http: httpx.Client) -> None:
    done = over(http, made(http, [FILM] * 6, concurrency=2))
    spans = [(row["task"]["created_at"], row["task"]["finished_at"]) for row in done["items"]]
    moments = sorted({moment for span in spans for moment in span})
    assert done["counts"]["succeeded"] == 6
    assert max(sum(begun < moment < ended for begun, ended in spans) for moment in moments) <= 2  # whole seconds


def test_a_batch_goes_on_after_kill_9_and_makes_nothing_twice(tmp_path: Path) -> None:
    with running(tmp_path, {"upstreams": [SANDBOX]}, env=KEYS) as gateway:
        with client(gateway) as http:
            batch = made(http, [{**FILM, "prompt": f"film {n}"} for n in range(8)], concurrency=3)
            eventually(lambda: any(one["task_id"] for one in http.get(f"/api/batches/{batch['id']}").json()["items"]))
        gateway.crash()
        gateway.start()
        with client(gateway) as http:
            done = over(http, batch, 90)
            tasks = http.get("/api/tasks?limit=100").json()["data"]
        assert done["counts"] == {"succeeded": 8, "running": 0}
        assert sorted(task["input"]["prompt"] for task in tasks) == sorted(f"film {n}" for n in range(8))


def test_cancelling_begins_nothing_more_and_stops_what_runs(http: httpx.Client) -> None:
    long = {**FILM, "seconds": 4}
    batch = made(http, [long] * 5, concurrency=1)
    eventually(lambda: http.get(f"/api/batches/{batch['id']}").json()["items"][0]["task_id"])
    told = http.post(f"/api/batches/{batch['id']}/cancel").json()
    assert told["cancel_requested"] is True
    done = over(http, batch)
    assert done["status"] == "cancelled"
    assert done["counts"]["cancelled"] >= 4
    assert http.post(f"/api/batches/{batch['id']}/cancel").json()["status"] == "cancelled"


def test_lists_are_paged_and_are_ones_own(gateway: Gateway) -> None:
    with client(gateway, "bob") as bob, client(gateway) as ada:
        ids = [made(bob, [IMAGE])["id"] for _ in range(3)]
        first = bob.get("/api/batches?limit=2").json()
        assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:0:-1], True)
        rest = bob.get(f"/api/batches?limit=2&after={first['last_id']}").json()
        assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[:1], False)
        for path in (f"/api/batches/{ids[0]}", f"/api/batches?after={ids[0]}"):
            assert ada.get(path).status_code == 404
        assert ada.post(f"/api/batches/{ids[0]}/cancel").status_code == 404


def test_a_batch_comes_once_under_one_key(http: httpx.Client) -> None:
    once = {"idempotency-key": f"batch-{time.time_ns()}"}
    first, second = (http.post("/api/batches", json={"requests": [IMAGE]}, headers=once) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": [IMAGE] * 1001}, "requests"),
        ({"requests": ["a tower"]}, "requests"),
        ({"requests": [IMAGE], "concurrency": 0}, "concurrency"),
        ({"requests": [IMAGE], "concurrency": 65}, "concurrency"),
        ({"requests": [IMAGE], "metadata": {"a": 1}}, "metadata"),
        ({"requests": [IMAGE, {**IMAGE, "webhook_url": "ftp://x"}]}, "requests[1].webhook_url"),
        ({"requests": [{**IMAGE, "continue_from": "yesterday"}]}, "requests[0].continue_from"),
    ],
)
def test_what_is_wrong_with_the_list_itself_is_refused(http: httpx.Client, body: dict[str, Any], param: str) -> None:
    answer = http.post("/api/batches", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["param"].startswith(param)
