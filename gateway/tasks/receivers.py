"""How the receivers of webhooks fare, by origin: which has its hands full, and which failed so often that it rests.

In memory, each process for itself: what is forgotten is found out again. Times are passed in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

HANDS: Final = 4
"""Attempts at a time at one origin."""
FAULTS: Final = 5
"""Failures in a row after which an origin rests."""
FIRST_REST: Final = 30.0
LONGEST_REST: Final = 600.0
TRIAL_SECONDS: Final = 30.0
"""How long the others wait for the outcome of a trial."""
MOST_KNOWN: Final = 10_000


@dataclass(slots=True)
class _Receiver:
    """One origin, for as long as there is something to know of it."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HANDS))
    in_hand: int = 0
    """Deliveries that wait for a turn or are being tried."""
    faults: int = 0
    """Failures in a row."""
    rests_until: float = 0.0
    on_trial: bool = False


class Receivers:
    def __init__(self) -> None:
        self._known: dict[str, _Receiver] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand."""
        return not any(receiver.in_hand for receiver in self._known.values())

    @property
    def full(self) -> list[str]:
        """Origins that have as much in hand as they may."""
        return [origin for origin, receiver in self._known.items() if receiver.in_hand >= HANDS]

    def take(self, origin: str) -> asyncio.Semaphore:
        """Count a delivery in; what is returned is its turn to wait for. `leave` counts it out."""
        receiver = self._of(origin)
        receiver.in_hand += 1
        return receiver.turns

    def leave(self, origin: str) -> bool:
        """Count a delivery out. Whether that changes what to do next: the origin can take more, or has nothing left."""
        receiver = self._known[origin]
        receiver.in_hand -= 1
        self._forget_healthy(origin)
        return receiver.in_hand in (0, HANDS - 1)

    def rest(self, origin: str, now: float) -> float:
        """Seconds until something may be tried there; 0: now."""
        known = self._known.get(origin)
        return max(0.0, known.rests_until - now) if known else 0.0

    def enter(self, origin: str, now: float) -> float:
        """As `rest`, for who tries if he may: the first one after a rest is its trial, and the others rest on."""
        rest = self.rest(origin, now)
        known = self._known.get(origin)
        if known and not rest and known.faults >= FAULTS:
            known.on_trial, known.rests_until = True, now + TRIAL_SECONDS
        return rest

    def answered(self, origin: str) -> None:
        """It lives, whatever it thought of the delivery."""
        known = self._known.get(origin)
        if known:
            known.faults, known.rests_until, known.on_trial = 0, 0.0, False
            self._forget_healthy(origin)

    def failed(self, origin: str, now: float) -> None:
        """It gave no answer, or said that it cannot now. What was under way when its rest began counts no more."""
        known = self._of(origin)
        if known.rests_until > now and not known.on_trial:
            return
        known.faults += 1
        known.on_trial = False
        if known.faults >= FAULTS:
            known.rests_until = now + min(LONGEST_REST, FIRST_REST * 2.0 ** min(known.faults - FAULTS, 10))

    def _of(self, origin: str) -> _Receiver:
        known = self._known.get(origin)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known = {name: one for name, one in self._known.items() if one.in_hand}
            known = self._known[origin] = _Receiver()
        return known

    def _forget_healthy(self, origin: str) -> None:
        known = self._known.get(origin)
        if known and not known.in_hand and not known.faults:
            del self._known[origin]
