"""Tells callers of their tasks: takes due deliveries in hand, has them sent, and tries again for three days.

Apart from any request and from the poller. A receiver that is slow or dead does not hold up the others: each origin has
a few hands at a time, and one that fails again and again rests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog

from gateway.db.engine import Database
from gateway.errors import DatabaseUnavailable
from gateway.http import Outbound
from gateway.tasks.outbox import Delivery, Outbox
from gateway.tasks.receivers import Receivers
from gateway.tasks.sending import Heard, Render, Sender, result_of
from gateway.tasks.signing import Secrets
from gateway.wire.webhook import origin_of, origins

AT_ONCE: Final = 64
"""Attempts at a time."""
IDLE_SECONDS: Final = 2.0
LEAST_WAIT_SECONDS: Final = 0.05
ATTEMPT_SECONDS: Final = 15.0
SHORTEST_ATTEMPT_SECONDS: Final = 1.0
HOLD_MARGIN_SECONDS: Final = 10.0
"""What a hold must have left beside the attempt: for the reading before it and the writing after it."""
WRITE_AGAIN_SECONDS: Final = 0.5
EVER: Final = float("inf")

log = structlog.get_logger(__name__)


class Webhooks:
    def __init__(
        self,
        outbox: Outbox,
        http: Outbound,
        database: Database,
        secret: bytes,
        render: Render,
        trusted_origins: Iterable[str] = (),
    ) -> None:
        self.outbox = outbox
        self.secrets = Secrets(database, secret)
        self.trusted = origins(trusted_origins)
        """Receivers that need not be public."""
        self._database = database
        self._sender = Sender(http, self.secrets, render, self.trusted)
        self._receivers = Receivers()
        self._hands = asyncio.Semaphore(AT_ONCE)
        self._news = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._closing = False

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            while not self._closing:
                self._news.clear()
                try:
                    await self._step(group)
                except DatabaseUnavailable as error:
                    log.warning("webhooks cannot be read", code=error.code)
                    await asyncio.sleep(IDLE_SECONDS)

    async def deliver_due(self, limit_seconds: float) -> int:
        """Deliver what is due now, in so many seconds at most, where nothing runs in the background.

        Returns how many were taken in hand.
        """
        over = time.monotonic() + limit_seconds
        taken = 0
        async with asyncio.TaskGroup() as group:
            while time.monotonic() + SHORTEST_ATTEMPT_SECONDS <= over:
                self._news.clear()
                try:
                    found = await self._take_in_hand(group, over)
                except DatabaseUnavailable as error:
                    log.warning("webhooks cannot be read", code=error.code)
                    break
                taken += found
                if not found and self._receivers.idle:
                    break
                if not found:
                    await self._wait(min(IDLE_SECONDS, over - time.monotonic()))
        return taken

    async def settle(self, limit: float) -> None:
        """Begin nothing new, and let attempts that are under way end and be written down."""
        self._closing = True
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=limit)

    def wake(self) -> None:
        """Something new may be due."""
        self._news.set()

    # --- taking in hand ---

    async def _step(self, group: asyncio.TaskGroup) -> None:
        """Take what is due in hand; where nothing is, wait until something is or somebody wakes us."""
        due = await self.outbox.next_due(self._receivers.full)
        wait = IDLE_SECONDS if due is None else due - self._database.now()
        if wait > 0 or not await self._take_in_hand(group, EVER):
            await self._wait(min(IDLE_SECONDS, max(LEAST_WAIT_SECONDS, wait)))

    async def _take_in_hand(self, group: asyncio.TaskGroup, over: float) -> int:
        """Claim due deliveries, each to be tried by a task of its own. Returns how many."""
        await self._hands.acquire()
        self._hands.release()
        claimed = [] if self._closing else await self.outbox.claim(AT_ONCE, self._receivers.full)
        resting: dict[str, float] = {}
        now = self._database.now()
        for delivery in claimed:
            origin = origin_of(delivery.url)
            rest = self._receivers.rest(origin, now)
            if rest:
                resting[origin] = now + rest
            else:
                self._begin(group, delivery, origin, over)
        for origin, until in resting.items():
            await self.outbox.put_off(origin, until, claimed[0].hold)
        return len(claimed)

    def _begin(self, group: asyncio.TaskGroup, delivery: Delivery, origin: str, over: float) -> None:
        turns = self._receivers.take(origin)
        work = group.create_task(self._in_hand(delivery, origin, turns, over), name=f"webhook {delivery.id}")
        self._under_way.add(work)

        def ended(work: asyncio.Task[None]) -> None:
            self._under_way.discard(work)
            if self._receivers.leave(origin):
                self._news.set()

        work.add_done_callback(ended)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    # --- one delivery ---

    async def _in_hand(self, delivery: Delivery, origin: str, turns: asyncio.Semaphore, over: float) -> None:
        """Wait for a turn, then try. Where that goes wrong the hold ends by itself, and it is tried again."""
        try:
            async with turns, self._hands:
                await self._turn(delivery, origin, over)
        except DatabaseUnavailable as error:
            log.warning("webhook put off", delivery=delivery.id, code=error.code)
        except Exception:
            log.exception("webhook attempt failed", delivery=delivery.id)

    async def _turn(self, delivery: Delivery, origin: str, over: float) -> None:
        now = self._database.now()
        seconds = min(ATTEMPT_SECONDS, over - time.monotonic())
        held_long_enough = delivery.held_until - now >= ATTEMPT_SECONDS + HOLD_MARGIN_SECONDS
        if self._closing or seconds < SHORTEST_ATTEMPT_SECONDS or not held_long_enough:
            await self.outbox.give_back(delivery)
            return
        rest = self._receivers.enter(origin, now)
        if rest:
            await self.outbox.put_off(origin, now + rest, delivery.hold)
            return
        heard = await self._sender.attempt(delivery, seconds)
        if heard.alive:
            self._receivers.answered(origin)
        elif heard.alive is False:
            self._receivers.failed(origin, self._database.now())
        await self._write_down(delivery, origin, heard)

    async def _write_down(self, delivery: Delivery, origin: str, heard: Heard) -> None:
        """Keep the result, trying for as long as the delivery is held: what is not written is sent again."""
        result = result_of(heard, delivery, self._database.now())
        if heard.reason is not None:
            log.warning(
                "webhook not delivered",
                delivery=delivery.id,
                task=delivery.task_id,
                to=origin,
                reason=heard.reason,
                attempt=delivery.attempts + 1,
                state=result.state,
            )
        while True:
            try:
                await self.outbox.write(delivery, result)
                return
            except DatabaseUnavailable:
                if self._database.now() + WRITE_AGAIN_SECONDS >= delivery.held_until:
                    raise
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
