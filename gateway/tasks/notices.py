"""Who waits for a change of a task in this process, and how they are told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field


class Notices:
    """Who waits for a change of a task in this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Change]] = {}

    def next(self, task_id: str) -> Change:
        change = Change(self._waiting, task_id)
        self._waiting.setdefault(task_id, set()).add(change)
        return change

    def tell(self, task_id: str) -> None:
        for change in self._waiting.pop(task_id, ()):
            change.event.set()


@dataclass(eq=False, slots=True)
class Change:
    """The next change of a task."""

    _waiting: dict[str, set[Change]]
    _task_id: str
    event: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, limit: float) -> None:
        """Until it comes, `limit` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.event.wait()

    def close(self) -> None:
        """Nobody waits for it any more."""
        others = self._waiting.get(self._task_id)
        if others is not None:
            others.discard(self)
            if not others:
                del self._waiting[self._task_id]
