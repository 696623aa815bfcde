"""Files of the caller's: uploads held in memory only, what there is of them, and stored objects by signed links."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.assets.files import File
from gateway.errors import Forbidden, InvalidRequest
from gateway.routes.forms import form_with_file
from gateway.routes.house import Answer, connected, house_of, link, principal_of
from gateway.routes.serving import serve_object

PAGE = 20
PAGE_MAX = 100


async def upload(request: Request) -> Answer:
    """POST /api/files/upload: multipart, field `file`."""
    async with form_with_file(request) as (_, part):
        with connected(request):
            file = await house_of(request).files.keep(principal_of(request).id, part.filename, part.data)
    return uploaded(request, file)


async def index(request: Request) -> Answer:
    """GET /api/files?purpose=&after=&limit=&order="""
    asked = request.query_params
    purpose = asked.get("purpose")
    found, more = await house_of(request).files.list(
        principal_of(request).id,
        purposes=() if purpose is None else (purpose,),
        after=asked.get("after"),
        limit=limit_of(asked.get("limit"), PAGE, PAGE_MAX),
        ascending=is_ascending(asked.get("order")),
    )
    return Answer(listed([shown(request, file) for file in found], [file.id for file in found], more))


async def show(request: Request) -> Answer:
    """GET /api/files/{id}"""
    file = await house_of(request).files.get(request.path_params["id"], principal_of(request).id)
    return Answer(msgspec.json.encode(shown(request, file)), headers=[(b"cache-control", b"private, no-cache")])


async def delete(request: Request) -> Answer:
    """DELETE /api/files/{id}, and the same on /v1: its bytes go with the last file that has them."""
    file_id = request.path_params["id"]
    await house_of(request).files.remove(file_id, principal_of(request).id)
    return Answer(msgspec.json.encode({"id": file_id, "object": "file", "deleted": True}))


async def serve(request: Request) -> Response:
    """GET, HEAD /files/{token}/{key}: a query changes nothing, but the path has one spelling alone."""
    house = house_of(request)
    token, key = request.path_params["token"], request.path_params["key"]
    if b"%" in (request.scope.get("raw_path") or b""):
        raise Forbidden("This link is not valid.", code="invalid_link")
    now = time.time()
    house.links.verify(token, key, now)
    left = house.links.seconds_left(token, now)
    return await serve_object(request, house.storage, key, max_age=left, redirect=house.config.storage.redirect)


def uploaded(request: Request, file: File) -> Answer:
    """The answer to whatever brought a file."""
    return Answer(msgspec.json.encode({"success": True, "file": _brief(request, file)}))


def shown(request: Request, file: File) -> dict[str, Any]:
    """A file as /api shows it."""
    return {
        **_brief(request, file),
        "purpose": file.purpose,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "width": file.width,
        "height": file.height,
        "seconds": file.seconds,
    }


def _brief(request: Request, file: File) -> dict[str, Any]:
    return {
        "name": file.name,
        "url": link(request, file.key),
        "fileId": file.id,
        "size": file.size,
        "type": file.mime,
    }


def listed(data: list[dict[str, Any]], ids: list[str], more: bool) -> bytes:
    """A page of a list, in both dialects."""
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return msgspec.json.encode({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})


def limit_of(text: str | None, default: int, most: int) -> int:
    """How many a page holds. Raises InvalidRequest."""
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 1 <= int(text) <= most:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {most}", param="limit")
    return int(text)


def is_ascending(word: str | None) -> bool:
    """Raises InvalidRequest for an order that there is not."""
    if word not in (None, "asc", "desc"):
        raise InvalidRequest("'order' must be 'asc' or 'desc'", param="order")
    return word == "asc"
