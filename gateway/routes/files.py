"""Files: uploads held in memory only, direct uploads by ticket, and stored objects served by signed links."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from urllib.parse import quote, unquote

import msgspec
from sqlalchemy import insert
from starlette.requests import Request
from starlette.responses import Response

from gateway.assets.media import MediaType, sniff
from gateway.db.tables import files
from gateway.errors import InvalidRequest, UnsupportedMedia
from gateway.routes.forms import FIELD, form_with_file, holding
from gateway.routes.house import (
    Answer,
    House,
    base_url,
    body_chunks,
    connected,
    house_of,
    link,
    principal_of,
    read_body,
)
from gateway.routes.serving import serve_object
from gateway.storage import object_key
from gateway.wire import body as wire_body
from gateway.wire import multipart

TICKETS = "/uploads"


async def upload(request: Request) -> Answer:
    """POST /api/files/upload: multipart, field `file`."""
    async with form_with_file(request) as (_, part):
        with connected(request):
            kept = await _keep(house_of(request), principal_of(request).id, part.filename, part.data)
    return Answer(msgspec.json.encode({"success": True, "file": _shown(request, kept)}))


async def ticket(request: Request) -> Answer:
    """POST /api/files/getstsToken `{filename, filesize, filetype?}`: a presigned PUT to us, good for this one file."""
    house = house_of(request)
    body = wire_body.decode(await read_body(request))
    name = multipart.safe_filename(wire_body.need(body, "filename", str))
    size = wire_body.whole_number(body, "filesize", 1, house.config.limits.upload_max)
    path = f"{principal_of(request).id}/{size or 0}/{secrets.token_hex(16)}/{quote(name, safe='')}"
    now = time.time()
    signed = house.tickets.path(path, now).replace("/files/", f"{TICKETS}/", 1)
    return Answer(
        msgspec.json.encode(
            {
                "success": True,
                "method": "PUT",
                "url": base_url(request) + signed,
                "headers": {"Content-Type": "application/octet-stream"},
                "expires_at": int(now) + TICKET_SECONDS,
                "max_bytes": size or house.config.limits.upload_max,
            }
        )
    )


TICKET_SECONDS = 900


async def redeem(request: Request) -> Answer:
    """PUT /uploads/{token}/{path}: the bytes that a ticket was given for. Answers as an upload does."""
    house = house_of(request)
    path = request.path_params["path"]
    raw = quote(path.rpartition("/")[2], safe="")
    signed = f"{path.rpartition('/')[0]}/{raw}"
    house.tickets.verify(request.path_params["token"], signed, time.time())
    owner, size, _, name = signed.split("/", 3)
    limit = int(size) or house.config.limits.upload_max
    with holding(request, limit):
        data = b"".join([chunk async for chunk in body_chunks(request, limit)])
        if int(size) and len(data) != int(size):
            raise InvalidRequest(f"the ticket is for {size} bytes, not {len(data)}", code="incomplete_upload")
        with connected(request):
            kept = await _keep(house, owner, unquote(name), data)
    return Answer(msgspec.json.encode({"success": True, "file": _shown(request, kept)}))


async def serve(request: Request) -> Response:
    """GET, HEAD /files/{token}/{key}"""
    house = house_of(request)
    token, key = request.path_params["token"], request.path_params["key"]
    now = time.time()
    house.links.verify(token, key, now)
    return await serve_object(request, house.storage, key, max_age=house.links.seconds_left(token, now))


class Kept(msgspec.Struct, frozen=True):
    """An upload that is stored and has its row."""

    id: str
    key: str
    name: str
    size: int
    mime: str


async def _keep(house: House, owner: str, name: str, data: bytes) -> Kept:
    if not data:
        raise InvalidRequest("the file is empty", param=FIELD, code="empty_file")
    found = sniff(data, name)
    if found is None:
        raise UnsupportedMedia("the file is of no known type", param=FIELD, code="unsupported_file_type")
    _check_honest(name, found)
    now = time.time()
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    key = object_key("uploads", "upload", now, secrets.token_hex(16), found.extension)
    await house.storage.put(key, data, mime=found.mime)
    kept = Kept(f"file_{secrets.token_hex(16)}", key, name, len(data), found.mime)
    async with house.database.write() as connection:
        await connection.execute(
            insert(files).values(
                id=kept.id,
                owner=owner,
                key=key,
                name=name,
                mime=found.mime,
                size=len(data),
                sha256=digest,
                created_at=now,
            )
        )
    return kept


def _check_honest(name: str, found: MediaType) -> None:
    """A name that promises a picture, film or sound must keep the promise; the bytes decide what it is."""
    ending = name.rpartition(".")[2].lower()
    promised = PROMISES.get(ending)
    if promised is not None and promised != found.family:
        raise UnsupportedMedia(
            f"the file is named '.{ending}' but holds {found.mime}", param=FIELD, code="unsupported_file_type"
        )


PROMISES = {
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "bmp", "heic", "avif"), "image"),
    **dict.fromkeys(("mp4", "webm", "mov"), "video"),
    **dict.fromkeys(("mp3", "wav", "m4a", "flac", "ogg", "opus", "aac"), "audio"),
    "pdf": "document",
    "docx": "document",
}


def _shown(request: Request, kept: Kept) -> dict[str, object]:
    return {
        "name": kept.name,
        "url": link(request, kept.key),
        "fileId": kept.id,
        "size": kept.size,
        "type": kept.mime,
    }
