"""The one place that wires. Opens from the ground floor upwards, closes in reverse."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from gateway.access.sealing import Sealer
from gateway.accounts.book import Book
from gateway.accounts.journal import TOPIC as STANDING
from gateway.accounts.journal import DatabaseJournal
from gateway.accounts.lookout import Lookout
from gateway.accounts.pool import Pool
from gateway.accounts.roster import TOPIC as ACCOUNTS
from gateway.accounts.roster import Configured, Roster
from gateway.assets.ingest import Ingest
from gateway.assets.inputs import Inputs
from gateway.background import begun, ended
from gateway.catalog.alternatives import Alternatives
from gateway.catalog.choosing import Choosing
from gateway.catalog.models import Catalog, Source
from gateway.catalog.preferences import Preferences
from gateway.catalog.prices import PriceBook
from gateway.catalog.stanza import stanza_card
from gateway.catalog.waits import Waits
from gateway.config import Config, load
from gateway.conversations import Conversations
from gateway.db.engine import Database
from gateway.db.migrate import migrate
from gateway.db.tables import settings
from gateway.drain import Drain
from gateway.errors import NotFound
from gateway.http import Outbound, Timeouts
from gateway.links import Links
from gateway.logs import configure
from gateway.relay import Relay
from gateway.reload import Reload, keyring_of
from gateway.routes import router
from gateway.routes.front import Front
from gateway.routes.house import House
from gateway.routes.task_resource import resource
from gateway.routes.tickets import TICKET_SECONDS
from gateway.routes.visits import Visits
from gateway.state import open_bus, open_slots
from gateway.state.base import Bus
from gateway.state.slots import Slots
from gateway.storage import Storage
from gateway.tasks.notices import Notices
from gateway.tasks.outbox import Outbox
from gateway.tasks.poller import Poller
from gateway.tasks.sending import Render
from gateway.tasks.store import Store
from gateway.tasks.tasks import Tasks
from gateway.tasks.webhooks import Webhooks
from gateway.usage import Meter

RESULT_MAX = 512 * 1024 * 1024
"""Bytes one result of an upstream may have."""
LINK_SECRET = "link_secret"  # noqa: S105 - the name of a row
INSTALLATION = "installation"
"""The row with what Redis knows those by who share a database."""

log = structlog.get_logger(__name__)


def create_app(config: Config, env: Mapping[str, str], *, drain: Drain | None = None, insecure: bool = False) -> Front:
    """The ASGI application for a config. Nothing is opened before its lifespan starts, or its first request comes."""
    drain = drain or Drain()
    visits = Visits(partial(opened, config, env, drain, insecure=insecure), _write_log_lines)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        async with opened(config, env, drain, insecure=insecure) as house:
            front.house = house
            front.reload = Reload(house, partial(load, env, Path.cwd())).ask
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
        ground = await _ground(config, env, database, http)
        house = _wire(config, drain, ground)
        ground.roster.changed = partial(_follow, house)
        if database.url.get_backend_name() == "sqlite":
            await house.tasks.store.free_holds()
            await house.webhooks.outbox.free_holds()
        stack.push_async_callback(_last_flush, house)
        for shared in (house.bus, house.slots):
            if shared is not None:
                stack.push_async_callback(shared.close)
        house.insecure = insecure
        stack.push_async_callback(ended, house, begun(house) if config.tasks.background else [])
        yield house


@dataclass(frozen=True, slots=True)
class Ground:
    """What the other rooms stand on."""

    database: Database
    http: Outbound
    signing: Sequence[bytes]
    """Secrets; the first one signs, all are believed."""
    bus: Bus | None
    slots: Slots | None
    journal: DatabaseJournal
    book: Book
    roster: Roster


async def _ground(config: Config, env: Mapping[str, str], database: Database, http: Outbound) -> Ground:
    """The rooms below, and who there is. Raises ConfigError, DatabaseUnavailable."""
    signing = await _secrets(config, database)
    told = config.redis_url if config.tasks.background else None  # nobody would listen, nor send
    namespace = (await _kept(database, INSTALLATION, 8))[:16]
    bus, slots = open_bus(told, namespace), open_slots(told, namespace)
    book = Book(database, Sealer.of(config))
    await book.reseal()
    journal = DatabaseJournal(database, bus, lambda account_id, facts: roster.learn(account_id, facts))

    def pool(one: Configured) -> Pool:
        name, wall = one.upstream.name, database.now
        return Pool(name, one.accounts, rules=one.rules, wall=wall, slots=slots, journal=journal)

    roster = Roster(config, env, http, pool, book, *([bus.publish] if bus else []))
    roster.remember = journal.load
    await roster.load(tell=False)
    return Ground(database, http, signing, bus, slots, journal, book, roster)


def _wire(config: Config, drain: Drain, ground: Ground) -> House:
    database, http, roster, bus = ground.database, ground.http, ground.roster, ground.bus
    storage = Storage.open(config.storage.url)
    links = Links([_derived(secret, "links") for secret in ground.signing], config.storage.link_ttl)
    inputs = Inputs(storage, links, http, database)
    ingest = Ingest(storage, http, database, limit=RESULT_MAX)
    meter = Meter(database)
    models = config.models
    catalog = Catalog(
        _sources(roster),
        models.aliases,
        models.fallbacks,
        models.defaults,
        models.on_unsupported,
        models.priorities,
        models.order,
        Waits(roster.pools),
    )
    prices = PriceBook(models.price_list, catalog.known)
    slot_wait = config.pool.slot_wait
    relay = Relay(
        roster.upstreams,
        roster.pools,
        inputs,
        ingest,
        meter,
        http.timeouts,
        slot_wait=slot_wait,
        prices=prices,
        fit=catalog.fit,
        suggest=Alternatives(catalog, prices).suggest,
    )
    store = Store(database)
    shared = database.url.get_backend_name() != "sqlite"
    notices = Notices(bus, store.versions if shared else None)
    lookout = Lookout(roster, database, bus) if shared else None
    notices.hear = _hearing(notices, ground.journal, lookout)
    poller = Poller(store, relay, ingest, interval=config.tasks.poll_interval, notices=notices)
    render = _rendering(store, links, config.server.public_url or "")
    webhooks = Webhooks(
        Outbox(database),
        http,
        database,
        _derived(ground.signing[0], "webhooks"),
        render,
        config.webhooks.trusted_origins,
    )
    poller.recorder.announced = webhooks.wake
    poller.generating.keep_text = config.library.keep_text
    house = House(
        config=config,
        drain=drain,
        keyring=keyring_of(config.access),
        roster=roster,
        book=ground.book,
        journal=ground.journal,
        http=http,
        database=database,
        storage=storage,
        links=links,
        tickets=Links([_derived(secret, "tickets") for secret in ground.signing], TICKET_SECONDS),
        inputs=inputs,
        catalog=catalog,
        choosing=Choosing(catalog, Preferences(database), prices),
        relay=relay,
        tasks=Tasks(store, poller, relay, inputs, deadline=config.tasks.deadline, background=config.tasks.background),
        webhooks=webhooks,
        bus=bus,
        slots=ground.slots,
        lookout=lookout,
        conversations=Conversations(database),
        meter=meter,
        hints=_hints(roster),
        started=time.time(),
        sandbox=roster.stand_in,
    )
    ingest.entered = house.previewer.wake
    return house


def _follow(house: House) -> None:
    """Others are there, or other models: what goes by them."""
    roster, models = house.roster, house.roster.config.models
    house.catalog.renew(
        _sources(roster),
        models.aliases,
        models.fallbacks,
        models.defaults,
        on_unsupported=models.on_unsupported,
        priorities=models.priorities,
        order=models.order,
    )
    house.relay.prices.renew(models.price_list)
    house.relay.slot_wait = roster.config.pool.slot_wait
    house.hints = _hints(roster)
    house.sandbox = roster.stand_in


def _sources(roster: Roster) -> list[Source]:
    return [
        Source(
            upstream=one.upstream,
            accounts=[account for account in one.accounts if account.enabled],
            named=[stanza_card(model, one.upstream) for model in one.stanza.models],
        )
        for one in roster.found
    ]


def _hints(roster: Roster) -> tuple[str, ...]:
    return tuple({header for one in roster.found for header in one.upstream.reads_headers})


def _hearing(notices: Notices, journal: DatabaseJournal, lookout: Lookout | None) -> Callable[[str], None]:
    """What gets the topics of other processes: each goes to those whom it is about."""

    def heard(topic: str) -> None:
        if topic == ACCOUNTS:
            if lookout is not None:
                lookout.heard()
        elif topic.startswith(STANDING):
            journal.heard(topic)
        else:
            notices.wake(topic)

    return heard


def _rendering(store: Store, links: Links, base: str) -> Render:
    """How a webhook shows a task: as its owner would see it now."""

    async def render(task_id: str, owner: str) -> dict[str, Any] | None:
        try:
            task = await store.get(task_id, owner)
            return resource(task, base or (task.webhook.base if task.webhook else ""), links)
        except NotFound:
            return None

    return render


async def _last_flush(house: House) -> None:
    for flush in (house.meter.flush, house.journal.flush):
        with suppress(Exception):
            await flush()


async def _secrets(config: Config, database: Database) -> list[bytes]:
    """What signs links, and what once did and still is believed: from the master keys, else made once and kept with
    the data."""
    newest = (
        config.master_key.get_secret_value().encode()
        if config.master_key
        else bytes.fromhex(await _kept(database, LINK_SECRET, 32))
    )
    return [newest, *(key.get_secret_value().encode() for key in config.previous_master_keys)]


async def _kept(database: Database, key: str, length: int) -> str:
    """A random value of so many bytes in hexadecimal, made once and the same for all who share the database."""
    query = select(settings.c.value).where(settings.c.key == key)
    async with database.read() as connection:
        known = (await connection.execute(query)).scalar()
    if known is None:
        with suppress(IntegrityError):
            async with database.write() as connection:
                await connection.execute(insert(settings).values(key=key, value=secrets.token_hex(length)))
        async with database.read() as connection:
            known = (await connection.execute(query)).scalar_one()
    return str(known)


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
