"""One timer for all the waits of a request.

A timeout around every event of a stream costs a timer made and thrown away each time. Here one timer lives as long as
the request: a wait only notes when it is due, and the timer looks, re-arming itself, no more often than waits end.
"""

from __future__ import annotations

import asyncio

_NEVER = float("inf")


class Patience:
    """Ends a wait of the current task that takes too long, by cancelling it: ask `spent()` where that is caught."""

    __slots__ = ("_due", "_loop", "_spent", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._due = _NEVER
        self._spent = False

    def until(self, seconds: float) -> None:
        """A wait begins that may take so many seconds. `rest` ends it."""
        self._task = asyncio.current_task()
        self._due = self._loop.time() + seconds
        if self._timer is None or self._due < self._timer.when():
            self._arm()

    def rest(self) -> None:
        """The wait is over; what follows may take as long as it likes."""
        self._due = _NEVER

    def spent(self) -> bool:
        """Whether a cancellation just caught was this timer's. If so it is taken back: raise an error of your own."""
        if self._spent and self._task is not None:
            self._spent = False
            self._task.uncancel()
            return True
        return False

    def close(self) -> None:
        """No more waits."""
        self._due = _NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due == _NEVER:
            return
        if self._loop.time() < self._due:
            self._arm()
        elif self._task is not None:
            self._due = _NEVER
            self._spent = True
            self._task.cancel()
