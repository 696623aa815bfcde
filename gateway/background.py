"""What a process does beside its requests: begun when the house is open, ended before it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from gateway.accounts.probing import Probing
from gateway.errors import DatabaseUnavailable, StorageUnavailable
from gateway.routes.house import House

SWEEP_SECONDS = 300.0
BEGIN_AGAIN_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""How long a shutdown waits for what is being made, at least; as long as for live requests, if that is longer."""

log = structlog.get_logger(__name__)


def begun(house: House) -> list[asyncio.Task[None]]:
    """The background work of a process, each under its name."""
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "poller": house.tasks.poller.run,
        "notices": house.tasks.poller.notices.run,
        "webhooks": house.webhooks.run,
        "batches": house.batching.run,
        "sweeper": partial(_swept, house),
        "usage writer": house.meter.run,
        "journal": house.journal.run,
        "probes": Probing(house.relay.upstreams, house.relay.pools).run,
        "model lists": house.catalog.keep_fresh,
        "keeping": house.keeping.run,
    }
    if house.previewer.enabled:
        work["previews"] = house.previewer.run
    if house.slots is not None:
        work["slots"] = house.slots.run
    if house.lookout is not None:
        work["lookout for accounts"] = house.lookout.run
    return [asyncio.create_task(_kept_up(name, run), name=name) for name, run in work.items()]


async def ended(house: House, running: list[asyncio.Task[None]]) -> None:
    limit = max(SETTLE_SECONDS, house.drain.left(house.config.server.drain_seconds))
    await asyncio.gather(house.tasks.poller.settle(limit), house.webhooks.settle(SETTLE_SECONDS))
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    with suppress(DatabaseUnavailable):
        await house.tasks.store.let_go()


async def _kept_up(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Work that must not end before the process does: what fails is told and begins again."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("background work failed", work=name)
        await asyncio.sleep(BEGIN_AGAIN_SECONDS)


async def _swept(house: House) -> None:
    """Remove what is remembered once its time is over, and what a crash left in storage."""
    sweeps: list[Callable[[], Awaitable[object]]] = [
        house.idempotency.sweep,
        house.webhooks.outbox.sweep,
        house.journal.sweep,
        house.files.sweep,
        house.storage.sweep,
    ]
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep in sweeps:
            with suppress(DatabaseUnavailable, StorageUnavailable):
                await sweep()
