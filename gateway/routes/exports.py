"""The library to take away: a zip of assets, as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from gateway.assets.asset import Asset
from gateway.assets.collections import named
from gateway.assets.export import Source, zipped
from gateway.assets.library import Library
from gateway.assets.search import Filters
from gateway.errors import GatewayError, InvalidRequest
from gateway.routes import asset_asks as asks
from gateway.routes import asset_resource as shown
from gateway.routes.house import NOSNIFF, House, connected, house_of, principal_of, read_body
from gateway.routes.serving import SEND_SECONDS, content_disposition
from gateway.wire import body as wire_body

MOST_ASSETS: Final = 10_000
"""In one zip."""
AT_ONCE: Final = 200

log = structlog.get_logger(__name__)


async def download(request: Request) -> Zip:
    """GET, HEAD /api/content-assets/export, with filters"""
    return await _found(request, asks.filters_of_query(request.query_params))


async def create(request: Request) -> Zip:
    """POST /api/content-assets/export `{asset_ids}` or `{filter}`"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("asset_ids", "filter"), "field")
    if ("asset_ids" in body) == ("filter" in body):
        raise InvalidRequest("exactly one of 'asset_ids' and 'filter' is needed", param="asset_ids")
    if "filter" in body:
        return await _found(request, asks.filters_of_body(body, "filter"))
    house, owner = house_of(request), principal_of(request).id
    asset_ids = asks.ids(body, most=MOST_ASSETS)
    there = {asset.id async for some in _named(house.library, owner, asset_ids) for asset in some}
    if unknown := set(asset_ids) - there:
        raise InvalidRequest(f"no asset {named(unknown)}", param="asset_ids", code="asset_not_found")
    return await _zip(request, _named(house.library, owner, asset_ids))


async def _found(request: Request, filters: Filters) -> Zip:
    house, owner = house_of(request), principal_of(request).id
    count = (await house.search.stats(owner, filters)).total.count
    if count > MOST_ASSETS:
        raise InvalidRequest(
            f"an export may hold at most {MOST_ASSETS} assets, and these are {count}",
            code="export_too_large",
            advice="Narrow it down by 'from' and 'to', and ask for each part",
        )
    return await _zip(request, house.search.walk(owner, filters))


async def _named(library: Library, owner: str, asset_ids: Sequence[str]) -> AsyncGenerator[list[Asset]]:
    for start in range(0, len(asset_ids), AT_ONCE):
        yield await library.many(asset_ids[start : start + AT_ONCE], owner)


async def _zip(request: Request, batches: AsyncGenerator[list[Asset]]) -> Zip:
    """The answer, its first bytes already there: what fails at once is an error answer and no cut body."""
    house = house_of(request)
    headers = _headers(house)
    if request.method == "HEAD":
        await batches.aclose()
        return Zip(headers, None)
    chunks = _chunks(house, principal_of(request).id, batches)
    with connected(request):
        first = await anext(chunks)
    return Zip(headers, _after(first, chunks))


async def _chunks(house: House, owner: str, batches: AsyncGenerator[list[Asset]]) -> AsyncGenerator[bytes]:
    source = Source(
        read=house.storage.get,
        many=partial(house.library.many, owner=owner),
        told=shown.facts,
        columns=shown.COLUMNS,
    )
    async with aclosing(batches), aclosing(zipped(batches, source)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _after(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _headers(house: House) -> list[tuple[bytes, bytes]]:
    today = datetime.fromtimestamp(house.database.now(), UTC)
    return [
        (b"content-type", b"application/zip"),
        (b"content-disposition", content_disposition("attachment", f"assets-{today:%Y-%m-%d}.zip").encode()),
        (b"cache-control", b"private, no-store"),
        (b"referrer-policy", b"no-referrer"),
        NOSNIFF,
    ]


class Zip:
    """Headers and chunks. A zip that cannot be finished is left unfinished, so that nobody takes it for whole."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], chunks: AsyncGenerator[bytes] | None) -> None:
        self._headers = headers
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": list(self._headers)}
        if self._chunks is None:
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        client = Request(scope, receive)
        async with aclosing(self._chunks):
            try:
                await send(start)
                async for chunk in self._chunks:
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    if await client.is_disconnected():
                        return
            except (GatewayError, TimeoutError) as error:
                log.warning("export not sent to its end", error=repr(error))
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
