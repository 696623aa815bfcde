import inspect
import math
import random
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.facts import Fact
from gateway.accounts.health import EJECTED_AFTER, FIRST_EJECTION, LONGEST_EJECTION, Obstacle, Standing
from gateway.accounts.quota import GROUP_OF
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
    Unreached,
    Verdict,
    spent_nothing,
    verdict,
)
from gateway.errors import Fault, GatewayError
from gateway.state.slots import NEVER
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

    def succeed(self, number: int | None = None) -> None:
        self.standing.succeed(self.standing.started if number is None else number, self.now)

    def end_outside(self, how: Verdict) -> None:
        """What a request without a lease showed."""
        self.standing.in_flight += 1
        self.end(self.standing.started + 1, how)

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
        (errors.UpstreamUnreachable(), Unreached()),
        (errors.UpstreamFailed(), Strike()),
        (errors.UpstreamGarbled(), Strike()),
        (errors.StreamTruncated(), Strike()),
        (errors.UpstreamTimeout(), Strike()),
        (errors.StreamInterrupted(), Strike()),
        (errors.AdapterContract(), Nothing()),
        (errors.GenerationFailed(), Nothing()),
        (errors.ResultUnavailable(), Nothing()),
        (errors.TaskExpired(), Nothing()),
        (errors.JobLost(), Nothing()),
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
    it.succeed(it.start())
    it.end(it.start(), Rest(None))
    assert it.standing.rest_until - it.now <= 5


def test_a_burst_of_refusals_backs_off_once() -> None:
    it = Alone()
    for number in [it.start() for _ in range(6)]:
        it.end(number, Rest(None))
    assert it.standing.rest_until - it.now <= 5


def test_refusals_of_what_needs_no_lease_back_off_once_a_rest() -> None:
    it = Alone()
    for _ in range(6):  # polls of a resting account
        it.end_outside(Rest(None))
    assert it.standing.rest_until - it.now <= 5
    it.now = it.standing.rest_until
    it.end_outside(Rest(None))
    assert 8 <= it.standing.rest_until - it.now <= 10


def test_a_success_from_before_a_rest_does_not_end_the_backoff() -> None:
    it = Alone()
    early, refused = it.start(), it.start()
    it.end(refused, Rest(None))
    it.succeed(early)
    it.now += 5
    it.end(it.start(), Rest(None))
    assert 8 <= it.standing.rest_until - it.now <= 10


def test_a_refusal_in_the_wake_of_an_ejection_backs_off_no_less_than_the_first() -> None:
    it = Alone()
    numbers = [it.start() for _ in range(4)]
    for number in numbers[:3]:
        it.end(number, Strike())
    it.end(numbers[3], Rest(None))
    assert 4 <= it.standing.rest_until - it.now <= 5


# --- strikes ---


def test_strikes_keep_nobody_away_but_make_it_trusted_less() -> None:
    it = Alone()
    levels = []
    for _ in range(50):
        it.end(it.start(), Strike())
        levels.append(it.standing.level(it.now))
    assert it.standing.strikes == 50
    assert it.why() is None
    assert levels == [1] * (EJECTED_AFTER - 1) + [2] * (51 - EJECTED_AFTER)


def test_what_was_not_reached_says_nothing_of_the_account() -> None:
    it = Alone()
    for _ in range(50):
        it.end(it.start(), Unreached())
    assert (it.standing.strikes, it.standing.level(it.now), it.standing.slots) == (0, 0, 8)


def test_doubt_lasts_five_seconds_for_each_strike_in_a_row() -> None:
    it = Alone()
    for seconds in (5, 10):
        it.end(it.start(), Strike())
        assert [it.standing.level(it.now + after) for after in (0, seconds - 0.1, seconds)] == [1, 1, 0]
    it.succeed()
    assert (it.standing.strikes, it.standing.level(it.now)) == (0, 0)
    it.end(it.start(), Strike())
    assert it.standing.level_changes(it.now) == it.now + 5


def test_each_ejection_is_longer_than_the_one_before_and_a_burst_is_one() -> None:
    it, lengths = Alone(), []
    for _ in range(12):
        for number in [it.start() for _ in range(5)]:
            it.end(number, Strike())
        lengths.append(it.standing.ejected_until - it.now)
        it.now = it.standing.ejected_until
        assert it.standing.level(it.now) == 0
    assert lengths == [min(LONGEST_EJECTION, FIRST_EJECTION * n) for n in range(1, 13)]


