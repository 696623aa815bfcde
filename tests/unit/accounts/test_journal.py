"""What is known against accounts survives restarts and reaches other processes, on both databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from gateway.accounts import journal as module
from gateway.accounts import standings
from gateway.accounts.facts import Fact
from gateway.accounts.journal import DatabaseJournal
from gateway.accounts.unwritten import Unwritten
from gateway.db.engine import Database
from gateway.db.tables import metadata
from gateway.db.tables import standings as table
from gateway.errors import DatabaseUnavailable
from gateway.state.slots import NEVER
from tests.unit.db.conftest import schema
from tests.unit.state.redis_server import until

pytestmark = pytest.mark.anyio

SOON = 5.0
HOUR = 3600.0
DAY = 24 * HOUR


class Mind:
    """Knows of each account what it was told last."""

    def __init__(self) -> None:
        self.facts: dict[str, dict[str, Fact]] = {}
        self.told: list[str] = []

    def learn(self, account_id: str, facts: Sequence[Fact]) -> None:
        self.facts[account_id] = {fact.name: fact for fact in facts}
        self.told.append(account_id)

    def names(self, account_id: str) -> set[str]:
        return set(self.facts.get(account_id, ()))

    def leases(self, account_id: str, group: str = "t2v") -> int:
        return self.facts[account_id][f"used:{group}"].leases


class Wire:
    """A bus between journals that are in one process."""

    def __init__(self) -> None:
        self.connected = True
        self.hearing: list[Callable[[str], None]] = []
        self.published: list[str] = []

    def publish(self, topic: str) -> None:
        self.published.append(topic)
        for heard in self.hearing:
            heard(topic)

    async def run(self, heard: Callable[[str], None]) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


def journal_of(database: Database, bus: Wire | None = None) -> tuple[DatabaseJournal, Mind]:
    mind = Mind()
    return DatabaseJournal(database, bus, mind.learn), mind


async def written(database: Database) -> dict[str, dict[str, Fact]]:
    """What a process that starts now learns."""
    journal, mind = journal_of(database)
    await journal.load()
    return mind.facts


async def rows(database: Database) -> dict[tuple[str, str], Any]:
    async with database.read() as connection:
        return {(row.account_id, row.fact): row for row in (await connection.execute(select(table))).all()}


@asynccontextmanager
async def at_work(*journals: DatabaseJournal) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(journal.run()) for journal in journals]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=SOON)
        assert all(task.cancelled() for task in tasks)


@asynccontextmanager
async def away(database: Database) -> AsyncIterator[None]:
    engine, database._door.engine = database._door.engine, None
    try:
        yield
    finally:
        database._door.engine = engine


@pytest.fixture
async def replicas(anyio_backend: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' ways into one PostgreSQL."""
    async with schema() as url, AsyncExitStack() as stack:
        opened = Database(url), Database(url)
        for database in opened:
            await database.start()
            stack.push_async_callback(database.close)
        async with opened[0].write() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened


@pytest.fixture
async def pair(either_url: str, database: Database) -> AsyncIterator[tuple[Database, Database]]:
    """Two databases that are one: on SQLite, which has one process, the very same."""
    if not either_url.startswith("postgresql"):
        yield database, database
        return
    other = Database(either_url)
    await other.start()
    try:
        yield database, other
    finally:
        await other.close()


# --- after a restart ---


async def test_what_was_known_is_known_after_a_restart(either_url: str, database: Database) -> None:
    journal, _ = journal_of(database)
    now = database.now()
    facts = [
        Fact("rest", now + 60, "asked to slow down"),
        Fact("exhausted:t2v", now + HOUR),
        Fact("rejected", NEVER, "401"),
        Fact("parked", NEVER, "a page"),
        Fact("model_off:wan:2.6", NEVER),
        Fact("disabled", NEVER),
    ]
    for fact in facts:
        journal.note("up/a", fact)
    journal.used("up/a", "t2v", now + HOUR, 2)
    journal.note("up/gone", Fact("parked", NEVER, "of an account that is no more"))
    await journal.flush()
    journal.note("up/late", Fact("parked", NEVER, "told after the last write"))
    await database.close()
    await database.start()
    assert await written(database) == {
        "up/a": {fact.name: fact for fact in (*facts, Fact("used:t2v", now + HOUR, "", 2))},
        "up/gone": {"parked": Fact("parked", NEVER, "of an account that is no more")},
    }


