"""How Redis is spoken to: nothing is tried twice unseen, what failed is tried again after a pause, and the log says
once that something is away and once that it is back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.errors import ConfigError

CONNECT_SECONDS = 2.0
AGAIN_SECONDS = 0.1
AGAIN_MAX_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Standing:
    """Tells the log once that something of Redis is away and once that it is back; how long to wait until then."""

    doing: str
    failures: int = 0

    @property
    def well(self) -> bool:
        return self.failures == 0

    def failed(self, error: Exception) -> None:
        if self.well:
            log.warning("redis away", doing=self.doing, error=type(error).__name__, detail=str(error)[:200])
        self.failures += 1

    def good(self) -> None:
        if not self.well:
            log.info("redis back", doing=self.doing, failures=self.failures)
        self.failures = 0

    @property
    def pause(self) -> float:
        """Longer each time, and not the same for all processes."""
        longest = min(AGAIN_MAX_SECONDS, AGAIN_SECONDS * 2.0 ** min(self.failures, 16))
        return longest * random.uniform(0.5, 1.0)


async def kept_up(work: Callable[[], Awaitable[None]], standing: Standing) -> None:
    """Do it over and over; where it fails, after a pause."""
    while True:
        try:
            await work()
        except Exception as error:  # besides its own errors, those of sockets, TLS and a closed transport come through
            standing.failed(error)
            await asyncio.sleep(standing.pause)


def client_of(url: str) -> Redis:
    """A client that tries nothing twice by itself: who uses it does, and says so. Raises ConfigError."""
    try:
        client = Redis.from_url(
            url,
            protocol=2,  # the other one needs a newer server and brings nothing here
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # who waits times it: the client's way of it can lose a cancellation
        )
        _ = connection_of(client)  # only this refuses unknown settings
    except (ValueError, TypeError, RedisError):
        # Without the cause, which may quote the URL and the password in it.
        raise ConfigError(
            "redis_url: cannot be used: look at its port and at what follows '?'; right is redis://127.0.0.1:6379/0"
        ) from None
    return client


def connection_of(client: Redis) -> AbstractConnection:
    """A connection outside of the client's pool, for who keeps one to itself. Nothing is connected yet."""
    pool = client.connection_pool
    connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
    return connection
