"""When an account could serve, found out once a moment and not for every request."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.accounts.pool import Pool
from gateway.catalog.waits import FREE_SECONDS, RESTING_SECONDS, Waits
from gateway.errors import RateLimited
from tests.unit.scripted import accounts_of

NO_TAGS: frozenset[str] = frozenset()


class Counted(Pool):
    """Counts how often all its accounts are looked at."""

    looks = 0

    def could(self, **asked: Any) -> bool:
        self.looks += 1
        return super().could(**asked)

    def soonest(self, **asked: Any) -> float | None:
        self.looks += 1
        return super().soonest(**asked)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def rig(*names: str) -> tuple[Counted, Waits, Clock]:
    clock = Clock()
    pool = Counted("up", accounts_of("up", *names), clock=clock, wall=clock)
    return pool, Waits({"up": pool}, clock=clock), clock


def rest(pool: Pool, seconds: float) -> None:
    for one in pool.status():
        pool.blame(one.id, RateLimited(retry_after=seconds), model="m", kind="t2t")


def test_that_all_rest_is_found_out_once_a_moment() -> None:
    pool, waits, clock = rig("a", "b")
    rest(pool, 500)
    first = waits("up", "m", "t2t", NO_TAGS)
    assert first == pytest.approx(500)
    looks = pool.looks
    clock.now += RESTING_SECONDS / 2
    assert waits("up", "m", "t2t", NO_TAGS) == pytest.approx(500 - RESTING_SECONDS / 2)
    assert pool.looks == looks
    clock.now += RESTING_SECONDS
    waits("up", "m", "t2t", NO_TAGS)
    assert pool.looks > looks


def test_a_rest_that_ends_sooner_is_not_remembered_longer() -> None:
    pool, waits, clock = rig("a")
    rest(pool, 1.0)
    clock.now += 0.75
    assert waits("up", "m", "t2t", NO_TAGS) == pytest.approx(0.25)
    clock.now += 0.25
    assert waits("up", "m", "t2t", NO_TAGS) == 0


def test_that_somebody_is_free_is_remembered_for_less() -> None:
    pool, waits, clock = rig("a")
    assert waits("up", "m", "t2t", NO_TAGS) == 0
    looks = pool.looks
    assert waits("up", "m", "t2t", NO_TAGS) == 0
    assert pool.looks == looks
    rest(pool, 500)
    clock.now += FREE_SECONDS
    assert waits("up", "m", "t2t", NO_TAGS) == pytest.approx(500 - FREE_SECONDS)


def test_each_kind_and_each_tag_is_asked_for_itself_and_another_pool_anew() -> None:
    pool, waits, clock = rig("a")
    assert waits("up", "m", "t2t", NO_TAGS) == 0
    assert waits("up", "m", "t2t", frozenset({"eu"})) is None
    assert waits("gone", "m", "t2t", NO_TAGS) is None
    pools: dict[str, Pool] = {"up": pool}
    changing = Waits(pools, clock=clock)
    assert changing("up", "m", "t2t", NO_TAGS) == 0
    pools["up"] = Counted("up", (), clock=clock, wall=clock)
    assert changing("up", "m", "t2t", NO_TAGS) is None
