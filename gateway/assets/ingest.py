"""Bringing upstream media into our storage: nothing counts as made before its bytes are here and look like it.

Results that an answer needs are kept from memory; those of tasks are streamed from the upstream into storage, and are
looked at there. Every put goes to a key of its own, so that what a crash left without a row is nobody's for good, and
its collection can take nothing that came later.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial

from gateway.assets import download
from gateway.assets.download import incoming, tried
from gateway.assets.evidence import evidence, known_as
from gateway.assets.library import Kept as Kept
from gateway.assets.library import Library
from gateway.assets.library import Origin as Origin
from gateway.assets.media import HEAD_BYTES, MARKDOWN, MEASURE_WAIT, Dimensions, MediaType
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.errors import ResultUnavailable, StorageUnavailable, Unavailable
from gateway.http import Outbound
from gateway.storage import Folder, Storage, Stored, object_key
from gateway.types import Media, MediaFamily

FOLDERS: dict[MediaFamily, Folder] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "text": "text",
    "document": "text",
}
AT_ONCE = 16
"""Results that are streamed in at a time, some 15 MB of memory each. Others wait their turn, DOWNLOAD_SECONDS each."""


class Ingest:
    def __init__(self, storage: Storage, http: Outbound, database: Database, *, limit: int) -> None:
        self.storage = storage
        self.http = http
        self.database = database
        self.references = References(database, storage)
        self.library = Library(database, self.references)
        self.limit = limit
        """Bytes a result may have."""
        self._hands = asyncio.Semaphore(AT_ONCE)
        self.entered: Callable[[], None] = lambda: None
        """Called when an asset is new in the library."""

    async def keep(self, media: Media, origin: Origin) -> Media:
        """Store media and enter it in the library. Returns it with `key`, `asset_id`, `data` and true measures.

        Raises ResultUnavailable where there are no such bytes or they are not what they should be.
        """
        data = await _in_memory(media)
        if data is None:
            data = await tried(partial(self._whole, media, origin))
        found = known_as(data, media)
        size = await evidence(data, found, media)
        asset_id = _new_id()
        stored = await self.storage.put(self._key(found, media.family, origin), data, mime=found.mime)
        kept = _kept(asset_id, found, size, stored)
        await self._enter(kept, media.family, origin)
        return replace(
            media,
            mime=kept.mime,
            data=data,
            b64=None,
            width=kept.width,
            height=kept.height,
            seconds=kept.seconds,
            key=kept.key,
            asset_id=kept.asset_id,
        )

    async def bring(self, media: Media, origin: Origin, position: int, *, again: bool = True) -> Kept:
        """Stream a task's result into storage and enter it in the library, once however often it is asked for.

        The asset's id follows from task and position, so what a crash left undone is done over, not twice. `again`:
        it may be here already, and is not fetched then.
        Raises ResultUnavailable where there is no such result or it is not what it should be (ResultExpired where
        another URL may have it): then nothing of it is left. StorageUnavailable, DatabaseUnavailable: not now.
        """
        asset_id = asset_id_of(origin.task_id, position)
        before = await self.library.find(asset_id) if again else None
        if before is not None and await self._whole_in_storage(before):
            return before
        found, stored = await self._stored(media, origin)
        size = await self._proven(found, stored, media)
        kept = _kept(asset_id, found, size, stored)
        # Who was slower, or asleep meanwhile, takes nothing from who was first.
        await self._enter(kept, media.family, origin, instead_of=before.key if before else None)
        return await self.library.find(asset_id) or kept

    async def write(self, text: str, origin: Origin, position: int | None = None) -> Kept:
        """Keep a text that was made and enter it in the library; `position`: among the outputs of the origin's task.

        Raises StorageUnavailable, DatabaseUnavailable.
        """
        asset_id = _new_id() if position is None else asset_id_of(origin.task_id, position)
        stored = await self.storage.put(self._key(MARKDOWN, "text", origin), text.encode(), mime=MARKDOWN.mime)
        kept = _kept(asset_id, MARKDOWN, Dimensions(), stored)
        await self._enter(kept, "text", origin)
        return kept

    async def forget(self, task_id: str, owner: str) -> int:
        """Delete what a task made. Returns how many assets there were."""
        return len(await self.library.forget(task_id, owner))

    # --- a result of a task ---

    async def _whole_in_storage(self, kept: Kept) -> bool:
        """Whether the object of a row is there, as the row has it."""
        info = await self.storage.head(kept.key)
        return info is not None and info.size == kept.size

    async def _stored(self, media: Media, origin: Origin) -> tuple[MediaType, Stored]:
        data = await _in_memory(media)
        if data is not None:
            found = known_as(data, media)
            return found, await self.storage.put(self._key(found, media.family, origin), data, mime=found.mime)
        limit = download.DOWNLOAD_SECONDS
        try:
            async with self._hands, asyncio.timeout(limit):
                streamed = partial(self._streamed, media, origin)
                return await tried(streamed, final=(ResultUnavailable, Unavailable))
        except TimeoutError as exc:
            raise ResultUnavailable(f"the upstream's result took longer than {limit:.0f} s") from exc

    async def _streamed(self, media: Media, origin: Origin) -> tuple[MediaType, Stored]:
        """The upload begins once the first bytes have shown what it is, and is dropped where the rest fails."""
        async with aclosing(self._incoming(media, origin)) as chunks:
            head = await _first(chunks)
            found = known_as(head, media)
            async with aclosing(_joined(head, chunks)) as body:
                key = self._key(found, media.family, origin)
                return found, await self.storage.put(key, body, mime=found.mime)

    async def _proven(self, found: MediaType, stored: Stored, media: Media) -> Dimensions:
        """What the stored object shows of itself, read where it lies. One that shows nothing is deleted."""
        source = partial(self.storage.reading, stored.key, stored.size, seconds=MEASURE_WAIT)
        try:
            return await evidence(source, found, media)
        except ResultUnavailable:
            await self.references.drop([stored.key])
            raise
        except StorageUnavailable:
            with suppress(StorageUnavailable):
                await self.storage.delete(stored.key)
            raise

    # --- for all ---

    async def _enter(self, kept: Kept, family: MediaFamily, origin: Origin, *, instead_of: str | None = None) -> None:
        unused = await self.library.enter(kept, family, origin, instead_of=instead_of)
        if unused is not None:
            await self.references.drop([unused])
        self.entered()

    def _incoming(self, media: Media, origin: Origin) -> AsyncGenerator[bytes]:
        return incoming(media, origin.upstream, origin.account, self.http, self.limit)

    async def _whole(self, media: Media, origin: Origin) -> bytes:
        async with aclosing(self._incoming(media, origin)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    def _key(self, found: MediaType, family: MediaFamily, origin: Origin) -> str:
        when = self.database.now() if origin.created_at is None else origin.created_at
        return object_key(FOLDERS[family], origin.model, when, secrets.token_hex(16), found.extension)


def _new_id() -> str:
    return f"asset_{secrets.token_hex(16)}"


def asset_id_of(task_id: str | None, position: int) -> str:
    """The asset that a task makes at that position, for all times."""
    if task_id is None:
        raise ValueError("only what a task makes can be brought in")
    return f"asset_{hashlib.sha256(f'{task_id}:{position}'.encode()).hexdigest()[:32]}"


def _kept(asset_id: str, found: MediaType, size: Dimensions, stored: Stored) -> Kept:
    return Kept(asset_id, stored.key, found.mime, stored.size, size.width, size.height, size.seconds, stored.sha256)


async def _in_memory(media: Media) -> bytes | None:
    """The bytes that came with the answer; None where they are to be fetched. ResultUnavailable where there is none."""
    if media.data:
        return media.data
    if media.b64:
        try:
            return await asyncio.to_thread(base64.b64decode, media.b64)
        except (binascii.Error, ValueError) as exc:
            raise ResultUnavailable("the upstream's result is not valid base64") from exc
    if not media.url:
        raise ResultUnavailable("the upstream named no result")
    return None


async def _first(chunks: AsyncGenerator[bytes]) -> bytes:
    """One byte more than are looked at, or all there are."""
    head = b""
    while len(head) <= HEAD_BYTES and (chunk := await anext(chunks, None)) is not None:
        head += chunk
    return head


async def _joined(head: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk
