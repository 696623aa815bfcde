"""What an error means for the account it happened on: a pure reading of the error's class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from gateway.errors import (
    AccountError,
    AdapterContract,
    BalanceExhausted,
    Challenged,
    ClientLeft,
    ConcurrencyLimited,
    CredentialRejected,
    Fault,
    GatewayError,
    GenerationFailed,
    JobLost,
    ModelNotEnabled,
    QuotaExhausted,
    TaskExpired,
    UpstreamError,
    UpstreamUnreachable,
)

DAY: Final = 86_400.0
LONGEST_REST: Final = DAY
LONGEST_QUOTA: Final = 31 * DAY
UNKNOWN_RESET: Final = 3_600.0
"""Seconds after which an account is tried again whose upstream did not say when its quota or balance comes back."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The error says nothing about the account."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A failure of the upstream behind the account: counted, and no reason to rest the account."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """The site behind the account could not be reached: nothing was sent, and the account is not to blame."""


@dataclass(frozen=True, slots=True)
class Rest:
    """No more work for a while."""

    seconds: float | None
    """As the upstream asked; None: as long as the standing's own backoff says."""


@dataclass(frozen=True, slots=True)
class LowerSlots:
    """Less at once from now on."""

    seconds: float | None
    """A rest that the upstream asked for as well."""


@dataclass(frozen=True, slots=True)
class Exhaust:
    """No more work of a kind, or of all kinds, until a quota comes back."""

    scope: Literal["kind", "all"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Reject:
    """The credential is no good: off until an operator renews it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """The upstream wants to see a person: off until an operator looks."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelOff:
    """The account may not use this model."""


Verdict = Nothing | Strike | Unreached | Rest | LowerSlots | Exhaust | Reject | Park | ModelOff


def verdict(error: GatewayError) -> Verdict:
    """What the pool does about the account on which `error` happened."""
    if isinstance(error, AccountError):
        return _of_account(error)
    return _of_upstream(error) if isinstance(error, UpstreamError) else Nothing()


def _of_account(error: AccountError) -> Verdict:
    """Subclasses come before their bases. One with no case of its own, RateLimited first of all, rests the account."""
    match error:
        case ConcurrencyLimited():
            return LowerSlots(asked(error.retry_after, LONGEST_REST))
        case QuotaExhausted():
            return Exhaust("kind", asked(error.retry_after, LONGEST_QUOTA) or UNKNOWN_RESET)
        case BalanceExhausted():
            return Exhaust("all", asked(error.retry_after, LONGEST_QUOTA) or UNKNOWN_RESET)
        case CredentialRejected():
            return Reject(error.message)
        case Challenged():
            return Park(error.message)
        case ModelNotEnabled():
            return ModelOff()
        case _:
            return Rest(asked(error.retry_after, LONGEST_REST))


def _of_upstream(error: UpstreamError) -> Verdict:
    match error:
        case AdapterContract() | GenerationFailed() | TaskExpired() | JobLost():
            return Nothing()
        case UpstreamUnreachable():
            return Unreached()
        case _:
            return Strike()


def asked(seconds: float | None, longest: float) -> float | None:
    """What an upstream asked us to wait, between one second and `longest`; None where it said nothing usable."""
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(1.0, seconds), longest)


def spent_nothing(error: GatewayError) -> bool:
    """Whether the work that failed so was certainly not done, and takes nothing from a daily quota."""
    if error.sent == "no":
        return True
    return error.fault in (Fault.CALLER, Fault.ACCOUNT) and not isinstance(error, ClientLeft)