async def test_what_is_over_is_not_told(database: Database) -> None:
    journal, _ = journal_of(database)
    journal.note("up/a", Fact("rest", database.now() - 1))
    journal.note("up/a", Fact("exhausted:t2v", database.now() + 60))
    await journal.flush()
    journal.note("up/a", Fact("exhausted:t2i", database.now() - 1))
    mind = await written(database)
    assert set(mind["up/a"]) == {"exhausted:t2v"}


async def test_what_a_process_did_not_write_yet_holds_there_too(database: Database) -> None:
    first, _ = journal_of(database)
    first.used("up/a", "t2v", database.now() + HOUR, 5)
    first.note("up/a", Fact("parked", NEVER, "a page"))
    first.note("up/a", Fact("rest", database.now() + 10))
    for name in ("parked", "disabled"):
        first.note("up/b", Fact(name, NEVER))
    await first.flush()
    journal, mind = journal_of(database)
    journal.used("up/a", "t2v", (await rows(database))["up/a", "used:t2v"].until, -2)
    journal.lift("up/a", "parked")
    journal.note("up/a", Fact("rest", database.now() + HOUR))
    journal.renewed("up/b")
    await journal.load()
    assert (mind.names("up/a"), mind.names("up/b")) == ({"used:t2v", "rest"}, {"disabled"})
    assert mind.leases("up/a") == 3
    assert mind.facts["up/a"]["rest"].until > database.now() + HOUR / 2


# --- several facts by one name ---


async def test_a_longer_rest_extends_and_a_shorter_never_shortens(pair: tuple[Database, Database]) -> None:
    (journal, _), (other, _) = map(journal_of, pair)
    now = pair[0].now()
    journal.note("up/a", Fact("rest", now + 100, "long"))
    journal.note("up/a", Fact("rest", now + 50, "short"))
    await journal.flush()
    other.note("up/a", Fact("rest", now + 70, "shorter"))
    await other.flush()
    assert (await written(pair[0]))["up/a"] == {"rest": Fact("rest", now + 100, "long")}
    other.note("up/a", Fact("rest", now + 200, "longer"))
    await other.flush()
    assert (await written(pair[0]))["up/a"] == {"rest": Fact("rest", now + 200, "longer")}


async def test_the_newest_reason_is_told(pair: tuple[Database, Database]) -> None:
    (journal, _), (other, _) = map(journal_of, pair)
    journal.note("up/a", Fact("rejected", NEVER, "first"))
    journal.note("up/a", Fact("rejected", NEVER, "second"))
    await journal.flush()
    assert (await written(pair[0]))["up/a"]["rejected"].reason == "second"
    other.note("up/a", Fact("rejected", NEVER, "third"))
    await other.flush()
    assert (await written(pair[0]))["up/a"]["rejected"].reason == "third"


@pytest.mark.parametrize("between", [True, False], ids=["each written", "all at once"])
async def test_what_is_noted_after_a_renewal_holds_and_what_was_before_does_not(
    database: Database, between: bool
) -> None:
    journal, _ = journal_of(database)
    now = database.now()

    async def then() -> None:
        if between:
            await journal.flush()

    for name in ("rest", "parked", "disabled", "enabled"):
        journal.note("up/a", Fact(name, NEVER, "before"))
    journal.note("up/b", Fact("parked", NEVER, "somebody else"))
    journal.used("up/a", "t2v", now + HOUR, 3)
    await then()
    journal.renewed("up/a")
    await then()
    journal.note("up/a", Fact("rest", now + 10, "after"))
    await then()
    journal.lift("up/a", "enabled")
    await journal.flush()
    assert await written(database) == {
        "up/a": {
            "disabled": Fact("disabled", NEVER, "before"),
            "rest": Fact("rest", now + 10, "after"),
            "used:t2v": Fact("used:t2v", now + HOUR, "", 3),
        },
        "up/b": {"parked": Fact("parked", NEVER, "somebody else")},
    }
    assert now <= (await rows(database))["up/a", "renewed"].until <= database.now()


