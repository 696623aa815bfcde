"""Why there is no lease, as an error that says so in a sentence: a pure reading of what stands against each account."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from gateway.accounts.health import Obstacle, Why
from gateway.errors import AllResting, NoAccount, Unavailable

OPERATOR_NEEDED: Final = 60.0
"""Seconds to name in Retry-After where no time is known: somebody has to change something first."""
SLOT_SOON: Final = 1.0
"""Seconds to name in Retry-After where a slot will be free any moment."""

WORDS: Final[dict[Why, str]] = {
    "disabled": "disabled",
    "not_allowed": "not allowed to use it",
    "rejected": "with a rejected credential",
    "parked": "parked behind a challenge",
    "model_off": "not enabled for it",
    "exhausted": "out of quota",
    "resting": "resting",
    "unreachable": "behind an upstream that fails",
    "paced": "at the rate limit",
    "failing": "failing",
    "busy": "busy",
}


def refusal(model: str, obstacles: Sequence[Obstacle], *, ahead: int = 0, eta: float | None = None) -> Unavailable:
    """The error for `model` when each possible account has its obstacle. `obstacles` is not empty.

    `ahead`: how many wait before this one already; `eta`: seconds until it would have a slot, where that is known.
    429 where all that can come back rest, by rate or by quota; 503 where a slot is awaited, or an operator.
    """
    counted = Counter(obstacle.why for obstacle in obstacles)
    told = f"no account for {model!r}: " + ", ".join(
        f"{counted[why]} {word}" for why, word in WORDS.items() if why in counted
    )
    if counted["busy"]:
        waiting = f", {ahead} waiting before" if ahead else ""
        timed = min((obstacle.seconds for obstacle in obstacles if obstacle.why != "busy"), default=math.inf)
        slot = eta or SLOT_SOON
        return AllResting(told + waiting, retry_after=whole_seconds(slot if ahead else min(slot, timed)))
    soonest = min(obstacle.seconds for obstacle in obstacles)
    if math.isinf(soonest):
        return NoAccount(told, retry_after=OPERATOR_NEEDED)
    error = AllResting(f"{told}, next in {span(soonest)}", retry_after=whole_seconds(soonest))
    if counted["unreachable"] or counted["failing"]:
        return error
    if not counted["exhausted"]:
        error.status, error.code, error.type = 429, "upstream_rate_limited", "rate_limit_error"
    elif not counted["resting"] and not counted["paced"]:
        error.status, error.code, error.type = 429, "insufficient_quota", "insufficient_quota"
        error.resend_helps = False
    return error


def none_possible(model: str, upstream: str, *, only: str | None, tried: int) -> NoAccount:
    """The error for `model` when there is no account to look at: none configured, or each one was `tried`."""
    if only is not None and not tried:
        why = f"{only!r} is not an account of {upstream!r}"
    elif tried:
        why = f"{tried} of {upstream!r} tried, no other configured"
    else:
        why = f"none is configured for upstream {upstream!r}"
    return NoAccount(f"no account for {model!r}: {why}", retry_after=OPERATOR_NEEDED)


def whole_seconds(seconds: float) -> float:
    """Rounded up, so that who comes back then is not early; at least one."""
    return max(1.0, float(math.ceil(seconds)))


def span(seconds: float) -> str:
    """A time to wait, as people say it."""
    if seconds < 120:
        return f"{whole_seconds(seconds):.0f} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 7_200 else f"{math.ceil(seconds / 3_600)} h"
