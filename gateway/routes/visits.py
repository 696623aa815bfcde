"""Requests to a house that no lifespan opened, or in which nothing runs in the background.

A function of AWS Lambda or Vercel has no start of its own, and is frozen as soon as it has answered. So the first
request opens the house, and each sees to what a loop would do elsewhere: before it, the clock is put right; while it
lasts, what is in hand is held; and before it counts as over, its usage is written and whoever is to be told is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from typing import Final

import structlog
from sqlalchemy import select

from gateway.catalog.models import LIST_SECONDS
from gateway.errors import ConfigError, DatabaseUnavailable, GatewayError, Unavailable
from gateway.routes.house import House
from gateway.tasks.store import RENEW_SECONDS

OPEN_SECONDS: Final = 30.0
"""How long a request waits for the house to open. The opening goes on, and later requests wait for the same one."""
AGAIN_SECONDS: Final = 5.0
"""What a caller is asked to wait where that failed."""
LISTS_SECONDS: Final = 3.0
"""How long a request waits for the upstreams' lists of models."""
CLOCK_SECONDS: Final = 3.0
FROZEN_SECONDS: Final = 1.0
"""Without a request for so long, the process may have been frozen in between."""
FLUSH_SECONDS: Final = 5.0
TELL_SECONDS: Final = 5.0
"""How long a request that ended a task waits for the receivers of its webhooks."""
CLOSE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Visits:
    """The house of each event loop that requests come on: usually one; some adapters make a loop for every request."""

    def __init__(
        self,
        opened: Callable[[], AbstractAsyncContextManager[House]],
        parting: Callable[[], None] = lambda: None,
    ) -> None:
        self._opened = opened
        self.parting = parting
        """Called when a request is over, let in or not."""
        self._places: dict[asyncio.AbstractEventLoop, Place] = {}
        self._fleeting = False
        """Whether loops come and go: then no house may outlast its request, since nobody could close it later."""

    async def enter(self) -> House:
        """The house on the loop that runs, opened if it is not. Raises Unavailable. `leave` must follow."""
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None or place.failed:
            place = self._places[loop] = self._begun(self._opened())
        return await place.come()

    async def leave(self) -> None:
        """The request is answered: do for it what nothing would do later."""
        loop = asyncio.get_running_loop()
        if (place := self._places.get(loop)) is not None:
            await place.go()
            if self._fleeting and not place.guests and not place.kept:
                del self._places[loop]
                await _closed(place.manager.__aexit__(None, None, None))
        self.parting()

    def keep(self, house: House) -> None:
        """The house that a lifespan opened on this loop, and will close."""
        self._places[asyncio.get_running_loop()] = self._begun(nullcontext(house), kept=True)

    def forget(self) -> None:
        """The lifespan of this loop ends."""
        self._places.pop(asyncio.get_running_loop(), None)

    def _begun(self, manager: AbstractAsyncContextManager[House], *, kept: bool = False) -> Place:
        place = Place(manager, kept=kept)
        place.opening = asyncio.create_task(self._open(place), name="opening")
        return place

    async def _open(self, place: Place) -> House:
        for loop, other in list(self._places.items()):
            if not (loop.is_running() or other.kept) and self._places.pop(loop, None) is other:
                self._fleeting = True
                await other.abandon()
        try:
            house = await place.manager.__aenter__()
        except (ConfigError, GatewayError) as error:
            log.error("gateway not opened", detail=getattr(error, "detail", None) or str(error))
            raise
        except Exception:
            log.exception("gateway not opened")
            raise
        await place.settle_in(house)
        return house


