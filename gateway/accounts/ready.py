"""The accounts that could take one sort of work, in order, so that choosing among a thousand costs as little as among
ten.

Two heaps: those that are free now, by rank, and those that time makes free, by when. What changes about an account is
told by `touch`; what was filed of it before is then stale, and thrown away when it comes up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from gateway.accounts.health import Standing
from gateway.accounts.place import Place, Sort

LOOK_AGAIN: Final = 60.0
"""Seconds after which even a long obstacle is looked at again: clocks of quotas may be set."""
SOONEST: Final = 1e-3
"""A moment that is later than now, whatever the rounding."""
STALE_SHARE: Final = 4
"""Entries for each account before the stale ones are thrown out."""

Fits = Callable[[Place], bool]
Rank = Callable[[Standing], tuple[float, float]]


Entry = tuple[int, int, tuple[float, float], int, int, Place]
"""Level, minus the priority, rank, a number that is never the same twice, stamp and account: sorted as it stands."""
Later = tuple[float, int, int, Place]
"""When, a number that is never the same twice, stamp and account."""


class Ready:
    """The accounts for one `sort` of work. Times are monotonic seconds, `wall` Unix seconds."""

    __slots__ = ("_heap", "_later", "_now", "_rank", "_stamps", "_ties", "_wall", "sort")

    def __init__(self, sort: Sort, places: Iterable[Place], rank: Rank, now: float, wall: float) -> None:
        self.sort = sort
        self._rank = rank
        self._heap: list[Entry] = []
        self._later: list[Later] = []
        self._stamps: dict[str, int] = {}
        self._ties = count()
        for place in places:
            self.touch(place, now, wall)

    def touch(self, place: Place, now: float, wall: float) -> None:
        """Something about this account changed."""
        stamp = self._stamps[place.account.id] = self._stamps.get(place.account.id, 0) + 1
        self._file(place, stamp, now, wall)

    def wake(self, now: float, wall: float) -> bool:
        """File anew whom time has set free. Call it before the rest. Whether there was anybody."""
        self._now, self._wall = now, wall
        woken = False
        while self._later and self._later[0][0] <= now:
            _, _, stamp, place = heappop(self._later)
            if self._stamps.get(place.account.id) == stamp:
                self.touch(place, now, wall)
                woken = True
        return woken

    def first(self, fits: Fits) -> Place | None:
        """The best that fits. Those that do not keep their places."""
        aside: list[Entry] = []
        found: Place | None = None
        heap = self._heap
        while heap:
            _, _, _, _, stamp, place = heap[0]
            if self._stamps.get(place.account.id) != stamp:
                heappop(heap)
            elif fits(place):
                found = place
                break
            else:
                aside.append(heappop(heap))
        for entry in aside:
            heappush(heap, entry)
        return found

    def draw(self, rng: random.Random) -> Place | None:
        """Any of those that are free; None for a miss."""
        if not self._heap:
            return None
        _, _, _, _, stamp, place = self._heap[int(rng.random() * len(self._heap))]
        return place if self._stamps.get(place.account.id) == stamp else None

    def peers(self, one: Place, other: Place) -> bool:
        """Whether neither comes before the other, whatever they do at the moment."""
        same = one.standing.priority == other.standing.priority
        return same and one.standing.level(self._now) == other.standing.level(self._now)

    def next_change(self) -> float | None:
        """When time next sets somebody free, at the latest."""
        return self._later[0][0] if self._later else None

    def _file(self, place: Place, stamp: int, now: float, wall: float) -> None:
        standing = place.standing
        obstacle = None if place.free(self.sort, now, wall) else place.obstacle(self.sort, now, wall)
        if obstacle is None:
            level = standing.level(now)
            rank = self._rank(standing)
            heappush(self._heap, (level, -standing.priority, rank, next(self._ties), stamp, place))
            if level or standing.rates is not None:
                when = min(standing.level_changes(now), standing.rates.grows(now) if standing.rates else float("inf"))
                if when < float("inf"):
                    heappush(self._later, (when, next(self._ties), stamp, place))
            if len(self._heap) > STALE_SHARE * len(self._stamps) + 16:
                self._tidy()
        elif 0 < obstacle.seconds < float("inf"):
            when = now + min(max(obstacle.seconds, SOONEST), LOOK_AGAIN)
            heappush(self._later, (when, next(self._ties), stamp, place))

    def _tidy(self) -> None:
        """Throw out what is stale."""
        self._heap = [entry for entry in self._heap if self._stamps.get(entry[-1].account.id) == entry[-2]]
        heapify(self._heap)
        self._later = [later for later in self._later if self._stamps.get(later[-1].account.id) == later[-2]]
        heapify(self._later)
