"""A line of work with so many hands: how many are free, and when to look for more to do."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gateway.tasks.store import LaneName


class Lane:
    def __init__(self, name: LaneName, hands: int, spacing: float) -> None:
        self.name = name
        self.hands = hands
        self.spacing = spacing
        """Seconds between two looks at least."""
        self.busy = 0
        self._until = 0.0
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        return self.hands - self.busy

    def gave_back(self) -> None:
        self.busy -= 1
        self._changed.set()

    async def some_free(self) -> None:
        while self.free <= 0:
            self._changed.clear()
            await self._changed.wait()

    def plan(self, seconds: float) -> None:
        """Look again in `seconds`."""
        self._until = asyncio.get_running_loop().time() + seconds

    def sooner(self, seconds: float) -> None:
        """Look again in `seconds`, unless that is later than planned."""
        moment = asyncio.get_running_loop().time() + seconds
        if moment < self._until:
            self._until = moment
            self._changed.set()

    async def rest(self) -> None:
        """Until the next look."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.spacing)
        while (left := self._until - loop.time()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
