"""Files that go into a generation: brought from wherever the caller names them to where the upstream reads them.

A caller names a file by a `data:` URL, by one of our own links or by a URL on the internet. An upstream that takes
uploads gets a copy under the lease of the account that will use it, remembered by content and account; every other
one gets the bytes as a `data:` URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec
from sqlalchemy import delete, insert, select

from gateway.assets.media import sniff
from gateway.db.engine import Database
from gateway.db.tables import file_copies
from gateway.errors import Forbidden, GatewayError, InputUnreachable, InvalidRequest, TooLarge
from gateway.http import Outbound
from gateway.links import Links
from gateway.storage import Storage, object_key
from gateway.types import Account, AnyRequest, ChatRequest, ImageRequest, Input, VideoRequest
from gateway.upstreams.base import Upstream
from gateway.wire import openai_chat

OBJECT = "object:"
"""How a task row names a file in our storage: it outlives every link."""
FILES = "/files/"
IMAGE_MAX = 25 * 1024 * 1024
COPY_MARGIN_SECONDS = 30.0
"""An upstream copy that ends sooner than this is made anew."""

R = TypeVar("R", ImageRequest, VideoRequest)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file that was brought in."""

    data: bytes
    mime: str
    name: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Inputs:
    def __init__(self, storage: Storage, links: Links, http: Outbound, database: Database) -> None:
        self.storage = storage
        self.links = links
        self.http = http
        self.database = database

    async def staged(self, request: AnyRequest, upstream: Upstream, model: str, account: Account) -> AnyRequest:
        """The request as this upstream's account can read it, under the model's name there."""
        if isinstance(request, ChatRequest):
            return await self._staged_chat(request, upstream, model, account)
        if request.model != model:
            request = msgspec.structs.replace(request, model=model)
        if isinstance(request, ImageRequest | VideoRequest) and request.inputs:
            inputs = [await self._staged_input(found, upstream, account) for found in request.inputs]
            request = msgspec.structs.replace(request, inputs=tuple(inputs))
        return request

    async def settled(self, request: R) -> R:
        """The request with what may vanish (`data:` URLs, our links) kept as objects: fit to be stored with a task."""
        if not request.inputs:
            return request
        return msgspec.structs.replace(request, inputs=tuple([await self._settled(found) for found in request.inputs]))

    async def bring(self, url: str) -> Bytes:
        """The bytes that a URL names. Raises InvalidRequest, InputUnreachable, TooLarge."""
        if url.startswith("data:"):
            return await asyncio.to_thread(_from_data_url, url)
        if key := self.own_key(url):
            return await self._from_storage(key)
        return await self._from_internet(url)

    def own_key(self, url: str) -> str | None:
        """The storage key, where a URL is a link of ours that still opens something."""
        if url.startswith(OBJECT):
            return url.removeprefix(OBJECT)
        path = urlsplit(url).path
        if not path.startswith(FILES):
            return None
        token, _, key = path.removeprefix(FILES).partition("/")
        try:
            self.links.verify(token, key, time.time())
        except Forbidden:
            return None
        return key

    # --- chats ---

    async def _staged_chat(self, request: ChatRequest, upstream: Upstream, model: str, account: Account) -> ChatRequest:
        if request.model != model:
            request = msgspec.structs.replace(request, model=model)
        uploads = "upload" in upstream.operations()
        raw = bytes(request.body["messages"])
        if not uploads and FILES.encode() not in raw:
            return request
        turns = openai_chat.messages(request)
        if not uploads:
            body = {**request.body, "messages": msgspec.Raw(msgspec.json.encode(await self._inlined(turns)))}
            return msgspec.structs.replace(request, body=body)
        named = [*_files_of(turns[-1]), *request.inputs]
        return msgspec.structs.replace(
            request, inputs=tuple([await self._staged_input(found, upstream, account) for found in named])
        )

    async def _inlined(self, turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for turn in turns:
            for part in turn["content"] if isinstance(turn.get("content"), list) else ():
                image = part.get("image_url") if isinstance(part, dict) else None
                if isinstance(image, dict) and isinstance(image.get("url"), str) and self.own_key(image["url"]):
                    image["url"] = _data_url(await self.bring(image["url"]))
        return turns

    # --- one input ---

    async def _staged_input(self, found: Input, upstream: Upstream, account: Account) -> Input:
        brought = _fitting(found, await self.bring(found.url))
        mime, name = brought.mime or found.mime, found.name or brought.name
        staged = msgspec.structs.replace(found, mime=mime, name=name, size=len(brought.data))
        if "upload" not in upstream.operations():
            return msgspec.structs.replace(staged, url=await asyncio.to_thread(_data_url, brought))
        return msgspec.structs.replace(staged, ref=await self._copy(brought, name, upstream, account))

    async def _copy(self, file: Bytes, name: str, upstream: Upstream, account: Account) -> dict[str, Any]:
        """The upstream's own name for a file, made once an account and content."""
        sha256 = file.sha256
        here = (file_copies.c.sha256 == sha256) & (file_copies.c.account_id == account.id)
        async with self.database.read() as connection:
            row = (await connection.execute(select(file_copies).where(here))).one_or_none()
        if row is not None and (row.expires_at is None or row.expires_at > time.time() + COPY_MARGIN_SECONDS):
            known: dict[str, Any] = msgspec.json.decode(row.ref)
            return known
        ref = await upstream.upload(file.data, name=name, mime=file.mime, account=account)
        async with self.database.write() as connection:
            await connection.execute(delete(file_copies).where(here))
            await connection.execute(
                insert(file_copies).values(
                    sha256=sha256,
                    account_id=account.id,
                    ref=msgspec.json.encode(ref).decode(),
                    expires_at=ref.get("expires_at"),
                    created_at=time.time(),
                )
            )
        return ref

    async def _settled(self, found: Input) -> Input:
        if key := self.own_key(found.url):
            return msgspec.structs.replace(found, url=OBJECT + key)
        if not found.url.startswith("data:"):
            return found
        file = _fitting(found, await self.bring(found.url))
        media = sniff(file.data)
        key = object_key("uploads", "input", time.time(), file.sha256, media.extension if media else "bin")
        await self.storage.put(key, file.data, mime=file.mime)
        return msgspec.structs.replace(found, url=OBJECT + key, mime=file.mime, size=len(file.data))

    # --- where bytes come from ---

    async def _from_storage(self, key: str) -> Bytes:
        info = await self.storage.head(key)
        if info is None:
            raise InvalidRequest("the file that the request names is gone", code="file_gone")
        if info.size > IMAGE_MAX:
            raise TooLarge(f"a file in a request may have at most {IMAGE_MAX} bytes")
        data = b"".join([chunk async for chunk in self.storage.get(key)])
        return _sniffed(data, key.rpartition("/")[2])

    async def _from_internet(self, url: str) -> Bytes:
        try:
            answer = await self.http.download(url)
        except InvalidRequest:
            raise
        except GatewayError as exc:
            raise InputUnreachable("a file that the request names could not be fetched", detail=exc.detail) from exc
        try:
            if answer.status != 200:
                raise InputUnreachable(f"a file that the request names could not be fetched: status {answer.status}")
            data = await answer.read(IMAGE_MAX)
        finally:
            answer.close()
        return _sniffed(data, urlsplit(url).path.rpartition("/")[2] or "file")


def _files_of(turn: dict[str, Any]) -> list[Input]:
    """The files that a message brings: its image parts, and file parts by URL or data."""
    content = turn.get("content")
    found = [Input(url, role="image") for url in openai_chat.images(content)]
    for part in content if isinstance(content, list) else ():
        file = part.get("file") if isinstance(part, dict) and part.get("type") == "file" else None
        if isinstance(file, str):
            found.append(Input(file, role="file"))
        elif isinstance(file, dict) and isinstance(file.get("file_data") or file.get("url"), str):
            found.append(Input(file.get("file_data") or file["url"], role="file", name=str(file.get("filename", ""))))
    return found


def _fitting(found: Input, file: Bytes) -> Bytes:
    """The file, if it can be what the request says it is. Raises InvalidRequest for an image that is none."""
    if found.role != "file" and not file.mime.startswith("image/"):
        raise InvalidRequest("an image that the request names is none by its content", code="invalid_image")
    return file


def _sniffed(data: bytes, name: str) -> Bytes:
    media = sniff(data)
    if media is None:
        raise InvalidRequest("a file that the request names is of no known type", code="unsupported_file_type")
    return Bytes(data, media.mime, name)


def _from_data_url(url: str) -> Bytes:
    head, comma, payload = url.partition(",")
    if not comma or len(payload) > IMAGE_MAX * 4 // 3 + 4:
        raise InvalidRequest("a data: URL must be 'data:<type>;base64,<data>' of at most 25 MB", code="invalid_image")
    try:
        data = base64.b64decode(payload, validate=True) if head.endswith(";base64") else unquote_to_bytes(payload)
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest("a data: URL in the request is not valid base64", code="invalid_image") from exc
    media = sniff(data)
    if media is None:
        raise InvalidRequest("a data: URL in the request holds no known type of file", code="invalid_image")
    return Bytes(data, media.mime, f"file.{media.extension}")


def _data_url(file: Bytes) -> str:
    return f"data:{file.mime};base64,{base64.b64encode(file.data).decode()}"
