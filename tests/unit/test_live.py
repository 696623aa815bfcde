import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from gateway import live
from gateway.drain import Drain
from gateway.errors import ClientLeft, Draining, GatewayError, StreamInterrupted
from gateway.live import DEPARTURE, KEEP_ALIVE, Departure, EventStream, while_connected

pytestmark = pytest.mark.anyio


class Client:
    """The other end of an ASGI connection."""

    def __init__(self, reads: int = 1_000) -> None:
        self.sent: list[Message] = []
        self.most = reads
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)
        if len(self.sent) == self.most:
            self.reads.clear()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


class Frames:
    """Frames of a stream, and whether somebody closed them."""

    def __init__(self, *frames: bytes | float | Exception) -> None:
        self.frames = frames
        self.closed = False

    async def __call__(self) -> AsyncGenerator[bytes]:
        try:
            for frame in self.frames:
                if isinstance(frame, Exception):
                    raise frame
                if isinstance(frame, float):
                    await asyncio.sleep(frame)
                else:
                    yield frame
        finally:
            self.closed = True


def stream(frames: Frames, drain: Drain | None = None, **fields: Any) -> EventStream:
    return EventStream(
        frames(), drain or Drain(), error_frame=lambda error: error.code.encode(), tail=b"[DONE]", **fields
    )


async def test_frames_go_out_as_they_come_and_end_with_the_tail() -> None:
    client = Client()
    await stream(Frames(b"a", b"b"))({}, client.receive, client.send)
    assert [message.get("body") for message in client.sent[1:]] == [b"a", b"b", b"[DONE]"]
    assert client.ended


async def test_a_failure_is_the_last_word_and_no_tail_follows() -> None:
    client = Client()
    await stream(Frames(b"a", StreamInterrupted()))({}, client.receive, client.send)
    assert client.body == b"astream_interrupted"


async def test_what_nobody_foresaw_is_told_without_its_words() -> None:
    client = Client()
    await stream(Frames(b"a", RuntimeError("a secret")))({}, client.receive, client.send)
    assert client.body == b"a" + GatewayError.code.encode()


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.02)
    client = Client()
    await stream(Frames(b"a", 0.1, b"b"))({}, client.receive, client.send)
    assert client.body.startswith(b"a" + KEEP_ALIVE)
    assert client.body.endswith(b"b[DONE]")
    assert client.body.replace(KEEP_ALIVE, b"") == b"ab[DONE]"


async def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(live, "SEND_SECONDS", 0.03)
    client, frames = Client(reads=2), Frames(b"a", b"b")
    async with asyncio.timeout(5):
        await stream(frames)({}, client.receive, client.send)
    assert (client.body, frames.closed) == (b"a", True)
    assert not client.ended


async def test_a_client_that_leaves_ends_the_stream_and_closes_its_source() -> None:
    client, frames, source = Client(), Frames(b"a", 5.0), Source()
    answering = asyncio.create_task(stream(frames, source=source)({}, client.receive, client.send))
    while b"a" not in client.body:
        await asyncio.sleep(0)
    client.left.set()
    async with asyncio.timeout(5):
        await answering
    assert (frames.closed, source.closed) == (True, True)
    assert not client.ended


async def test_a_shutdown_leaves_a_last_word() -> None:
    drain, client = Drain(), Client()

    async def request() -> None:
        with drain.track():
            await stream(Frames(b"a", 5.0), drain)({}, client.receive, client.send)

    answering = asyncio.create_task(request())
    while b"a" not in client.body:
        await asyncio.sleep(0)
    assert await drain.finish(0.0) == 1
    await answering
    assert client.body == b"ashutting_down"
    assert client.ended


class Source:
    closed = False

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("ours", [True, False], ids=["our server", "another server"])
async def test_work_lasts_no_longer_than_its_client(ours: bool) -> None:
    client, departure = Client(), Departure()
    scope = {DEPARTURE: departure} if ours else {}

    async def request() -> None:
        with while_connected(scope, client.receive, Drain()):
            await asyncio.sleep(5)

    working = asyncio.create_task(request())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    departure.happened()
    client.left.set()
    with pytest.raises(ClientLeft):
        await working


async def test_a_client_that_is_gone_already_is_not_worked_for() -> None:
    departure = Departure()
    departure.happened()
    with pytest.raises(ClientLeft), while_connected({DEPARTURE: departure}, Client().receive, Drain()):
        pytest.fail("worked for nobody")


async def test_work_cut_off_by_the_shutdown_says_so() -> None:
    drain = Drain()

    async def request() -> None:
        with drain.track(), while_connected({}, Client().receive, drain):
            await asyncio.sleep(5)

    working = asyncio.create_task(request())
    await asyncio.sleep(0)
    await drain.finish(0.0)
    with pytest.raises(Draining):
        await working


async def test_a_cancellation_by_somebody_else_goes_on() -> None:
    async def request() -> None:
        with while_connected({DEPARTURE: Departure()}, Client().receive, Drain()):
            await asyncio.sleep(5)

    working = asyncio.create_task(request())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_connection_that_answered_is_not_listened_to_any_more() -> None:
    departure = Departure()
    with while_connected({DEPARTURE: departure}, Client().receive, Drain()):
        pass
    departure.happened()
    await asyncio.sleep(0)
