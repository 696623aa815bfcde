"""Sizes as callers write them: `16:9`, `1024x1024`, `1024*1024`, `1024×1024`."""

from __future__ import annotations

import re
from math import gcd

from gateway.errors import InvalidRequest
from gateway.types import Size

MIN_SIDE, MAX_SIDE = 64, 8192
MAX_RATIO = 8

_PIXELS = re.compile(r"(\d{1,6})\s*[x*×X]\s*(\d{1,6})")
_RATIO = re.compile(r"(\d{1,4})\s*:\s*(\d{1,4})")


def parse(value: str | None, param: str = "size") -> Size | None:
    """None for none, "" and `auto`. Raises InvalidRequest that says which sizes are possible."""
    if value is None or value.strip().lower() in ("", "auto"):
        return None
    if found := _PIXELS.fullmatch(value.strip()):
        width, height = int(found[1]), int(found[2])
        if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
            raise InvalidRequest(
                f"'{param}' {value!r} is impossible: each side must be from {MIN_SIDE} to {MAX_SIDE} pixels",
                param=param,
            )
        return Size(_reduced(width, height, value, param), width, height)
    if found := _RATIO.fullmatch(value.strip()):
        return Size(_reduced(int(found[1]), int(found[2]), value, param))
    raise InvalidRequest(
        f"'{param}' {value[:40]!r} is not a size: write a ratio like '16:9' or pixels like '1024x1024'", param=param
    )


def _reduced(width: int, height: int, value: str, param: str) -> str:
    if not width or not height or max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidRequest(
            f"'{param}' {value!r} is impossible: the ratio must lie between 1:{MAX_RATIO} and {MAX_RATIO}:1",
            param=param,
        )
    divisor = gcd(width, height)
    return f"{width // divisor}:{height // divisor}"
