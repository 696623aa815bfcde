"""Entering in the library what was made elsewhere: bytes looked at, measured and stored first, then their row."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.assets.asset import Asset
from gateway.assets.files import PROMISES, Files
from gateway.assets.ingest import FOLDERS
from gateway.assets.library import Library
from gateway.assets.media import CSV, JSON, MARKDOWN, PLAIN, Dimensions, MediaType, known_by, sniff
from gateway.errors import InvalidRequest
from gateway.storage import Storage, object_key
from gateway.types import MediaFamily
from gateway.wire.multipart import safe_filename

TEXT_BYTES: Final = 1024 * 1024
"""Of a text that comes in the request itself."""
TEXTS: Final = {known.mime: known for known in (PLAIN, MARKDOWN, JSON, CSV)}
"""What such a text may be said to be."""
NAMELESS: Final = "registered"
"""Stands in keys where a model would."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a caller says of what it registers."""

    owner: str
    request_id: str
    family: MediaFamily | None = None
    """What its bytes must show."""
    title: str | None = None
    description: str | None = None
    prompt: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    source_module: str = "registered"
    provider: str = ""
    model: str = ""
    cost: float | None = None
    currency: str | None = None
    generation_time: float | None = None
    """Seconds."""
    parents: tuple[str, ...] = ()


class Registering:
    def __init__(self, library: Library, files: Files, storage: Storage) -> None:
        self.library = library
        self.files = files
        self.storage = storage

    async def check_parents(self, said: Said) -> None:
        """Raises InvalidRequest where one is neither an asset nor a file of the owner: before anything is fetched."""
        found = {asset.id for asset in await self.library.many(said.parents, said.owner)}
        for parent in said.parents:
            if parent not in found and await self.files.find(parent, said.owner) is None:
                raise InvalidRequest(
                    f"'parents' must name assets or files that are there: no {parent[:80]!r}", param="parents"
                )

    async def file(self, file_id: str, said: Said) -> Asset:
        """An upload of the owner's: both have the same object from then on. Raises NotFound, InvalidRequest."""
        file = await self.files.get(file_id, said.owner)
        found = known_by(file.mime)
        if found is None:
            raise InvalidRequest("the file is of no known type", param="file_id", code="unsupported_file_type")
        _check_family(found.family, said)
        size = Dimensions(file.width, file.height, file.seconds)
        asset = self._asset(said, found, size, key=file.key, name=file.name, length=file.size, sha256=file.sha256)
        return await self.library.add(asset, file_id=file_id)

    async def fetched(self, data: bytes, name: str, said: Said) -> Asset:
        """Bytes that were fetched. Raises InvalidRequest, UnsupportedMedia, StorageUnavailable."""
        examined = await self.files.examined(_unpromising(name), data)
        _check_family(examined.type.family, said)
        return await self._stored(data, _fitting(name, examined.type), examined.type, examined.size, said)

    async def text(self, text: str, mime: str, said: Said) -> Asset:
        """A text as it came. `mime` is one of TEXTS. Raises InvalidRequest, StorageUnavailable."""
        data, known = text.encode(), TEXTS[mime]
        _check_text(text, data, known)
        _check_family("text", said)
        name = (said.title or "text").replace("/", "-").replace("\\", "-")
        return await self._stored(data, _fitting(name, known), known, Dimensions(), said)

    async def _stored(self, data: bytes, name: str, found: MediaType, size: Dimensions, said: Said) -> Asset:
        """An object whose row is refused after all is left to the next collection: it may have been written."""
        now, digest = self.library.database.now(), secrets.token_hex(16)
        key = object_key(FOLDERS[found.family], said.model or NAMELESS, now, digest, found.extension)
        stored = await self.storage.put(key, data, mime=found.mime)
        asset = self._asset(said, found, size, key=key, name=name, length=stored.size, sha256=stored.sha256)
        return await self.library.add(asset)

    def _asset(
        self, said: Said, found: MediaType, size: Dimensions, *, key: str, name: str, length: int, sha256: str
    ) -> Asset:
        return Asset(
            id=f"asset_{secrets.token_hex(16)}",
            owner=said.owner,
            family=found.family,
            key=key,
            mime=found.mime,
            size=length,
            sha256=sha256,
            width=size.width,
            height=size.height,
            seconds=size.seconds,
            filename=name,
            prompt=said.prompt,
            model=said.model,
            upstream=said.provider,
            kind="",
            task_id=None,
            source_module=said.source_module,
            created_at=self.library.database.now(),
            metadata=said.metadata,
            request_id=said.request_id,
            title=said.title,
            description=said.description,
            tags=said.tags,
            parents=said.parents,
            cost=said.cost,
            currency=said.currency,
            generation_time=said.generation_time,
        )


def _check_family(found: MediaFamily, said: Said) -> None:
    if said.family is not None and said.family != found:
        raise InvalidRequest(
            f"'asset_type' is {said.family}, but by its content it is {_with_article(found)}",
            param="asset_type",
            code="asset_type_mismatch",
            advice="Leave 'asset_type' out: the content decides",
        )


def _check_text(text: str, data: bytes, known: MediaType) -> None:
    if len(data) > TEXT_BYTES:
        raise InvalidRequest(
            f"'content' may have at most {TEXT_BYTES} bytes, not {len(data)}",
            param="content",
            advice="Upload it as a file and register it by 'file_id'",
        )
    if not text.strip():
        raise InvalidRequest("'content' must not be empty", param="content")
    if sniff(data) is None:
        raise InvalidRequest("'content' holds control characters: it is no text", param="content")
    if known is JSON:
        try:
            json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise InvalidRequest("'content' is not the JSON that 'mime' says it is", param="content") from exc


def _unpromising(name: str) -> str:
    """A name from a URL: what it seems to promise is not the caller's promise. It tells kinds of text apart."""
    return "file" if name.rpartition(".")[2].lower() in PROMISES else name


def _fitting(name: str, found: MediaType) -> str:
    """A name to save it by, with an ending that is true."""
    safe = safe_filename(name)
    ending = safe.rpartition(".")[2].lower()
    if ending == found.extension or PROMISES.get(ending) == found.family:
        return safe
    return safe_filename(f"{safe}.{found.extension}")


def _with_article(family: MediaFamily) -> str:
    return "text" if family == "text" else f"{'an' if family[0] in 'aeiou' else 'a'} {family}"
