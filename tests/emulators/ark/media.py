"""Real media, small."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from functools import cache

from PIL import Image

from tests.emulators.qwen.media import film


def video(name: str) -> bytes:
    """A real film, its own for each job: the name is in it."""
    note = name.encode()
    return _film() + (8 + len(note)).to_bytes(4, "big") + b"free" + note


@cache
def _film() -> bytes:
    return film()


def image(width: int = 320, height: int = 320) -> str:
    """A picture that is large enough, as a data: URL."""
    held = io.BytesIO()
    Image.new("RGB", (width, height), (90, 60, 200)).save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


async def dripping(data: bytes, seconds: float) -> AsyncIterator[bytes]:
    """The bytes, in ten pieces over so many seconds."""
    for at in range(0, len(data), len(data) // 10 + 1):
        await asyncio.sleep(seconds / 10)
        yield data[at : at + len(data) // 10 + 1]
