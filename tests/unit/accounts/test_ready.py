"""The kept order against a plain look at everybody."""

import math
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.accounts.breaker import Breaker
from gateway.accounts.place import Place, Sort
from gateway.accounts.ready import SOONEST, STALE_SHARE, Ready
from gateway.accounts.selection import SELECTIONS
from gateway.accounts.verdict import Exhaust, ModelOff, Park, Reject, Rest, Strike
from tests.unit.accounts.clocks import account

RANK = SELECTIONS["least_loaded"].rank
SORT = Sort("m", "t2v")
NOON = 20_000 * 86_400.0 + 43_200.0
LIMITS = st.fixed_dictionaries(
    {
        "max_concurrency": st.integers(1, 3),
        "weight": st.sampled_from([0.5, 1.0, 2.0]),
        "priority": st.sampled_from([0, 0, 1]),
        "requests_per_minute": st.none() | st.integers(1, 5),
        "tokens_per_minute": st.none() | st.just(50),
        "min_interval": st.sampled_from([0.0, 0.0, 2.5]),
        "daily_quota": st.sampled_from([{}, {"t2v": 3}]),
        "tags": st.sampled_from([frozenset(), frozenset({"eu"})]),
        "not_models": st.sampled_from([frozenset(), frozenset(), frozenset({"m"})]),
    }
)
INDEX = st.integers(0, 7)
SECONDS = st.sampled_from([0.0, 0.3, 1.0, 2.5, 5.0, 7.0, 31.0, 59.0, 60.0, 61.0, 4_000.0])
VERDICTS = st.sampled_from(
    [Rest(3), Rest(90), Rest(None), Strike(), Strike(), Strike(), Exhaust("kind", 20), Exhaust("all", 7_200),
     ModelOff(), Reject("no"), Park("page")]
)  # fmt: skip


