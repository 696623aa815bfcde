"""What every request measured, written in batches, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway import usage
from gateway.db.engine import Database
from gateway.db.tables import usage as rows
from gateway.errors import DatabaseUnavailable
from gateway.types import UsageRecord
from gateway.usage import Meter

pytestmark = pytest.mark.anyio


def record(number: int = 1, **fields: Any) -> UsageRecord:
    base: dict[str, Any] = {
        "at": 1_800_000_000.5, "request_id": f"req_{number}", "owner": "owner", "kind": "t2t", "model": "m",
        "upstream": "up", "account": "up/a", "status": 200, "code": "ok", "input_tokens": 3, "output_tokens": 2**40,
        "images": 0, "media_seconds": 0.5, "seconds": 1.25, "attempts": 2, "task_id": None,
    }  # fmt: skip
    return UsageRecord(**(base | fields))


async def written(database: Database) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(rows).order_by(rows.c.id))).mappings())


async def test_a_record_becomes_a_row(database: Database) -> None:
    meter = Meter(database)
    meter.record(record(task_id="task_1"))
    await meter.flush()
    [row] = await written(database)
    assert {name: value for name, value in row.items() if name != "id"} == {
        "at": 1_800_000_000.5, "request_id": "req_1", "owner": "owner", "kind": "t2t", "model": "m", "upstream": "up",
        "account_id": "up/a", "status": 200, "code": "ok", "input_tokens": 3, "output_tokens": 2**40, "images": 0,
        "media_seconds": 0.5, "seconds": 1.25, "attempts": 2, "task_id": "task_1",
    }  # fmt: skip


async def test_each_record_is_written_once_in_its_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "BATCH", 3)
    meter = Meter(database)
    for number in range(10):
        meter.record(record(number))
    await meter.flush()
    await meter.flush()
    assert [row["request_id"] for row in await written(database)] == [f"req_{number}" for number in range(10)]


async def test_a_database_that_is_away_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "BATCH", 2)
    meter = Meter(database)
    for number in range(5):
        meter.record(record(number))
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await meter.flush()
    meter.record(record(5))
    await database.start()
    await meter.flush()
    assert [row["request_id"] for row in await written(database)] == [f"req_{number}" for number in range(6)]


async def test_a_full_queue_gives_up_its_oldest(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "QUEUE", 3)
    meter = Meter(database)
    for number in range(5):
        meter.record(record(number))
    await meter.flush()
    assert meter.dropped == 2
    assert [row["request_id"] for row in await written(database)] == ["req_2", "req_3", "req_4"]


async def test_the_writer_writes_by_itself_and_survives_a_database_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "EVERY_SECONDS", 0.01)
    meter = Meter(database)
    await database.close()
    writer = asyncio.create_task(meter.run())
    try:
        meter.record(record())
        await asyncio.sleep(0.05)
        await database.start()
        async with asyncio.timeout(3):
            while not await written(database):
                await asyncio.sleep(0.01)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_one_record_that_no_database_takes_does_not_hold_up_the_others(database: Database) -> None:
    meter = Meter(database)
    meter.record(record(1))
    meter.record(record(2, model="a\0b"))
    meter.record(record(3))
    await meter.flush()
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(rows))).scalar_one() == 3
