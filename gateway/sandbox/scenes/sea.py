"""A sun over the sea, its light on the water, a sail."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gateway.sandbox.palette import blend
from gateway.sandbox.scenes.base import (
    Layer,
    Point,
    View,
    backdrop,
    column,
    disc,
    glow,
    ground,
    haze,
    silhouette,
    skyline,
)

WORDS = "sea ocean beach wave waves water lake river boat ship island fish whale 海 大海 海洋 海滩 水 湖 河 船 鱼 岛"


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    shore = round(view.height * chance.uniform(0.5, 0.58))
    sun = (view.width * chance.uniform(0.3, 0.7), shore - view.unit * chance.uniform(0.06, 0.16))
    yield backdrop(view, palette.sky)
    yield glow(view, sun, view.unit * 0.85, palette.sun, 0.8)
    yield disc(sun, view.unit * 0.105, (palette.sun, blend(palette.sun, palette.accent, 0.45)), rise=0.03)
    yield _clouds(view, shore)
    yield _island(view, shore)
    yield _water(view, shore)
    yield _glitter(view, sun[0], shore)
    yield _sail(view, shore)
    for nearness in (0.35, 0.6, 0.85, 1.0):
        yield _swell(view, shore, nearness)


def _clouds(view: View, shore: int) -> Layer:
    lines = []
    for _ in range(11):
        x, y = view.chance.uniform(-0.1, 1.0) * view.width, shore * view.chance.uniform(0.12, 0.86)
        length, thick = view.width * view.chance.uniform(0.12, 0.4), view.unit * view.chance.uniform(0.004, 0.014)
        lines.append(_lens(x + length / 2, y, length / 2, thick))
    tint = blend(view.palette.sun, view.palette.sky[-1], 0.35)
    return silhouette(view, lines, (tint, tint), depth=0.08, opacity=0.42)


def _island(view: View, shore: int) -> Layer:
    middle, reach = view.width * view.chance.uniform(0.1, 0.9), view.width * view.chance.uniform(0.16, 0.3)
    crest = skyline(view.chance, view.width, base=0, rise=view.unit * 0.05, rough=0.5, waves=4, step=view.unit / 300)
    hump = [(x, shore - max(0.0, 1 - ((x - middle) / reach) ** 2) * (view.unit * 0.07 + y)) for x, y in crest]
    tone = haze(view.palette, 0.25)
    foot = [(view.width, shore + 1), (0, shore + 1)]
    return silhouette(view, [[*hump, *foot]], (tone, blend(tone, view.palette.sky[-1], 0.4)), depth=0.12)


def _water(view: View, shore: int) -> Layer:
    palette = view.palette
    stops = (blend(palette.sky[-1], palette.far, 0.35), haze(palette, 0.35), haze(palette, 0.8))
    return Layer(column(stops, view.width, view.height - shore), 0, shore, 0.15)


def _glitter(view: View, middle: float, shore: int) -> Layer:
    glints, deep = [], view.height - shore
    for _ in range(240):
        near = view.chance.random() ** 1.5
        spread = view.unit * (0.06 + 0.34 * near)
        x, y = middle + view.chance.gauss(0, 0.5) * spread, shore + 1 + near * deep * 0.95
        glints.append(_lens(x, y, view.unit * (0.006 + 0.045 * near) * view.chance.uniform(0.4, 1.3),
                            view.unit * (0.001 + 0.0045 * near)))  # fmt: skip
    return silhouette(view, glints, (view.palette.sun, blend(view.palette.sun, view.palette.accent, 0.3)), depth=0.15,
                      opacity=0.7)  # fmt: skip


def _sail(view: View, shore: int) -> Layer:
    size, x = view.unit * view.chance.uniform(0.045, 0.075), view.width * view.chance.uniform(0.25, 0.75)
    y = shore + size * 0.5
    main = [(x, y - size * 2), (x + size * 0.85, y - size * 0.35), (x, y - size * 0.25)]
    jib = [(x - size * 0.06, y - size * 1.8), (x - size * 0.06, y - size * 0.3), (x - size * 0.6, y - size * 0.35)]
    hull = [(x - size * 0.8, y - size * 0.18), (x + size, y - size * 0.18), (x + size * 0.7, y + size * 0.12),
            (x - size * 0.55, y + size * 0.12)]  # fmt: skip
    tone = blend(view.palette.near, view.palette.far, 0.15)
    return silhouette(view, [main, jib, hull], (tone, view.palette.near), depth=0.3)


def _swell(view: View, shore: int, nearness: float) -> Layer:
    base = shore + (view.height - shore) * (0.15 + 0.72 * nearness)
    crest = skyline(view.chance, view.width, base=base, rise=view.unit * 0.035 * nearness, rough=0.42,
                    waves=view.width / view.height * (5.5 - 3.2 * nearness),
                    step=max(2.0, view.unit / 300))  # fmt: skip
    tone = haze(view.palette, 0.35 + 0.6 * nearness)
    lit = blend(tone, view.palette.sky[-1], 0.22)
    return silhouette(view, [ground(view, crest)], (lit, tone, tone), depth=0.2 + 0.75 * nearness, opacity=0.8)


def _lens(x: float, y: float, reach: float, thick: float) -> list[Point]:
    """A flat lens: how a cloud or a glint is seen from the side."""
    turns = [index / 8 * math.pi for index in range(8)]
    upper = [(x - reach * math.cos(turn), y - thick * math.sin(turn) ** 2) for turn in turns]
    return upper + [(x + reach * math.cos(turn), y + thick * math.sin(turn) ** 2) for turn in turns]