async def test_a_rest_that_was_lifted_may_be_followed_by_a_shorter_one(database: Database) -> None:
    journal, _ = journal_of(database)
    now = database.now()
    journal.note("up/a", Fact("rest", now + 100))
    await journal.flush()
    journal.lift("up/a", "rest")
    journal.note("up/a", Fact("rest", now + 50))
    await journal.flush()
    assert (await written(database))["up/a"]["rest"].until == now + 50


async def test_an_account_that_was_enabled_before_its_renewal_stays_enabled(database: Database) -> None:
    journal, _ = journal_of(database)
    for name in ("disabled", "parked"):
        journal.note("up/a", Fact(name, NEVER))
    await journal.flush()
    journal.lift("up/a", "disabled")
    journal.renewed("up/a")
    await journal.flush()
    assert (await written(database))["up/a"] == {}


async def test_any_telling_is_written_as_it_was_told(database: Database) -> None:
    """However often it is written in between, whether or not that succeeds."""
    told = Tale(random.Random(4), database.now())
    journal, _ = journal_of(database)
    reader, mind = journal_of(database)
    for _ in range(60):
        for _ in range(told.chance.randrange(8)):
            told.go_on(journal)
        if told.chance.random() < 0.3:
            async with away(database):
                with suppress(DatabaseUnavailable):
                    await journal.flush()
        else:
            await journal.flush()
            await reader.look()
            assert {account: facts for account, facts in mind.facts.items() if facts} == told.true()


class Tale:
    """Tells a journal things by chance, and knows what is true then by taking each as it comes."""

    def __init__(self, chance: random.Random, now: float) -> None:
        self.chance = chance
        self.days = [now + HOUR]
        self.facts: dict[str, dict[str, Fact]] = {"up/a": {}, "up/b": {}}
        self.telling = 0

    def true(self) -> dict[str, dict[str, Fact]]:
        return {account: facts for account, facts in self.facts.items() if facts}

    def go_on(self, journal: DatabaseJournal) -> None:
        account = self.chance.choice(list(self.facts))
        facts = self.facts[account]
        self.telling += 1
        match self.chance.choice(("note", "note", "use", "use", "lift", "renew", "day")):
            case "note":
                name = self.chance.choice(("rest", "rejected", "disabled", "exhausted:t2v"))
                end = NEVER if name in ("rejected", "disabled") else self.days[0] + self.chance.randrange(5)
                fact = Fact(name, end, f"{self.telling}")
                journal.note(account, fact)
                if name not in facts or facts[name].until <= end:
                    facts[name] = fact
            case "use":
                day = self.chance.choice(self.days)
                known = facts.get("used:t2v", Fact("used:t2v", 0.0))
                leases = self.chance.choice((1, 2, -1 if known.until == day and known.leases else 1))
                journal.used(account, "t2v", day, leases)
                if day > known.until:
                    facts["used:t2v"] = Fact("used:t2v", day, "", leases)
                elif day == known.until:
                    facts["used:t2v"] = known._replace(leases=known.leases + leases)
            case "lift":
                name = self.chance.choice(("rest", "rejected", "disabled"))
                journal.lift(account, name)
                facts.pop(name, None)
            case "renew":
                journal.renewed(account)
                self.facts[account] = {name: facts[name] for name in ("disabled", "used:t2v") if name in facts}
            case "day":
                self.days.append(self.days[-1] + DAY)


def test_what_is_not_written_yet_does_not_grow_with_the_telling() -> None:
    told = Unwritten()
    for number in range(1000):
        told.note(Fact("rest", number))
        told.note(Fact("used:t2v", 1.0, leases=1))
        told.lift("parked")
    assert told.over([Fact("parked", NEVER)]) == [Fact("rest", 999), Fact("used:t2v", 1.0, leases=1000)]
    assert (len(told.facts), len(told.lifted)) == (2, 1)


# --- what was used ---


async def test_leases_of_two_processes_add_up(pair: tuple[Database, Database]) -> None:
    (journal, _), (other, _) = map(journal_of, pair)
    ends = pair[0].now() + HOUR

    async def count(one: DatabaseJournal) -> None:
        for _ in range(10):
            one.used("up/a", "t2v", ends, 2)
            one.used("up/a", "t2v", ends, -1)
            one.used("up/a", "t2i", ends, 1)
            await one.flush()

    await asyncio.gather(count(journal), count(other))
    used = (await written(pair[0]))["up/a"]
    assert (used["used:t2v"].leases, used["used:t2i"].leases) == (20, 20)


