"""Ridges behind ridges in the haze, a low sun, birds."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sandbox.palette import blend
from gateway.sandbox.scenes.base import Layer, Point, View, backdrop, disc, glow, ground, haze, silhouette, skyline

WORDS = "mountain mountains hill hills landscape valley peak rock snow view nature 山 山脉 风景 自然 雪山"
RIDGES = 6


def paint(view: View) -> Iterator[Layer]:
    """Back to front."""
    palette, chance = view.palette, view.chance
    sun = (view.width * chance.uniform(0.28, 0.72), view.height * chance.uniform(0.26, 0.4))
    yield backdrop(view, palette.sky)
    yield glow(view, sun, view.unit * 0.75, palette.sun, 0.75)
    yield disc(sun, view.unit * 0.075, (palette.sun, blend(palette.sun, palette.sky[-1], 0.35)), depth=0.04, rise=0.05)
    yield _birds(view, sun)
    for index in range(RIDGES):
        yield _ridge(view, index / (RIDGES - 1))


def _ridge(view: View, nearness: float) -> Layer:
    crest = skyline(
        view.chance,
        view.width,
        base=view.height * (0.47 + 0.42 * nearness),
        rise=view.height * (0.16 - 0.05 * nearness),
        rough=0.52 - 0.1 * nearness,
        waves=max(0.6, view.width / view.height * (1.7 - 0.9 * nearness)),
        step=max(1.0, view.unit / 500),
    )
    colour = haze(view.palette, nearness**0.9)
    mist = blend(colour, view.palette.sky[-1], 0.55 * (1 - nearness) + 0.05)
    return silhouette(view, [ground(view, crest)], (colour, blend(colour, mist, 0.6), mist), depth=0.1 + 0.8 * nearness)


def _birds(view: View, sun: Point) -> Layer:
    size, outlines = view.unit * 0.016, []
    for _ in range(view.chance.randint(4, 7)):
        x = sun[0] + view.unit * view.chance.uniform(-0.32, 0.32)
        y = max(size * 2, sun[1] - view.unit * view.chance.uniform(0.02, 0.2))
        wing = size * view.chance.uniform(0.6, 1.2)
        outlines.append([
            (x - wing, y - wing * 0.45), (x - wing * 0.4, y - wing * 0.4), (x, y), (x + wing * 0.4, y - wing * 0.4),
            (x + wing, y - wing * 0.45), (x + wing * 0.4, y - wing * 0.22), (x, y + wing * 0.2),
            (x - wing * 0.4, y - wing * 0.22),
        ])  # fmt: skip
    return silhouette(view, outlines, (view.palette.near, view.palette.near), depth=0.16, opacity=0.75)
