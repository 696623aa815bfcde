"""A Redis to test with: the one that runs here, or one of a test's own that may be killed."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisError

from gateway.state.redis import RedisBus
from gateway.state.redis_slots import RedisSlots

REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
"""Each test gets a namespace of its own in it."""
UP_SECONDS = 10.0


def shared_redis() -> str:
    """The URL of the Redis that runs here. The test is skipped where there is none, but not in CI."""
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=2, socket_timeout=2)
    try:
        client.ping()
    except RedisError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no Redis at TEST_REDIS_URL (redis://127.0.0.1:6379/0): start one to test with it")
    finally:
        client.close()
    return REDIS


class RedisServer:
    """`redis-server` as a process of its own. It keeps nothing."""

    def __init__(self, home: Path, *arguments: str) -> None:
        if shutil.which("redis-server") is None and not os.environ.get("CI"):
            pytest.skip("no redis-server to start: install it to test with one that goes away")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *arguments]
        self._home = home
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.process = subprocess.Popen(self._command, cwd=self._home, stdout=subprocess.DEVNULL)
        await until(self._listens, UP_SECONDS)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(UP_SECONDS)
            self.process = None

    def hang(self) -> None:
        """From here on it takes connections and bytes, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def own_redis(home: Path, *arguments: str) -> AsyncIterator[RedisServer]:
    server = RedisServer(home, *arguments)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


def namespace() -> str:
    return f"test-{uuid.uuid4().hex}"


@asynccontextmanager
async def running(bus: RedisBus, heard: Callable[[str], None] | None = None) -> AsyncIterator[RedisBus]:
    """A bus at work."""
    task = asyncio.create_task(bus.run(heard or (lambda _: None)))
    try:
        yield bus
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=UP_SECONDS)
        assert task.cancelled()
        await bus.close()


@asynccontextmanager
async def keeping(slots: RedisSlots, *, connected: bool = True) -> AsyncIterator[RedisSlots]:
    """Slots at work, and connected if so asked."""
    task = asyncio.create_task(slots.run())
    try:
        if connected:
            await until(lambda: slots.connected, UP_SECONDS)
        yield slots
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=UP_SECONDS)
        assert task.cancelled()
        await slots.close()


async def until(condition: Callable[[], object], limit: float) -> float:
    """Seconds until it holds. Fails after `limit`."""
    clock = asyncio.get_running_loop().time
    start = clock()
    while not condition():
        assert clock() - start < limit, "it did not come to pass"
        await asyncio.sleep(0.01)
    return clock() - start
