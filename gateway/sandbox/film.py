"""Films: MP4 with H.264 and a soft AAC track, made frame by frame so that no more than a few are ever in memory."""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import repeat
from operator import floordiv
from typing import TYPE_CHECKING

from gateway.sandbox.music import RATE, play
from gateway.sandbox.picture import LARGEST, SMALLEST
from gateway.sandbox.sound import framed
from gateway.sandbox.stage import Stage

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import OutputContainer

MIME = "video/mp4"
LONGEST = 120.0
"""Seconds a film may have."""
SMOOTH, PLAIN = 24, 12
"""Frames a second, of small short films and of all others."""
SMOOTH_BUDGET = 120 * 1280 * 720
"""Pixels in all that a film may have to be a smooth one."""
FINEST = 1920 * 1080
"""Pixels a frame is painted with at most; larger films are enlarged, as their layers would fill the memory."""
BT709 = 1
MUSIC_BLOCK = 8192
"""Samples of the soundtrack that are encoded at once."""


def shoot(
    prompt: str,
    *,
    seed: int,
    width: int,
    height: int,
    seconds: float,
    first: bytes | None = None,
    last: bytes | None = None,
) -> bytes:
    """An MP4 of `seconds` (up to 120), a side 64–4096 pixels; odd sides lose a pixel, as H.264 wants them even.

    A camera passes through the scene of the prompt. `first` and `last` are images that open and close it. The index
    stands before the pictures, so a browser plays it while it loads. Raises ValueError for sizes and lengths out of
    range, and for images that cannot be read.
    """
    for side in (width, height):
        if not SMALLEST <= side <= LARGEST:
            raise ValueError(f"a side of {side} pixels is outside {SMALLEST}–{LARGEST}")
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"a film of {seconds} s is outside 0–{LONGEST:.0f} s")
    width, height = width // 2 * 2, height // 2 * 2
    rate = pace(width, height, seconds)
    scale = min(1.0, math.sqrt(FINEST / (width * height)))
    painted = max(16, round(width * scale)), max(16, round(height * scale))
    stage = Stage(prompt, seed=seed, width=painted[0], height=painted[1], seconds=seconds, first=first, last=last)
    music = play(prompt, seed=seed, seconds=seconds)
    return _developed(stage, (width, height), rate, max(1, round(seconds * rate)), music)


def pace(width: int, height: int, seconds: float) -> int:
    """Frames a second: smooth where that is cheap."""
    return SMOOTH if width * height * seconds * SMOOTH <= SMOOTH_BUDGET else PLAIN


def _developed(stage: Stage, size: tuple[int, int], rate: int, frames: int, music: Iterator[array[int]]) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"moov_size": str(_index_size(frames, rate))}) as file:
        picture, sound = _picture_track(file, size, rate), _sound_track(file)
        soundtrack, played = _blocks(music), 0
        for number in range(frames):
            _expose(file, picture, stage, number, frames, rate)
            while played * rate <= (number + 1) * RATE and (block := next(soundtrack, None)):
                file.mux(sound.encode(framed(block, RATE, 2, played)))
                played += len(block) // 2
        file.mux(picture.encode())
        for block in soundtrack:
            file.mux(sound.encode(framed(block, RATE, 2, played)))
            played += len(block) // 2
        file.mux(sound.encode())
    return out.getvalue()


def _expose(file: OutputContainer, track: VideoStream, stage: Stage, number: int, frames: int, rate: int) -> None:
    import av

    image = stage.frame(number / max(1, frames - 1))
    picture = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    frame: av.VideoFrame = picture.reformat(track.width, track.height, "yuv420p", dst_colorspace="ITU709")
    frame.pts, frame.time_base = number, Fraction(1, rate)
    file.mux(track.encode(frame))


def _picture_track(file: OutputContainer, size: tuple[int, int], rate: int) -> VideoStream:
    # Without B-frames the first frame is at 0 and every player agrees on the length; one thread keeps memory low.
    options = {"preset": "superfast", "crf": "23", "bf": "0", "threads": "1"}
    track = file.add_stream("libx264", rate=rate, options=options)
    track.width, track.height = size
    track.pix_fmt = "yuv420p"
    context = track.codec_context
    context.gop_size = rate * 2
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = BT709
    return track


def _sound_track(file: OutputContainer) -> AudioStream:
    track = file.add_stream("aac", rate=RATE, layout="stereo", options={"aac_coder": "fast"})
    track.bit_rate = 96_000
    return track


def _blocks(music: Iterator[array[int]]) -> Iterator[array[int]]:
    """The soundtrack in pieces short enough to lie between the pictures they belong to, at a third of its loudness."""
    for bar in music:
        for at in range(0, len(bar), 2 * MUSIC_BLOCK):
            yield array("h", map(floordiv, bar[at : at + 2 * MUSIC_BLOCK], repeat(3)))


def _index_size(frames: int, rate: int) -> int:
    """Bytes kept free for the index: headers, and what the tables take for each picture and each block of sound."""
    return 4096 + frames * 24 + math.ceil(frames / rate * RATE / 1024) * 24
