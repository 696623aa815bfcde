"""How log lines look: one line each, JSON where a machine reads, text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

from gateway.config import LogConfig

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
            structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if as_text
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _json(value: Any, **_: Any) -> bytes:
    return _encoder.encode(value)
