"""A gateway that no lifespan opens, and in which nothing runs in the background."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import Select, select, update
from structlog.testing import capture_logs

from gateway.app import create_app, opened
from gateway.config import Config, load
from gateway.db.lockfile import LockFile
from gateway.db.tables import tasks, usage
from gateway.drain import Drain
from gateway.routes import visits as visits_module
from gateway.routes.front import Front
from gateway.routes.house import House
from gateway.routes.visits import Visits
from gateway.tasks import tasks as tasks_module
from tests.acceptance.gateway_process import eventually
from tests.unit.db.conftest import POSTGRES, schema
from tests.unit.routes.direct import KEY, Told, asked

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
VIDEO = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1, "waitForCompletion": False}
IMAGE = {"kind": "t2i", "prompt": "a hill", "size": "64x64"}
SANDBOX = {"name": "sandbox", "type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 0}


def configured(home: Path, url: str = "", *, background: bool = False, **sandbox: Any) -> Config:
    (home / "config.yaml").write_text(json.dumps({"upstreams": [SANDBOX | sandbox]}))
    env = {"API_KEYS": KEY, "GATEWAY_BACKGROUND": str(background).lower(), "GATEWAY_DATA_DIR": str(home / "var")}
    return load(env | ({"DATABASE_URL": url} if url else {}), home)


class Counted:
    """An application whose house tells how often it was opened, and closed by who opened it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.openings = self.closings = 0
        self.house: House
        self._open: list[AbstractAsyncContextManager[House]] = []
        self.app = create_app(config, {})
        self.app.visits = Visits(lambda: _Opening(self))

    async def close(self) -> None:
        while self._open:
            await self._open.pop().__aexit__(None, None, None)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Told:
        return await asked(self.app, method, path, body, **headers)


