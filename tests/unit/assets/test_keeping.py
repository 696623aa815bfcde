"""The daily run: once a day for all who share a database, one at a time, and again soon where it failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.assets import keeping as keeping_module
from gateway.assets.collector import SINCE, Rules
from gateway.assets.keeping import AGAIN_SECONDS, COLLECTED, LEASE, LEASE_SECONDS, RENEW_SECONDS, Keeping, Running
from gateway.config import RetentionConfig
from gateway.db.engine import Database
from gateway.db.settings import Settings
from gateway.db.tables import assets
from gateway.drain import Drain
from gateway.errors import Draining, StorageUnavailable
from tests.unit.assets.keeping_shelf import DAY, HOUR, Shelf, new_key

pytestmark = pytest.mark.anyio


async def no_usage(before: float) -> int:
    return 0


class Days:
    """A database's clock that is set forward."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        straight = database.now
        monkeypatch.setattr(database, "now", lambda: straight() + self.ahead)

    def go(self, seconds: float) -> None:
        self.ahead += seconds


class House:
    def __init__(self, shelf: Shelf, days: Days) -> None:
        self.shelf = shelf
        self.days = days
        self.drain = Drain()
        self.config = RetentionConfig()

    def process(self) -> Keeping:
        return Keeping(self.shelf.references, no_usage, lambda: self.config, self.drain)


