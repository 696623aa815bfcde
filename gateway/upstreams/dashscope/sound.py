"""Speech: how it is asked for, and its WAV in the format that the caller wants, since the vendor makes no other."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from gateway.errors import InvalidRequest, ResultUnavailable
from gateway.types import SpeechRequest
from gateway.upstreams.dashscope.asked import AT_ONCE, Asked, checked, impossible, known
from gateway.upstreams.dashscope.models import VOICE, Speech

WAV = "audio/wav"


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written. The names are FFmpeg's."""

    mime: str
    muxer: str
    codec: str
    rate: int = 0
    """Hertz that the codec insists on; 0: as it comes."""


FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame"),
    "opus": Format("audio/ogg", "ogg", "libopus", 48_000),
    "aac": Format("audio/aac", "adts", "aac"),
    "flac": Format("audio/flac", "flac", "flac"),
    "pcm": Format("audio/pcm", "s16le", "pcm_s16le"),
}


def speech(request: SpeechRequest) -> Asked:
    """Raises InvalidRequest naming the parameter that the model cannot do."""
    found = known(request.model, Speech, "speak")
    if request.speed != 1.0:
        raise impossible("speed", "1: the vendor's voices have one speed")
    if request.params.get("instructions") and "instructions" not in found.own:
        raise InvalidRequest(f"{request.model} takes no 'instructions'", param="instructions")
    if request.format != "wav" and request.format not in FORMATS:
        raise impossible("format", f"wav or one of {', '.join(FORMATS)}")
    own = checked(request.params, found)
    said: dict[str, Any] = {"text": request.text, "voice": request.voice or VOICE, **own}
    return Asked(AT_ONCE, {"model": request.model, "input": said})


def encoded(data: bytes, name: str) -> tuple[bytes, str]:
    """A WAV in one of FORMATS, and its type. Slow: not for the event loop. Raises ResultUnavailable for no sound."""
    import av

    form, out, heard = FORMATS[name], io.BytesIO(), 0
    try:
        with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format=form.muxer) as file:
            track = source.streams.audio[0]
            stream = file.add_stream(form.codec, rate=form.rate or track.rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout = layout = "stereo" if track.channels > 1 else "mono"  # a WAV may not say
            even = av.AudioResampler("s16", layout, stream.rate)
            for frame in source.decode(track):
                heard += frame.samples
                file.mux([packet for piece in even.resample(frame) for packet in stream.encode(piece)])
            file.mux([packet for piece in even.resample(None) for packet in stream.encode(piece)])
            file.mux(stream.encode(None))
    except (av.FFmpegError, IndexError, ValueError) as exc:
        raise ResultUnavailable("the upstream's speech is no sound that can be read") from exc
    if not heard:
        raise ResultUnavailable("the upstream's speech is silent: it holds no sound")
    return out.getvalue(), form.mime
