"""Jobs of one account that are due, standing in line until it is their turn to be asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gateway.tasks.task import Task


@dataclass(eq=False, slots=True)
class Place:
    task: Task
    waiting: bool = True
    """Whether nobody has taken it along yet."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Line:
    """Whoever has the turn takes along those at the front: what gathered meanwhile is asked for together."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._waiting: deque[Place] = deque()

    def join(self, task: Task) -> Place:
        place = Place(task)
        self._waiting.append(place)
        return place

    def holds(self, place: Place) -> bool:
        """Whether it still stands in line."""
        return place.waiting

    def front(self, most: int) -> list[Place]:
        """Those at the front, taken along."""
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        for place in taken:
            place.waiting = False
        return taken

    def leave(self, place: Place) -> None:
        """Stand in line no longer."""
        if place.waiting:
            place.waiting = False
            self._waiting.remove(place)
