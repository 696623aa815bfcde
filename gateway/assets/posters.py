"""One picture of a video: the first that shows something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.assets.containers import MAX_PIXELS, moving_picture, opened, stretched
from gateway.assets.orientation import upright

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

LONGEST = 1280
"""Pixels of the longest side."""
QUALITY = 85
LOOKED_AT = 3.0
"""Seconds from the start in which a picture is looked for."""
KEYS_LOOKED_AT = 12.0
"""The same where only key frames are decoded, of which there may be one in ten seconds."""
EVERY = 0.1
"""Seconds between frames that are looked at."""
MAX_PACKETS = 2_000
"""As many are read for it at most, whether they can be decoded or not."""
KEYS_ONLY = 1920 * 1200
"""Pixels of a frame from which on only key frames are decoded: a decoder keeps up to seventeen others."""
FRAME_BYTES = 128 * 1024 * 1024
"""As much may a frame take that is decoded."""
DARK, DARK_SHARE = 32, 0.98
"""A frame is black where so many of its pixels are no lighter, of 255."""
HD = 720
"""Lines from which on players take colours for those of HD television, where nothing tells."""

_UNTOLD = 2
"""The colour space of frames that tell none."""
_QUARTERS = {1: 8, 2: 3, 3: 6}
"""Quarter turns against the clock, as EXIF numbers them."""


def poster(file: BinaryIO, reader: str, go_on: Callable[[], None]) -> Image | None:
    """The first picture that is not black, as it is shown; None where there is no video. `go_on` raises to end it.

    Raises whatever PyAV does, and ValueError where no frame can be decoded.
    """
    with opened(file, reader) as container:
        stream = moving_picture(container)
        if stream is None:
            return None
        whole = _frugal(stream)
        seen = _first_seen(_frames(container, stream, go_on), stream, LOOKED_AT if whole else KEYS_LOOKED_AT)
    if seen is None:
        raise ValueError("no frame can be decoded")
    return seen


def jpeg(image: Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def _frugal(stream: VideoStream) -> bool:
    """Have it decoded in bounded memory; whether all its frames are. ValueError for one too large."""
    context = stream.codec_context
    pixels = context.width * context.height
    bits = sum(component.bits for component in context.format.components) if context.format else 0
    if not 0 < pixels <= MAX_PIXELS or pixels * bits // 8 > FRAME_BYTES:
        raise ValueError("frames too large, or of no size")
    whole = pixels <= KEYS_ONLY
    context.options = {"max_pixels": str(KEYS_ONLY if whole else pixels)}
    context.thread_count = 1
    if not whole:
        context.skip_frame = "NONKEY"
    return whole


def _frames(container: InputContainer, stream: VideoStream, go_on: Callable[[], None]) -> Iterator[VideoFrame]:
    """Its frames as far as they can be decoded: what is damaged is left out."""
    from av.error import FFmpegError

    with suppress(FFmpegError):  # where reading it fails it ends
        for packet in islice(container.demux(stream), MAX_PACKETS):
            go_on()
            found: list[VideoFrame] = []
            with suppress(FFmpegError):
                found = packet.decode()
            yield from found


def _first_seen(frames: Iterator[VideoFrame], stream: VideoStream, until: float) -> Image | None:
    """The first frame that is not black, else the first."""
    first: Image | None = None
    began = next_look = 0.0
    for frame in frames:
        at = float(frame.time) if frame.time is not None else next_look
        if first is None:
            first, began, next_look = _picture(frame, stream), at, at
        if at - began > until:
            break
        if at < next_look:
            continue
        if not _black(frame):
            return _picture(frame, stream)
        next_look = at + EVERY
    return first


def _black(frame: VideoFrame) -> bool:
    counts = _converted(frame, 64, 36).convert("L").histogram()
    return bool(sum(counts[: DARK + 1]) >= DARK_SHARE * sum(counts))


def _picture(frame: VideoFrame, stream: VideoStream) -> Image:
    """As it is shown, at most LONGEST wide and high."""
    width, height = stretched(stream, frame.width, frame.height)
    scale = min(Fraction(1), Fraction(LONGEST, max(width, height)))
    image = _converted(frame, max(1, round(width * scale)), max(1, round(height * scale)))
    return upright(image, _QUARTERS.get(round(frame.rotation / 90) % 4, 1))


def _converted(frame: VideoFrame, width: int, height: int) -> Image:
    from av.video.reformatter import Colorspace

    colours = Colorspace.ITU709 if frame.colorspace == _UNTOLD and frame.height >= HD else None
    converted = frame.reformat(width, height, "rgb24", src_colorspace=colours, interpolation="LANCZOS")
    return cast("Image", converted.to_image())  # type: ignore[no-untyped-call]
