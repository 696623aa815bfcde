"""A gateway that no lifespan opens, and in which nothing runs in the background."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, func, select, update
from structlog.testing import capture_logs

from gateway.app import create_app, opened
from gateway.config import Config, load
from gateway.db.engine import Database
from gateway.db.lockfile import LockFile
from gateway.db.tables import tasks, usage
from gateway.drain import Drain
from gateway.routes import visits as visits_module
from gateway.routes.front import Front
from gateway.routes.house import House
from gateway.routes.visits import Visits
from gateway.tasks import tasks as tasks_module
from gateway.tasks.poller import Poller
from tests.unit.routes.direct import KEY, Told, asked

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
VIDEO = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1, "waitForCompletion": False}
SLOW = {"kind": "t2i", "prompt": "a hill", "size": "64x64"}
SANDBOX = {"name": "sandbox", "type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 0}


def configured(home: Path, url: str = "", *, background: bool = False, **sandbox: Any) -> Config:
    (home / "config.yaml").write_text(json.dumps({"upstreams": [SANDBOX | sandbox]}))
    env = {"API_KEYS": KEY, "GATEWAY_BACKGROUND": str(background).lower(), "GATEWAY_DATA_DIR": str(home / "var")}
    return load(env | ({"DATABASE_URL": url} if url else {}), home)


def application(home: Path, url: str = "", **settings: Any) -> Front:
    return create_app(configured(home, url, **settings), {})


class Counted:
    """How often a house was opened and closed, and the last one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.openings = self.closings = 0
        self.house: House

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[House]:
        self.openings += 1
        async with opened(self.config, {}, Drain()) as self.house:
            yield self.house
        self.closings += 1


@pytest.fixture
async def counted(anyio_backend: str, tmp_path: Path, either_url: str) -> AsyncIterator[Counted]:
    yield Counted(configured(tmp_path, either_url))


@pytest.fixture
def app(counted: Counted) -> Front:
    made = create_app(counted.config, {})
    made.visits = Visits(counted)
    return made


async def rows(house: House, query: Select[Any]) -> list[Any]:
    async with house.database.read() as connection:
        return list((await connection.execute(query)).all())


async def change_tasks(house: House, **values: Any) -> None:
    async with house.database.write() as connection:
        await connection.execute(update(tasks).values(values))


# --- opening ---


async def test_first_requests_that_come_at_once_open_it_once(app: Front, counted: Counted) -> None:
    told = await asyncio.gather(*(asked(app, "POST", "/v1/chat/completions", CHAT) for _ in range(5)))
    assert [one.status for one in told] == [200] * 5
    assert (await asked(app, "GET", "/v1/models")).status == 200
    assert counted.openings == 1


async def test_a_request_without_a_key_is_refused_as_ever(app: Front) -> None:
    assert (await asked(app, "GET", "/v1/models", key=None)).status == 401
    assert (await asked(app, "GET", "/healthz", key=None)).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
async def test_an_opening_that_fails_is_told_and_tried_again_by_the_next_request(path: str, tmp_path: Path) -> None:
    app = application(tmp_path)
    (tmp_path / "var").mkdir()
    other = LockFile(tmp_path / "var" / "mediagate.db")
    other.acquire()
    with capture_logs() as logged:
        refused = [await asked(app, "POST", path, CHAT) for _ in range(2)]
    other.release()
    for told in refused:
        error = told.json()["error"] if path.startswith("/v1") else told.json()
        assert (told.status, error["code"], told.headers["retry-after"]) == (503, "unavailable", "5")
        assert told.headers["x-request-id"]
        assert str(tmp_path) not in told.body.decode(), "where the database is concerns nobody"
    assert [
        "another process already uses" in line["detail"] for line in logged if line["event"] == "gateway not opened"
    ]
    assert [line["status"] for line in logged if line["event"] == "request"] == [503, 503]
    assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200


async def test_a_request_that_gives_up_leaves_the_opening_to_the_next(
    app: Front, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits_module, "OPEN_SECONDS", 0.0)
    assert (await asked(app, "GET", "/v1/models")).status == 503
    monkeypatch.undo()
    assert (await asked(app, "GET", "/v1/models")).status == 200
    assert counted.openings == 1


async def test_with_a_background_it_runs_by_itself(tmp_path: Path, either_url: str) -> None:
    counted = Counted(configured(tmp_path, either_url, background=True))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    task = (await asked(app, "POST", "/api/chat", VIDEO)).json()["task_id"]
    assert (await counted.house.tasks.finished(task, 10)).state == "succeeded"


async def test_a_lifespan_with_a_background_leaves_nothing_to_visits(tmp_path: Path) -> None:
    app = application(tmp_path, background=True)
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        assert app.visits is None
        assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200


async def test_a_lifespan_without_a_background_starts_no_loop_and_is_not_opened_twice(
    tmp_path: Path, either_url: str
) -> None:
    app = application(tmp_path, either_url)
    before = asyncio.all_tasks()
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200
        assert asyncio.all_tasks() == before
        assert len(await rows(app.house, select(usage.c.owner))) == 1


# --- loops ---

Run = Callable[[Front, str, str, Any], Told]


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
def run(request: pytest.FixtureRequest) -> Any:
    yield request.param
    while LEFT:
        LEFT.pop().close()


