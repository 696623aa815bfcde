"""What waits to be sent to other processes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

OUTBOX = 10_000
"""Topics that may wait to be sent. The oldest give way: by then others have looked for themselves."""
BATCH = 500
"""Topics sent in one round trip."""


class Outbox:
    """Topics that wait to be sent, each once, in the order they came."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[str, None] = OrderedDict()  # a dict finds its first slower the more were removed
        self.filled = asyncio.Event()

    def put(self, topic: str) -> None:
        self.waiting[topic] = None
        if len(self.waiting) > OUTBOX:
            self.waiting.popitem(last=False)
        self.filled.set()

    def take(self) -> list[str]:
        """The next batch. From here on the same topic may come again: it has changed once more."""
        batch = [self.waiting.popitem(last=False)[0] for _ in range(min(BATCH, len(self.waiting)))]
        if not self.waiting:
            self.filled.clear()
        return batch

    def put_back(self, batch: list[str]) -> None:
        self.waiting = OrderedDict.fromkeys([*batch, *self.waiting][-OUTBOX:])
        self.filled.set()
