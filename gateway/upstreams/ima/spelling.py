"""One value in two spellings: the vendor's (`"5"`, `1080P`, `"true"`) and the callers' (5, `1080P`, true)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, Final

from gateway.errors import InvalidRequest
from gateway.types import Size
from gateway.wire import size as wire_size

SAME_RATIO: Final = 0.02
"""Shapes that differ by less than this are the same: 1920x1088 is 16:9."""


def normal(value: Any) -> str:
    """A value as rules compare it (wire sheet §4): 5 is "5", `1080p` is `1080P`."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip().upper()


def alike(one: Any, other: Any) -> bool:
    """Whether two values are one to the vendor; booleans are told as words, too."""
    return normal(one).upper() == normal(other).upper()


def size(value: Any) -> Size | None:
    """A ratio or pixels, however they are written; None for what is neither, like `4k`."""
    try:
        return wire_size.parse(str(value).replace(" ", ""))
    except InvalidRequest:
        return None


def truth(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def number(value: Any) -> float | None:
    """None for what is no number; whole ones without a fraction."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return int(found) if found == found and abs(found) < 1e15 and found == int(found) else found


def nearest(asked: Size, able: Sequence[Any], usual: Any) -> Any:
    """The vendor's size for one that was asked for: those pixels, else the same shape, `usual` before others.

    None where there is none: other pixels than those asked for are taken only where the vendor knows ratios.
    """
    sizes = [(value, found) for value in able if (found := size(value)) is not None]
    for value, found in sizes:
        if (found.width, found.height) == (asked.width, asked.height) and found.ratio == _reduced(asked):
            return value
    if asked.width and all(found.width for _, found in sizes):
        return None
    fits = [value for value, found in sizes if abs(log(breadth(found) / breadth(asked))) <= SAME_RATIO]
    return next((value for value in fits if usual is not None and alike(value, usual)), fits[0] if fits else None)


def breadth(asked: Size) -> float:
    across, _, down = asked.ratio.partition(":")
    return asked.width / asked.height if asked.width else int(across) / int(down)


def words(found: Size) -> str:
    return f"{found.width}x{found.height}" if found.width else found.ratio


def _reduced(asked: Size) -> str:
    found = size(words(asked))
    return found.ratio if found else asked.ratio
