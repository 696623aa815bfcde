"""The outbox of webhooks: what is to be told, to whom, and how far that has come.

A delivery is written in the transaction that changes its task, so no crash loses it. Who delivers it holds it for one
attempt; the hold ends by itself, and every write names it, so that a process which lost its hold changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import deliveries, destinations
from gateway.errors import Conflict, NotFound
from gateway.types import TaskState, Webhook
from gateway.wire.webhook import spelled

HOLD_SECONDS: Final = 60.0
"""How long a claim lasts: longer than an attempt may take, with what comes before and after it."""
KEEP_SECONDS: Final = 30 * 86_400.0
"""How long a delivery that came to its end can be looked at and replayed."""
SWEPT_ROWS: Final = 1_000
GONE: Final = "it answered 410: it wants no more"

State = Literal["pending", "delivered", "failed", "disabled"]
STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one URL."""

    id: str
    """The same on every attempt: the receiver's `webhook-id`."""
    owner: str
    task_id: str
    type: str
    url: str
    sequence: int
    state: State
    attempts: int
    next_at: float
    status: int | None
    """What the last attempt was answered with."""
    error: str | None
    """Why the last attempt failed."""
    created_at: float
    finished_at: float | None
    hold: str | None
    """Names the claim, not the process: one that lapsed is not taken for the next."""
    held_until: float


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt made of a delivery."""

    state: State
    status: int | None = None
    error: str | None = None
    next_at: float | None = None
    """When to try again, where it is `pending`."""


async def announce(
    connection: AsyncConnection,
    *,
    task_id: str,
    owner: str,
    webhook: Webhook | None,
    state: TaskState,
    version: int,
    now: float,
) -> None:
    """Note that a task has come to `state`, in the transaction that brings it there, if its webhook wants to know."""
    if webhook is None or f"task.{state}" not in webhook.events:
        return
    url = spelled(webhook.url)
    gone = select(destinations.c.id).where(_destination(owner, url), destinations.c.disabled_at.is_not(None))
    refused = (await connection.execute(gone)).first() is not None
    row = {
        "id": f"evt_{secrets.token_hex(16)}",
        "owner": owner,
        "task_id": task_id,
        "type": f"task.{state}",
        "url": url,
        "sequence": version,
        "state": "disabled" if refused else "pending",
        "error": GONE if refused else None,
        "next_at": now,
        "created_at": now,
        "finished_at": now if refused else None,
    }
    await connection.execute(insert(deliveries).values(row))


class Outbox:
    """All SQL about deliveries and destinations."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._writes = database.writes

    # --- sending ---

    async def claim(self, limit: int, full: Collection[str] = ()) -> list[Delivery]:
        """Take hold of due deliveries that nobody holds, the longest due first. Origins that are `full` are left out.

        One statement, so that no two processes get the same.
        """
        now = self._now()
        due = self._free(now).where(deliveries.c.next_at <= now, *(not_(_leads_to(origin)) for origin in full))
        held = {"lease_owner": secrets.token_hex(8), "lease_until": now + HOLD_SECONDS}
        query = update(deliveries).where(_one_of(due.order_by(deliveries.c.next_at).limit(limit))).values(held)
        async with self.database.write() as connection:
            told = query.returning(*deliveries.c, self.database.now_sql().label("now"))
            rows = (await connection.execute(told)).all()
        if rows:
            self.database.now_seen(max(row.now for row in rows))
        return sorted(map(_delivery, rows), key=lambda delivery: delivery.next_at)

    async def next_due(self, full: Collection[str] = ()) -> float | None:
        """When the next free delivery is due, by the database's clock. Origins that are `full` are left out."""
        free = self._free(self._now()).where(*(not_(_leads_to(origin)) for origin in full))
        async with self.database.read() as connection:
            found = (await connection.execute(free.with_only_columns(func.min(deliveries.c.next_at)))).scalar()
        return None if found is None else float(found)

    async def give_back(self, delivery: Delivery) -> None:
        """Let go of a delivery that was not tried."""
        async with self.database.write() as connection:
            await connection.execute(update(deliveries).where(_held(delivery)).values(_LET_GO))

    async def put_off(self, origin: str, until: float, hold: str | None) -> None:
        """Try nothing at an origin before `until`: of what is free, or held by `hold`."""
        now = self._now()
        ours = or_(deliveries.c.lease_until < now, deliveries.c.lease_owner == hold)
        those = and_(deliveries.c.state == "pending", ours, deliveries.c.next_at < until, _leads_to(origin))
        query = update(deliveries).where(_one_of(select(deliveries.c.id).where(those)))
        async with self.database.write() as connection:
            await connection.execute(query.values(next_at=until, **_LET_GO))

    async def write(self, delivery: Delivery, result: Result) -> bool:
        """The result of an attempt. False where the hold was lost, or another attempt heard that nobody wants it.

        A destination that is gone gets nothing more: what else is pending for it is disabled with it.
        """
        now = self.database.now()
        values: dict[str, Any] = {
            "state": result.state,
            "attempts": delivery.attempts + 1,
            "status": result.status,
            "error": result.error,
            "finished_at": None if result.state == "pending" else now,
            **_LET_GO,
        }
        if result.next_at is not None:
            values["next_at"] = result.next_at
        which = [_held(delivery)] if result.state == "delivered" else [_held(delivery), deliveries.c.state == "pending"]

        async def change(connection: AsyncConnection) -> bool:
            written = await connection.execute(update(deliveries).where(*which).values(values))
            if written.rowcount and result.state == "disabled":
                await _disable(connection, delivery.owner, delivery.url, now)
            return bool(written.rowcount)

        return await self._writes.commit(change)

    async def free_holds(self) -> None:
        """Drop every hold of processes before this one: right where a database has one process at a time."""
        async with self.database.write() as connection:
            await connection.execute(update(deliveries).where(deliveries.c.lease_until > 0).values(_LET_GO))

    async def sweep(self) -> int:
        """Remove deliveries that ended long ago, a bounded number. Returns how many."""
        ended = deliveries.c.finished_at < self.database.now() - KEEP_SECONDS
        old = select(deliveries.c.id).where(ended).limit(SWEPT_ROWS)
        async with self.database.write() as connection:
            return (await connection.execute(delete(deliveries).where(deliveries.c.id.in_(old)))).rowcount

    # --- looking back ---

    async def get(self, delivery_id: str, owner: str) -> Delivery:
        """Raises NotFound, also for a delivery that is not `owner`'s."""
        query = select(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.owner == owner)
        async with self.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"no webhook delivery {delivery_id[:80]!r}", param="id", code="delivery_not_found")
        return _delivery(row)

    async def page(
        self, owner: str, *, state: State | None, task_id: str | None, after_id: str | None, limit: int
    ) -> tuple[list[Delivery], bool]:
        """A page, newest first, and whether there are more."""
        where = [deliveries.c.owner == owner]
        where += [deliveries.c.state == state] if state else []
        where += [deliveries.c.task_id == task_id] if task_id else []
        where += [_before(await self.get(after_id, owner))] if after_id else []
        order = (deliveries.c.created_at.desc(), deliveries.c.id.desc())
        async with self.database.read() as connection:
            rows = (await connection.execute(select(deliveries).where(*where).order_by(*order).limit(limit + 1))).all()
        return [_delivery(row) for row in rows[:limit]], len(rows) > limit

    async def replay(self, delivery_id: str, owner: str) -> Delivery:
        """Deliver once more, from the first attempt on, even where the destination wanted no more. Raises Conflict."""
        now = self._now()
        mine = and_(deliveries.c.id == delivery_id, deliveries.c.owner == owner)
        over = and_(mine, deliveries.c.state != "pending", deliveries.c.lease_until < now)
        anew = {"state": "pending", "attempts": 0, "status": None, "error": None, "finished_at": None, "next_at": now}
        async with self.database.write() as connection:
            query = update(deliveries).where(over).values(**anew, **_LET_GO).returning(*deliveries.c)
            row = (await connection.execute(query)).one_or_none()
            if row is not None:
                enabled = {"disabled_at": None, "reason": None}
                await connection.execute(update(destinations).where(_destination(owner, row.url)).values(enabled))
        if row is None:
            await self.get(delivery_id, owner)
            raise Conflict("the delivery is still under way", advice="Replay it once it is delivered or given up")
        return _delivery(row)

    def _now(self) -> ScalarSelect[float]:
        """The database's clock, read once a statement: so an index on what is compared with it can serve."""
        return select(self.database.now_sql()).scalar_subquery()

    def _free(self, now: ScalarSelect[float]) -> Select[Any]:
        return select(deliveries.c.id).where(deliveries.c.state == "pending", deliveries.c.lease_until < now)