@pytest.fixture
def counted_apart(either_url: str, tmp_path: Path) -> Counted:
    return Counted(configured(tmp_path, either_url, video_seconds=0.2))


def test_each_loop_gets_a_house_and_the_one_before_gives_up_what_it_held(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock of SQLite proves it: a second house cannot be opened while the first one has it."""
    counted = Counted(configured(tmp_path))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    task = run(app, "POST", "/api/chat", VIDEO).json()["task_id"]
    for _ in range(4):
        assert run(app, "POST", "/v1/chat/completions", CHAT).status == 200
    assert run(app, "GET", f"/api/tasks/{task}", None).status == 200
    assert counted.openings == 6
    assert counted.closings >= 5, "from the second on, each is closed within its own request"
    assert not caplog.records


async def test_a_loop_in_another_thread_has_a_house_of_its_own_beside_this_one(
    tmp_path: Path, postgres_url: str
) -> None:
    counted = Counted(configured(tmp_path, postgres_url))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    assert (await asked(app, "GET", "/v1/models")).status == 200
    assert (await asyncio.to_thread(by_run, app, "POST", "/v1/chat/completions", CHAT)).status == 200
    assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200
    assert (counted.openings, counted.closings) == (2, 1)


# --- what a request sees to ---


async def test_usage_is_written_when_the_call_returns(app: Front, counted: Counted) -> None:
    for wanted in (1, 2):
        await asked(app, "POST", "/v1/chat/completions", {**CHAT, "stream": wanted == 2})
        assert len(await rows(counted.house, select(usage.c.owner))) == wanted


async def test_usage_that_cannot_be_written_waits_for_the_next_request(app: Front, counted: Counted) -> None:
    await asked(app, "GET", "/v1/models")
    await counted.house.database.close()
    with capture_logs() as logged:
        assert (await asked(app, "POST", "/v1/chat/completions", CHAT)).status == 200
    assert [line["reason"] for line in logged if line["event"] == "usage not written yet"] == ["DatabaseUnavailable"]
    await counted.house.database.start()
    await asked(app, "GET", "/v1/models")
    assert len(await rows(counted.house, select(usage.c.owner))) == 1


async def test_nothing_is_left_running_after_a_request(app: Front) -> None:
    before = asyncio.all_tasks()
    await asked(app, "POST", "/api/chat", VIDEO)
    assert asyncio.all_tasks() == before


async def test_after_a_pause_the_clock_is_that_of_the_database(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that stood still would say of every task that it is not due yet."""
    monkeypatch.setattr(visits_module, "FROZEN_SECONDS", -1.0)
    counted = Counted(configured(tmp_path, postgres_url))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    task = (await asked(app, "POST", "/api/chat", VIDEO)).json()["task_id"]
    await change_tasks(counted.house, next_poll_at=0.0)
    counted.house.database.now_seen(counted.house.database.now() - 600)
    await change_tasks(counted.house, next_poll_at=counted.house.database.now() + 300)
    assert (await asked(app, "GET", f"/api/tasks/status/{task}")).json()["status"] == "completed"


async def test_after_a_pause_what_is_in_hand_is_held_again(
    tmp_path: Path, either_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the request that asks about a task would take it from the process that is making it: its own."""
    monkeypatch.setattr(visits_module, "FROZEN_SECONDS", -1.0)
    monkeypatch.setattr(tasks_module, "STEP_SECONDS", 0.05)
    counted = Counted(configured(tmp_path, either_url))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    made = await asked(app, "POST", "/api/tasks", SLOW, x_sandbox_fault="silence;seconds=1.5")
    task = made.json()["id"]
    await change_tasks(counted.house, lease_until=1.0, next_poll_at=0.0)
    assert (await asked(app, "GET", f"/api/tasks/{task}")).json()["status"] != "failed"
    [held] = await rows(counted.house, select(tasks.c.lease_until))
    assert held.lease_until > counted.house.database.now() + 5
    assert (await counted.house.tasks.finished(task, 10)).state == "succeeded"


async def test_what_is_in_hand_is_held_while_a_request_lasts(
    tmp_path: Path, either_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits_module, "RENEW_SECONDS", 0.01)
    counted = Counted(configured(tmp_path, either_url))
    app = create_app(counted.config, {})
    app.visits = Visits(counted)
    await asked(app, "GET", "/v1/models")
    making = asyncio.create_task(asked(app, "POST", "/api/tasks", SLOW, x_sandbox_fault="silence;seconds=0.5"))
    async with asyncio.timeout(5):
        while not await rows(counted.house, select(tasks.c.id).where(tasks.c.state == "submitting")):
            await asyncio.sleep(0.01)
        await change_tasks(counted.house, lease_until=1.0)
        while (await rows(counted.house, select(func.min(tasks.c.lease_until))))[0][0] == 1.0:
            await asyncio.sleep(0.01)
    assert (await making).json()["status"] == "succeeded"


async def test_a_new_process_finds_what_another_left(tmp_path: Path, postgres_url: str) -> None:
    first, second = (application(tmp_path, postgres_url) for _ in range(2))
    task = (await asked(first, "POST", "/api/chat", VIDEO)).json()["task_id"]
    async with opened(configured(tmp_path, postgres_url), {}, Drain()) as house:
        await change_tasks(house, next_poll_at=0.0)
    assert (await asked(second, "GET", f"/api/tasks/status/{task}")).json()["status"] == "completed"
