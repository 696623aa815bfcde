"""Video and audio, as their containers tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from gateway.assets.boxes import turned_tracks

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

ISO = ("mp4", "mov")
"""What is made of boxes."""
GUESSES = ("aac", "mp3")
"""Readers that guess a length by the first bytes, where nothing tells it."""
_TAGS = (b"Xing", b"Info", b"VBRI")
"""In the first frame of an MP3: its length is told."""
_TAG_BYTES = 256
MAX_PIXELS = 8192 * 4352
"""Of a frame of video, as large as the standards know any: decoders make room for no more."""


def opened(file: BinaryIO, reader: str) -> InputContainer:
    """An open container. The file belongs to it from then on: who moves in it moves the container's place too."""
    import av

    # The format is given and protocols are shut, so that no playlist or reference leads to another file or host.
    return av.open(file, "r", format=reader, options={"protocol_whitelist": "", "max_pixels": str(MAX_PIXELS)})


def moving_picture(container: InputContainer) -> VideoStream | None:
    """The first video that is one: covers of albums are kept as videos too."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    return next((stream for stream in container.streams.video if not stream.disposition & still), None)


def sound(container: InputContainer) -> AudioStream | None:
    return next(iter(container.streams.audio), None)


def turned_streams(file: BinaryIO, reader: str) -> frozenset[int]:
    """The ids of the streams that are shown turned by a quarter. To be asked before it is opened."""
    found: frozenset[int] = turned_tracks(file) if reader in ISO else frozenset()
    file.seek(0)
    return found


def stretched(stream: VideoStream, width: int, height: int) -> tuple[int, int]:
    """A size with pixels that are square."""
    ratio = stream.sample_aspect_ratio
    return (max(1, round(width * ratio)), height) if ratio else (width, height)


def tells_length(file: BinaryIO, reader: str) -> bool:
    """Whether what the container says of its length is told by the file, not guessed. To be asked before it is opened.

    Bare AAC never tells it, an MP3 in its first frame, after its tags.
    """
    if reader not in GUESSES:
        return True
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3":
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        file.seek(10 + size)
    else:
        file.seek(0)
    frame = file.read(_TAG_BYTES)
    file.seek(0)
    return reader == "mp3" and any(tag in frame for tag in _TAGS)


def seconds(container: InputContainer, *, told: bool = True) -> float:
    """As the container says, or (`told`: unless that is a guess) summed over its packets. ValueError if it has none."""
    if told and container.duration is not None:
        return round(float(container.duration) / 1_000_000, 3)
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    for packet in container.demux():
        if packet.pts is None or packet.time_base is None:
            continue
        at = float(packet.pts * packet.time_base)
        index = packet.stream.index
        began[index] = min(at, began.get(index, at))
        until = at + float((packet.duration or 0) * packet.time_base)
        ended[index] = max(until, ended.get(index, until))
    return round(max(ended.values()) - min(began.values()), 3)
