"""Pines in the mist, rank behind rank, light falling between them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sandbox.palette import blend
from gateway.sandbox.scenes.base import Layer, Point, View, backdrop, disc, glow, ground, haze, silhouette, skyline

WORDS = "forest tree trees wood woods jungle garden animal cat dog fox bear bird deer 森林 树 花园 动物 猫 狗 熊 鸟"
RANKS = 5


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    sun = (view.width * chance.uniform(0.25, 0.75), view.height * chance.uniform(0.2, 0.34))
    yield backdrop(view, palette.sky)
    yield glow(view, sun, view.unit * 0.9, palette.sun, 0.85)
    yield disc(sun, view.unit * 0.06, (palette.sun, palette.sun), depth=0.03, rise=0.04)
    for index in range(RANKS):
        yield from _rank(view, index / (RANKS - 1))


def _rank(view: View, nearness: float) -> Iterator[Layer]:
    chance, base = view.chance, view.height * (0.5 + 0.42 * nearness)
    crest = skyline(chance, view.width, base=base, rise=view.height * 0.07, rough=0.4,
                    waves=max(0.5, view.width / view.height * (1.4 - 0.7 * nearness)),
                    step=view.unit / 200)  # fmt: skip
    tall, outlines, x = view.unit * (0.1 + 0.26 * nearness**1.3), [ground(view, crest)], 0.0
    while x < view.width:
        foot = crest[min(len(crest) - 1, int(x / view.unit * 200))][1]
        outlines.append(_pine(x, foot + tall * 0.1, tall * chance.uniform(0.55, 1.1), chance.uniform(0.15, 0.21)))
        x += tall * chance.uniform(0.12, 0.5)
    colour = haze(view.palette, nearness)
    mist = blend(colour, view.palette.sky[-1], 0.7 * (1 - nearness))
    yield silhouette(view, outlines, (colour, mist, mist), depth=0.12 + 0.8 * nearness)
    if nearness < 1:
        yield _mist(view, base + view.height * 0.1, nearness)


def _pine(x: float, foot: float, tall: float, slim: float) -> list[Point]:
    """A pine as one outline: boughs that widen downwards, each tip drooping."""
    right: list[Point] = []
    boughs = 6
    for bough in range(1, boughs + 1):
        reach, height = tall * slim * (bough / boughs) ** 0.85, foot - tall * (1 - bough / boughs * 0.92)
        right += [(x + reach, height), (x + reach * 0.5, height - tall * 0.012)]
    trunk = tall * 0.02
    right += [(x + trunk, foot - tall * 0.08), (x + trunk, foot)]
    return [(x, foot - tall), *right, *[(2 * x - place, height) for place, height in reversed(right)]]


def _mist(view: View, middle: float, nearness: float) -> Layer:
    reach = view.width * view.chance.uniform(0.4, 0.7)
    cloud = glow(view, (0, 0), reach, view.palette.sky[-1], 0.42 * (1 - nearness * 0.6))
    flat = cloud.image.resize((round(reach * 2), max(2, round(view.height * 0.22))))
    left = round(view.width * view.chance.uniform(0.1, 0.9) - reach)
    return Layer(flat, left, round(middle - flat.height / 2), 0.3 + 0.5 * nearness)
