import inspect
import math
import random
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.health import GROUP_OF, Obstacle, Standing
from gateway.accounts.verdict import (
    DAY,
    Exhaust,
    LowerSlots,
    ModelOff,
    Nothing,
    Park,
    Reject,
    Rest,
    Strike,
    Verdict,
    spent_nothing,
    verdict,
)
from gateway.errors import Fault, GatewayError
from gateway.types import Kind
from tests.unit.accounts.clocks import account

NOON = 20_000 * DAY + DAY / 2
ALL_ERRORS = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, GatewayError)]


class Alone:
    """A standing with its times, judged by hand."""

    def __init__(self, **fields: Any) -> None:
        self.standing = Standing(account(**fields))
        self.now = 100.0

    def start(self, group: Kind = "t2t") -> int:
        return self.standing.start(group, self.now, NOON)

    def end(self, number: int, how: Verdict, model: str = "m", group: Kind = "t2t") -> None:
        self.standing.in_flight -= 1
        self.standing.apply(
            how,
            model=model,
            group=group,
            number=number,
            now=self.now,
            wall=NOON,
            rng=random.Random(1),
        )

    def why(self, model: str = "m", group: Kind = "t2t", wall: float = NOON) -> Obstacle | None:
        return self.standing.obstacle(model, group, self.now, wall)


# --- verdict ---


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.RateLimited(retry_after=7), Rest(7)),
        (errors.RateLimited(), Rest(None)),
        (errors.ConcurrencyLimited(), LowerSlots(None)),
        (errors.ConcurrencyLimited(retry_after=3), LowerSlots(3)),
        (errors.QuotaExhausted(retry_after=7_200), Exhaust("kind", 7_200)),
        (errors.QuotaExhausted(), Exhaust("kind", 3_600)),
        (errors.BalanceExhausted(), Exhaust("all", 3_600)),
        (errors.CredentialRejected("no"), Reject("no")),
        (errors.Challenged("a page"), Park("a page")),
        (errors.ModelNotEnabled(), ModelOff()),
        (errors.AccountError(), Rest(None)),
        (errors.UpstreamUnreachable(), Strike()),
        (errors.UpstreamTimeout(), Strike()),
        (errors.StreamInterrupted(), Strike()),
        (errors.AdapterContract(), Nothing()),
        (errors.GenerationFailed(), Nothing()),
        (errors.ResultUnavailable(), Nothing()),
        (errors.TaskExpired(), Nothing()),
        (errors.ClientLeft(), Nothing()),
        (errors.StorageUnavailable(), Nothing()),
        (GatewayError(), Nothing()),
    ],
)
def test_an_error_is_judged_by_its_class(error: GatewayError, expected: Verdict) -> None:
    assert verdict(error) == expected


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_only_errors_of_account_or_upstream_count_against_an_account(error: type[GatewayError]) -> None:
    if not isinstance(verdict(error()), Nothing):
        assert error.fault in (Fault.ACCOUNT, Fault.UPSTREAM)
    if error.fault is Fault.ACCOUNT:
        assert not isinstance(verdict(error()), Nothing)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(-5, 1.0), (0, 1.0), (0.3, 1.0), (7, 7), (1e9, DAY), (math.inf, DAY), (math.nan, None)]
)
def test_an_asked_rest_is_between_one_second_and_a_day(asked: float, seconds: float | None) -> None:
    assert verdict(errors.RateLimited(retry_after=asked)) == Rest(seconds)


def test_a_quota_may_come_back_after_more_than_a_day_but_not_never() -> None:
    assert verdict(errors.QuotaExhausted(retry_after=20 * DAY)) == Exhaust("kind", 20 * DAY)
    assert verdict(errors.QuotaExhausted(retry_after=1e12)) == Exhaust("kind", 31 * DAY)


def test_what_was_certainly_not_done_is_told_from_what_may_have_been() -> None:
    undone = [errors.ContentRefused(), errors.RateLimited(), errors.UpstreamUnreachable(sent="no")]
    maybe = [errors.ClientLeft(), errors.UpstreamTimeout(sent="unknown"), errors.GenerationFailed()]
    assert all(map(spent_nothing, undone))
    assert not any(map(spent_nothing, maybe))


# --- rests ---


def test_a_longer_rest_extends_and_a_shorter_never_shortens() -> None:
    it = Alone()
    for seconds, until in ((10, 110), (4, 110), (30, 130)):
        it.end(it.start(), Rest(seconds))
        assert it.standing.rest_until == until


def test_backoff_doubles_up_to_a_minute_and_begins_anew_after_a_success() -> None:
    it, rests = Alone(), []
    for _ in range(7):
        it.end(it.start(), Rest(None))
        rests.append(it.standing.rest_until - it.now)
        it.now = it.standing.rest_until
    for rest, full in zip(rests, (5, 10, 20, 40, 60, 60, 60), strict=True):
        assert 0.8 * full <= rest <= full
    number = it.start()
    it.standing.in_flight -= 1
    it.standing.succeed(number)
    it.end(it.start(), Rest(None))
    assert it.standing.rest_until - it.now <= 5


