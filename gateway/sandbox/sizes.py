"""How large the sandbox makes what it makes: pixels as asked, or from a ratio."""

from __future__ import annotations

from math import gcd

from gateway.types import Size

IMAGE_LIMITS = 64, 4096
VIDEO_LIMITS = 64, 1920
"""Smallest and largest side, in pixels."""
IMAGE_SIDE, VIDEO_SIDE, VIDEO_SQUARE = 1024, 1280, 960
"""Long side where only a ratio was asked; a square video is smaller."""


def of_image(asked: Size | None) -> tuple[int, int]:
    """Width and height of an image: exactly those asked, else the ratio's, in multiples of 8.

    Raises ValueError for a side out of range.
    """
    asked = asked or Size("1:1")
    size = (asked.width, asked.height) if asked.width else _from_ratio(asked.ratio, IMAGE_SIDE, 8)
    return _within(size, IMAGE_LIMITS)


def of_video(asked: Size | None) -> tuple[int, int]:
    """The same of a video, whose sides are even. Raises ValueError for a side that is odd or out of range."""
    asked = asked or Size("16:9")
    long = VIDEO_SQUARE if asked.ratio == "1:1" else VIDEO_SIDE
    size = (asked.width, asked.height) if asked.width else _from_ratio(asked.ratio, long, 2)
    if odd := [side for side in size if side % 2]:
        raise ValueError(f"a video's sides are even numbers of pixels, not {odd[0]}")
    return _within(size, VIDEO_LIMITS)


def shown(width: int, height: int) -> Size:
    """Pixels as a size."""
    shape = gcd(width, height)
    return Size(f"{width // shape}:{height // shape}", width, height)


def _from_ratio(ratio: str, long: int, step: int) -> tuple[int, int]:
    across, down = (int(part) for part in ratio.split(":"))
    scale = long / max(across, down)
    return max(step, round(across * scale / step) * step), max(step, round(down * scale / step) * step)


def _within(size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    low, high = limits
    if wrong := [side for side in size if not low <= side <= high]:
        raise ValueError(f"a side must be from {low} to {high} pixels, not {wrong[0]}")
    return size
