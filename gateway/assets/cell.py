"""A process of its own for reading bytes that anybody may have made.

What decodes media can be led to take any amount of memory by a file of two kilobytes, or to crash. In a cell it takes
what it is allowed, and what dies is the cell. It is given no secrets, reads its file through us, and does nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, BinaryIO, Final

import msgspec

IDLE_SECONDS: Final = 20.0
"""A cell ends that was not asked anything for so long."""
MAX_MESSAGE: Final = 64 * 1024 * 1024
MAX_READ: Final = 1024 * 1024
"""Bytes that are read of the file at a time."""
_ENTRY: Final = "from gateway.assets.celled import main; main()"
_HEAD: Final = 4
"""Bytes that tell a message's length."""


class CellFailed(Exception):
    """The work failed, or the cell died of it."""


class NoCell(Exception):
    """No process can be begun here."""


class Channel:
    """Messages over a pair of pipes. EOFError when the other side is gone."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def send(self, message: Any) -> None:
        data = msgspec.msgpack.encode(message)
        try:
            self._outgoing.write(len(data).to_bytes(_HEAD, "big") + data)
            self._outgoing.flush()
        except (OSError, ValueError) as exc:
            raise EOFError from exc

    def receive(self) -> Any:
        length = int.from_bytes(self._exactly(_HEAD), "big")
        if length > MAX_MESSAGE:
            raise EOFError
        try:
            return msgspec.msgpack.decode(self._exactly(length))
        except msgspec.DecodeError as exc:
            raise EOFError from exc

    def _exactly(self, length: int) -> bytes:
        try:
            data = self._incoming.read(length)
        except (OSError, ValueError) as exc:
            raise EOFError from exc
        if len(data) < length:
            raise EOFError
        return data


class Cell:
    """One process, begun when it is needed and kept for a while. For one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: threading.Timer | None = None
        self._turn = threading.Lock()

    def ask(self, work: str, file: BinaryIO, *arguments: Any, seconds: float) -> Any:
        """Have it done, the cell reading the file through us; what it found, as msgpack knows it.

        Raises CellFailed, NoCell. What reading the file raises comes through.
        """
        with self._turn:
            self._rest_no_more()
            process = self._begun()
            over = threading.Timer(seconds, process.kill)
            over.daemon = True
            over.start()
            try:
                return _answer(process, [work, file.seek(0, os.SEEK_END), list(arguments)], file)
            except BaseException:  # whatever state it is in, the next one is to find a new one
                self._end()
                raise
            finally:
                over.cancel()
                self._rest()

    def kill(self) -> None:
        """End what is being done, from another thread. Who asked for it is told that the cell died."""
        if (process := self._process) is not None:
            process.kill()

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            try:
                self._process = _spawned()
            except (OSError, ValueError, TypeError) as exc:
                raise NoCell from exc
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _rest(self) -> None:
        self._idle = threading.Timer(IDLE_SECONDS, self._expire)
        self._idle.daemon = True
        self._idle.start()

    def _rest_no_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _expire(self) -> None:
        with self._turn:
            if self._idle is threading.current_thread():  # nothing was asked meanwhile
                self._end()


def _spawned() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", _ENTRY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path), "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # the terminal's signals are not for it
    )


def _answer(process: subprocess.Popen[bytes], request: list[Any], file: BinaryIO) -> Any:
    channel = Channel(process.stdout, process.stdin)  # type: ignore[arg-type]
    try:
        channel.send(request)
        while True:
            kind, *rest = channel.receive()
            if kind == "done":
                return rest[0]
            if kind != "read":
                raise CellFailed(str(rest[0])[:200])
            at, length = rest
            file.seek(at)
            channel.send(file.read(min(length, MAX_READ)))
    except EOFError as exc:
        process.kill()  # it may have closed its pipes and live on
        raise CellFailed(f"what reads it ended: {process.wait()}") from exc


_OWN = threading.local()


def apart(work: str, file: BinaryIO, *arguments: Any, seconds: float) -> Any:
    """`Cell.ask` of a cell that belongs to this thread."""
    cell: Cell | None = getattr(_OWN, "cell", None)
    if cell is None:
        cell = _OWN.cell = Cell()
    return cell.ask(work, file, *arguments, seconds=seconds)