_LET_GO: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": 0.0}


async def _disable(connection: AsyncConnection, owner: str, url: str, now: float) -> None:
    """Remember that a destination is gone, and give up what else is pending for it."""
    gone = {"disabled_at": now, "reason": GONE}
    if not (await connection.execute(update(destinations).where(_destination(owner, url)).values(gone))).rowcount:
        row = {"id": f"dst_{secrets.token_hex(16)}", "owner": owner, "url": url, "created_at": now, **gone}
        with suppress(IntegrityError):  # another process heard it at the same moment
            async with connection.begin_nested():
                await connection.execute(insert(destinations).values(row))
    waiting = and_(deliveries.c.state == "pending", deliveries.c.owner == owner, deliveries.c.url == url)
    refused = {"state": "disabled", "error": GONE, "finished_at": now}
    others = select(deliveries.c.id).where(waiting)
    await connection.execute(update(deliveries).where(_one_of(others)).values(refused))


def _one_of(those: Select[Any]) -> ColumnElement[bool]:
    """Rows that a query finds and nobody else is changing. As a CTE it runs once, whatever plan the database makes."""
    picked = those.with_for_update(skip_locked=True).cte("picked")
    return deliveries.c.id.in_(select(picked.c.id))


def _leads_to(origin: str) -> ColumnElement[bool]:
    return or_(deliveries.c.url == origin, deliveries.c.url.startswith(f"{origin}/", autoescape=True))


def _held(delivery: Delivery) -> ColumnElement[bool]:
    return and_(deliveries.c.id == delivery.id, deliveries.c.lease_owner == delivery.hold)


def _destination(owner: str, url: str) -> ColumnElement[bool]:
    return and_(destinations.c.owner == owner, destinations.c.url == url)


def _before(delivery: Delivery) -> ColumnElement[bool]:
    same = and_(deliveries.c.created_at == delivery.created_at, deliveries.c.id < delivery.id)
    return or_(deliveries.c.created_at < delivery.created_at, same)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        owner=row.owner,
        task_id=row.task_id,
        type=row.type,
        url=row.url,
        sequence=row.sequence,
        state=row.state,
        attempts=row.attempts,
        next_at=row.next_at,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
        hold=row.lease_owner,
        held_until=row.lease_until,
    )
