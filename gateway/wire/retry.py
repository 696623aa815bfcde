"""When an upstream says to come back: its headers and sentences to seconds.

Sources: RFC 9110 §10.2.3; the headers that vendors' SDKs obey and that OpenAI, OpenRouter and Groq send; the
sentences of their refusals (wire sheet, 2026-11-20). What of it is not obvious: a reset told as a span (`6m0s`) is when
the window is whole again, and such a window fills all the time; one request of 5,000 a minute is back after 12 ms. Told
as a number, a reset is when the window begins anew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

FLOOR: Final = 1.0
CEILING: Final = 86_400.0
"""Seconds: no hint about a rate is believed past a day."""
QUOTA_CEILING: Final = 31 * CEILING
"""The same for a hint about a quota: those of a month come back in a month."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_EPOCH = 1e9
"""A number past it is a point in time, not a wait: 1e9 seconds are 31 years."""
_FAR = 1e15
"""Milliseconds: a point in time past it is as far as this one."""
_WORDS = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0, "millisecond": 1e-3}
_IN = re.compile(
    r"\b(?:try again|retry|reset) (?:in|after) "
    r"(?:((?:\d+(?:\.\d+)?(?:ms|[dhms]))+)\b|(\d+(?:\.\d+)?) (millisecond|second|minute|hour|day))",
    re.IGNORECASE | re.ASCII,
)
_AT = re.compile(r"\breset at (\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?) ?(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE | re.ASCII)


class _Window(NamedTuple):
    """The headers about one limit."""

    remaining: str
    reset: str
    limit: str
    parts: float
    """Into how many requests the limit is taken to go, where that is not told by the limit itself."""


def _window(name: str, parts: float = math.inf) -> _Window:
    return _Window(f"x-ratelimit-remaining{name}", f"x-ratelimit-reset{name}", f"x-ratelimit-limit{name}", parts)


_NAMED = (_window("-requests"), _window("-tokens", parts=10))
_PLAIN = _window("")
_WINDOWS = (*_NAMED, _PLAIN)


def retry_after(headers: Mapping[str, str], now: float, longest: float = CEILING) -> float | None:
    """Seconds to wait before the next call, from FLOOR to `longest`; None where the headers tell nothing usable.

    `headers` finds names in lower case. `now`: Unix seconds. Looked at in this order: `retry-after-ms`, `Retry-After`
    as seconds or a date, `x-ratelimit-reset*` of the windows that are spent, then of those that do not say.
    """
    for wait in _hints(headers, now):
        if wait is not None:
            return min(max(wait, FLOOR), longest)
    return None


def paced(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds for which the account has nothing left, by the headers of an answer that is none of a refusal.

    From FLOOR to CEILING; None where something is left, where it is back within FLOOR, and where nothing is told.
    """
    wait = _spent(headers, now)
    return None if wait is None or wait < FLOOR else min(wait, CEILING)


def told(sentence: str, now: float, longest: float = CEILING) -> float | None:
    """Seconds to wait as a refusal says in words: `try again in 7m12s`, `reset at 2026-11-20 21:57:42 +0800`.

    Without a zone the time is UTC. None where it says nothing of the kind.
    """
    wait: float | None = None
    if found := _IN.search(sentence):
        span, number, unit = found.groups()
        wait = _span(span.lower()) if span else float(number) * _WORDS[unit.lower()]
    elif found := _AT.search(sentence):
        wait = until("".join(filter(None, found.groups())), now)
    return None if wait is None else min(max(wait, FLOOR), longest)


def until(moment: object, now: float) -> float | None:
    """Seconds until a point in time as bodies tell it: Unix seconds or milliseconds, or ISO 8601, in UTC by default."""
    if isinstance(moment, int | float):
        return _point(min(moment, _FAR), now) if moment > _EPOCH else None
    try:
        at = datetime.fromisoformat(str(moment).upper())
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def _hints(headers: Mapping[str, str], now: float) -> Iterator[float | None]:
    ms = _number(headers.get("retry-after-ms"))
    yield None if ms is None else ms / 1000
    after = headers.get("retry-after")
    yield _number(after)
    yield _until_date(after, now)
    yield _spent(headers, now)
    resets = (_reset(headers.get(window.reset), now) for window in _NAMED if not _has_left(window, headers))
    yield min((wait for wait in resets if wait is not None), default=None)
    yield None if _has_left(_PLAIN, headers) else _reset(headers.get(_PLAIN.reset), now)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until_date(text: str | None, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def _spent(headers: Mapping[str, str], now: float) -> float | None:
    """The longest wait of the windows with nothing left. On the path of every answer: absent headers cost a look."""
    longest: float | None = None
    for window in _WINDOWS:
        remaining = headers.get(window.remaining)
        if remaining is not None and _number(remaining) == 0 and (wait := _back(window, headers, now)) is not None:
            longest = wait if longest is None else max(longest, wait)
    return longest


def _has_left(window: _Window, headers: Mapping[str, str]) -> bool:
    """Whether it is not this window that refused: when it begins anew says nothing then."""
    return (_number(headers.get(window.remaining)) or 0) > 0


def _back(window: _Window, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a spent window has room for a request; None where it tells no time, or allows none at all."""
    text, limit = headers.get(window.reset), _number(headers.get(window.limit))
    wait = _reset(text, now)
    if wait is None or limit == 0:  # a limit of nothing is a window that the server does not keep
        return None
    if limit is None or limit < 1 or _number(text) is not None:
        return wait
    return wait / min(limit, window.parts)


def _reset(text: str | None, now: float) -> float | None:
    """`6m0s`, `12ms`, seconds, or a point in time as Unix seconds or milliseconds."""
    value = _number(text)
    return _span((text or "").strip()) if value is None else _point(value, now)


def _point(value: float, now: float) -> float:
    if value > _EPOCH * 1000:
        return value / 1000 - now
    return value - now if value > _EPOCH else value


def _span(text: str) -> float | None:
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
