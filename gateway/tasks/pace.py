"""No more calls a second than somebody takes."""

from __future__ import annotations

import asyncio
import time

MOST_KEPT = 10_000


class Pace:
    """Turns by name, each `1 / rate` seconds after the one before."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    async def turn(self, name: str, rate: float | None) -> None:
        """Wait for the next turn; at once where nobody limits the rate."""
        if rate is None:
            return
        now = time.monotonic()
        at = max(now, self._next.get(name, 0.0))
        if len(self._next) >= MOST_KEPT:
            self._next = {other: moment for other, moment in self._next.items() if moment > now}
        self._next[name] = at + 1.0 / rate
        if at > now:
            await asyncio.sleep(at - now)
