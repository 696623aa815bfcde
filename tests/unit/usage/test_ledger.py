"""The usage log, page by page, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.db.engine import Database
from gateway.types import UsageRecord
from gateway.usage import ledger as module
from gateway.usage.ledger import Ledger, Place, Wanted
from tests.unit.usage.records import ADA, BEGIN, BOB, DAY, logged, month, record

pytestmark = pytest.mark.anyio

Holds = Callable[[UsageRecord], bool]
FILTERS: list[tuple[dict[str, Any], Holds]] = [
    ({}, lambda one: True),
    ({"owner": ADA}, lambda one: one.owner == ADA),
    ({"owner": "nobody"}, lambda one: False),
    ({"since": BEGIN + 3 * DAY, "until": BEGIN + 9 * DAY}, lambda one: BEGIN + 3 * DAY <= one.at < BEGIN + 9 * DAY),
    ({"kind": "t2v", "owner": BOB}, lambda one: (one.kind, one.owner) == ("t2v", BOB)),
    ({"model": "=cmd()"}, lambda one: one.model == "=cmd()"),
    ({"upstream": "down"}, lambda one: one.upstream == "down"),
    ({"key": "ada-old"}, lambda one: one.key == "ada-old"),
    ({"status": (400, 500)}, lambda one: one.status == 429),
    ({"status": (502, 503), "code": "upstream_failed"}, lambda one: one.status == 502),
    ({"task_id": "task_1"}, lambda one: one.task_id == "task_1"),
]


def newest_first(records: list[UsageRecord]) -> list[UsageRecord]:
    return sorted(records, key=lambda one: (one.at, one.request_id), reverse=True)


@pytest.mark.parametrize(("fields", "holds"), FILTERS, ids=lambda value: "" if callable(value) else "-".join(value))
async def test_a_filter_lets_through_what_it_says_and_pages_leave_nothing_out(
    database: Database, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], holds: Holds
) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    records = month(100)
    await logged(database, *records)
    pages = [page async for page in Ledger(database).pages(Wanted(**fields))]
    assert [one for page in pages for one in page] == newest_first([one for one in records if holds(one)])
    assert all(len(page) <= 7 for page in pages)


async def test_as_many_come_as_are_asked_for_and_no_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    records = newest_first(month(30))
    await logged(database, *records)
    ledger = Ledger(database)
    for limit in (1, 7, 8, 30, 31):
        assert [one async for page in ledger.pages(Wanted(), limit) for one in page] == records[:limit]
    assert await ledger.page(Wanted(), 3, Place.of(records[4])) == records[5:8]


async def test_records_of_one_moment_are_told_apart(database: Database) -> None:
    records = newest_first([record(BEGIN, number) for number in range(9)])
    await logged(database, *records)
    found: list[UsageRecord] = []
    while page := await Ledger(database).page(Wanted(), 2, Place.of(found[-1]) if found else None):
        found += page
    assert found == records


async def test_what_is_old_is_forgotten_and_nothing_else(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP", 4)
    await logged(database, *(record(BEGIN + number, number) for number in range(20)))
    ledger = Ledger(database)
    assert await ledger.sweep(BEGIN + 8) == 8
    assert [one.at - BEGIN for one in await ledger.page(Wanted(), 100)] == list(range(19, 7, -1))
    assert await ledger.sweep(BEGIN + 8) == 0
    assert await ledger.sweep(BEGIN + 100) == 12
    assert await ledger.page(Wanted(), 100) == []
