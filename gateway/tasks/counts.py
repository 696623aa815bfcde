"""How many tasks are open, by state: asked of the database at most once a second, whoever wants to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from sqlalchemy import func, select

from gateway.db.engine import Database
from gateway.db.tables import tasks
from gateway.errors import DatabaseUnavailable
from gateway.tasks.task import OPEN
from gateway.types import TaskState

GOOD_FOR_SECONDS = 1.0
ASK_SECONDS = 2.0
"""How long the database may take. Whoever asks has little patience."""

_OPEN_BY_STATE = (
    select(tasks.c.state, func.count().label("number")).where(tasks.c.state.in_(OPEN)).group_by(tasks.c.state)
)
"""Only those that are open: there are few of them, and their index finds them, however many have ended."""


class Counts:
    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: Mapping[TaskState, int] | None = None
        self._until = -1.0

    async def open(self) -> Mapping[TaskState, int] | None:
        """Open tasks of all processes, by state; None where the database does not tell."""
        async with self._turn:
            if self._clock() >= self._until:
                self._known = await self._asked()
                self._until = self._clock() + GOOD_FOR_SECONDS
            return self._known

    async def _asked(self) -> Mapping[TaskState, int] | None:
        try:
            async with asyncio.timeout(ASK_SECONDS), self._database.read() as connection:
                counted = {row.state: row.number for row in await connection.execute(_OPEN_BY_STATE)}
        except (DatabaseUnavailable, TimeoutError):
            return None
        return {state: counted.get(state, 0) for state in OPEN}
