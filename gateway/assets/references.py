"""Which rows name an object. An object that none names is nobody's."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, get_args

import structlog
from sqlalchemy import select, union_all

from gateway.db.engine import Database
from gateway.db.tables import assets, files, requests, tasks
from gateway.errors import StorageUnavailable
from gateway.storage import Storage
from gateway.types import TaskState

log = structlog.get_logger(__name__)

NAMING = (assets.c.key, assets.c.thumbnail_key, assets.c.poster_key, files.c.key, requests.c.body_key)
"""Every column that holds the key of an object."""
OPEN: Final = tuple(set(get_args(TaskState)) - {"succeeded", "failed", "cancelled", "expired"})
KEYS: Final = 1000
"""Looked for in one statement."""
TASKS: Final = 200
"""Tasks whose requests are read at a time."""

_OBJECT = re.compile(r"object:([A-Za-z0-9_/.-]+)")
"""How the request of a task names an object that it starts from."""


class References:
    def __init__(self, database: Database, storage: Storage) -> None:
        self.database = database
        self.storage = storage

    async def named(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that some row names; all rows are looked at in the same moment for each of them."""
        found: set[str] = set()
        wanted = list(keys)
        for start in range(0, len(wanted), KEYS):
            some = wanted[start : start + KEYS]
            query = union_all(*(select(column).where(column.in_(some)) for column in NAMING))
            async with self.database.read() as connection:
                found.update(row[0] for row in await connection.execute(query))
        return found

    async def awaited(self) -> set[str]:
        """The keys of what unfinished tasks start from: it is read when their upstream is asked, maybe again."""
        found: set[str] = set()
        last = ""
        while True:
            page = select(tasks.c.id, tasks.c.request).where(
                tasks.c.state.in_(OPEN), tasks.c.request.contains("object:"), tasks.c.id > last
            )
            async with self.database.read() as connection:
                rows = (await connection.execute(page.order_by(tasks.c.id).limit(TASKS))).all()
            found.update(key for row in rows for key in _OBJECT.findall(row.request))
            if len(rows) < TASKS:
                return found
            last = rows[-1].id

    async def drop(self, keys: Collection[str]) -> int:
        """Delete the objects that lost a row just now, if no other names them; how many were.

        Their rows are gone, so a store that is away fails nobody: the next collection takes what is left.
        """
        gone = set(keys) - await self.named(keys)
        deleted = 0
        for key in gone:
            try:
                await self.storage.delete(key)
                deleted += 1
            except StorageUnavailable as error:
                log.warning("object left behind for the next collection", key=key, code=error.code)
        return deleted
