"""The routes of webhooks, as callers of each role see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.db.tables import deliveries, destinations, webhook_secrets
from gateway.routes.front import Front
from gateway.types import Principal

CONFIG = """
access:
  keys:
    - {name: makes, key: sk-makes-things-1, role: developer}
    - {name: other, key: sk-makes-other-things-1, role: developer}
    - {name: reads, key: sk-reads-only-1, role: viewer}
"""
URL = "http://127.0.0.1:9/hook?key=1"  # not public: nothing is ever sent
FAR = 4e9
DELIVERIES = "/api/webhooks/deliveries"
SECRET = "/api/webhooks/secret"


class Caller:
    def __init__(self, client: TestClient, app: Front, key: str) -> None:
        self.client = client
        self.app = app
        self.headers = {"authorization": f"Bearer {key}"}
        self.id = self.principal(key).id

    def principal(self, key: str) -> Principal:
        return self.app.house.keyring.principal(f"Bearer {key}".encode())

    def get(self, path: str, **params: str) -> Any:
        return self.client.get(path, params=params, headers=self.headers)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        sent = {"json": body} if body is not None else {}
        return self.client.post(path, headers=self.headers, **sent, **options)

    def has(self, name: str, state: str = "failed", **fields: Any) -> str:
        """A delivery of this caller's. Returns its id."""
        row = {
            "id": f"evt_{name}",
            "owner": self.id,
            "task_id": "task_1",
            "type": "task.succeeded",
            "url": URL,
            "sequence": 4,
            "state": state,
            "attempts": 2,
            "next_at": FAR,
            "status": 503,
            "error": "it answered 503",
            "created_at": 1000.5,
            "finished_at": None if state == "pending" else 2000.5,
        } | fields

        async def add() -> None:
            async with self.app.house.database.write() as connection:
                await connection.execute(insert(deliveries).values(row))

        assert self.client.portal is not None
        self.client.portal.call(add)
        return str(row["id"])

    def ids(self, **params: str) -> list[str]:
        return [one["id"] for one in self.get(DELIVERIES, **params).json()["data"]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Front:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(CONFIG)
    return create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})


@pytest.fixture(scope="module")
def running(app: Front) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def client(app: Front, running: TestClient) -> Iterator[TestClient]:
    yield running

    async def empty() -> None:
        async with app.house.database.write() as connection:
            for table in (deliveries, destinations, webhook_secrets):
                await connection.execute(delete(table))

    assert running.portal is not None
    running.portal.call(empty)


@pytest.fixture
def caller(client: TestClient, app: Front) -> Caller:
    return Caller(client, app, "sk-makes-things-1")


@pytest.fixture
def other(client: TestClient, app: Front) -> Caller:
    return Caller(client, app, "sk-makes-other-things-1")


@pytest.fixture
def viewer(client: TestClient, app: Front) -> Caller:
    return Caller(client, app, "sk-reads-only-1")


def test_a_delivery_is_told_whole(caller: Caller) -> None:
    answer = caller.get(f"{DELIVERIES}/{caller.has('1')}")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "id": "evt_1",
            "object": "webhook_delivery",
            "type": "task.succeeded",
            "task_id": "task_1",
            "url": URL,
            "sequence": 4,
            "status": "failed",
            "attempts": 2,
            "response_status": 503,
            "error": "it answered 503",
            "created_at": 1000,
            "next_attempt_at": None,
            "finished_at": 2000,
        },
    )
    waiting = caller.get(f"{DELIVERIES}/{caller.has('2', 'pending')}").json()
    assert (waiting["status"], waiting["next_attempt_at"], waiting["finished_at"]) == ("pending", int(FAR), None)


