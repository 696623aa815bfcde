"""Sees that another process has changed the accounts of the database: told by the bus, or by a look at them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import structlog
from sqlalchemy import func, select

from gateway.accounts.roster import Roster
from gateway.db.engine import Database
from gateway.db.tables import accounts
from gateway.errors import DatabaseUnavailable
from gateway.state.base import Bus

LOOK_SECONDS: Final = 5.0
LOOK_BESIDE_BUS_SECONDS: Final = 30.0
"""The same while a bus is connected, which tells of nearly everything."""
GATHER_SECONDS: Final = 0.1
"""Changes come in numbers: what comes so soon after the first is read with it."""

log = structlog.get_logger(__name__)


class Lookout:
    """Has the roster read the accounts of the database when another process changed them."""

    def __init__(self, roster: Roster, database: Database, bus: Bus | None = None) -> None:
        self._roster = roster
        self._database = database
        self._bus = bus
        self._news = asyncio.Event()
        self._seen: object = None
        """What the accounts looked like when they were last read."""
        self._blind = False

    def heard(self) -> None:
        """Another process says so."""
        self._news.set()

    async def run(self) -> None:
        """Look, and listen in between. Runs until cancelled."""
        while True:
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._news.wait()
                    await asyncio.sleep(GATHER_SECONDS)

    async def look(self) -> None:
        """Read the accounts if they have changed. Where the database cannot be reached, the next look will tell."""
        self._news.clear()
        try:
            now = await self._look()
            if now != self._seen:
                await self._roster.load(tell=False)
            self._seen = now
        except DatabaseUnavailable as error:
            if not self._blind:
                log.warning("accounts of the database not read", code=error.code)
            self._blind = True
            return
        if self._blind:
            log.info("accounts of the database read again")
        self._blind = False

    @property
    def _pause(self) -> float:
        return LOOK_BESIDE_BUS_SECONDS if self._bus is not None and self._bus.connected else LOOK_SECONDS

    async def _look(self) -> tuple[Any, ...]:
        """What is another after any change: the sum, too, since a change may be seen later than one made after it."""
        query = select(func.count(), func.max(accounts.c.updated_at), func.sum(accounts.c.updated_at))
        async with self._database.read() as connection:
            return tuple((await connection.execute(query.select_from(accounts))).one())
