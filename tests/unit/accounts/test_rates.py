import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts.rates import Rates
from tests.unit.accounts.clocks import account


def rates(**limits: float) -> Rates:
    made = Rates.of(account(**limits))
    assert made is not None
    return made


def test_without_any_rate_nothing_is_counted() -> None:
    assert Rates.of(account()) is None


def test_requests_per_minute_slide() -> None:
    it = rates(requests_per_minute=2)
    for number, at in enumerate((0.0, 10.0)):
        assert it.until(at) <= at
        it.start(number, at, 0)
    assert it.until(10.0) == 60.0
    it.start(2, 60.0, 0)
    assert it.until(60.0) == 70.0


def test_two_requests_are_an_interval_apart() -> None:
    it = rates(min_interval=1.5)
    assert it.until(0.0) <= 0.0
    it.start(0, 0.0, 0)
    assert it.until(0.1) == 1.5


def test_whichever_limit_takes_longest() -> None:
    it = rates(min_interval=90.0, requests_per_minute=1, tokens_per_minute=10)
    it.start(0, 0.0, 10)
    assert it.until(1.0) == 90.0
    it = rates(min_interval=1.0, requests_per_minute=9, tokens_per_minute=10)
    it.start(0, 0.0, 10)
    assert it.until(1.0) == 60.0


# --- tokens ---


def test_tokens_of_a_minute_are_expected_first_and_then_as_they_were() -> None:
    it = rates(tokens_per_minute=100)
    it.start(1, 0.0, 60)
    it.start(2, 5.0, 30)
    assert it.until(6.0, 10) <= 6.0
    assert it.until(6.0, 11) == 60.0
    assert it.until(6.0, 71) == 65.0
    it.settle(1, 5)
    assert it.until(6.0, 65) <= 6.0
    it.settle(2, 200)
    assert it.until(6.0, 1) == 65.0
    assert it.until(65.0, 100) <= 65.0


def test_where_nobody_knows_what_was_used_what_was_expected_counts() -> None:
    it = rates(tokens_per_minute=100)
    it.start(1, 0.0, 60)
    it.settle(1, None)
    it.settle(1, 0)
    assert it.until(1.0, 41) == 60.0


def test_who_asks_for_nothing_still_needs_a_token_to_be_left() -> None:
    it = rates(tokens_per_minute=100)
    it.start(1, 0.0, 100)
    assert it.until(1.0, 0) == 60.0


def test_more_than_the_whole_limit_goes_alone() -> None:
    it = rates(tokens_per_minute=100)
    assert it.until(0.0, 5_000) <= 0.0
    it.start(1, 0.0, 1)
    assert it.until(1.0, 5_000) == 60.0
    assert it.until(60.0, 5_000) <= 60.0
    it.start(2, 60.0, 5_000)
    assert it.until(61.0, 1) == 120.0


def test_what_is_known_after_its_minute_counts_for_nothing() -> None:
    it = rates(tokens_per_minute=100)
    for number in (1, 2):
        it.start(number, 0.0, 50)
    assert it.until(60.0, 100) <= 60.0
    it.start(3, 60.0, 50)
    it.settle(1, 5_000)
    it.settle(2, 0)
    assert it.until(60.0, 50) <= 60.0
    assert it.until(60.0, 51) == 120.0


def test_it_says_when_more_tokens_are_let_through() -> None:
    assert rates(requests_per_minute=1).grows(0.0) == math.inf
    it = rates(tokens_per_minute=100)
    assert it.grows(0.0) == math.inf
    it.start(1, 0.0, 10)
    it.start(2, 5.0, 10)
    assert [it.grows(at) for at in (1.0, 59.9, 60.0, 65.0)] == [60.0, 60.0, 65.0, math.inf]


# --- undone ---


def test_what_did_not_begin_leaves_nothing_behind() -> None:
    it = rates(requests_per_minute=2, tokens_per_minute=100, min_interval=1.0)
    it.start(1, 0.0, 20)
    it.start(2, 1.0, 80)
    it.undo(2, 1.0)
    assert it.until(1.0, 80) <= 1.0
    it.start(3, 1.0, 80)
    assert it.until(1.0) == 60.0


def test_undoing_one_leaves_those_that_began_since() -> None:
    it = rates(requests_per_minute=2, min_interval=1.0)
    it.start(1, 10.0, 0)
    it.start(2, 11.5, 0)
    it.undo(1, 10.0)
    assert it.until(11.6) == 12.5
    it.start(3, 12.5, 0)
    assert it.until(14.0) == 71.5, "the second began at 11.5"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 40.0), st.integers(0, 60), st.sampled_from(["keep", "settle", "undo", "unknown"])),
        max_size=40,
    ),
    st.integers(1, 4),
    st.integers(20, 100),
    st.sampled_from([0.0, 3.0]),
)
def test_no_minute_holds_more_than_the_limit(
    asked: Sequence[tuple[float, int, str]], requests: int, tokens: int, interval: float
) -> None:
    """Against a plain list of what was let through, and the moment told is the first that lets one through."""
    it = rates(requests_per_minute=requests, tokens_per_minute=tokens, min_interval=interval)
    through: list[tuple[float, int]] = []
    now = 0.0

    def allowed(at: float, wanted: int) -> bool:
        last = [(then, used) for then, used in through if then + 60 > at]
        room = sum(used for _, used in last) + max(1, min(wanted, tokens)) <= tokens
        apart = all(then + interval <= at for then, _ in through)
        return len(last) < requests and room and apart

    for number, (seconds, wanted, end) in enumerate(asked):
        now += seconds
        until = it.until(now, wanted)
        assert allowed(now, wanted) == (until <= now)
        if until > now:
            assert allowed(until, wanted)
            assert not allowed(until - 1e-6, wanted)
            now = until
        it.start(number, now, wanted)
        match end:
            case "undo":
                it.undo(number, now)
            case "settle":
                it.settle(number, wanted // 2)
                through.append((now, wanted // 2))
            case _:
                it.settle(number, None) if end == "unknown" else None
                through.append((now, wanted))


# --- other limits ---


def test_what_was_used_counts_under_other_limits() -> None:
    it = rates(requests_per_minute=5, tokens_per_minute=100)
    for number in range(4):
        it.start(number, float(number), 20)
    fewer = Rates.of(account(requests_per_minute=2, tokens_per_minute=50, min_interval=2.0), it)
    assert fewer is not None
    assert fewer.until(4.0, 1) == 62.0, "two of the last three must be a minute old"
    assert fewer.until(62.0, 30) <= 62.0
    fewer.settle(3, 50)
    assert fewer.until(62.0, 1) == 63.0
    more = Rates.of(account(requests_per_minute=9), fewer)
    assert more is not None
    assert more.until(4.0) <= 4.0
    assert Rates.of(account(), it) is None


def test_a_limit_that_was_lower_for_a_moment_makes_no_room() -> None:
    it: Rates | None = rates(requests_per_minute=3)
    for number in range(3):
        assert it is not None
        it.start(number, float(number), 0)
    for most in (1, 3):
        it = Rates.of(account(requests_per_minute=most), it)
    assert it is not None
    assert it.until(3.0) == 60.0
