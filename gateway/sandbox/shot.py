"""A film that is being shot: all that it is made from, small enough to travel as the cursor of a job."""

from __future__ import annotations

import msgspec

from gateway.sandbox import film
from gateway.types import Kind

MAX_IMAGE = 2 * 1024 * 1024
"""Bytes of an image that a shot carries; a larger one is left out of the film."""


class Shot(msgspec.Struct, frozen=True):
    """What a film shows and when it is done. Plain JSON values both ways, by `msgspec.to_builtins` and `convert`."""

    prompt: str
    kind: Kind
    seed: int
    width: int
    height: int
    seconds: float
    """How long the film is."""
    created: float
    """Unix seconds."""
    takes: float
    """Seconds from then until it is done."""
    fault: str = ""
    """Name of the fault that it meets."""
    first: bytes | None = None
    """An image that the film begins with."""
    last: bytes | None = None
    """An image that it ends with."""

    def done(self, now: float) -> float:
        """Share of the work that is done at `now` (Unix seconds), 0 to 1."""
        return 1.0 if self.takes <= 0 else min(1.0, max(0.0, (now - self.created) / self.takes))


def developed(shot: Shot) -> bytes:
    """The film as an MP4 file. Slow: not for the event loop. Raises ValueError for images that cannot be read."""
    return film.shoot(
        shot.prompt,
        seed=shot.seed,
        width=shot.width,
        height=shot.height,
        seconds=shot.seconds,
        first=shot.first,
        last=shot.last,
    )


def carried(data: bytes | None) -> bytes | None:
    """An image as far as a shot carries it."""
    return data if data and len(data) <= MAX_IMAGE else None