class _Opening(AbstractAsyncContextManager[House]):
    """No generator of its own around that of `opened`: a loop that ends would close both at once."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._inner = opened(counted.config, {}, Drain())

    async def __aenter__(self) -> House:
        self._counted.openings += 1
        house = self._counted.house = await self._inner.__aenter__()
        self._counted._open.append(self._inner)
        return house

    async def __aexit__(self, *error: Any) -> None:
        self._counted.closings += 1
        self._counted._open.remove(self._inner)
        await self._inner.__aexit__(*error)


@pytest.fixture
async def gateway(anyio_backend: str, tmp_path: Path, either_url: str) -> AsyncIterator[Counted]:
    counted = Counted(configured(tmp_path, either_url))
    yield counted
    await counted.close()


on_postgresql = pytest.mark.parametrize("either_url", ["postgresql"], indirect=True)


async def rows(house: House, query: Select[Any]) -> list[Any]:
    async with house.database.read() as connection:
        return list((await connection.execute(query)).all())


async def change_tasks(house: House, **values: Any) -> None:
    async with house.database.write() as connection:
        await connection.execute(update(tasks).values(values))


# --- opening ---


async def test_first_requests_that_come_at_once_open_it_once(gateway: Counted) -> None:
    told = await asyncio.gather(*(gateway.ask("POST", "/v1/chat/completions", CHAT) for _ in range(5)))
    assert [one.status for one in told] == [200] * 5
    assert (await gateway.ask("GET", "/v1/models")).status == 200
    assert gateway.openings == 1


async def test_a_request_without_a_key_is_refused_as_ever(gateway: Counted) -> None:
    assert (await asked(gateway.app, "GET", "/v1/models", key=None)).status == 401
    assert (await asked(gateway.app, "GET", "/healthz", key=None)).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
async def test_an_opening_that_fails_is_told_and_tried_again_by_the_next_request(path: str, tmp_path: Path) -> None:
    gateway = Counted(configured(tmp_path))
    (tmp_path / "var").mkdir()
    other = LockFile(tmp_path / "var" / "mediagate.db")
    other.acquire()
    with capture_logs() as logged:
        refused = [await gateway.ask("POST", path, CHAT) for _ in range(2)]
    other.release()
    for told in refused:
        error = told.json()["error"] if path.startswith("/v1") else told.json()
        assert (told.status, error["code"], told.headers["retry-after"]) == (503, "unavailable", "5")
        assert told.headers["x-request-id"]
        assert str(tmp_path) not in told.body.decode(), "where the database is concerns nobody"
    reasons = [line["detail"] for line in logged if line["event"] == "gateway not opened"]
    assert ["another process already uses" in reason for reason in reasons] == [True, True]
    assert [line["status"] for line in logged if line["event"] == "request"] == [503, 503]
    assert (await gateway.ask("POST", "/v1/chat/completions", CHAT)).status == 200
    await gateway.close()


async def test_a_request_that_gives_up_leaves_the_opening_to_the_next(
    gateway: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits_module, "OPEN_SECONDS", 0.0)
    assert (await gateway.ask("GET", "/v1/models")).status == 503
    monkeypatch.undo()
    assert (await gateway.ask("GET", "/v1/models")).status == 200
    assert gateway.openings == 1


async def test_with_a_background_it_runs_by_itself(tmp_path: Path, either_url: str) -> None:
    gateway = Counted(configured(tmp_path, either_url, background=True))
    task = (await gateway.ask("POST", "/api/chat", VIDEO)).json()["task_id"]
    assert (await gateway.house.tasks.finished(task, 10)).state == "succeeded"
    await gateway.close()


async def test_a_lifespan_with_a_background_leaves_nothing_to_visits(tmp_path: Path) -> None:
    app = create_app(configured(tmp_path, background=True), {})
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        assert app.visits is None
        assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200


async def test_a_lifespan_without_a_background_starts_no_loop_and_is_not_opened_twice(tmp_path: Path) -> None:
    app = create_app(configured(tmp_path), {})
    before = asyncio.all_tasks()
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200
        assert asyncio.all_tasks() == before
        assert len(await rows(app.house, select(usage.c.owner))) == 1


# --- loops ---

Run = Callable[..., Told]


def by_run(app: Front, *request: Any) -> Told:
    """As `asyncio.run` does, which ends what it knows of."""
    return asyncio.run(asked(app, *request))


def by_a_loop_that_is_closed(app: Front, *request: Any) -> Told:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asked(app, *request))
    finally:
        loop.close()


LEFT: list[asyncio.AbstractEventLoop] = []


def by_a_loop_that_is_left(app: Front, *request: Any) -> Told:
    LEFT.append(asyncio.new_event_loop())
    return LEFT[-1].run_until_complete(asked(app, *request))


@pytest.fixture(params=[by_run, by_a_loop_that_is_closed, by_a_loop_that_is_left])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    yield request.param
    while LEFT:
        LEFT.pop().close()


def test_each_loop_gets_a_house_and_the_one_before_gives_up_what_it_held(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock of SQLite proves it: a second house cannot be opened while the first one has it."""
    gateway = Counted(configured(tmp_path))
    task = run(gateway.app, "POST", "/api/chat", VIDEO).json()["task_id"]
    for _ in range(4):
        assert run(gateway.app, "POST", "/v1/chat/completions", CHAT).status == 200
    assert run(gateway.app, "GET", f"/api/tasks/{task}").status == 200
    assert (gateway.openings, gateway.closings) == (6, 5), "all but the first are closed within their own request"
    assert not caplog.records


def test_no_connection_outlives_its_loop(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(schema()) as url:
        gateway = Counted(configured(tmp_path, f"{url}&application_name={tmp_path.name}"))
        for _ in range(4):
            assert run(gateway.app, "POST", "/v1/chat/completions", CHAT).status == 200
        assert gateway.openings == 4
        eventually(lambda: portal.call(connections, tmp_path.name) == 0)
    gc.collect()
    assert not caplog.records, "neither of connections to the database nor of those to upstreams"


async def connections(name: str) -> int:
    admin = await asyncpg.connect(POSTGRES)
    try:
        query = "select count(*) from pg_stat_activity where application_name = $1"
        return int(await admin.fetchval(query, name))
    finally:
        await admin.close()


@on_postgresql
async def test_a_loop_in_another_thread_has_a_house_of_its_own_beside_this_one(gateway: Counted) -> None:
    assert (await gateway.ask("GET", "/v1/models")).status == 200
    here = gateway.house
    told = await asyncio.to_thread(by_run, gateway.app, "POST", "/v1/chat/completions", CHAT)
    assert told.status == 200
    assert (await gateway.ask("POST", "/v1/chat/completions", CHAT)).status == 200
    assert gateway.openings == 2
    assert len(await rows(here, select(usage.c.owner))) == 2


# --- what a request sees to ---


async def test_usage_is_written_when_the_call_returns(gateway: Counted) -> None:
    for wanted in (1, 2):
        await gateway.ask("POST", "/v1/chat/completions", {**CHAT, "stream": wanted == 2})
        assert len(await rows(gateway.house, select(usage.c.owner))) == wanted


async def test_usage_that_cannot_be_written_waits_for_the_next_request(gateway: Counted) -> None:
    await gateway.ask("GET", "/v1/models")
    await gateway.house.database.close()
    with capture_logs() as logged:
        assert (await gateway.ask("POST", "/v1/chat/completions", CHAT)).status == 200
    assert [line["reason"] for line in logged if line["event"] == "usage not written yet"] == ["DatabaseUnavailable"]
    await gateway.house.database.start()
    await gateway.ask("GET", "/v1/models")
    assert len(await rows(gateway.house, select(usage.c.owner))) == 1


async def test_nothing_is_left_running_after_a_request(gateway: Counted) -> None:
    before = asyncio.all_tasks()
    await gateway.ask("POST", "/api/chat", VIDEO)
    assert asyncio.all_tasks() == before


@on_postgresql
async def test_after_a_pause_the_clock_is_that_of_the_database(
    gateway: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that stood still would say of every task that it is not due yet."""
    monkeypatch.setattr(visits_module, "FROZEN_SECONDS", -1.0)
    task = (await gateway.ask("POST", "/api/chat", VIDEO)).json()["task_id"]
    database = gateway.house.database
    await change_tasks(gateway.house, next_poll_at=database.now() - 300)
    database.now_seen(database.now() - 600)
    assert (await gateway.ask("GET", f"/api/tasks/status/{task}")).json()["status"] == "completed"


async def test_after_a_pause_what_is_in_hand_is_held_again(gateway: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the request that asks about a task would take it from the process that is making it: its own."""
    monkeypatch.setattr(visits_module, "FROZEN_SECONDS", -1.0)
    monkeypatch.setattr(tasks_module, "STEP_SECONDS", 0.05)
    task = (await gateway.ask("POST", "/api/tasks", IMAGE, x_sandbox_fault="silence;seconds=1.5")).json()["id"]
    await change_tasks(gateway.house, lease_until=1.0, next_poll_at=0.0)
    assert (await gateway.ask("GET", f"/api/tasks/{task}")).json()["status"] != "failed"
    [held] = await rows(gateway.house, select(tasks.c.lease_until))
    assert held.lease_until > gateway.house.database.now() + 5
    assert (await gateway.house.tasks.finished(task, 10)).state == "succeeded"


async def test_what_is_in_hand_is_held_while_a_request_lasts(gateway: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits_module, "RENEW_SECONDS", 0.01)
    await gateway.ask("GET", "/v1/models")
    making = asyncio.create_task(gateway.ask("POST", "/api/tasks", IMAGE, x_sandbox_fault="silence;seconds=1"))
    async with asyncio.timeout(5):
        while not await rows(gateway.house, select(tasks.c.id).where(tasks.c.state == "submitting")):
            await asyncio.sleep(0.01)
        await change_tasks(gateway.house, lease_until=1.0)
        while (await rows(gateway.house, select(tasks.c.lease_until)))[0].lease_until == 1.0:
            await asyncio.sleep(0.01)
        [held] = await rows(gateway.house, select(tasks.c.lease_until, tasks.c.state))
    assert (held.state, held.lease_until > gateway.house.database.now() + 5) == ("submitting", True)
    assert (await making).json()["status"] == "succeeded"


@on_postgresql
async def test_a_new_process_goes_on_with_what_another_began(gateway: Counted) -> None:
    other = Counted(gateway.config)
    task = (await gateway.ask("POST", "/api/chat", VIDEO)).json()["task_id"]
    await change_tasks(gateway.house, next_poll_at=0.0)
    assert (await other.ask("GET", f"/api/tasks/status/{task}")).json()["status"] == "completed"
    await other.close()
