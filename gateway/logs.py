"""How log lines look: one line each, JSON where a machine reads, text on a terminal."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from typing import Any, BinaryIO

import msgspec
import structlog

from gateway.config import LogConfig

WRITE_SECONDS = 0.1
"""How long a JSON line may wait to be written together with others."""

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure(config: LogConfig) -> None:
    """Set the process up. Our lines and the libraries' go to standard error; theirs only from a warning up."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    as_text = config.format == "text" or (config.format == "auto" and sys.stderr.isatty())
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if as_text else _json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if as_text else _factory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


class Lines:
    """JSON lines on their way out, many to a write. What is worse than information is written at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        atexit.register(self.flush)

    def info(self, line: bytes) -> None:
        self._waiting.append(line)
        if len(self._waiting) > 1:
            return
        try:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, self.flush)
        except RuntimeError:
            self.flush()

    debug = info

    def warning(self, line: bytes) -> None:
        self._waiting.append(line)
        self.flush()

    error = critical = exception = msg = warning

    def flush(self) -> None:
        if self._waiting:
            self._file.write(b"\n".join((*self._waiting, b"")))
            self._waiting.clear()
        self._file.flush()


def _factory(file: BinaryIO) -> Any:
    lines = Lines(file)
    return lambda *_: lines


def _json(_logger: object, _method: str, event: structlog.typing.EventDict) -> bytes:
    return _encoder.encode(event)
