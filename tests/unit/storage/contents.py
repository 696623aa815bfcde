"""What tests of storage put, and how they look at what came of it."""

from collections.abc import AsyncIterator
from pathlib import Path

KEY = "images/2026-01/a_20260105_101010_0a1b2c3d.png"


async def all_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def files_below(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
