"""What results come in by in these tests: a film of any size, and a server that gives it in every way there is."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from gateway.assets.library import Origin
from gateway.db.tables import assets
from gateway.types import Account, Media
from gateway.upstreams.base import Upstream
from tests.emulators.serving import serve
from tests.unit.scripted import Rig, Talks, film

PIECE = 256 * 1024
TASK = "task_1"
CREATED = 1_767_607_810.0
Answer = Callable[[Scope, Send], Awaitable[None]]


def film_of(size: int) -> Iterator[bytes]:
    """A playable MP4 of `size` bytes whose index is at the end, in pieces."""
    data = film()
    at = data.index(b"mdat") - 4
    content = int.from_bytes(data[at : at + 4], "big")
    padding = size - len(data)
    yield data[:at] + struct.pack(">I4s", content + padding, b"mdat") + data[at + 8 : at + content]
    for left in range(padding, 0, -PIECE):
        yield bytes(min(PIECE, left))
    yield data[at + content :]


def index_first() -> bytes:
    """A film that shows its length at once."""
    data = film()
    at = data.index(b"mdat") - 4
    content = int.from_bytes(data[at : at + 4], "big")
    return data[:at] + data[at + content :] + data[at : at + content]


# --- answers of a server ---


def whole(data: bytes, status: int = 200) -> Answer:
    return pieces([data], len(data), status=status)


def pieces(chunks: Any, length: int | None = None, *, status: int = 200) -> Answer:
    """`length`: what the answer says of it; None: nothing."""

    async def answer(scope: Scope, send: Send) -> None:
        told = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": status, "headers": told})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


def cut(data: bytes, length: int | None) -> Answer:
    """The connection is reset after `data`."""

    async def answer(scope: Scope, send: Send) -> None:
        told = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await asyncio.sleep(0.05)  # or the reset overtakes the data
        scope["reset"]()

    return answer


def stalls(data: bytes, length: int | None = None) -> Answer:
    async def answer(scope: Scope, send: Send) -> None:
        told = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await asyncio.sleep(60)

    return answer


def drips() -> Answer:
    """A little now and then, for ever."""

    async def answer(scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": film(), "more_body": True})
        while True:
            await send({"type": "http.response.body", "body": b"\0", "more_body": True})
            await asyncio.sleep(0.01)

    return answer


def elsewhere(url: str) -> Answer:
    async def answer(scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", url.encode())]})
        await send({"type": "http.response.body", "body": b""})

    return answer


class Source:
    """A server that gives its `answers` in order, the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(scope, send)

    @property
    def film(self) -> Media:
        return Media("video", url=f"{self.url}/a.mp4?sig=x")


@asynccontextmanager
async def source() -> AsyncIterator[Source]:
    server = Source()
    async with serve(server) as server.url:
        yield server


class Fetches(Talks):
    """Gives its results only to who holds the credential: `tries` are the chunks, or errors, of each try."""

    def __init__(self, *tries: Any) -> None:
        super().__init__([])
        self.tries = list(tries)
        self.by: list[str] = []
        self.given = 0
        """Bytes taken so far."""
        self.ended = 0

    async def fetch(self, media: Media, account: Account) -> AsyncIterator[bytes]:
        self.by.append(account.name)
        found = self.tries.pop(0)
        if isinstance(found, Exception):
            raise found
        try:
            for chunk in found:
                self.given += len(chunk)
                yield chunk
        finally:
            self.ended += 1


# --- what is here afterwards ---


def origin(upstream: Upstream, base_url: str = "", **fields: Any) -> Origin:
    account = Account("up/a", "a", "up", base_url=base_url)
    known = {"task_id": TASK, "created_at": CREATED, **fields}
    return Origin("owner", "t2v", "Some/Model 1", upstream, account, prompt="a lighthouse", **known)


async def rows(house: Rig) -> list[Any]:
    async with house.database.read() as connection:
        return list((await connection.execute(select(assets).order_by(assets.c.id))).mappings())


async def stored(house: Rig, key: str) -> bytes:
    return b"".join([chunk async for chunk in house.storage.get(key)])


def objects(place: Path) -> list[str]:
    """Every file of the store, hidden or half-written ones too."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
