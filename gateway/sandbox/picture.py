"""Pictures: a painted scene of exactly the asked size, with the prompt written under it."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from gateway.sandbox import caption, palette, scenes
from gateway.sandbox.dice import dice
from gateway.sandbox.palette import Colour, Palette, blend
from gateway.sandbox.vocabulary import vocabulary

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST, LARGEST = 64, 4096
MIMES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
FINEST = 2_300_000
"""Pixels a scene is painted with at most; larger pictures are enlarged before the caption is set."""
REFERENCE_LIMIT = 64_000_000
"""Pixels a reference picture may have before it is refused unread."""


def draw(
    prompt: str, *, seed: int, width: int, height: int, reference: bytes | None = None, format: str = "png"
) -> bytes:
    """A picture of `width` × `height` pixels (64–4096 a side) as `format` bytes: png, jpeg or webp.

    Equal arguments give equal bytes. `reference` is an image to work from: it hangs framed in the scene, tinted by its
    light. Raises ValueError for a size or format out of range, and for a reference that is no readable image.
    """
    kind = _known(format)
    for side in (width, height):
        if not SMALLEST <= side <= LARGEST:
            raise ValueError(f"a side of {side} pixels is outside {SMALLEST}–{LARGEST}")
    picture = scenery(prompt, seed=seed, width=width, height=height)
    light, words = light_of(prompt, seed), caption.lay_out(prompt, f"sandbox · seed {seed}", width, height)
    if reference is not None:
        hang(picture, opened(reference), light, height - words.height)
    caption.write(picture, words, light)
    return _encoded(picture, kind)


def mime(format: str) -> str:
    """The media type of `format`; ValueError if pictures do not come in it."""
    return MIMES[_known(format)]


def light_of(prompt: str, seed: int) -> Palette:
    """The palette that `scenery` paints this prompt and seed in."""
    return palette.choose(vocabulary(prompt), dice("scene", prompt, seed))


def scenery(prompt: str, *, seed: int, width: int, height: int) -> Image:
    """The scene alone, RGB, without words."""
    from PIL import Image

    scale = min(1.0, math.sqrt(FINEST / (width * height)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.new("RGB", size)
    for layer in scenes.paint(prompt, seed=seed, width=size[0], height=size[1]):
        mask = layer.image if layer.image.mode == "RGBA" else None
        canvas.paste(layer.image, (layer.left, layer.top), mask)
    return canvas if size == (width, height) else canvas.resize((width, height), Image.Resampling.BICUBIC)


def opened(data: bytes) -> Image:
    """Decode an image that a caller gave to RGB, upright; ValueError if it is not one, or too large."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > REFERENCE_LIMIT:
                raise ValueError(f"the reference is {image.width}×{image.height} pixels, more than the sandbox reads")
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the reference is not an image the sandbox can read") from error
    flat = Image.new("RGB", upright.size, (236, 236, 236))
    flat.paste(upright, mask=upright)
    return flat


def hang(picture: Image, reference: Image, light: Palette, room: int) -> None:
    """Hang `reference` framed in the upper `room` pixels of `picture`, in place."""
    from PIL import Image, ImageFilter

    scale = min(picture.width * 0.66 / reference.width, room * 0.74 / reference.height)
    size = max(8, round(reference.width * scale)), max(8, round(reference.height * scale))
    inner = reference.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    inner = Image.blend(inner, Image.new("RGB", size, light.accent), 0.1)
    mat, rim = max(2, round(min(picture.size) * 0.022)), max(1, round(min(picture.size) * 0.008))
    outer = size[0] + 2 * (mat + rim), size[1] + 2 * (mat + rim)
    left, top = (picture.width - outer[0]) // 2, max(0, (room - outer[1]) // 2)
    blur = mat * 0.8
    shade = Image.new("L", (outer[0] + 4 * mat, outer[1] + 4 * mat), 0)
    shade.paste(150, (2 * mat, 2 * mat, 2 * mat + outer[0], 2 * mat + outer[1]))
    picture.paste((0, 0, 0), (left - 2 * mat, top - round(1.4 * mat)), shade.filter(ImageFilter.BoxBlur(blur)))
    picture.paste(blend(light.near, light.far, 0.12), (left, top, left + outer[0], top + outer[1]))
    paper: Colour = blend((252, 250, 246), light.sky[-1], 0.12)
    picture.paste(paper, (left + rim, top + rim, left + outer[0] - rim, top + outer[1] - rim))
    picture.paste(inner, (left + rim + mat, top + rim + mat))


def _encoded(picture: Image, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "png":
        picture.save(out, "PNG", compress_level=6 if picture.width * picture.height <= FINEST else 2)
    elif kind == "jpeg":
        picture.save(out, "JPEG", quality=90, optimize=False)
    else:
        picture.save(out, "WEBP", quality=86, method=2)
    return out.getvalue()


def _known(format: str) -> str:
    kind = "jpeg" if format.lower() == "jpg" else format.lower()
    if kind not in MIMES:
        raise ValueError(f"pictures come as {', '.join(MIMES)}, not {format!r}")
    return kind