def test_a_burst_of_refusals_backs_off_once() -> None:
    it = Alone()
    for number in [it.start() for _ in range(6)]:
        it.end(number, Rest(None))
    assert it.standing.rest_until - it.now <= 5


def test_a_success_from_before_a_rest_does_not_end_the_backoff() -> None:
    it = Alone()
    early, refused = it.start(), it.start()
    it.end(refused, Rest(None))
    it.standing.succeed(early)
    it.now += 5
    it.end(it.start(), Rest(None))
    assert 8 <= it.standing.rest_until - it.now <= 10


def test_strikes_are_counted_but_keep_nobody_away() -> None:
    it = Alone()
    for _ in range(50):
        it.end(it.start(), Strike())
    assert it.standing.strikes == 50
    assert it.why() is None


# --- slots ---


def test_slots_sink_to_what_the_upstream_bears_and_come_back_slowly() -> None:
    it = Alone(max_concurrency=8)
    numbers = [it.start() for _ in range(8)]
    for number in numbers[:3]:
        it.end(number, LowerSlots(None))
    assert it.standing.slots == 5
    assert it.why() == Obstacle("busy", 0.0), "no rest: what goes on may end at any moment"
    for _ in range(49):
        it.standing.succeed(it.standing.started)
    assert it.standing.slots == 5
    it.standing.succeed(it.standing.started)
    assert it.standing.slots == 6
    for _ in range(1_000):
        it.standing.succeed(it.standing.started)
    assert it.standing.slots == 8


def test_limited_with_nothing_else_going_on_it_rests() -> None:
    it = Alone(max_concurrency=4)
    it.end(it.start(), LowerSlots(None))
    why = it.why()
    assert it.standing.slots == 1
    assert why is not None
    assert why.why == "resting"


# --- quotas ---


def test_exhausted_for_videos_still_chats_and_makes_images() -> None:
    it = Alone()
    it.end(it.start("t2v"), Exhaust("kind", 600), group=GROUP_OF["i2v"])
    assert [it.why(group=GROUP_OF[kind]) for kind in ("t2v", "flf2v", "ref2v")] == [Obstacle("exhausted", 600)] * 3
    assert [it.why(group=GROUP_OF[kind]) for kind in ("t2t", "t2i", "i2i", "tts")] == [None] * 4
    assert it.why(group="t2v", wall=NOON + 600) is None


def test_a_shorter_exhaustion_does_not_shorten_a_longer() -> None:
    it = Alone()
    first, second = it.start(), it.start()
    it.end(first, Exhaust("kind", 600))
    it.end(second, Exhaust("all", 60))
    assert it.why() == Obstacle("exhausted", 600)
    assert it.why(group="t2i") == Obstacle("exhausted", 60)


def test_out_of_quota_and_resting_it_is_back_when_both_are_over() -> None:
    it = Alone()
    first, second = it.start(), it.start()
    it.end(first, Exhaust("kind", 60))
    it.end(second, Rest(600))
    assert it.why() == Obstacle("exhausted", 600)


def test_an_empty_balance_stops_everything() -> None:
    it = Alone()
    it.end(it.start(), Exhaust("all", 600))
    assert all(it.why(group=group) == Obstacle("exhausted", 600) for group in GROUP_OF.values())


def test_a_daily_quota_is_shared_by_its_kinds_and_comes_back_at_midnight() -> None:
    it = Alone(daily_quota={"t2v": 2, "i2v": 3})
    it.start(GROUP_OF["i2v"])
    it.start(GROUP_OF["t2v"])
    assert it.why(group="t2v") == Obstacle("exhausted", DAY / 2)
    assert it.why() is None
    assert it.why(group="t2v", wall=NOON + DAY / 2) is None


def test_what_spent_nothing_is_taken_out_of_todays_count_but_not_out_of_tomorrows() -> None:
    it = Alone()
    yesterday, again = it.start("t2v"), it.start("t2v")
    it.standing.refund("t2v", again)
    assert it.standing.used_today(NOON) == {"t2v": 1}
    it.standing.start("t2v", it.now, NOON + DAY)
    it.standing.refund("t2v", yesterday)
    assert it.standing.used_today(NOON + DAY) == {"t2v": 1}


def test_requests_per_minute_slide() -> None:
    it = Alone(requests_per_minute=2)
    it.start()
    it.now += 10
    it.start()
    assert it.why() == Obstacle("resting", 50)
    it.now += 50
    assert it.why() is None
    it.start()
    assert it.why() == Obstacle("resting", 10)


# --- what only an operator ends ---


def test_a_model_is_off_for_the_account_only_by_itself() -> None:
    it = Alone(not_models=frozenset({"never"}))
    it.end(it.start(), ModelOff(), model="dear")
    assert it.why("dear") == Obstacle("model_off", math.inf)
    assert it.why("never") == Obstacle("not_allowed", math.inf)
    assert it.why("cheap") is None


def test_renewing_forgets_faults_and_what_older_leases_have_to_say() -> None:
    it = Alone()
    old = it.start()
    for how in (Reject("no"), Park("page"), Rest(50), Exhaust("all", 50), ModelOff()):
        it.end(it.start(), how)
    it.standing.renew()
    assert it.why() is None
    it.end(old, Reject("the old credential"))
    assert it.why() is None
