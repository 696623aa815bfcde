"""The one place that wires. Opens from the ground floor upwards, closes in reverse."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from gateway.access.keys import Keyring, KeySpec
from gateway.accounts import roster
from gateway.accounts.pool import Pool
from gateway.accounts.roster import Configured
from gateway.assets.ingest import Ingest
from gateway.assets.inputs import Inputs
from gateway.catalog.models import Catalog, Source, stanza_card
from gateway.config import Config, KeyConfig, load
from gateway.conversations import Conversations
from gateway.db.engine import Database
from gateway.db.migrate import migrate
from gateway.db.tables import settings
from gateway.drain import Drain
from gateway.errors import DatabaseUnavailable, NotFound, StorageUnavailable
from gateway.http import Outbound, Timeouts
from gateway.links import Links
from gateway.logs import configure
from gateway.relay import Relay
from gateway.routes import router
from gateway.routes.files import TICKET_SECONDS
from gateway.routes.front import Front
from gateway.routes.house import House
from gateway.routes.task_resource import resource
from gateway.routes.visits import Visits
from gateway.state import open_bus
from gateway.storage import Storage
from gateway.tasks.notices import Notices
from gateway.tasks.outbox import Outbox
from gateway.tasks.poller import Poller
from gateway.tasks.sending import Render
from gateway.tasks.store import Store
from gateway.tasks.tasks import Tasks
from gateway.tasks.webhooks import Webhooks
from gateway.types import Webhook
from gateway.usage import Meter

RESULT_MAX = 512 * 1024 * 1024
"""Bytes one result of an upstream may have."""
SWEEP_SECONDS = 300.0
BEGIN_AGAIN_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""How long a shutdown waits for what is being made, at least; as long as for live requests, if that is longer."""
LINK_SECRET = "link_secret"  # noqa: S105 - the name of a row

log = structlog.get_logger(__name__)


def create_app(config: Config, env: Mapping[str, str], *, drain: Drain | None = None, insecure: bool = False) -> Front:
    """The ASGI application for a config. Nothing is opened before its lifespan starts, or its first request comes."""
    drain = drain or Drain()
    visits = Visits(partial(opened, config, env, drain, insecure=insecure), _write_log_lines)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        async with opened(config, env, drain, insecure=insecure) as house:
            front.house = house
            if config.tasks.background:
                front.visits = None
                yield
                return
            visits.keep(house)
            try:
                yield
            finally:
                visits.forget()

    routes = router()
    routes.lifespan_context = lifespan
    front = Front(routes, drain)
    front.visits = visits
    return front


@asynccontextmanager
async def opened(
    config: Config, env: Mapping[str, str], drain: Drain, *, insecure: bool = False
) -> AsyncGenerator[House]:
    """The house with everything in it running.

    No other generator is left open inside: a loop that ends closes those it knows, each by itself and in no order.
    """
    async with AsyncExitStack() as stack:
        await migrate(config.database_url)
        database = Database(config.database_url)
        await database.start()
        stack.push_async_callback(database.close)
        http = Outbound(Timeouts(**config.timeouts.model_dump()))
        await http.start()
        stack.push_async_callback(http.close)
        secret = await _secret(config, database)
        found = roster.read(config, env, http)
        house = _wire(config, drain, database, http, secret, found)
        if database.url.get_backend_name() == "sqlite":
            await house.tasks.store.free_holds()
            await house.webhooks.outbox.free_holds()
        stack.push_async_callback(_last_flush, house.meter)
        if house.bus is not None:
            stack.push_async_callback(house.bus.close)
        house.insecure = insecure
        stack.push_async_callback(_ended, house, _begun(house) if config.tasks.background else [])
        yield house


