"""Real media, small."""

import io
import wave
from functools import cache

from tests.emulators.qwen.media import film, png


@cache
def result(category: str) -> tuple[bytes, str]:
    """What comes of a category, and its type."""
    if category.endswith("_to_image"):
        return png(), "image/png"
    if category.endswith("_to_video"):
        return film(), "video/mp4"
    return sound(), "audio/mpeg"


def sound() -> bytes:
    import av

    out = io.BytesIO()
    with av.open(io.BytesIO(_wav())) as source, av.open(out, "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=24_000)
        for frame in source.decode(audio=0):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def _wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(bytes((at * 7) % 251 for at in range(24_000)))
    return out.getvalue()
