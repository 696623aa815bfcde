"""Accounts that other processes change in the database: heard of, or seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from gateway.access.sealing import Sealer
from gateway.accounts import lookout as rooms
from gateway.accounts import stanzas
from gateway.accounts.book import Book
from gateway.accounts.lookout import Lookout
from gateway.accounts.pool import Pool
from gateway.accounts.roster import Roster
from gateway.config import AccountConfig, Config
from gateway.db.engine import Database
from gateway.errors import DatabaseUnavailable
from gateway.http import Outbound
from tests.unit.accounts.clouds import TYPES

pytestmark = pytest.mark.anyio


class Counting(Roster):
    """Counts how often it reads, and can be told that the database is away."""

    loads = 0
    away = False

    async def load(self, *, tell: bool = True) -> None:
        assert not tell, "what others said is not said again"
        if self.away:
            raise DatabaseUnavailable
        await super().load(tell=tell)
        self.loads += 1

    @property
    def names(self) -> list[str]:
        return [account.id for one in self.found if not one.upstream.stand_in for account in one.accounts]


class Line:
    """A bus that carries nothing."""

    connected = True

    def publish(self, topic: str) -> None:
        raise AssertionError(topic)

    async def run(self, heard: object) -> None: ...
    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stanzas, "types", lambda: TYPES)


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database, Sealer("the master key of the tests, long enough"))


@pytest.fixture
def roster(book: Book) -> Counting:
    return Counting(Config(), {}, Outbound(), lambda one: Pool(one.upstream.name, one.accounts), book)


def given(name: str, **keys: object) -> AccountConfig:
    return AccountConfig.model_validate({"name": name, "api_key": "k", **keys})


@asynccontextmanager
async def at_work(lookout: Lookout) -> AsyncIterator[None]:
    task = asyncio.create_task(lookout.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def until(roster: Counting, loads: int) -> None:
    async with asyncio.timeout(5):
        while roster.loads < loads:
            await asyncio.sleep(0.01)


async def test_every_change_is_seen_and_nothing_is_read_without_one(
    roster: Counting, book: Book, database: Database
) -> None:
    lookout = Lookout(roster, database)
    await lookout.look()
    await lookout.look()
    assert roster.loads == 1
    await book.add("cloud", given("a"), type="cloud")
    await lookout.look()
    assert roster.names == ["cloud/a"]
    entry = await book.find("cloud/a")
    assert entry is not None
    await book.change(entry, given("a", weight=2))
    await lookout.look()
    assert roster.account("cloud", "a").weight == 2  # type: ignore[union-attr]
    await book.remove("cloud/a")
    await book.add("cloud", given("b"), type="cloud")
    await lookout.look()
    assert (roster.names, roster.loads) == (["cloud/b"], 4)
    await lookout.look()
    assert roster.loads == 4


async def test_a_change_that_is_committed_late_is_seen(roster: Counting, book: Book, database: Database) -> None:
    """Its time is earlier than that of what was seen already."""
    await book.add("cloud", given("a"), type="cloud")
    await book.add("cloud", given("b"), type="cloud")
    lookout = Lookout(roster, database)
    await lookout.look()
    [a, b] = await book.all()
    async with database.write() as connection:
        earlier = rooms.accounts.update().where(rooms.accounts.c.id == "cloud/a")
        between = (a.updated_at + b.updated_at) / 2
        await connection.execute(earlier.values(settings='{"account":{"weight":3},"type":"cloud"}', updated_at=between))
    await lookout.look()
    assert roster.account("cloud", "a").weight == 3  # type: ignore[union-attr]


async def test_what_is_heard_is_read_at_once_and_together(
    roster: Counting, book: Book, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "GATHER_SECONDS", 0.02)
    lookout = Lookout(roster, database, Line())
    async with at_work(lookout):
        await until(roster, 1)
        await book.add("cloud", given("a"), type="cloud")
        for _ in range(50):
            lookout.heard()
        await until(roster, 2)
        assert roster.names == ["cloud/a"]
        await asyncio.sleep(0.1)
        assert roster.loads == 2


async def test_without_a_bus_it_looks_and_beside_one_less_often(
    roster: Counting, book: Book, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.02)
    lookout = Lookout(roster, database)
    async with at_work(lookout):
        await until(roster, 1)
        await book.add("cloud", given("a"), type="cloud")
        await until(roster, 2)
    line = Line()
    assert Lookout(roster, database, line)._pause == rooms.LOOK_BESIDE_BUS_SECONDS
    line.connected = False
    assert Lookout(roster, database, line)._pause == 0.02


async def test_a_database_that_is_away_is_told_of_once_and_nothing_is_missed(
    roster: Counting, book: Book, database: Database
) -> None:
    lookout = Lookout(roster, database)
    await lookout.look()
    await book.add("cloud", given("a"), type="cloud")
    roster.away = True
    with capture_logs() as logs:
        await lookout.look()
        lookout.heard()
        await lookout.look()
        roster.away = False
        await lookout.look()
        await lookout.look()
    assert [line["event"] for line in logs] == [
        "accounts of the database not read",
        "accounts of the database read again",
    ]
    assert (roster.names, roster.loads) == (["cloud/a"], 2)
