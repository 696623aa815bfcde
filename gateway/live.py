"""The client's side of a request that takes time: noticing that it left, and streaming to it.

While a first event is awaited nobody reads from the client, so its leaving would go unnoticed until the upstream
answers: `while_connected` watches for it. `EventStream` answers with frames and keeps one attendant beside the stream
that notices the leaving, sends keep-alive comments into silences and ends a stream that the client does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Protocol

import structlog
from starlette.types import Message, Receive, Scope, Send

from gateway.drain import Drain
from gateway.errors import ClientLeft, Draining, GatewayError

KEEP_ALIVE_SECONDS = 15.0
SEND_SECONDS = 30.0
"""A write that has not drained by then ends the stream."""
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment and nothing else: ids, retry fields and empty events each break an official SDK."""
BREATH = 32
"""Sends after which the loop gets a turn, for upstreams whose data is always there already."""

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
_STREAM_HEADERS = (
    EVENT_STREAM,
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)

log = structlog.get_logger(__name__)


class Closable(Protocol):
    async def aclose(self) -> None: ...


class Departure:
    """The end of a client's connection, as our server tells it: a call instead of a task that waits for it."""

    __slots__ = ("_callbacks", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._callbacks: set[Callable[[], None]] = set()

    def happened(self) -> None:
        self.gone = True
        for callback in tuple(self._callbacks):
            callback()

    def tell(self, callback: Callable[[], None]) -> None:
        self._callbacks.add(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        self._callbacks.discard(callback)


DEPARTURE = "mediagate.departure"
"""Where a scope of our own server has it."""


class while_connected:  # noqa: N801 - reads as a clause: `with while_connected(scope, receive, drain): …`
    """Run the block no longer than the client stays. Raises ClientLeft, or Draining when the shutdown ends it."""

    __slots__ = ("_departure", "_drain", "_gone", "_receive", "_task", "_watch")

    def __init__(self, scope: Scope, receive: Receive, drain: Drain) -> None:
        self._departure: Departure | None = scope.get(DEPARTURE)
        self._receive = receive
        self._drain = drain
        self._gone = False
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if self._departure is None:
            self._watch = asyncio.create_task(self._listen(), name="client watch")
        elif self._departure.gone:
            raise ClientLeft
        else:
            self._departure.tell(self._left)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._departure is not None:
            self._departure.forget(self._left)
        if self._watch is not None:
            self._watch.cancel()
        if kind is not asyncio.CancelledError:
            return
        if self._gone:
            self._task.uncancel()
            raise ClientLeft from exc
        if self._drain.expired:
            self._task.uncancel()
            raise Draining from exc

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self._gone = True
        self._task.cancel()


class EventStream:
    """An ASGI answer of frames that are ready to send, ended by `tail` when they end well.

    A GatewayError raised by `frames` becomes `error_frame(error)` and no tail: the client sees every failure.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        drain: Drain,
        *,
        error_frame: Callable[[GatewayError], bytes],
        tail: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        source: Closable | None = None,
    ) -> None:
        self.frames = frames
        self.source = source
        """What must be closed even if no frame is ever asked for: closing frames that have not begun does nothing."""
        self.drain = drain
        self.error_frame = error_frame
        self.tail = tail
        self.headers = [*_STREAM_HEADERS, *headers]
        self._gone = False
        self._stalled = False
        self._sending: float | None = None
        self._last = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._last = loop.time()
        attendant = asyncio.create_task(self._attend(receive, send, task), name="stream attendant")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            await self._send_all(send, loop)
        except asyncio.CancelledError:
            if not (self._gone or self._stalled or self.drain.expired):
                raise
            task.uncancel()
            await self._close_frames()
            if self.drain.expired and not self._gone:
                await self._end(send, self.error_frame(Draining()))
        finally:
            attendant.cancel()
            await self._close_frames()

    async def _send_all(self, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        sent = 0
        message: Message = {"type": "http.response.body", "body": b"", "more_body": True}
        try:
            async for frame in self.frames:
                self._sending = loop.time()
                await send({**message, "body": frame})
                self._last, self._sending = self._sending, None
                sent += 1
                if sent % BREATH == 0:
                    await asyncio.sleep(0)
        except GatewayError as error:
            await self._end(send, self.error_frame(error))
        except Exception:
            log.exception("stream failed")
            await self._end(send, self.error_frame(GatewayError()))
        else:
            await self._end(send, self.tail)

    async def _end(self, send: Send, last: bytes) -> None:
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _close_frames(self) -> None:
        await self.frames.aclose()
        if self.source is not None:
            await self.source.aclose()

    async def _attend(self, receive: Receive, send: Send, stream: asyncio.Task[object]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    if (await receive())["type"] == "http.disconnect":
                        self._gone = True
                        stream.cancel()
                        return
            except TimeoutError:
                if self._sending is not None:
                    if loop.time() - self._sending >= SEND_SECONDS:
                        self._stalled = True
                        stream.cancel()
                        return
                elif loop.time() - self._last >= KEEP_ALIVE_SECONDS:
                    await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
