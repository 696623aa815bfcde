"""How an image is turned to be shown: many are stored as the camera was held."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

UPRIGHT = 1
SIDEWAYS = frozenset({5, 6, 7, 8})
"""Stored on their side: width and height change places."""
_TAG = 0x0112


def orientation(image: ImageFile) -> int:
    """From 1 (as it is stored) to 8, as EXIF counts. EXIF that cannot be read says nothing. The image is not decoded.

    HEIF's own way to say it (`irot`, `imir`) comes as EXIF from Pillow, for AVIF.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT  # or Pillow would decode all of it, to see whether any comes after the pixels
    try:
        found = image.getexif().get(_TAG)
    except Exception:  # on broken bytes it raises whatever comes
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT


def upright(image: Image, how: int) -> Image:
    """The image as it is shown, if it was stored so."""
    from PIL.Image import Transpose

    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(ways[how]) if how in ways else image
