"""When a task is looked at again: pure."""

from __future__ import annotations

import random

from gateway.upstreams.base import Upstream

OLD_SECONDS = 120.0
"""A job of this age is looked at as seldom as its upstream wants it for old ones."""
JITTER = 0.1
BACKOFF_MAX = 60.0
QUEUE_SECONDS = 0.5
"""A task that waits for an account looks again no sooner."""


_DICE = random.Random()


def interval(upstream: Upstream | None, default: float, age: float, dice: random.Random = _DICE) -> float:
    """Seconds to the next look at a job that is `age` seconds old. Longer as it grows old, and never quite the same."""
    young = (upstream.poll_interval if upstream else None) or default
    old = max(young, (upstream.poll_interval_old if upstream else None) or young)
    seconds = young + (old - young) * min(1.0, max(0.0, age) / OLD_SECONDS)
    return seconds * dice.uniform(1 - JITTER, 1 + JITTER)


def backoff(usual: float, faults: int, asked: float | None = None) -> float:
    """Seconds after the `faults`th failed look in a row; what the upstream asks for counts if it is longer."""
    return max(asked or 0.0, min(BACKOFF_MAX, usual * 2.0 ** min(faults, 16)))
