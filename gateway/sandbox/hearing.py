"""What the sandbox hears in a recording: how long it is, and nothing else."""

from __future__ import annotations

import io
import json
import math
from typing import Literal

Shape = Literal["text", "json", "verbose_json"]
READ = "aac,aiff,amr,asf,au,avi,caf,flac,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,wav,webm"
"""FFmpeg's names of what is read. No playlists: they make it open files and addresses that they name."""
SHAPES: tuple[Shape, ...] = ("text", "json", "verbose_json")


def shape(asked: str) -> Shape:
    """The shape of that name. Raises ValueError naming those there are."""
    for known in SHAPES:
        if asked == known:
            return known
    raise ValueError(f"there are {', '.join(SHAPES)}, not {asked!r}")


def length(data: bytes) -> float:
    """Seconds of sound in an audio or video file. Raises ValueError for bytes that are neither.

    Packets are counted, not decoded: headers of streamed files lie or say nothing.
    """
    import av

    try:
        with av.open(io.BytesIO(data), "r", options={"format_whitelist": READ}) as file:
            stream = next(iter(file.streams.audio), None)
            if stream is None:
                raise ValueError("the file holds no sound")
            seconds = math.fsum((packet.duration or 0) * packet.time_base for packet in file.demux(stream))
    except (av.FFmpegError, OSError) as error:
        raise ValueError("the file is not a recording that the sandbox can read") from error
    return round(seconds, 3)


def transcript(seconds: float, shape: Shape, *, translated: bool = False) -> tuple[bytes, str]:
    """A transcription in one of the OpenAI shapes, with its media type."""
    said = f"A recording of {seconds:.1f} seconds."
    if shape == "text":
        return f"{said}\n".encode(), "text/plain; charset=utf-8"
    usage = {"type": "duration", "seconds": math.ceil(seconds)}
    if shape == "json":
        return json.dumps({"text": said, "usage": usage}).encode(), "application/json"
    verbose = {
        "task": "translate" if translated else "transcribe",
        "language": "english",
        "duration": seconds,
        "text": said,
        "segments": [_segment(seconds, said)],
        "usage": usage,
    }
    return json.dumps(verbose).encode(), "application/json"


def _segment(seconds: float, said: str) -> dict[str, object]:
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": said,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
