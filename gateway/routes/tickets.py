"""Uploads by ticket: one PUT of one file, to the gateway or straight to its object store.

A ticket is signed and stands for itself: no row is written before the file is there. The file's id follows from it, so
that what is sent or completed twice is one file.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec
from starlette.requests import Request

from gateway.assets.files import File, new_id
from gateway.errors import Forbidden, InvalidRequest, NotFound, RequestError, StorageUnavailable
from gateway.routes.files import uploaded
from gateway.routes.forms import counted, gathered, holding, spending, too_large
from gateway.routes.house import Answer, House, base_url, connected, house_of, principal_of, read_body
from gateway.storage import object_key
from gateway.wire import body as wire_body
from gateway.wire import multipart

TICKETS = "/uploads"
HEADERS = {"Content-Type": "application/octet-stream"}
AZURE_HEADERS = {**HEADERS, "x-ms-blob-type": "BlockBlob"}
"""Azure refuses a PUT without it. Its URLs are those that are signed by `sig`."""
DIRECT = "direct:"
"""Before what is signed of a ticket for the store, so that none of the other kind is ever taken for one."""
TICKET_SECONDS = 900
COMPLETE_SECONDS = 3600
"""How much longer an upload to the store may be completed: it may have begun in the last second."""


class Direct(msgspec.Struct, frozen=True):
    """What a ticket for the store says: signed, and carried by whoever has it."""

    owner: str
    key: str
    """Where the bytes come to lie until they are looked at."""
    size: int
    """0: whatever comes, up to the limit."""
    name: str


async def ticket(request: Request) -> Answer:
    """POST /api/files/getstsToken `{filename, filesize?}`: a presigned PUT, good for this one file."""
    house = house_of(request)
    body = wire_body.decode(await read_body(request))
    name = multipart.safe_filename(wire_body.need(body, "filename", str))
    size = wire_body.whole_number(body, "filesize", 1, house.config.limits.upload_max) or 0
    now = time.time()
    given = await _direct(request, name, size, now) or _own(request, name, size, now)
    shown = {
        "success": True,
        "method": "PUT",
        **given,
        "expires_at": int(now) + TICKET_SECONDS,
        "max_bytes": size or house.config.limits.upload_max,
    }
    return Answer(msgspec.json.encode(shown))


# --- to the gateway ---


def _own(request: Request, name: str, size: int, now: float) -> dict[str, Any]:
    path = f"{principal_of(request).id}/{size}/{secrets.token_hex(16)}/{quote(name, safe='')}"
    signed = house_of(request).tickets.path(path, now).replace("/files/", f"{TICKETS}/", 1)
    return {"url": base_url(request) + signed, "headers": HEADERS}


async def redeem(request: Request) -> Answer:
    """PUT /uploads/{token}/{path}: the bytes that a ticket was given for. Answers as an upload does."""
    house = house_of(request)
    path, _, name = request.path_params["path"].rpartition("/")
    signed = f"{path}/{quote(name, safe='')}"
    house.tickets.verify(request.path_params["token"], signed, time.time())
    owner, size, _, name = signed.split("/", 3)
    limit = int(size) or house.config.limits.upload_max
    with holding(request, limit):
        data = await gathered(counted(request, limit))
        _check_size(int(size), len(data))
        with connected(request):
            file = await house.files.keep(owner, unquote(name), data, file_id=new_id(signed.encode()))
    return uploaded(request, file)


# --- to the store ---


async def _direct(request: Request, name: str, size: int, now: float) -> dict[str, Any] | None:
    """None where the store is not to be reached by callers."""
    house = house_of(request)
    if not house.config.storage.direct_uploads:
        return None
    key = object_key("uploads", "incoming", now, secrets.token_hex(16), "bin")
    url = await house.storage.presigned(key, "PUT", TICKET_SECONDS)
    if url is None:
        return None
    facts = _packed(Direct(principal_of(request).id, key, size, name))
    token = house.tickets.path(DIRECT + facts, now).split("/", 3)[2]
    file_id = new_id(facts.encode())
    complete = f"{base_url(request)}/api/files/{file_id}/complete?ticket={token}.{facts}"
    headers = AZURE_HEADERS if "sig" in parse_qs(urlsplit(url).query) else HEADERS
    return {"url": url, "headers": headers, "fileId": file_id, "complete": {"method": "POST", "url": complete}}


async def complete(request: Request) -> Answer:
    """POST /api/files/{id}/complete?ticket=: what was sent to the store becomes a file. Answers as an upload does."""
    house, file_id = house_of(request), request.path_params["id"]
    direct = _verified(request, file_id)
    with connected(request):
        file = await house.files.find(file_id, direct.owner) or await _taken_in(house, direct, file_id)
    return uploaded(request, file)


def _verified(request: Request, file_id: str) -> Direct:
    """What the ticket says. NotFound where it is another caller's or for another file, Forbidden where it is none."""
    token, _, facts = request.query_params.get("ticket", "").partition(".")
    house_of(request).tickets.verify(token, DIRECT + facts, time.time() - COMPLETE_SECONDS)
    direct = _unpacked(facts)
    if new_id(facts.encode()) != file_id or direct.owner != principal_of(request).id:
        raise NotFound(f"no file {file_id[:80]!r}", param="file_id", code="file_not_found")
    return direct


async def _taken_in(house: House, direct: Direct, file_id: str) -> File:
    try:
        file = await _looked_at(house, direct, file_id)
    except NotFound as exc:
        file_now = await house.files.find(file_id, direct.owner)  # completed by another request just now
        if file_now is None:
            raise InvalidRequest(
                "nothing was sent by this ticket yet", code="incomplete_upload", advice="PUT the file to its URL first"
            ) from exc
        return file_now
    except RequestError:
        await _forget(house, direct.key)
        raise
    await _forget(house, direct.key)
    return file


async def _looked_at(house: House, direct: Direct, file_id: str) -> File:
    info = await house.storage.head(direct.key)
    if info is None:
        raise NotFound
    if info.size > house.config.limits.upload_max:
        raise too_large(house)
    _check_size(direct.size, info.size)
    with spending(house, info.size):
        data = await gathered(house.storage.get(direct.key, end=info.size))
        return await house.files.keep(direct.owner, direct.name, data, file_id=file_id)


async def _forget(house: House, key: str) -> None:
    """Delete what came; where the store is away, the next collection does."""
    with suppress(StorageUnavailable):
        await house.storage.delete(key)


def _check_size(promised: int, size: int) -> None:
    if promised and size != promised:
        raise InvalidRequest(f"the ticket is for {promised} bytes, not {size}", code="incomplete_upload")


def _packed(direct: Direct) -> str:
    """In letters that a URL takes as they are."""
    return urlsafe_b64encode(msgspec.json.encode(direct)).decode().rstrip("=")


def _unpacked(facts: str) -> Direct:
    try:
        return msgspec.json.decode(urlsafe_b64decode(facts + "=" * (-len(facts) % 4)), type=Direct)
    except (NotBase64, ValueError) as exc:
        raise Forbidden("This link is not valid.", code="invalid_link") from exc
