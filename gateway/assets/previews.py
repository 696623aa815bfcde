"""What is shown of an asset before it is opened: thumbnails of images, posters of videos, waveforms of sound.

They are made one at a time, in bounded memory and time, in a process of their own: everything here takes bytes that
anybody may have made.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from gateway.assets import posters, thumbnails, waveforms
from gateway.assets.asset import SMALL_BYTES
from gateway.assets.cell import Cell, CellFailed, NoCell
from gateway.assets.media import MediaType, Source
from gateway.errors import GatewayError, StorageUnavailable

PREVIEW_WAIT = 60.0
"""Seconds that the previews of one asset may take, reading included."""
PREVIEW_WORK = 20.0
"""Seconds of computing among them."""
GRACE = 5.0
"""Seconds after which nothing is waited for that should have ended by itself."""

GoOn = Callable[[], None]

_HANDS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preview")
_CELL = Cell()


class Unshowable(Exception):
    """Nothing can be shown of these bytes: they are damaged, too large, or take too long."""


@dataclass(frozen=True, slots=True)
class Previews:
    """What was made of an asset; None of what it has no need of or cannot have."""

    thumbnail: bytes | None = None
    """WebP, at most 512 pixels wide and high."""
    poster: bytes | None = None
    """JPEG, at most 1280 pixels wide and high."""
    waveform: tuple[int, ...] | None = None
    """128 peaks from 0 to 100."""


def showable(media_type: MediaType | None) -> bool:
    """Whether there are previews of such a type at all."""
    return media_type is not None and bool(media_type.reader)


async def previewed(source: Source, media_type: MediaType) -> Previews:
    """`make` off the event loop, in a process of its own, and limited in time.

    Raises StorageUnavailable where it is not the bytes that take too long but where they are.
    """
    if not showable(media_type):
        return Previews()
    at_work = threading.Event()
    try:
        async with asyncio.timeout(PREVIEW_WAIT + GRACE):
            return await asyncio.get_running_loop().run_in_executor(_HANDS, _apart, source, media_type, at_work)
    except TimeoutError as exc:
        raise StorageUnavailable("The object storage did not give an object back in time.") from exc
    finally:
        if at_work.is_set():
            _CELL.kill()


def _apart(source: Source, media_type: MediaType, at_work: threading.Event) -> Previews:
    kind = (media_type.mime, media_type.extension, media_type.family, media_type.reader)
    at_work.set()
    try:
        with BytesIO(source) if isinstance(source, bytes) else source() as file:
            thumbnail, poster, waveform = _CELL.ask("previews", file, *kind, seconds=PREVIEW_WAIT)
            return Previews(thumbnail, poster, None if waveform is None else tuple(waveform))
    except CellFailed as exc:
        raise Unshowable(str(exc)) from exc
    except NoCell:
        return make(source, media_type)
    finally:
        at_work.clear()


def make(source: Source, media_type: MediaType) -> Previews:
    """What there is to show of these bytes.

    Raises Unshowable for all that is wrong with them. What opening or reading the source raises of our own errors
    comes through.
    """
    if not showable(media_type):
        return Previews()
    try:
        with BytesIO(source) if isinstance(source, bytes) else source() as file:
            return _previews(file, media_type, _patience(PREVIEW_WORK))
    except (GatewayError, Unshowable):
        raise
    except Exception as exc:  # on broken bytes the readers raise whatever comes
        raise Unshowable(f"{type(exc).__name__}: {exc}"[:200]) from exc


def _patience(seconds: float) -> GoOn:
    """What raises Unshowable once this thread has computed for so long. Who works asks it again and again."""
    until = time.thread_time() + seconds

    def go_on() -> None:
        if time.thread_time() > until:
            raise Unshowable("it takes too long")

    return go_on


def _previews(file: BinaryIO, media_type: MediaType, go_on: GoOn) -> Previews:
    reader = media_type.reader
    if media_type.family == "image":
        return Previews() if _small(file, reader) else Previews(thumbnail=thumbnails.thumbnail(file, reader))
    if media_type.family == "audio":
        return Previews(waveform=waveforms.waveform(file, reader, go_on))
    seen = posters.poster(file, reader, go_on)
    if seen is not None:
        return Previews(thumbnail=thumbnails.webp(seen), poster=posters.jpeg(seen))
    file.seek(0)
    return Previews(waveform=waveforms.waveform(file, reader, go_on))


def _small(file: BinaryIO, reader: str) -> bool:
    """Whether the image itself does for a thumbnail."""
    from PIL import Image

    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > SMALL_BYTES:
        return False
    with Image.open(file, formats=(reader,)) as image:
        small = max(image.size) <= thumbnails.LONGEST
    file.seek(0)
    return small
