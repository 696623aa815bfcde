"""How an account stands, for people: what GET /api/status shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.accounts.health import Level
from gateway.accounts.place import Place
from gateway.accounts.quota import GROUP_OF
from gateway.types import Kind

Status = Literal["OK", "RATE_LIMITED", "EXHAUSTED", "INVALID", "DISABLED"]
Trust = Literal["trusted", "doubted", "failing"]
TRUST: Final[Mapping[Level, Trust]] = {0: "trusted", 1: "doubted", 2: "failing"}


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account, without its secrets."""

    id: str
    name: str
    upstream: str
    status: Status
    """OK: it serves everything that it may. EXHAUSTED: no quota for some kind; the others go on."""
    reset_at: float | None
    """Unix seconds at which the status gets better by itself; None where it is OK or an operator has to act."""
    in_flight: int
    slots: int
    """Requests at once now: fewer than the limit after a refusal, more with every success."""
    used_today: Mapping[Kind, int]
    """Requests of this quota day by group of kinds, named by its first: `t2v` all videos, `t2i` all images."""
    reason: str | None
    exhausted: Mapping[Kind, float] = field(default_factory=dict)
    """Kinds without quota, and until when in Unix seconds."""
    strikes: int = 0
    """Failures of its upstream since its last success."""
    trust: Trust = "trusted"
    """Whether it failed lately: doubted, it serves where nobody better is free; failing, where nobody better could."""
    priority: int = 0
    tags: tuple[str, ...] = ()
    label: str = ""


def status_of(place: Place, now: float, wall: float) -> AccountStatus:
    """`now` monotonic, `wall` Unix seconds."""
    account, standing = place.account, place.standing
    exhausted = {kind: until for kind, group in GROUP_OF.items() if (until := standing.quota_until(group, wall)) > wall}
    status, reset_at, reason = _worst(place, exhausted, now, wall)
    return AccountStatus(
        id=account.id,
        name=account.name,
        upstream=account.upstream,
        status=status,
        reset_at=reset_at,
        in_flight=standing.in_flight,
        slots=standing.slots,
        used_today={group: used for group, used in standing.quota.today(wall).items() if used},
        reason=reason,
        exhausted=exhausted,
        strikes=standing.strikes,
        trust=TRUST[standing.level(now)],
        priority=account.priority,
        tags=tuple(sorted(account.tags)),
        label=account.label,
    )


def _worst(
    place: Place, exhausted: Mapping[Kind, float], now: float, wall: float
) -> tuple[Status, float | None, str | None]:
    standing = place.standing
    if standing.unusable:
        return "INVALID", None, standing.unusable
    if not standing.enabled:
        return "DISABLED", None, "disabled by the operator"
    if (why := standing.rejected or standing.parked) is not None:
        return "INVALID", None, why
    if exhausted:
        what = "anything" if len(exhausted) == len(GROUP_OF) else ", ".join(exhausted)
        return "EXHAUSTED", min(exhausted.values()), f"no quota left for {what}"
    rest, pace, site = standing.rest_until - now, standing.pace_until(now) - now, place.breaker.wait(now)
    if rest > 0:
        return "RATE_LIMITED", wall + max(rest, pace), "the upstream asked to slow down"
    if pace > 0:
        return "RATE_LIMITED", wall + pace, "its requests or tokens per minute are used up"
    return "OK", None, "its upstream fails; it is tried again shortly" if site > 0 else None
