from gateway.accounts.budget import EARNED_BY_TIME, RESERVE, Budget
from tests.unit.accounts.clocks import Clocks


def spent(budget: Budget) -> int:
    """All that is to be had now."""
    count = 0
    while budget.spend():
        count += 1
    return count


def test_after_a_quiet_time_a_reserve_may_be_spent_at_once() -> None:
    assert spent(Budget(0.2, Clocks().clock)) == RESERVE


def test_retries_are_a_share_of_requests() -> None:
    budget = Budget(0.2, Clocks().clock)
    spent(budget)
    for _ in range(100):
        budget.earn()
    assert spent(budget) in (19, 20)


def test_time_earns_a_few_and_never_more_than_the_reserve() -> None:
    time = Clocks()
    budget = Budget(0.2, time.clock)
    spent(budget)
    time.pass_by(10)
    assert spent(budget) == 10 * EARNED_BY_TIME
    time.pass_by(1e6)
    for _ in range(1_000):
        budget.earn()
    assert spent(budget) == RESERVE


def test_a_clock_that_does_not_move_on_takes_nothing_away() -> None:
    time = Clocks()
    budget = Budget(0.2, time.clock)
    time.now -= 50
    assert spent(budget) == RESERVE


def test_a_share_of_nothing_allows_none() -> None:
    assert spent(Budget(0.0, Clocks().clock)) == 0


def test_under_failures_all_the_time_attempts_stay_within_the_share() -> None:
    time = Clocks()
    budget, requests, attempts = Budget(0.2, time.clock), 10_000, 0
    for _ in range(requests):
        time.pass_by(0.01)
        budget.earn()
        attempts += 1
        for _ in range(3):
            if not budget.spend():
                break
            attempts += 1
    assert attempts <= 1.2 * requests + RESERVE + 100 * EARNED_BY_TIME
    assert attempts >= 1.19 * requests
