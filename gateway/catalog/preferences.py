"""What callers chose to be taken where a request names no model: one model of a kind, and parameters to go with it.

What an owner prefers is remembered for a few seconds. A change is seen at once by the process that makes it, and by the
others when that time is over. Who cannot wait for a database that does not answer goes by what was known last.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import msgspec
import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db.engine import Database
from gateway.db.tables import preferences
from gateway.errors import DatabaseUnavailable
from gateway.types import Kind

FRESH_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 0.3
"""How long the database is waited for by who can do without it."""
AWAY_SECONDS: Final = 5.0
"""How long it is not waited for again by them."""
MOST_REMEMBERED: Final = 10_000

log = structlog.get_logger(__name__)


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
    """All but `at_hand` raise DatabaseUnavailable."""

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE_SECONDS
    ) -> None:
        """`clock`: monotonic seconds. `patience`: seconds that `at_hand` waits."""
        self._database = database
        self._clock = clock
        self._patience = patience
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Mine]] = {}
        """By owner: whoever asks meanwhile waits for the same."""
        self._changes = 0
        self._away_until = float("-inf")

    async def of(self, owner: str, kind: Kind) -> Preference | None:
        return (await self.all(owner)).get(kind)

    async def all(self, owner: str) -> Mine:
        """Those of an owner, by kind."""
        fresh = self._fresh(owner)
        return await asyncio.shield(self._look(owner)) if fresh is None else fresh

    async def at_hand(self, owner: str, kind: Kind) -> Preference | None:
        """As `of`, for who can do without: while the database does not answer, what was known last, if anything."""
        mine = self._fresh(owner)
        if mine is None and self._clock() >= self._away_until:
            mine = await self._soon(owner)
        if mine is None and (seen := self._seen.get(owner)) is not None:
            mine = seen.found
        return None if mine is None else mine.get(kind)

    def _fresh(self, owner: str) -> Mine | None:
        seen = self._seen.get(owner)
        return seen.found if seen is not None and self._clock() < seen.until else None

    async def _soon(self, owner: str) -> Mine | None:
        """None where it cannot be had, or not soon. A look that takes longer goes on: cutting it takes time, too."""
        looking = self._look(owner)
        await asyncio.wait({looking}, timeout=self._patience)
        try:
            if looking.done():
                return looking.result()
        except DatabaseUnavailable:
            pass
        self._away_until = self._clock() + AWAY_SECONDS
        log.warning("preferences not known", code=DatabaseUnavailable.code)
        return None

    def _look(self, owner: str) -> asyncio.Task[Mine]:
        looking = self._looking.get(owner)
        if looking is None:
            looking = self._looking[owner] = asyncio.create_task(self._read(owner), name="preferences")
            looking.add_done_callback(lambda task: self._looked(owner, task))
        return looking

    def _looked(self, owner: str, task: asyncio.Task[Mine]) -> None:
        if self._looking.get(owner) is task:
            del self._looking[owner]
        if not task.cancelled():
            task.exception()  # seen, or asyncio would complain: those who waited may have gone

    async def _read(self, owner: str) -> Mine:
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
        self._looking.pop(owner, None)  # who asks from now on must see the change


def _preference(row: Any) -> Preference:
    return Preference(cast(Kind, row.kind), row.model, msgspec.json.decode(row.params), row.updated_at)
