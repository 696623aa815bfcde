"""What every request measured, written in batches, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from gateway.db.engine import Database
from gateway.db.tables import assets
from gateway.db.tables import usage as rows
from gateway.errors import DatabaseUnavailable
from gateway.types import Usage, UsageRecord
from gateway.usage import BOUNDS, MOST_MODELS, MOST_SUMS, OTHER, Meter, Sort, Sums, Tally
from gateway.usage import meter as module

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
    told = {"key": "ada", "cached_tokens": 2, "characters": 5, "estimated": True, "cost": 0.0375, "currency": "USD"}
    meter.record(record(task_id="task_1", assets=("asset_1",), generation_time=2.0, **told))
    await meter.flush()
    [row] = await written(database)
    assert {name: value for name, value in row.items() if name != "id"} == {
        "at": 1_800_000_000.5, "request_id": "req_1", "owner": "owner", "kind": "t2t", "model": "m", "upstream": "up",
        "account_id": "up/a", "status": 200, "code": "ok", "input_tokens": 3, "output_tokens": 2**40, "images": 0,
        "media_seconds": 0.5, "seconds": 1.25, "attempts": 2, "task_id": "task_1", "key": "ada", "cached_tokens": 2,
        "characters": 5, "estimated": True, "cost": 0.0375, "currency": "USD",
    }  # fmt: skip


async def test_each_record_is_written_once_in_its_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    meter = Meter(database)
    for number in range(10):
        meter.record(record(number))
    await meter.flush()
    await meter.flush()
    assert [row["request_id"] for row in await written(database)] == [f"req_{number}" for number in range(10)]


async def test_a_database_that_is_away_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
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
    monkeypatch.setattr(module, "QUEUE", 3)
    meter = Meter(database)
    for number in range(5):
        meter.record(record(number))
    await meter.flush()
    assert meter.dropped == 2
    assert [row["request_id"] for row in await written(database)] == ["req_2", "req_3", "req_4"]


async def test_the_writer_writes_by_itself_and_survives_a_database_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.01)
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


# --- what assets cost ---


async def entered(database: Database, *asset_ids: str) -> None:
    row = {
        "owner": "owner", "family": "image", "mime": "image/png", "size": 1, "sha256": "", "filename": "f",
        "prompt": "", "model": "m", "upstream": "up", "kind": "t2i", "source_module": "api", "created_at": 1.0,
        "metadata": "{}",
    }  # fmt: skip
    async with database.write() as connection:
        await connection.execute(insert(assets), [row | {"id": name, "key": name} for name in asset_ids])


async def costs(database: Database) -> list[tuple[Any, ...]]:
    query = select(assets.c.id, assets.c.cost, assets.c.currency, assets.c.generation_time).order_by(assets.c.id)
    async with database.read() as connection:
        return [tuple(row) for row in await connection.execute(query)]


async def test_the_assets_of_a_request_share_its_cost(database: Database) -> None:
    await entered(database, "a1", "a2", "a3", "other")
    meter = Meter(database)
    meter.record(record(assets=("a3", "a1", "gone"), cost=0.1, currency="USD", generation_time=2.5))
    meter.record(record(assets=("a2",), generation_time=1.5))
    await meter.flush()
    assert await costs(database) == [
        ("a1", 0.0333333333333, "USD", 2.5),
        ("a2", None, None, 1.5),
        ("a3", 0.0333333333334, "USD", 2.5),
        ("other", None, None, None),
    ]


async def test_what_becomes_an_asset_later_is_charged_by_itself(database: Database) -> None:
    await entered(database, "text")
    meter = Meter(database)
    meter.charge("text", Usage(cost=0.25, currency="CNY"), 3.0)
    await meter.flush()
    assert await costs(database) == [("text", 0.25, "CNY", 3.0)]


async def test_a_database_that_is_away_keeps_no_asset_from_its_cost(database: Database) -> None:
    await entered(database, "a1", "a2")
    meter = Meter(database)
    meter.record(record(assets=("a1",), cost=1.0, currency="USD"))
    meter.charge("a2", Usage(cost=2.0, currency="USD"))
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await meter.flush()
    await database.start()
    await meter.flush()
    assert [cost for _, cost, _, _ in await costs(database)] == [1.0, 2.0]
    assert len(await written(database)) == 1


# --- sums ---


def sums_of(tally: Tally) -> dict[Sort, Sums]:
    return dict(tally.read())


def test_requests_of_one_sort_are_summed_up() -> None:
    tally = Tally()
    tally.add(record(1, images=2, output_tokens=7))
    tally.add(record(2, seconds=0.1, attempts=1))
    tally.add(record(3, status=502, code="upstream_failed", seconds=9_999.0))
    found = sums_of(tally)
    well, badly = Sort("t2t", "up", "m", 2, "ok"), Sort("t2t", "up", "m", 5, "upstream_failed")
    assert set(found) == {well, badly}
    assert found[well] == Sums(
        input_tokens=6, output_tokens=7 + 2**40, images=2, media_seconds=1.0, attempts=3, seconds=1.35,
        took=[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )  # fmt: skip
    assert found[badly].took == [0] * len(BOUNDS) + [1]


def test_what_requests_cost_is_summed_up_by_currency() -> None:
    tally = Tally()
    for cost, currency in ((0.5, "USD"), (0.25, "USD"), (3.0, "CNY"), (None, None)):
        tally.add(record(cost=cost, currency=currency))
    [(_, sums)] = tally.read()
    tally.add(record(cost=1.0, currency="USD"))
    assert sums.cost == {"USD": 0.75, "CNY": 3.0}
    both = Sums()
    both.join(sums)
    both.join(sums)
    assert (both.cost, sums.cost) == ({"USD": 1.5, "CNY": 6.0}, {"USD": 0.75, "CNY": 3.0})


def test_a_request_that_took_just_a_bound_belongs_to_it() -> None:
    tally = Tally()
    for bound in BOUNDS:
        tally.add(record(seconds=bound))
    assert sums_of(tally).popitem()[1].took == [1] * len(BOUNDS) + [0]


def test_what_was_read_does_not_change_any_more() -> None:
    tally = Tally()
    tally.add(record())
    [(sort, before)] = tally.read()
    tally.add(record())
    assert (sum(before.took), sum(sums_of(tally)[sort].took)) == (1, 2)


def test_a_model_has_sums_of_its_own_once_something_was_made_with_it() -> None:
    tally = Tally()
    tally.add(record(model="made up", status=404, code="model_not_found"))
    tally.add(record(model="real", status=429, code="upstream_rate_limited"))
    tally.add(record(model="real"))
    tally.add(record(model="real", status=429, code="upstream_rate_limited"))
    assert {(sort.model, sort.code, sum(sums.took)) for sort, sums in tally.read()} == {
        (OTHER, "model_not_found", 1),
        (OTHER, "upstream_rate_limited", 1),
        ("real", "ok", 1),
        ("real", "upstream_rate_limited", 1),
    }


def test_models_and_sums_are_bounded_whatever_comes() -> None:
    tally = Tally()
    for number in range(MOST_MODELS + 50):
        tally.add(record(model=f"m{number}"))
    found = sums_of(tally)
    assert len(found) == MOST_MODELS + 1
    assert sum(found[Sort("t2t", "up", OTHER, 2, "ok")].took) == 50
    for number in range(MOST_SUMS * 2):
        tally.add(record(model=f"m{number % 100}", status=400, code=f"c{number}"))
    found = sums_of(tally)
    assert len(found) <= MOST_SUMS + 10
    assert sum(sum(sums.took) for sums in found.values()) == MOST_MODELS + 50 + MOST_SUMS * 2


async def test_the_meter_sums_up_what_it_records_and_goes_on_when_it_is_written(database: Database) -> None:
    meter = Meter(database)
    meter.record(record())
    assert (meter.waiting, len(meter.tally.read())) == (1, 1)
    await meter.flush()
    assert (meter.waiting, sum(meter.tally.read()[0][1].took)) == (0, 1)
