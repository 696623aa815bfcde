"""Topics by Redis pub/sub: one channel for all processes of a namespace, no keys, nothing stored.

Whatever happens to Redis, callers notice nothing but that `connected` is false: what is to be said waits in a bounded
outbox, what is to be heard is missed, and both connections are tried again until they stand.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.state.outbox import Outbox
from gateway.state.redis_client import CONNECT_SECONDS, Standing, client_of, kept_up

SEND_SECONDS = 2.0
CLOSE_SECONDS = 0.5
"""How long a shutdown waits for the last topics to be sent."""
ASK_SECONDS = 1.0
"""How often Redis is asked for a sign of life."""
LATE_SECONDS = 0.5
"""An answer later than this means that topics are late too."""
GONE_SECONDS = 5.0
"""No answer for so long: the connection is given up."""
SETTLED_SECONDS = 1.0
"""A subscription counts only after this: what was published while there was none may just have been missed."""


class RedisBus:
    """A `Bus` over one Redis: a connection that is subscribed, and one that publishes."""

    def __init__(self, url: str, namespace: str) -> None:
        self._client = client_of(url)
        self._channel = f"mediagate:{namespace}"
        self._name = secrets.token_hex(8)
        """Who says something, so that nobody hears itself."""
        self._outbox = Outbox()
        self._pulse: Pulse | None = None
        self._hearing = Standing("hearing")
        self._telling = Standing("telling")

    @property
    def connected(self) -> bool:
        return self._pulse is not None and self._pulse.steady(_clock())

    def publish(self, topic: str) -> None:
        self._outbox.put(topic)

    async def run(self, heard: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(kept_up(lambda: self._listen(heard), self._hearing), name="redis hearing")
            group.create_task(kept_up(self._tell, self._telling), name="redis telling")

    async def close(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._outbox.waiting and self._telling.well:
                    await self._send()
        with suppress(Exception):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._client.aclose()

    async def _listen(self, heard: Callable[[str], None]) -> None:
        """Hear until the connection fails."""
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(CONNECT_SECONDS):
                await pubsub.subscribe(self._channel)
            pulse = self._pulse = Pulse(_clock())
            try:
                while True:
                    async with asyncio.timeout(ASK_SECONDS + CONNECT_SECONDS):
                        if pulse.due(_clock()):
                            await pubsub.ping()
                            pulse.asked(_clock())
                        message = await pubsub.get_message(timeout=ASK_SECONDS)
                    self._take(pulse, message, heard)
                    await asyncio.sleep(0)  # a flood of messages is read without ever giving way
            finally:
                self._pulse = None

    def _take(self, pulse: Pulse, message: dict[str, Any] | None, heard: Callable[[str], None]) -> None:
        now = _clock()
        if message is None and pulse.gone(now):
            raise TimeoutError(f"no answer within {GONE_SECONDS:.0f} s")
        if message is not None and message["type"] == "message":
            name, _, topic = _text(message["data"]).partition(" ")
            if topic and name != self._name:
                heard(topic)
        elif message is not None and message["type"] == "pong":
            pulse.answered(now)
        if pulse.steady(now):
            self._hearing.good()

    async def _tell(self) -> None:
        """Send what waits, as soon as something does."""
        await self._outbox.filled.wait()
        await self._send()
        self._telling.good()

    async def _send(self) -> None:
        """One batch. What was not sent waits on."""
        batch = self._outbox.take()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for topic in batch:
                    pipeline.publish(self._channel, f"{self._name} {topic}".encode("utf-8", "replace"))
                await pipeline.execute()
        except BaseException:
            self._outbox.put_back(batch)
            raise


@dataclass(slots=True)
class Pulse:
    """Whether a subscription hears, and how promptly, by the answers to what it asks."""

    since: float
    asked_at: float = -math.inf
    waiting: bool = False
    """Whether an answer is still to come."""
    took: float = math.inf
    """Seconds until the last answer came."""

    def due(self, now: float) -> bool:
        """Whether it is time to ask."""
        return not self.waiting and now - self.asked_at >= ASK_SECONDS

    def asked(self, now: float) -> None:
        self.asked_at, self.waiting = now, True

    def answered(self, now: float) -> None:
        if self.waiting:
            self.took, self.waiting = now - self.asked_at, False

    def steady(self, now: float) -> bool:
        """Whether the subscription stands, was not made just now, and answers in time."""
        late = max(self.took, now - self.asked_at) if self.waiting else self.took
        return now - self.since >= SETTLED_SECONDS and late < LATE_SECONDS

    def gone(self, now: float) -> bool:
        return self.waiting and now - self.asked_at >= GONE_SECONDS


def _text(data: bytes | str) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data


def _clock() -> float:
    return asyncio.get_running_loop().time()
