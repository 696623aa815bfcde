from typing import Any

import pytest

from gateway.accounts.status import AccountStatus
from gateway.routes.alarms import KINDS, Alarm, UpstreamState, alarms
from gateway.types import Kind

NOW = 1_800_000_000.0


def account(name: str = "a", status: Any = "OK", **fields: Any) -> AccountStatus:
    base: dict[str, Any] = {"reset_at": None, "in_flight": 0, "slots": 8, "used_today": {}, "reason": None}
    return AccountStatus(id=f"up/{name}", name=name, upstream="up", status=status, **(base | fields))


def upstream(*accounts: AccountStatus, breaker: Any = "closed", shared: bool | None = None) -> UpstreamState:
    return UpstreamState("up", accounts, waiting=0, leased=0, refused=0, breaker=breaker, shared=shared)


def told(*upstreams: UpstreamState) -> list[str]:
    return [alarm.code for alarm in alarms(upstreams, NOW)]


def test_where_all_is_well_nothing_is_told() -> None:
    limited = account("b", "RATE_LIMITED", reset_at=NOW + 3)
    assert alarms([upstream(account(), shared=True), upstream(account(), limited, account("c", "DISABLED"))], NOW) == []


def test_redis_away_is_told_once_for_all_upstreams() -> None:
    [alarm] = alarms([upstream(account(), shared=False), upstream(account(), shared=False)], NOW)
    said = "Redis cannot be reached: limits of accounts hold for each process by itself until it is back"
    assert alarm == Alarm("redis_away", said)


def test_no_redis_at_all_is_none_that_is_away() -> None:
    assert told(upstream(account(), shared=None)) == []


@pytest.mark.parametrize("state", ["open", "half_open"])
def test_a_breaker_that_is_not_closed_is_told(state: str) -> None:
    [alarm] = alarms([upstream(account(), breaker=state)], NOW)
    assert alarm.code == "upstream_breaker_open"
    assert "'up' fails" in alarm.message


def test_each_account_that_waits_for_somebody_is_told_with_the_reason() -> None:
    found = alarms([upstream(account("a"), account("b", "INVALID", reason="It was rejected."))], NOW)
    said = "the account 'up/b' is set aside: It was rejected. See to it, then: mediagate accounts renew up/b"
    assert found == [Alarm("account_needs_operator", said)]


def test_an_upstream_that_can_serve_nothing_says_until_when() -> None:
    accounts = [
        account("a", "RATE_LIMITED", reset_at=NOW + 60),
        account("b", "RATE_LIMITED", reset_at=NOW + 40.2),
        account("c", "DISABLED"),
    ]
    said = "none of the 3 accounts of 'up' can serve: 2 rate limited, 1 disabled; the first is back in 41 s"
    assert alarms([upstream(*accounts)], NOW) == [Alarm("no_account_available", said)]
    assert alarms([upstream(account("a", "DISABLED"))], NOW)[0].message.endswith("1 disabled; somebody has to act")


def test_a_quota_that_is_spent_for_some_kinds_leaves_others() -> None:
    some: dict[Kind, float] = {"t2v": NOW + 60}
    every = {str(number): NOW + 60 for number in range(KINDS)}
    assert told(upstream(account("a", "EXHAUSTED", reset_at=NOW + 60, exhausted=some))) == []
    assert told(upstream(account("a", "EXHAUSTED", reset_at=NOW + 60, exhausted=every))) == ["no_account_available"]


def test_an_upstream_without_accounts_has_none_to_lack() -> None:
    assert told(upstream()) == []


def test_what_concerns_most_comes_first() -> None:
    broken = upstream(account("a", "INVALID", reason="parked"), breaker="open", shared=False)
    assert told(broken) == ["redis_away", "upstream_breaker_open", "account_needs_operator", "no_account_available"]
