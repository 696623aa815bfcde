"""Who waits for a change of a task, and by which way they hear of it: their own process, the bus, or a look."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import DatabaseUnavailable
from gateway.state.redis import RedisBus
from gateway.tasks.notices import LOOK_AT_MOST, LOOK_BESIDE_BUS_SECONDS, LOOK_SECONDS, Change, Notices
from tests.unit.state.redis_server import namespace, own_redis, running, shared_redis, until

pytestmark = pytest.mark.anyio

SOON = 5.0
A_SECOND = 1.0
PROMPTLY = 0.3
"""Well before any look."""


class Rows:
    """Tasks with their versions, and who asked for them."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions
        self.asked: list[list[str]] = []
        self.away = False

    async def __call__(self, ids: Collection[str]) -> Mapping[str, int]:
        self.asked.append(list(ids))
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable
        return {name: self.versions[name] for name in ids if name in self.versions}


class Line:
    """A bus that carries nothing; how it stands can be set."""

    def __init__(self, *, connected: bool) -> None:
        self.connected = connected
        self.published: list[str] = []
        self.hear: Callable[[str], None] = lambda _: None

    def publish(self, topic: str) -> None:
        self.published.append(topic)

    async def run(self, heard: Callable[[str], None]) -> None:
        self.hear = heard
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


@asynccontextmanager
async def at_work(notices: Notices) -> AsyncIterator[Notices]:
    task = asyncio.create_task(notices.run())
    await asyncio.sleep(0.01)
    try:
        yield notices
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=SOON)
        assert task.cancelled()


async def took(change: Change, limit: float = SOON) -> float:
    """Seconds until a change came."""
    clock = asyncio.get_running_loop().time
    start = clock()
    await change.wait(limit)
    assert change.event.is_set(), "nobody told"
    return clock() - start


# --- in one process ---


async def test_all_who_wait_for_a_task_are_told_at_once_and_nobody_else() -> None:
    notices = Notices()
    first, second, other = notices.next("task_1"), notices.next("task_1"), notices.next("task_2")
    notices.tell("task_1")
    assert first.event.is_set()
    assert second.event.is_set()
    assert not other.event.is_set()


async def test_a_change_before_the_wait_is_not_missed() -> None:
    notices = Notices()
    with closing(notices.next("task_1")) as change:
        notices.tell("task_1")
        assert await took(change) < PROMPTLY


async def test_a_wait_has_a_limit() -> None:
    with closing(Notices().next("task_1")) as change:
        await change.wait(0.01)
        assert not change.event.is_set()


async def test_who_no_longer_waits_leaves_nothing_behind() -> None:
    notices = Notices()
    first, second = notices.next("task_1"), notices.next("task_1")
    first.close()
    first.close()
    notices.tell("task_1")
    assert second.event.is_set()
    assert not first.event.is_set()
    second.close()
    with closing(notices.next("task_2")):
        pass
    assert notices._waiting == {}


async def test_a_process_that_is_alone_has_nothing_to_do_and_goes_on() -> None:
    task = asyncio.create_task(Notices().run())
    await asyncio.wait({task}, timeout=0.05)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


# --- by the bus ---


async def test_a_change_in_one_process_wakes_the_watcher_in_another_at_once() -> None:
    space = namespace()
    a, b = RedisBus(shared_redis(), space), RedisBus(shared_redis(), space)
    here, there = Notices(a), Notices(b)
    async with at_work(here), at_work(there):
        await until(lambda: a.connected and b.connected, SOON)
        change, other = there.next("task_1"), there.next("task_2")
        here.tell("task_1")
        assert await took(change) < PROMPTLY
        assert not other.event.is_set()
    await a.close()
    await b.close()


async def test_who_listens_to_more_hears_all_that_the_bus_brings() -> None:
    line, heard = Line(connected=True), list[str]()
    notices = Notices(line)
    notices.hear = heard.append
    async with at_work(notices):
        line.hear("accounts")
        line.hear("task_1")
    assert heard == ["accounts", "task_1"]


async def test_what_was_heard_is_not_said_again() -> None:
    space = namespace()
    heard: list[str] = []
    a, b, listener = (RedisBus(shared_redis(), space) for _ in range(3))
    here, there = Notices(a), Notices(b)
    async with at_work(here), at_work(there), running(listener, heard.append):
        await until(lambda: a.connected and b.connected and listener.connected, SOON)
        for number in range(3):
            change = there.next(f"task_{number}")
            here.tell(f"task_{number}")
            await took(change)
        back = here.next("last")
        there.tell("last")
        await took(back)
        await until(lambda: "last" in heard, SOON)
    assert heard == ["task_0", "task_1", "task_2", "last"]
    await a.close()
    await b.close()


async def test_a_redis_that_dies_costs_a_watcher_less_than_a_second(tmp_path: Path) -> None:
    space, rows = namespace(), Rows(task_1=1)
    async with own_redis(tmp_path) as server:
        a, b = RedisBus(server.url, space), RedisBus(server.url, space)
        here, there = Notices(a, rows), Notices(b, rows)
        async with at_work(here), at_work(there):
            await until(lambda: a.connected and b.connected, SOON)
            change = there.next("task_1", 1)
            server.kill()
            rows.versions["task_1"] = 2
            here.tell("task_1")
            assert await took(change) < A_SECOND
            await server.start()
            await until(lambda: a.connected and b.connected and a._telling.well, SOON)
            change = there.next("task_1", 2)
            here.tell("task_1")
            assert await took(change) < PROMPTLY
        await a.close()
        await b.close()


# --- by a look ---


