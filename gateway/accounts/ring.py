"""The accounts on a circle, several points each, so that one that comes or goes moves few callers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from gateway.accounts.place import Place

POINTS: Final = 32
"""Of one account on the ring."""
STEPS: Final = 64
"""Along the ring at most."""


class Ring:
    __slots__ = ("_places", "_points")

    def __init__(self, places: Sequence[Place] = ()) -> None:
        points = [(_point(f"{place.account.id} {n}"), place) for place in places for n in range(POINTS)]
        points.sort(key=lambda point: point[0])
        self._points = [point for point, _ in points]
        self._places = [place for _, place in points]

    def walk(self, stick: str) -> Sequence[Place]:
        """The accounts along the circle from where `stick` stands, some more than once."""
        count = len(self._places)
        start = bisect_left(self._points, _point(stick))
        return [self._places[(start + step) % count] for step in range(min(STEPS, count))]


def _point(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
