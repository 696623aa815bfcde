"""How many retries a pool affords: a share of its requests, so that an upstream in trouble is not asked even more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RESERVE: Final = 100.0
"""Retries that may come at once, after a quiet time: enough to find the good account among many bad."""
EARNED_BY_TIME: Final = 1.0
"""Retries a second that even a pool with few requests earns, until its reserve is full."""


class Budget:
    """`clock`: monotonic seconds."""

    __slots__ = ("_clock", "_left", "_looked", "share")

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.share = share
        """Retries for each request."""
        self._left = RESERVE
        self._looked = clock()

    def earn(self) -> None:
        """A request came that is no retry."""
        self._left = min(RESERVE, self._left + self.share)

    def spend(self) -> bool:
        """Take one retry out; False where there is none to be had."""
        now = self._clock()
        self._left = min(RESERVE, self._left + EARNED_BY_TIME * max(0.0, now - self._looked))
        self._looked = now
        if self.share <= 0 or self._left < 1.0:
            return False
        self._left -= 1.0
        return True