async def test_without_a_bus_a_look_tells_within_a_second() -> None:
    rows = Rows(task_1=1)
    async with at_work(Notices(None, rows)) as notices:
        change = notices.next("task_1", 1)
        await until(lambda: rows.asked, A_SECOND)
        assert not change.event.is_set()
        rows.versions["task_1"] = 2
        assert await took(change) < A_SECOND


async def test_nobody_is_woken_who_knows_as_much_as_the_database() -> None:
    rows = Rows(task_1=3)
    async with at_work(Notices(None, rows)) as notices:
        same, newer, older = (notices.next("task_1", version) for version in (3, 4, 2))
        told_later = notices.next("task_1")
        told_later.version = 3
        await took(older)
        assert not same.event.is_set()
        assert not newer.event.is_set()
        assert not told_later.event.is_set()
        same.close()
        newer.close()
        told_later.close()
        assert notices._waiting == {}


async def test_who_did_not_say_what_it_saw_looks_once_itself_and_is_told_of_changes_then() -> None:
    rows = Rows(task_1=1)
    async with at_work(Notices(None, rows)) as notices:
        await took(notices.next("task_1"))
        change = notices.next("task_1")
        looks = len(rows.asked)
        await until(lambda: len(rows.asked) >= looks + 2, SOON)
        assert not change.event.is_set()
        rows.versions["task_1"] = 2
        assert await took(change) < A_SECOND


async def test_a_task_that_is_gone_is_a_change() -> None:
    async with at_work(Notices(None, Rows())) as notices:
        assert await took(notices.next("task_1", 1)) < A_SECOND


async def test_while_nobody_waits_nothing_is_asked() -> None:
    rows = Rows(task_1=1)
    async with at_work(Notices(None, rows)) as notices:
        await asyncio.sleep(LOOK_SECONDS * 1.4)
        assert rows.asked == []
        with closing(notices.next("task_1", 1)):
            await until(lambda: rows.asked, A_SECOND)
        looks = len(rows.asked)
        await asyncio.sleep(LOOK_SECONDS * 2.4)
        assert len(rows.asked) == looks
        assert not notices._anybody.is_set()
        assert notices._seen == {}
        with closing(notices.next("task_1", 1)):  # and it begins again
            await until(lambda: len(rows.asked) > looks, A_SECOND)


async def test_one_look_serves_all_watchers() -> None:
    names = [f"task_{number}" for number in range(2 * LOOK_AT_MOST + 1)]
    rows = Rows(**dict.fromkeys(names, 1))
    async with at_work(Notices(None, rows)) as notices:
        changes = [notices.next(name, 1) for name in names for _ in range(3)]
        await until(lambda: len(rows.asked) == 3, A_SECOND)
        assert [len(ids) for ids in rows.asked] == [LOOK_AT_MOST, LOOK_AT_MOST, 1]
        assert sorted(name for ids in rows.asked for name in ids) == sorted(names)
        rows.versions = dict.fromkeys(names, 2)
        await asyncio.gather(*(took(change) for change in changes))
        assert notices._waiting == {}


async def test_beside_a_bus_the_looks_are_rarer_until_it_is_gone() -> None:
    rows, line = Rows(task_1=1), Line(connected=True)
    async with at_work(Notices(line, rows)) as notices:
        clock = asyncio.get_running_loop().time
        change = notices.next("task_1", 1)
        await until(lambda: rows.asked, A_SECOND)
        start = clock()
        await until(lambda: len(rows.asked) == 2, SOON)
        assert LOOK_BESIDE_BUS_SECONDS - 0.1 < clock() - start < LOOK_BESIDE_BUS_SECONDS + LOOK_SECONDS + 0.2
        line.connected = False
        rows.versions["task_1"] = 2
        assert await took(change) < A_SECOND
        assert line.published == []


async def test_a_watcher_hears_once_of_what_both_tell() -> None:
    rows, line = Rows(task_1=1), Line(connected=True)
    async with at_work(Notices(line, rows)) as notices:
        change = notices.next("task_1", 1)
        rows.versions["task_1"] = 2
        line.hear("task_1")
        assert await took(change) < PROMPTLY
        again = notices.next("task_1", 2)
        await until(lambda: rows.asked, SOON)
        await asyncio.sleep(0.05)
        assert not again.event.is_set()


async def test_a_database_that_is_away_is_told_once_and_asked_again() -> None:
    rows = Rows(task_1=1)
    with capture_logs() as lines:
        async with at_work(Notices(None, rows)) as notices:
            change = notices.next("task_1", 1)
            rows.away = True
            await until(lambda: len(rows.asked) >= 3, SOON)
            assert not change.event.is_set()
            rows.versions["task_1"] = 2
            rows.away = False
            assert await took(change) < A_SECOND
    assert [line["event"] for line in lines] == ["changes of others not seen", "changes of others seen again"]
    assert lines[0]["code"] == "database_unavailable"


async def test_a_change_between_looking_and_reading_is_not_missed() -> None:
    """The watcher reads the task while a look is under way that asked before it."""
    rows = Rows(task_1=1)
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(ids: Collection[str]) -> Mapping[str, int]:
        found = await rows(ids)
        begun.set()
        await go.wait()
        return found

    async with at_work(Notices(None, slow)) as notices:
        before = notices.next("task_1", 1)
        await asyncio.wait_for(begun.wait(), A_SECOND)
        rows.versions["task_1"] = 2
        watcher = notices.next("task_1")  # reads version 2
        watcher.version = 2
        go.set()
        rows.versions["task_1"] = 3
        assert await took(watcher) < A_SECOND
        assert await took(before) < A_SECOND
