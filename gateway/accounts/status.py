"""How an account stands, for people: what GET /api/status shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.accounts.health import GROUP_OF, Standing
from gateway.types import Account, Kind

Status = Literal["OK", "RATE_LIMITED", "EXHAUSTED", "INVALID", "DISABLED"]


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
    used_today: Mapping[Kind, int]
    """Requests of this UTC day by group of kinds, named by its first: `t2v` all videos, `t2i` all images."""
    reason: str | None
    exhausted: Mapping[Kind, float] = field(default_factory=dict)
    """Kinds without quota, and until when in Unix seconds."""
    strikes: int = 0
    """Failures of its upstream since its last success."""


def status_of(account: Account, standing: Standing, now: float, wall: float) -> AccountStatus:
    """`now` monotonic, `wall` Unix seconds."""
    exhausted = {kind: until for kind, group in GROUP_OF.items() if (until := standing.quota_until(group, wall)) > wall}
    status, reset_at, reason = _worst(standing, exhausted, now, wall)
    return AccountStatus(
        id=account.id,
        name=account.name,
        upstream=account.upstream,
        status=status,
        reset_at=reset_at,
        in_flight=standing.in_flight,
        slots=standing.slots,
        used_today={group: used for group, used in standing.used_today(wall).items() if used},
        reason=reason,
        exhausted=exhausted,
        strikes=standing.strikes,
    )


def _worst(
    standing: Standing, exhausted: Mapping[Kind, float], now: float, wall: float
) -> tuple[Status, float | None, str | None]:
    if not standing.enabled:
        return "DISABLED", None, "disabled by the operator"
    if (why := standing.rejected or standing.parked) is not None:
        return "INVALID", None, why
    if exhausted:
        what = "anything" if len(exhausted) == len(GROUP_OF) else ", ".join(exhausted)
        return "EXHAUSTED", min(exhausted.values()), f"no quota left for {what}"
    rest = max(standing.rest_until, standing.window_until()) - now
    if rest > 0:
        limited = standing.rest_until > now
        return (
            "RATE_LIMITED",
            wall + rest,
            "the upstream asked to slow down" if limited else "its requests per minute are used up",
        )
    return "OK", None, None
