"""What a route reaches for: the wired rooms, and the few questions every route asks of its request."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from gateway.access.keys import Keyring
from gateway.accounts.book import Book
from gateway.accounts.journal import DatabaseJournal
from gateway.accounts.lookout import Lookout
from gateway.accounts.roster import Roster
from gateway.assets.collections import Collections
from gateway.assets.files import Files
from gateway.assets.holdings import Holdings
from gateway.assets.inputs import Inputs
from gateway.assets.keeping import Keeping
from gateway.assets.library import Library
from gateway.assets.lineage import Lineage
from gateway.assets.previewer import Previewer
from gateway.assets.references import References
from gateway.assets.registering import Registering
from gateway.assets.search import Search
from gateway.catalog.choosing import Choosing
from gateway.catalog.models import Catalog
from gateway.config import Config
from gateway.conversations import Conversations
from gateway.db.engine import Database
from gateway.drain import Drain
from gateway.errors import ClientLeft, InvalidRequest, TooLarge, UnsupportedMedia
from gateway.http import Outbound
from gateway.links import Links
from gateway.live import while_connected
from gateway.relay import Relay
from gateway.state.base import Bus
from gateway.state.slots import Slots
from gateway.storage import Storage
from gateway.tasks.batches import Batches
from gateway.tasks.batching import Batching
from gateway.tasks.counts import Counts
from gateway.tasks.idempotency import Idempotency
from gateway.tasks.tasks import Tasks
from gateway.tasks.webhooks import Webhooks
from gateway.types import Principal, Webhook
from gateway.usage import Meter
from gateway.usage.ledger import Ledger
from gateway.wire.language import preferred
from gateway.wire.webhook import webhook_of

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
NOSNIFF = (b"x-content-type-options", b"nosniff")
JSON = (b"content-type", b"application/json")
Headers = Iterable[tuple[bytes, bytes]]

IDEMPOTENCY_KEY = b"idempotency-key"
RETRY_COUNT = b"x-stainless-retry-count"
_LOOKED_FOR = frozenset({b"content-encoding", b"content-length", IDEMPOTENCY_KEY, RETRY_COUNT})


@dataclass(slots=True)
class House:
    """Every room, wired once by the app."""

    config: Config
    """What it goes by now: of a reloaded one, the parts that need no restart."""
    drain: Drain
    keyring: Keyring
    roster: Roster
    book: Book
    journal: DatabaseJournal
    http: Outbound
    database: Database
    storage: Storage
    links: Links
    tickets: Links
    """Signs direct uploads; never the same secret as links."""
    inputs: Inputs
    catalog: Catalog
    choosing: Choosing
    relay: Relay
    tasks: Tasks
    conversations: Conversations
    meter: Meter
    webhooks: Webhooks
    bus: Bus | None = None
    """What replicas tell each other by."""
    slots: Slots | None = None
    """What keeps the limits of accounts over all replicas."""
    lookout: Lookout | None = None
    """Sees what other replicas change of the accounts; None where there can be no others."""
    hints: tuple[str, ...] = ()
    """Request headers that a configured upstream reads."""
    started: float = 0.0
    sandbox: bool = False
    """Whether the stand-in answers every model name because nothing else is configured."""
    insecure: bool = False
    """Whether callers without a key are let in from anywhere, as the operator insisted."""
    uploading: int = 0
    """Bytes of uploads held in memory now."""
    idempotency: Idempotency = field(init=False)
    counts: Counts = field(init=False)
    ledger: Ledger = field(init=False)
    references: References = field(init=False)
    previewer: Previewer = field(init=False)
    files: Files = field(init=False)
    library: Library = field(init=False)
    search: Search = field(init=False)
    lineage: Lineage = field(init=False)
    collections: Collections = field(init=False)
    registering: Registering = field(init=False)
    keeping: Keeping = field(init=False)
    holdings: Holdings = field(init=False)
    batching: Batching = field(init=False)

    def __post_init__(self) -> None:
        self.idempotency = Idempotency(self.database, self.storage)
        self.counts = Counts(self.database)
        self.ledger = Ledger(self.database)
        self.references = References(self.database, self.storage)
        self.previewer = Previewer(self.database, self.storage, enabled=self.config.library.previews)
        self.files = Files(self.database, self.storage, self.references)
        self.library = Library(self.database, self.references)
        self.search = Search(self.database)
        self.lineage = Lineage(self.database)
        self.collections = Collections(self.database)
        self.registering = Registering(self.library, self.files, self.storage)
        forget = Ledger(self.database).sweep
        self.keeping = Keeping(self.references, forget, lambda: self.config.retention, self.drain)
        self.holdings = Holdings(self.database)
        self.batching = Batching(Batches(self.database), self.tasks, self.choosing)
        self.tasks.poller.recorder.batched = self.batching.wake


class Answer:
    """A whole answer whose headers and body are bytes already."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, *, status: int = 200, mime: str = "", headers: Headers = ()) -> None:
        self.body = body
        self.status = status
        kind = (b"content-type", mime.encode()) if mime else JSON
        self.headers = [kind, NOSNIFF, (b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def house_of(request: Request) -> House:
    return cast(House, request.scope["app"])


def principal_of(request: Request) -> Principal:
    return cast(Principal, request.scope["state"]["principal"])


def request_id_of(request: Request) -> str:
    return cast(str, request.scope["state"]["request_id"])


def language_of(request: Request) -> str:
    """What language the caller is told of failures in. Ask only where there is one to tell."""
    return preferred(request.scope["headers"])


def note(request: Request, **facts: object) -> None:
    """Facts for the request's log line."""
    request.scope["state"]["log"].update(facts)


def connected(request: Request) -> while_connected:
    return while_connected(request.scope, request.receive, house_of(request).drain)


def webhook_for(request: Request, body: Mapping[str, msgspec.Raw]) -> Webhook | None:
    """Where the caller wants to hear of the task it asks for: as the body says, else as its key does."""
    found = webhook_of(body, house_of(request).webhooks.trusted) or principal_of(request).webhook
    return None if found is None else msgspec.structs.replace(found, base=base_url(request))


def hints_of(request: Request) -> dict[str, str]:
    """The headers that a configured upstream reads; nobody else's reach any."""
    wanted = house_of(request).hints
    if not wanted:
        return {}
    headers = request.headers
    return {name: headers[name] for name in wanted if name in headers}


def framing(request: Request) -> dict[bytes, bytes]:
    """The headers that tell how a body was sent, for the first or the second time: one look for all of them."""
    state = request.scope["state"]
    found: dict[bytes, bytes] | None = state.get("framing")
    if found is None:
        found = state["framing"] = {name: value for name, value in request.scope["headers"] if name in _LOOKED_FOR}
    return found


async def read_body(request: Request) -> bytes:
    """The body, counted. Raises TooLarge, UnsupportedMedia for a compressed one, ClientLeft.

    It is kept with the request, since what it says may be needed again (`once_of`).
    """
    state = request.scope["state"]
    body: bytes | None = state.get("body")
    if body is None:
        limit = house_of(request).config.server.max_body
        body = state["body"] = b"".join([chunk async for chunk in body_chunks(request, limit)])
    return body


async def body_chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, or as it was read already, never more than `limit` bytes."""
    if (body := request.scope["state"].get("body")) is not None:
        if len(body) > limit:
            raise _too_large(limit)
        yield body
        return
    headers = framing(request)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMedia("send the body without Content-Encoding", code="unsupported_encoding")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
    except ClientDisconnect as exc:
        raise ClientLeft from exc


def link(request: Request, key: str) -> str:
    """A signed link to a stored object, made now."""
    return base_url(request) + house_of(request).links.path(key, time.time())


def base_url(request: Request) -> str:
    """Where the caller reached us: the configured public URL, else the host it asked for."""
    public = house_of(request).config.server.public_url
    if public:
        return public.rstrip("/")
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise InvalidRequest("the Host header is malformed", code="invalid_host")
    return f"{request.scope.get('scheme', 'http')}://{host}"


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body may have at most {limit} bytes")