class Place:
    """A house on one event loop, with the requests that are in it."""

    def __init__(self, manager: AbstractAsyncContextManager[House], *, kept: bool) -> None:
        self.manager = manager
        self.kept = kept
        """Whether a lifespan closes it."""
        self.opening: asyncio.Task[House]
        self.guests = 0
        self._house: House | None = None
        self._holding: asyncio.Task[None] | None = None
        self._news = False
        """Whether a task came to an end, or began: a webhook may be due."""
        self._left_at = time.time()
        self._listed_at = 0.0

    @property
    def failed(self) -> bool:
        return self.opening.done() and (self.opening.cancelled() or self.opening.exception() is not None)

    async def settle_in(self, house: House) -> None:
        """What a house needs at its start where nothing runs in it."""
        self._house = house
        if not house.tasks.background:
            house.tasks.poller.recorder.announced = self._announced
            await self._list_models(house)

    async def come(self) -> House:
        """A request comes in. Raises Unavailable."""
        idle = not self.guests and abs(time.time() - self._left_at) > FROZEN_SECONDS
        self.guests += 1
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                house = await asyncio.shield(self.opening)
            if not house.tasks.background:
                await self._attend(house, idle)
        except BaseException as error:
            self.guests -= 1
            if not isinstance(error, Exception):
                raise
            said = type(error).__name__
            raise Unavailable("the gateway is not open yet", retry_after=AGAIN_SECONDS, detail=said) from error
        return house

    async def go(self) -> None:
        """A request goes. Whatever goes wrong is logged: it has its answer."""
        house = self._house
        try:
            if house is not None and not house.tasks.background:
                await self._flush(house)
                await self._tell(house)
        finally:
            self.guests -= 1
            if not self.guests:
                self._left_at = time.time()
                await self._let_go()

    async def abandon(self) -> None:
        """Give back what a house held whose loop is gone. What belongs to that loop fails at once, on this one."""
        if self._house is not None:
            with _silent(logging.getLogger("sqlalchemy.pool")):
                await _closed(self._house.http.close())
                await _closed(self._house.database.close())

    def _announced(self) -> None:
        self._news = True

    async def _attend(self, house: House, idle: bool) -> None:
        if idle:
            await self._wake(house)
        if self._holding is None:
            self._holding = asyncio.create_task(_hold_on(house), name="leases")

    async def _wake(self, house: House) -> None:
        """After a time in which the process may have been frozen: its clock stood still, its leases ran out."""
        with suppress(TimeoutError, DatabaseUnavailable):
            async with asyncio.timeout(CLOCK_SECONDS):
                async with house.database.read() as connection:
                    now = (await connection.execute(select(house.database.now_sql()))).scalar_one()
                house.database.now_seen(now)
                await house.tasks.poller.renew()
        if abs(time.time() - self._listed_at) > LIST_SECONDS:
            await self._list_models(house)

    async def _list_models(self, house: House) -> None:
        self._listed_at = time.time()
        try:
            async with asyncio.timeout(LISTS_SECONDS):
                await asyncio.gather(*(house.catalog.refresh(source) for source in house.catalog.sources))
        except Exception as error:
            log.warning("model lists not read", error=type(error).__name__)

    async def _flush(self, house: House) -> None:
        """Write the usage, and what was learnt of accounts.

        What takes too long goes on with the next request: cut off, it might be written twice.
        """
        flushes = {"usage": house.meter.flush, "standings": house.journal.flush}
        writing = {what: asyncio.create_task(flush(), name=f"{what} flush") for what, flush in flushes.items()}
        await asyncio.wait(writing.values(), timeout=FLUSH_SECONDS)
        for what, task in writing.items():
            if not task.done():
                log.warning(f"{what} not written yet", reason="the database is slow")
            elif error := task.exception():
                log.warning(f"{what} not written yet", reason=type(error).__name__)

    async def _tell(self, house: House) -> None:
        if not self._news:
            return
        self._news = False
        try:
            await house.webhooks.deliver_due(TELL_SECONDS)
        except Exception:
            log.exception("webhooks not delivered")

    async def _let_go(self) -> None:
        """Stop renewing, in no transaction: frozen in one, the process would keep its rows from all others."""
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.cancel()
            await asyncio.wait({holding}, timeout=CLOSE_SECONDS)


async def _hold_on(house: House) -> None:
    """Renew the leases of what is in hand, while somebody is there."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(DatabaseUnavailable):
            await house.tasks.poller.renew()


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """What it would say of connections that cannot say goodbye is known."""
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


async def _closed(closing: Awaitable[object]) -> None:
    """Wait for something to close. That it may fail changes nothing."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
