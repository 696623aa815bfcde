"""What a model's name tells of it."""

from __future__ import annotations

import re

from gateway.types import Kind

FILM_KINDS: tuple[Kind, ...] = ("t2v", "i2v", "flf2v", "ref2v")
STILL_KINDS: tuple[Kind, ...] = ("t2i", "i2i")
UNKNOWN = (2, 0)
"""What a model of films counts as whose name tells no version."""


def is_endpoint(model: str) -> bool:
    """Whether it is an account's own name for a model, behind which any may be."""
    return model.startswith("ep-")


def version(model: str) -> tuple[int, int]:
    """Of a model of films."""
    found = re.search(r"seedance-(\d+)[-.](\d+)", model)
    return (int(found[1]), int(found[2])) if found else UNKNOWN


def has_sound(model: str) -> bool:
    return version(model) >= (1, 5)


def keeps_seed(model: str) -> bool:
    """Whether it uses the seed that it is given."""
    return version(model) < (2, 0)
