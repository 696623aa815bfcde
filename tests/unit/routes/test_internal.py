"""What a scheduler outside sets going."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.config import load
from gateway.db.tables import deliveries, requests, settings, tasks
from gateway.routes.front import Front
from gateway.routes.house import House
from gateway.routes.internal import SWEEP_SECONDS, SWEPT
from tests.emulators.serving import serve
from tests.unit.routes.direct import KEY, Told, asked

pytestmark = pytest.mark.anyio

VIEWER = "key-that-only-reads-1"
VIDEO = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1, "waitForCompletion": False}
SANDBOX = {"name": "sandbox", "type": "sandbox", "image_seconds": 0, "video_seconds": 0}
IDLE = {"steps": 0, "webhooks": 0, "due_in_seconds": None}


class Ear:
    """A receiver of webhooks."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heard.append(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Gateway:
    def __init__(self, home: Path, url: str, ear: Ear, *, background: bool = False) -> None:
        keys = [{"name": "makes", "key": KEY}, {"name": "reads", "key": VIEWER, "role": "viewer"}]
        written = {
            "upstreams": [SANDBOX],
            "access": {"keys": keys},
            "webhooks": {"trusted_origins": [ear.url]},
            "tasks": {"background": background},
        }
        (home / "config.yaml").write_text(json.dumps(written))
        self.ear = ear
        self.app: Front = create_app(load({"DATABASE_URL": url, "GATEWAY_DATA_DIR": str(home / "var")}, home), {})

    @property
    def house(self) -> House:
        return self.app.house

    async def tick(self, query: str = "", method: str = "POST", key: str | None = KEY) -> Told:
        return await asked(self.app, method, f"/internal/tick{query}", key=key)

    async def ticked(self) -> dict[str, Any]:
        told = await self.tick()
        assert told.status == 200, told.body
        return dict(told.json())

    async def video(self, **fields: Any) -> str:
        return str((await asked(self.app, "POST", "/api/chat", VIDEO | fields)).json()["task_id"])

    async def state(self) -> str:
        return str(await self.one(select(tasks.c.state)))

    async def one(self, query: Any) -> Any:
        async with self.house.database.read() as connection:
            return (await connection.execute(query)).scalar()

    async def change(self, query: Any) -> None:
        async with self.house.database.write() as connection:
            await connection.execute(query)

    async def due(self, seconds: float = 0.0) -> None:
        """Have all tasks due in so many seconds."""
        await self.change(update(tasks).values(next_poll_at=self.house.tasks.store.now() + seconds))


@pytest.fixture
async def ear(anyio_backend: str) -> AsyncIterator[Ear]:
    ear = Ear()
    async with serve(ear) as ear.url:
        yield ear


@pytest.fixture(params=[False], ids=["without a background"])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path, either_url: str, ear: Ear) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path, either_url, ear, background=request.param)
    async with gateway.app.app.lifespan_context(gateway.app.app):  # type: ignore[attr-defined]
        yield gateway


# --- who may, and what may be asked ---


async def test_both_methods_do_the_same(gateway: Gateway) -> None:
    for method in ("GET", "POST"):
        told = await gateway.tick(method=method)
        assert (told.status, told.json(), told.headers["cache-control"]) == (200, IDLE, "no-store")


async def test_a_viewer_and_a_stranger_may_not(gateway: Gateway) -> None:
    await gateway.video()
    await gateway.due()
    for method in ("GET", "POST"):
        assert (await gateway.tick(method=method, key=None)).status == 401
        assert (await gateway.tick(method=method, key=VIEWER)).status == 403
    assert await gateway.state() == "running"


@pytest.mark.parametrize("seconds", ["0", "301", "-1", "1.5", "ten", "", "٣", "1000000000"])
async def test_seconds_that_are_none_are_refused(gateway: Gateway, seconds: str) -> None:
    told = await gateway.tick(f"?seconds={seconds}")
    assert (told.status, told.json()["param"]) == (400, "seconds"), told.body


async def test_the_bounds_may_be_asked_for(gateway: Gateway) -> None:
    for seconds in (1, 300):
        assert (await gateway.tick(f"?seconds={seconds}")).json() == IDLE


# --- what it does ---