class Kept(RuleBasedStateMachine):
    """Accounts that change as a pool changes them, with a touch after each change; time that goes on."""

    @initialize(limits=st.lists(LIMITS, min_size=1, max_size=8), tags=st.sampled_from([frozenset(), frozenset({"eu"})]))
    def open(self, limits: list[dict[str, Any]], tags: frozenset[str]) -> None:
        self.now, self.wall, self.turn, self.serial = 100.0, NOON, 0.0, 0
        self.breakers = [Breaker(), Breaker()]
        self.places = [Place(account(str(n), **fields), self.breakers[n % 2]) for n, fields in enumerate(limits)]
        self.sort = Sort("m", "t2v", tags)
        self.ready = Ready(self.sort, self.places, RANK, self.now, self.wall)
        self.out: list[tuple[Place, int, float, float]] = []

    def place(self, index: int) -> Place:
        return self.places[index % len(self.places)]

    def order(self, place: Place) -> tuple[int, int, tuple[float, float]]:
        return place.standing.level(self.now), -place.standing.priority, RANK(place.standing)

    def touch(self, place: Place) -> None:
        self.ready.touch(place, self.now, self.wall)

    def touch_site(self, breaker: Breaker) -> None:
        for place in self.places:
            if place.breaker is breaker:
                self.touch(place)

    @rule(tokens=st.sampled_from([0, 10, 40]), excluded=st.sets(INDEX, max_size=3), level=st.sampled_from([0, 1, 2]))
    def take_first(self, tokens: int, excluded: set[int], level: int) -> None:
        def fits(place: Place) -> bool:
            return (
                place.free(self.sort, self.now, self.wall, tokens)
                and self.places.index(place) not in excluded
                and place.standing.level(self.now) <= level
            )

        self.ready.wake(self.now, self.wall)
        best = min((self.order(place) for place in self.places if fits(place)), default=None)
        place = self.ready.first(fits)
        if place is None:
            assert best is None
            return
        assert fits(place)
        assert self.order(place) == best
        self.turn = max(place.standing.turn, self.turn)
        place.standing.turn = self.turn + 1 / place.standing.weight
        self.serial += 1
        number = place.standing.start("t2v", self.now, self.wall, tokens)
        self.out.append((place, number, self.now, place.standing.quota.ends))
        self.touch(place)
        if place.breaker.start(self.serial):
            self.touch_site(place.breaker)

    @rule(index=INDEX, how=st.none() | VERDICTS, used=st.none() | st.integers(0, 60))
    def end(self, index: int, how: Any, used: int | None) -> None:
        if not self.out:
            return
        place, number, _, _ = self.out.pop(index % len(self.out))
        place.standing.in_flight -= 1
        if place.standing.rates is not None:
            place.standing.rates.settle(number, used)
        if how is None:
            place.standing.succeed(number, self.now)
        else:
            place.standing.apply(
                how, model="m", group="t2v", number=number, now=self.now, wall=self.wall, rng=random.Random(1)
            )
        self.touch(place)

    @rule(index=INDEX)
    def undo(self, index: int) -> None:
        if self.out:
            place, number, began, ends = self.out.pop(index % len(self.out))
            place.standing.undo("t2v", number, began, ends)
            self.touch(place)

    @rule(index=INDEX, seconds=SECONDS)
    def crowd(self, index: int, seconds: float) -> None:
        place = self.place(index)
        place.standing.crowded_until, place.standing.elsewhere = self.now + seconds / 10, int(seconds)
        self.touch(place)

    @rule(index=INDEX, seconds=SECONDS)
    def pace(self, index: int, seconds: float) -> None:
        self.place(index).standing.pace(seconds, self.now)
        self.touch(self.place(index))

    @rule(index=INDEX)
    def renew(self, index: int) -> None:
        self.place(index).standing.renew()
        self.touch(self.place(index))

    @rule(index=INDEX, enabled=st.booleans())
    def switch(self, index: int, enabled: bool) -> None:
        self.place(index).standing.enabled = enabled
        self.touch(self.place(index))

    @rule(index=INDEX, times=st.integers(1, 100))
    def touch_often(self, index: int, times: int) -> None:
        """Whatever is stale by then must not show."""
        for _ in range(times):
            self.touch(self.place(index))

    @rule(site=st.integers(0, 1), works=st.booleans())
    def site(self, site: int, works: bool) -> None:
        breaker = self.breakers[site]
        if works:
            breaker.worked()
        else:
            breaker.end(self.serial)
            breaker.failed(self.now, reached=False, others=lambda: False)
        self.touch_site(breaker)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @rule()
    def until_the_next_change(self) -> None:
        """Until the moment told nothing changes by itself, but what the order files anew when asked."""
        self.ready.wake(self.now, self.wall)
        change = self.ready.next_change()
        true = self.true_change()
        assert (math.inf if change is None else change) <= true + SOONEST
        if change is not None:
            assert change > self.now, "a moment that is over would have the pool look again and again"
            self.wait(change - self.now)

    def true_change(self) -> float:
        """When time next frees somebody, for any number of tokens, or has somebody trusted more."""
        moments = [math.inf]
        for place in self.places:
            if place.free(self.sort, self.now, self.wall):
                moments.append(place.standing.level_changes(self.now))
            if place.standing.in_flight >= place.standing.slots:
                continue  # whatever time does, a slot has to come back
            for tokens in (0, 10, 40, 50):
                obstacle = place.obstacle(self.sort, self.now, self.wall, tokens)
                if obstacle is not None and 0 < obstacle.seconds < math.inf:
                    moments.append(self.now + obstacle.seconds)
        return min(moments)

    @invariant()
    def all_that_are_free_are_found(self) -> None:
        if not hasattr(self, "ready"):
            return
        self.ready.wake(self.now, self.wall)
        free = {id(place) for place in self.places if place.free(self.sort, self.now, self.wall)}
        found: set[int] = set()
        while (place := self.ready.first(lambda one: id(one) not in found)) is not None:
            found.add(id(place))
        assert found == free

    @invariant()
    def stale_entries_do_not_pile_up(self) -> None:
        if hasattr(self, "ready"):
            assert len(self.ready._heap) <= STALE_SHARE * len(self.places) + 16


Kept.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestKept = Kept.TestCase


def ready_of(count: int) -> tuple[Ready, list[Place]]:
    places = [Place(account(str(n)), Breaker()) for n in range(count)]
    ready = Ready(SORT, places, RANK, 0.0, NOON)
    ready.wake(0.0, NOON)
    return ready, places


def test_who_does_not_fit_keeps_the_place() -> None:
    ready, places = ready_of(5)
    assert ready.first(lambda place: place is places[3]) is places[3]
    assert ready.first(lambda _: False) is None
    assert ready.first(lambda _: True) is places[0]


def test_the_first_is_found_by_a_look_at_few() -> None:
    ready, _ = ready_of(1_000)
    looked: list[Place] = []
    for turn in range(100):
        place = ready.first(lambda one: looked.append(one) or True)
        assert place is not None
        place.standing.in_flight, place.standing.turn = 1, float(turn)
        ready.touch(place, 0.0, NOON)
    assert len(looked) == 100


def test_draws_are_of_those_that_are_free() -> None:
    ready, places = ready_of(10)
    for place in places[:9]:
        place.standing.enabled = False
        ready.touch(place, 0.0, NOON)
    drawn = {ready.draw(random.Random(seed)) for seed in range(200)}
    assert drawn == {places[9], None}
    assert ready_of(0)[0].draw(random.Random(1)) is None


@pytest.mark.parametrize("tokens", [0, 30])
def test_it_wakes_for_tokens_that_nobody_was_refused_yet(tokens: int) -> None:
    place = Place(account(tokens_per_minute=50), Breaker())
    ready = Ready(SORT, [place], RANK, 0.0, NOON)
    place.standing.start("t2v", 0.0, NOON, tokens)
    ready.touch(place, 0.0, NOON)
    assert ready.next_change() == 60.0
