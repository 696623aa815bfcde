"""Faults on demand: what goes wrong, for whom and how often, in one line of text.

The line is `name[;key=value…]`, like `rate_limit;retry_after=7` or `cut;after=3;kinds=t2t,t2i;rate=0.3`. Three keys go
with every name: `kinds` (only these kinds of work), `account` (only the account of that name) and `rate` (the share of
requests that suffer, 0 to 1). All but `strike` is pure.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from gateway.errors import (
    BalanceExhausted,
    Challenged,
    ContentRefused,
    CredentialRejected,
    GatewayError,
    InvalidRequest,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamUnreachable,
)
from gateway.sandbox.dice import dice
from gateway.types import Kind, Paced

HEADER = "x-sandbox-fault"
MAX_SECONDS = 86_400.0

KEYS: dict[str, tuple[str, ...]] = {
    "rate_limit": ("retry_after",),
    "daily_quota": (),
    "bad_key": (),
    "no_balance": (),
    "server_error": ("status",),
    "unreachable": (),
    "silence": ("seconds", "after"),
    "cut": ("after",),
    "garbage": ("after",),
    "refused": (),
    "challenge": (),
    "paced": ("seconds",),
    "slow_job": ("seconds",),
    "failed_job": (),
    "expired_job": (),
    "lost_job": (),
    "lost_create": (),
}
"""Every fault by name, with the keys it takes besides those that go with all."""
SHARED_KEYS = ("kinds", "account", "rate")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    retry_after: float = 5.0
    """Seconds a rate limit asks to wait."""
    status: int = 500
    """HTTP status of a server error, 500 to 599."""
    seconds: float = 60.0
    """How long a silence lasts, a slow job takes or a paced account has nothing left."""
    after: int = 0
    """Events that come through before it strikes."""
    kinds: frozenset[str] = frozenset()
    """Kinds of work it strikes; empty: all."""
    account: str = ""
    """Name of the account it strikes; empty: all."""
    rate: float = 1.0
    """Share of the requests it strikes, 0 to 1."""

    def strikes(self, *, kind: Kind | None, account: str, throw: object) -> bool:
        """Whether this request suffers; equal throws fall alike. A probe or a list of models is of kind None."""
        if self.kinds and kind not in self.kinds:
            return False
        if self.account and self.account != account:
            return False
        return self.rate >= 1.0 or dice(self.name, account, throw).random() < self.rate


def parse(text: str) -> Fault:
    """The fault that a line names. Raises InvalidRequest, naming what would be right."""
    name, *pairs = (part.strip() for part in text.split(";"))
    if name not in KEYS:
        raise _invalid(f"{name!r} is not a fault; known are {', '.join(KEYS)}")
    allowed = KEYS[name] + SHARED_KEYS
    fields: dict[str, Any] = {}
    for pair in filter(None, pairs):
        key, _, value = (side.strip() for side in pair.partition("="))
        if key not in allowed:
            raise _invalid(f"the fault {name!r} takes no {key!r}; it takes {', '.join(allowed)}")
        fields[key] = _value(key, value)
    return dataclasses.replace(Fault(name, after=2 if name == "cut" else 0), **fields)


def refusal(fault: Fault, *, now: float) -> GatewayError | None:
    """The error that the fault answers a request with before anything is made; None for one that shows otherwise.

    `now` is in Unix seconds.
    """
    match fault.name:
        case "rate_limit":
            return RateLimited(retry_after=fault.retry_after)
        case "daily_quota":
            return QuotaExhausted(retry_after=until_midnight(now))
        case "bad_key":
            return CredentialRejected()
        case "no_balance":
            return BalanceExhausted()
        case "server_error":
            return UpstreamFailed(detail=f"HTTP {fault.status}")
        case "unreachable":
            return UpstreamUnreachable(sent="no")
        case "refused":
            return ContentRefused(param="prompt")
        case "challenge":
            return Challenged(detail="a web page instead of an answer")
        case _:
            return None


def interruption(fault: Fault) -> GatewayError | None:
    """The error that breaks off an answer once `after` events came through; None where the fault breaks off none."""
    match fault.name:
        case "cut":
            return StreamInterrupted(sent="unknown")
        case "garbage":
            return UpstreamGarbled(detail="<<<not an event>>>")
        case _:
            return None


async def strike(fault: Fault | None, passed: int) -> None:
    """What the fault does to an answer once `passed` events came through: wait, break it off, or nothing."""
    if fault is None or fault.after != passed:
        return
    if fault.name == "silence":
        await asyncio.sleep(fault.seconds)
    if error := interruption(fault):
        raise error


def pace(fault: Fault | None, passed: int) -> Paced | None:
    """What an answer tells, once its first event came through, of an account that has nothing left after it."""
    return Paced(fault.seconds) if fault is not None and fault.name == "paced" and passed == 1 else None


def until_midnight(now: float) -> float:
    """Seconds from `now` (Unix seconds) to the next midnight in UTC, where daily quotas come back."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp() - now


def _value(key: str, value: str) -> Any:
    try:
        return _READERS[key](value)
    except ValueError:
        raise _invalid(f"{value!r} is no {key!r} of a fault: {_WANTED[key]}") from None


def _between(low: float, high: float, read: Callable[[str], float]) -> Callable[[str], float]:
    def reader(value: str) -> float:
        number = read(value)
        if not low <= number <= high:
            raise ValueError(value)
        return number

    return reader


def _kinds(value: str) -> frozenset[str]:
    kinds = frozenset(kind.strip() for kind in value.split(","))
    if not kinds <= frozenset(get_args(Kind)):
        raise ValueError(value)
    return kinds


def _name(value: str) -> str:
    if not value:
        raise ValueError(value)
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "retry_after": _between(0, MAX_SECONDS, float),
    "seconds": _between(0, MAX_SECONDS, float),
    "status": _between(500, 599, int),
    "after": _between(0, 1_000_000, int),
    "rate": _between(0, 1, float),
    "kinds": _kinds,
    "account": _name,
}
_WANTED = {
    "retry_after": f"seconds, 0 to {MAX_SECONDS:.0f}",
    "seconds": f"seconds, 0 to {MAX_SECONDS:.0f}",
    "status": "an HTTP status, 500 to 599",
    "after": "a number of events, 0 or more",
    "rate": "a share, 0 to 1",
    "kinds": f"a comma-separated choice of {', '.join(get_args(Kind))}",
    "account": "the name of an account",
}


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, param=HEADER)
