"""The contract of a scene: a view painted back to front as layers, each knowing how far away it is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.sandbox.palette import Colour, Palette, blend, ramp

if TYPE_CHECKING:
    from PIL.Image import Image

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class View:
    """What a scene is painted for: a canvas in pixels, a light and a source of chance."""

    width: int
    height: int
    palette: Palette
    chance: random.Random

    @property
    def unit(self) -> int:
        """The shorter side: what sizes of things are measured in, so that every shape of canvas looks right."""
        return min(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Layer:
    """One sheet of a scene."""

    image: Image
    """RGBA, or RGB where it hides everything behind it."""
    left: int
    top: int
    depth: float
    """0 is the horizon and stands still when the camera moves; 1 moves with the camera."""
    rise: float = 0.0
    """How far it climbs during a film, as a share of the canvas height."""


Scene = Callable[[View], Iterator[Layer]]


def backdrop(view: View, stops: Sequence[Colour], *, depth: float = 0.0) -> Layer:
    """A vertical gradient over the whole canvas."""
    return Layer(column(stops, view.width, view.height), 0, 0, depth)


def column(stops: Sequence[Colour], width: int, height: int) -> Image:
    """A vertical gradient, RGB."""
    from PIL import Image

    strip = Image.new("RGB", (1, height))
    strip.putdata(ramp(stops, height))
    return strip.resize((width, height), Image.Resampling.NEAREST)


def glow(view: View, at: Point, radius: float, colour: Colour, strength: float, *, depth: float = 0.0) -> Layer:
    """Soft light around a point: `strength` (0–1) in the middle, nothing at `radius` pixels."""
    from PIL import Image

    size = max(2, round(radius * 2))
    fall = [round(255 * strength * (1 - level / 255) ** 1.8) for level in range(256)]
    mask = radial().point(fall).resize((size, size), Image.Resampling.BICUBIC)
    image = Image.new("RGBA", (size, size), (*colour, 0))
    image.putalpha(mask)
    return Layer(image, round(at[0] - radius), round(at[1] - radius), depth)


@lru_cache(maxsize=1)
def radial() -> Image:
    """A small grey square: 0 in the middle, 255 from its sides outwards."""
    from PIL import Image

    square = Image.radial_gradient("L")
    middle = square.crop((0, 128, 256, 129)).tobytes()
    # Pillow's own reaches 255 at the sides in some versions and at the corners in others.
    side = min(middle[0], middle[-1])
    return square.point([min(255, round(level * 255 / side)) for level in range(256)])


def disc(at: Point, radius: float, stops: Sequence[Colour], *, depth: float = 0.0, rise: float = 0.0) -> Layer:
    """A round thing (sun, moon, lamp) shaded from top to bottom."""
    from PIL import Image, ImageDraw

    size, fine = max(2, math.ceil(radius * 2)), 4 if radius < 300 else 2
    mask = Image.new("L", (size * fine, size * fine), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, size * fine - 1, size * fine - 1), fill=255)
    image = column(stops, size, size).convert("RGBA")
    image.putalpha(mask.reduce(fine))
    return Layer(image, round(at[0] - radius), round(at[1] - radius), depth, rise)


def silhouette(
    view: View, outlines: Sequence[Sequence[Point]], stops: Sequence[Colour], *, depth: float, opacity: float = 1.0
) -> Layer:
    """Filled outlines (points in canvas pixels) with soft edges, shaded from their top to the foot of the canvas."""
    from PIL import Image, ImageDraw

    tops = [y for outline in outlines for _, y in outline]
    top = max(0, min(view.height - 1, math.floor(min(tops))))
    bottom = max(top + 1, min(view.height, math.ceil(max(tops))))
    # Edges are softened by drawing larger and averaging; big canvases need it less and can afford it less.
    fine = 4 if view.width * view.height <= 1_400_000 else 2
    mask = Image.new("L", (view.width * fine, (bottom - top) * fine), 0)
    pen, ink = ImageDraw.Draw(mask), round(255 * opacity)
    for outline in outlines:
        pen.polygon([(x * fine, (y - top) * fine) for x, y in outline], fill=ink)
    image = column(stops, view.width, bottom - top).convert("RGBA")
    image.putalpha(mask.reduce(fine))
    return Layer(image, 0, top, depth)


def skyline(
    chance: random.Random, width: int, *, base: float, rise: float, rough: float, waves: float, step: float
) -> list[Point]:
    """A ridge from left to right: sine waves of falling size, `rise` pixels high around the height `base`.

    `waves` is how many hills fit in the width; `rough` (0–1) how much of each wave the next, finer one keeps.
    """
    parts = [(waves * 2.03**octave, rough**octave, chance.uniform(0, math.tau)) for octave in range(7)]
    total = sum(weight for _, weight, _ in parts)
    points = []
    for index in range(math.ceil(width / step) + 1):
        turn = index * step / width * math.tau
        height = sum(weight * math.sin(turn * count + phase) for count, weight, phase in parts)
        points.append((index * step, base - rise * height / total))
    return points


def ground(view: View, crest: Sequence[Point]) -> list[Point]:
    """The outline of everything below `crest`."""
    return [*crest, (view.width + 2, view.height), (-2, view.height)]


def haze(palette: Palette, nearness: float) -> Colour:
    """The colour of things `nearness` (0 far, 1 near) from the eye: the air between tints them."""
    return blend(palette.far, palette.near, nearness)


def stars(view: View, count: int, floor: float) -> Layer:
    """`count` stars above the height `floor` (pixels), most of them faint."""
    from PIL import Image, ImageDraw

    fine, height = 2, max(1, round(floor))
    sheet = Image.new("L", (view.width * fine, height * fine), 0)
    pen = ImageDraw.Draw(sheet)
    for _ in range(count):
        x, y = view.chance.uniform(0, view.width) * fine, view.chance.uniform(0, 1) ** 1.4 * height * fine
        size = max(0.7, view.unit / 900 * view.chance.choice((0.7, 0.7, 1.0, 1.0, 1.7)) * fine)
        pen.ellipse((x - size, y - size, x + size, y + size), fill=view.chance.randint(70, 255))
    image = Image.new("RGBA", (view.width, height), (255, 255, 255, 0))
    image.putalpha(sheet.reduce(fine))
    return Layer(image, 0, 0, 0.03)
