"""A result on its way in, chunk by chunk: by a guarded download of its URL or by its upstream's own `fetch`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from gateway.errors import GatewayError, ResultExpired, ResultUnavailable, UpstreamFailed, UpstreamTimeout
from gateway.http import Answer, Outbound
from gateway.types import Account, Media
from gateway.upstreams.base import Upstream

ATTEMPTS = 3
RETRY_SECONDS = 0.5
IDLE_SECONDS = 60.0
"""How long a result may stop coming."""
DOWNLOAD_SECONDS = 900.0
"""How long a result may take to come, all attempts together."""
UNFETCHED = "the upstream's result could not be fetched"
REFUSED = frozenset({400, 401, 403, 404, 410})
"""What a server says to a URL whose time is over, or to one that never was."""

T = TypeVar("T")


async def incoming(
    media: Media, upstream: Upstream, account: Account, http: Outbound, limit: int
) -> AsyncGenerator[bytes]:
    """The chunks of a result, `limit` bytes at most. Close it.

    Raises ResultExpired for a URL that no longer works, ResultUnavailable past the limit, UpstreamError for what may
    go better the next time (a body that is shorter than was told among it), and what `fetch` and the guard raise.
    """
    if "fetch" in upstream.operations():
        async with aclosing(_counted(upstream.fetch(media, account), limit)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    answer = await http.download(media.url or "", trusted=account.base_url)
    try:
        _refuse_large(_promised(answer), limit)
        async with aclosing(_counted(answer.chunks(), limit)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        answer.close()


async def tried(work: Callable[[], Awaitable[T]], *, final: tuple[type[GatewayError], ...] = ()) -> T:
    """What `work` returns, within ATTEMPTS. Faults of the server are tried again, those in `final` come through.

    Raises ResultUnavailable for all others.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await work()
        except final:
            raise
        except GatewayError as error:
            if attempt == ATTEMPTS or error.status < 500:
                raise ResultUnavailable(UNFETCHED, detail=error.message) from error
        await asyncio.sleep(RETRY_SECONDS * attempt)
    raise AssertionError("the last attempt returns or raises")


def _promised(answer: Answer) -> int:
    """How many bytes a good answer says will come, 0 where it does not say. That they do come is HTTP's own matter."""
    if answer.status in REFUSED:
        raise ResultExpired(f"the URL of the upstream's result no longer works: it answers with status {answer.status}")
    if answer.status != 200:
        raise UpstreamFailed(f"the upstream's result answered with status {answer.status}")
    told = answer.headers.get("Content-Length", "")
    return int(told) if told.isascii() and told.isdigit() else 0


async def _counted(chunks: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes]:
    """The same chunks, as long as they come in time and are not too many."""
    size = 0
    try:
        while (chunk := await _next(chunks)) is not None:
            size += len(chunk)
            _refuse_large(size, limit)
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await anext(chunks, None)
    except TimeoutError as exc:
        raise UpstreamTimeout("the upstream's result stopped coming") from exc


def _refuse_large(size: int, limit: int) -> None:
    if size > limit:
        raise ResultUnavailable(f"the upstream's result is larger than {limit} bytes")
