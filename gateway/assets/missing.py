"""Rows whose object is gone: found by a listing of everything, asked for one by one before it is said."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes, token_hex
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Table, delete, select, update

from gateway.assets.references import References
from gateway.db.tables import assets, files

SEEN_BYTES: Final = 8 * 1024 * 1024
ROWS: Final = 500
"""Looked at in one transaction."""
HEADS: Final = 8
"""Objects asked for at a time."""
TOLD: Final = 100
SAMPLE: Final = 20
"""Rows of each table, drawn anew every time, that a collection looks for before it deletes anything."""
WRONG: Final = (
    "most of what the database names is not in this storage, so nothing was deleted or marked: "
    "see that storage.url is the right one"
)

_TABLES: Final = {"asset": assets, "file": files}
"""By what their ids begin with."""
GoingOn = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


class Seen:
    """Which keys a listing showed, in as much memory however many there are.

    A key that was shown is never taken for one that was not. One that was not is taken for shown once in 90,000 times
    with a million objects and once in 25 with ten million; every listing draws anew which ones these are.
    """

    def __init__(self, size: int = SEEN_BYTES) -> None:
        self._bits = bytearray(size)
        self._salt = token_bytes(16)

    def add(self, key: str) -> None:
        for at in self._places(key):
            self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: str) -> bool:
        return all(self._bits[at >> 3] & 1 << (at & 7) for at in self._places(key))

    def _places(self, key: str) -> list[int]:
        digest = hashlib.blake2b(key.encode(), digest_size=32, key=self._salt).digest()
        return [int.from_bytes(digest[at : at + 8]) % (len(self._bits) * 8) for at in range(0, 32, 8)]


@dataclass(slots=True)
class MissingRows:
    """What was found of rows without an object, ids in `ids` up to TOLD of them."""

    rows: int = 0
    """That were looked at."""
    count: int = 0
    new: int = 0
    """Of them, those that were not known to be."""
    back: int = 0
    """Rows that were marked and whose object is there."""
    removed: int = 0
    ids: list[str] = field(default_factory=list)
    problem: str | None = None
    """Why nothing was marked."""


class Missing:
    """Sets `missing_since` of assets and files, and clears it. All raise StorageUnavailable, DatabaseUnavailable."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._database = references.database
        self._storage = references.storage

    async def elsewhere(self) -> bool:
        """Whether most of what the database names has no object here: then this is another storage than its own."""
        keys = [key for name, table in _TABLES.items() for key in await self._drawn(table, f"{name}_{token_hex(8)}")]
        return bool(keys) and len(await self._gone(keys)) * 2 > len(keys)

    async def look(
        self, seen: Seen, before: float, going_on: GoingOn, *, dry_run: bool, remove_after: float | None
    ) -> MissingRows:
        """Mark what is missing of the rows made before that time, where they may be believed to be.

        `remove_after`: rows that were missing for so many seconds are removed. None: none are.
        """
        result = MissingRows()
        suspects = 0
        async for _, batch in self._batches(before, going_on):
            result.rows += len(batch)
            suspects += sum(row.key not in seen for row in batch)
        if suspects * 2 > result.rows:
            result.count, result.problem = suspects, WRONG
            log.error("most objects are missing", rows=result.rows, missing=suspects)
            return result
        async for table, batch in self._batches(before, going_on):
            await self._judge(table, batch, seen, result, dry_run=dry_run, remove_after=remove_after)
        return result

    async def _judge(
        self,
        table: Table,
        batch: Sequence[Any],
        seen: Seen,
        result: MissingRows,
        *,
        dry_run: bool,
        remove_after: float | None,
    ) -> None:
        gone = await self._gone([row.key for row in batch if row.key not in seen])
        missing = [row for row in batch if row.key in gone]
        back = [row for row in batch if row.missing_since is not None and row.key not in gone]
        new = [row for row in missing if row.missing_since is None]
        now = self._database.now()
        result.count += len(missing)
        result.new += len(new)
        result.back += len(back)
        result.ids += [row.id for row in missing][: TOLD - len(result.ids)]
        if dry_run:
            return
        await self._mark(table, new, now)
        await self._mark(table, back, None)
        if remove_after is not None:
            over = [row for row in missing if row.missing_since is not None and row.missing_since <= now - remove_after]
            result.removed += await self._remove(table, over)

    async def _mark(self, table: Table, rows: Sequence[Any], since: float | None) -> None:
        if rows:
            async with self._database.write() as connection:
                await connection.execute(update(table).where(_same(table, rows)).values(missing_since=since))

    async def _remove(self, table: Table, rows: Sequence[Any]) -> int:
        """Rows first, then what else they had."""
        if not rows:
            return 0
        kept = [column for column in (table.c.get("thumbnail_key"), table.c.get("poster_key")) if column is not None]
        async with self._database.write() as connection:
            removed = (
                await connection.execute(delete(table).where(_same(table, rows)).returning(table.c.id, *kept))
            ).all()
        await self._references.drop({key for row in removed for key in row[1:] if key})
        return len(removed)

    async def _batches(self, before: float, going_on: GoingOn) -> AsyncIterator[tuple[Table, Sequence[Any]]]:
        for table in _TABLES.values():
            last = ""
            while True:
                some = select(table.c.id, table.c.key, table.c.missing_since, table.c.created_at)
                query = some.where(table.c.id > last).order_by(table.c.id).limit(ROWS)
                async with self._database.read() as connection:
                    rows = (await connection.execute(query)).all()
                yield table, [row for row in rows if row.created_at < before]
                await going_on()
                if len(rows) < ROWS:
                    break
                last = rows[-1].id

    async def _drawn(self, table: Table, start: str) -> set[str]:
        """The keys of some rows: those after an id, and of the first ones where these are too few."""
        some = select(table.c.key).order_by(table.c.id).limit(SAMPLE)
        async with self._database.read() as connection:
            keys = set((await connection.execute(some.where(table.c.id > start))).scalars())
            return keys if len(keys) == SAMPLE else keys | set((await connection.execute(some)).scalars())

    async def _gone(self, keys: Sequence[str]) -> set[str]:
        """Those that the store does not have."""
        gone: set[str] = set()
        for start in range(0, len(keys), HEADS):
            some = keys[start : start + HEADS]
            for key, info in zip(some, await asyncio.gather(*map(self._storage.head, some)), strict=True):
                if info is None:
                    gone.add(key)
        return gone


def _same(table: Table, rows: Sequence[Any]) -> ColumnElement[bool]:
    """The rows as they were looked at, not one that got another key meanwhile."""
    return table.c.id.in_([row.id for row in rows]) & table.c.key.in_([row.key for row in rows])
