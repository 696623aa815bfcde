"""The library: what was made, for whom, and under which key it is stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import assets
from gateway.types import Account, Kind, MediaFamily
from gateway.upstreams.base import Upstream

FIRST_ONLY = frozenset({"id", "created_at", "metadata"})
"""Columns that stay as they were when an asset is entered once more."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where media come from and whose they are."""

    owner: str
    kind: Kind
    model: str
    upstream: Upstream
    account: Account
    prompt: str = ""
    task_id: str | None = None
    source_module: str = "api"
    created_at: float | None = None
    """When what made them was asked for: a part of their keys. None: now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An asset: what is stored, as its bytes show it."""

    asset_id: str
    key: str
    mime: str
    size: int
    """Bytes."""
    width: int | None
    height: int | None
    seconds: float | None
    sha256: str


_ID = assets.c.id == bindparam("the_id")
_KEY_OF = select(assets.c.key).where(_ID)
_COLUMNS = ("id", "key", "mime", "size", "width", "height", "seconds", "sha256")
_KEPT = select(*(assets.c[name] for name in _COLUMNS)).where(_ID)
_NEW = insert(assets)
"""Built once: building a statement costs more than running it."""


class Library:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def enter(self, kept: Kept, family: MediaFamily, origin: Origin) -> str | None:
        """Enter an asset, or what is true of it now. Returns the key it had until now, where it was there already."""
        row = {**_row(kept, family, origin), "created_at": self.database.now(), "metadata": "{}"}
        try:
            return await self._entered(row)
        except IntegrityError:  # another process was first
            return await self._entered(row)

    async def _entered(self, row: dict[str, Any]) -> str | None:
        async def change(connection: AsyncConnection) -> str | None:
            named = {"the_id": row["id"]}
            before: str | None = (await connection.execute(_KEY_OF, named)).scalar_one_or_none()
            if before is None:
                await connection.execute(_NEW, row)
            else:
                truth = {name: value for name, value in row.items() if name not in FIRST_ONLY}
                await connection.execute(update(assets).where(assets.c.id == row["id"]).values(truth))
            return before

        return await self.database.writes.commit(change)

    async def find(self, asset_id: str) -> Kept | None:
        async with self.database.read() as connection:
            row = (await connection.execute(_KEPT, {"the_id": asset_id})).one_or_none()
        return None if row is None else Kept(*row)

    async def keys(self, task_id: str, owner: str) -> dict[str, str]:
        """The keys of what a task made, by asset id."""
        mine: ColumnElement[bool] = (assets.c.task_id == task_id) & (assets.c.owner == owner)
        async with self.database.read() as connection:
            return {row.id: row.key for row in await connection.execute(select(assets.c.id, assets.c.key).where(mine))}

    async def remove(self, asset_ids: Collection[str]) -> int:
        """Take assets out; how many were there. Their objects should be gone by then."""
        async with self.database.write() as connection:
            return (await connection.execute(delete(assets).where(assets.c.id.in_(asset_ids)))).rowcount


def _row(kept: Kept, family: MediaFamily, origin: Origin) -> dict[str, Any]:
    return {
        "id": kept.asset_id,
        "owner": origin.owner,
        "family": family,
        "key": kept.key,
        "mime": kept.mime,
        "size": kept.size,
        "sha256": kept.sha256,
        "width": kept.width,
        "height": kept.height,
        "seconds": kept.seconds,
        "filename": kept.key.rpartition("/")[2],
        "prompt": origin.prompt,
        "model": origin.model,
        "upstream": origin.upstream.name,
        "kind": origin.kind,
        "task_id": origin.task_id,
        "source_module": origin.source_module,
    }
