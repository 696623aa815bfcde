"""Changes that come at once are committed at once: one transaction, one wait for the disk, for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from gateway.db.engine import Database

T = TypeVar("T")
Change = Callable[[AsyncConnection], Awaitable[Any]]
DEADLOCKS = frozenset({"40P01", "40001"})
"""PostgreSQL's codes for what two transactions do to each other."""
TOGETHER = 200
"""Changes in one transaction at most."""


class Writes:
    """A line in front of the database. While one group is being committed the next one gathers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[tuple[Change, asyncio.Future[Any]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def commit(self, change: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `change` in a transaction and return what it returns once that is committed.

        Once begun it goes on to its end even if the caller is cancelled. It may run twice (a group that one member
        broke is rolled back and done one by one), so it must do nothing but SQL. Raises what it raises, and
        DatabaseUnavailable.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="task writes")
        return await asyncio.shield(done)

    async def _write(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
            try:
                await self._together(group)
            except BaseException as exc:
                for _, done in group:
                    if not done.done():
                        done.set_exception(exc if isinstance(exc, Exception) else DatabaseUnavailable(detail="closed"))
                        done.exception()  # looked at: its caller may be gone
                if not isinstance(exc, Exception):
                    raise

    async def _together(self, group: list[tuple[Change, asyncio.Future[Any]]]) -> None:
        try:
            async with self._database.write() as connection:
                results = [await change(connection) for change, _ in group]
        except Exception as exc:
            if len(group) == 1 or (isinstance(exc, DatabaseUnavailable) and not _of_its_making(exc)):
                raise
            for one in group:
                await self._alone(one)
            return
        for (_, done), result in zip(group, results, strict=True):
            if not done.done():
                done.set_result(result)

    async def _alone(self, one: tuple[Change, asyncio.Future[Any]]) -> None:
        try:
            await self._together([one])
        except Exception as exc:
            if not one[1].done():
                one[1].set_exception(exc)
                one[1].exception()


def _of_its_making(error: DatabaseUnavailable) -> bool:
    """Whether a group fell over another one that took the same rows in another order: alone none of them does."""
    cause = getattr(error.__cause__, "orig", None)
    return getattr(cause, "sqlstate", None) in DEADLOCKS
