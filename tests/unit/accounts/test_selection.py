import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool, PoolRules
from gateway.accounts.ring import POINTS, Ring
from gateway.accounts.selection import SELECTIONS
from gateway.config import SelectionName
from gateway.types import Account
from tests.unit.accounts.clocks import Clocks, account

FAIR: list[SelectionName] = ["least_loaded", "weighted", "round_robin"]


def pool_of(accounts: Iterable[Account], selection: SelectionName = "least_loaded", time: Clocks | None = None) -> Pool:
    time = time or Clocks()
    rules = PoolRules(selection=selection)
    return Pool("up", list(accounts), rules=rules, clock=time.clock, wall=time.wall, rng=random.Random(1))


def weighing(*weights: float, slots: int = 8) -> list[Account]:
    return [account(str(i), weight=weight, max_concurrency=slots) for i, weight in enumerate(weights)]


def take(pool: Pool, **fields: Any) -> Lease:
    return pool.take(model="m", kind="t2t", **fields)


def shares(pool: Pool, requests: int, at_once: int, rng: random.Random | None = None) -> Counter[str]:
    """Run requests of random or (with no `rng`) equal length, at most `at_once` together; count them by account."""
    counted: Counter[str] = Counter()
    running: list[Lease] = []
    for number in range(requests):
        while len(running) >= at_once:
            running.pop(rng.randrange(len(running)) if rng else 0).release()
        lease = take(pool, owner=f"caller {number}")
        counted[lease.account.name] += 1
        running.append(lease)
    return counted


def test_every_selection_that_the_config_knows_is_one() -> None:
    assert set(SELECTIONS) == set(get_args(SelectionName))


# --- least loaded ---


def test_the_least_loaded_for_its_slots_comes_first() -> None:
    pool = pool_of([account("small", max_concurrency=2), account("large", max_concurrency=10)])
    take(pool, only="up/small")
    for _ in range(4):
        take(pool, only="up/large")
    assert take(pool).account.name == "large"


def test_a_weight_stands_for_more_slots() -> None:
    pool = pool_of(weighing(1, 3))
    for name, leases in (("0", 2), ("1", 3)):
        for _ in range(leases):
            take(pool, only=f"up/{name}")
    assert take(pool).account.name == "1"


def test_what_others_hold_counts_as_load() -> None:
    pool = pool_of(weighing(1, 1))
    take(pool, only="up/1")
    busy = pool._places.get("up/0")
    assert busy is not None
    busy.standing.elsewhere = 3
    pool._touch(busy)
    assert take(pool).account.name == "1"


def test_among_equals_the_least_recently_used() -> None:
    pool = pool_of(weighing(1, 1, 1))
    order = []
    for _ in range(6):
        lease = take(pool)
        order.append(lease.account.name)
        lease.release()
    assert order == ["0", "1", "2", "0", "1", "2"]


# --- shares ---


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(1, 80), st.sampled_from(FAIR))
def test_equal_accounts_get_equal_shares_of_equal_requests(
    accounts: int, at_once: int, selection: SelectionName
) -> None:
    counted = shares(pool_of(weighing(*[1] * accounts), selection), 50 * accounts, min(at_once, 8 * accounts))
    assert all(45 <= counted[str(i)] <= 55 for i in range(accounts)), counted


@pytest.mark.parametrize("selection", [*FAIR, "two_choices"])
@pytest.mark.parametrize("at_once", [1, 5, 16])
def test_four_good_accounts_share_within_a_tenth(selection: SelectionName, at_once: int) -> None:
    counted = shares(pool_of(weighing(1, 1, 1, 1), selection), 4_000, at_once, random.Random(1))
    assert all(900 <= counted[str(i)] <= 1_100 for i in range(4)), counted


@pytest.mark.parametrize(("accounts", "at_once"), [(2, 1), (2, 5), (3, 8), (10, 4), (10, 60)])
def test_equal_accounts_get_equal_shares_of_unequal_requests(accounts: int, at_once: int) -> None:
    counted = shares(pool_of(weighing(*[1] * accounts)), 1_000 * accounts, at_once, random.Random(1))
    assert all(900 <= counted[str(i)] <= 1_100 for i in range(accounts)), counted


@pytest.mark.parametrize("selection", ["least_loaded", "weighted"])
@pytest.mark.parametrize("at_once", [1, 16, 40])
def test_shares_follow_weights_idle_and_loaded(at_once: int, selection: SelectionName) -> None:
    counted = shares(pool_of(weighing(3, 1, slots=40), selection), 2_000, at_once, random.Random(1))
    assert 0.68 <= counted["0"] / 2_000 <= 0.82, counted


def test_round_robin_knows_no_weights() -> None:
    counted = shares(pool_of(weighing(3, 1), "round_robin"), 100, 1)
    assert counted == {"0": 50, "1": 50}


