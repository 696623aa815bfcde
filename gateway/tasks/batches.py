"""Batches in the database: made, looked at, taken item by item under their limit, ended.

How many run at once is decided in one transaction that holds the batch's row, so that replicas keep the limit together.
An item that was taken and became no task, because its process died, is taken again after a while: its task is asked for
under a key of its own, and is there only once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Update, and_, case, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import batch_items, batches, tasks
from gateway.errors import NotFound
from gateway.tasks.batch import OPEN_ITEMS, Batch, Item, ItemState, Wanted
from gateway.tasks.task import FINAL, OPEN
from gateway.types import Principal

STARTING_SECONDS: Final = 120.0
"""After this an item that was taken and is no task yet is taken again."""
AT_ONCE: Final = 500
"""Rows written in one statement."""
_WANTED = msgspec.json.Decoder(Wanted)


class Batches:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        wanted: Sequence[Wanted],
        principal: Principal,
        *,
        concurrency: int,
        metadata: dict[str, str] | None,
        request_id: str,
    ) -> Batch:
        batch_id, now = f"batch_{secrets.token_hex(16)}", self._database.now()
        row = {
            "id": batch_id,
            "owner": principal.id,
            "key_name": principal.name,
            "account_tags": _json(sorted(principal.account_tags)),
            "state": "running",
            "concurrency": concurrency,
            "total": len(wanted),
            "metadata": _json(metadata) if metadata else None,
            "request_id": request_id,
            "created_at": now,
        }
        items = [
            {"batch_id": batch_id, "position": at, "body": _json(one), "state": "waiting"}
            for at, one in enumerate(wanted)
        ]
        async with self._database.write() as connection:
            await connection.execute(insert(batches), row)
            for start in range(0, len(items), AT_ONCE):
                await connection.execute(insert(batch_items), items[start : start + AT_ONCE])
        return await self.get(batch_id, principal.id)

    async def get(self, batch_id: str, owner: str) -> Batch:
        """Raises NotFound, for another owner's as well."""
        mine = and_(batches.c.id == batch_id, batches.c.owner == owner)
        async with self._database.read() as connection:
            row = (await connection.execute(select(batches).where(mine))).one_or_none()
            if row is None:
                raise NotFound(f"no batch {batch_id[:80]!r}", code="batch_not_found")
            return _batch(row, await _counts(connection, [batch_id]))

    async def page(self, owner: str, after: str | None, limit: int) -> tuple[list[Batch], bool]:
        """The newest first, and whether there are more. Raises NotFound for a strange `after`."""
        query = select(batches).where(batches.c.owner == owner)
        if after:
            last = await self.get(after, owner)
            earlier = batches.c.created_at < last.created_at
            same = and_(batches.c.created_at == last.created_at, batches.c.id < last.id)
            query = query.where(earlier | same)
        async with self._database.read() as connection:
            query = query.order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(limit + 1)
            rows = (await connection.execute(query)).all()
            counts = await _counts(connection, [row.id for row in rows[:limit]])
            return [_batch(row, counts) for row in rows[:limit]], len(rows) > limit

    async def items(self, batch_id: str, first: int, limit: int) -> list[Item]:
        """So many items from a position on."""
        here = and_(batch_items.c.batch_id == batch_id, batch_items.c.position >= first)
        query = select(batch_items).where(here).order_by(batch_items.c.position).limit(limit)
        async with self._database.read() as connection:
            return [_item(row) for row in await connection.execute(query)]

    async def cancel(self, batch_id: str) -> list[str]:
        """Begin nothing more of it. Returns the ids of those of its tasks that go on."""
        waiting = and_(batch_items.c.batch_id == batch_id, batch_items.c.state == "waiting")
        on = and_(tasks.c.batch_id == batch_id, tasks.c.state.in_(OPEN))
        async with self._database.write() as connection:
            asked = update(batches).where(batches.c.id == batch_id).values(cancel_requested=True)
            await connection.execute(asked)  # which holds the row: whoever has begun one meanwhile is heard first
            await connection.execute(update(batch_items).where(waiting).values(state="cancelled"))
            return list((await connection.execute(select(tasks.c.id).where(on))).scalars())

    # --- whoever carries them through ---

    async def any_open(self) -> bool:
        """Whether one is not over."""
        async with self._database.read() as connection:
            query = select(batches.c.id).where(batches.c.state == "running").limit(1)
            return (await connection.execute(query)).first() is not None

    async def due(self) -> list[Batch]:
        """Those of which there is something to begin, to note, or to end."""
        here = batch_items.c.batch_id == batches.c.id
        over = exists().where(tasks.c.id == batch_items.c.task_id, tasks.c.state.in_(OPEN))
        stale = batch_items.c.claimed_at < self._database.now() - STARTING_SECONDS
        busy = select(func.count()).where(here, batch_items.c.state.in_(("starting", "running"))).scalar_subquery()
        waits = exists().where(here, batch_items.c.state == "waiting")
        ended = exists().where(here, batch_items.c.state == "running", ~over)
        lost = exists().where(here, batch_items.c.state == "starting", stale)
        nothing = ~exists().where(here, batch_items.c.state.in_(OPEN_ITEMS))
        due = or_(and_(waits, busy < batches.c.concurrency), ended, lost, nothing)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(batches).where(batches.c.state == "running", due))).all()
            return [_batch(row, {}) for row in rows]

    async def take(self, batch: Batch) -> list[tuple[int, Wanted]]:
        """The items that may begin now: no more than the limit leaves room for. What has ended meanwhile is noted, and
        so is the end of the batch."""
        async with self._database.write() as connection:
            held = select(batches).where(batches.c.id == batch.id).with_for_update()
            row = (await connection.execute(held)).one_or_none()
            if row is None or row.state != "running":
                return []
            now = self._database.now()
            await _note_ends(connection, batch.id, now)
            if row.cancel_requested:
                waiting = and_(batch_items.c.batch_id == batch.id, batch_items.c.state == "waiting")
                await connection.execute(update(batch_items).where(waiting).values(state="cancelled"))
            counts = (await _counts(connection, [batch.id])).get(batch.id, {})
            if not any(counts.get(state) for state in OPEN_ITEMS):
                state = "cancelled" if row.cancel_requested else "completed"
                over = update(batches).where(batches.c.id == batch.id).values(state=state, finished_at=now)
                await connection.execute(over)
                return []
            room = row.concurrency - counts.get("starting", 0) - counts.get("running", 0)
            return await _taken(connection, batch.id, room, now) if room > 0 else []

    async def begun(self, batch_id: str, position: int, task_id: str) -> bool:
        """Its task is there. Returns whether the batch is to be cancelled."""
        async with self._database.write() as connection:
            held = select(batches.c.cancel_requested).where(batches.c.id == batch_id).with_for_update()
            cancelled = bool((await connection.execute(held)).scalar())
            await connection.execute(_change(batch_id, position, state="running", task_id=task_id))
            return cancelled

    async def refused(self, batch_id: str, position: int, error: dict[str, Any], task_id: str | None) -> None:
        """`task_id`: of the task that was refused, where there is one."""
        await self._set(batch_id, position, state="failed", error=_json(error), task_id=task_id)

    async def put_back(self, batch_id: str, position: int) -> None:
        """It waits on."""
        await self._set(batch_id, position, state="waiting", claimed_at=None)

    async def _set(self, batch_id: str, position: int, **values: Any) -> None:
        async with self._database.write() as connection:
            await connection.execute(_change(batch_id, position, **values))


