"""The caption: a dark band at the foot of a picture with the prompt on it, and the sandbox's mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.sandbox.lettering import Lettering
from gateway.sandbox.palette import Palette, blend

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE = (255, 255, 255)
BLACK = (8, 9, 14)


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption laid out for one size of picture."""

    lines: tuple[str, ...]
    mark: str
    """Empty where a picture is too small to bear it."""
    size: int
    """Of the type, in pixels."""
    margin: int
    height: int
    """Of the band, in pixels: never more than half the picture."""


def lay_out(prompt: str, mark: str, width: int, height: int) -> Caption:
    """The largest type that lets the prompt fit in a modest band; a long prompt is cut, a short one stays on a line."""
    short = min(width, height)
    margin = max(3, round(short * 0.032))
    for share in (0.042, 0.036, 0.031, 0.027):
        size = max(8, round(min(short, width * 0.75) * share))
        type_ = Lettering(size)
        room = int((height * 0.3 - 2 * margin) // type_.line)
        lines = type_.wrap(prompt, width - 2 * margin, max(1, min(6, room - 1)))
        if len(lines) <= 2 and not (lines and lines[-1].endswith("…")):
            break
    mark = mark if width >= 96 and height >= 96 else ""
    small = Lettering(_small(size)).line if mark else 0
    band = len(lines) * type_.line + small + round(1.6 * margin)
    return Caption(tuple(lines), mark, size, margin, min(height // 2, band))


def write(picture: Image, caption: Caption, palette: Palette) -> None:
    """Draw the band and its text onto `picture` (RGB), in place."""
    from PIL import Image, ImageDraw

    width, height = picture.size
    top = height - caption.height
    band = Image.new("RGB", (width, caption.height), blend(BLACK, palette.near, 0.45))
    picture.paste(Image.blend(picture.crop((0, top, width, height)), band, 0.8), (0, top))
    pen, letters = ImageDraw.Draw(picture), Lettering(caption.size)
    line = max(1, caption.size // 14)
    pen.rectangle((0, top, width, top + line - 1), fill=blend(palette.accent, palette.sun, 0.25))
    y = top + round(caption.margin * 0.7)
    for text in caption.lines:
        letters.draw(pen, (caption.margin, y), text, WHITE)
        y += letters.line
    small = Lettering(_small(caption.size))
    for text in small.wrap(caption.mark, width - 2 * caption.margin, 1):
        small.draw(pen, (caption.margin, y), text, blend(palette.sun, WHITE, 0.3))


def _small(size: int) -> int:
    return max(7, round(size * 0.62))
