import pytest

from gateway.accounts.breaker import FAILED, LONGEST_OPEN, MOST_FAILED, TRIAL_SECONDS, UNREACHED, Breaker


def fail(breaker: Breaker, now: float = 100.0, *, reached: bool = True, others: bool = False) -> bool:
    return breaker.failed(now, reached=reached, others=lambda: others)


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    while not fail(breaker, now):
        pass
    return breaker


def test_a_site_that_cannot_be_reached_three_times_in_a_row_is_set_aside() -> None:
    breaker = Breaker()
    assert [fail(breaker, reached=False, others=True) for _ in range(UNREACHED)] == [False, False, True]
    assert (breaker.state(100.0), breaker.wait(100.0)) == ("open", 2.0)


def test_in_a_row_means_that_nothing_came_between() -> None:
    breaker = Breaker()
    for _ in range(20):
        for _ in range(UNREACHED - 1):
            assert not fail(breaker, reached=False, others=True)
        breaker.worked()
    for _ in range(20):
        assert not fail(breaker, reached=False, others=True)
        assert not fail(breaker, reached=True, others=True)
        breaker.worked()


def test_failures_count_where_no_account_is_left_that_did_not_fail() -> None:
    breaker = Breaker()
    assert [fail(breaker) for _ in range(FAILED)] == [False] * (FAILED - 1) + [True]
    breaker = Breaker()
    assert not any(fail(breaker, others=True) for _ in range(MOST_FAILED - 1))
    assert fail(breaker, others=True), "so many in a row are the site's, whoever is left"


def test_others_are_asked_about_only_when_it_matters() -> None:
    breaker, asked = Breaker(), []
    for _ in range(FAILED):
        breaker.failed(100.0, reached=True, others=lambda: bool(asked.append(1)) or True)
    assert len(asked) == 1


def test_half_open_it_lets_exactly_one_through() -> None:
    breaker = opened()
    assert [breaker.wait(now) for now in (100.0, 101.5, 102.0)] == [2.0, 0.5, 0.0]
    assert breaker.state(102.0) == "half_open"
    assert breaker.start(7)
    assert breaker.wait(102.0) == TRIAL_SECONDS
    assert breaker.wait(1_000.0) == TRIAL_SECONDS


def test_a_trial_that_shows_nothing_makes_room_for_another() -> None:
    breaker = opened()
    breaker.start(7)
    assert not breaker.end(6), "an older lease, from before"
    assert breaker.wait(102.0) == TRIAL_SECONDS
    assert breaker.end(7)
    assert (breaker.wait(102.0), breaker.state(102.0)) == (0.0, "half_open")


def test_a_trial_that_works_closes_it() -> None:
    breaker = opened()
    breaker.start(7)
    breaker.end(7)
    assert breaker.worked()
    assert (breaker.state(102.0), breaker.wait(102.0)) == ("closed", 0.0)
    assert not breaker.start(8)
    assert not breaker.worked()
    assert [fail(breaker) for _ in range(FAILED)][-2:] == [False, True]
    assert breaker.wait(100.0) == 2.0, "it begins with the shortest again"


def test_each_trial_that_fails_opens_it_for_twice_as_long() -> None:
    breaker, now, waits = opened(), 100.0, []
    for serial in range(8):
        waits.append(breaker.wait(now))
        now += breaker.wait(now)
        breaker.start(serial)
        breaker.end(serial)
        assert fail(breaker, now)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_OPEN, LONGEST_OPEN, LONGEST_OPEN]


def test_leases_from_before_neither_open_it_further_nor_end_the_trial() -> None:
    breaker = opened()
    assert not fail(breaker, 101.0)
    assert breaker.wait(101.0) == 1.0
    breaker.start(7)
    assert not fail(breaker, 102.5)
    assert breaker.wait(102.5) == TRIAL_SECONDS


@pytest.mark.parametrize("within", [0.5, 5.0])
def test_a_site_is_probed_once_for_each_opening(within: float) -> None:
    breaker = Breaker()
    assert not breaker.probe(100.0, within)
    breaker = opened()
    assert not breaker.probe(101.4 if within < 1 else 90.0, within)
    assert breaker.probe(101.9, within)
    assert not breaker.probe(101.9, within)
    breaker.extend(101.9)
    assert breaker.wait(101.9) == 4.0
    assert breaker.probe(105.8, within)


def test_a_probe_says_nothing_while_it_is_closed_or_a_trial_is_out() -> None:
    breaker = Breaker()
    assert not breaker.extend(100.0)
    breaker = opened()
    breaker.start(7)
    assert not breaker.extend(103.0)
