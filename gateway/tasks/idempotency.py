"""Requests that may come again: the same key with the same request is one piece of work and one answer.

A row of `requests` stands for the work from before it begins. Whoever inserts it makes the answer, under a lease that
is renewed while that goes on, so that a crash blocks a key for a minute at most; what it answers is kept in the row,
or in storage where it is large. A request that makes a task leaves the task's id there instead.

Keys are kept as a hash of their whole length under the owner's name. A request without a key has what it says as its
key, under another prefix, so that no caller can name it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database, to_the_end
from gateway.db.tables import requests
from gateway.errors import Conflict, DatabaseUnavailable, GatewayError, RequestError
from gateway.storage import Storage

KEEP_SECONDS: Final = 24 * 3600.0
"""How long an answer is kept for a caller's own key."""
KEEP_AUTO_SECONDS: Final = 600.0
"""And for a request without one: longer than SDKs go on trying by themselves."""
LEASE_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 15.0
ROW_BYTES: Final = 64 * 1024
"""A larger answer is kept in storage."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""A larger answer is not kept at all."""
TRIES: Final = 5
"""Rows that may vanish under a claim, each just when it was looked at, before it gives up."""
SWEPT_ROWS: Final = 500
SWEPT_BODIES: Final = 100
"""Removed in one transaction."""
SWEEPS: Final = 20
"""Transactions of each sort in one sweep."""

_KEY = (requests.c.owner, requests.c.key)
Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


class InProgress(Conflict):
    """This request came before and is still being answered."""

    code = "idempotency_in_progress"
    resend_helps = True

    def __init__(self) -> None:
        super().__init__(advice="Send it again in a second", retry_after=1.0)


class KeyReused(RequestError):
    """Another request came with this Idempotency-Key before."""

    status, code = 422, "idempotency_key_reuse"

    def __init__(self) -> None:
        super().__init__(advice="Give every new request a key of its own", param="Idempotency-Key")


