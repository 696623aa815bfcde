"""Towers at dusk with lit windows, a great moon behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.sandbox.palette import blend
from gateway.sandbox.scenes.base import Layer, Point, View, backdrop, disc, glow, haze, silhouette, stars

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WORDS = (
    "city town street building tower skyline robot car neon cyberpunk office 城市 街 街道 楼 大楼 机器人 车 霓虹 赛博"
)


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    moon = (view.width * chance.uniform(0.3, 0.7), view.height * chance.uniform(0.3, 0.42))
    yield backdrop(view, (*palette.sky, blend(palette.sky[-1], palette.accent, 0.3)))
    yield stars(view, 160, view.height * 0.5)
    yield glow(view, moon, view.unit * 0.7, palette.sun, 0.6)
    yield disc(moon, view.unit * 0.16, (palette.sun, blend(palette.sun, palette.accent, 0.55)), depth=0.04, rise=0.04)
    for nearness in (0.15, 0.5, 0.85):
        yield from _block(view, nearness)


def _block(view: View, nearness: float) -> Iterator[Layer]:
    towers = list(_towers(view, nearness))
    outlines = [outline for tower in towers for outline in _outlines(view, *tower)]
    tone = haze(view.palette, nearness)
    foot = blend(tone, view.palette.sky[-1], 0.5 * (1 - nearness))
    yield silhouette(view, outlines, (tone, foot), depth=0.15 + 0.7 * nearness)
    yield _windows(view, towers, nearness)


def _towers(view: View, nearness: float) -> Iterator[tuple[float, float, float]]:
    """(left, width, top) of each tower of a row, in pixels."""
    chance, x = view.chance, -view.unit * 0.05
    while x < view.width:
        wide = view.unit * chance.uniform(0.05, 0.1) * (0.8 + 0.6 * nearness)
        tall = chance.uniform(0.1, 0.34) * (1.15 - 0.3 * nearness) + (0.12 if chance.random() < 0.15 else 0.0)
        yield round(x), round(wide), view.height * (0.7 + 0.22 * nearness - tall)
        x += wide * chance.uniform(0.95, 1.3)


def _outlines(view: View, left: float, wide: float, top: float) -> Iterator[list[Point]]:
    foot, right, roof = view.height, left + wide, view.chance.random()
    if roof < 0.25:
        yield [(left, top + wide * 0.35), (right, top), (right, foot), (left, foot)]
        return
    yield [(left, top), (right, top), (right, foot), (left, foot)]
    if roof < 0.5:
        yield [(left + wide * 0.2, top - wide * 0.25), (right - wide * 0.2, top - wide * 0.25),
               (right - wide * 0.2, top), (left + wide * 0.2, top)]  # fmt: skip
    elif roof < 0.7:
        middle, mast = left + wide / 2, max(1.0, wide * 0.025)
        yield [(middle - mast, top), (middle - mast, top - wide * 0.8), (middle + mast, top - wide * 0.8),
               (middle + mast, top)]  # fmt: skip


def _windows(view: View, towers: list[tuple[float, float, float]], nearness: float) -> Layer:
    from PIL import Image, ImageDraw

    top = max(0, round(min(tower[2] for tower in towers)))
    sheet = Image.new("RGBA", (view.width, max(1, view.height - top)), (*view.palette.sun, 0))
    pen = ImageDraw.Draw(sheet)
    pane = max(1, round(view.unit * (0.0045 + 0.004 * nearness)))
    for left, wide, head in towers:
        _light(pen, view, (left, wide, head - top), pane, 0.2 + 0.15 * nearness)
    return Layer(sheet, 0, top, 0.15 + 0.7 * nearness)


def _light(pen: ImageDraw, view: View, tower: tuple[float, float, float], pane: int, share: float) -> None:
    left, wide, head = tower
    chance, tints = view.chance, (view.palette.sun, view.palette.sun, view.palette.accent)
    columns = max(1, int((wide - pane) // (pane * 2)))
    inset = round((wide - columns * pane * 2 + pane) / 2)
    for row in range(round(head) + pane * 6, view.height, pane * 3):
        for index in range(columns):
            if chance.random() < share:
                x = int(left) + inset + index * pane * 2
                tint = (*chance.choice(tints), chance.randint(110, 240))
                pen.rectangle((x, row, x + pane - 1, row + round(pane * 1.4) - 1), fill=tint)