async def test_a_later_day_begins_anew_and_an_earlier_one_counts_no_more(pair: tuple[Database, Database]) -> None:
    (journal, _), (other, _) = map(journal_of, pair)
    today = pair[0].now() + HOUR
    journal.used("up/a", "t2v", today, 5)
    await journal.flush()
    journal.used("up/a", "t2v", today + DAY, 1)
    await journal.flush()
    other.used("up/a", "t2v", today, -1)
    await other.flush()
    assert (await written(pair[0]))["up/a"] == {"used:t2v": Fact("used:t2v", today + DAY, "", 1)}


async def test_no_less_than_nothing_was_used(database: Database) -> None:
    journal, mind = journal_of(database)
    ends = database.now() + HOUR
    journal.used("up/a", "t2v", ends, -3)
    journal.used("up/b", "t2v", ends, 1)
    await journal.flush()
    assert (await written(database))["up/a"]["used:t2v"].leases == 0
    journal.used("up/b", "t2v", ends, -3)
    await journal.load()
    assert mind.leases("up/b") == 0
    await journal.flush()
    for name in ("up/a", "up/b"):
        journal.used(name, "t2v", ends, 2)
    await journal.flush()
    await journal.load()
    assert (mind.leases("up/a"), mind.leases("up/b")) == (2, 2)


# --- other processes ---


async def test_two_processes_see_what_each_other_knows(replicas: tuple[Database, Database]) -> None:
    (journal, mine), (other, theirs) = map(journal_of, replicas)
    now = replicas[0].now()
    journal.note("up/a", Fact("rest", now + 60))
    other.note("up/b", Fact("parked", NEVER, "a page"))
    journal.used("up/c", "t2v", now + HOUR, 3)
    other.used("up/c", "t2v", now + HOUR, 3)
    for one in (journal, other, journal, other):
        await one.flush()
        await one.look()
    for mind in (mine, theirs):
        assert mind.names("up/a") == {"rest"}
        assert mind.names("up/b") == {"parked"}
        assert mind.leases("up/c") == 6


@pytest.mark.parametrize("how", ["lift", "renewed"])
async def test_what_one_process_lifts_the_other_forgets(replicas: tuple[Database, Database], how: str) -> None:
    (journal, _), (other, theirs) = map(journal_of, replicas)
    journal.note("up/a", Fact("rest", replicas[0].now() + 60))
    await journal.flush()
    await other.look()
    assert theirs.names("up/a") == {"rest"}
    journal.lift("up/a", "rest") if how == "lift" else journal.renewed("up/a")
    await journal.flush()
    await other.look()
    assert theirs.names("up/a") == set()


async def test_what_did_not_change_is_not_told_again(replicas: tuple[Database, Database]) -> None:
    (journal, _), (other, theirs) = map(journal_of, replicas)
    for name in ("up/a", "up/b"):
        journal.note(name, Fact("parked", NEVER))
        await journal.flush()
        await other.look()
        await other.look()
    assert theirs.told == ["up/a", "up/b"]
    journal.note("up/a", Fact("parked", NEVER, "again"))
    await journal.flush()
    await other.look()
    assert theirs.told == ["up/a", "up/b", "up/a"]
    await other.load()
    assert theirs.told[3:] == ["up/a", "up/b"]


async def test_of_an_account_that_changed_everything_is_told(replicas: tuple[Database, Database]) -> None:
    (journal, _), (other, theirs) = map(journal_of, replicas)
    journal.note("up/a", Fact("parked", NEVER))
    await journal.flush()
    async with replicas[0].write() as connection:
        await connection.execute(update(table).values(updated_at=1000.0))
    journal.note("up/b", Fact("parked", NEVER))
    await journal.flush()
    await other.load()
    journal.note("up/a", Fact("rest", replicas[0].now() + HOUR))
    await journal.flush()
    await other.look()
    assert theirs.names("up/a") == {"parked", "rest"}