def test_after_a_good_minute_ejections_begin_with_the_first_again() -> None:
    it = Alone()
    for goods, length in ((19, 60), (20, 30)):
        it.standing.renew()
        for _ in range(3):
            it.end(it.start(), Strike())
        it.now = 600.0
        for _ in range(goods):
            it.succeed()
        for _ in range(3):
            it.end(it.start(), Strike())
        assert it.standing.ejected_until - it.now == length
        it.now = 100.0


@pytest.mark.parametrize(("good", "bad", "level"), [(10, 10, 2), (11, 9, 1), (10, 9, 1), (11, 10, 1), (11, 11, 2)])
def test_half_of_twenty_in_a_minute_eject_as_well(good: int, bad: int, level: int) -> None:
    it = Alone()
    it.now = 120.0
    outcomes = [True] * (good - bad + 1) + [False, True] * (bad - 1) + [False]
    for well in outcomes:
        it.succeed() if well else it.end(it.start(), Strike())
    assert outcomes.count(True) == good
    assert it.standing.level(it.now) == level


def test_the_share_is_of_one_minute() -> None:
    it = Alone()
    for minute in (120.0, 180.0):
        it.now = minute
        for _ in range(9):
            it.succeed()
            it.end(it.start(), Strike())
    assert it.standing.level(it.now) == 1


def test_one_success_is_enough_to_be_trusted_again_but_with_one_slot() -> None:
    it = Alone()
    for _ in range(3):
        it.end(it.start(), Strike())
    assert (it.standing.level(it.now), it.standing.slots) == (2, 1)
    it.succeed(it.start())
    assert (it.standing.level(it.now), it.standing.slots) == (0, 2)


def test_levels_change_when_they_say_they_do() -> None:
    it = Alone()
    it.standing.struck_until, it.standing.ejected_until = it.now + 20, it.now + 10
    seen = [it.standing.level(it.now)]
    while (changes := it.standing.level_changes(it.now)) < math.inf:
        assert it.standing.level(changes - 0.1) == seen[-1]
        it.now = changes
        seen.append(it.standing.level(it.now))
    assert seen == [2, 1, 0]
    assert (it.standing.level_from(1), it.standing.level_from(0)) == (110, 120)


# --- slots ---


def test_slots_sink_to_what_the_upstream_bears_and_come_back_slowly() -> None:
    it = Alone(max_concurrency=8)
    numbers = [it.start() for _ in range(8)]
    for number in numbers[:3]:
        it.end(number, LowerSlots(None))
    assert it.standing.slots == 5
    assert it.why() == Obstacle("busy", 0.0), "no rest: what goes on may end at any moment"
    for _ in range(49):
        it.succeed()
    assert it.standing.slots == 5
    it.succeed()
    assert it.standing.slots == 6
    for _ in range(1_000):
        it.succeed()
    assert it.standing.slots == 8


def test_limited_with_nothing_else_going_on_it_rests() -> None:
    it = Alone(max_concurrency=4)
    it.end(it.start(), LowerSlots(None))
    why = it.why()
    assert it.standing.slots == 1
    assert why is not None
    assert why.why == "resting"


def test_after_a_rest_slots_double_with_every_success() -> None:
    it = Alone(max_concurrency=6)
    before = it.start()
    it.end(it.start(), Rest(10))
    assert it.standing.slots == 1
    it.now += 10
    it.succeed(before)
    assert it.standing.slots == 1, "one from before says nothing of how it is now"
    slots = []
    for _ in range(4):
        it.succeed(it.start())
        slots.append(it.standing.slots)
    assert slots == [2, 4, 6, 6]


def test_both_what_it_bears_and_the_slow_start_bound_its_slots() -> None:
    it = Alone(max_concurrency=8)
    numbers = [it.start() for _ in range(8)]
    for number in numbers[:5]:
        it.end(number, LowerSlots(None))
    assert it.standing.slots == 3
    it.end(numbers[5], Rest(10))
    assert it.standing.slots == 1
    for _ in range(5):
        it.succeed(it.start())
    assert it.standing.slots == 3


@pytest.mark.parametrize(("most", "slots"), [(12, 12), (4, 4), (0, 1)])
def test_another_limit_holds_at_once(most: int, slots: int) -> None:
    it = Alone(max_concurrency=8)
    it.standing.bind(account(max_concurrency=most))
    assert it.standing.slots == slots


def test_another_limit_is_no_word_of_the_upstream() -> None:
    it = Alone(max_concurrency=8)
    numbers = [it.start() for _ in range(8)]
    for number in numbers[:5]:
        it.end(number, LowerSlots(None))
    for most, slots in ((16, 3), (2, 2), (16, 16)):
        it.standing.bind(account(max_concurrency=most))
        assert it.standing.slots == slots


# --- quotas ---


