import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts.health import Standing
from gateway.accounts.selection import Place, choose, take_turn
from tests.unit.accounts.clocks import account


def places(*weights: float, slots: int = 8) -> list[Place]:
    made = [account(str(i), weight=weight, max_concurrency=slots) for i, weight in enumerate(weights)]
    return [Place(one, Standing(one)) for one in made]


def shares(among: list[Place], requests: int, at_once: int, rng: random.Random | None) -> Counter[str]:
    """Run requests of random or (with no `rng`) equal length, at most `at_once` together; count them by account."""
    counted: Counter[str] = Counter()
    running: list[Place] = []
    turn = 0.0
    for _ in range(requests):
        while len(running) >= at_once:
            running.pop(rng.randrange(len(running)) if rng else 0).standing.in_flight -= 1
        place = choose([one for one in among if one.standing.in_flight < one.standing.slots], 0.0)
        turn = take_turn(place.standing, turn)
        place.standing.in_flight += 1
        counted[place.account.name] += 1
        running.append(place)
    return counted


def test_the_least_loaded_for_its_slots_comes_first() -> None:
    small, large = places(1, slots=2)[0], places(1, slots=10)[0]
    small.standing.in_flight, large.standing.in_flight = 1, 4
    assert choose([small, large], 0.0) is large


def test_a_weight_stands_for_more_slots() -> None:
    light, heavy = places(1, 3)
    light.standing.in_flight, heavy.standing.in_flight = 2, 3
    assert choose([light, heavy], 0.0) is heavy


def test_among_equals_the_least_recently_used() -> None:
    among = places(1, 1, 1)
    turn, order = 0.0, []
    for _ in range(6):
        place = choose(among, 0.0)
        turn = take_turn(place.standing, turn)
        order.append(place.account.name)
    assert order == ["0", "1", "2", "0", "1", "2"]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(1, 80))
def test_equal_accounts_get_equal_shares_of_equal_requests(accounts: int, at_once: int) -> None:
    counted = shares(places(*[1] * accounts), 50 * accounts, min(at_once, 8 * accounts), None)
    assert all(45 <= counted[str(i)] <= 55 for i in range(accounts)), counted


@pytest.mark.parametrize(("accounts", "at_once"), [(2, 1), (2, 5), (3, 8), (10, 4), (10, 60)])
def test_equal_accounts_get_equal_shares_of_unequal_requests(accounts: int, at_once: int) -> None:
    counted = shares(places(*[1] * accounts), 1_000 * accounts, at_once, random.Random(1))
    assert all(900 <= counted[str(i)] <= 1_100 for i in range(accounts)), counted


@pytest.mark.parametrize("at_once", [1, 16, 40])
def test_shares_follow_weights_idle_and_loaded(at_once: int) -> None:
    counted = shares(places(3, 1, slots=40), 2_000, at_once, random.Random(1))
    assert 0.68 <= counted["0"] / 2_000 <= 0.82, counted


def test_who_was_away_is_not_flooded_with_the_turns_it_missed() -> None:
    among = places(1, 1)
    turn = 0.0
    for _ in range(100):
        turn = take_turn(among[0].standing, turn)
    back: Counter[str] = Counter()
    for _ in range(10):
        place = choose(among, 0.0)
        turn = take_turn(place.standing, turn)
        back[place.account.name] += 1
    assert back == {"0": 5, "1": 5}