@dataclass(frozen=True, slots=True)
class Once:
    """Work that shall be done once."""

    owner: str
    key: str
    """As it is kept."""
    fingerprint: str
    keep: float
    """Seconds."""
    auto: bool = False
    """Whether the caller gave no key."""
    retry: bool = False
    """Without a key: whether the sender says that it sent this before. Else it asks for the same on purpose."""

    @classmethod
    def by_key(cls, owner: str, key: str, fingerprint: str) -> Once:
        hashed = hmac.new(owner.encode(), key.encode(), hashlib.sha256).hexdigest()
        return cls(owner, f"key:{hashed}", fingerprint, KEEP_SECONDS)

    @classmethod
    def by_itself(cls, owner: str, fingerprint: str, *, retry: bool) -> Once:
        return cls(owner, f"auto:{fingerprint}", fingerprint, KEEP_AUTO_SECONDS, auto=True, retry=retry)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make the answer, until it is kept or released."""

    once: Once
    lease: str
    """Its own: a claim that was lost changes nothing any more."""


class Idempotency:
    """All that is remembered of requests, but for those that make tasks: `claim_for_task`."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._claims: set[Claim] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def look(self, once: Once) -> Kept | None:
        """The answer that was given before. None where there is none, or where it is a task.

        Raises InProgress, KeyReused.
        """
        async with self._database.read() as connection:
            row = (await connection.execute(select(requests).where(_is(once)))).one_or_none()
        if row is None or _gives_way(row, once, self._database.now()) or row.task_id is not None:
            return None
        return await self._kept(row)

    async def claim(self, once: Once) -> Claim | Kept:
        """The right to make the answer, or the answer that was given before. Raises InProgress, KeyReused."""
        claim = Claim(once, secrets.token_hex(16))
        try:
            earlier = await self._taken(claim)
        except (asyncio.CancelledError, DatabaseUnavailable):
            await self.release(claim)  # it may have been committed
            raise
        if earlier is not None:
            return await self._kept(earlier)
        self._claims.add(claim)
        self._arm()
        return claim

    async def keep(self, claim: Claim, status: int, headers: Headers, body: bytes) -> None:
        """Keep an answer for those who ask again. It is given whether or not that works, so nothing is raised."""
        try:
            if len(body) <= MOST_BYTES:
                await to_the_end(self._keep(claim, status, headers, body))
                return
        except GatewayError as error:
            log.warning("answer not kept", code=error.code, detail=error.detail)
        finally:
            self._claims.discard(claim)
        await self.release(claim)

    async def release(self, claim: Claim) -> None:
        """Forget a request that was not answered: the next one with its key is the first. Raises nothing."""
        self._claims.discard(claim)
        try:
            await to_the_end(self._forget(claim))
        except DatabaseUnavailable as error:  # its lease ends by itself
            log.warning("request not released", detail=error.detail)

    async def sweep(self) -> int:
        """Remove requests past their time and what is stored for them, a bounded number. Returns how many.

        Raises DatabaseUnavailable, and StorageUnavailable once all else is removed.
        """
        return await self._sweep_rows() + await self._sweep_bodies()

    # --- steps ---

    async def _taken(self, claim: Claim) -> Row[Any] | None:
        now = self._database.now()
        lease = {"state": "running", "lease_owner": claim.lease, "lease_until": now + LEASE_SECONDS}
        async with self._database.write() as connection:
            return await _take(connection, claim.once, now, lease)

    async def _kept(self, row: Row[Any]) -> Kept:
        """What a row that stands answers. Raises InProgress, and KeyReused where that is a task."""
        if row.task_id is not None:  # the same request made a task then: models are configured otherwise now
            raise KeyReused
        if row.state == "running":
            raise InProgress
        body = row.body or b""
        if row.body_key is not None:
            body = b"".join([chunk async for chunk in self._storage.get(row.body_key)])
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in _decoded(row.headers))
        return Kept(row.status, headers, body)

    async def _keep(self, claim: Claim, status: int, headers: Headers, body: bytes) -> None:
        """Into the row, or into storage: then the row names the object first, so that no crash leaves one for ever."""
        key = None if len(body) <= ROW_BYTES else self._object_key()
        if key is not None:
            if not await self._change(claim, {"body_key": key}):
                return
            await self._storage.put(key, body, mime="application/octet-stream")
        answer = {
            "state": "done",
            "status": status,
            "headers": _encoded(headers),
            "body": body if key is None else None,
            "lease_owner": None,
            "lease_until": 0.0,
            "expires_at": self._database.now() + claim.once.keep,
        }
        if not await self._change(claim, answer) and key is not None:
            await self._storage.delete(key)

    def _object_key(self) -> str:
        return f"answers/{datetime.fromtimestamp(self._database.now(), UTC):%Y-%m}/{_name()}.bin"

    async def _change(self, claim: Claim, values: dict[str, Any]) -> bool:
        """Write to the row of a claim. False where it was lost."""
        async with self._database.write() as connection:
            return bool((await connection.execute(update(requests).where(_held(claim)).values(values))).rowcount)

    async def _forget(self, claim: Claim) -> None:
        async with self._database.write() as connection:
            row = (await connection.execute(select(requests).where(_held(claim)))).one_or_none()
            if row is not None:
                await _set_aside(connection, row)

    # --- leases ---

    def _arm(self) -> None:
        """One timer for all claims, and none while there are none: most answers are there before it fires."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._claims:
            self._arm()
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self.renew(), name="leases of requests")

    async def renew(self) -> None:
        """Say that every answer under way still is."""
        rows = [{"of": one.once.owner, "by": one.once.key, "held": one.lease} for one in self._claims]
        if not rows:
            return
        lease_until = self._database.now() + LEASE_SECONDS
        held = and_(_at(bindparam("of"), bindparam("by")), requests.c.lease_owner == bindparam("held"))
        try:
            async with self._database.write() as connection:
                await connection.execute(update(requests).where(held).values(lease_until=lease_until), rows)
        except DatabaseUnavailable as error:
            log.warning("leases of requests not renewed", detail=error.detail)

    # --- sweeping ---

    async def _sweep_rows(self) -> int:
        swept = 0
        for _ in range(SWEEPS):
            old = select(*_KEY).where(self._past(), requests.c.body_key.is_(None)).limit(SWEPT_ROWS)
            old = old.with_for_update(skip_locked=True)
            async with self._database.write() as connection:
                gone = (await connection.execute(delete(requests).where(tuple_(*_KEY).in_(old)))).rowcount
            swept += gone
            if gone < SWEPT_ROWS:
                break
        return swept

    async def _sweep_bodies(self) -> int:
        """The objects first and then their rows: what is left half-way is found again."""
        swept = 0
        for _ in range(SWEEPS):
            past = select(requests.c.body_key).where(self._past(), requests.c.body_key.is_not(None))
            async with self._database.read() as connection:
                keys = (await connection.execute(past.limit(SWEPT_BODIES))).scalars().all()
            for key in keys:
                await self._storage.delete(key)
            async with self._database.write() as connection:
                gone = delete(requests).where(self._past(), requests.c.body_key.in_(keys))
                swept += (await connection.execute(gone)).rowcount
            if len(keys) < SWEPT_BODIES:
                break
        return swept

    def _past(self) -> ColumnElement[bool]:
        now = self._database.now()
        return and_(requests.c.expires_at <= now, or_(requests.c.state != "running", requests.c.lease_until <= now))


# --- a request that makes a task: inside the transaction that writes the task's row ---


async def claim_for_task(connection: AsyncConnection, once: Once, task_id: str, now: float) -> str | None:
    """None where this task is the one for the request, else the id of the task that was made for it before.

    Raises KeyReused, and InProgress where the request is being answered without a task.
    """
    earlier = await _take(connection, once, now, {"state": "done", "task_id": task_id})
    if earlier is None:
        return None
    if earlier.task_id is None:
        raise InProgress
    return str(earlier.task_id)


async def forget_task(connection: AsyncConnection, once: Once, task_id: str) -> None:
    """Give the key free of a task that certainly came to nothing, so that it may be sent again."""
    await connection.execute(delete(requests).where(_is(once), requests.c.task_id == task_id))


# --- the rules ---


def _gives_way(row: Row[Any], once: Once, now: float) -> bool:
    """Whether an earlier request with the key no longer counts. Raises KeyReused."""
    if once.auto and not once.retry:
        return True
    leased = row.state == "running" and row.lease_until > now
    if row.expires_at <= now and not leased:
        return True
    if row.fingerprint != once.fingerprint:
        raise KeyReused
    return row.state == "running" and not leased


async def _take(connection: AsyncConnection, once: Once, now: float, values: dict[str, Any]) -> Row[Any] | None:
    """Write the row of a request. None once it is there, else the row of the earlier request that counts.

    Of two that insert at once, one waits for the other's transaction to end and then finds its row. Raises KeyReused.
    """
    named = {"owner": once.owner, "key": once.key, "fingerprint": once.fingerprint}
    row = {**named, "created_at": now, "expires_at": now + once.keep, **values}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(requests).values(row).on_conflict_do_nothing().returning(requests.c.key)
    for _ in range(TRIES):
        if (await connection.execute(new)).first() is not None:
            return None
        found = await connection.execute(select(requests).where(_is(once)).with_for_update())
        earlier = found.one_or_none()
        if earlier is None:
            continue
        if not _gives_way(earlier, once, now):
            return earlier
        await _set_aside(connection, earlier)
    raise DatabaseUnavailable(detail="the row of a request came and went")


async def _set_aside(connection: AsyncConnection, row: Row[Any]) -> None:
    """Make room at a key. What the row has in storage is left for the next sweep, by a name that nobody asks for."""
    at = _at(row.owner, row.key)
    if row.body_key is None:
        await connection.execute(delete(requests).where(at))
    else:
        aside = {"key": f"gone:{_name()}", "state": "done", "lease_owner": None, "expires_at": 0.0}
        await connection.execute(update(requests).where(at).values(aside))


def _at(owner: Any, key: Any) -> ColumnElement[bool]:
    return and_(requests.c.owner == owner, requests.c.key == key)


def _is(once: Once) -> ColumnElement[bool]:
    return _at(once.owner, once.key)


def _held(claim: Claim) -> ColumnElement[bool]:
    return and_(_is(claim.once), requests.c.lease_owner == claim.lease)


def _name() -> str:
    return secrets.token_hex(16)


def _encoded(headers: Headers) -> str:
    return msgspec.json.encode([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]).decode()


def _decoded(headers: str) -> list[tuple[str, str]]:
    return msgspec.json.decode(headers, type=list[tuple[str, str]])
