"""The limits of all the waits of a process, looked after in rounds.

A timer made and thrown away around every event of a stream costs more than the event. Here a wait only notes when it
is due, and one timer for all walks over those that are under way, a few times a second, while there are any.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

ROUND_SECONDS = 0.25
"""How much longer than its limit a wait may take."""
_NEVER = float("inf")


class Patience:
    """Ends a wait of a task that takes too long, by cancelling it: ask `spent()` where that is caught.

    It belongs to the task that made it; `hand_over` is called where another one may have gone on.
    """

    __slots__ = ("_due", "_loop", "_rounds", "_spent", "_task")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds = _rounds_of(self._loop)
        self._rounds.add(self)
        self._task: asyncio.Task[object] | None = asyncio.current_task()
        self._due = _NEVER
        self._spent = False

    def hand_over(self) -> None:
        """From here on the waits are those of the current task."""
        self._task = asyncio.current_task()

    def until(self, seconds: float) -> None:
        """A wait begins that may take so many seconds. `rest` ends it."""
        self._due = self._loop.time() + seconds

    def rest(self) -> None:
        """The wait is over; what follows may take as long as it likes."""
        self._due = _NEVER

    def spent(self) -> bool:
        """Whether a cancellation just caught was ours. If so it is taken back: raise an error of your own."""
        if self._spent and self._task is not None:
            self._spent = False
            self._task.uncancel()
            return True
        return False

    def close(self) -> None:
        """No more waits."""
        self._due = _NEVER
        self._rounds.discard(self)

    def look(self, now: float) -> None:
        """Cancel the wait if it is over its limit."""
        if now >= self._due and self._task is not None:
            self._due = _NEVER
            self._spent = True
            self._task.cancel()


class _Rounds:
    """Everything in a loop that waits with patience."""

    __slots__ = ("__weakref__", "_all", "_timer")

    def __init__(self) -> None:
        self._all: set[Patience] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Patience) -> None:
        self._all.add(one)
        if self._timer is None:
            self._timer = one._loop.call_later(ROUND_SECONDS, self._walk, one._loop)

    def discard(self, one: Patience) -> None:
        self._all.discard(one)

    def _walk(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for one in tuple(self._all):
            one.look(now)
        self._timer = loop.call_later(ROUND_SECONDS, self._walk, loop) if self._all else None


_all_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()


def _rounds_of(loop: asyncio.AbstractEventLoop) -> _Rounds:
    found = _all_rounds.get(loop)
    if found is None:
        found = _all_rounds[loop] = _Rounds()
    return found
