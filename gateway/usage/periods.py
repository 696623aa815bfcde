"""Stretches of time that sums are told for: hours, days and months, as a clock on the wall has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

Unit = Literal["hour", "day", "month"]
HOUR: Final = 3600.0


class Period(NamedTuple):
    """From `start` up to `end`, in Unix seconds."""

    day: date
    """The one it is in, or begins with."""
    start: float
    end: float


def periods(unit: Unit, since: float, until: float, zone: ZoneInfo) -> Iterator[Period]:
    """What lies between two moments, in order; the first and the last may be cut short."""
    day = datetime.fromtimestamp(since, zone).date()
    if unit == "month":
        day = day.replace(day=1)
    while (start := midnight(day, zone)) < until:
        after = _next(unit, day)
        for one in _parts(unit, Period(day, start, midnight(after, zone))):
            cut = Period(day, max(one.start, since), min(one.end, until))
            if cut.start < cut.end:
                yield cut
        day = after


def midnight(day: date, zone: ZoneInfo) -> float:
    """When a day begins. Where clocks jump over midnight, that is after the jump."""
    return datetime.combine(day, time.min, tzinfo=zone).timestamp()


def label(unit: Unit, period: Period, zone: ZoneInfo) -> str:
    """`2026-11-20`, `2026-11`, or `2026-11-20T13:00:00+08:00`."""
    if unit == "hour":
        start = period.start - (period.start - midnight(period.day, zone)) % HOUR
        return datetime.fromtimestamp(start, zone).isoformat()
    return period.day.isoformat()[: 7 if unit == "month" else 10]


def _next(unit: Unit, day: date) -> date:
    if unit == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=1)


def _parts(unit: Unit, whole: Period) -> Iterator[Period]:
    """A day by its hours, of which it has 23 or 25 where clocks are changed."""
    if unit != "hour":
        yield whole
        return
    start = whole.start
    while start < whole.end:
        yield Period(whole.day, start, min(start + HOUR, whole.end))
        start += HOUR
