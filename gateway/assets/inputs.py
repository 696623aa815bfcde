"""Files that go into a generation: brought from wherever the caller names them to where the upstream reads them.

A caller names a file by a `data:` URL, by one of our own links, by the id of a file or an asset of its own, or by a URL
on the internet. An upstream that takes uploads gets a copy under the lease of the account that will use it, remembered
by content and account; every other one gets the bytes as a `data:` URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from gateway.assets.files import INPUT, Examined, Files, is_file_id
from gateway.assets.media import sniff
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import assets, file_copies
from gateway.errors import Forbidden, GatewayError, InputUnreachable, InvalidRequest, TooLarge
from gateway.http import Outbound
from gateway.links import Links
from gateway.storage import Storage
from gateway.types import Account, AnyRequest, ChatRequest, ImageRequest, Input, VideoRequest
from gateway.upstreams.base import Upstream
from gateway.wire import chat_files, openai_chat
from gateway.wire.chat_files import source

OBJECT = "object:"
"""How a task row names a file in our storage: it outlives every link."""
FILES = "/files/"
IMAGE_MAX = 25 * 1024 * 1024
COPY_MARGIN_SECONDS = 30.0
"""An upstream copy that ends sooner than this is made anew."""

R = TypeVar("R", bound=ImageRequest | VideoRequest)
Change = Callable[[dict[str, Any], str], Awaitable[dict[str, Any] | None]]
"""Another part for one that brings a file by that name; None leaves it as it is."""

_ASSET = select(assets.c.key, assets.c.mime, assets.c.filename.label("name")).where(
    assets.c.id == bindparam("the_id"), assets.c.owner == bindparam("the_owner")
)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file that was brought in."""

    data: bytes
    mime: str
    name: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Ours:
    """A file or an asset that somebody named by its id."""

    key: str
    mime: str
    name: str