@pytest.fixture
async def house(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(keeping_module, "BREATH_SECONDS", 0.0)
    shelf = Shelf(database, tmp_path / "objects")
    await Settings(database).put(SINCE, repr(database.now() - 10 * DAY))
    return House(shelf, Days(database, monkeypatch))


async def test_a_day_after_its_first_start_and_every_day_from_then_on(house: House) -> None:
    keeping = house.process()
    orphan = await house.shelf.put(new_key())
    assert not await keeping.turn()
    house.days.go(DAY - HOUR)
    assert not await keeping.turn()
    assert house.shelf.keys == {orphan}
    house.days.go(HOUR)
    assert await keeping.turn()
    assert house.shelf.keys == set()
    for wait, due in ((HOUR, False), (DAY - 2 * HOUR, False), (HOUR, True), (0.0, False)):
        house.days.go(wait)
        assert await keeping.turn() is due


async def test_retention_comes_first_and_by_the_config_as_it_is_then(house: House) -> None:
    keeping = house.process()
    await keeping.turn()
    house.days.go(DAY)
    await house.shelf.asset(await house.shelf.put(new_key()), age=9 * DAY)
    house.config = RetentionConfig(images=8)
    assert await keeping.turn()
    assert (await house.shelf.rows(assets), house.shelf.keys) == ({}, set())
    last = await keeping.last()
    assert last["retention"]["result"]["images"]["removed"] == 1
    assert last["collection"]["result"]["orphans"]["count"] == 0
    assert last["storage_check"] is None


async def test_of_several_processes_one_does_it(house: House) -> None:
    processes = [house.process() for _ in range(4)]
    for process in processes:
        await process.turn()
    house.days.go(DAY)
    assert sorted(await asyncio.gather(*(process.turn() for process in processes))) == [False, False, False, True]


async def test_what_failed_is_tried_again_in_an_hour(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = house.process()
    await keeping.turn()
    house.days.go(DAY)

    async def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable(code="storage_full")

    with monkeypatch.context() as patched, pytest.raises(StorageUnavailable):
        patched.setattr(house.shelf.storage, "put", away)
        await keeping.turn()
    told = (await keeping.last())["collection"]
    assert (told["ok"], told["code"]) == (False, "storage_full")
    house.days.go(AGAIN_SECONDS - 60)
    assert not await keeping.turn()
    house.days.go(120)
    assert await keeping.turn()
    assert (await keeping.last())["collection"]["ok"]


async def test_a_process_that_died_over_it_leaves_it_to_the_next_one(house: House) -> None:
    keeping = house.process()
    await keeping.turn()
    house.days.go(DAY)
    dies = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        dies.set()
        await asyncio.Event().wait()

    doomed = house.process()
    doomed._collector.collect = never  # type: ignore[method-assign, assignment]
    work = asyncio.create_task(doomed.turn())
    await dies.wait()
    held = (await house.shelf.settings())[LEASE]
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert LEASE not in await house.shelf.settings()
    await Settings(house.shelf.database).put(LEASE, held)  # as a kill leaves it
    with pytest.raises(Running):
        await keeping.collect(Rules())
    house.days.go(AGAIN_SECONDS)
    assert await keeping.turn()


async def test_there_is_one_run_at_a_time(house: House) -> None:
    one, other = house.process(), house.process()
    entered, go = asyncio.Event(), asyncio.Event()
    straight = one._collector.collect

    async def slow(*given: Any) -> Any:
        entered.set()
        await go.wait()
        return await straight(*given)

    one._collector.collect = slow  # type: ignore[method-assign]
    first = asyncio.create_task(one.collect(Rules()))
    await entered.wait()
    for ask in (other.collect(Rules()), other.retain(dry_run=True)):
        with pytest.raises(Running) as told:
            await ask
        assert (told.value.status, told.value.code) == (409, "collection_running")
        assert told.value.retry_after is not None
        assert 1 <= told.value.retry_after <= RENEW_SECONDS
    go.set()
    await first
    await other.collect(Rules())


async def test_who_takes_long_keeps_the_right_to_go_on(house: House) -> None:
    one, other = house.process(), house.process()
    steps = 0

    async def long(rules: Rules, going_on: Any) -> Any:
        nonlocal steps
        for _ in range(20):
            house.days.go(LEASE_SECONDS / 2)
            await going_on()
            with pytest.raises(Running):
                await other.retain(dry_run=True)
            steps += 1
        return {}

    one._collector.collect = long  # type: ignore[method-assign, assignment]
    await one.collect(Rules())
    assert steps == 20
    await other.retain(dry_run=True)


async def test_who_lost_the_right_stops(house: House) -> None:
    one, other = house.process(), house.process()

    async def too_long(rules: Rules, going_on: Any) -> Any:
        house.days.go(LEASE_SECONDS + 1)
        await other.retain(dry_run=True)
        await Settings(house.shelf.database).put(LEASE, f"another {house.shelf.database.now() + 100}")
        await going_on()
        raise AssertionError("it went on")

    one._collector.collect = too_long  # type: ignore[method-assign, assignment]
    with pytest.raises(Running):
        await one.collect(Rules())
    assert (await house.shelf.settings())[LEASE].startswith("another ")


async def test_it_stops_where_the_gateway_does(house: House) -> None:
    await house.shelf.asset(await house.shelf.put(new_key()))
    house.drain.begin()
    with pytest.raises(Draining):
        await house.process().collect(Rules(dry_run=False))
    assert LEASE not in await house.shelf.settings()


async def test_by_itself_it_begins_with_the_marker_and_goes_on_after_failures(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping, waits, turns = house.process(), [], 0
    fails = [True, False, False, False]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            raise asyncio.CancelledError

    async def begin() -> None:
        if fails.pop(0):
            raise StorageUnavailable

    async def turn() -> bool:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise StorageUnavailable
        return True

    monkeypatch.setattr(keeping._collector, "begin", begin)
    monkeypatch.setattr(keeping, "turn", turn)
    monkeypatch.setattr("gateway.assets.keeping.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keeping.run()
    assert (turns, len(fails)) == (3, 2)
    assert all(keeping_module.LOOK_SECONDS / 2 <= wait <= keeping_module.LOOK_SECONDS * 1.5 for wait in waits)


async def test_a_check_is_remembered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = house.process()
    told = await keeping.check()
    last = (await keeping.last())["storage_check"]
    assert (told["ok"], {**last, "at": 0}) == (True, {"at": 0, **told, "steps": list(told["steps"])})

    async def away() -> None:
        raise StorageUnavailable("The object storage is full.", code="storage_full")

    monkeypatch.setattr(house.shelf.storage, "check", away)
    with pytest.raises(StorageUnavailable):
        await keeping.check()
    told = (await house.process().last())["storage_check"]
    assert (told["ok"], told["code"], told["error"]) == (False, "storage_full", "The object storage is full.")
    assert told["at"] == pytest.approx(house.shelf.database.now(), abs=60)
    assert msgspec.json.decode((await house.shelf.settings())["storage_check"]) == told


async def test_the_row_says_when_the_last_run_began(house: House) -> None:
    keeping = house.process()
    await keeping.turn()
    house.days.go(DAY)
    await keeping.turn()
    assert float((await house.shelf.settings())[COLLECTED]) == pytest.approx(house.shelf.database.now(), abs=60)
