"""Work that a scheduler outside sets going: where nothing runs in the background, and beside what does."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import msgspec
import structlog
from sqlalchemy import Insert, Update, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request

from gateway.db.engine import Database
from gateway.db.tables import settings
from gateway.errors import DatabaseUnavailable, Forbidden, InvalidRequest, StorageUnavailable
from gateway.routes.house import Answer, House, house_of, note, principal_of

SECONDS: Final = 20
MOST_SECONDS: Final = 300
SHARE_OF_STEPS: Final = 0.8
"""Of the time; the rest is left for webhooks, so that a slow step does not keep them waiting for ever."""
SWEEP_SECONDS: Final = 300.0
SWEPT: Final = "requests_swept_at"
"""The name of a row: when somebody, wherever, swept last."""
NO_STORE: Final = (b"cache-control", b"no-store")

log = structlog.get_logger(__name__)


async def tick(request: Request) -> Answer:
    """GET, POST /internal/tick?seconds=: do what is due, and tell when more will be. Several at once share the work."""
    if principal_of(request).role == "viewer":
        raise Forbidden("this key may only read")
    limit = _seconds(request.query_params.get("seconds"))
    house, over = house_of(request), time.monotonic() + limit
    await house.batching.step()
    steps = await house.tasks.poller.tick(limit * SHARE_OF_STEPS)
    told = await house.webhooks.deliver_due(over - time.monotonic())
    if not house.config.tasks.background:
        await _preview(house, over)
    if time.monotonic() < over:
        await _sweep(house)
    due = await _due_in(house)
    note(request, steps=steps, webhooks=told)
    body = {"steps": steps, "webhooks": told, "due_in_seconds": None if due is None else round(due, 1)}
    return Answer(msgspec.json.encode(body), headers=[NO_STORE])


async def _preview(house: House, over: float) -> None:
    """Make previews while there is time. The last one may take longer than that: it would never be made otherwise."""
    with suppress(DatabaseUnavailable, StorageUnavailable):
        while time.monotonic() < over and await house.previewer.step(1):
            pass


async def _due_in(house: House) -> float | None:
    """Seconds until something is due that nobody has in hand. None: nothing is."""
    store = house.tasks.store
    moments = [await store.next_due("make"), await store.next_due("poll"), await house.webhooks.outbox.next_due()]
    known = [moment for moment in moments if moment is not None]
    return max(0.0, min(known) - store.now()) if known else None


async def _sweep(house: House) -> None:
    """Remove what is remembered of requests past their time, unless that was done lately. Nothing depends on it."""
    with suppress(DatabaseUnavailable, StorageUnavailable):
        if await _sweep_is_ours(house.database):
            log.info("requests swept", removed=await house.idempotency.sweep())
            log.info("files swept", removed=await house.files.sweep())


async def _sweep_is_ours(database: Database) -> bool:
    """Whether it is time to sweep; of several that ask at once, one is told so."""
    now, known = database.now(), settings.c.key == SWEPT
    async with database.read() as connection:
        last = (await connection.execute(select(settings.c.value).where(known))).scalar()
    if last is not None and float(last) > now - SWEEP_SECONDS:
        return False
    if last is None:
        change: Insert | Update = insert(settings).values(key=SWEPT, value=str(now))
    else:
        change = update(settings).where(known, settings.c.value == last).values(value=str(now))
    try:
        async with database.write() as connection:
            return bool((await connection.execute(change)).rowcount)
    except IntegrityError:
        return False


def _seconds(text: str | None) -> int:
    if text is None:
        return SECONDS
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST_SECONDS):
        raise InvalidRequest(f"'seconds' must be a whole number from 1 to {MOST_SECONDS}", param="seconds")
    return int(text)
