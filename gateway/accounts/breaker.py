"""A breaker: whether a site that fails is asked at all. Closed, it is; open, it is not; half-open, once, as a trial.

Accounts reached by the same address and proxy stand behind one breaker, so that a site that is down costs its accounts
nothing. It opens when the site cannot be reached several times in a row, or when it fails so and no account behind it
is left that did not fail lately: one bad account among good ones opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half_open"]

UNREACHED: Final = 3
"""Times in a row that the site could not be reached."""
FAILED: Final = 5
"""Failures in a row, where no account is left that did not fail lately."""
MOST_FAILED: Final = 50
"""Failures in a row after which even accounts that were not tried are no reason to go on."""
FIRST_OPEN: Final = 2.0
LONGEST_OPEN: Final = 60.0
TRIAL_SECONDS: Final = 1.0
"""What to wait, as told to others, while a trial is out."""


class Breaker:
    """Times are monotonic seconds."""

    __slots__ = ("_failures", "_openings", "_probed", "_trial", "_unreached", "until")

    def __init__(self) -> None:
        self._failures = self._unreached = self._openings = 0
        self._trial: int | None = None
        """The lease that tries, by its serial number."""
        self._probed = 0.0
        """The end of the opening that was probed last."""
        self.until = 0.0
        """While open: when a trial may be made. 0: closed."""

    @property
    def calm(self) -> bool:
        """Whether nothing failed since it last worked."""
        return not self._failures and not self.until

    def state(self, now: float) -> BreakerState:
        if not self.until:
            return "closed"
        return "open" if now < self.until else "half_open"

    def wait(self, now: float) -> float:
        """Seconds until a request may try; 0 where it may now."""
        if not self.until:
            return 0.0
        if now < self.until:
            return self.until - now
        return TRIAL_SECONDS if self._trial is not None else 0.0

    def start(self, serial: int) -> bool:
        """A lease begins. Whether it is the trial, so that nobody else may until it is over."""
        if not self.until:
            return False
        self._trial = serial
        return True

    def end(self, serial: int) -> bool:
        """A lease ended and showed nothing of the site. Whether it was the trial."""
        if self._trial != serial:
            return False
        self._trial = None
        return True

    def worked(self) -> bool:
        """The site answered as it should. Whether that closed the breaker."""
        was_open = bool(self.until)
        self._failures = self._unreached = self._openings = 0
        self._trial, self.until = None, 0.0
        return was_open

    def failed(self, now: float, *, reached: bool, others: Callable[[], bool]) -> bool:
        """The site failed. `others`: whether accounts are left that did not fail lately. Whether it opened just now."""
        self._failures += 1
        self._unreached = 0 if reached else self._unreached + 1
        if self.until:
            return self._trial is None and now >= self.until and self._open(now)
        hopeless = self._failures >= MOST_FAILED or (self._failures >= FAILED and not others())
        return (self._unreached >= UNREACHED or hopeless) and self._open(now)

    def probe(self, now: float, within: float) -> bool:
        """Whether the site is to be asked, by a request that spends nothing, before a trial that is so near."""
        if not self.until or self._probed == self.until or self.until - now > within:
            return False
        self._probed = self.until
        return True

    def extend(self, now: float) -> bool:
        """A request outside of any lease failed at a site that is set aside: it stays so for longer."""
        return bool(self.until) and self._trial is None and self._open(now)

    def _open(self, now: float) -> bool:
        self._openings += 1
        self.until = now + min(LONGEST_OPEN, FIRST_OPEN * 2.0 ** min(self._openings - 1, 10))
        self._trial = None
        return True
