"""A planet among stars and coloured dust, seen from a dark shore."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.sandbox.palette import blend
from gateway.sandbox.scenes.base import (
    Layer,
    Point,
    View,
    backdrop,
    column,
    glow,
    ground,
    radial,
    silhouette,
    skyline,
    stars,
)

if TYPE_CHECKING:
    from PIL.Image import Image

WORDS = "space planet star stars galaxy universe moon rocket alien astronaut cosmos night 太空 宇宙 星球 星空 火箭 夜"
BLACK = (3, 4, 14)


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    deep = [blend(stop, BLACK, 0.82 - 0.12 * index) for index, stop in enumerate(palette.sky)]
    yield backdrop(view, deep)
    for tint in (palette.sky[-1], palette.accent, palette.sky[len(palette.sky) // 2], palette.far):
        at = (view.width * chance.uniform(0.05, 0.95), view.height * chance.uniform(0.05, 0.7))
        yield glow(view, at, view.unit * chance.uniform(0.45, 0.8), tint, 0.27, depth=0.02)
    yield stars(view, 520, view.height)
    at = (view.width * chance.uniform(0.36, 0.64), view.height * chance.uniform(0.34, 0.42))
    radius = view.unit * chance.uniform(0.19, 0.25)
    yield glow(view, at, radius * 1.9, blend(palette.sky[-1], palette.accent, 0.3), 0.4, depth=0.12)
    yield from _ringed(view, at, radius)
    yield _moon(view, at, radius)
    for nearness in (0.5, 1.0):
        yield _shore(view, nearness)


def _ringed(view: View, at: Point, radius: float) -> Iterator[Layer]:
    ring, tilt = _ring(view, radius), view.chance.uniform(-24, 24)
    body = _globe(view, radius)
    left, top = round(at[0] - ring.width / 2), round(at[1] - ring.height / 2)
    back, front = ring.copy(), ring
    half = ring.height // 2
    back.paste((0, 0, 0, 0), (0, half, ring.width, ring.height))
    front.paste((0, 0, 0, 0), (0, 0, ring.width, half))
    from PIL import Image

    turned = [sheet.rotate(tilt, Image.Resampling.BICUBIC) for sheet in (back, front)]
    yield Layer(turned[0], left, top, 0.14)
    yield Layer(body, round(at[0] - body.width / 2), round(at[1] - body.height / 2), 0.14)
    yield Layer(turned[1], left, top, 0.14)


def _globe(view: View, radius: float) -> Image:
    """Bands of cloud, lit from the upper left, dark on the other side."""
    from PIL import Image, ImageChops, ImageDraw

    size, palette, fine = max(8, round(radius * 2)), view.palette, 2
    tones = [palette.sky[-1], palette.far, blend(palette.sky[-1], palette.sun, 0.6), palette.accent, palette.sky[0]]
    stops = [blend(view.chance.choice(tones), palette.far, 0.35) for _ in range(11)]
    bands = column(stops, size * 2, size * 2).rotate(view.chance.uniform(-24, 24), Image.Resampling.BICUBIC)
    bands = bands.crop((size // 2, size // 2, size // 2 + size, size // 2 + size))
    shade = radial().resize((size * 2, size * 2), Image.Resampling.BICUBIC)
    shade = shade.crop((round(size * 0.68), round(size * 0.68), round(size * 0.68) + size, round(size * 0.68) + size))
    lit = shade.point([max(0, 255 - round((level / 255) ** 1.5 * 270)) for level in range(256)])
    mask = Image.new("L", (size * fine, size * fine), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, size * fine - 1, size * fine - 1), fill=255)
    globe = ImageChops.multiply(bands, Image.merge("RGB", (lit, lit, lit)))
    globe = Image.blend(globe, bands, 0.06).convert("RGBA")
    globe.putalpha(mask.reduce(fine))
    return globe


def _ring(view: View, radius: float) -> Image:
    from PIL import Image, ImageDraw

    wide, fine = round(radius * 4.6), 2
    sheet = Image.new("L", (wide * fine, wide * fine), 0)
    pen, middle = ImageDraw.Draw(sheet), wide * fine / 2
    for index in range(26):
        reach = radius * (1.45 + 0.75 * index / 26) * fine
        ink = round((0.25 + 0.75 * view.chance.random()) * 190 * math.sin(math.pi * (index + 1) / 27))
        box = (middle - reach, middle - reach * 0.22, middle + reach, middle + reach * 0.22)
        pen.ellipse(box, outline=ink, width=max(1, round(radius * fine * 0.028)))
    tint = blend(view.palette.sun, view.palette.far, 0.25)
    ring = Image.new("RGBA", (wide, wide), (*tint, 0))
    ring.putalpha(sheet.reduce(fine))
    return ring


def _moon(view: View, at: Point, radius: float) -> Layer:
    turn = view.chance.uniform(math.pi * 1.1, math.pi * 1.9)
    body = _globe(view, radius * 0.16)
    x, y = at[0] + math.cos(turn) * radius * 1.75, at[1] + math.sin(turn) * radius * 1.3
    return Layer(body, round(x - body.width / 2), round(y - body.height / 2), 0.2, 0.05)


def _shore(view: View, nearness: float) -> Layer:
    crest = skyline(view.chance, view.width, base=view.height * (0.76 + 0.11 * nearness), rise=view.height * 0.08,
                    rough=0.55, waves=view.width / view.height * 1.6, step=max(1.0, view.unit / 400))  # fmt: skip
    tone = blend(view.palette.near, BLACK, 0.4 * nearness)
    lit = blend(tone, view.palette.sky[-1], 0.3 * (1 - nearness) + 0.08)
    return silhouette(view, [ground(view, crest)], (lit, tone, tone), depth=0.3 + 0.6 * nearness)
