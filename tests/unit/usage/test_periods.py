"""Hours, days and months by a clock on the wall."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage.periods import Unit, label, periods

UTC, BERLIN, SHANGHAI = (ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Shanghai"))
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago"]


def told(unit: Unit, since: str, until: str, zone: ZoneInfo) -> list[tuple[str, float]]:
    start, end = (datetime.fromisoformat(moment).replace(tzinfo=zone).timestamp() for moment in (since, until))
    return [(label(unit, one, zone), (one.end - one.start) / 3600) for one in periods(unit, start, end, zone)]


def test_days_are_those_of_the_place() -> None:
    assert told("day", "2026-11-01T12:00", "2026-11-03T01:00", SHANGHAI) == [
        ("2026-11-01", 12), ("2026-11-02", 24), ("2026-11-03", 1),
    ]  # fmt: skip


def test_months_are_as_long_as_they_are() -> None:
    assert told("month", "2026-01-31", "2026-04-01", UTC) == [("2026-01", 24), ("2026-02", 28 * 24), ("2026-03", 744)]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_on_which_clocks_are_changed_is_shorter_or_longer(day: str, hours: int) -> None:
    after = f"{day[:8]}{int(day[8:]) + 1}"
    assert told("day", day, after, BERLIN) == [(day, hours)]
    found = told("hour", day, after, BERLIN)
    assert len({name for name, _ in found}) == len(found) == hours


def test_an_hour_that_comes_twice_is_told_apart_by_its_offset() -> None:
    names = [name for name, _ in told("hour", "2026-10-25", "2026-10-25T04:00", BERLIN)]
    assert names[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


def test_what_begins_in_the_middle_of_an_hour_belongs_to_it() -> None:
    assert told("hour", "2026-11-01T10:30", "2026-11-01T11:15", UTC) == [
        ("2026-11-01T10:00:00+00:00", 0.5), ("2026-11-01T11:00:00+00:00", 0.25),
    ]  # fmt: skip


@given(
    st.sampled_from(["hour", "day", "month"]),
    st.sampled_from(ZONES),
    st.floats(1.7e9, 1.9e9),
    st.floats(0.001, 60 * 86_400),
)
def test_periods_are_the_whole_time_without_gaps(unit: Unit, zone: str, since: float, seconds: float) -> None:
    found = list(periods(unit, since, since + seconds, ZoneInfo(zone)))
    assert (found[0].start, found[-1].end) == (since, since + seconds)
    assert all(one.end == other.start for one, other in pairwise(found))
    names = [label(unit, one, ZoneInfo(zone)) for one in found]
    assert len(set(names)) == len(names)
