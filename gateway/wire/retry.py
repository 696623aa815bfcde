"""When an upstream says to come back: its headers to seconds.

Sources: RFC 9110 §10.2.3; the headers that the OpenAI and Ark SDKs obey and that OpenAI, OpenRouter and Groq send
(wire sheet, 2026-11-20).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FLOOR = 1.0
CEILING = 86400.0
"""Seconds: no hint is believed past a day."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_WINDOWS = ("requests", "tokens")
_EPOCH = 1e9
"""A number past it is a point in time, not a wait: 1e9 seconds are 31 years."""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait before the next call, from FLOOR to CEILING; None where the headers tell nothing usable.

    `headers` finds names in any case. `now`: Unix seconds. Looked at in this order: `retry-after-ms`, `Retry-After` as
    seconds or a date, `x-ratelimit-reset-*` of the windows that are spent, `x-ratelimit-reset`.
    """
    for wait in _hints(headers, now):
        if wait is not None:
            return min(max(wait, FLOOR), CEILING)
    return None


def _hints(headers: Mapping[str, str], now: float) -> Iterator[float | None]:
    ms = _number(headers.get("retry-after-ms"))
    yield None if ms is None else ms / 1000
    after = headers.get("Retry-After")
    yield _number(after)
    yield _until_date(after, now)
    yield _spent_windows(headers, now)
    yield _reset(headers.get("x-ratelimit-reset"), now)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until_date(text: str | None, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def _spent_windows(headers: Mapping[str, str], now: float) -> float | None:
    """The longest wait of the windows with nothing left; the shortest of all where none says so."""
    resets: list[tuple[bool, float]] = []
    for window in _WINDOWS:
        wait = _reset(headers.get(f"x-ratelimit-reset-{window}"), now)
        if wait is not None:
            resets.append((_number(headers.get(f"x-ratelimit-remaining-{window}")) == 0, wait))
    spent = [wait for nothing_left, wait in resets if nothing_left]
    return max(spent) if spent else min((wait for _, wait in resets), default=None)


def _reset(text: str | None, now: float) -> float | None:
    """`6m0s`, `12ms`, seconds, or a point in time as Unix seconds or milliseconds."""
    value = _number(text)
    if value is None:
        return _span((text or "").strip())
    if value > _EPOCH * 1000:
        return value / 1000 - now
    return value - now if value > _EPOCH else value


def _span(text: str) -> float | None:
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
