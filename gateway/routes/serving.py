"""A stored object as an HTTP answer: conditional, in ranges, and harmless in a browser whatever it holds."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Literal
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.assets.media import MediaType, known_by, named
from gateway.errors import GatewayError, NotFound
from gateway.storage import ObjectInfo, Storage
from gateway.wire.multipart import safe_filename

SEND_SECONDS = 120.0
"""A write that has not drained by then ends the answer. A paused player asks on with a range of its own."""

REDIRECT_MARGIN_SECONDS = 60
"""A redirect is kept for so much less than what it leads to works: who follows it late still has time to read."""

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(?:(\d+)[ \t]*-[ \t]*(\d*)|-[ \t]*(\d+))", re.IGNORECASE | re.ASCII)
_MANY = re.compile(r"bytes[ \t]*=[^,]*,", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_DIGITS = 18
"""Of a position in a file: what is longer lies past every end."""
_UNKNOWN = "application/octet-stream"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range asked for has nothing in this object, or there is more than one: 416."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send, decided before a byte is read."""

    status: Literal[200, 206, 304, 416]
    start: int
    end: int
    """Of the bytes to send, the last one excluded; the same as `start` where there is no body."""
    headers: dict[str, str]


async def serve_object(
    request: Request,
    storage: Storage,
    key: str,
    *,
    mime: str | None = None,
    filename: str | None = None,
    max_age: int = 0,
    attachment: bool = False,
    redirect: bool = False,
) -> Response:
    """Answer GET or HEAD with the object at `key`.

    `mime` is what the bytes were found to be; without it the store's own note or the extension that we gave the key
    decide. `filename` is shown to who saves it. `max_age` is in seconds, for the caller's own cache only. `attachment`
    asks for saving even of what could be shown. `redirect` lets GET lead on to the store itself for `max_age` seconds,
    where the store can be asked directly and the type is harmless whatever headers it comes with.
    NotFound `asset_gone` if the object is not there, StorageUnavailable if it cannot be read: both before anything is
    sent.
    """
    info = await storage.head(key)
    if info is None:
        raise _gone()
    found = known_by(mime or info.mime) or named(key)
    if redirect and not attachment and request.method == "GET" and found is not None and found.inline and max_age > 0:
        url = await storage.presigned(key, "GET", max_age)
        if url is not None:
            return _Bodiless(302, _leading_on(url, max_age))
    headers = _content_headers(found, filename or key, attachment) | {"cache-control": f"private, max-age={max_age}"}
    answer = decide(request.method, request.headers, info)
    if request.method == "HEAD" or answer.start == answer.end:
        return _Bodiless(answer.status, headers | answer.headers)
    chunks = storage.get(key, start=answer.start, end=answer.end)
    return _Streamed(answer.status, headers | answer.headers, await _primed(chunks))


def decide(method: str, headers: Mapping[str, str], info: ObjectInfo) -> Answer:
    """Which part of the object answers a request with these (lower-case) headers."""
    modified = format_datetime(info.modified.astimezone(UTC), usegmt=True)
    common = {"etag": info.etag, "last-modified": modified, "accept-ranges": "bytes"}
    if _unchanged(headers, info):
        return Answer(304, 0, 0, common)
    same = headers.get("if-range") in (None, modified, info.etag.removeprefix("W/"))  # a weak tag proves nothing
    part = parse_range(headers.get("range") if same and method == "GET" else None, info.size)
    if isinstance(part, Unsatisfiable):
        return Answer(416, 0, 0, common | {"content-range": f"bytes */{info.size}", "content-length": "0"})
    if part is None:
        return Answer(200, 0, info.size, common | {"content-length": str(info.size)})
    start, end = part
    content_range = f"bytes {start}-{end - 1}/{info.size}"
    return Answer(206, start, end, common | {"content-range": content_range, "content-length": str(end - start)})


def parse_range(header: str | None, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """The bytes asked for as (first, last + 1), cut to `size`.

    None means all of it: no header, another unit, or one that is malformed and so to be ignored (RFC 9110 §14.2).
    Several ranges at once are refused: nothing that plays or resumes needs them, and they can be made to cost much.
    """
    if header is None:
        return None
    if _MANY.match(header):
        return Unsatisfiable()
    found = _RANGE.fullmatch(header.strip(" \t"))
    if found is None:
        return None
    if found[3] is not None:
        length = min(_position(found[3]), size)
        return (size - length, size) if length else Unsatisfiable()
    start, last = _position(found[1]), _position(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    return (start, min(last + 1, size)) if start < size else Unsatisfiable()


def content_disposition(kind: Literal["inline", "attachment"], filename: str) -> str:
    """The header of RFC 6266: a plain name every client reads, and the true one beside it where they differ."""
    name = safe_filename(filename)
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    plain = re.sub(r'[^ -~]|["\\%]', "_", bare)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


def _content_headers(found: MediaType | None, filename: str, attachment: bool) -> dict[str, str]:
    mime = found.mime if found else _UNKNOWN
    inline = found is not None and found.inline
    headers = {
        "content-type": f"{mime}; charset=utf-8" if mime.startswith("text/") else mime,
        "content-disposition": content_disposition("inline" if inline and not attachment else "attachment", filename),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return headers if inline else headers | {"content-security-policy": "sandbox"}


def _leading_on(url: str, seconds: int) -> dict[str, str]:
    """The headers of a redirect to a URL that works for so many seconds."""
    return {
        "location": url,
        "cache-control": f"private, max-age={max(0, seconds - REDIRECT_MARGIN_SECONDS)}",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "content-length": "0",
    }


def _unchanged(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """Whether the client's copy is still the object, by tag or (only without one) by time."""
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or info.etag.removeprefix("W/") in _TAG.findall(tags)
    since = _http_date(headers.get("if-modified-since"))
    return since is not None and info.modified.replace(microsecond=0) <= since


def _http_date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return date if date is not None and date.tzinfo is not None else None


def _position(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def _gone() -> NotFound:
    return NotFound("This file is gone.", code="asset_gone")


async def _primed(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The chunks, the first of them already read: a store that fails is an error answer and not a cut body."""
    try:
        first = await anext(chunks, b"")
    except NotFound as exc:
        raise _gone() from exc

    async def all_of_them() -> AsyncGenerator[bytes]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return all_of_them()


class _Bodiless(Response):
    """Headers alone; a HEAD still tells the length that GET would have."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.background = None
        self.body = b""
        self.raw_headers = _raw(headers)


class _Streamed(Response):
    """Headers and chunks. An answer that cannot be finished is left unfinished, so that the client notices."""

    def __init__(self, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes]) -> None:
        self.status_code = status
        self.background = None
        self.raw_headers = _raw(headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Request(scope, receive)
        async with aclosing(self._chunks):
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for chunk in self._chunks:
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    if await client.is_disconnected():
                        return
            except (GatewayError, TimeoutError) as error:
                log.warning("object not sent to its end", error=repr(error))
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
