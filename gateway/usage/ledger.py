"""The usage log as it is kept: who asked for what, what it took and what it cost. Never what was said."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, or_, select

from gateway.db.engine import Database
from gateway.db.tables import usage
from gateway.types import Kind, UsageRecord

PAGE: Final = 2_000
"""Records that are read in one transaction."""
SWEEP: Final = 5_000
"""Records that are deleted in one."""

_COLUMNS = tuple(column for column in usage.c if column.name != "id")
_OLDEST = select(usage.c.id).where(usage.c.at < bindparam("moment")).order_by(usage.c.at).limit(bindparam("most"))
_SWEPT = delete(usage).where(usage.c.id.in_(_OLDEST))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: those that are all of this. Times are Unix seconds."""

    owner: str | None = None
    """None: of everybody."""
    since: float | None = None
    until: float | None = None
    """Before this."""
    kind: Kind | None = None
    model: str | None = None
    upstream: str | None = None
    key: str | None = None
    status: tuple[int, int] | None = None
    """From the first up to the second, which is left out."""
    code: str | None = None
    task_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found = [
            usage.c[name] == value
            for name in ("owner", "kind", "model", "upstream", "key", "code", "task_id")
            if (value := getattr(self, name)) is not None
        ]
        found += [usage.c.at >= self.since] if self.since is not None else []
        found += [usage.c.at < self.until] if self.until is not None else []
        if self.status is not None:
            found += [usage.c.status >= self.status[0], usage.c.status < self.status[1]]
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """Between two records of the log, newest first: after the one that this is of."""

    at: float
    request_id: str

    @classmethod
    def of(cls, record: UsageRecord) -> Place:
        return cls(record.at, record.request_id)


class Ledger:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def page(self, wanted: Wanted, limit: int, before: Place | None = None) -> list[UsageRecord]:
        """At most `limit` records, newest first, older than the one `before`."""
        where = [*wanted.conditions(), *([_older(before)] if before else [])]
        newest_first = (usage.c.at.desc(), usage.c.request_id.desc(), usage.c.id.desc())
        query = select(*_COLUMNS).where(*where).order_by(*newest_first).limit(limit)
        async with self.database.read() as connection:
            return [_record(row) for row in (await connection.execute(query)).mappings()]

    async def pages(
        self, wanted: Wanted, limit: int | None = None, before: Place | None = None
    ) -> AsyncGenerator[list[UsageRecord]]:
        """All of them, or so many, page by page: nothing is held between two."""
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            found = await self.page(wanted, size, before)
            if found:
                yield found
            if len(found) < size:
                return
            before = Place.of(found[-1])
            left = None if left is None else left - len(found)

    async def sweep(self, older_than: float) -> int:
        """Forget what is older than a moment (Unix seconds), a little at a time. How many records that were."""
        swept = 0
        while True:
            async with self.database.write() as connection:
                done = (await connection.execute(_SWEPT, {"moment": older_than, "most": SWEEP})).rowcount
            swept += done
            if done < SWEEP:
                return swept


def _older(place: Place) -> ColumnElement[bool]:
    same_moment = and_(usage.c.at == place.at, usage.c.request_id < place.request_id)
    return and_(usage.c.at <= place.at, or_(usage.c.at < place.at, same_moment))


def _record(row: Any) -> UsageRecord:
    return UsageRecord(account=row["account_id"], **{name: row[name] for name in row if name != "account_id"})