@pytest.mark.parametrize("selection", FAIR)
def test_who_was_away_is_not_flooded_with_the_turns_it_missed(selection: SelectionName) -> None:
    pool = pool_of(weighing(1, 1), selection)
    for _ in range(100):
        take(pool, only="up/0").release()
    assert shares(pool, 10, 1) == {"0": 5, "1": 5}


# --- two choices ---


def test_of_two_at_random_the_less_loaded() -> None:
    pool = pool_of(weighing(*[1] * 10, slots=100), "two_choices")
    counted = Counter(take(pool).account.name for _ in range(500))
    assert len(counted) == 10
    assert max(counted.values()) - min(counted.values()) <= 8, counted


def test_two_choices_take_any_that_is_free_when_few_are() -> None:
    pool = pool_of(weighing(*[1] * 50, slots=1), "two_choices")
    assert len({take(pool).account.name for _ in range(50)}) == 50
    with pytest.raises(errors.AllResting):
        take(pool)


# --- sticky ---


def test_sticky_stays_and_moves_only_when_it_must() -> None:
    pool = pool_of(weighing(*[1] * 8, slots=2), "sticky")
    home = {f"caller {n}": take(pool, owner=f"caller {n}") for n in range(40) if n % 5 == 0}
    homes = {owner: lease.account.name for owner, lease in home.items()}
    for lease in home.values():
        lease.release()
    for _ in range(3):
        for owner, name in homes.items():
            lease = take(pool, owner=owner)
            assert lease.account.name == name
            lease.release()
    owner, name = next(iter(homes.items()))
    pool.disable(name)
    away = {take(pool, owner=owner).account.name for _ in range(2)}
    assert len(away) == 1, "away from home, too, it stays"
    assert away != {name}
    pool.enable(name)
    assert take(pool, owner=owner).account.name == name


def test_sticky_callers_spread() -> None:
    pool = pool_of(weighing(*[1] * 4, slots=1_000), "sticky")
    counted = shares(pool, 2_000, 1)
    assert all(250 <= counted[str(i)] <= 900 for i in range(4)), counted


def test_without_a_caller_sticky_is_least_loaded() -> None:
    pool = pool_of(weighing(1, 1, 1), "sticky")
    assert {take(pool).account.name for _ in range(3)} == {"0", "1", "2"}


def test_an_account_more_moves_few_callers() -> None:
    owners = [f"caller {n}" for n in range(500)]
    few, more = (pool_of(weighing(*[1] * count, slots=1_000), "sticky") for count in (9, 10))
    moved = [owner for owner in owners if take(few, owner=owner).account.name != take(more, owner=owner).account.name]
    assert 10 <= len(moved) <= 120
    assert {take(more, owner=owner).account.name for owner in moved} == {"9"}


def test_a_ring_has_every_account_many_times() -> None:
    pool = pool_of(weighing(1, 1, 1))
    ring = Ring(list(pool._places))
    walked = Counter(place.account.name for place in ring.walk("somebody"))
    assert sum(walked.values()) == 64
    assert all(0 < count <= POINTS for count in walked.values())
    assert Ring().walk("somebody") == []


# --- all of them ---


@pytest.mark.parametrize("selection", get_args(SelectionName))
def test_a_higher_priority_comes_before_all_else(selection: SelectionName) -> None:
    accounts = [account(str(n), priority=n // 3, max_concurrency=2) for n in range(9)]
    pool = pool_of(accounts, selection)
    order = [int(take(pool, owner=f"caller {n}").account.name) // 3 for n in range(18)]
    assert order == [2] * 6 + [1] * 6 + [0] * 6


@pytest.mark.parametrize("selection", get_args(SelectionName))
def test_who_failed_lately_comes_after_those_who_did_not(selection: SelectionName) -> None:
    time = Clocks()
    pool = pool_of([account("good", max_concurrency=2), account("bad", priority=9)], selection, time)
    take(pool, only="up/bad").release(errors.UpstreamFailed())
    assert [take(pool, owner="caller").account.name for _ in range(3)] == ["good", "good", "bad"]
    time.pass_by(5)
    assert take(pool, owner="caller").account.name == "bad"


@pytest.mark.parametrize("selection", get_args(SelectionName))
def test_who_failed_over_and_over_serves_where_nobody_better_could(selection: SelectionName) -> None:
    time = Clocks()
    pool = pool_of([account("good", max_concurrency=1), account("bad", priority=9)], selection, time)
    for _ in range(3):
        take(pool, only="up/bad").release(errors.UpstreamFailed())
    held = take(pool)
    assert held.account.name == "good"
    with pytest.raises(errors.AllResting, match="1 failing, 1 busy"):
        take(pool)
    held.release(errors.RateLimited(retry_after=30))
    assert take(pool, owner="caller").account.name == "bad"
