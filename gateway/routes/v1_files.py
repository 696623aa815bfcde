"""/v1/files: the caller's files as OpenAI's SDKs know them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.assets.files import INPUT, UPLOAD, File
from gateway.errors import InvalidRequest
from gateway.routes.files import is_ascending, limit_of, listed
from gateway.routes.forms import form_with_file
from gateway.routes.house import Answer, connected, house_of, principal_of
from gateway.routes.serving import serve_object
from gateway.wire.multipart import Form

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
OTHERS = "user_data"
"""What files of the gateway's own purposes are told as here."""
LIST_MAX = 10_000
LEAST_SECONDS, MOST_SECONDS = 3600, 2_592_000
"""How long a file may be asked to stay."""
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


async def create(request: Request) -> Answer:
    """POST /v1/files: multipart, `file`, `purpose` and perhaps `expires_after`."""
    house = house_of(request)
    async with form_with_file(request) as (form, part):
        purpose, lives = _purpose(form), _lives(form)
        now = house.database.now()
        with connected(request):
            file = await house.files.keep(
                principal_of(request).id,
                part.filename,
                part.data,
                purpose=purpose,
                created_at=now,
                expires_at=None if lives is None else now + lives,
            )
    return Answer(msgspec.json.encode(shown(file)))


async def index(request: Request) -> Answer:
    """GET /v1/files?purpose=&after=&limit=&order="""
    asked = request.query_params
    found, more = await house_of(request).files.list(
        principal_of(request).id,
        purposes=_purposes(asked.get("purpose")),
        after=asked.get("after"),
        limit=limit_of(asked.get("limit"), LIST_MAX, LIST_MAX),
        ascending=is_ascending(asked.get("order")),
    )
    return Answer(listed([shown(file) for file in found], [file.id for file in found], more))


async def show(request: Request) -> Answer:
    """GET /v1/files/{id}"""
    return Answer(msgspec.json.encode(shown(await _asked_for(request))))


async def content(request: Request) -> Response:
    """GET, HEAD /v1/files/{id}/content: the bytes, to be saved."""
    file = await _asked_for(request)
    storage = house_of(request).storage
    return await serve_object(request, storage, file.key, mime=file.mime, filename=file.name, attachment=True)


async def _asked_for(request: Request) -> File:
    return await house_of(request).files.get(request.path_params["id"], principal_of(request).id)


def shown(file: File) -> dict[str, Any]:
    """A file as OpenAI shows it. Times are whole seconds there."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.name,
        "purpose": OTHERS if file.purpose in (UPLOAD, INPUT) else file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _purpose(form: Form) -> str:
    found = form.value("purpose")
    if found is None:
        raise InvalidRequest(
            f"'purpose' is required: one of {', '.join(PURPOSES)}", param="purpose", code="missing_required_parameter"
        )
    return _known(found)


def _purposes(found: str | None) -> tuple[str, ...]:
    """Which purposes a list is asked for by; none for all."""
    if found is None:
        return ()
    return (OTHERS, UPLOAD) if _known(found) == OTHERS else (found,)


def _known(purpose: str) -> str:
    if purpose not in PURPOSES:
        raise InvalidRequest(
            f"'purpose' {purpose[:40]!r} is unknown: use one of {', '.join(PURPOSES)}", param="purpose"
        )
    return purpose


def _lives(form: Form) -> int | None:
    """Seconds until the file is gone; None: it stays."""
    anchor, seconds = form.value(ANCHOR), form.value(SECONDS)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest(f"'{ANCHOR}' must be 'created_at'", param=ANCHOR)
    digits = seconds if seconds is not None and seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else "0"
    if not LEAST_SECONDS <= int(digits) <= MOST_SECONDS:
        raise InvalidRequest(
            f"'{SECONDS}' must be a whole number from {LEAST_SECONDS} to {MOST_SECONDS}", param=SECONDS
        )
    return int(digits)
