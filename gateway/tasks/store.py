"""Task rows: how they are written, claimed, read and listed. All SQL about tasks is here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update

from gateway.db.engine import Database
from gateway.db.tables import assets, outputs, tasks
from gateway.errors import NotFound
from gateway.types import Job, Kind, TaskState, VideoRequest

OPEN: tuple[TaskState, ...] = ("submitting", "submit_unknown", "queued", "running")
FINAL: tuple[TaskState, ...] = ("succeeded", "failed", "cancelled", "expired")


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a task."""

    asset_id: str
    key: str
    mime: str
    size: int
    width: int | None
    height: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands."""

    id: str
    owner: str
    kind: Kind
    model: str
    upstream: str
    account: str | None
    state: TaskState
    request: VideoRequest
    job: Job | None
    progress: float
    eta: float | None
    """Seconds to go, as far as anybody knows."""
    error: dict[str, Any] | None
    """`{code, message, type, param}`"""
    usage: dict[str, Any] | None
    chat_id: str | None
    attempts: tuple[dict[str, Any], ...]
    created_at: float
    submitted_at: float | None
    started_at: float | None
    finished_at: float | None
    deadline: float
    next_poll_at: float
    cancel_requested: bool
    native: str
    candidates: tuple[tuple[str, str], ...]
    """(upstream, model) in order: where it may be submitted."""
    estimate: float | None
    request_id: str
    outputs: tuple[Output, ...] = ()

    @property
    def final(self) -> bool:
        return self.state in FINAL


class Store:
    def __init__(self, database: Database, *, hold: float) -> None:
        self._database = database
        self._hold = hold
        """Seconds a claim lasts: longer than any step of a task may take."""
        self.process = secrets.token_hex(8)
        """Who claims: a new name at every start."""

    async def add(self, task: Task) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(tasks).values(_row(task)))

    async def get(self, task_id: str, owner: str | None = None) -> Task:
        """Raises NotFound, also for a task that is not `owner`'s."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(tasks).where(tasks.c.id == task_id))).one_or_none()
            if row is None or (owner is not None and row.owner != owner):
                raise NotFound(f"no task {task_id[:80]!r}", param="task_id", code="task_not_found")
            return (await self._with_outputs(connection, [row]))[0]

    async def page(
        self,
        owner: str,
        *,
        kind: str | None,
        states: Sequence[TaskState],
        model: str | None,
        since: float | None,
        before: float | None,
        after_id: str | None,
        limit: int,
        ascending: bool = False,
    ) -> tuple[list[Task], bool]:
        """A page, newest first unless `ascending`, and whether there are more."""
        where = [tasks.c.owner == owner]
        where += [tasks.c.kind == kind] if kind else []
        where += [tasks.c.state.in_(states)] if states else []
        where += [tasks.c.model == model] if model else []
        where += [tasks.c.created_at >= since] if since is not None else []
        where += [tasks.c.created_at < before] if before is not None else []
        order = (tasks.c.created_at, tasks.c.id) if ascending else (tasks.c.created_at.desc(), tasks.c.id.desc())
        if after_id:
            where.append(_beyond(await self.get(after_id, owner), ascending))
        async with self._database.read() as connection:
            query = select(tasks).where(*where).order_by(*order).limit(limit + 1)
            rows = (await connection.execute(query)).all()
            return await self._with_outputs(connection, rows[:limit]), len(rows) > limit

    async def claim(self, limit: int, now: float) -> list[Task]:
        """Take hold of due tasks that nobody holds: one statement, so that no two processes get the same."""
        free = and_(tasks.c.state.in_(OPEN), tasks.c.next_poll_at <= now, tasks.c.lease_until < now)
        due = select(tasks.c.id).where(free).order_by(tasks.c.next_poll_at).limit(limit)
        return await self._claim(tasks.c.id.in_(due.with_for_update(skip_locked=True)), now)

    async def claim_one(self, task_id: str, now: float) -> Task | None:
        found = await self._claim(and_(tasks.c.id == task_id, tasks.c.lease_until < now), now)
        return found[0] if found else None

    async def _claim(self, which: ColumnElement[bool], now: float) -> list[Task]:
        held = {"lease_owner": self.process, "lease_until": now + self._hold}
        async with self._database.write() as connection:
            query = update(tasks).where(which).values(held).returning(*tasks.c)
            return [_task(row) for row in (await connection.execute(query)).all()]

    async def save(self, task: Task, *, release: bool = True) -> bool:
        """Write a task that this process holds. False where the hold was lost or the task is final already."""
        held = and_(tasks.c.id == task.id, tasks.c.lease_owner == self.process, tasks.c.state.in_(OPEN))
        values = _held_row(task) | ({"lease_owner": None, "lease_until": 0.0} if release else {})
        async with self._database.write() as connection:
            return bool((await connection.execute(update(tasks).where(held).values(values))).rowcount)

    async def ask_to_cancel(self, task_id: str) -> bool:
        """Note that a task shall end, whoever holds it. False where it is final."""
        return await self._change(task_id, {"cancel_requested": True})

    async def end(self, task: Task) -> bool:
        """Give a task its final state, whoever holds it. False where it has one."""
        changed = {"state": task.state, "finished_at": task.finished_at, "cancel_requested": task.cancel_requested}
        return await self._change(task.id, changed | {"lease_owner": None, "lease_until": 0.0})

    async def _change(self, task_id: str, values: dict[str, Any]) -> bool:
        which = and_(tasks.c.id == task_id, tasks.c.state.in_(OPEN))
        async with self._database.write() as connection:
            return bool((await connection.execute(update(tasks).where(which).values(values))).rowcount)

    async def succeed(self, task: Task, asset_ids: Sequence[str]) -> bool:
        """The last step of a task and its outputs, together or not at all."""
        held = and_(tasks.c.id == task.id, tasks.c.lease_owner == self.process, tasks.c.state.in_(OPEN))
        async with self._database.write() as connection:
            values = _held_row(task) | {"lease_owner": None, "lease_until": 0.0}
            if not (await connection.execute(update(tasks).where(held).values(values))).rowcount:
                return False
            for position, asset_id in enumerate(asset_ids):
                await connection.execute(
                    insert(outputs).values(
                        id=f"out_{secrets.token_hex(16)}",
                        task_id=task.id,
                        position=position,
                        state="succeeded",
                        asset_id=asset_id,
                    )
                )
            return True

    async def free_holds(self) -> None:
        """Drop every hold of processes before this one: right where a database has one process at a time."""
        async with self._database.write() as connection:
            await connection.execute(
                update(tasks).where(tasks.c.lease_until > 0).values(lease_owner=None, lease_until=0.0)
            )

    async def next_due(self) -> float | None:
        """When the next task is due, unix seconds."""
        query = select(func.min(tasks.c.next_poll_at)).where(tasks.c.state.in_(OPEN), tasks.c.lease_until < time.time())
        async with self._database.read() as connection:
            found = (await connection.execute(query)).scalar()
        return float(found) if found is not None else None

    async def _with_outputs(self, connection: Any, rows: Sequence[Row[Any]]) -> list[Task]:
        found = {row.id: _task(row) for row in rows}
        if any(task.state == "succeeded" for task in found.values()):
            query = (
                select(outputs.c.task_id, assets)
                .join(assets, assets.c.id == outputs.c.asset_id)
                .where(outputs.c.task_id.in_(list(found)))
                .order_by(outputs.c.task_id, outputs.c.position)
            )
            for row in (await connection.execute(query)).all():
                task = found[row.task_id]
                found[row.task_id] = replace(task, outputs=(*task.outputs, _output(row)))
        return list(found.values())


