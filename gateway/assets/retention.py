"""Retention: what is kept for so many days only is removed once they are over, rows first, then their objects.

Favourites and what is in a collection stay, and so does what an unfinished task starts from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Table, delete, exists, func, select

from gateway.assets.missing import GoingOn
from gateway.assets.references import References
from gateway.config import RetentionConfig
from gateway.db.tables import assets, collection_assets, files, usage

BATCH: Final = 200
"""Rows removed in one transaction."""
DAY: Final = 24 * 3600.0
TOLD: Final = 20

FAMILIES: Final = {
    "images": ("image",),
    "videos": ("video",),
    "audio": ("audio",),
    "text": ("text", "document"),
}
"""Which assets each key of the config is about."""

Forget = Callable[[float], Awaitable[int]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Expired:
    """What of one sort is over its time."""

    days: int
    count: int = 0
    bytes: int = 0
    oldest: float | None = None
    """When the oldest of them was made."""
    ids: list[str] = field(default_factory=list)
    """Up to TOLD."""
    removed: int = 0

    def add(self, rows: Sequence[Any]) -> None:
        self.count += len(rows)
        self.bytes += sum(row.size for row in rows)
        moments = [row.created_at for row in rows] + ([] if self.oldest is None else [self.oldest])
        self.oldest = min(moments, default=None)
        self.ids += [row.id for row in rows][: TOLD - len(self.ids)]


class Retention:
    def __init__(self, references: References, forget_usage: Forget) -> None:
        self._references = references
        self._database = references.database
        self._forget_usage = forget_usage
        """Removes what was measured before a time; how much."""

    async def apply(self, config: RetentionConfig, going_on: GoingOn, *, dry_run: bool) -> dict[str, Expired]:
        """Remove what is over its time, by key of the config; keys without days are left out.

        Raises DatabaseUnavailable. A store that is away leaves objects to the next collection.
        """
        found: dict[str, Expired] = {}
        for name, families in FAMILIES.items():
            if (days := getattr(config, name)) is not None:
                over = assets.c.family.in_(families) & ~assets.c.is_favorite & ~_collected()
                found[name] = await self._sort(assets, over, days, going_on, dry_run=dry_run)
        if config.uploads is not None:
            found["uploads"] = await self._sort(files, None, config.uploads, going_on, dry_run=dry_run)
        if config.usage is not None:
            found["usage"] = await self._usage(config.usage, dry_run=dry_run)
        return found

    async def _sort(
        self,
        table: Table,
        over: ColumnElement[bool] | None,
        days: int,
        going_on: GoingOn,
        *,
        dry_run: bool,
    ) -> Expired:
        result = Expired(days)
        past = table.c.created_at < self._database.now() - days * DAY
        over = past if over is None else past & over
        async for batch in self._batches(table, over):
            awaited = await self._references.awaited()
            rows = [row for row in batch if row.key not in awaited]
            result.add(rows)
            if rows and not dry_run:
                result.removed += await self._remove(table, over, [row.id for row in rows])
            await going_on()
        return result

    async def _batches(self, table: Table, over: ColumnElement[bool]) -> AsyncIterator[Sequence[Any]]:
        last = ""
        while True:
            some = select(table.c.id, table.c.key, table.c.size, table.c.created_at).where(over, table.c.id > last)
            async with self._database.read() as connection:
                rows = (await connection.execute(some.order_by(table.c.id).limit(BATCH))).all()
            if not rows:
                return
            last = rows[-1].id
            yield rows

    async def _remove(self, table: Table, over: ColumnElement[bool], ids: Sequence[str]) -> int:
        """Those that are over their time still: somebody may have put one into a collection just now.

        The rows are locked before they are looked at again, so that whoever does that next finds no row.
        """
        these = table.c.id.in_(ids)
        names = [name for name in ("key", "thumbnail_key", "poster_key") if name in table.c]
        async with self._database.write() as connection:
            await connection.execute(select(table.c.id).where(these).order_by(table.c.id).with_for_update())
            gone = delete(table).where(these, over).returning(*(table.c[name] for name in names))
            rows = (await connection.execute(gone)).all()
        await self._references.drop({key for row in rows for key in row if key})
        return len(rows)

    async def _usage(self, days: int, *, dry_run: bool) -> Expired:
        limit = self._database.now() - days * DAY
        query = select(func.count(), func.min(usage.c.at)).where(usage.c.at < limit)
        async with self._database.read() as connection:
            count, oldest = (await connection.execute(query)).one()
        removed = 0 if dry_run or not count else await self._forget_usage(limit)
        return Expired(days, count=count, oldest=oldest, removed=removed)


def _collected() -> ColumnElement[bool]:
    return exists().where(collection_assets.c.asset_id == assets.c.id)
