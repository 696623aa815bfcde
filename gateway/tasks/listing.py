"""Lists of tasks, and their place in the queue."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select

from gateway.db.engine import Database
from gateway.db.tables import tasks
from gateway.errors import NotFound
from gateway.tasks.rows import task_of
from gateway.tasks.store import with_outputs
from gateway.tasks.task import Task
from gateway.types import TaskState


async def page(
    database: Database,
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
    """A page, newest first unless `ascending`, and whether there are more. Raises NotFound for a strange `after_id`."""
    where = [tasks.c.owner == owner]
    where += [tasks.c.kind == kind] if kind else []
    where += [tasks.c.state.in_(states)] if states else []
    where += [tasks.c.model == model] if model else []
    where += [tasks.c.created_at >= since] if since is not None else []
    where += [tasks.c.created_at < before] if before is not None else []
    order = (tasks.c.created_at, tasks.c.id) if ascending else (tasks.c.created_at.desc(), tasks.c.id.desc())
    async with database.read() as connection:
        if after_id:
            mine = and_(tasks.c.id == after_id, tasks.c.owner == owner)
            moment = (await connection.execute(select(tasks.c.created_at).where(mine))).scalar()
            if moment is None:
                raise NotFound(f"no task {after_id[:80]!r}", param="after", code="task_not_found")
            where.append(_beyond(moment, after_id, ascending))
        rows = (await connection.execute(select(tasks).where(*where).order_by(*order).limit(limit + 1))).all()
        return await with_outputs(connection, [task_of(row) for row in rows[:limit]]), len(rows) > limit


async def several(database: Database, owner: str, ids: Sequence[str]) -> dict[str, Task]:
    """Those of the tasks that are the owner's, by id."""
    if not ids:
        return {}
    mine = and_(tasks.c.owner == owner, tasks.c.id.in_(ids))
    async with database.read() as connection:
        rows = (await connection.execute(select(tasks).where(mine))).all()
        return {task.id: task for task in await with_outputs(connection, [task_of(row) for row in rows])}


async def queue_position(database: Database, task: Task) -> int | None:
    """How many tasks are before it for the same upstream, counting from 0; None where it does not wait."""
    if not task.unasked:
        return None
    waits = and_(tasks.c.state == "queued", tasks.c.job.is_(None), tasks.c.upstream == task.upstream)
    earlier = or_(
        tasks.c.created_at < task.created_at, and_(tasks.c.created_at == task.created_at, tasks.c.id < task.id)
    )
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).where(waits, earlier))).scalar_one()


def _beyond(moment: float, task_id: str, ascending: bool) -> ColumnElement[bool]:
    if ascending:
        return or_(tasks.c.created_at > moment, and_(tasks.c.created_at == moment, tasks.c.id > task_id))
    return or_(tasks.c.created_at < moment, and_(tasks.c.created_at == moment, tasks.c.id < task_id))