def _beyond(task: Task, ascending: bool) -> ColumnElement[bool]:
    if ascending:
        later = tasks.c.created_at > task.created_at
        return or_(later, and_(tasks.c.created_at == task.created_at, tasks.c.id > task.id))
    earlier = tasks.c.created_at < task.created_at
    return or_(earlier, and_(tasks.c.created_at == task.created_at, tasks.c.id < task.id))


def _output(row: Any) -> Output:
    return Output(row.id, row.key, row.mime, row.size, row.width, row.height, row.seconds)


def _row(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "owner": task.owner,
        "kind": task.kind,
        "model": task.model,
        "upstream": task.upstream,
        "account_id": task.account,
        "state": task.state,
        "request": _json(task.request),
        "job": _json(task.job) if task.job else None,
        "params": _json({"candidates": task.candidates, "estimate": task.estimate, "request_id": task.request_id}),
        "progress": task.progress,
        "eta": task.eta,
        "error": _json(task.error) if task.error else None,
        "usage": _json(task.usage) if task.usage else None,
        "chat_id": task.chat_id,
        "attempts": _json(task.attempts),
        "created_at": task.created_at,
        "submitted_at": task.submitted_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "deadline": task.deadline,
        "next_poll_at": task.next_poll_at,
        "cancel_requested": task.cancel_requested,
        "native": task.native,
    }


def _held_row(task: Task) -> dict[str, Any]:
    """What its holder may write: a cancel that somebody asked for meanwhile stays asked for."""
    return {name: value for name, value in _row(task).items() if name != "cancel_requested"}


def _task(row: Any) -> Task:
    params = msgspec.json.decode(row.params)
    return Task(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        model=row.model,
        upstream=row.upstream,
        account=row.account_id,
        state=row.state,
        request=msgspec.json.decode(row.request, type=VideoRequest),
        job=msgspec.json.decode(row.job, type=Job) if row.job else None,
        progress=row.progress,
        eta=row.eta,
        error=msgspec.json.decode(row.error) if row.error else None,
        usage=msgspec.json.decode(row.usage) if row.usage else None,
        chat_id=row.chat_id,
        attempts=tuple(msgspec.json.decode(row.attempts)),
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline=row.deadline,
        next_poll_at=row.next_poll_at,
        cancel_requested=bool(row.cancel_requested),
        native=row.native or "",
        candidates=tuple((upstream, model) for upstream, model in params["candidates"]),
        estimate=params["estimate"],
        request_id=params["request_id"],
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
