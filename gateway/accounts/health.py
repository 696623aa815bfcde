"""The live record of one account: what it does now, and why it may not do more.

Rests run on the monotonic clock, quotas on the wall clock: a quota comes back at a time of day, and a stepped clock
must not end a rest. Both times are passed in. Several kinds share one quota where providers count them as one: all
videos, all images; such a group goes by the name of its first kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, assert_never

from gateway.accounts.facts import Fact
from gateway.accounts.quota import GROUP_OF, Quota
from gateway.accounts.rates import Rates
from gateway.accounts.verdict import (
    Exhaust,
    LowerSlots,
    ModelOff,
    Nothing,
    Park,
    Reject,
    Rest,
    Strike,
    Unreached,
    Verdict,
)
from gateway.state.slots import NEVER
from gateway.types import Account, Kind

FIRST_REST: Final = 5.0
MOST_BACKOFF: Final = 60.0
CALM: Final = 10
"""Successes for each slot left before an account that was told to do less at once gets one slot back."""
EJECTED_AFTER: Final = 3
"""Failures in a row that take an account out of turn."""
EJECTED_SHARE: Final = 0.5
FEWEST_TO_JUDGE: Final = 20
"""So many requests in a minute, at least this share of them failed: out of turn as well."""
FIRST_EJECTION: Final = 30.0
LONGEST_EJECTION: Final = 300.0
MINUTE: Final = 60.0
MOST_MODELS_OFF: Final = 1_000
LEAST_WEIGHT: Final = 1e-6

Why = Literal[
    "disabled",
    "not_allowed",
    "rejected",
    "parked",
    "model_off",
    "exhausted",
    "resting",
    "unreachable",
    "paced",
    "failing",
    "busy",
]
Level = Literal[0, 1, 2]
"""Whom to trust: 0 did not fail lately; 1 failed, and serves where nobody better is free; 2 failed over and over, and
serves where nobody better could."""


class Obstacle(NamedTuple):
    """Why an account cannot take some work now."""

    why: Why
    seconds: float
    """Until time alone takes it away; 0 where a slot must come back, infinite where an operator has to act."""


class Standing:
    """What is known of one account. Changed only by its pool."""

    __slots__ = (
        "_calm",
        "_ceiling",
        "_ejections",
        "_limited_at",
        "_limits",
        "_minute",
        "_minute_bad",
        "_minute_good",
        "_most_slots",
        "_ramp",
        "_renewed_at",
        "crowded_until",
        "ejected_until",
        "elsewhere",
        "enabled",
        "exhausted",
        "in_flight",
        "not_models",
        "off_models",
        "paced_until",
        "parked",
        "priority",
        "quota",
        "rates",
        "rejected",
        "rest_until",
        "slots",
        "started",
        "strikes",
        "struck_until",
        "turn",
        "unusable",
        "weight",
    )

    def __init__(self, account: Account) -> None:
        self.in_flight = 0
        self.elsewhere = 0
        """Leases of other processes, as last heard."""
        self.crowded_until = 0.0
        """Monotonic: until then it is not worth asking whether others gave slots back."""
        self.started = 0
        """How many leases there ever were; the newest lease has this number."""
        self.turn = 0.0
        """When its turn comes, in the pool's own count of turns (`selection`)."""
        self.quota = Quota(account)
        self.rates: Rates | None = None
        self._renewed_at = self._limited_at = 0
        self._most_slots = max(1, account.max_concurrency)
        self.enabled = account.enabled
        self._ceiling = self._ramp = self._most_slots
        self._clear()
        self.bind(account)

    def rebind(self, before: Account, account: Account) -> None:
        """Take the limits of the account as it is now; an operator's word stands while the config's does not change."""
        enabled = self.enabled
        self.bind(account)
        if before.enabled == account.enabled:
            self.enabled = enabled

    def bind(self, account: Account) -> None:
        """Take the limits of `account`. What is in flight and what was used stays counted."""
        self.enabled = account.enabled
        self.not_models = account.not_models
        self.unusable = account.unusable
        self.priority = account.priority
        self.weight = max(account.weight, LEAST_WEIGHT)
        most, self._most_slots = self._most_slots, max(1, account.max_concurrency)
        self._ceiling = self._most_slots if self._ceiling >= most else min(self._ceiling, self._most_slots)
        self._ramp = self._most_slots if self._ramp >= most else min(self._ramp, self._most_slots)
        self._set_slots()
        self.quota.bind(account)
        self.rates = Rates.of(account, self.rates)

    def renew(self) -> None:
        """Forget every fault; errors of leases that are still out say nothing about the account any more."""
        self._renewed_at = self.started
        self._clear()

    def _clear(self) -> None:
        self.strikes = self._ejections = 0
        """`strikes`: failures of its upstream since the last success."""
        self.struck_until = self.ejected_until = 0.0
        """Monotonic: until then it is not trusted as others are (`level`)."""
        self.rest_until = self.paced_until = 0.0
        """Monotonic: told to rest, and by its own rates as heard from the upstream or from other processes."""
        self.exhausted: dict[Kind, float] = {}
        """Unix time until which there is no quota, by group of kinds."""
        self.rejected: str | None = None
        self.parked: str | None = None
        self.off_models: set[str] = set()
        self._limits = self._calm = 0
        self._minute = self._minute_good = self._minute_bad = 0
        self._ceiling = self._ramp = self._most_slots
        self._set_slots()

    def _set_slots(self) -> None:
        """What the upstream bears at once, and, for one that came back lately, no more than it has shown to bear."""
        self.slots = max(1, min(self._ceiling, self._ramp))

    # --- may it? ---

    @property
    def able(self) -> bool:
        """Whether no operator is needed for it."""
        return self.enabled and not self.unusable and self.rejected is None and self.parked is None

    def level(self, now: float) -> Level:
        if self.ejected_until > now:
            return 2
        return 1 if self.struck_until > now else 0

    def level_changes(self, now: float) -> float:
        """When it is trusted more than now, monotonic; infinite where more cannot be."""
        until = self.ejected_until if self.ejected_until > now else self.struck_until
        return until if until > now else float("inf")

    def level_from(self, level: Level) -> float:
        """From when on it is trusted as at this level; monotonic."""
        return self.ejected_until if level else max(self.struck_until, self.ejected_until)

    def free(self, model: str, group: Kind, now: float, wall: float, tokens: int = 0) -> bool:
        """Whether it can take this work now: the same as no `obstacle`, told as fast as can be."""
        return (
            self.in_flight < self.slots
            and self.rest_until <= now
            and self.paced_until <= now
            and self.crowded_until <= now
            and self.enabled
            and not self.unusable
            and self.rejected is None
            and self.parked is None
            and model not in self.off_models
            and model not in self.not_models
            and (self.rates is None or self.rates.until(now, tokens) <= now)
            and ((not self.exhausted and not self.quota.most) or self.quota_until(group, wall) <= wall)
        )

    def obstacle(self, model: str, group: Kind, now: float, wall: float, tokens: int = 0) -> Obstacle | None:
        """What stands against this work, the most lasting thing first; None where nothing does."""
        if (lasting := self._lasting(model)) is not None:
            return Obstacle(lasting, float("inf"))
        quota = self.quota_until(group, wall) - wall
        rest, pace = self.rest_until - now, self.pace_until(now, tokens) - now
        if quota > 0:
            return Obstacle("exhausted", max(quota, rest, pace))
        if rest > 0:
            return Obstacle("resting", max(rest, pace))
        if pace > 0:
            return Obstacle("paced", pace)
        if self.crowded_until > now:
            return Obstacle("busy", self.crowded_until - now)
        return Obstacle("busy", 0.0) if self.in_flight >= self.slots else None

    def _lasting(self, model: str) -> Why | None:
        if not self.enabled:
            return "disabled"
        if model in self.not_models:
            return "not_allowed"
        if self.unusable or self.rejected is not None:
            return "rejected"
        if self.parked is not None:
            return "parked"
        return "model_off" if model in self.off_models else None

    def pace_until(self, now: float, tokens: int = 0) -> float:
        """When its rates let the next request through; monotonic, not later than `now` where they would now."""
        return self.paced_until if self.rates is None else max(self.paced_until, self.rates.until(now, tokens))

    def quota_until(self, group: Kind, wall: float) -> float:
        """When there is quota again, in Unix time; not later than `wall` where there is some now."""
        return max(self.exhausted.get(group, 0.0), self.quota.until(group, wall))

    # --- what happens to it ---

    def start(self, group: Kind, now: float, wall: float, tokens: int = 0) -> int:
        """Take a slot. Returns the number of the lease."""
        self.quota.start(group, wall)
        self.in_flight += 1
        self.started += 1
        if self.rates is not None:
            self.rates.start(self.started, now, tokens)
        if self.exhausted:
            self.exhausted.pop(group, None)
        return self.started

    def undo(self, group: Kind, number: int, began: float, ends: float) -> None:
        """Lease `number`, begun then, did not begin after all: another process had been quicker."""
        self.in_flight -= 1
        self.quota.refund(group, ends)
        if self.rates is not None:
            self.rates.undo(number, began)

    def prove(self, number: int) -> bool:
        """Lease `number` was let in. One from before a rest does not say that the rest is no longer needed.

        Whether more may go on at once for it.
        """
        if number <= self._limited_at:
            return False
        self._limits = 0
        if self._ramp >= self._most_slots:
            return False
        self._ramp *= 2  # one as a trial, then twice as many with every success
        self._set_slots()
        return True

    def succeed(self, number: int, now: float, *, proved: bool = False) -> None:
        """Lease `number` ended well. `proved`: that it was let in was told before."""
        if not proved:
            self.prove(number)
        self.strikes, self.struck_until, self.ejected_until = 0, 0.0, 0.0
        self._count(now, good=True)
        if self._ejections and self._minute_good >= FEWEST_TO_JUDGE:
            self._ejections = 0
        if self._ceiling < self._most_slots:
            self._calm += 1
            if self._calm >= CALM * self._ceiling:
                self._ceiling, self._calm = self._ceiling + 1, 0
                self._set_slots()

    def apply(
        self, verdict: Verdict, *, model: str, group: Kind, number: int, now: float, wall: float, rng: random.Random
    ) -> tuple[Fact, ...]:
        """Do what a verdict on lease `number` says, its slot already given back. Returns what is now known of it."""
        if number <= self._renewed_at:
            return ()
        match verdict:
            case Nothing() | Unreached():
                return ()
            case Strike():
                self._strike(now)
                return ()
            case Rest(seconds):
                return self._rest(seconds, number, now, wall, rng)
            case LowerSlots(seconds):
                return self._lower(seconds, number, now, wall, rng)
            case Exhaust(scope, seconds):
                groups = (group,) if scope == "kind" else tuple(dict.fromkeys(GROUP_OF.values()))
                return self._exhaust(groups, wall + seconds)
            case Reject(reason):
                self.rejected = reason
                return (Fact("rejected", NEVER, reason),)
            case Park(reason):
                self.parked = reason
                return (Fact("parked", NEVER, reason),)
            case ModelOff():
                self._model_off(model)
                return (Fact(f"model_off:{model}", NEVER),)
            case _:
                assert_never(verdict)

    def pace(self, seconds: float, now: float) -> None:
        """The upstream or another process said that its rates let nothing through for so long."""
        self.paced_until = max(self.paced_until, now + seconds)

    def _strike(self, now: float) -> None:
        self.strikes += 1
        self._count(now, good=False)
        judged = self._minute_good + self._minute_bad >= FEWEST_TO_JUDGE
        failing = judged and self._minute_bad >= EJECTED_SHARE * (self._minute_good + self._minute_bad)
        if self.strikes < EJECTED_AFTER and not failing:
            self.struck_until = max(self.struck_until, now + FIRST_REST * self.strikes)
        elif self.ejected_until <= now:  # several failures of one burst are one
            self._ejections += 1
            self.ejected_until = now + min(LONGEST_EJECTION, FIRST_EJECTION * self._ejections)
            self._limited_at, self._ramp = self.started, 1
            self._set_slots()

    def _count(self, now: float, *, good: bool) -> None:
        minute = int(now // MINUTE)
        if minute != self._minute:
            self._minute, self._minute_good, self._minute_bad = minute, 0, 0
        self._minute_good += good
        self._minute_bad += not good

    def _rest(
        self, seconds: float | None, number: int, now: float, wall: float, rng: random.Random
    ) -> tuple[Fact, ...]:
        """A longer rest extends, a shorter never shortens. Several errors of one burst back off once."""
        if number > self._limited_at and self.rest_until <= now:
            self._limits += 1
            self._limited_at = self.started
        if seconds is None:
            seconds = min(MOST_BACKOFF, FIRST_REST * 2.0 ** min(max(self._limits - 1, 0), 10)) * rng.uniform(0.8, 1.0)
        self.rest_until = max(self.rest_until, now + seconds)
        self._ramp = 1
        self._set_slots()
        return (Fact("rest", wall + self.rest_until - now, "asked to slow down"),)

    def _lower(
        self, seconds: float | None, number: int, now: float, wall: float, rng: random.Random
    ) -> tuple[Fact, ...]:
        """Allow no more than what goes on now; with nothing of ours going on, only time can help."""
        self._ceiling = max(1, min(self.slots, self.in_flight))
        self._calm = 0
        self._set_slots()
        return self._rest(seconds, number, now, wall, rng) if seconds is not None or self.in_flight == 0 else ()

    def _exhaust(self, groups: tuple[Kind, ...], until: float) -> tuple[Fact, ...]:
        for group in groups:
            self.exhausted[group] = max(until, self.exhausted.get(group, 0.0))
        return tuple(Fact(f"exhausted:{group}", self.exhausted[group]) for group in groups)

    def _model_off(self, model: str) -> None:
        if len(self.off_models) >= MOST_MODELS_OFF:
            self.off_models.pop()
        self.off_models.add(model)

    # --- what is known from before, or from other processes ---

    def heed(self, until: float, now: float) -> None:
        """Another process was told to rest until then, monotonic: it comes back as slowly as from a rest of its own."""
        if until > now and self.rest_until <= now:
            self._limited_at, self._ramp = self.started, 1
            self._set_slots()
        self.rest_until = max(self.rest_until, until)

    def learn(self, facts: Iterable[Fact], *, enabled: bool, now: float, wall: float) -> None:
        """Take over all that is known, in place of what was. `enabled`: what the account says of itself."""
        known = {fact.name: fact for fact in facts if fact.until > wall}
        rest = known.get("rest")
        if rest is not None:
            self.heed(now + rest.until - wall, now)
        self.rest_until = now + rest.until - wall if rest is not None else 0.0
        self.rejected = known["rejected"].reason if "rejected" in known else None
        self.parked = known["parked"].reason if "parked" in known else None
        self.enabled = "enabled" in known or (enabled and "disabled" not in known)
        self.off_models = {name.partition(":")[2] for name in known if name.startswith("model_off:")}
        groups = set(GROUP_OF.values())
        self.exhausted = {group: known[name].until for group in groups if (name := f"exhausted:{group}") in known}
        for group in groups:
            if (used := known.get(f"used:{group}")) is not None:
                self.quota.learn(group, used.until, used.leases, wall)
