"""What a store holds, in pages and in the order of keys."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from gateway.storage.border import border, translated
from gateway.storage.keys import valid_key

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

PAGE = 1000
"""Objects. A cloud store gives no more at once."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object."""

    key: str
    size: int
    mime: str | None
    """None where the store keeps none (a local one never does), and in a list."""
    etag: str
    """Quoted, as HTTP wants it."""
    modified: datetime


def info_of(meta: ObjectMeta, mime: str | None = None) -> ObjectInfo:
    etag = meta["e_tag"] or f"{meta['size']:x}-{meta['last_modified'].timestamp():.0f}"
    quoted = etag if etag.endswith('"') else f'"{etag}"'  # Azure quotes it or not
    return ObjectInfo(meta["path"], meta["size"], mime, quoted, meta["last_modified"])


async def cloud_pages(store: ObjectStore, prefix: str, after: str) -> AsyncGenerator[list[ObjectInfo]]:
    """As the store orders them. StorageUnavailable if it cannot be listed."""
    pages = obstore.list(store, prefix or None, offset=after or None, chunk_size=PAGE)
    while True:
        async with border("list"):
            page = await anext(pages, None)
        if page is None:
            return
        # Not every store begins after the key that it is told, or tells `a/` from `a`.
        if ours := [info_of(meta) for meta in page if meta["path"] > after and valid_key(meta["path"])]:
            yield ours


async def local_pages(root: Path, prefix: str, after: str) -> AsyncGenerator[list[ObjectInfo]]:
    """The same of a directory. StorageUnavailable if some of it cannot be read."""
    found = _below(root / prefix if prefix else root, f"{prefix}/" if prefix else "", after)
    while page := await asyncio.to_thread(_page, found):
        yield page


def _page(found: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    with translated("list"):
        return list(islice(found, PAGE))


def _below(place: Path, start: str, after: str) -> Iterator[ObjectInfo]:
    """In the order of keys: `a-b/c` comes before `a/b`. No link is followed, and what is under way is left out."""
    try:
        entries = list(os.scandir(place))
    except (FileNotFoundError, NotADirectoryError):
        return
    keys = {f"{start}{entry.name}{'/' if entry.is_dir(follow_symlinks=False) else ''}": entry for entry in entries}
    for key in sorted(keys):
        if key.endswith("/"):
            if key > after or after.startswith(key):
                yield from _below(place / keys[key].name, key, after)
        elif key > after and valid_key(key) and (info := _local_info(key, keys[key])) is not None:
            yield info


def _local_info(key: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
    try:
        stat = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not entry.is_file(follow_symlinks=False):
        return None
    etag = f'"{stat.st_ino:x}-{stat.st_mtime_ns // 1000:x}-{stat.st_size:x}"'  # as the store itself makes it
    return ObjectInfo(key, stat.st_size, None, etag, datetime.fromtimestamp(stat.st_mtime, UTC))
