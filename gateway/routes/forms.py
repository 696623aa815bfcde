"""Bodies that bring a file: read into counted memory, within the budget that all uploads share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO

from starlette.requests import Request

from gateway.errors import InvalidRequest, Overloaded, TooLarge
from gateway.routes.house import House, body_chunks, house_of
from gateway.wire import multipart
from gateway.wire.multipart import FilePart, Form

FORM_OVERHEAD = 1024 * 1024
"""Bytes of a multipart form around its file."""
FIELD = "file"
FULL_SECONDS = 5.0
DIGITS = 18
"""Of a declared length: what is longer is longer than any file."""


@asynccontextmanager
async def form_with_file(request: Request) -> AsyncIterator[tuple[Form, FilePart]]:
    """The form and its file in the field `file`; their memory counts as spent until the block ends.

    Raises TooLarge, InvalidRequest(code="missing_file") and what `multipart.parse` raises, Overloaded.
    """
    most = house_of(request).config.limits.upload_max
    limits = multipart.Limits(file_bytes=most, total_bytes=most + FORM_OVERHEAD)
    with holding(request, limits.total_bytes):
        form = await multipart.parse(request.headers.get("content-type"), counted(request, limits.total_bytes), limits)
        part = next((file for file in form.files if file.name == FIELD), None)
        if part is None:
            raise _missing(form)
        yield form, part


@contextmanager
def holding(request: Request, limit: int) -> Iterator[None]:
    """Set memory aside for a body of at most `limit` bytes: what it says it has, or else the most it may have.

    Raises TooLarge where it says more, Overloaded where the budget for all uploads is spent.
    """
    house = house_of(request)
    declared = request.headers.get("content-length", "")
    size = int(declared[-DIGITS:]) if declared.isdecimal() and declared.isascii() else limit
    if size > limit or len(declared.lstrip("0")) > DIGITS:
        raise too_large(house)
    with spending(house, size):
        yield


@contextmanager
def spending(house: House, size: int) -> Iterator[None]:
    """Set memory aside for `size` bytes. Raises Overloaded where the budget for all uploads is spent."""
    if house.uploading + size > house.config.limits.upload_memory:
        raise Overloaded("too many uploads at once", retry_after=FULL_SECONDS)
    house.uploading += size
    try:
        yield
    finally:
        house.uploading -= size


async def counted(request: Request, limit: int) -> AsyncGenerator[bytes]:
    """The body as it comes. Raises TooLarge as soon as there is more than `limit` bytes of it."""
    try:
        async for chunk in body_chunks(request, limit):
            yield chunk
    except TooLarge as exc:
        raise too_large(house_of(request)) from exc


async def gathered(chunks: AsyncIterable[bytes]) -> bytes:
    """All chunks as one, held once only."""
    held = BytesIO()
    async for chunk in chunks:
        held.write(chunk)
    return held.getvalue()


def too_large(house: House) -> TooLarge:
    return TooLarge(f"a file may have at most {house.config.limits.upload_max} bytes", code="file_too_large")


def _missing(form: Form) -> InvalidRequest:
    """Says which field came instead, if one did."""
    named = [file.name for file in form.files] or [field.name for field in form.fields if field.name != FIELD]
    instead = f", not {named[0]!r}" if named else ""
    return InvalidRequest(
        f"the form must hold a file in the field '{FIELD}'{instead}", param=FIELD, code="missing_file"
    )