def _wire(
    config: Config, drain: Drain, database: Database, http: Outbound, secret: bytes, found: list[Configured]
) -> House:
    storage = Storage.open(config.storage.url)
    links = Links([_derived(secret, "links")], config.storage.link_ttl)
    inputs = Inputs(storage, links, http, database)
    told = config.redis_url if config.tasks.background else None  # nobody would listen, nor send
    bus = open_bus(told, _derived(secret, "bus").hex()[:16])
    ingest = Ingest(storage, http, database, limit=RESULT_MAX)
    meter = Meter(database)
    upstreams = {one.upstream.name: one.upstream for one in found}
    pools = {one.upstream.name: Pool(one.upstream.name, one.accounts) for one in found}
    relay = Relay(upstreams, pools, inputs, ingest, meter, http.timeouts)
    store = Store(database)
    shared = database.url.get_backend_name() != "sqlite"
    notices = Notices(bus, store.versions if shared else None)
    poller = Poller(store, relay, ingest, interval=config.tasks.poll_interval, notices=notices)
    render = _rendering(store, links, config.server.public_url or "")
    webhooks = Webhooks(
        Outbox(database), http, database, _derived(secret, "webhooks"), render, config.webhooks.trusted_origins
    )
    poller.recorder.announced = webhooks.wake
    return House(
        config=config,
        drain=drain,
        keyring=Keyring(_key(key) for key in config.access.keys),
        http=http,
        database=database,
        storage=storage,
        links=links,
        tickets=Links([_derived(secret, "tickets")], TICKET_SECONDS),
        inputs=inputs,
        catalog=_catalog(config, found),
        relay=relay,
        tasks=Tasks(store, poller, relay, inputs, deadline=config.tasks.deadline, background=config.tasks.background),
        webhooks=webhooks,
        bus=bus,
        conversations=Conversations(database),
        meter=meter,
        hints=tuple({header for one in found for header in one.upstream.reads_headers}),
        started=time.time(),
        sandbox=all(one.upstream.stand_in for one in found),
    )


def _rendering(store: Store, links: Links, base: str) -> Render:
    """How a webhook shows a task: as its owner would see it now."""

    async def render(task_id: str, owner: str) -> dict[str, Any] | None:
        try:
            task = await store.get(task_id, owner)
            return resource(task, base or (task.webhook.base if task.webhook else ""), links)
        except NotFound:
            return None

    return render


def _key(key: KeyConfig) -> KeySpec:
    webhook = Webhook(key.webhook_url, key.webhook_events) if key.webhook_url else None
    return KeySpec.of(key.name, key.key.get_secret_value(), key.role, webhook)


def _catalog(config: Config, found: list[Configured]) -> Catalog:
    sources = [
        Source(
            upstream=one.upstream,
            accounts=one.accounts,
            named=[stanza_card(model.id, model.kinds, one.upstream, model.name or "") for model in one.stanza.models],
        )
        for one in found
    ]
    models = config.models
    return Catalog(sources, models.aliases, models.fallbacks, models.defaults)


def _begun(house: House) -> list[asyncio.Task[None]]:
    """The background work of a process, each under its name."""
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "poller": house.tasks.poller.run,
        "notices": house.tasks.poller.notices.run,
        "webhooks": house.webhooks.run,
        "sweeper": partial(_swept, house),
        "usage writer": house.meter.run,
        "model lists": house.catalog.keep_fresh,
    }
    return [asyncio.create_task(_kept_up(name, run), name=name) for name, run in work.items()]


async def _ended(house: House, running: list[asyncio.Task[None]]) -> None:
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
    """Remove what is remembered of requests and deliveries once its time is over, and what a crash left in storage."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep in (house.idempotency.sweep, house.webhooks.outbox.sweep, house.storage.sweep):
            with suppress(DatabaseUnavailable, StorageUnavailable):
                await sweep()


async def _last_flush(meter: Meter) -> None:
    with suppress(Exception):
        await meter.flush()


async def _secret(config: Config, database: Database) -> bytes:
    """What signs links: from the master key where there is one, else made once and kept with the data."""
    if config.master_key is not None:
        return config.master_key.get_secret_value().encode()
    query = select(settings.c.value).where(settings.c.key == LINK_SECRET)
    async with database.read() as connection:
        known = (await connection.execute(query)).scalar()
    if known is None:
        with suppress(IntegrityError):
            async with database.write() as connection:
                await connection.execute(insert(settings).values(key=LINK_SECRET, value=secrets.token_hex(32)))
        async with database.read() as connection:
            known = (await connection.execute(query)).scalar_one()
    return bytes.fromhex(known)


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"mediagate {purpose}".encode(), hashlib.sha256)


def _write_log_lines() -> None:
    """Lines that wait to be written with others: a process that is frozen would keep them."""
    flush = getattr(structlog.get_config()["logger_factory"](), "flush", None)
    if flush is not None:
        flush()


def __getattr__(name: str) -> Front:
    """`gateway.app:app`, made from the environment when an ASGI server asks for it."""
    if name == "app":
        config = load(os.environ, Path.cwd())
        configure(config.log)
        return create_app(config, os.environ)
    raise AttributeError(name)
