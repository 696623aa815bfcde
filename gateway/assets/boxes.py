"""The boxes of ISO media files, as far as they tell sizes: MP4, QuickTime and HEIC are made of them.

Only the heads of boxes are read, and what is asked of them, wherever in the file they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_BOXES = 1_000
"""As many are looked at in one box."""
MAX_TRACKS = 64
LIST_BYTES = 64 * 1024
"""As much is read of a box that lists."""
FIELD_BYTES = 128
"""As much is read of any other."""


@dataclass(frozen=True, slots=True)
class Box:
    kind: bytes
    start: int
    """Where its content is in the file, and ends."""
    end: int


def turned_tracks(file: BinaryIO) -> frozenset[int]:
    """The numbers of the tracks of an MP4 that are shown turned by a quarter."""
    turned = set()
    for moov in _in(file, b"moov")[:1]:
        for trak in _in(file, b"trak", moov)[:MAX_TRACKS]:
            for tkhd in _in(file, b"tkhd", trak)[:1]:
                data = _content(file, tkhd)
                number, matrix = (20, 52) if data[:1] == b"\1" else (12, 40)
                # The matrix begins with what x gives to x, and to y: more to y than to x is a quarter turn.
                if abs(_signed(data[matrix + 4 : matrix + 8])) > abs(_signed(data[matrix : matrix + 4])):
                    turned.add(int.from_bytes(data[number : number + 4], "big"))
    return frozenset(turned)


def picture_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height of the main picture of a HEIC file as it is shown; None where that is not told as it should be.

    Its properties apply in their order: `ispe` is the stored size, `clap` a part of it, `irot` quarter turns.
    """
    size: tuple[int, int] | None = None
    for kind, data in _properties(file):
        if kind == b"ispe":
            size = (int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big"))
        elif kind == b"clap" and len(data) >= 16:
            width, width_by, height, height_by = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8, 12))
            size = (width // width_by, height // height_by) if width_by and height_by else size
        elif kind == b"irot" and size is not None and data[:1] and data[0] & 1:
            size = (size[1], size[0])
    return size


def _properties(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of what is told of the main picture of a HEIC file."""
    for meta in _in(file, b"meta")[:1]:
        inner = Box(meta.kind, meta.start + 4, meta.end)  # after its version
        main = [_item(_content(file, pitm)) for pitm in _in(file, b"pitm", inner)[:1]]
        for iprp in _in(file, b"iprp", inner)[:1]:
            known = [box for ipco in _in(file, b"ipco", iprp)[:1] for box in _boxes(file, ipco)]
            for ipma in _in(file, b"ipma", iprp)[:1]:
                for number in _numbers(_content(file, ipma, LIST_BYTES)).get(main[0] if main else 0, ()):
                    if 1 <= number <= len(known):
                        yield known[number - 1].kind, _content(file, known[number - 1])


def _item(data: bytes) -> int:
    """The item that a `pitm` box names."""
    return int.from_bytes(data[4:6] if data[:1] == b"\0" else data[4:8], "big")


def _numbers(data: bytes) -> dict[int, list[int]]:
    """From an `ipma` box: the numbers of the properties, by item."""
    wide_item, wide_number = data[:1] != b"\0", data[3:4] != b"" and data[3] & 1
    found: dict[int, list[int]] = {}
    at = 8
    while at < len(data):
        item = int.from_bytes(data[at : at + (4 if wide_item else 2)], "big")
        at += 4 if wide_item else 2
        count = int.from_bytes(data[at : at + 1], "big")
        step, mask = (2, 0x7FFF) if wide_number else (1, 0x7F)
        numbers = [data[at + 1 + n * step : at + 1 + (n + 1) * step] for n in range(count)]
        found.setdefault(item, []).extend(int.from_bytes(number, "big") & mask for number in numbers)
        at += 1 + count * step
    return found


def _in(file: BinaryIO, kind: bytes, parent: Box | None = None) -> list[Box]:
    """The boxes of that kind in another one, or in the file."""
    return [box for box in _boxes(file, parent or Box(b"", 0, file.seek(0, os.SEEK_END))) if box.kind == kind]


def _boxes(file: BinaryIO, parent: Box) -> Iterator[Box]:
    at = parent.start
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        size, content = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, content = int.from_bytes(head[8:], "big"), at + 16
        elif size == 0:  # the last one
            size = parent.end - at
        if len(head) < 8 or size < content - at or at + 8 > parent.end:
            return
        yield Box(head[4:8], content, min(at + size, parent.end))
        at += size


def _content(file: BinaryIO, box: Box, most: int = FIELD_BYTES) -> bytes:
    file.seek(box.start)
    return file.read(max(0, min(box.end - box.start, most)))


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)