async def test_it_takes_the_steps_that_are_due_and_tells_when_more_will_be(gateway: Gateway) -> None:
    await gateway.video()
    await gateway.due(100)
    waits = await gateway.ticked()
    assert (waits["steps"], waits["webhooks"]) == (0, 0)
    assert 90 < waits["due_in_seconds"] <= 100
    assert await gateway.state() == "running"
    await gateway.due()
    assert await gateway.ticked() == IDLE | {"steps": 1}
    assert await gateway.state() == "succeeded"
    assert await gateway.ticked() == IDLE


async def test_a_webhook_is_sent_in_the_tick_that_ends_its_task(gateway: Gateway) -> None:
    task = await gateway.video(webhook={"url": f"{gateway.ear.url}/told"})
    await gateway.due()
    assert await gateway.ticked() == IDLE | {"steps": 1, "webhooks": 1}
    assert [(heard["type"], heard["data"]["id"]) for heard in gateway.ear.heard] == [("task.succeeded", task)]


async def test_a_webhook_is_sent_in_the_request_that_ends_its_task(gateway: Gateway) -> None:
    task = await gateway.video(webhook={"url": f"{gateway.ear.url}/told"})
    await gateway.due()
    assert gateway.ear.heard == []
    assert (await asked(gateway.app, "GET", f"/api/tasks/status/{task}")).json()["status"] == "completed"
    assert [heard["data"]["id"] for heard in gateway.ear.heard] == [task]


async def test_a_webhook_that_waits_is_told_of_and_sent_by_a_later_tick(gateway: Gateway) -> None:
    await gateway.video(webhook={"url": f"{gateway.ear.url}/told"})
    await gateway.due()
    await gateway.ticked()
    now = gateway.house.database.now()
    again = {"state": "pending", "next_at": now + 60, "lease_until": 0.0, "finished_at": None}
    await gateway.change(update(deliveries).values(again))
    waits = await gateway.ticked()
    assert waits["webhooks"] == 0
    assert 50 < waits["due_in_seconds"] <= 60
    await gateway.change(update(deliveries).values(next_at=now))
    assert await gateway.ticked() == IDLE | {"webhooks": 1}
    assert len(gateway.ear.heard) == 2


async def test_several_at_once_share_the_work(gateway: Gateway) -> None:
    for _ in range(3):
        await gateway.video(webhook={"url": f"{gateway.ear.url}/told"})
    await gateway.due()
    told = await asyncio.gather(*(gateway.ticked() for _ in range(4)))
    assert sum(one["steps"] for one in told) == 3
    assert len(gateway.ear.heard) == 3
    assert await gateway.one(select(func.count()).where(tasks.c.state == "succeeded")) == 3
    assert await gateway.one(select(func.count()).where(deliveries.c.state == "delivered")) == 3


@pytest.mark.parametrize("gateway", [True], indirect=True, ids=["with a background"])
async def test_it_does_no_harm_beside_a_background(gateway: Gateway) -> None:
    task = await gateway.video(webhook={"url": f"{gateway.ear.url}/told"})
    async with asyncio.timeout(10):
        while not gateway.ear.heard:
            await gateway.ticked()
        while await gateway.one(select(deliveries.c.state)) != "delivered":
            await gateway.ticked()
    assert await gateway.state() == "succeeded"
    assert [heard["data"]["id"] for heard in gateway.ear.heard] == [task]


# --- what is remembered of requests ---


async def remembered(gateway: Gateway) -> int:
    return int(await gateway.one(select(func.count()).select_from(requests)))


async def remember_an_old_one(gateway: Gateway, key: str) -> None:
    row = {"owner": "o", "key": key, "fingerprint": "f", "state": "done", "created_at": 1.0, "expires_at": 2.0}
    await gateway.change(insert(requests).values(row))


async def test_old_requests_are_swept_but_not_by_every_tick(gateway: Gateway) -> None:
    await remember_an_old_one(gateway, "a")
    await asyncio.gather(*(gateway.ticked() for _ in range(3)))
    assert await remembered(gateway) == 0
    await remember_an_old_one(gateway, "b")
    await gateway.ticked()
    assert await remembered(gateway) == 1, "that was done a moment ago"
    long_ago = str(gateway.house.database.now() - SWEEP_SECONDS - 1)
    await gateway.change(update(settings).where(settings.c.key == SWEPT).values(value=long_ago))
    await gateway.ticked()
    assert await remembered(gateway) == 0
