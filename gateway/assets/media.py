"""What bytes are: their type by their first bytes, their dimensions by reading them. Names and claims decide nothing.

Only the types listed here are known. Everything else, archives and programs first, has none.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

import filetype

from gateway.assets.boxes import picture_size
from gateway.assets.cell import CellFailed, NoCell, apart
from gateway.assets.containers import (
    ISO,
    moving_picture,
    opened,
    seconds,
    sound,
    stretched,
    tells_length,
    turned_streams,
)
from gateway.assets.orientation import SIDEWAYS, orientation
from gateway.errors import GatewayError, InvalidRequest, StorageUnavailable
from gateway.types import MediaFamily

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

HEAD_BYTES = 8192
"""As many first bytes as `sniff` looks at."""
MAX_PIXELS = 50_000_000
MAX_FRAMES = 1_000
MEASURE_WAIT = 30.0
"""Seconds that reading the dimensions may take."""
HEIC_BYTES = 64 * 1024
"""As far as HEIC tells its sizes."""
MAX_BOXES = 64
"""Boxes of an MP4 that are looked at for whether the file goes on to its end."""

Source = bytes | Callable[[], AbstractContextManager[BinaryIO]]
"""Bytes, or how to open what holds them: read where it must be, never whole."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type of content the gateway knows."""

    mime: str
    extension: str
    """Without the dot."""
    family: MediaFamily
    """SVG is an image to the library, but no raster: it has no dimensions and is never served inline."""
    reader: str = ""
    """The one format that Pillow or PyAV may read it as."""

    @property
    def inline(self) -> bool:
        """Whether a browser may render it on our own host."""
        return self.mime in SERVED_INLINE


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What was read from the bytes; None where the type has no such thing."""

    width: int | None = None
    """Pixels, as shown (an image stored on its side is turned)."""
    height: int | None = None
    seconds: float | None = None


PLAIN = MediaType("text/plain", "txt", "text")
HTML = MediaType("text/html", "html", "text")
XML = MediaType("application/xml", "xml", "text")
SVG = MediaType("image/svg+xml", "svg", "image")
JSON = MediaType("application/json", "json", "text")
MARKDOWN = MediaType("text/markdown", "md", "text")
CSV = MediaType("text/csv", "csv", "text")
JSON_LINES = MediaType("application/jsonl", "jsonl", "text")
PDF = MediaType("application/pdf", "pdf", "document")
PNG = MediaType("image/png", "png", "image", "PNG")
AVIF = MediaType("image/avif", "avif", "image", "AVIF")
HEIC = MediaType("image/heic", "heic", "image")
MP3 = MediaType("audio/mpeg", "mp3", "audio", "mp3")
MP4 = MediaType("video/mp4", "mp4", "video", "mp4")
MOV = MediaType("video/quicktime", "mov", "video", "mov")
OGG_VIDEO = MediaType("video/ogg", "ogv", "video", "ogg")
OPUS = MediaType("audio/ogg", "opus", "audio", "ogg")

DOCX = MediaType("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx", "document")

_BINARY: Mapping[str, MediaType] = {
    "image/png": PNG,
    "image/apng": PNG,
    "image/jpeg": MediaType("image/jpeg", "jpg", "image", "JPEG"),
    "image/webp": MediaType("image/webp", "webp", "image", "WEBP"),
    "image/gif": MediaType("image/gif", "gif", "image", "GIF"),
    "image/bmp": MediaType("image/bmp", "bmp", "image", "BMP"),
    "image/avif": AVIF,
    "image/heic": HEIC,
    "video/mp4": MP4,
    "video/x-m4v": MP4,
    "video/quicktime": MOV,
    "video/webm": MediaType("video/webm", "webm", "video", "webm"),
    "audio/mpeg": MP3,
    "audio/mp4": MediaType("audio/mp4", "m4a", "audio", "mp4"),
    "audio/x-wav": MediaType("audio/wav", "wav", "audio", "wav"),
    "audio/x-flac": MediaType("audio/flac", "flac", "audio", "flac"),
    "audio/ogg": MediaType("audio/ogg", "ogg", "audio", "ogg"),
    "audio/aac": MediaType("audio/aac", "aac", "audio", "aac"),
    DOCX.mime: DOCX,
}
"""By the name that `filetype` gives."""

_INERT: Mapping[str, MediaType] = {"md": MARKDOWN, "markdown": MARKDOWN, "csv": CSV}
_LINES = frozenset({"jsonl", "ndjson"})
"""Endings of what has a JSON value in every line."""

TYPES: Mapping[str, MediaType] = MappingProxyType(
    {
        known.mime: known
        for known in (*_BINARY.values(), OGG_VIDEO, PDF, SVG, HTML, XML, JSON, JSON_LINES, MARKDOWN, CSV, PLAIN)
    }
)
"""Every known type by its MIME type."""

_EXTENSIONS: Mapping[str, MediaType] = {known.extension: known for known in (*TYPES.values(), OPUS)}

SERVED_INLINE = frozenset(
    known.mime for known in TYPES.values() if known.family in ("image", "video", "audio") and known is not SVG
)
"""Raster images, video and audio: what a browser renders without running it. All else is an attachment."""

_CONTROL = re.compile(r"[\0-\x08\x0b\x0e-\x1f\x7f]")
_MARKUP_START = re.compile(r"\s*<(?:[a-z!?/])", re.IGNORECASE)
_SVG = re.compile(r"<(?:[\w-]{1,40}:)?svg[\s>/]", re.IGNORECASE)
_ACTIVE = re.compile(r"<(?:!doctype\s+html|html|head|body|script|iframe|object|embed)\b", re.IGNORECASE)
_JSON_START = re.compile(r'\s*(?:\{\s*["}]|\[\s*["\[{\]\-\dtfn])')


def sniff(data: bytes, name: str = "") -> MediaType | None:
    """The type of what begins with `data` (the first HEAD_BYTES are enough), or None if it is none we know.

    `name` only tells kinds of harmless text apart (Markdown, CSV, lines of JSON), which have no marks of their own.
    """
    head = data[:HEAD_BYTES]
    if head.startswith(b"%PDF-"):
        return PDF
    text = _text(head, whole=len(data) <= HEAD_BYTES)
    if text is not None:
        return _text_type(text, len(data) <= HEAD_BYTES, name)
    return _binary_type(head)


def known_by(mime: str | None) -> MediaType | None:
    """The known type of that MIME type, whatever its parameters."""
    return TYPES.get((mime or "").partition(";")[0].strip().lower())


def named(key: str) -> MediaType | None:
    """The type that a key of ours says. Only for keys: their extension was chosen by the bytes."""
    return _EXTENSIONS.get(key.rpartition(".")[2])


def _text(head: bytes, *, whole: bool) -> str | None:
    """The head as text, if that is what it is. Asked first: text may begin with letters that are another's magic."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    return text if text and not _CONTROL.search(text) else None


