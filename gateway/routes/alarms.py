"""How the upstreams stand, and what of it an operator should look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gateway.accounts.breaker import BreakerState
from gateway.accounts.pool import Pool
from gateway.accounts.status import AccountStatus, Status
from gateway.types import Kind

AlarmCode = Literal["redis_away", "upstream_breaker_open", "account_needs_operator", "no_account_available"]

KINDS = len(get_args(Kind))
WORDS: dict[Status, str] = {
    "OK": "ok",
    "RATE_LIMITED": "rate limited",
    "EXHAUSTED": "exhausted",
    "INVALID": "set aside",
    "DISABLED": "disabled",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    code: AlarmCode
    message: str
    """What it is, and what to do."""


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """The pool of one upstream, as it is now."""

    name: str
    accounts: Sequence[AccountStatus]
    waiting: int
    """Requests that wait for a slot."""
    leased: int
    """Leases that there ever were."""
    refused: int
    """Requests that got none."""
    breaker: BreakerState
    shared: bool | None
    """Whether limits hold over all processes now; None where nothing is to share them."""


def states(pools: Mapping[str, Pool]) -> list[UpstreamState]:
    return [
        UpstreamState(name, pool.status(), pool.waiting, pool.leased, pool.refused, pool.breaker_state, pool.shared)
        for name, pool in pools.items()
    ]


def alarms(upstreams: Iterable[UpstreamState], now: float) -> list[Alarm]:
    """The most far-reaching first. `now`: Unix seconds."""
    upstreams = list(upstreams)
    found = []
    if any(upstream.shared is False for upstream in upstreams):
        said = "Redis cannot be reached: limits of accounts hold for each process by itself until it is back"
        found.append(Alarm("redis_away", said))
    for upstream in upstreams:
        found += _of(upstream, now)
    return found


def available(status: AccountStatus) -> bool:
    """Whether it serves some kind of work now."""
    return status.status == "OK" or (status.status == "EXHAUSTED" and len(status.exhausted) < KINDS)


def _of(upstream: UpstreamState, now: float) -> Iterator[Alarm]:
    if upstream.breaker != "closed":
        said = f"{upstream.name!r} fails, and is asked now and then only, to see whether it is back"
        yield Alarm("upstream_breaker_open", said)
    for status in upstream.accounts:
        if status.status == "INVALID":
            why = (status.reason or "").rstrip(".")
            said = (
                f"the account {status.id!r} is set aside: {why}. See to it, then: mediagate accounts renew {status.id}"
            )
            yield Alarm("account_needs_operator", said)
    if upstream.accounts and not any(map(available, upstream.accounts)):
        yield Alarm("no_account_available", _none(upstream, now))


def _none(upstream: UpstreamState, now: float) -> str:
    counted = Counter(status.status for status in upstream.accounts)
    how = ", ".join(f"{counted[status]} {word}" for status, word in WORDS.items() if counted[status])
    back = min((status.reset_at for status in upstream.accounts if status.reset_at is not None), default=None)
    when = "somebody has to act" if back is None else f"the first is back in {max(1, math.ceil(back - now))} s"
    return f"none of the {len(upstream.accounts)} accounts of {upstream.name!r} can serve: {how}; {when}"
