"""What lies in storage by what the database says: objects and bytes by folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Integer, func, literal, select

from gateway.assets.references import NAMING
from gateway.db.engine import Database

ROWS: Final = 2000
"""Read in one transaction."""
GOOD_FOR_SECONDS: Final = 30.0


@dataclass(slots=True)
class Held:
    objects: int = 0
    bytes: int | None = 0
    """None of those whose size no row tells: previews and kept answers."""


class Holdings:
    """Counts at most every GOOD_FOR_SECONDS, whoever wants to know."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: Mapping[str, Held] = {}
        self._until = -1.0

    async def by_folder(self) -> Mapping[str, Held]:
        """Raises DatabaseUnavailable."""
        async with self._turn:
            if self._clock() >= self._until:
                self._known = await self._counted()
                self._until = self._clock() + GOOD_FOR_SECONDS
            return self._known

    async def _counted(self) -> Mapping[str, Held]:
        found: dict[str, Held] = {}
        for column in NAMING:
            await self._count(column, found)
        return dict(sorted(found.items()))

    async def _count(self, column: Column[Any], found: dict[str, Held]) -> None:
        """An object that several rows name counts once."""
        sized = column.name == "key"
        size = func.max(column.table.c.size) if sized else literal(None, Integer)
        last = ""
        while True:
            some = select(column, size).where(column > last).group_by(column).order_by(column).limit(ROWS)
            async with self._database.read() as connection:
                rows = (await connection.execute(some)).all()
            for key, bytes_ in rows:
                held = found.setdefault(key.partition("/")[0], Held())
                held.objects += 1
                held.bytes = None if bytes_ is None or held.bytes is None else held.bytes + bytes_
            if len(rows) < ROWS:
                return
            last = rows[-1][0]
            await asyncio.sleep(0)
