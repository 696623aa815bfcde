"""Batches in the database: how many begin, what becomes of what was begun, and who may know."""

from __future__ import annotations

import asyncio
from itertools import chain

import msgspec
import pytest
from sqlalchemy import update

from gateway.db.engine import Database
from gateway.db.tables import batch_items
from gateway.errors import NotFound
from gateway.tasks.batch import Batch, Wanted
from gateway.tasks.batches import STARTING_SECONDS, Batches
from gateway.types import Principal

pytestmark = pytest.mark.anyio

ADA = Principal("ada", "ada's key", account_tags=frozenset({"b", "a"}))


@pytest.fixture
def batches(database: Database) -> Batches:
    return Batches(database)


async def made(batches: Batches, count: int, concurrency: int = 2) -> Batch:
    wanted = [Wanted({"prompt": msgspec.Raw(f'"film {n}"'.encode())}) for n in range(count)]
    return await batches.add(wanted, ADA, concurrency=concurrency, metadata={"a": "b"}, request_id="req_1")


async def positions(batches: Batches, batch: Batch) -> list[int]:
    return [position for position, _ in await batches.take(batch)]


async def test_a_batch_is_as_it_was_made(batches: Batches) -> None:
    batch = await made(batches, 3)
    assert (batch.state, batch.total, batch.counts, batch.metadata) == ("running", 3, {"waiting": 3}, {"a": "b"})
    assert batch.principal == ADA
    [(_, wanted), _] = await batches.take(batch)
    assert bytes(wanted.body["prompt"]) == b'"film 0"'


async def test_no_more_begin_than_the_limit_leaves_room_for(batches: Batches) -> None:
    batch = await made(batches, 5)
    assert await positions(batches, batch) == [0, 1]
    assert await positions(batches, batch) == []
    await batches.refused(batch.id, 0, {"code": "invalid_value"}, None)
    assert await positions(batches, batch) == [2]
    await batches.begun(batch.id, 1, "task_gone")  # somebody deleted it
    assert await positions(batches, batch) == [3]


async def test_takers_side_by_side_keep_the_limit_together(batches: Batches) -> None:
    batch = await made(batches, 9, concurrency=4)
    taken = await asyncio.gather(*(positions(batches, batch) for _ in range(5)))
    assert sorted(chain(*taken)) == [0, 1, 2, 3]


async def test_what_was_taken_and_never_begun_is_taken_again_after_a_while(
    batches: Batches, database: Database
) -> None:
    batch = await made(batches, 2)
    assert await positions(batches, batch) == [0, 1]
    assert await positions(batches, batch) == []
    async with database.write() as connection:
        past = database.now() - STARTING_SECONDS - 1
        await connection.execute(update(batch_items).where(batch_items.c.position == 1).values(claimed_at=past))
    assert await positions(batches, batch) == [1]


async def test_what_is_put_back_is_taken_again(batches: Batches) -> None:
    batch = await made(batches, 1)
    assert await positions(batches, batch) == [0]
    await batches.put_back(batch.id, 0)
    assert await positions(batches, batch) == [0]


async def test_a_batch_is_over_when_nothing_is_open(batches: Batches) -> None:
    batch = await made(batches, 1)
    await batches.take(batch)
    await batches.refused(batch.id, 0, {"code": "x"}, "task_1")
    assert await batches.take(batch) == []
    done = await batches.get(batch.id, "ada")
    assert (done.state, done.counts, done.finished_at is None) == ("completed", {"failed": 1}, False)
    [item] = await batches.items(batch.id, 0, 10)
    assert (item.state, item.task_id, item.error) == ("failed", "task_1", {"code": "x"})
    assert (await batches.any_open(), await batches.due()) == (False, [])


async def test_what_is_cancelled_begins_no_more(batches: Batches) -> None:
    batch = await made(batches, 4)
    await batches.take(batch)
    assert await batches.begun(batch.id, 0, "task_0") is False
    assert await batches.cancel(batch.id) == [], "there is no such task any more"
    assert await batches.begun(batch.id, 1, "task_1") is True, "whoever began it has to stop it"
    await batches.put_back(batch.id, 1)
    assert (await batches.get(batch.id, "ada")).counts == {"running": 2, "cancelled": 2}
    assert await batches.take(batch) == []
    assert (await batches.get(batch.id, "ada")).state == "cancelled"


async def test_only_what_has_something_to_do_is_looked_at(batches: Batches, database: Database) -> None:
    async def due() -> bool:
        return batch.id in [one.id for one in await batches.due()]

    batch = await made(batches, 3)
    assert await due(), "there is room"
    await batches.take(batch)
    assert not await due(), "it is full, and nothing has ended"
    await batches.refused(batch.id, 0, {"code": "x"}, None)
    assert await due(), "there is room again"
    await batches.take(batch)
    assert not await due()
    async with database.write() as connection:
        past = database.now() - STARTING_SECONDS - 1
        await connection.execute(update(batch_items).where(batch_items.c.position == 1).values(claimed_at=past))
    assert await due(), "somebody died with one in hand"
    await batches.take(batch)
    await batches.begun(batch.id, 1, "task_gone")
    assert await due(), "its task is over, or gone"


async def test_who_begins_and_who_cancels_at_once_leave_nothing_running(batches: Batches) -> None:
    for _ in range(10):
        batch = await made(batches, 1)
        await batches.take(batch)
        told, _ = await asyncio.gather(batches.begun(batch.id, 0, "task_1"), batches.cancel(batch.id))
        [item] = await batches.items(batch.id, 0, 1)
        assert item.state == "running"
        assert told or (await batches.get(batch.id, "ada")).cancel_requested


async def test_another_owner_s_is_not_there(batches: Batches) -> None:
    batch = await made(batches, 1)
    with pytest.raises(NotFound):
        await batches.get(batch.id, "bob")
    with pytest.raises(NotFound):
        await batches.page("bob", batch.id, 10)
    assert await batches.page("bob", None, 10) == ([], False)


async def test_pages_are_in_order_and_whole(batches: Batches) -> None:
    ids = [(await made(batches, 1)).id for _ in range(5)]
    first, more = await batches.page("ada", None, 3)
    rest, no_more = await batches.page("ada", first[-1].id, 3)
    assert sorted(one.id for one in (*first, *rest)) == sorted(ids)
    assert (len(first), more, len(rest), no_more) == (3, True, 2, False)
    assert [one.created_at for one in first] == sorted((one.created_at for one in first), reverse=True)