def _text_type(text: str, whole: bool, name: str) -> MediaType:
    if _MARKUP_START.match(text):
        if _SVG.search(text) and not _ACTIVE.search(text.partition("<svg")[0]):
            return SVG
        return XML if text.lstrip().startswith("<?xml") and not _ACTIVE.search(text) else HTML
    if _ACTIVE.search(text):
        return HTML
    ending = name.rpartition(".")[2].lower()
    if _JSON_START.match(text) and (ending in _LINES or not whole or _is_json(text)):
        return JSON_LINES if ending in _LINES else JSON
    return _INERT.get(ending, PLAIN)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _binary_type(head: bytes) -> MediaType | None:
    if head.startswith(b"OggS"):
        if b"OpusHead" in head[:64]:
            return OPUS
        return OGG_VIDEO if b"\x80theora" in head[:256] else _BINARY["audio/ogg"]
    if head.startswith(b"PK\x03\x04") and b"word/" in head:
        return DOCX
    if _is_mpeg_audio(head):
        return MP3
    guess = filetype.guess(head)
    return _BINARY.get(guess.mime) if guess is not None else _iso_media(head)


def _iso_media(head: bytes) -> MediaType | None:
    """The brands of MP4's relatives that `filetype` does not know, and QuickTime from before there were brands."""
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return MOV
    if head[4:8] != b"ftyp":
        return None
    brand = head[8:12]
    if brand in (b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        return HEIC
    if brand == b"avis":
        return AVIF
    return MP4 if brand[:3] in (b"iso", b"mp4", b"avc", b"das", b"M4V", b"MSN", b"3gp") else None


def _is_mpeg_audio(head: bytes) -> bool:
    """A frame of MPEG audio, layer III: the sync bits, then version, layer, bit rate and sample rate that exist."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    return head[1] & 0x18 != 0x08 and head[2] >> 4 not in (0, 15) and head[2] & 0x0C != 0x0C


# --- dimensions ---

_READERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="measure")
"""Two at once: what Pillow and PyAV hold while they read is bounded so."""


async def measured(source: Source, media_type: MediaType) -> Dimensions:
    """`inspect_media` off the event loop and limited in time.

    Raises StorageUnavailable where it is not the bytes that take too long but where they are.
    """
    try:
        async with asyncio.timeout(MEASURE_WAIT):
            return await asyncio.get_running_loop().run_in_executor(_READERS, _inspected, source, media_type)
    except TimeoutError as exc:
        if not isinstance(source, bytes):
            raise StorageUnavailable("The object storage did not give an object back in time.") from exc
        raise _unreadable(media_type, "reading it takes too long") from exc


def _inspected(source: Source, media_type: MediaType) -> Dimensions:
    """`inspect_media`; in a process of its own where a small file can be made to take any memory: the index of MP4."""
    if media_type.reader not in ISO:
        return inspect_media(source, media_type)
    kind = (media_type.mime, media_type.extension, media_type.family, media_type.reader)
    try:
        with BytesIO(source) if isinstance(source, bytes) else source() as file:
            return Dimensions(*apart("measure", file, *kind, seconds=MEASURE_WAIT))
    except NoCell:
        return inspect_media(source, media_type)
    except CellFailed as exc:
        raise _unreadable(media_type, "its content is damaged or of another type") from exc


def inspect_media(source: Source, media_type: MediaType) -> Dimensions:
    """Read the dimensions from the bytes themselves. Text and documents have none.

    InvalidRequest `image_too_large` for an image past 50 million pixels or 1,000 frames, and `invalid_media` for bytes
    that cannot be read as their type. What opening or reading the source raises of our own errors comes through.
    """
    try:
        with BytesIO(source) if isinstance(source, bytes) else source() as file:
            return _dimensions(file, media_type)
    except GatewayError:
        raise
    except Exception as exc:  # on broken bytes the readers raise whatever comes
        raise _unreadable(media_type, "its content is damaged or of another type") from exc


def _dimensions(file: BinaryIO, media_type: MediaType) -> Dimensions:
    if media_type.mime == "image/heic":
        return _heic(file)
    if media_type.family == "image" and media_type.reader:
        return _image(file, media_type.reader)
    if media_type.family in ("video", "audio"):
        return _playable(file, media_type)
    return Dimensions()


def _image(file: BinaryIO, reader: str) -> Dimensions:
    from PIL import Image

    try:
        image = Image.open(file, formats=(reader,))
    except Image.DecompressionBombError as exc:
        raise _too_large() from exc
    with image:
        width, height = _shown_size(image)
        _refuse_huge(width, height, getattr(image, "n_frames", 1))
        image.verify()
    return Dimensions(width, height)


def _shown_size(image: ImageFile) -> tuple[int, int]:
    """As a viewer shows it: orientations 5 to 8 are stored on their side."""
    width, height = image.size
    _refuse_huge(width, height, 1)
    return (height, width) if orientation(image) in SIDEWAYS else (width, height)


def _heic(file: BinaryIO) -> Dimensions:
    """As its boxes say; else from all `ispe`: the largest is the picture, the others are its tiles and previews."""
    size = picture_size(file)
    if size is None:
        file.seek(0)
        data = file.read(HEIC_BYTES)
        sizes = [
            (int.from_bytes(data[at + 8 : at + 12], "big"), int.from_bytes(data[at + 12 : at + 16], "big"))
            for at in (found.start() for found in re.finditer(b"ispe\0\0\0\0", data))
        ]
        size = max(sizes, key=lambda size: size[0] * size[1])
    width, height = size
    _refuse_huge(width, height, 1)
    return Dimensions(width, height)


def _refuse_huge(width: int, height: int, frames: int) -> None:
    if width * height > MAX_PIXELS or frames > MAX_FRAMES:
        raise _too_large()


def _playable(file: BinaryIO, media_type: MediaType) -> Dimensions:
    reader = media_type.reader
    if reader in ISO:
        _refuse_cut(file)
    turned, told = turned_streams(file, reader), tells_length(file, reader)
    with opened(file, reader) as container:
        video = moving_picture(container) if media_type.family == "video" else None
        if video is None and sound(container) is None:
            raise ValueError("nothing to be seen or heard")
        length = seconds(container, told=told)
        if video is None:
            return Dimensions(seconds=length)
        width, height = stretched(video, video.width, video.height)
        return Dimensions(height, width, length) if video.id in turned else Dimensions(width, height, length)


def _refuse_cut(file: BinaryIO) -> None:
    """ValueError where the content of an MP4 goes on past the end of the file: its headers alone would not show it."""
    at, end = 0, file.seek(0, os.SEEK_END)
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # the last box, which may go on to the end whatever that is, or no box at all
            break
        at += size
        if at > end and head[4:8] in (b"mdat", b"moov", b"moof"):
            raise ValueError("its end is missing")
    file.seek(0)


def _too_large() -> InvalidRequest:
    return InvalidRequest(
        f"The image is too large: at most {MAX_PIXELS // 1_000_000} million pixels and {MAX_FRAMES} frames.",
        code="image_too_large",
        advice="Scale it down and send it again.",
    )


def _unreadable(media_type: MediaType, why: str) -> InvalidRequest:
    return InvalidRequest(f"The file cannot be read as {media_type.mime}: {why}.", code="invalid_media")
