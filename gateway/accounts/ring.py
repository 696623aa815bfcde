"""The accounts on a circle, several points each, so that one that comes or goes moves few callers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Final

from gateway.accounts.place import Place

POINTS: Final = 32
"""Of one account on the ring."""
STEPS: Final = 64
"""Along the ring at most."""


class Ring:
    """Laid out when somebody first walks along it: most pools never do."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self._given = places

    @cached_property
    def _laid_out(self) -> tuple[list[int], list[Place]]:
        points = [(_point(f"{place.account.id} {n}"), place) for place in self._given for n in range(POINTS)]
        points.sort(key=lambda point: point[0])
        return [point for point, _ in points], [place for _, place in points]

    def walk(self, stick: str) -> Sequence[Place]:
        """The accounts along the circle from where `stick` stands, some more than once."""
        points, places = self._laid_out
        start = bisect_left(points, _point(stick))
        return [places[(start + step) % len(places)] for step in range(min(STEPS, len(places)))]


def _point(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
