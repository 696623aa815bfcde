"""What callers chose to be taken where a request names no model: one model of a kind, and parameters to go with it.

What an owner prefers is remembered for a few seconds. A change is seen at once by the process that makes it, and by the
others when that time is over.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db.engine import Database
from gateway.db.tables import preferences
from gateway.types import Kind

FRESH_SECONDS: Final = 5.0
MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Preference:
    kind: Kind
    model: str
    """As the caller named it."""
    params: Mapping[str, Any]
    """By the names that callers use: they fill what a request leaves open."""
    updated_at: float
    """Unix seconds."""


Mine = Mapping[Kind, Preference]


class _Seen(NamedTuple):
    until: float
    found: Mine


class Preferences:
    """All raise DatabaseUnavailable."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic seconds."""
        self._database = database
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._changes = 0

    async def of(self, owner: str, kind: Kind) -> Preference | None:
        return (await self.all(owner)).get(kind)

    async def all(self, owner: str) -> Mine:
        """Those of an owner, by kind."""
        seen = self._seen.get(owner)
        if seen is not None and self._clock() < seen.until:
            return seen.found
        changes = self._changes
        async with self._database.look() as connection:
            rows = (await connection.execute(select(preferences).where(preferences.c.owner == owner))).all()
        found = {row.kind: _preference(row) for row in sorted(rows, key=lambda row: str(row.kind))}
        if changes == self._changes:  # else it may be of before a change
            self._remember(owner, found)
        return found

    async def put(self, owner: str, kind: Kind, model: str, params: Mapping[str, Any]) -> Preference:
        """In place of the one before."""
        made = Preference(kind, model, params, self._database.now())
        row = {"model": model, "params": msgspec.json.encode(params).decode(), "updated_at": made.updated_at}
        async with self._database.write() as connection:
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            new = insert(preferences).values(owner=owner, kind=kind, **row)
            await connection.execute(new.on_conflict_do_update(index_elements=["owner", "kind"], set_=row))
        self._forget(owner)
        return made

    async def delete(self, owner: str, kind: Kind) -> bool:
        """Whether there was one."""
        here = (preferences.c.owner == owner) & (preferences.c.kind == kind)
        async with self._database.write() as connection:
            gone = (await connection.execute(delete(preferences).where(here))).rowcount
        self._forget(owner)
        return bool(gone)

    def _remember(self, owner: str, found: Mine) -> None:
        self._seen[owner] = _Seen(self._clock() + FRESH_SECONDS, found)
        self._seen.move_to_end(owner)
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)

    def _forget(self, owner: str) -> None:
        self._changes += 1
        self._seen.pop(owner, None)


def _preference(row: Any) -> Preference:
    return Preference(cast(Kind, row.kind), row.model, msgspec.json.decode(row.params), row.updated_at)
