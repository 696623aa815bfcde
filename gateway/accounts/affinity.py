"""The affinity ledger, read by account: what only this account can go on with."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import func, select

from gateway.db.engine import Database
from gateway.db.tables import file_copies, tasks, turns
from gateway.types import TaskState

FINISHED: Final[tuple[TaskState, ...]] = ("succeeded", "failed", "cancelled", "expired")


class Held(NamedTuple):
    tasks: int
    """That are not finished."""
    chats: int
    """With a turn that it answered."""
    files: int
    """That it has a copy of."""


async def held_by(database: Database, account_id: str) -> Held:
    """What an account holds. Raises DatabaseUnavailable."""
    unfinished = (tasks.c.account_id == account_id) & tasks.c.state.not_in(FINISHED)
    counts = (
        select(func.count()).select_from(tasks).where(unfinished),
        select(func.count(turns.c.chat_id.distinct())).where(turns.c.account_id == account_id),
        select(func.count()).select_from(file_copies).where(file_copies.c.account_id == account_id),
    )
    async with database.read() as connection:
        return Held(*[(await connection.execute(count)).scalar_one() for count in counts])
