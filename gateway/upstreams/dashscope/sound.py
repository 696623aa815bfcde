"""Speech: how it is asked for, and its WAV in the format that the caller wants, since the vendor makes no other."""

from __future__ import annotations

import io
from dataclasses import dataclass

import msgspec

from gateway.errors import ResultUnavailable
from gateway.types import ModelCard, SpeechRequest
from gateway.upstreams.dashscope.asked import AT_ONCE, Asked, impossible, known, spelled, usual
from gateway.upstreams.dashscope.models import Speech

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


def fitted(request: SpeechRequest, card: ModelCard) -> SpeechRequest:
    """With the voice that will speak. Raises InvalidRequest where one must be named."""
    found = known(request, Speech, "speak")
    voice = request.voice or usual(card, "voice", found.voice)
    if not voice:
        raise impossible("voice", f"one of your own with {request.model}")
    return msgspec.structs.replace(request, voice=voice, params=spelled(request.params, found))


def speech(request: SpeechRequest) -> Asked:
    """A fitted request as it is sent."""
    known(request, Speech, "speak")
    said = {"text": request.text, "voice": request.voice, **request.params}
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
