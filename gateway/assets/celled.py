"""What runs in a cell: reads a file that the other side has, in bounded memory, and tells what it found."""

from __future__ import annotations

import io
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.assets.cell import MAX_READ, Channel
from gateway.assets.media import MediaType, inspect_media
from gateway.assets.previews import make

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MEMORY: Final = 640 * 1024 * 1024
"""Bytes of data that the process may have. Everything that is not hostile does with 450 MB."""
NICENESS: Final = 10
ENDS_FIRST: Final = "800"
READ_BYTES: Final = 64 * 1024
"""As much is asked for at a time, or more where more is needed."""


class Remote(io.RawIOBase):
    """The file on the other side."""

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel = channel
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._at, MAX_READ)
        if length <= 0:
            return 0
        self._channel.send(["read", self._at, length])
        data = self._channel.receive()
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def main() -> None:
    """Do what is asked until nobody asks any more, or something fails."""
    channel = Channel(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what a library prints is no message
    _limit()
    with suppress(EOFError):
        while True:
            work, size, arguments = channel.receive()
            file = io.BufferedReader(Remote(channel, size), READ_BYTES)
            try:
                channel.send(["done", _done(work, cast("Any", file), arguments)])
            except EOFError:
                raise
            except Exception as exc:  # on broken bytes the readers raise whatever comes
                channel.send(["failed", str(exc) or type(exc).__name__])


def _done(work: str, file: Any, arguments: list[Any]) -> Any:
    media_type = MediaType(*arguments)
    if work == "measure":
        found = inspect_media(lambda: nullcontext(file), media_type)
        return [found.width, found.height, found.seconds]
    made = make(lambda: nullcontext(file), media_type)
    return [made.thumbnail, made.poster, made.waveform]


def _limit() -> None:
    """As far as the system can. The threads of a decoder have stacks that count, so there are none."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with suppress(OSError, AttributeError):
        os.nice(NICENESS)
    with suppress(OSError):  # where memory runs out it is to end first, not who asked
        Path("/proc/self/oom_score_adj").write_text(ENDS_FIRST, "ascii")
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