def test_exhausted_for_videos_still_chats_and_makes_images() -> None:
    it = Alone()
    it.end(it.start("t2v"), Exhaust("kind", 600), group=GROUP_OF["i2v"])
    assert [it.why(group=GROUP_OF[kind]) for kind in ("t2v", "flf2v", "ref2v")] == [Obstacle("exhausted", 600)] * 3
    assert [it.why(group=GROUP_OF[kind]) for kind in ("t2t", "t2i", "i2i", "tts")] == [None] * 4
    assert it.why(group="t2v", wall=NOON + 600) is None
    it.start("t2t")
    assert it.why(group="t2v") == Obstacle("exhausted", 600)


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


def test_what_did_not_begin_leaves_nothing_behind() -> None:
    it = Alone(max_concurrency=1, requests_per_minute=1, min_interval=5.0, daily_quota={"t2v": 1})
    number = it.start("t2v")
    assert it.why(group="t2v") == Obstacle("exhausted", max(DAY / 2, 60))
    it.standing.undo("t2v", number, it.now, it.standing.quota.ends)
    assert it.why(group="t2v") is None
    assert (it.standing.in_flight, it.standing.quota.today(NOON)) == (0, {"t2v": 0})


def test_requests_per_minute_slide() -> None:
    it = Alone(requests_per_minute=2)
    it.start()
    it.now += 10
    it.start()
    assert it.why() == Obstacle("paced", 50)
    it.now += 50
    assert it.why() is None
    it.start()
    assert it.why() == Obstacle("paced", 10)


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


# --- what is known from before ---


def test_what_is_learnt_takes_the_place_of_what_was_known() -> None:
    it = Alone(daily_quota={"t2v": 5})
    for how in (Reject("no"), Park("page"), Rest(50), Exhaust("all", 50), ModelOff()):
        it.end(it.start("t2v"), how)
    ends = it.standing.quota.ends
    known = [Fact("rest", NOON + 7, "slow"), Fact("exhausted:t2i", NOON + 9), Fact("model_off:dear", NEVER),
             Fact("used:t2v", ends, leases=4), Fact("rejected", NOON - 1, "long ago")]  # fmt: skip
    it.standing.learn(known, enabled=True, now=it.now, wall=NOON)
    assert it.why() == Obstacle("resting", 7)
    assert it.why(group="t2i") == Obstacle("exhausted", 9)
    assert it.why("dear") == Obstacle("model_off", math.inf)
    assert it.standing.quota.today(NOON)["t2v"] == 4
    it.standing.learn((), enabled=True, now=it.now, wall=NOON)
    assert it.why("dear", "t2i") is None


@pytest.mark.parametrize(
    ("configured", "facts", "enabled"),
    [(True, [], True), (False, [], False), (True, ["disabled"], False), (False, ["enabled"], True),
     (False, ["disabled"], False), (True, ["enabled"], True)],
)  # fmt: skip
def test_the_operators_word_comes_before_the_configs(configured: bool, facts: list[str], enabled: bool) -> None:
    it = Alone(enabled=configured)
    it.standing.learn([Fact(name, NEVER) for name in facts], enabled=configured, now=it.now, wall=NOON)
    assert it.standing.enabled is enabled


def test_a_rest_that_others_were_told_ends_with_a_slow_start() -> None:
    for hear in (
        lambda it: it.heed(110, 100),
        lambda it: it.learn([Fact("rest", NOON + 10)], enabled=True, now=100, wall=NOON),
    ):
        it = Alone()
        hear(it.standing)
        assert (it.standing.rest_until, it.standing.slots) == (110, 1)
        it.standing.heed(105, 101)
        assert it.standing.rest_until == 110


def test_what_is_known_of_a_verdict_is_told() -> None:
    it = Alone()
    told = [
        it.standing.apply(how, model="m", group="t2v", number=1, now=it.now, wall=NOON, rng=random.Random(1))
        for how in (
            Rest(5),
            Exhaust("kind", 6),
            Reject("no"),
            Park("page"),
            ModelOff(),
            Strike(),
            Unreached(),
            Nothing(),
        )
    ]
    assert told == [
        (Fact("rest", NOON + 5, "asked to slow down"),), (Fact("exhausted:t2v", NOON + 6),),
        (Fact("rejected", NEVER, "no"),), (Fact("parked", NEVER, "page"),), (Fact("model_off:m", NEVER),), (), (), (),
    ]  # fmt: skip


def test_an_account_that_cannot_be_used_is_not() -> None:
    it = Alone(unusable="its stored credential cannot be opened")
    assert it.why() == Obstacle("rejected", math.inf)
    assert not it.standing.free("m", "t2t", it.now, NOON)
    it.standing.renew()
    assert it.why() is not None
