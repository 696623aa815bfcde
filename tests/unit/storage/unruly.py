"""A way to a store on which requests are hindered, as a bad network or an overloaded store would."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto


class Fault(Enum):
    SLOW_DOWN = auto()
    """503, as S3 answers whoever asks too much."""
    RESET = auto()
    """The connection is cut before the request is passed on."""
    LOST = auto()
    """The request is passed on and done, and its answer is cut."""
    HANG = auto()
    """Nothing answers."""
    DAMAGE = auto()
    """A bit of the body changes on the way."""
    SWALLOW = auto()
    """200, and nothing is kept."""
    LATE = auto()
    """What the request says of its time is an hour ago."""


SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Asked:
    line: str
    """`PUT /bucket/key?partNumber=1&uploadId=… HTTP/1.1`"""
    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.line.split()[0]


Rule = Callable[[Asked], Fault | None]


class Unruly:
    def __init__(self, beyond: str, rule: Rule) -> None:
        self.beyond = beyond.removeprefix("http://").rsplit(":", 1)
        self.rule = rule
        self.asked: list[Asked] = []

    def count(self, method: str, word: str = "") -> int:
        """How many requests came, tries again among them."""
        return sum(asked.method == method and word in asked.line for asked in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                await self._one(await _request(reader), writer)
        writer.close()

    async def _one(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        fault = self.rule(asked)
        match fault:
            case Fault.RESET:
                _reset(writer)
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.SLOW_DOWN:
                writer.write(b"HTTP/1.1 503 Slow Down\r\ncontent-length: %d\r\n\r\n" % len(SLOW_DOWN) + SLOW_DOWN)
            case Fault.SWALLOW:
                writer.write(b'HTTP/1.1 200 OK\r\netag: "0"\r\ncontent-length: 0\r\n\r\n')
            case _:
                answer = await self._passed_on(asked, fault)
                if fault is Fault.LOST:
                    _reset(writer)
                else:
                    writer.write(answer)
                    await writer.drain()
                    writer.close()

    async def _passed_on(self, asked: Asked, fault: Fault | None) -> bytes:
        head, body = asked.head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), asked.body
        if fault is Fault.DAMAGE:
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault is Fault.LATE:
            at = head.lower().index(b"x-amz-date: ") + len(b"x-amz-date: yyyymmddT")
            head = head[:at] + b"%02d" % ((int(head[at : at + 2]) - 1) % 24) + head[at + 2 :]
        host, port = self.beyond
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(head + body)
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def unruly(beyond: str, rule: Rule) -> AsyncIterator[tuple[str, Unruly]]:
    """The address to use instead of `beyond`, and what comes by there. Each answer ends its connection."""
    way = Unruly(beyond, rule)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", way
    finally:
        server.close()


def first(count: int, fault: Fault, method: str, word: str = "") -> Rule:
    """The first so many requests of a kind have the fault."""
    left = [count]

    def rule(asked: Asked) -> Fault | None:
        if asked.method != method or word not in asked.line or not left[0]:
            return None
        left[0] -= 1
        return fault

    return rule


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next((line.split(":")[1] for line in lines if line.lower().startswith("content-length:")), "0")
    return Asked(lines[0], head, await reader.readexactly(int(length)))


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