def _change(batch_id: str, position: int, **values: Any) -> Update:
    """Of an item that was taken."""
    here = and_(batch_items.c.batch_id == batch_id, batch_items.c.position == position)
    return update(batch_items).where(here, batch_items.c.state == "starting").values(values)


async def _note_ends(connection: AsyncConnection, batch_id: str, now: float) -> None:
    """Items whose tasks are over get their states, and those that nobody began after all wait again."""
    mine = batch_items.c.batch_id == batch_id
    ended = select(tasks.c.state).where(tasks.c.id == batch_items.c.task_id).scalar_subquery()
    gone = ~select(tasks.c.id).where(tasks.c.id == batch_items.c.task_id).exists()
    over = select(tasks.c.id).where(tasks.c.id == batch_items.c.task_id, tasks.c.state.in_(FINAL)).exists()
    running = and_(mine, batch_items.c.state == "running")
    await connection.execute(
        update(batch_items).where(running, over | gone).values(state=case((gone, "cancelled"), else_=ended))
    )
    stale = and_(mine, batch_items.c.state == "starting", batch_items.c.claimed_at < now - STARTING_SECONDS)
    await connection.execute(update(batch_items).where(stale).values(state="waiting", claimed_at=None))


async def _taken(connection: AsyncConnection, batch_id: str, room: int, now: float) -> list[tuple[int, Wanted]]:
    waiting = and_(batch_items.c.batch_id == batch_id, batch_items.c.state == "waiting")
    query = select(batch_items).where(waiting).order_by(batch_items.c.position).limit(room)
    rows = (await connection.execute(query)).all()
    if rows:
        here = and_(batch_items.c.batch_id == batch_id, batch_items.c.position.in_([row.position for row in rows]))
        await connection.execute(update(batch_items).where(here).values(state="starting", claimed_at=now))
    return [(row.position, _WANTED.decode(row.body)) for row in rows]


async def _counts(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    if not ids:
        return {}
    columns = batch_items.c.batch_id, batch_items.c.state
    query = select(*columns, func.count()).where(batch_items.c.batch_id.in_(ids)).group_by(*columns)
    found: dict[str, dict[str, int]] = {}
    for batch_id, state, count in await connection.execute(query):
        found.setdefault(batch_id, {})[state] = count
    return found


def _batch(row: Any, counts: dict[str, dict[str, int]]) -> Batch:
    return Batch(
        id=row.id,
        owner=row.owner,
        key_name=row.key_name,
        account_tags=tuple(msgspec.json.decode(row.account_tags)),
        state=row.state,
        concurrency=row.concurrency,
        total=row.total,
        metadata=msgspec.json.decode(row.metadata) if row.metadata else None,
        request_id=row.request_id,
        cancel_requested=bool(row.cancel_requested),
        created_at=row.created_at,
        finished_at=row.finished_at,
        counts=counts.get(row.id, {}),
    )


def _item(row: Any) -> Item:
    state: ItemState = row.state
    return Item(row.position, state, row.task_id, msgspec.json.decode(row.error) if row.error else None)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
