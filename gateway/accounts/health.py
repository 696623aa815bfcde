"""The live record of one account: what it does now, and why it may not do more.

Rests run on the monotonic clock, quotas on the wall clock: a quota comes back at a time of day, and a stepped clock
must not end a rest. Both times are passed in. Several kinds share one quota where providers count them as one: all
videos, all images; such a group goes by the name of its first kind.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final, Literal, NamedTuple, assert_never, get_args

from gateway.accounts.verdict import (
    DAY,
    Exhaust,
    LowerSlots,
    ModelOff,
    Nothing,
    Park,
    Reject,
    Rest,
    Strike,
    Verdict,
)
from gateway.types import Account, Kind

GROUPS: Final[tuple[tuple[Kind, ...], ...]] = (("t2v", "i2v", "flf2v", "ref2v"), ("t2i", "i2i"))
"""Kinds that share a quota. Every other kind has one of its own."""
GROUP_OF: Final[dict[Kind, Kind]] = {kind: kind for kind in get_args(Kind)} | {
    kind: group[0] for group in GROUPS for kind in group
}

FIRST_REST: Final = 5.0
MOST_BACKOFF: Final = 60.0
MINUTE: Final = 60.0
CALM: Final = 10
"""Successes for each slot left before a lowered account gets one slot back."""
MOST_MODELS_OFF: Final = 1_000
LEAST_WEIGHT: Final = 1e-6

Why = Literal["disabled", "not_allowed", "rejected", "parked", "model_off", "exhausted", "resting", "busy"]


class Obstacle(NamedTuple):
    """Why an account cannot take some work now."""

    why: Why
    seconds: float
    """Until time alone takes it away; 0 for `busy`, infinite where an operator has to."""


class Standing:
    """What is known of one account. Changed only by its pool."""

    __slots__ = (
        "_calm",
        "_day",
        "_day_began",
        "_limited_at",
        "_limits",
        "_most_slots",
        "_renewed_at",
        "enabled",
        "exhausted",
        "in_flight",
        "not_models",
        "off_models",
        "parked",
        "quota",
        "rejected",
        "rest_until",
        "slots",
        "started",
        "strikes",
        "struck_until",
        "turn",
        "used",
        "weight",
        "window",
    )

    def __init__(self, account: Account) -> None:
        self.in_flight = 0
        self.started = 0
        """How many leases there ever were; the newest lease has this number."""
        self.turn = 0.0
        """When its turn comes, in the pool's own count of turns (`selection`)."""
        self.used: dict[Kind, int] = {}
        """Leases of this UTC day by group of kinds, those that spent nothing taken out again."""
        self._day = self._day_began = 0
        self.window: deque[float] | None = None
        """Monotonic times of the last requests, where there is a limit per minute: as many as the limit."""
        self._renewed_at = self._limited_at = 0
        self._clear()
        self.bind(account)

    def bind(self, account: Account) -> None:
        """Take the limits of `account`. What is in flight and what was used stays counted."""
        self.enabled = account.enabled
        self.not_models = account.not_models
        self._most_slots = self.slots = max(1, account.max_concurrency)
        self.weight = max(account.weight, LEAST_WEIGHT)
        rpm = account.requests_per_minute
        self.window = deque(self.window or (), maxlen=rpm) if rpm else None
        self.quota: dict[Kind, int] = {}
        """Leases a day by group of kinds; where several of its kinds name a number, the lowest."""
        for kind, most in account.daily_quota.items():
            group = GROUP_OF[kind]
            self.quota[group] = min(most, self.quota.get(group, most))

    def renew(self) -> None:
        """Forget every fault; errors of leases that are still out say nothing about the account any more."""
        self._renewed_at = self.started
        self.slots = self._most_slots
        self._clear()

    def _clear(self) -> None:
        self.strikes = 0
        """Failures of its upstream since the last success."""
        self.struck_until = 0.0
        """Monotonic: until then it serves only where nobody else can."""
        self.rest_until = 0.0
        """Monotonic."""
        self.exhausted: dict[Kind, float] = {}
        """Unix time until which there is no quota, by group of kinds."""
        self.rejected: str | None = None
        self.parked: str | None = None
        self.off_models: set[str] = set()
        self._limits = self._calm = 0

    # --- may it? ---

    def calm(self, now: float) -> bool:
        """Whether nothing failed here lately."""
        return self.struck_until <= now

    def free(self, model: str, group: Kind, now: float, wall: float) -> bool:
        """Whether it can take this work now: the same as no `obstacle`, told as fast as can be."""
        return (
            self.in_flight < self.slots
            and self.rest_until <= now
            and self.enabled
            and self.rejected is None
            and self.parked is None
            and model not in self.off_models
            and model not in self.not_models
            and (self.window is None or self.window_until() <= now)
            and ((not self.exhausted and not self.quota) or self.quota_until(group, wall) <= wall)
        )

    def obstacle(self, model: str, group: Kind, now: float, wall: float) -> Obstacle | None:
        """What stands against this work, the most lasting thing first; None where nothing does."""
        if (lasting := self._lasting(model)) is not None:
            return Obstacle(lasting, float("inf"))
        quota = self.quota_until(group, wall) - wall
        rest = max(self.rest_until, self.window_until()) - now
        if quota > 0:
            return Obstacle("exhausted", max(quota, rest))
        if rest > 0:
            return Obstacle("resting", rest)
        return Obstacle("busy", 0.0) if self.in_flight >= self.slots else None

    def _lasting(self, model: str) -> Why | None:
        if not self.enabled:
            return "disabled"
        if model in self.not_models:
            return "not_allowed"
        if self.rejected is not None:
            return "rejected"
        if self.parked is not None:
            return "parked"
        return "model_off" if model in self.off_models else None

    def window_until(self) -> float:
        """When the limit per minute lets the next request through; monotonic, 0 where it would now."""
        window = self.window
        return window[0] + MINUTE if window and len(window) == window.maxlen else 0.0

    def quota_until(self, group: Kind, wall: float) -> float:
        """When there is quota again, in Unix time; not later than `wall` where there is some now."""
        until = self.exhausted.get(group, 0.0)
        most = self.quota.get(group)
        if most is not None and self.used_today(wall).get(group, 0) >= most:
            until = max(until, (wall // DAY + 1) * DAY)
        return until

    def used_today(self, wall: float) -> dict[Kind, int]:
        """Leases of this UTC day, by group of kinds."""
        day = int(wall // DAY)
        if day != self._day:
            self._day, self._day_began = day, self.started
            self.used.clear()
        return self.used

    # --- what happens to it ---

    def start(self, group: Kind, now: float, wall: float) -> int:
        """Take a slot. Returns the number of the lease."""
        used = self.used_today(wall)
        used[group] = used.get(group, 0) + 1
        self.in_flight += 1
        self.started += 1
        if self.window is not None:
            self.window.append(now)
        if self.exhausted:
            self.exhausted.pop(group, None)
        return self.started

    def refund(self, group: Kind, number: int) -> None:
        """Take lease `number` out of today's count: nothing was spent."""
        if number > self._day_began and self.used.get(group):
            self.used[group] -= 1

    def succeed(self, number: int) -> None:
        """Lease `number` ended well. One from before a rest does not say that the rest is no longer needed."""
        self.strikes, self.struck_until = 0, 0.0
        if number > self._limited_at:
            self._limits = 0
        if self.slots < self._most_slots:
            self._calm += 1
            if self._calm >= CALM * self.slots:
                self.slots, self._calm = self.slots + 1, 0

    def apply(
        self, verdict: Verdict, *, model: str, group: Kind, number: int, now: float, wall: float, rng: random.Random
    ) -> None:
        """Do what a verdict on lease `number` says, its slot already given back."""
        if number <= self._renewed_at:
            return
        match verdict:
            case Nothing():
                pass
            case Strike():
                self.strikes += 1
                self.struck_until = now + min(MOST_BACKOFF, FIRST_REST * 2.0 ** min(self.strikes - 1, 10))
            case Rest(seconds):
                self._rest(seconds, number, now, rng)
            case LowerSlots(seconds):
                self._lower(seconds, number, now, rng)
            case Exhaust(scope, seconds):
                self._exhaust((group,) if scope == "kind" else tuple(set(GROUP_OF.values())), wall + seconds)
            case Reject(reason):
                self.rejected = reason
            case Park(reason):
                self.parked = reason
            case ModelOff():
                self._model_off(model)
            case _:
                assert_never(verdict)

    def _rest(self, seconds: float | None, number: int, now: float, rng: random.Random) -> None:
        """A longer rest extends, a shorter never shortens. Several errors of one burst back off once."""
        if number > self._limited_at:
            self._limits += 1
            self._limited_at = self.started
        if seconds is None:
            seconds = min(MOST_BACKOFF, FIRST_REST * 2.0 ** min(self._limits - 1, 10)) * rng.uniform(0.8, 1.0)
        self.rest_until = max(self.rest_until, now + seconds)

    def _lower(self, seconds: float | None, number: int, now: float, rng: random.Random) -> None:
        """Allow no more than what goes on now; with nothing of ours going on, only time can help."""
        self.slots = max(1, min(self.slots, self.in_flight))
        self._calm = 0
        if seconds is not None or self.in_flight == 0:
            self._rest(seconds, number, now, rng)

    def _exhaust(self, groups: tuple[Kind, ...], until: float) -> None:
        for group in groups:
            self.exhausted[group] = max(until, self.exhausted.get(group, 0.0))

    def _model_off(self, model: str) -> None:
        if len(self.off_models) >= MOST_MODELS_OFF:
            self.off_models.pop()
        self.off_models.add(model)
