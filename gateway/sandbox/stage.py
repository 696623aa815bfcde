"""The stage of a film: a scene wider than the frame, which the camera passes while near things move faster than far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.sandbox import caption, scenes
from gateway.sandbox.caption import Caption
from gateway.sandbox.dice import dice
from gateway.sandbox.lettering import Lettering
from gateway.sandbox.palette import Palette, blend
from gateway.sandbox.picture import light_of, opened
from gateway.sandbox.scenes.base import Layer, radial

if TYPE_CHECKING:
    from PIL.Image import Image

TRAVEL = 0.3
"""How far the camera goes, as a share of the frame's width."""
SPARKS = 26
FADE = 0.16
"""The share of a film in which a given first or last image gives way to the scene."""


@dataclass(frozen=True, slots=True)
class Spark:
    """A mote of light: where it starts (shares of the frame), how fast it goes, how it sways."""

    x: float
    y: float
    rise: float
    sway: float
    turn: float
    sprite: int


class Stage:
    """Everything of a film that is made once; `frame` puts it together for one moment."""

    def __init__(
        self,
        prompt: str,
        *,
        seed: int,
        width: int,
        height: int,
        seconds: float,
        first: bytes | None,
        last: bytes | None,
    ) -> None:
        self.size = width, height
        self.seconds = seconds
        self.light: Palette = light_of(prompt, seed)
        self._words: Caption = caption.lay_out(prompt, f"sandbox · seed {seed}", width, height)
        world, seen = math.ceil(width * (1 + TRAVEL)), height - self._words.height
        painted = scenes.paint(prompt, seed=seed, width=world, height=height)
        self._layers = [part for layer in _flattened(painted) for part in _parts(layer, seen)]
        self._first, self._last = (covering(data, width, height) if data else None for data in (first, last))
        chance = dice("sparks", prompt, seed)
        self._sparks = [
            Spark(chance.random(), chance.random(), chance.uniform(0.15, 0.6), chance.uniform(0.005, 0.03),
                  chance.uniform(0, math.tau), chance.randrange(3)) for _ in range(SPARKS)
        ]  # fmt: skip
        self._sprites = [_sprite(self.light, max(2.0, min(self.size) * size)) for size in (0.006, 0.01, 0.016)]
        self._heading = chance.choice((1, -1))
        self._band = self._lettered()

    def frame(self, share: float) -> Image:
        """The picture at `share` (0–1) of the film, RGB."""
        from PIL import Image

        shown = Image.new("RGB", self.size)
        opening, closing = _fading(share / FADE), _fading((1 - share) / FADE)
        if self._first and opening <= 0:
            shown.paste(self._first)
        elif self._last and closing <= 0:
            shown.paste(self._last)
        else:
            self._scene(shown, share)
            if self._first and opening < 1:
                shown = Image.blend(self._first, shown, opening)
            if self._last and closing < 1:
                shown = Image.blend(self._last, shown, closing)
        self._foot(shown, share)
        return shown

    def _scene(self, shown: Image, share: float) -> None:
        eased = (1 - math.cos(math.pi * share)) / 2
        # The way is walked at an even pace with soft ends: what is eased alone would seem to stop.
        way = 0.5 * eased + 0.5 * share
        way = way if self._heading > 0 else 1 - way
        for layer in self._layers:
            left, top = self._place(layer, way, share)
            mask = layer.image if layer.image.mode == "RGBA" else None
            shown.paste(layer.image, (left, top), mask)
        self._glitter(shown, share)

    def _place(self, layer: Layer, way: float, share: float) -> tuple[int, int]:
        width, height = self.size
        # The sky goes a little of the way, on either side of its middle; what is nearest goes all of it.
        gone = TRAVEL * width * (0.5 + (way - 0.5) * (0.1 + 0.9 * layer.depth))
        return round(layer.left - gone), round(layer.top - layer.rise * height * (share - 0.5))

    def _glitter(self, shown: Image, share: float) -> None:
        width, height = self.size
        for spark in self._sparks:
            y = (spark.y - spark.rise * share) % 1.0
            x = spark.x + spark.sway * math.sin(spark.turn + share * math.tau * 2)
            sprite = self._sprites[spark.sprite]
            shown.paste(sprite, (round(x * width), round(y * (height - self._band.height))), sprite)

    def _lettered(self) -> Image:
        """The caption band over nothing, to be laid on every frame."""
        from PIL import Image

        blank = Image.new("RGB", self.size, self.light.near)
        caption.write(blank, self._words, self.light)
        return blank.crop((0, self.size[1] - self._words.height, *self.size))

    def _foot(self, shown: Image, share: float) -> None:
        from PIL import ImageDraw

        width, height = self.size
        shown.paste(self._band, (0, height - self._band.height))
        pen, thick = ImageDraw.Draw(shown), max(2, height // 160)
        pen.rectangle((0, height - thick, width, height), fill=blend(self.light.near, (255, 255, 255), 0.16))
        pen.rectangle(
            (0, height - thick, round(width * share), height), fill=blend(self.light.accent, self.light.sun, 0.2)
        )
        if self._words.mark:
            letters = Lettering(max(7, round(self._words.size * 0.62)))
            clock = f"{_clock(share * self.seconds)} / {_clock(self.seconds)}"
            x = width - self._words.margin - letters.width(clock)
            letters.draw(pen, (x, height - self._words.margin - letters.size), clock, (255, 255, 255))


def _flattened(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The same layers, with neighbours that move together pressed into one."""
    held: Layer | None = None
    for layer in layers:
        if held and (layer.depth, layer.rise) == (held.depth, held.rise):
            held = _pressed(held, layer)
            continue
        if held:
            yield held
        held = layer
    if held:
        yield held


def _pressed(below: Layer, above: Layer) -> Layer:
    from PIL import Image

    if above.image.mode == "RGB" or below.image.mode == "RGB":
        mask = above.image if above.image.mode == "RGBA" else None
        below.image.paste(above.image, (above.left - below.left, above.top - below.top), mask)
        return below
    left, top = min(below.left, above.left), min(below.top, above.top)
    right = max(layer.left + layer.image.width for layer in (below, above))
    bottom = max(layer.top + layer.image.height for layer in (below, above))
    sheet = Image.new("RGBA", (right - left, bottom - top))
    sheet.paste(below.image, (below.left - left, below.top - top))
    sheet.alpha_composite(above.image, (above.left - left, above.top - top))
    return replace(below, image=sheet, left=left, top=top)


def _parts(layer: Layer, seen: int) -> Iterator[Layer]:
    """What of a layer is in view (above the row `seen`), its solid foot apart: that is laid without a mask, faster."""
    from PIL import ImageChops

    reach = math.ceil(layer.rise * seen) + 1
    image = layer.image.crop((0, 0, layer.image.width, min(layer.image.height, max(1, seen - layer.top + reach))))
    clear = ImageChops.invert(image.getchannel("A")).getbbox() if image.mode == "RGBA" else None
    if clear is None or clear[3] >= image.height:
        yield replace(layer, image=image)
        return
    width, height = image.size
    yield replace(layer, image=image.crop((0, 0, width, clear[3])))
    yield replace(layer, image=image.crop((0, clear[3], width, height)).convert("RGB"), top=layer.top + clear[3])


def covering(data: bytes, width: int, height: int) -> Image:
    """A caller's image, scaled and cropped so that it covers the frame."""
    from PIL import Image, ImageOps

    return ImageOps.fit(opened(data), (width, height), Image.Resampling.LANCZOS)


def _fading(share: float) -> float:
    """0 while the given image still stands alone, then smoothly to 1."""
    share = min(1.0, max(0.0, share * 1.35 - 0.35))
    return share * share * (3 - 2 * share)


def _sprite(light: Palette, radius: float) -> Image:
    from PIL import Image

    size = math.ceil(radius * 2)
    fall = [round(200 * (1 - level / 255) ** 1.6) for level in range(256)]
    sprite = Image.new("RGBA", (size, size), (*light.sun, 0))
    sprite.putalpha(radial().point(fall).resize((size, size), Image.Resampling.BICUBIC))
    return sprite


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
