"""Objects by key."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from gateway.errors import GatewayError, NotFound, StorageUnavailable
from gateway.storage.border import WAIT, border
from gateway.storage.checking import PING_KEY, Report, checked
from gateway.storage.disk import Root, is_plain, swept, sync
from gateway.storage.keys import valid_key
from gateway.storage.listing import ObjectInfo, cloud_pages, info_of, local_pages
from gateway.storage.ranges import Ranges
from gateway.storage.stores import open_store

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES = 5 * 1024 * 1024
"""Held in memory for each of at most two parts of an upload under way. Cloud stores take no smaller ones."""
READ_BYTES = 256 * 1024
WHOLE_WAIT = 300.0
"""Seconds an object that is already in memory may take to be stored."""

PRESIGNED_SECONDS = 7 * 86400.0
"""No cloud makes a link that lasts longer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written."""

    key: str
    size: int
    sha256: str


class Storage:
    """Objects by key. Every failure of the store is a StorageUnavailable."""

    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root
        """The real path of a local store."""
        self._place = None if root is None else Root(root)

    @staticmethod
    def open(url: str) -> Storage:
        """Open the store at `url`; a local directory is made if missing. ConfigError if the URL is no store's."""
        return Storage(*open_store(url))

    async def put(self, key: str, data: bytes | AsyncIterable[bytes], *, mime: str) -> Stored:
        """Store an object, counting and hashing on the way; what was there by that key is replaced at once.

        An iterable is never held whole. If it fails or is cancelled nothing is stored, and its own error comes through.
        ValueError for a key that is none of ours, StorageUnavailable otherwise.
        """
        if not valid_key(key):
            raise ValueError(f"not a storage key: {key!r}")
        if not await self._plain(key):
            raise StorageUnavailable("The object storage has a link where a file belongs.")
        attributes = {"Content-Type": mime} if self._root is None else None
        if isinstance(data, bytes):
            stored = await self._put_whole(key, data, attributes)
        else:
            stored = await self._put_stream(key, data, attributes)
        await self._settle(stored)
        return stored

    async def _put_whole(self, key: str, data: bytes, attributes: dict[str, str] | None) -> Stored:
        digest = await asyncio.to_thread(hashlib.sha256, data)
        async with border("write", WHOLE_WAIT):
            await obstore.put_async(
                self._store, key, data, attributes=attributes, chunk_size=PART_BYTES, max_concurrency=2
            )
        return Stored(key, len(data), digest.hexdigest())

    async def _put_stream(self, key: str, chunks: AsyncIterable[bytes], attributes: dict[str, str] | None) -> Stored:
        size, digest = 0, hashlib.sha256()
        writer = obstore.open_writer_async(
            self._store, key, attributes=attributes, buffer_size=PART_BYTES, max_concurrency=2
        )
        try:
            async for chunk in chunks:
                size += len(chunk)
                if len(chunk) > READ_BYTES:
                    await asyncio.to_thread(digest.update, chunk)
                else:
                    digest.update(chunk)
                async with border("write"):
                    await writer.write(chunk)
            async with border("write", WHOLE_WAIT):
                await writer.close()
        finally:
            del writer  # a writer dropped before it is closed takes what it wrote with it
        return Stored(key, size, digest.hexdigest())

    async def _settle(self, stored: Stored) -> None:
        """Only what the store shows back, whole, and (on a local disk) beyond the reach of a power cut is stored."""
        try:
            if self._root is not None:
                async with border("write"):
                    await asyncio.to_thread(sync, self._root, stored.key)
            info = await self.head(stored.key)
            if info is None or info.size != stored.size:
                raise StorageUnavailable("The object storage did not keep what it was sent.")
        except StorageUnavailable:
            with suppress(GatewayError):
                await self.delete(stored.key)
            raise

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The object's bytes from `start` to before `end`, in chunks. NotFound if it is not there."""
        if end is not None and start >= end:
            return
        await self._must_be_plain(key)
        async with border("read"):
            if end is not None:
                found = await obstore.get_async(self._store, key, options={"range": (start, end)})
            elif start:
                found = await obstore.get_async(self._store, key, options={"range": {"offset": start}})
            else:
                found = await obstore.get_async(self._store, key)
        chunks = found.stream(READ_BYTES)
        while True:
            async with border("read"):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    @contextmanager
    def reading(self, key: str, size: int, *, seconds: float = WAIT) -> Iterator[BinaryIO]:
        """The object as a file that can be sought in, read by ranges. It blocks: for a thread, `seconds` in all.

        Who reads it sees an end where the store fails, since readers of media print what they are thrown or take it
        for damage; the failure itself (NotFound, StorageUnavailable) comes when the block ends.
        """
        if not valid_key(key) or not self._is_plain(key):
            raise NotFound("There is no such file.")
        ranges = Ranges(self._store, key, size, time.monotonic() + seconds)
        try:
            yield cast("BinaryIO", io.BufferedReader(ranges, READ_BYTES))
        except Exception as exc:
            if ranges.failure is None:
                raise
            raise ranges.failure from exc
        if ranges.failure is not None:
            raise ranges.failure

    async def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of the object, or None if it is not there."""
        if not valid_key(key) or not await self._plain(key):
            return None
        try:
            async with border("read"):
                found = await obstore.get_async(self._store, key, options={"head": True})
        except NotFound:
            return None
        return replace(info_of(found.meta, found.attributes.get("Content-Type")), key=key)

    async def delete(self, key: str) -> None:
        """Delete the object; that it is already gone is no error."""
        if not valid_key(key) or not await self._plain(key):
            return
        try:
            async with border("delete"):
                await obstore.delete_async(self._store, key)
        except NotFound:
            return

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[list[ObjectInfo]]:
        """All objects in the folder `prefix` (`videos`, `videos/2026-01`; none: all) whose key comes after `after`.

        Never an empty page. The order is that of keys, except at a store that orders none (a directory bucket of S3).
        Uploads under way are left out, and so is what has no key of ours.
        ValueError for a prefix that is no folder's, StorageUnavailable as soon as the store fails.
        """
        if prefix and not valid_key(prefix):
            raise ValueError(f"not a folder: {prefix!r}")
        if not await self._plain(prefix):
            return
        local = self._root
        pages = cloud_pages(self._store, prefix, after) if local is None else local_pages(local, prefix, after)
        async with aclosing(pages):
            async for page in pages:
                yield page

    @property
    def presigns(self) -> bool:
        """Whether the store makes links that need no key of its own."""
        return isinstance(self._store, S3Store | GCSStore | AzureStore)

    async def presigned(self, key: str, method: Literal["GET", "PUT"], seconds: float) -> str | None:
        """A URL at the store that works for so long (at most 7 days), or None if it makes none (local, memory).

        Who has it of a GET reads the object, of a PUT replaces it by whatever is sent, of any type and size.
        ValueError for a key that is none of ours, StorageUnavailable if the store's credentials cannot sign.
        """
        if not valid_key(key):
            raise ValueError(f"not a storage key: {key!r}")
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        async with border("sign"):
            return await obstore.sign_async(
                self._store, method, key, timedelta(seconds=min(seconds, PRESIGNED_SECONDS))
            )

    async def sweep(self) -> int:
        """Remove what uploads left on a local disk whose process was killed; how many. A cloud has rules for that."""
        return 0 if self._root is None else await asyncio.to_thread(swept, self._root)

    async def check(self) -> Report:
        """Try all that the gateway asks of a store. StorageUnavailable says what failed, why, and what to do."""
        return await checked(self)

    async def ping(self) -> None:
        """Write a few bytes to a key that is always the same, and see that they are there: needs no right to list or
        delete. StorageUnavailable says what is wrong."""
        await self.put(PING_KEY, b"ok", mime="text/plain")

    async def _must_be_plain(self, key: str) -> None:
        if not valid_key(key) or not await self._plain(key):
            raise NotFound("There is no such file.")

    async def _plain(self, key: str) -> bool:
        """Whether no link leads from the key to another place: a local store follows links."""
        return self._root is None or await asyncio.to_thread(self._is_plain, key)

    def _is_plain(self, key: str) -> bool:
        if self._root is None or self._place is None:
            return True
        self._place.check()
        return not key or is_plain(self._root, key)
