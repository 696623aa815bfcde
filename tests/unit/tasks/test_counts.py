"""Open tasks by state, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.db.engine import Database
from gateway.tasks.counts import GOOD_FOR_SECONDS, Counts
from gateway.tasks.store import Store
from gateway.tasks.task import OPEN
from gateway.types import TaskState
from tests.unit.tasks.test_store import task

pytestmark = pytest.mark.anyio

NONE: dict[TaskState, int] = dict.fromkeys(OPEN, 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def keep(database: Database, *states: TaskState, first: int = 1) -> None:
    for number, state in enumerate(states, first):
        await Store(database).add(replace(task(number), state=state))


async def test_what_is_open_is_counted_and_what_has_ended_is_not(database: Database) -> None:
    counts = Counts(database)
    await keep(database, "queued", "queued", "running", "succeeded", "failed", "cancelled", "expired", "submit_unknown")
    assert await counts.open() == NONE | {"queued": 2, "running": 1, "submit_unknown": 1}


async def test_the_database_is_asked_once_a_second(database: Database) -> None:
    clock = Clock()
    counts = Counts(database, clock=clock)
    assert await counts.open() == NONE
    await keep(database, "queued")
    clock.now += GOOD_FOR_SECONDS - 0.01
    assert await counts.open() == NONE
    clock.now += 0.01
    assert await counts.open() == NONE | {"queued": 1}


async def test_a_database_that_is_away_tells_nothing_and_later_again(database: Database) -> None:
    clock = Clock()
    counts = Counts(database, clock=clock)
    await database.close()
    assert await counts.open() is None
    await database.start()
    clock.now += GOOD_FOR_SECONDS
    assert await counts.open() == NONE
