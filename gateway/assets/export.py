"""Assets as one zip, made while it is sent: a chunk of one object in memory at a time, however large the whole is.

Nothing is compressed (media are already) and nothing is sought back to: sizes follow their data. What is told of the
assets comes last, since only then it is known whose objects were there.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Final, cast

import msgspec

from gateway.assets.asset import Asset
from gateway.errors import NotFound, StorageUnavailable
from gateway.types import MediaFamily
from gateway.wire import csv_rows
from gateway.wire.multipart import safe_filename

SEND_BYTES: Final = 64 * 1024
"""Handed on at once, at least; the chunks of an object are larger."""
AT_ONCE: Final = 200
"""Assets described by one query."""
FOLDERS: Final[dict[MediaFamily, str]] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "text": "text",
    "document": "text",
}
JSON_NAME, CSV_NAME = "assets.json", "assets.csv"
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""A zip knows no time before."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An asset, and where it is in the zip."""

    asset_id: str
    name: str | None
    """None: its object is missing."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a zip takes what it holds from."""

    read: Callable[[str], AsyncGenerator[bytes]]
    """The bytes of an object by its key. Raises NotFound."""
    many: Callable[[Sequence[str]], Awaitable[Sequence[Asset]]]
    """Assets by id, as they are now; those that are gone are left out."""
    told: Callable[[Asset], dict[str, Any]]
    """What is told of one."""
    columns: tuple[str, ...]
    """What a table tells of each of that."""


async def zipped(batches: AsyncIterator[Sequence[Asset]], source: Source) -> AsyncGenerator[bytes]:
    """The zip, in chunks. Close it. Raises what reading raises: what came until then is no whole zip.

    An object that is missing is told to be, and the zip goes on without it.
    """
    sink = _Sink()
    placed: list[Placed] = []
    names = _Names()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w") as archive:
        async for batch in batches:
            for asset in batch:
                chunks = await _begun(source.read(asset.key))
                placed.append(Placed(asset.id, names.given(asset) if chunks is not None else None))
                if chunks is None:
                    continue
                async with aclosing(_entered(archive, str(placed[-1].name), asset, chunks, sink)) as filled:
                    async for piece in filled:
                        yield piece
        for write in (_json, _csv):
            async with aclosing(write(archive, placed, source, sink)) as filled:
                async for piece in filled:
                    yield piece
    yield sink.taken()


async def _begun(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes] | None:
    """The chunks of an object once the first one is here; None where there is no such object."""
    try:
        first = await anext(chunks, b"")
    except NotFound:
        return None

    async def all_of_them() -> AsyncGenerator[bytes]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return all_of_them()


async def _entered(
    archive: zipfile.ZipFile, name: str, asset: Asset, chunks: AsyncGenerator[bytes], sink: _Sink
) -> AsyncGenerator[bytes]:
    """Write an object. Raises StorageUnavailable where it is not as long as it should be."""
    size = 0
    async with aclosing(chunks):
        with archive.open(_info(name, asset.created_at, asset.size), "w") as entry:
            async for chunk in chunks:
                size += len(chunk)
                if size > asset.size:
                    break
                entry.write(chunk)
                if sink.size >= SEND_BYTES:
                    yield sink.taken()
    if size != asset.size:
        raise StorageUnavailable("The object storage gave another object than it was sent.")


async def _json(
    archive: zipfile.ZipFile, placed: Sequence[Placed], source: Source, sink: _Sink
) -> AsyncGenerator[bytes]:
    """A list, an object a line."""
    with archive.open(_info(JSON_NAME), "w") as entry:
        entry.write(b"[")
        before = b"\n"
        async for some in _told(placed, source):
            for one in some:
                entry.write(before + msgspec.json.encode(one))
                before = b",\n"
            if sink.size >= SEND_BYTES:
                yield sink.taken()
        entry.write(b"\n]\n")


async def _csv(
    archive: zipfile.ZipFile, placed: Sequence[Placed], source: Source, sink: _Sink
) -> AsyncGenerator[bytes]:
    """The same as a table, in UTF-8."""
    columns = (*_OURS, *(name for name in source.columns if name not in _OURS))
    with archive.open(_info(CSV_NAME), "w") as entry:
        entry.write(csv_rows.rows([columns]))
        async for some in _told(placed, source):
            entry.write(csv_rows.rows([_cell(one.get(name)) for name in columns] for one in some))
            if sink.size >= SEND_BYTES:
                yield sink.taken()


_OURS: Final = ("id", "file", "missing")
"""What is told of an asset as a part of the zip."""


async def _told(placed: Sequence[Placed], source: Source) -> AsyncGenerator[list[dict[str, Any]]]:
    """What is told of each, some at a time. Of one that was deleted meanwhile only its place is."""
    for start in range(0, len(placed), AT_ONCE):
        some = placed[start : start + AT_ONCE]
        found = {asset.id: asset for asset in await source.many([one.asset_id for one in some])}
        yield [
            {"id": one.asset_id, "file": one.name, "missing": one.name is None}
            | (source.told(found[one.asset_id]) if one.asset_id in found else {})
            for one in some
        ]


def _cell(value: Any) -> csv_rows.Cell:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return cast(csv_rows.Cell, value)


def _info(name: str, when: float | None = None, size: int = 0) -> zipfile.ZipInfo:
    """`size` as far as it is known before: only what is large needs the longer format, which not everything reads."""
    at = datetime.fromtimestamp(when, UTC) if when is not None else datetime.now(UTC)
    info = zipfile.ZipInfo(name, max(_EARLIEST, at.timetuple()[:6]))
    info.external_attr = 0o644 << 16
    info.file_size = size
    return info


class _Names:
    """Names that are safe on every system, and no two the same on any."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        """In lower case, and how many wanted each."""

    def given(self, asset: Asset) -> str:
        stem, dot, extension = safe_filename(asset.filename).rpartition(".")
        stem, ending = (stem, dot + extension) if stem else (extension, "")
        first = name = f"{FOLDERS[asset.family]}/{stem}{ending}"
        while (lower := name.casefold()) in self._taken:
            self._taken[first.casefold()] += 1
            name = f"{FOLDERS[asset.family]}/{stem}_{self._taken[first.casefold()]}{ending}"
        self._taken[lower] = 1
        return name


class _Sink:
    """A file that can only be written to, and gives away what was."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data
