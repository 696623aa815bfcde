"""No place at all: silk ribbons of light flowing over a gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gateway.sandbox.palette import Colour, blend
from gateway.sandbox.scenes.base import Layer, Point, View, backdrop, disc, glow, silhouette

WORDS = (
    "abstract pattern logo music dream art design colour color colors flow wave silk icon 抽象 图案 音乐 梦 艺术 颜色"
)
RIBBONS = 13


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    yield backdrop(view, (blend(palette.sky[0], palette.near, 0.45), palette.sky[0], palette.sky[-1]))
    for tint in (palette.accent, palette.sun):
        at = (view.width * chance.random(), view.height * chance.uniform(0.1, 0.8))
        yield glow(view, at, view.unit * 0.8, tint, 0.5)
    sweep = chance.uniform(0.5, 0.9), chance.uniform(0, math.tau), chance.uniform(0.16, 0.26)
    for index in range(RIBBONS):
        yield _ribbon(view, index / (RIBBONS - 1), sweep)
    for _ in range(14):
        yield _bubble(view)


def _ribbon(view: View, place: float, sweep: tuple[float, float, float]) -> Layer:
    waves, phase, swing = sweep
    steps, height = 140, view.height
    upper: list[Point] = []
    lower: list[Point] = []
    for index in range(steps + 1):
        share = index / steps
        turn = share * math.tau * waves + phase + place * 1.5
        middle = height * (0.14 + 0.66 * place + swing * math.sin(turn) + 0.05 * math.sin(turn * 2.3 + place * 5))
        thick = height * 0.085 * (0.18 + abs(math.sin(share * math.pi * 1.6 + place * 3.1)))
        upper.append((share * view.width, middle - thick))
        lower.append((share * view.width, middle + thick))
    return silhouette(view, [upper + lower[::-1]], _silk(view, place), depth=0.08 + 0.2 * int(place * 4), opacity=0.72)


def _silk(view: View, place: float) -> tuple[Colour, Colour, Colour]:
    palette = view.palette
    tones = [palette.near, palette.far, palette.accent, palette.sky[-1], palette.sun, palette.sky[0]]
    spot = place * (len(tones) - 1)
    tone = blend(tones[int(spot)], tones[min(len(tones) - 1, int(spot) + 1)], spot % 1)
    return blend(tone, palette.sun, 0.35), tone, blend(tone, palette.near, 0.45)


def _bubble(view: View) -> Layer:
    palette, chance = view.palette, view.chance
    at = view.width * chance.random(), view.height * chance.uniform(0.04, 0.85)
    ball = disc(at, view.unit * chance.uniform(0.006, 0.03), (palette.sun, blend(palette.sun, palette.accent, 0.6)),
                depth=chance.uniform(0.2, 1.0), rise=chance.uniform(0.02, 0.12))  # fmt: skip
    faint = ball.image.getchannel("A").point([round(level * 0.55) for level in range(256)])
    ball.image.putalpha(faint)
    return ball
