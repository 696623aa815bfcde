"""Sound files: speech and music, encoded as the caller asked."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.sandbox.mixer import little
from gateway.sandbox.music import RATE as MUSIC_RATE
from gateway.sandbox.music import play
from gateway.sandbox.voice import RATE as SPEECH_RATE
from gateway.sandbox.voice import speech

if TYPE_CHECKING:
    from av import AudioFrame

SLOWEST, FASTEST = 0.25, 4.0
LONGEST_PIECE = 600.0


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is written."""

    mime: str
    muxer: str = ""
    """FFmpeg's name; empty where the standard library or nothing at all is enough."""
    codec: str = ""
    rate: int = 0
    """Hertz the codec insists on; 0 if it takes what comes."""


FORMATS = {
    "wav": Format("audio/wav"),
    "pcm": Format("audio/pcm"),
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame"),
    "flac": Format("audio/flac", "flac", "flac"),
    "opus": Format("audio/ogg", "ogg", "libopus", 48_000),
    "aac": Format("audio/aac", "adts", "aac"),
}


LAYOUTS = {1: "mono", 2: "stereo"}


def speak(text: str, *, voice: str, speed: float = 1.0, format: str = "mp3", seed: int = 0) -> bytes:
    """`text` read aloud, 24 kHz mono: about 15 characters a second times `speed` (0.25–4), 120 seconds at most.

    A Chinese, Japanese or Korean character takes as long as three letters. `pcm` is bare s16le samples.
    Raises ValueError for text with nothing in it, and for a speed or format out of range.
    """
    _known(format)
    if not text.strip():
        raise ValueError("there is nothing to say: the text is empty")
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"a speed of {speed} is outside {SLOWEST}–{FASTEST}")
    return _encoded(speech(text, voice=voice, speed=speed, seed=seed), SPEECH_RATE, 1, format.lower())


def compose(prompt: str, *, seed: int, seconds: float, format: str = "mp3") -> bytes:
    """`seconds` (up to 600) of music, 44.1 kHz stereo, in the mood of the prompt. `pcm` is bare interleaved s16le.

    Raises ValueError for a length or format out of range.
    """
    _known(format)
    if not 0 < seconds <= LONGEST_PIECE:
        raise ValueError(f"a piece of {seconds} s is outside 0–{LONGEST_PIECE:.0f} s")
    return _encoded(play(prompt, seed=seed, seconds=seconds), MUSIC_RATE, 2, format.lower())


def mime(format: str) -> str:
    """The media type of `format`; ValueError if sound does not come in it."""
    return _known(format).mime


def _encoded(blocks: Iterable[array[int]], rate: int, channels: int, format: str) -> bytes:
    if format == "pcm":
        return b"".join(map(little, blocks))
    if format == "wav":
        return _wav(blocks, rate, channels)
    return _muxed(blocks, rate, channels, FORMATS[format])


def _wav(blocks: Iterable[array[int]], rate: int, channels: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        for block in blocks:
            file.writeframesraw(little(block))
    return out.getvalue()


def _muxed(blocks: Iterable[array[int]], rate: int, channels: int, format: Format) -> bytes:
    import av

    out = io.BytesIO()
    # bitexact: without it the ogg muxer numbers its streams at random.
    with av.open(out, "w", format=format.muxer, options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(format.codec, rate=format.rate or rate)
        if not isinstance(stream, av.AudioStream):
            raise TypeError(f"{format.codec} is no sound codec")
        stream.layout = LAYOUTS[channels]
        if format.codec != "flac":
            stream.bit_rate = 64_000 * channels
        done = 0
        for block in blocks:
            if block:
                file.mux(stream.encode(framed(block, rate, channels, done)))
                done += len(block) // channels
        file.mux(stream.encode())
    return out.getvalue()


def framed(block: array[int], rate: int, channels: int, at: int) -> AudioFrame:
    """Samples as a frame for an encoder, `at` samples after the start."""
    import av

    frame = av.AudioFrame(format="s16", layout=LAYOUTS[channels], samples=len(block) // channels)
    # PyAV pads planes for alignment; only the head of the buffer is samples.
    frame.planes[0].update(block.tobytes())
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
    return frame


def _known(format: str) -> Format:
    known = FORMATS.get(format.lower())
    if known is None:
        raise ValueError(f"sound comes as {', '.join(FORMATS)}, not {format!r}")
    return known
