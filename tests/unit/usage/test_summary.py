"""Sums of the usage log, held against the same sums made by hand, on both databases."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.db.engine import Database
from gateway.errors import InvalidRequest
from gateway.types import UsageRecord
from gateway.usage import summary as module
from gateway.usage.ledger import Wanted
from gateway.usage.summary import Sum, Summary
from tests.unit.usage.records import ADA, BEGIN, BOB, DAY, logged, month, record

pytestmark = pytest.mark.anyio

UTC_ZONE = ZoneInfo("UTC")
GROUPS: list[tuple[Any, ...]] = [
    (), ("day",), ("month",), ("hour",), ("key",), ("kind", "status"), ("day", "model", "upstream"), ("model", "month"),
]  # fmt: skip


def of(one: UsageRecord, name: str, zone: ZoneInfo) -> Any:
    moment = datetime.fromtimestamp(one.at, UTC).astimezone(zone)
    match name:
        case "hour":
            return moment.replace(minute=0, second=0, microsecond=0).isoformat()
        case "day":
            return moment.date().isoformat()
        case "month":
            return moment.date().isoformat()[:7]
        case _:
            return getattr(one, name)


def by_hand(records: list[UsageRecord], by: tuple[str, ...], zone: ZoneInfo) -> dict[Any, dict[str, Any]]:
    groups: dict[Any, list[UsageRecord]] = defaultdict(list)
    for one in records:
        groups[tuple(of(one, name, zone) for name in by)].append(one)
    return {name: added(group) for name, group in sorted(groups.items())}


def added(group: list[UsageRecord]) -> dict[str, Any]:
    fields = ("attempts", "input_tokens", "cached_tokens", "output_tokens", "images", "characters", "media_seconds")
    cost: dict[str, Decimal] = defaultdict(Decimal)
    for one in group:
        if one.cost is not None and one.currency is not None:
            cost[one.currency] += Decimal(repr(one.cost))
    return {
        "requests": len(group),
        "errors": sum(one.status >= 400 for one in group),
        "unpriced": sum(one.status < 400 and one.cost is None for one in group),
        "estimated": sum(one.estimated for one in group),
        "seconds": sum(one.seconds for one in group),
        "cost": {name: float(amount) for name, amount in sorted(cost.items())},
        **{name: sum(getattr(one, name) for one in group) for name in fields},
    }


def told(sums: list[Sum]) -> dict[Any, dict[str, Any]]:
    names = ("requests", "errors", "unpriced", "estimated", "seconds", "cost", "attempts", "input_tokens")
    more = ("cached_tokens", "output_tokens", "images", "characters", "media_seconds")
    assert {type(getattr(one, name)) for one in sums for name in (*names, *more)} <= {int, float, dict}
    return {one.by: {name: getattr(one, name) for name in (*names, *more)} for one in sums}


@pytest.mark.parametrize("by", GROUPS, ids="-".join)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
async def test_sums_are_those_of_their_records(database: Database, by: tuple[Any, ...], zone: str) -> None:
    records = month(300)
    await logged(database, *records)
    found = await Summary(Wanted(), by, ZoneInfo(zone)).read(database)
    assert told(found) == by_hand(records, by, ZoneInfo(zone))
    assert [one.by for one in found] == sorted(one.by for one in found)


@pytest.mark.parametrize(
    "fields",
    [{"owner": ADA}, {"kind": "t2v"}, {"status": (400, 500)}, {"since": BEGIN + DAY, "until": BEGIN + 2 * DAY}],
)
async def test_filters_hold_for_sums_too(database: Database, fields: dict[str, Any]) -> None:
    records = month(300)
    await logged(database, *records)
    wanted = Wanted(**fields)
    meant = [
        one
        for one in records
        if (wanted.owner in (None, one.owner))
        and (wanted.kind in (None, one.kind))
        and (wanted.status is None or wanted.status[0] <= one.status < wanted.status[1])
        and (wanted.since or 0) <= one.at < (wanted.until or 1e12)
    ]
    assert 0 < len(meant) < len(records)
    assert told(await Summary(wanted, ("day",), UTC_ZONE).read(database)) == by_hand(meant, ("day",), UTC_ZONE)


async def test_the_sums_of_the_parts_are_the_sum_of_the_whole(database: Database) -> None:
    await logged(database, *month(300))
    [whole] = told(await Summary(Wanted(), (), UTC_ZONE).read(database)).values()
    for by in (("day",), ("key", "model"), ("hour", "kind", "status")):
        parts = told(await Summary(Wanted(), by, UTC_ZONE).read(database)).values()  # type: ignore[arg-type]
        for name, value in whole.items():
            if name == "cost":
                cents = {c: float(sum(Decimal(repr(part["cost"].get(c, 0.0))) for part in parts)) for c in value}
                assert cents == value
            else:
                assert sum(part[name] for part in parts) == value


async def test_tenths_of_a_cent_stay_tenths(database: Database) -> None:
    await logged(database, *(record(BEGIN + number, number, cost=0.1, currency="USD") for number in range(3)))
    await logged(database, record(BEGIN, 9, cost=123_456.789012, currency="USD"))
    await logged(database, record(BEGIN, 10, cost=0.0000000025, currency="credits"))
    [found] = await Summary(Wanted(), (), UTC_ZONE).read(database)
    assert found.cost == {"USD": 123_457.089012, "credits": 0.0000000025}


async def test_nothing_sums_up_to_nothing(database: Database) -> None:
    assert await Summary(Wanted(), ("day",), UTC_ZONE).read(database) == []
    await logged(database, *month(10))
    for fields in ({"owner": "nobody"}, {"until": BEGIN - 1}, {"since": BEGIN + 40 * DAY}):
        assert await Summary(Wanted(**fields), (), UTC_ZONE).read(database) == []


@pytest.mark.parametrize(("hold", "transactions"), [(-1.0, 30), (1000.0, 1)])
async def test_others_get_their_turn_between_two_days(
    database: Database, monkeypatch: pytest.MonkeyPatch, hold: float, transactions: int
) -> None:
    monkeypatch.setattr(module, "HOLD_SECONDS", hold)
    await logged(database, *(record(BEGIN + number * DAY, number) for number in range(30)))
    begun, read = 0, database.read

    def counted() -> Any:
        nonlocal begun
        begun += 1
        return read()

    monkeypatch.setattr(database, "read", counted)
    assert len(await Summary(Wanted(), ("day",), UTC_ZONE).read(database)) == 30
    assert begun == transactions + 1


async def test_more_rows_than_anybody_reads_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    await logged(database, *(record(BEGIN + number * DAY, number) for number in range(4)))
    with pytest.raises(InvalidRequest, match="more than 3 rows"):
        await Summary(Wanted(), ("day",), UTC_ZONE).read(database)
    assert len(await Summary(Wanted(until=BEGIN + 3 * DAY), ("day",), UTC_ZONE).read(database)) == 3


async def test_a_long_time_is_told_in_long_steps(database: Database) -> None:
    records = [record(BEGIN - 900 * DAY, 1), record(BEGIN, 2, owner=BOB)]
    await logged(database, *records)
    for unit in ("hour", "day"):
        with pytest.raises(InvalidRequest, match="days at most"):
            await Summary(Wanted(), (unit,), UTC_ZONE).read(database)  # type: ignore[arg-type]
    assert told(await Summary(Wanted(), ("month",), UTC_ZONE).read(database)) == by_hand(records, ("month",), UTC_ZONE)
    for fields in ({"owner": BOB}, {"since": BEGIN - DAY}, {"until": BEGIN - 890 * DAY}):
        assert len(await Summary(Wanted(**fields), ("hour",), UTC_ZONE).read(database)) == 1  # type: ignore[arg-type]
