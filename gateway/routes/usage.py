"""The usage log: what every request took and cost, one by one or summed up, as JSON or CSV."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from gateway.errors import GatewayError
from gateway.routes import usage_asks as asks
from gateway.routes.house import NOSNIFF, Answer, connected, house_of, principal_of
from gateway.routes.serving import SEND_SECONDS, content_disposition
from gateway.types import UsageRecord
from gateway.usage.ledger import Place
from gateway.usage.summary import Sum, Summary
from gateway.wire import csv_rows
from gateway.wire.csv_rows import Cell

DAYS: Final = 30
"""That are summed up where nobody says since when."""
DAY_SECONDS: Final = 86_400.0
COLUMNS: Final = (
    "at",
    "request_id",
    "key",
    "kind",
    "model",
    "upstream",
    "status",
    "code",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "images",
    "media_seconds",
    "characters",
    "estimated",
    "cost",
    "currency",
    "seconds",
    "attempts",
    "task_id",
)
"""Of a record, in CSV; fields in JSON, but that there the cost is one with its currency."""
FOR_ADMINS: Final = ("owner", "account")
COUNTED: Final = (
    *("requests", "errors", "attempts", "input_tokens", "cached_tokens", "output_tokens", "estimated"),
    *("images", "media_seconds", "characters", "seconds_avg", "unpriced"),
)
"""Of a sum, after what it is grouped by and before its cost."""

log = structlog.get_logger(__name__)


async def index(request: Request) -> Answer | Sheet:
    """GET /api/usage?from=&to=&kind=&model=&upstream=&key=&status=&code=&task_id=&all=&owner=&limit=&before=&format="""
    house, principal = house_of(request), principal_of(request)
    given = asks.asked(request.query_params, "limit", "before")
    wanted, limit, place = asks.wanted(given, principal), asks.limit(given), asks.place(given)
    admin = principal.role == "admin"
    if asks.form(given, request.headers) == "csv":
        return await _sheet(request, _lines(house.ledger.pages(wanted, limit, place), admin=admin), "usage")
    size = limit or asks.PAGE
    found = await house.ledger.page(wanted, size + 1, place)
    more, found = len(found) > size, found[:size]
    body = {
        "object": "list",
        "data": [_record(one, admin=admin) for one in found],
        "has_more": more,
        "next_before": asks.told_place(Place.of(found[-1])) if more else None,
    }
    return Answer(msgspec.json.encode(body), headers=PRIVATE)


async def summary(request: Request) -> Answer | Sheet:
    """GET /api/usage/summary?group_by=&from=&to=&tz=&…: as many filters as the log itself has"""
    house, principal = house_of(request), principal_of(request)
    given = asks.asked(request.query_params, "group_by")
    wanted, by, zone = asks.wanted(given, principal), asks.group_by(given), asks.zone(given)
    form = asks.form(given, request.headers)
    until = house.database.now() if wanted.until is None else wanted.until
    since = until - DAYS * DAY_SECONDS if wanted.since is None else wanted.since
    with connected(request):
        sums = await Summary(replace(wanted, since=since, until=until), by, zone).read(house.database)
    if form == "csv":
        return await _sheet(request, _table(by, sums), "usage-summary")
    body = {
        "object": "list",
        "group_by": by,
        "from": round(since, 3),
        "to": round(until, 3),
        "tz": zone.key,
        "data": [dict(zip(by, one.by, strict=True)) | _counted(one) | {"cost": one.cost} for one in sums],
    }
    return Answer(msgspec.json.encode(body), headers=PRIVATE)


PRIVATE: Final = ((b"cache-control", b"private, no-store"),)


# --- as JSON ---


def _record(one: UsageRecord, *, admin: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {name: getattr(one, name) for name in COLUMNS if name != "currency"}
    shown["cost"] = None if one.cost is None else {"amount": one.cost, "currency": one.currency}
    shown["at"], shown["seconds"] = round(one.at, 3), round(one.seconds, 3)
    return shown | ({name: getattr(one, name) for name in FOR_ADMINS} if admin else {})


def _counted(one: Sum) -> dict[str, Any]:
    average = round(one.seconds / one.requests, 3) if one.requests else 0.0
    told = {"media_seconds": round(one.media_seconds, 3), "seconds_avg": average}
    return {name: told[name] if name in told else getattr(one, name) for name in COUNTED}


# --- as CSV ---


async def _lines(pages: AsyncGenerator[list[UsageRecord]], *, admin: bool) -> AsyncGenerator[bytes]:
    names = (*COLUMNS, *FOR_ADMINS) if admin else COLUMNS
    yield csv_rows.rows([names])
    async with aclosing(pages):
        async for page in pages:
            yield await asyncio.to_thread(csv_rows.rows, [_cells(one, names) for one in page])


def _cells(one: UsageRecord, names: Sequence[str]) -> list[Cell]:
    cells = {name: getattr(one, name) for name in names}
    cells["at"] = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cells["seconds"] = round(one.seconds, 3)
    return [cells[name] for name in names]


async def _table(by: Sequence[str], sums: Sequence[Sum]) -> AsyncGenerator[bytes]:
    """A column for each currency: a cell of one unit only can be summed up."""
    currencies = sorted({currency for one in sums for currency in one.cost})
    yield csv_rows.rows([[*by, *COUNTED, *(f"cost_{currency}" for currency in currencies)]])
    yield csv_rows.rows(
        [*one.by, *_counted(one).values(), *(one.cost.get(currency) for currency in currencies)] for one in sums
    )


async def _sheet(request: Request, chunks: AsyncGenerator[bytes], name: str) -> Sheet:
    """The answer, its first lines already there: a database that fails is an error answer and no cut body."""
    today = datetime.fromtimestamp(house_of(request).database.now(), UTC)
    headers = [
        (b"content-type", csv_rows.MIME.encode()),
        (b"content-disposition", content_disposition("attachment", f"{name}-{today:%Y-%m-%d}.csv").encode()),
        *PRIVATE,
        NOSNIFF,
    ]
    with connected(request):
        first = [await anext(chunks, b""), await anext(chunks, b"")]
    return Sheet(headers, b"".join(first), chunks)


class Sheet:
    """Headers and lines. A sheet that cannot be finished is left unfinished, so that nobody takes it for whole."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._headers = headers
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": list(self._headers)}
        client = Request(scope, receive)
        async with aclosing(self._rest):
            await send(start)
            if scope["method"] != "HEAD":
                try:
                    await send({"type": "http.response.body", "body": self._first, "more_body": True})
                    async for lines in self._rest:
                        async with asyncio.timeout(SEND_SECONDS):
                            await send({"type": "http.response.body", "body": lines, "more_body": True})
                        if await client.is_disconnected():
                            return
                except (GatewayError, TimeoutError) as error:
                    log.warning("sheet not sent to its end", error=repr(error))
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
