"""Small pictures of images: upright, in sRGB, without anything that the image tells of where and when it was taken."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from gateway.assets.orientation import orientation, upright

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

LONGEST = 512
"""Pixels of the longest side."""
QUALITY = 80
MAX_PIXELS = 50_000_000
DECODED_WHOLE: Mapping[str, int] = MappingProxyType({"WEBP": 25_000_000, "AVIF": 25_000_000})
"""Their pixels at most: their decoders hold an image several times, some 16 bytes a pixel in all. Others take 8."""
STRIP_PIXELS = 2_000_000
"""As many are converted at a time."""
PROFILE_BYTES = 2 * 1024 * 1024
"""A colour profile may be as large as those of presses are."""
_KEPT = frozenset({"L", "RGB", "RGBA", "CMYK"})
"""Modes that an image is shrunk in."""


def thumbnail(file: BinaryIO, reader: str) -> bytes:
    """A WebP of the image, or of its first frame. Raises whatever Pillow does, and ValueError for one too large."""
    from PIL import Image

    with Image.open(file, formats=(reader,)) as image:
        if image.width * image.height > DECODED_WHOLE.get(reader, MAX_PIXELS):
            raise ValueError("too many pixels")
        how, profile = orientation(image), image.info.get("icc_profile")
        scale = 2 * LONGEST / max(image.size)
        enough = (int(image.width * scale) or 1, int(image.height * scale) or 1)
        image.draft(None, enough)  # a JPEG is decoded at a part of its size
        image.load()
        small = _shrunk(image)
    return webp(upright(_in_srgb(small, profile), how))


def webp(image: Image) -> bytes:
    """The picture at most LONGEST wide and high."""
    from PIL.Image import Resampling

    small = image.copy()
    small.thumbnail((LONGEST, LONGEST), Resampling.LANCZOS)
    out = BytesIO()
    small.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def _shrunk(image: ImageFile) -> Image:
    """At about twice the size it will have, strip by strip: no copy of the whole is made."""
    from PIL.Image import new

    width, height = image.size
    factor = max(1, max(width, height) // (2 * LONGEST))
    rows = factor * max(1, STRIP_PIXELS // (width * factor))
    found: Image | None = None
    for top in range(0, height, rows):
        strip = _plain(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        if found is None:
            found = new(strip.mode, (strip.width, -(-height // factor)))
        found.paste(strip, (0, top // factor))
    if found is None:
        raise ValueError("no pixels")
    return found


def _plain(image: Image) -> Image:
    """In a mode of eight bits a channel that keeps what is transparent so."""
    if image.mode.startswith("I"):
        return image.point(lambda value: value * (1 / 256)).convert("L")  # sixteen bits of grey
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in _KEPT else image.convert("RGB")


def _in_srgb(image: Image, profile: bytes | None) -> Image:
    """The colours as they are meant. A profile that is damaged, or of other colours than the image has, says nothing.

    Inks without a profile become what screens have, by the simplest rule.
    """
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile and len(profile) <= PROFILE_BYTES:
        from PIL import ImageCms

        try:
            meant = ImageCms.ImageCmsProfile(BytesIO(profile))
            found = ImageCms.profileToProfile(image, meant, ImageCms.createProfile("sRGB"), outputMode=mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            found = None
        if found is not None:
            return found
    return image.convert(mode)
