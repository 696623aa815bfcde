"""The journal of what is known against accounts, in the database: it survives restarts, and reaches other processes.

Pools tell it in passing; it writes at once what is new, and then what gathered, a few times a second. A process that is
killed loses what it was told in the last 0.3 s at most, or since the database went away. Where the answer to a commit
was lost it is written again: counts of leases may then be too high, never too low.

Writers take turns on PostgreSQL, from the first statement to the commit. So no two of them lock each other out, and
what a later commit wrote has a later stamp: who looks for what is newer than the newest it saw misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import standings
from gateway.accounts.facts import Fact
from gateway.accounts.standings import Known
from gateway.accounts.unwritten import USED, Unwritten
from gateway.db.engine import Database, to_the_end
from gateway.errors import DatabaseUnavailable
from gateway.state.base import Bus

Learn = Callable[[str, Sequence[Fact]], None]
"""Takes all that is known against an account, in place of what was. The account may be one that is no more."""

EVERY_SECONDS: Final = 0.3
LOOK_SECONDS: Final = 2.0
"""How often a process looks for what others wrote, when nobody tells it to."""
LOOK_APART_SECONDS: Final = 0.1
"""The same at most, however often it is told."""
OVERLAP_SECONDS: Final = 2.0
"""How far a look goes back behind the newest row it saw: the database's clock may have been set back a little."""
AGAIN_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 5.0
"""How long the statements of one writing may take, the wait for a turn included."""
KEEP_SECONDS: Final = 24 * 3600.0
"""How long a fact that is over stays: until every process has seen that it is."""
TOPIC: Final = "standing "
"""How a topic begins that tells of a changed account, by its id."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Work(NamedTuple):
    """What the log says once when the database does not let it be done, and once when it does again."""

    away: str
    back: str


_WRITING = _Work("standings not written yet", "standings written again")
_LOOKING = _Work("standings of other processes not seen", "standings of other processes seen again")


class DatabaseJournal:
    """A `Journal` on the table of standings. `learn` hears what the database knows; it must neither wait nor fail."""

    def __init__(self, database: Database, bus: Bus | None, learn: Learn) -> None:
        self._database = database
        self._bus = bus
        self._learn = learn
        self._unwritten: dict[str, Unwritten] = {}
        """By account: what the database has not, but for what is being written."""
        self._filled = asyncio.Event()
        self._told = asyncio.Event()
        self._turn = asyncio.Lock()
        """Of one writing or one look: what is being written is neither missed by a look nor counted twice."""
        self._newest = 0.0
        """When the newest row was written that was seen."""
        self._seen: dict[str, tuple[float, ...]] = {}
        """By account: the stamps of what was learnt last."""
        self._failing: set[_Work] = set()

    # --- what pools tell ---

    def note(self, account_id: str, fact: Fact) -> None:
        self._of(account_id).note(fact._replace(name=_plain(fact.name), reason=_plain(fact.reason)))

    def lift(self, account_id: str, name: str) -> None:
        self._of(account_id).lift(_plain(name))

    def used(self, account_id: str, group: str, ends: float, leases: int) -> None:
        self._of(account_id).note(Fact(f"{USED}{group}", ends, leases=leases))

    def renewed(self, account_id: str) -> None:
        self._of(account_id).renew()

    # --- writing and looking ---

    async def load(self) -> None:
        """Learn all that is known, at the start. Raises DatabaseUnavailable."""
        self._newest, self._seen = 0.0, {}
        await self.look()

    async def run(self) -> None:
        """Write what is told, and learn what other processes write. Runs until cancelled; `flush` after it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_out(), name="standings")
            if self._database.now_sql_is_its_own:  # on SQLite there are no others
                group.create_task(self._look_out(), name="standings of others")

    async def flush(self) -> None:
        """Write all that waits. Raises DatabaseUnavailable; what was not written waits on.

        Goes on to its end when cancelled: before that nobody knows whether it was written.
        """
        await to_the_end(self._flush())

    def heard(self, topic: str) -> None:
        """Another process said this on the bus. Topics of other things are let pass."""
        if topic.startswith(TOPIC):
            self._told.set()

    async def look(self) -> None:
        """Learn of each account that changed all that is known against it now. Raises DatabaseUnavailable."""
        async with self._turn:
            async with self._database.read() as connection:
                changed = await standings.read(connection, self._newest - OVERLAP_SECONDS)
            for known in changed:
                self._take(known)
        newest = max([self._newest, *(stamp for known in changed for stamp in known.stamps)])
        self._newest = min(newest, self._database.now())  # later than now is what a clock set back left behind

    async def sweep(self) -> int:
        """Remove what was over long ago. Returns how many facts that were. Raises DatabaseUnavailable."""
        long_ago = self._database.now() - KEEP_SECONDS
        return await self._write(lambda connection: standings.remove(connection, long_ago))

    # --- inside ---

    def _of(self, account_id: str) -> Unwritten:
        self._filled.set()
        return self._unwritten.setdefault(account_id, Unwritten())

    def _take(self, known: Known) -> None:
        if self._seen.get(known.account_id) == known.stamps:
            return
        self._seen[known.account_id] = known.stamps
        now = self._database.now()
        facts = self._unwritten.get(known.account_id, Unwritten()).over(known.facts)
        self._learn(known.account_id, [fact for fact in facts if fact.until > now])

    async def _write_out(self) -> None:
        while True:
            await self._filled.wait()
            well = await self._done(self.flush, _WRITING)
            await asyncio.sleep(EVERY_SECONDS if well else AGAIN_SECONDS)

    async def _look_out(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._told.wait()
            self._told.clear()
            well = await self._done(self.look, _LOOKING)
            await asyncio.sleep(LOOK_APART_SECONDS if well else AGAIN_SECONDS)

    async def _done(self, do: Callable[[], Awaitable[None]], work: _Work) -> bool:
        """Do it, if the database lets us."""
        try:
            await do()
        except DatabaseUnavailable as error:
            if work not in self._failing:
                log.warning(work.away, accounts=len(self._unwritten), code=error.code, detail=error.detail)
            self._failing.add(work)
            return False
        if work in self._failing:
            log.info(work.back)
        self._failing.discard(work)
        return True

    async def _flush(self) -> None:
        async with self._turn:
            batch, self._unwritten = self._unwritten, {}
            self._filled.clear()
            if not batch:
                return
            now, stamp = self._database.now(), self._database.now_sql()
            try:
                await self._write(lambda connection: standings.write(connection, batch, now, stamp))
            except BaseException:
                self._put_back(batch)
                raise
        self._publish(batch)

    async def _write(self, change: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._database.write() as connection:
                async with asyncio.timeout(WRITE_SECONDS):  # not around the commit: whether that was done must be known
                    await standings.take_turn(connection)
                    return await change(connection)
        except TimeoutError as error:
            detail = f"the standings were not written within {WRITE_SECONDS:.0f} s"
            raise DatabaseUnavailable(detail=detail) from error

    def _put_back(self, batch: dict[str, Unwritten]) -> None:
        for account_id, since in self._unwritten.items():
            batch.setdefault(account_id, Unwritten()).follow(since)
        self._unwritten = batch
        self._filled.set()

    def _publish(self, batch: Mapping[str, Unwritten]) -> None:
        """Have others look. Counts of leases can wait until they do by themselves."""
        if self._bus is not None:
            for account_id, unwritten in batch.items():
                if not unwritten.only_counts:
                    self._bus.publish(f"{TOPIC}{account_id}")


def _plain(told: str) -> str:
    """Without what PostgreSQL keeps in no text: one such name would hold up every other fact for good."""
    return told.replace("\0", "").encode("utf-8", "replace").decode()
