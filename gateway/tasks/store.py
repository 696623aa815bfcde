"""Task rows: how they are written, claimed and read. With `listing` this is all the SQL about tasks.

The database is the engine. Work on a task begins with a claim: one statement gives a due row to one process, under a
lease that nobody else can have. Its holder renews the lease while it works; whatever it writes is refused once another
has the row. So a process may stop anywhere, and two may never do the same.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Executable, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import requests, tasks
from gateway.errors import NotFound
from gateway.tasks import outbox
from gateway.tasks.idempotency import Once, claim_for_task, forget_task
from gateway.tasks.rows import output_of, row_of, task_of
from gateway.tasks.statements import (
    BY_ID,
    CHANGED,
    FREED,
    JOB_MADE,
    NEW,
    NEW_BY_SERVER,
    NEW_OUTPUT,
    OUTPUT_AT,
    OUTPUTS_OF,
    SAVE,
    SAVE_HELD,
    SENDING,
    TOLD,
    new_values,
)
from gateway.tasks.task import FINAL, OPEN, Output, Task
from gateway.types import Job, Webhook

HOLD_SECONDS: Final = 15.0
"""How long a lease lasts that nobody renews: as long as a task of a dead process waits for another."""
RENEW_SECONDS: Final = 5.0

LaneName = Literal["make", "poll"]
"""Work on tasks of which no job is known yet, and on those that have one."""


class Store:
    def __init__(self, database: Database, *, hold: float = HOLD_SECONDS) -> None:
        self.database = database
        self.writes = database.writes
        self._hold = hold
        self.process = secrets.token_hex(8)
        """Who claims: a new name at every start."""
        self._leases = itertools.count(1)

    def now(self) -> float:
        return self.database.now()

    # --- new ones ---

    async def add(self, task: Task, once: Once | None = None) -> Task:
        """Write a new task, held by this process; or return the one that `once` says was asked for before."""
        lease = self._lease()
        row = row_of(task) | {"lease_owner": lease, "version": 1}
        by_server = self.database.now_sql_is_its_own
        row |= {"hold": self._hold} if by_server else {"lease_until": self.now() + self._hold}

        async def change(connection: AsyncConnection) -> str | None:
            earlier = await claim_for_task(connection, once, task.id, self.now()) if once is not None else None
            if earlier is None:
                await connection.execute(NEW_BY_SERVER if by_server else NEW, row)
            return earlier

        earlier = await self.writes.commit(change)
        return replace(task, lease=lease, version=1) if earlier is None else await self.get(earlier)

    async def forget_request(self, once: Once, task_id: str) -> None:
        """Let what was asked for be asked for again: its task certainly came to nothing."""
        await self.writes.commit(lambda connection: forget_task(connection, once, task_id))

    # --- reading ---

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        """Raises NotFound, also for a task that is not `owner`'s."""
        async with self.database.read() as connection:
            row = (await connection.execute(BY_ID, {"the_id": task_id})).one_or_none()
            if row is None or (owner is not None and row.owner != owner):
                raise NotFound(f"no task {task_id[:80]!r}", param="task_id", code="task_not_found")
            return (await with_outputs(connection, [task_of(row)]))[0]

    async def versions(self, ids: Collection[str]) -> Mapping[str, int]:
        """How often each task has changed. One that is gone is left out."""
        query = select(tasks.c.id, tasks.c.version).where(tasks.c.id.in_(list(ids)))
        async with self.database.read() as connection:
            return {row.id: row.version for row in (await connection.execute(query)).all()}

    async def holder_of(self, upstream: str, job: Job, account: str) -> str | None:
        """The task that a job belongs to already, if any."""
        of_account = and_(tasks.c.account_id == account, tasks.c.upstream == upstream, tasks.c.job.is_not(None))
        named = tasks.c.job.like(f'%"id":{_escaped(_encoded(job.id))}%', escape="\\")
        async with self.database.read() as connection:
            return (await connection.execute(select(tasks.c.id).where(of_account, named))).scalars().first()

    async def next_due(self, lane: LaneName) -> float | None:
        """When the next task is due, by the database's clock."""
        now = self.database.now_sql()
        free = or_(tasks.c.lease_until < now, tasks.c.lease_until == 0.0)
        query = select(func.min(tasks.c.next_poll_at)).where(tasks.c.state.in_(OPEN), free, _in(lane))
        async with self.database.read() as connection:
            found = (await connection.execute(query)).scalar()
        return float(found) if found is not None else None

    # --- claims ---

    async def claim(self, lane: LaneName, limit: int) -> list[Task]:
        """Take hold of due tasks that nobody holds, the longest due first: one statement, so no two get the same."""
        now = self.database.now_sql()
        free = and_(tasks.c.state.in_(OPEN), tasks.c.next_poll_at <= now, tasks.c.lease_until < now, _in(lane))
        due = select(tasks.c.id).where(free).order_by(tasks.c.next_poll_at, tasks.c.created_at).limit(limit)
        return await self._claim(tasks.c.id.in_(due.with_for_update(skip_locked=True)))

    async def claim_one(self, task_id: str, *, due: bool = False) -> Task | None:
        """Take hold of one task if nobody has it; `due`: only if it is."""
        now = self.database.now_sql()
        which = [tasks.c.id == task_id, tasks.c.state.in_(OPEN), tasks.c.lease_until < now]
        which += [tasks.c.next_poll_at <= now] if due else []
        found = await self._claim(and_(*which))
        return found[0] if found else None

    async def _claim(self, which: ColumnElement[bool]) -> list[Task]:
        now = self.database.now_sql()
        held = {"lease_owner": self._lease(), "lease_until": now + self._hold}
        query = update(tasks).where(which).values(held).returning(*tasks.c, now.label("now"))
        async with self.database.write() as connection:
            rows = (await connection.execute(query)).all()
            found = await with_outputs(connection, [task_of(row) for row in rows])
        if rows:
            self.database.now_seen(max(row.now for row in rows))
        return sorted(found, key=lambda task: (task.next_poll_at, task.created_at))

    async def renew(self, ids: Collection[str]) -> None:
        """Hold on to tasks that this process has in hand."""
        which = and_(tasks.c.id.in_(list(ids)), tasks.c.lease_owner.like(f"{self.process}.%"))
        values = {"lease_until": self.database.now_sql() + self._hold}
        async with self.database.write() as connection:
            await connection.execute(update(tasks).where(which).values(values))

    async def let_go(self) -> None:
        """Drop every hold of this process, on its way out: others need not wait for the leases to end."""
        mine = tasks.c.lease_owner.like(f"{self.process}.%")
        async with self.database.write() as connection:
            await connection.execute(update(tasks).where(mine).values(FREED))

    async def free_holds(self) -> None:
        """Drop every hold of processes before this one: right where a database has one process at a time."""
        async with self.database.write() as connection:
            await connection.execute(update(tasks).where(tasks.c.lease_until > 0).values(FREED))

    # --- changes by the holder ---

    async def save(self, task: Task, *, release: bool = True, begun: bool = False) -> bool:
        """Write a task that this process holds. False where it holds it no longer or the task is final already.

        `begun`: it runs from now on, and whoever wants to hear of that does.
        """
        return await self._run(SAVE if release else SAVE_HELD, _held(task), begun=begun) is not None

    async def sending(self, task: Task) -> bool:
        """Note that an upstream is about to be asked. False where that must not be: the hold is lost, or it is
        to be cancelled."""
        return await self._run(SENDING, _held(task)) is not None

    async def job_made(self, task: Task) -> bool | None:
        """Write the job that the last asking made, even where the hold was lost meanwhile: what is paid for is known.

        True where the task is to be cancelled, None where it has an end or a job already.
        """
        asked = {"the_id": task.id, "the_submitted_at": task.submitted_at}
        row = await self._run(JOB_MADE, new_values(task) | asked, begun=True)
        return None if row is None else bool(row.cancel_requested)

    async def add_output(
        self, task: Task, position: int, asset_id: str | None, error: dict[str, Any] | None = None
    ) -> None:
        """Enter one result, or why it could not be had; one that is entered already stays."""
        row = {
            "id": f"out_{secrets.token_hex(16)}",
            "task_id": task.id,
            "position": position,
            "state": "failed" if asset_id is None else "succeeded",
            "asset_id": asset_id,
            "error": None if error is None else _encoded(error),
        }
        here = {"the_task": task.id, "the_position": position}

        async def change(connection: AsyncConnection) -> None:
            if (await connection.execute(OUTPUT_AT, here)).first() is None:
                await connection.execute(NEW_OUTPUT, row)

        await self.writes.commit(change)

    # --- changes by anybody ---

    async def ask_to_cancel(self, task_id: str) -> bool:
        """Note that a task shall end, whoever holds it. False where it is final."""
        values = {"cancel_requested": True} | CHANGED
        return await self._change(_open(task_id), values) is not None

    async def end(self, task: Task) -> bool:
        """Give a task its final state, whoever holds it. False where it has one."""
        row = row_of(task)
        written = ("state", "finished_at", "cancel_requested", "eta", "error", "usage", "cost", "currency")
        values = {name: row[name] for name in written}
        return await self._change(_open(task.id), values | FREED | CHANGED) is not None

    async def due_now(self, task_id: str) -> None:
        """Have a task looked at next, whatever its schedule."""
        await self._change(_open(task_id), {"next_poll_at": self.now()})

    async def delete(self, task_id: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(delete(requests).where(requests.c.task_id == task_id))
            await connection.execute(delete(tasks).where(tasks.c.id == task_id))

    async def _change(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> Any:
        """Change a row by a statement of its own. The row as it is then, None where none was met."""
        return await self._run(update(tasks).where(which).values(values).returning(*TOLD), {})

    async def _run(self, query: Executable, given: Mapping[str, Any], *, begun: bool = False) -> Any:
        """Change a row, and announce its end (or that it runs) in the same transaction. None where no row was met."""

        async def change(connection: AsyncConnection) -> Any:
            row = (await connection.execute(query, given)).one_or_none()
            if row is not None and row.webhook is not None and (begun or row.state in FINAL):
                await outbox.announce(
                    connection,
                    task_id=row.id,
                    owner=row.owner,
                    webhook=msgspec.json.decode(row.webhook, type=Webhook),
                    state=row.state,
                    version=row.version,
                    now=self.now(),
                )
            return row

        return await self.writes.commit(change)

    def _lease(self) -> str:
        return f"{self.process}.{next(self._leases)}"


async def with_outputs(connection: AsyncConnection, found: Sequence[Task]) -> list[Task]:
    """The tasks with what they made so far."""
    ids = [task.id for task in found if task.state != "queued" or task.started_at is not None]
    if not ids:
        return list(found)
    made: dict[str, list[Output]] = {}
    for row in (await connection.execute(OUTPUTS_OF, {"the_tasks": ids})).all():
        made.setdefault(row.task_id, []).append(output_of(row))
    return [replace(task, outputs=tuple(made.get(task.id, ()))) for task in found]


def _in(lane: LaneName) -> ColumnElement[bool]:
    return tasks.c.job.is_(None) if lane == "make" else tasks.c.job.is_not(None)


def _held(task: Task) -> dict[str, Any]:
    """What to write of a task, and the lease it is held by."""
    return new_values(task) | {"the_id": task.id, "the_lease": task.lease}


def _open(task_id: str) -> ColumnElement[bool]:
    return and_(tasks.c.id == task_id, tasks.c.state.in_(OPEN))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
