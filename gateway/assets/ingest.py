"""Bringing upstream media into our storage: nothing counts as made before its bytes are here and look like it.

Evidence: magic bytes of the right family, size above zero, dimensions or duration as read from the bytes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, replace

from sqlalchemy import insert

from gateway.assets.media import Dimensions, MediaType, measured, sniff
from gateway.db.engine import Database
from gateway.db.tables import assets
from gateway.errors import GatewayError, ResultUnavailable
from gateway.http import Outbound
from gateway.storage import Folder, Storage, object_key
from gateway.types import Account, Kind, Media, MediaFamily
from gateway.upstreams.base import Upstream

FOLDERS: dict[MediaFamily, Folder] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "text": "text",
    "document": "text",
}
RAW_SAMPLES = MediaType("audio/pcm", "pcm", "audio")
ATTEMPTS = 3
RETRY_SECONDS = 0.5
UNFETCHED = "the upstream's result could not be fetched"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where media come from and whose they are."""

    owner: str
    kind: Kind
    model: str
    upstream: Upstream
    account: Account
    prompt: str = ""
    task_id: str | None = None
    source_module: str = "api"


class Ingest:
    def __init__(self, storage: Storage, http: Outbound, database: Database, *, limit: int) -> None:
        self.storage = storage
        self.http = http
        self.database = database
        self.limit = limit
        """Bytes a result may have."""

    async def keep(self, media: Media, origin: Origin) -> Media:
        """Store media and enter it in the library. Returns it with `key`, `asset_id`, `data` and true measures.

        Raises ResultUnavailable where there are no such bytes or they are not what they should be.
        """
        data = await self._bytes(media, origin)
        found, size = await _evidence(data, media)
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        now = time.time()
        asset_id = f"asset_{secrets.token_hex(16)}"
        key = object_key(FOLDERS[media.family], origin.model, now, asset_id[6:], found.extension)
        await self.storage.put(key, data, mime=found.mime)
        await self._enter(asset_id, media, origin, found, size, key, len(data), sha256, now)
        return replace(
            media,
            mime=found.mime,
            data=data,
            b64=None,
            width=size.width,
            height=size.height,
            seconds=size.seconds,
            key=key,
            asset_id=asset_id,
        )

    async def _enter(
        self,
        asset_id: str,
        media: Media,
        origin: Origin,
        found: MediaType,
        size: Dimensions,
        key: str,
        length: int,
        sha256: str,
        now: float,
    ) -> None:
        async with self.database.write() as connection:
            await connection.execute(
                insert(assets).values(
                    id=asset_id,
                    owner=origin.owner,
                    family=media.family,
                    key=key,
                    mime=found.mime,
                    size=length,
                    sha256=sha256,
                    width=size.width,
                    height=size.height,
                    seconds=size.seconds,
                    filename=key.rpartition("/")[2],
                    prompt=origin.prompt,
                    model=origin.model,
                    upstream=origin.upstream.name,
                    kind=origin.kind,
                    task_id=origin.task_id,
                    source_module=origin.source_module,
                    created_at=now,
                    metadata="{}",
                )
            )

    async def _bytes(self, media: Media, origin: Origin) -> bytes:
        if media.data:
            return media.data
        if media.b64:
            return await asyncio.to_thread(base64.b64decode, media.b64)
        if not media.url:
            raise ResultUnavailable("the upstream named no result")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._download(media, origin)
            except GatewayError as error:
                if attempt == ATTEMPTS or error.status < 500:
                    raise ResultUnavailable(
                        "the upstream's result could not be fetched", detail=error.message
                    ) from error
                await asyncio.sleep(RETRY_SECONDS * attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _download(self, media: Media, origin: Origin) -> bytes:
        assert media.url is not None
        if "fetch" in origin.upstream.operations():
            return await self._gathered(media, origin)
        answer = await self.http.download(media.url, trusted=origin.account.base_url)
        try:
            if answer.status != 200:
                raise ResultUnavailable(f"the upstream's result answered with status {answer.status}")
            return await answer.read(self.limit)
        finally:
            answer.close()

    async def _gathered(self, media: Media, origin: Origin) -> bytes:
        parts, size = [], 0
        async for chunk in origin.upstream.fetch(media, origin.account):
            size += len(chunk)
            if size > self.limit:
                raise ResultUnavailable(f"the upstream's result is larger than {self.limit} bytes")
            parts.append(chunk)
        return b"".join(parts)


async def _evidence(data: bytes, media: Media) -> tuple[MediaType, Dimensions]:
    """What the bytes are, by themselves. Only raw samples, asked for as such, show nothing and are believed."""
    if media.family == "audio" and media.mime == RAW_SAMPLES.mime and data:
        return RAW_SAMPLES, Dimensions()
    found = sniff(data)
    if found is None or found.family != media.family:
        raise ResultUnavailable(f"the upstream's result is not {_an(media.family)}")
    try:
        size = await measured(data, found)
    except GatewayError as exc:
        raise ResultUnavailable(f"the upstream's {media.family} cannot be read") from exc
    if media.family in ("video", "audio") and not size.seconds:
        raise ResultUnavailable(f"the upstream's {media.family} has no length")
    return found, size


def _an(family: str) -> str:
    return f"{'an' if family[0] in 'aeiou' else 'a'} {family}"
