from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts.quota import GROUP_OF, Quota, day_ends
from gateway.types import QuotaReset
from tests.unit.accounts.clocks import account

HOUR = 3_600.0
DAY = 24 * HOUR
MIDNIGHT = 20_000 * DAY
ZONES = ["UTC", "Asia/Shanghai", "America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo",
         "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Pacific/Chatham"]  # fmt: skip


def at(zone: str, *when: int, fold: int = 0) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[misc,arg-type]


# --- days ---


def test_a_day_ends_at_an_hour_of_the_upstreams_zone() -> None:
    assert day_ends(QuotaReset(), MIDNIGHT - 1) == MIDNIGHT
    assert day_ends(QuotaReset(), MIDNIGHT) == MIDNIGHT + DAY
    assert day_ends(QuotaReset(8), MIDNIGHT) == MIDNIGHT + 8 * HOUR
    assert day_ends(QuotaReset(0, "Asia/Shanghai"), MIDNIGHT) == MIDNIGHT + 16 * HOUR
    assert day_ends(QuotaReset(8, "Asia/Shanghai"), MIDNIGHT) == MIDNIGHT + DAY


@pytest.mark.parametrize(
    ("zone", "begins", "ends", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), (2026, 3, 30), 23),
        ("Europe/Berlin", (2026, 10, 25), (2026, 10, 26), 25),
        ("America/Los_Angeles", (2026, 3, 8), (2026, 3, 9), 23),
        ("America/Los_Angeles", (2026, 11, 1), (2026, 11, 2), 25),
        ("Australia/Lord_Howe", (2026, 4, 5), (2026, 4, 6), 24.5),
    ],
)
def test_days_of_23_and_25_hours_are_as_long_as_they_are(
    zone: str, begins: tuple[int, int, int], ends: tuple[int, int, int], hours: float
) -> None:
    begin, end = at(zone, *begins), at(zone, *ends)
    assert end - begin == hours * HOUR
    assert day_ends(QuotaReset(0, zone), begin - 1) == begin
    assert day_ends(QuotaReset(0, zone), begin) == end
    assert day_ends(QuotaReset(0, zone), end - 1) == end


def test_an_hour_that_does_not_exist_is_when_the_clock_jumps() -> None:
    reset, jump = QuotaReset(2, "Europe/Berlin"), at("Europe/Berlin", 2026, 3, 29, 3)
    assert day_ends(reset, jump - 1) == jump
    assert day_ends(reset, jump) == at("Europe/Berlin", 2026, 3, 30, 2)


def test_an_hour_that_comes_twice_ends_a_day_once() -> None:
    reset, first = QuotaReset(2, "Europe/Berlin"), at("Europe/Berlin", 2026, 10, 25, 2)
    assert day_ends(reset, first - 1) == first
    for seconds in (0, 1_800, HOUR, 1.5 * HOUR, 2 * HOUR):
        assert day_ends(reset, first + seconds) == at("Europe/Berlin", 2026, 10, 26, 2)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 23), st.floats(1.2e9, 2.1e9))
def test_days_follow_each_other_without_gap_and_end_at_their_hour(zone: str, hour: int, wall: float) -> None:
    reset = QuotaReset(hour, zone)
    end = day_ends(reset, wall)
    assert wall < end <= wall + 25 * HOUR
    assert day_ends(reset, end - 0.5) == end
    after = day_ends(reset, end)
    assert 22.9 * HOUR <= after - end <= 25.1 * HOUR
    there = datetime.fromtimestamp(end, ZoneInfo(zone))
    assert (there.hour, there.minute) == (hour, 0) or _jumped_over(hour, there)


def _jumped_over(hour: int, there: datetime) -> bool:
    """Whether the clock there has just jumped over the hour."""
    just_before = datetime.fromtimestamp(there.timestamp() - 1, there.tzinfo)
    return there.utcoffset() != just_before.utcoffset() and just_before.hour == (hour - 1) % 24


# --- what is used ---


def test_kinds_of_a_group_share_the_lowest_number() -> None:
    it = Quota(account(daily_quota={"t2v": 2, "i2v": 3, "t2i": 1}))
    assert it.most == {"t2v": 2, "t2i": 1}
    assert set(it.most) <= set(GROUP_OF.values())


def test_a_day_is_counted_and_the_next_begins_with_nothing() -> None:
    it = Quota(account(daily_quota={"t2v": 2}))
    for hours, until in ((1, 0.0), (5, MIDNIGHT + DAY)):
        assert it.until("t2v", MIDNIGHT + hours * HOUR) == 0.0
        assert it.start("t2v", MIDNIGHT + hours * HOUR) == MIDNIGHT + DAY
        assert it.until("t2v", MIDNIGHT + hours * HOUR) == until
    assert it.until("t2t", MIDNIGHT + 5 * HOUR) == 0.0
    assert it.until("t2v", MIDNIGHT + DAY - 1) == MIDNIGHT + DAY
    assert it.until("t2v", MIDNIGHT + DAY) == 0.0
    assert it.today(MIDNIGHT + DAY) == {}


def test_nothing_a_day_is_never() -> None:
    it = Quota(account(daily_quota={"t2v": 0}))
    assert it.until("t2v", MIDNIGHT) == MIDNIGHT + DAY


def test_what_spent_nothing_is_taken_out_of_its_own_day() -> None:
    it = Quota(account(daily_quota={"t2v": 1}))
    today = it.start("t2v", MIDNIGHT)
    assert it.refund("t2v", today)
    assert not it.refund("t2v", today), "there is nothing left to take out"
    assert it.until("t2v", MIDNIGHT) == 0.0
    it.start("t2v", MIDNIGHT + DAY)
    assert not it.refund("t2v", today)
    assert it.today(MIDNIGHT + DAY) == {"t2v": 1}


def test_what_all_used_together_counts_for_the_day_it_is_of() -> None:
    it = Quota(account(daily_quota={"t2v": 5}))
    it.start("t2v", MIDNIGHT)
    it.learn("t2v", MIDNIGHT, 5, MIDNIGHT)
    assert it.today(MIDNIGHT) == {"t2v": 1}
    it.learn("t2v", MIDNIGHT + DAY, 5, MIDNIGHT)
    assert it.until("t2v", MIDNIGHT) == MIDNIGHT + DAY


def test_other_limits_leave_what_was_used() -> None:
    it = Quota(account(daily_quota={"t2v": 5}))
    for _ in range(3):
        it.start("t2v", MIDNIGHT)
    it.bind(account(daily_quota={"t2v": 3}))
    assert it.until("t2v", MIDNIGHT) == MIDNIGHT + DAY
    it.bind(account())
    assert it.until("t2v", MIDNIGHT) == 0.0


# --- a clock that is set ---


@pytest.mark.parametrize("back", [1.0, HOUR, DAY - 1])
def test_a_clock_set_back_frees_nobody_early(back: float) -> None:
    it = Quota(account(daily_quota={"t2v": 1}))
    it.start("t2v", MIDNIGHT + HOUR)
    until = it.until("t2v", MIDNIGHT + HOUR - back)
    assert until > MIDNIGHT + HOUR - back
    assert until <= MIDNIGHT + DAY


def test_a_clock_that_was_a_year_ahead_for_a_moment_stops_nobody_for_a_year() -> None:
    it = Quota(account(daily_quota={"t2v": 2}))
    it.start("t2v", MIDNIGHT + HOUR)
    it.start("t2v", MIDNIGHT + 365 * DAY)
    it.start("t2v", MIDNIGHT + 2 * HOUR)
    assert it.until("t2v", MIDNIGHT + 2 * HOUR) == MIDNIGHT + DAY
    assert it.until("t2v", MIDNIGHT + DAY) == 0.0