class Inputs:
    def __init__(self, storage: Storage, links: Links, http: Outbound, database: Database) -> None:
        self.storage = storage
        self.links = links
        self.http = http
        self.database = database
        self.files = Files(database, storage, References(database, storage))

    async def resolved(self, request: AnyRequest, owner: str) -> AnyRequest:
        """The request with files and assets that its owner names by id as what they are known by further on.

        InvalidRequest `file_not_found` for an id that is not this owner's, as for one that never was, and
        `invalid_image` for an image that is none.
        """
        if isinstance(request, ChatRequest):
            return await self._resolved_chat(request, owner)
        if isinstance(request, ImageRequest | VideoRequest):
            return await self._resolved_inputs(request, owner)
        return request

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

    async def settled(self, request: R, owner: str) -> R:
        """The request with what may vanish (`data:` URLs, our links, ids) by its object: fit to be stored with a task.

        What came inside of the request becomes files of its owner. All are looked at before one is kept. Raises what
        `resolved` and `bring` do, and what a file is refused for.
        """
        if not request.inputs:
            return request
        request = await self._resolved_inputs(request, owner)
        looked_at = [await self._looked_at(found) for found in request.inputs]
        return msgspec.structs.replace(request, inputs=tuple([await self._kept(one, owner) for one in looked_at]))

    def sources(self, request: AnyRequest) -> tuple[str, ...]:
        """The storage keys of those inputs that are ours, each once. Ids must be resolved by then."""
        if isinstance(request, ImageRequest | VideoRequest):
            keys = [self.own_key(found.url) for found in request.inputs]
        elif isinstance(request, ChatRequest) and chat_files.may_name_links(bytes(request.body["messages"])):
            keys = [self.link_key(name) for part in _parts(openai_chat.messages(request)) if (name := source(part))]
        else:
            return ()
        return tuple(dict.fromkeys(key for key in keys if key))

    async def bring(self, url: str) -> Bytes:
        """The bytes that a URL names. Raises InvalidRequest, InputUnreachable, TooLarge."""
        if url.startswith("data:"):
            return await asyncio.to_thread(_from_data_url, url)
        if key := self.own_key(url):
            return await self._from_storage(key)
        return await self._from_internet(url)

    def own_key(self, url: str) -> str | None:
        """The storage key, where a URL is an object's own name or a link of ours that still opens something."""
        return url.removeprefix(OBJECT) if url.startswith(OBJECT) else self.link_key(url)

    def link_key(self, url: str) -> str | None:
        """The same for links alone: callers know no other names of objects."""
        path = urlsplit(url).path
        if not path.startswith(FILES):
            return None
        token, _, key = path.removeprefix(FILES).partition("/")
        try:
            self.links.verify(token, key, time.time())
        except Forbidden:
            return None
        return key

    # --- ids ---

    async def _ours(self, name: str, owner: str) -> Ours:
        found: Any
        if is_file_id(name):
            found = await self.files.find(name, owner)
        else:
            async with self.database.read() as connection:
                found = (await connection.execute(_ASSET, {"the_id": name, "the_owner": owner})).one_or_none()
        if found is None:
            raise InvalidRequest(f"there is no file or asset {name!r}", code="file_not_found")
        return Ours(found.key, found.mime, found.name)

    async def _resolved_inputs(self, request: R, owner: str) -> R:
        if not any(chat_files.is_id(found.url) for found in request.inputs):
            return request
        inputs = [await self._resolved_input(found, owner) for found in request.inputs]
        return msgspec.structs.replace(request, inputs=tuple(inputs))

    async def _resolved_input(self, found: Input, owner: str) -> Input:
        if not chat_files.is_id(found.url):
            return found
        ours = await self._ours(found.url, owner)
        if found.role != "file":
            _check_image(ours.mime)
        return msgspec.structs.replace(found, url=OBJECT + ours.key, mime=ours.mime, name=found.name or ours.name)

    async def _resolved_chat(self, request: ChatRequest, owner: str) -> ChatRequest:
        async def linked(part: dict[str, Any], name: str) -> dict[str, Any] | None:
            if not chat_files.is_id(name):
                return None
            ours = await self._ours(name, owner)
            if part["type"] == "image_url":
                _check_image(ours.mime)
            return chat_files.with_file(part, self.links.path(ours.key, time.time()), ours.mime, ours.name)

        named = chat_files.may_name_ids(bytes(request.body["messages"]))
        return await _with_parts(request, linked) if named else request

    # --- chats ---

    async def _staged_chat(self, request: ChatRequest, upstream: Upstream, model: str, account: Account) -> ChatRequest:
        if request.model != model:
            request = msgspec.structs.replace(request, model=model)
        if "upload" not in upstream.operations():
            linked = chat_files.may_name_links(bytes(request.body["messages"]))
            return await _with_parts(request, self._inlined) if linked else request
        named = [*_files_of(openai_chat.messages(request)[-1]), *request.inputs]
        return msgspec.structs.replace(
            request, inputs=tuple([await self._staged_input(found, upstream, account) for found in named])
        )

    async def _inlined(self, part: dict[str, Any], name: str) -> dict[str, Any] | None:
        """The part with the bytes that a link of ours leads to; None for any other."""
        if (key := self.link_key(name)) is None:
            return None
        file = await self._from_storage(key)
        value = part[part["type"]]
        called = value.get("filename") if isinstance(value, dict) else None
        return chat_files.with_file(part, await asyncio.to_thread(_data_url, file), file.mime, str(called or file.name))

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

    async def _looked_at(self, found: Input) -> tuple[Input, Examined | None]:
        """An input as it can be stored, or with what is to be kept first."""
        if key := self.own_key(found.url):
            return msgspec.structs.replace(found, url=OBJECT + key), None
        if not found.url.startswith("data:"):
            return found, None
        file = _fitting(found, await self.bring(found.url))
        return found, await self.files.examined(file.name, file.data)

    async def _kept(self, looked_at: tuple[Input, Examined | None], owner: str) -> Input:
        found, examined = looked_at
        if examined is None:
            return found
        file = await self.files.enter(owner, examined, purpose=INPUT)
        return msgspec.structs.replace(found, url=OBJECT + file.key, mime=file.mime, size=file.size)

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
    """The files that a message brings. Raises InvalidRequest for one by a name that callers do not have."""
    found = []
    for part in _parts([turn]):
        name = source(part)
        if name is None:
            continue
        if name.startswith(OBJECT):
            raise InvalidRequest("a file must be named by an http(s) or data: URL, or by its id", code="invalid_url")
        value = part[part["type"]]
        called = str(value.get("filename", "")) if part["type"] == "file" and isinstance(value, dict) else ""
        found.append(Input(name, role="file" if part["type"] == "file" else "image", name=called))
    return found


def _parts(turns: list[dict[str, Any]]) -> Iterator[Any]:
    for turn in turns:
        if isinstance(turn.get("content"), list):
            yield from turn["content"]


async def _with_parts(request: ChatRequest, change: Change) -> ChatRequest:
    """The chat with other parts for those that bring a file, where `change` has one. Untouched where it has none."""
    turns, changed = openai_chat.messages(request), False
    for content in (turn["content"] for turn in turns if isinstance(turn.get("content"), list)):
        for at, part in enumerate(content):
            if (name := source(part)) is not None and (other := await change(part, name)) is not None:
                content[at], changed = other, True
    if not changed:
        return request
    body = {**request.body, "messages": msgspec.Raw(msgspec.json.encode(turns))}
    return msgspec.structs.replace(request, body=body)


def _fitting(found: Input, file: Bytes) -> Bytes:
    """The file, if it can be what the request says it is. Raises InvalidRequest for an image that is none."""
    if found.role != "file":
        _check_image(file.mime)
    return file


def _check_image(mime: str) -> None:
    if not mime.startswith("image/"):
        raise InvalidRequest("an image that the request names is none by its content", code="invalid_image")


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