async def test_a_look_asks_only_for_what_is_new(replicas: tuple[Database, Database]) -> None:
    (journal, _), (other, _) = map(journal_of, replicas)
    for name in ("up/a", "up/b"):
        journal.note(name, Fact("parked", NEVER))
    await journal.flush()
    async with replicas[0].write() as connection:
        await connection.execute(update(table).where(table.c.account_id == "up/a").values(updated_at=1000.0))
    asked: list[float] = []
    read = standings.read

    async def counted(connection: Any, since: float) -> Any:
        found = await read(connection, since)
        asked.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standings, "read", counted)
        await other.load()
        await other.look()
    assert asked == [2, 1]


async def test_a_word_on_the_bus_has_the_other_look_at_once(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 1e6)
    bus = Wire()
    journal, _ = journal_of(replicas[0], bus)
    other, theirs = journal_of(replicas[1])
    bus.hearing.append(other.heard)
    async with at_work(journal, other):
        journal.note("up/a b", Fact("rest", replicas[0].now() + 60))
        await until(lambda: theirs.names("up/a b") == {"rest"}, SOON)
        assert not other._told.is_set()
        journal.lift("up/a b", "rest")
        await until(lambda: theirs.names("up/a b") == set(), SOON)
        journal.renewed("up/c")
        await until(lambda: len(bus.published) == 3, SOON)
        assert bus.published == ["standing up/a b"] * 2 + ["standing up/c"]


async def test_nobody_is_told_at_once_of_what_was_used_or_could_not_be_written(
    replicas: tuple[Database, Database],
) -> None:
    bus = Wire()
    journal, _ = journal_of(replicas[0], bus)
    journal.used("up/a", "t2v", replicas[0].now() + HOUR, 1)
    await journal.flush()
    journal.note("up/b", Fact("parked", NEVER))
    async with away(replicas[0]):
        with pytest.raises(DatabaseUnavailable):
            await journal.flush()
    assert bus.published == []
    journal.used("up/b", "t2v", replicas[0].now() + HOUR, 1)
    await journal.flush()
    assert bus.published == ["standing up/b"]


async def test_words_of_other_things_make_nobody_look(replicas: tuple[Database, Database]) -> None:
    journal, _ = journal_of(replicas[0])
    journal.heard("task_1")
    assert not journal._told.is_set()
    journal.heard("standing up/a")
    assert journal._told.is_set()