def test_a_list_goes_page_by_page_newest_first(caller: Caller) -> None:
    for number in range(5):
        caller.has(str(number), created_at=1000.0 + number)
    page = caller.get(DELIVERIES, limit="2").json()
    assert [one["id"] for one in page.pop("data")] == ["evt_4", "evt_3"]
    assert page == {"object": "list", "first_id": "evt_4", "last_id": "evt_3", "has_more": True}
    page = caller.get(DELIVERIES, limit="2", after="evt_1").json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (["evt_0"], False)
    empty = caller.get(DELIVERIES, after="evt_0").json()
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_a_list_can_be_of_a_status_and_of_a_task(caller: Caller) -> None:
    caller.has("1", "delivered")
    caller.has("2", "disabled", task_id="task_2")
    assert caller.ids(status="delivered") == ["evt_1"]
    assert caller.ids(task_id="task_2") == ["evt_2"]
    assert caller.ids(task_id="task_2", status="delivered") == []
    assert len(caller.ids()) == 2


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ({"status": "lost"}, "status", "'lost' is unknown: use one of pending, delivered, failed, disabled"),
        ({"limit": "0"}, "limit", "a whole number from 1 to 100"),
        ({"limit": "101"}, "limit", "a whole number from 1 to 100"),
        ({"limit": "ten"}, "limit", "a whole number from 1 to 100"),
        ({"limit": "1" * 5000}, "limit", "a whole number from 1 to 100"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(
    caller: Caller, query: dict[str, str], param: str, message: str
) -> None:
    answer = caller.get(DELIVERIES, **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (400, "invalid_value", param)
    assert message in answer.json()["error"]


def test_what_belongs_to_another_caller_does_not_exist(caller: Caller, other: Caller) -> None:
    made = caller.has("1")
    for answer in (
        other.get(f"{DELIVERIES}/{made}"),
        other.get(DELIVERIES, after=made),
        other.post(f"{DELIVERIES}/{made}/replay"),
        caller.get(f"{DELIVERIES}/evt_2"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")
    assert other.ids() == []
    assert caller.get(f"{DELIVERIES}/{made}").json()["status"] == "failed"
    assert caller.get(SECRET).json()["secret"] != other.get(SECRET).json()["secret"]


@pytest.mark.parametrize("state", ["failed", "delivered", "disabled"])
def test_a_replay_begins_anew(caller: Caller, state: str) -> None:
    answer = caller.post(f"{DELIVERIES}/{caller.has('1', state)}/replay")
    told = answer.json()
    assert (answer.status_code, told["id"], told["status"], told["attempts"]) == (202, "evt_1", "pending", 0)
    assert (told["response_status"], told["error"], told["finished_at"]) == (None, None, None)
    assert told["next_attempt_at"] > 1_700_000_000


def test_a_replay_of_what_is_under_way_is_refused(caller: Caller) -> None:
    answer = caller.post(f"{DELIVERIES}/{caller.has('1', 'pending')}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_the_secret_is_told_until_it_is_rotated_and_nobody_keeps_the_answer(caller: Caller) -> None:
    answer = caller.get(SECRET)
    assert answer.headers["cache-control"] == "no-store"
    first = answer.json()
    assert first["secret"].startswith("whsec_")
    assert first["expiring"] == []
    assert caller.get(SECRET).json() == first
    answer = caller.post(f"{SECRET}/rotate")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    second = answer.json()
    assert second["secret"] != first["secret"]
    [former] = second["expiring"]
    assert (former["secret"], former["created_at"]) == (first["secret"], first["created_at"])
    assert former["expires_at"] - second["created_at"] == 86400
    assert caller.get(SECRET).json() == second


@pytest.mark.parametrize(("asked", "left"), [(0, None), (60, 60), (604800, 604800), (None, 86400)])
def test_how_long_the_former_secret_signs_on_can_be_asked_for(
    caller: Caller, asked: int | None, left: int | None
) -> None:
    caller.get(SECRET)
    told = caller.post(f"{SECRET}/rotate", {"overlap_seconds": asked}).json()
    assert [one["expires_at"] - told["created_at"] for one in told["expiring"]] == ([] if left is None else [left])


@pytest.mark.parametrize("asked", [-1, 604801, 1.5, "1", True])
def test_an_overlap_that_cannot_be_is_refused_and_rotates_nothing(caller: Caller, asked: object) -> None:
    before = caller.get(SECRET).json()
    answer = caller.post(f"{SECRET}/rotate", {"overlap_seconds": asked})
    assert (answer.status_code, answer.json()["param"]) == (400, "overlap_seconds")
    assert caller.post(f"{SECRET}/rotate", content=b"{").status_code == 400
    assert caller.get(SECRET).json() == before


def test_a_viewer_sees_no_secret_and_sends_nothing_again(viewer: Caller) -> None:
    made = viewer.has("1")
    assert viewer.ids() == [made]
    assert viewer.get(f"{DELIVERIES}/{made}").status_code == 200
    for answer in (
        viewer.get(SECRET),
        viewer.post(f"{SECRET}/rotate"),
        viewer.post(f"{DELIVERIES}/{made}/replay"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_permissions")
        assert "whsec_" not in answer.text


def test_nobody_without_a_key_gets_anywhere(client: TestClient) -> None:
    for path in (DELIVERIES, f"{DELIVERIES}/evt_1", SECRET):
        assert client.get(path).status_code == 401
    for path in (f"{DELIVERIES}/evt_1/replay", f"{SECRET}/rotate"):
        assert client.post(path).status_code == 401
