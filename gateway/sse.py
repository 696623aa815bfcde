"""Server-sent events coming in: bytes to whole frames, frames to events.

Split on bytes and on CR, LF and CRLF only: splitting decoded text at every line break of Unicode cuts JSON at U+2028
and U+0085. What is held for a frame is bounded, and finding its end is linear in its bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from gateway.errors import UpstreamGarbled

MAX_FRAME = 8 * 1024 * 1024
"""Bytes: an image in base64 fits."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    data: bytes
    event: str = ""


class FrameBuffer:
    """Collects bytes and gives back what is whole, its line ends all LF."""

    __slots__ = ("_after_cr", "_held", "_limit", "_parts")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._parts: list[bytes] = []
        self._held = 0
        self._limit = limit
        self._after_cr = False

    def feed(self, chunk: bytes) -> bytes:
        """Every frame that is whole by now, as one piece that ends in a blank line; b"" while there is none."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        end = chunk.rfind(b"\n\n")
        if end >= 0:
            cut = end + 2
        elif self._parts and self._parts[-1].endswith(b"\n") and chunk.startswith(b"\n"):
            cut = 1  # the blank line lies across the border of two chunks
        else:
            self._hold(chunk)
            return b""
        whole = b"".join((*self._parts, chunk[:cut])) if self._parts else chunk[:cut]
        self._parts.clear()
        self._held = 0
        self._hold(chunk[cut:])
        return whole

    def rest(self) -> bytes:
        """What had no blank line after it when the stream ended."""
        return b"".join(self._parts)

    def _hold(self, chunk: bytes) -> None:
        if not chunk:
            return
        self._held += len(chunk)
        if self._held > self._limit:
            raise UpstreamGarbled(f"the upstream sent an event of more than {self._limit} bytes")
        self._parts.append(chunk)

    def _with_lf(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse(frames: bytes) -> Iterator[ServerEvent]:
    """The events of one or more whole frames. Comments, ids and empty events are passed over."""
    for frame in frames.split(b"\n\n"):
        data: list[bytes] = []
        event = ""
        for line in frame.split(b"\n"):
            field, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value.decode("utf-8", "replace")
        if data:
            yield ServerEvent(b"\n".join(data), event)


async def frames(chunks: AsyncIterator[bytes], limit: int = MAX_FRAME) -> AsyncIterator[bytes]:
    """Whole frames of a stream, as many at once as are there. A last frame without its blank line counts."""
    buffer = FrameBuffer(limit)
    async for chunk in chunks:
        if whole := buffer.feed(chunk):
            yield whole
    if rest := buffer.rest():
        yield rest + b"\n\n"


async def events(chunks: AsyncIterator[bytes], limit: int = MAX_FRAME) -> AsyncIterator[ServerEvent]:
    """The events of a stream, one by one."""
    async for whole in frames(chunks, limit):
        for event in parse(whole):
            yield event
