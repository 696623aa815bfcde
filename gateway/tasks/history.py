"""What an owner had made last: tasks however they stand, and what was made without one, in one line by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.asset import COLUMNS, Asset, asset_of, belongs
from gateway.db.engine import Database
from gateway.db.tables import assets, tasks
from gateway.tasks.rows import task_of
from gateway.tasks.store import with_outputs
from gateway.tasks.task import Task
from gateway.types import Kind, TaskState


class Place(NamedTuple):
    """Where an entry stands in the line."""

    created_at: float
    """Unix seconds."""
    id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A generation."""

    place: Place
    task: Task | None
    """None where what it made came with the answer."""
    assets: tuple[Asset, ...]
    """What it made and is still there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which generations; all that is given must be true of one."""

    kind: Kind | None = None
    model: str | None = None
    states: tuple[TaskState, ...] = ()
    """Any of these. What was made without a task succeeded."""
    before: Place | None = None


_ASSET = tuple(assets.c[name] for name in COLUMNS)
_NO_TASK = or_(assets.c.task_id.is_(None), ~exists().where(tasks.c.id == assets.c.task_id))
"""Of a task that was deleted as well: somebody made it all the same."""


async def page(database: Database, owner: str, wanted: Wanted, limit: int) -> tuple[list[Entry], bool]:
    """The newest generations, and whether there are more."""
    async with database.look() as connection:
        found = await _tasks(connection, owner, wanted, limit + 1)
        oldest = found[-1].place.created_at if len(found) > limit else None
        found += await _alone(connection, owner, wanted, limit + 1, oldest)
        found.sort(key=lambda entry: entry.place, reverse=True)
        return await _filled(connection, owner, found[:limit]), len(found) > limit


async def _tasks(connection: AsyncConnection, owner: str, wanted: Wanted, limit: int) -> list[Entry]:
    query = _in_line(select(tasks), tasks, owner, wanted, limit)
    if wanted.states:
        query = query.where(tasks.c.state.in_(wanted.states))
    rows = (await connection.execute(query)).all()
    return [Entry(_place(row), task_of(row), ()) for row in rows]


async def _alone(
    connection: AsyncConnection, owner: str, wanted: Wanted, limit: int, oldest: float | None
) -> list[Entry]:
    """What was made without a task, as far back as the tasks of the page go; nothing that was made elsewhere."""
    if wanted.states and "succeeded" not in wanted.states:
        return []
    query = _in_line(select(*_ASSET), assets, owner, wanted, limit).where(assets.c.kind != "", _NO_TASK)
    if oldest is not None:
        query = query.where(assets.c.created_at >= oldest)
    rows = (await connection.execute(query)).all()
    return [Entry(_place(row), None, (asset_of(row),)) for row in rows]


async def _filled(connection: AsyncConnection, owner: str, found: Sequence[Entry]) -> list[Entry]:
    """The same, the tasks with all that they made."""
    whole = {task.id: task for task in await with_outputs(connection, [one.task for one in found if one.task])}
    made: dict[str, list[Asset]] = {}
    if whole:
        mine = and_(belongs(assets, owner), assets.c.task_id.in_(list(whole)))
        for row in await connection.execute(select(*_ASSET).where(mine).order_by(assets.c.created_at, assets.c.id)):
            made.setdefault(row.task_id, []).append(asset_of(row))
    return [_with_all(one, whole[one.task.id], made.get(one.task.id, [])) if one.task else one for one in found]


def _with_all(entry: Entry, task: Task, made: Sequence[Asset]) -> Entry:
    """In the order of the outputs, what is no output last."""
    order = {output.asset_id: output.position for output in task.outputs}
    in_order = sorted(made, key=lambda asset: order.get(asset.id, len(order)))
    return Entry(entry.place, task, tuple(in_order))


def _in_line(query: Select[Any], table: Table, owner: str, wanted: Wanted, limit: int) -> Select[Any]:
    where = [table.c.owner == owner]
    where += [table.c.kind == wanted.kind] if wanted.kind else []
    where += [table.c.model == wanted.model] if wanted.model else []
    where += [_before(table, wanted.before)] if wanted.before else []
    return query.where(*where).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit)


def _before(table: Table, place: Place) -> ColumnElement[bool]:
    moment = table.c.created_at
    return or_(moment < place.created_at, and_(moment == place.created_at, table.c.id < place.id))


def _place(row: Any) -> Place:
    return Place(row.created_at, row.id)