async def test_without_a_bus_a_process_looks_by_itself(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    (journal, _), (other, theirs) = map(journal_of, replicas)
    async with at_work(journal, other):
        journal.used("up/a", "t2v", replicas[0].now() + HOUR, 1)
        await until(lambda: theirs.names("up/a"), SOON)
    assert theirs.leases("up/a") == 1


async def test_a_process_that_is_alone_does_not_look(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'alone.db'}")
    await database.start()
    try:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        journal, mind = journal_of(database)
        async with at_work(journal):
            journal.note("up/a", Fact("parked", NEVER))
            async with asyncio.timeout(SOON):
                while not await rows(database):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        assert mind.told == []
    finally:
        await database.close()


async def test_a_look_misses_nothing_that_was_committed_late(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process writes and takes its time to commit, while another one writes: it waits for its turn."""
    monkeypatch.setattr(module, "OVERLAP_SECONDS", 0.0)
    (slow, _), (quick, _) = map(journal_of, replicas)
    reader, mind = journal_of(replicas[1])
    slow.note("up/slow", Fact("parked", NEVER))
    quick.note("up/quick", Fact("parked", NEVER))
    async with replicas[0].write() as connection:
        await standings.take_turn(connection)
        await standings.write(connection, slow._unwritten, replicas[0].now(), replicas[0].now_sql())
        writing = asyncio.create_task(quick.flush())
        await asyncio.wait({writing}, timeout=0.3)
        await reader.look()
    await writing
    await reader.look()
    assert set(mind.facts) == {"up/slow", "up/quick"}


async def test_what_is_being_written_is_neither_missed_nor_counted_twice(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, mind = journal_of(replicas[0])
    ends = replicas[0].now() + HOUR
    journal.used("up/a", "t2v", ends, 1)
    await journal.flush()
    reached, go = asyncio.Event(), asyncio.Event()
    commit = AsyncConnection.commit

    async def slow(connection: AsyncConnection) -> None:
        reached.set()
        await go.wait()
        await commit(connection)

    monkeypatch.setattr(AsyncConnection, "commit", slow)
    journal.used("up/a", "t2v", ends, 1)
    writing = asyncio.create_task(journal.flush())
    await reached.wait()
    journal.used("up/a", "t2v", ends, 1)
    looking = asyncio.create_task(journal.look())
    await asyncio.wait({looking}, timeout=0.3)
    go.set()
    await asyncio.gather(writing, looking)
    assert mind.leases("up/a") == 3


async def test_a_clock_that_was_set_back_hides_nothing(replicas: tuple[Database, Database]) -> None:
    (journal, _), (other, theirs) = map(journal_of, replicas)
    ahead = {"account_id": "up/ahead", "fact": "parked", "until": NEVER, "reason": "", "count": 0}
    async with replicas[0].write() as connection:
        await connection.execute(insert(table).values(ahead | {"updated_at": replicas[0].now() + HOUR}))
    await other.load()
    journal.note("up/a", Fact("parked", NEVER))
    await journal.flush()
    await other.look()
    assert theirs.told == ["up/ahead", "up/a"]


async def test_processes_that_write_the_same_accounts_do_not_lock_each_other_out(
    replicas: tuple[Database, Database],
) -> None:
    (journal, _), (other, _) = map(journal_of, replicas)
    names = [f"up/{number}" for number in range(100)]
    for _ in range(5):
        for one, order in ((journal, names), (other, names[::-1])):
            for name in order:
                one.note(name, Fact("rest", replicas[0].now() + HOUR))
                one.renewed(name) if name.endswith("7") else None
        await asyncio.gather(journal.flush(), other.flush())


async def test_a_process_that_does_not_end_its_turn_holds_nobody_up_for_good(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.1)
    journal, _ = journal_of(replicas[1])
    journal.used("up/a", "t2v", replicas[0].now() + HOUR, 1)
    async with replicas[0].write() as connection:
        await standings.take_turn(connection)
        limit = (await connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")).scalar_one()
        with pytest.raises(DatabaseUnavailable) as told:
            await journal.flush()
    assert limit == "10s"
    assert told.value.detail == "the standings were not written within 0 s"
    monkeypatch.setattr(module, "WRITE_SECONDS", SOON)
    await journal.flush()
    assert (await written(replicas[0]))["up/a"]["used:t2v"].leases == 1


# --- when it is written ---


async def test_what_is_told_at_once_is_written_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0
    write = database.write

    def counted() -> Any:
        nonlocal begun
        begun += 1
        return write()

    monkeypatch.setattr(database, "write", counted)
    monkeypatch.setattr(module, "EVERY_SECONDS", 1e6)
    journal, _ = journal_of(database)
    async with at_work(journal):
        for number in range(200):
            journal.note(f"up/{number}", Fact("parked", NEVER))
            journal.used("up/0", "t2v", database.now() + HOUR, 1)
        async with asyncio.timeout(SOON):
            while len(await rows(database)) < 201:
                await asyncio.sleep(0.01)
        journal.note("up/late", Fact("parked", NEVER))
        await asyncio.sleep(0.05)
        assert begun == 1
    await journal.flush()
    await journal.flush()
    assert begun == 2
    assert not journal._filled.is_set()
    assert len(await rows(database)) == 202


async def test_a_database_that_is_away_loses_nothing(database: Database) -> None:
    journal, _ = journal_of(database)
    now = database.now()
    journal.used("up/a", "t2v", now + HOUR, 2)
    journal.note("up/a", Fact("parked", NEVER))
    journal.note("up/b", Fact("rest", now + 100))
    await database.close()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await journal.flush()
        journal.used("up/a", "t2v", now + HOUR, 1)
    journal.renewed("up/a")
    journal.note("up/a", Fact("rest", now + 10))
    journal.note("up/b", Fact("rest", now + 50))
    await database.start()
    await journal.flush()
    assert await written(database) == {
        "up/a": {"used:t2v": Fact("used:t2v", now + HOUR, "", 4), "rest": Fact("rest", now + 10)},
        "up/b": {"rest": Fact("rest", now + 100)},
    }


async def test_what_is_told_while_it_is_being_written_in_vain_comes_after_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, _ = journal_of(database)
    now = database.now()

    async def fails(*_: Any) -> None:
        journal.lift("up/a", "rest")
        journal.note("up/a", Fact("rest", now + 10))
        journal.used("up/a", "t2v", now + HOUR, 1)
        journal.renewed("up/b")
        raise DatabaseUnavailable

    journal.note("up/a", Fact("rest", now + 100))
    journal.note("up/b", Fact("parked", NEVER))
    journal.used("up/a", "t2v", now + HOUR, 1)
    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr(standings, "write", fails)
        await journal.flush()
    await journal.flush()
    used = Fact("used:t2v", now + HOUR, "", 2)
    assert await written(database) == {"up/a": {"rest": Fact("rest", now + 10), "used:t2v": used}, "up/b": {}}


async def test_the_log_tells_once_that_the_database_is_away_and_once_that_it_is_back(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AGAIN_SECONDS", "LOOK_SECONDS", "EVERY_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    journal, mind = journal_of(replicas[0])
    tried = 0
    flush = journal.flush

    async def counted() -> None:
        nonlocal tried
        tried += 1
        await flush()

    monkeypatch.setattr(journal, "flush", counted)
    with capture_logs() as lines:
        async with away(replicas[0]):
            journal.note("up/a", Fact("parked", NEVER))
            running = asyncio.create_task(journal.run())
            await until(lambda: tried >= 3 and len(lines) >= 2, SOON)
        await until(lambda: mind.names("up/a") and len(lines) >= 4, SOON)
        running.cancel()
        await asyncio.wait({running}, timeout=SOON)
    assert sorted(line["event"] for line in lines) == [
        "standings not written yet",
        "standings of other processes not seen",
        "standings of other processes seen again",
        "standings written again",
    ]


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
async def test_a_shutdown_in_the_middle_of_a_write_counts_everything_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    journal, _ = journal_of(database)
    ends = database.now() + HOUR
    journal.used("up/a", "t2v", ends, 1)
    reached = asyncio.Event()
    commit = AsyncConnection.commit

    async def slow(connection: AsyncConnection) -> None:
        if moment == "after the commit":
            await commit(connection)
        reached.set()
        await asyncio.sleep(0.05)
        if moment == "before the commit":
            await commit(connection)

    with monkeypatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", slow)
        writing = asyncio.create_task(journal.flush())
        await reached.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await journal.flush()
    assert (await written(database))["up/a"]["used:t2v"].leases == 1


async def test_a_reason_that_no_database_takes_does_not_hold_up_the_others(database: Database) -> None:
    journal, _ = journal_of(database)
    journal.note("up/a", Fact("rejected", NEVER, "bad\0 \ud800 key"))
    journal.note("up/b", Fact("model_off:a\0b", NEVER))
    await journal.flush()
    assert (await written(database)) == {
        "up/a": {"rejected": Fact("rejected", NEVER, "bad ? key")},
        "up/b": {"model_off:ab": Fact("model_off:ab", NEVER)},
    }
    journal.lift("up/b", "model_off:a\0b")
    await journal.flush()
    assert (await written(database))["up/b"] == {}


# --- sweeping ---


async def test_what_was_over_long_ago_is_swept(database: Database) -> None:
    journal, _ = journal_of(database)
    now = database.now()
    for name in ("old", "new"):
        for fact in (Fact("parked", NEVER), Fact("rest", now - 2 * DAY), Fact("exhausted:t2v", now + HOUR)):
            journal.note(f"up/{name}", fact)
        journal.note(f"up/{name}", Fact("rejected", NEVER))
        await journal.flush()
        journal.lift(f"up/{name}", "rejected")
        await journal.flush()
        if name == "old":
            async with database.write() as connection:
                await connection.execute(update(table).values(updated_at=now - 2 * DAY))
    assert await journal.sweep() == 2
    assert sorted(await rows(database)) == [
        ("up/new", "exhausted:t2v"), ("up/new", "parked"), ("up/new", "rejected"), ("up/new", "rest"),
        ("up/old", "exhausted:t2v"), ("up/old", "parked"),
    ]  # fmt: skip
