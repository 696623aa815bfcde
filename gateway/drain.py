"""The state of shutting down, shared by the server that stops and the requests that are still being answered.

A request that is alive when the process is told to stop gets `grace` seconds to end by itself. What is left then is
cancelled once, and whoever catches that `CancelledError` asks `drain.expired` whether to say a last word:

    except asyncio.CancelledError:
        if drain.expired:
            await send(shutting_down)
        raise
"""

import asyncio
import time
from typing import Final

LAST_WORDS_SECONDS: Final = 2.0
CANCEL_MESSAGE: Final = "shutting_down"


class Drain:
    """Which requests are alive, and whether the process is on its way out. One per process."""

    __slots__ = ("_begun", "_expired", "_live", "_quiet", "draining")

    def __init__(self) -> None:
        self.draining = False
        self._begun: float | None = None
        self._expired = False
        self._live: set[asyncio.Task[object]] = set()
        self._quiet: asyncio.Event | None = None

    @property
    def expired(self) -> bool:
        """True once live requests were cancelled: a cancellation seen from then on is ours, not the client's."""
        return self._expired

    @property
    def live(self) -> int:
        """How many requests are running now."""
        return len(self._live)

    def begin(self) -> None:
        """Say that the process is stopping: readiness turns red, new work is refused. Safe in a signal handler."""
        self.draining = True
        if self._begun is None:
            self._begun = time.monotonic()

    def left(self, grace: float) -> float:
        """Seconds that remain of a grace that began with the draining; none before it."""
        return 0.0 if self._begun is None else max(0.0, self._begun + grace - time.monotonic())

    def expire(self) -> None:
        """Say that grace is over, before the cancellations are sent. Safe in a signal handler."""
        self.draining = self._expired = True

    def track(self) -> "Tracked":
        """Hold the current task as a live request: `with drain.track(): …`. May be nested; the outermost counts."""
        return Tracked(self)

    async def finish(self, grace: float) -> int:
        """Wait up to `grace` seconds for live requests, cancel the rest, give those a moment for their last words.

        Returns how many were cancelled.
        """
        self.begin()
        if await self._quiet_within(grace):
            return 0
        self.expire()
        rest = tuple(self._live)
        for task in rest:
            task.cancel(CANCEL_MESSAGE)
        await self._quiet_within(LAST_WORDS_SECONDS)
        return len(rest)

    async def _quiet_within(self, seconds: float) -> bool:
        self._quiet = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                while self._live:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            return not self._live
        return True

    def _enter(self, task: asyncio.Task[object]) -> bool:
        """Whether the task was not live before."""
        if task in self._live:
            return False
        self._live.add(task)
        return True

    def _leave(self, task: asyncio.Task[object]) -> None:
        self._live.discard(task)
        if self._quiet is not None and not self._live:
            self._quiet.set()


class Tracked:
    """One request being alive. A plain class, not a generator: it stands on the path of every request."""

    __slots__ = ("_drain", "_task")

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is not None and self._drain._enter(task):
            self._task = task

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._drain._leave(self._task)
