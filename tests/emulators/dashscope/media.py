"""Real media, small."""

import base64
import io
import wave
from functools import cache

from PIL import Image

from tests.emulators.qwen.media import film, png

RATE = 24_000


def video(name: str) -> bytes:
    """A real film, its own for each task: the name is in it."""
    note = name.encode()
    return _film() + (8 + len(note)).to_bytes(4, "big") + b"free" + note


@cache
def _film() -> bytes:
    return film()


@cache
def painting() -> bytes:
    return png()


@cache
def wav(seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes((at * 7) % 251 for at in range(2 * int(RATE * seconds))))
    return out.getvalue()


@cache
def image(width: int = 320, height: int = 320) -> str:
    """A picture that is large enough, as a data: URL."""
    held = io.BytesIO()
    Image.new("RGB", (width, height), (90, 60, 200)).save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
