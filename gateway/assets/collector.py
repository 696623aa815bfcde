"""Collection: deleting the objects that no row names, and finding the rows whose object is gone.

Why no object of a living row is ever deleted:

- An object is put first and its row written after it, within minutes; until then no row names it. So only what lies
  there for ORPHAN_SECONDS by the store's own clock is looked at, at least LEAST_SECONDS whatever an operator asks for.
- A key is never used twice: every put makes one of its own. A row gets the key of an object that is there already only
  from a living row, in a transaction that holds that row. So the rows that name a key come after each other without a
  gap: once it is old and a single look at all of them finds none, there never will be one again. That look is taken
  once more right before the deletion, for whatever went wrong with clocks until then.
- What unfinished tasks start from stays, row or not.
- What another installation may know of is left alone: see `marker`, and what is older than this installation.
- Where most of what the database names is not there, it is the wrong storage: nothing is deleted.

What is deleted is listed in pages, so it takes as much memory for a million objects as for a thousand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.assets.marker import HEALTH, PREFIX, Marker
from gateway.assets.missing import TOLD, WRONG, GoingOn, Missing, MissingRows, Seen
from gateway.assets.references import References
from gateway.db.settings import Settings
from gateway.storage import ObjectInfo

ORPHAN_SECONDS: Final = 24 * 3600.0
"""How old an object must be that no row names."""
LEAST_SECONDS: Final = 7200.0
"""The shortest age that can be asked for: longer than any upload takes to get its row, by whatever way it comes."""
SINCE: Final = "collects_since"
"""The settings row of when this installation began to look after its storage, by the database's clock."""
TOLD_IN_LOG: Final = 5
DELETES: Final = 8
"""Objects deleted at a time."""

_OURS = re.compile(
    r"(?:images|videos|audio|text|uploads|previews)/(\d{4})-(\d{2})/"
    r"[A-Za-z0-9._-]{1,64}_\1\2\d{2}_\d{6}_[0-9a-f]{1,8}\.[a-z0-9]{1,8}"
    r"|answers/\d{4}-\d{2}/[0-9a-f]{32}\.bin"
    rf"|{HEALTH}/[A-Za-z0-9._-]+"
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a collection is to do."""

    dry_run: bool = True
    older_than: float = ORPHAN_SECONDS
    """Seconds."""
    include_earlier: bool = False
    """Whether to take what is older than this installation too."""
    remove_missing: bool = False
    """Whether to remove rows whose object is missing for longer than that."""


@dataclass(slots=True)
class Heap:
    """Some objects."""

    count: int = 0
    bytes: int = 0

    def add(self, infos: Collection[ObjectInfo]) -> None:
        self.count += len(infos)
        self.bytes += sum(info.size for info in infos)


@dataclass(slots=True)
class Collected:
    """What a collection found and did."""

    dry_run: bool
    scanned: Heap = field(default_factory=Heap)
    orphans: Heap = field(default_factory=Heap)
    """Old enough and named by no row: what is deleted, or would be."""
    keys: list[str] = field(default_factory=list)
    """Theirs, up to TOLD."""
    deleted: Heap = field(default_factory=Heap)
    earlier: Heap = field(default_factory=Heap)
    """Named by no row, but older than this installation."""
    foreign: Heap = field(default_factory=Heap)
    """Named as the gateway names nothing: never touched."""
    missing: MissingRows = field(default_factory=MissingRows)
    problem: str | None = None
    """Why nothing was deleted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """By the store's clock."""

    old: datetime
    """What was written until then is old enough."""
    earlier: datetime
    """What was written before that was there before this installation."""


class Collector:
    def __init__(self, references: References) -> None:
        self._references = references
        self._storage = references.storage
        self._database = references.database
        self._settings = Settings(references.database)
        self._missing = Missing(references)
        self.marker = Marker(references.database, references.storage)

    async def begin(self) -> None:
        """Say from when on and for whom this storage is looked after. Raises as `collect` does."""
        await self._since()
        await self.marker.claim()

    async def collect(self, rules: Rules, going_on: GoingOn) -> Collected:
        """Look through the whole store once. `going_on` is called between steps, and may end it by raising.

        Raises Shared, StorageUnavailable, DatabaseUnavailable; what was deleted until then is.
        """
        result, seen = Collected(rules.dry_run), Seen()
        begun = self._database.now()
        await self.marker.claim(renew=not rules.dry_run)
        limits = await self._limits(rules)
        if await self._missing.elsewhere():
            result.problem = WRONG
            log.error("nothing is deleted: this seems to be the wrong storage")
        async with aclosing(self._storage.list()) as pages:
            async for page in pages:
                await self._page(page, rules, limits, result)
                for info in page:
                    seen.add(info.key)
                await going_on()
        remove_after = rules.older_than if rules.remove_missing else None
        result.missing = await self._missing.look(
            seen, begun, going_on, dry_run=rules.dry_run or result.problem is not None, remove_after=remove_after
        )
        if result.missing.new:
            log.warning("rows without an object", new=result.missing.new, ids=result.missing.ids[:TOLD_IN_LOG])
        return result

    async def _since(self) -> float:
        return float(await self._settings.first(SINCE, repr(self._database.now())))

    async def _limits(self, rules: Rules) -> Limits:
        """Differences of times are taken within each clock, so that it does not matter how they are set."""
        since = self._database.now() - await self._since()
        now = await self.marker.now()
        return Limits(now - timedelta(seconds=rules.older_than), now - timedelta(seconds=since))

    async def _page(self, page: Sequence[ObjectInfo], rules: Rules, limits: Limits, result: Collected) -> None:
        result.scanned.add(page)
        ours = [info for info in page if is_ours(info.key)]
        result.foreign.add([info for info in page if not is_ours(info.key)])
        old = [info for info in ours if info.modified <= limits.old and not info.key.startswith(PREFIX)]
        unnamed = await self._unnamed(old)
        if not rules.include_earlier:
            earlier = [info for info in unnamed if info.modified < limits.earlier]
            result.earlier.add(earlier)
            unnamed = [info for info in unnamed if info.modified >= limits.earlier]
        result.orphans.add(unnamed)
        result.keys += [info.key for info in unnamed][: TOLD - len(result.keys)]
        if unnamed and not rules.dry_run and result.problem is None:
            await self._delete(unnamed, result)

    async def _unnamed(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Those that neither a row names nor an unfinished task starts from."""
        named = await self._references.named([info.key for info in infos])
        unnamed = [info for info in infos if info.key not in named]
        if not unnamed:
            return []
        awaited = await self._references.awaited()
        return [info for info in unnamed if info.key not in awaited]

    async def _delete(self, orphans: Sequence[ObjectInfo], result: Collected) -> None:
        doomed = await self._unnamed(orphans)
        for start in range(0, len(doomed), DELETES):
            some = doomed[start : start + DELETES]
            done = await asyncio.gather(*(self._storage.delete(info.key) for info in some), return_exceptions=True)
            result.deleted.add([info for info, failure in zip(some, done, strict=True) if failure is None])
            for failure in done:
                if failure is not None:
                    raise failure


def is_ours(key: str) -> bool:
    """Whether the gateway names objects like that."""
    return _OURS.fullmatch(key) is not None
