"""What an asset was made from, and what was made from it, within the things of its owner."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.asset import Asset, assets_by_id, belongs
from gateway.assets.files import File
from gateway.assets.words import sayable
from gateway.db.engine import Database
from gateway.db.tables import asset_parents, assets, files
from gateway.errors import NotFound

DEPTH: Final = 10
"""Generations that are followed at most."""
MOST: Final = 200
"""Relatives that are told in one direction."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A thing that an asset comes from, or that comes from it."""

    id: str
    generation: int
    """1 for parents and children, 2 for theirs, …"""
    of: str
    """The id of the one by which it was reached, a generation nearer."""
    asset: Asset | None = None
    """None where it is a file, or gone."""
    file: File | None = None


@dataclass(frozen=True, slots=True)
class Line:
    relatives: list[Relative]
    """The nearest first, each once, however many ways lead to it."""
    complete: bool
    """Whether these are all."""


Step = Callable[[str, Collection[str], int], Select[Any]]
"""The query for a generation: its `id`s and by whom they are reached (`of`), of an owner, from some ids, how many."""


class Lineage:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def ancestors(self, asset_id: str, owner: str, *, depth: int = DEPTH, most: int = MOST) -> Line:
        """Those that are gone are told as well, by their ids. Raises NotFound (`asset_not_found`)."""
        return await self._line(_parents, asset_id, owner, depth, most)

    async def descendants(self, asset_id: str, owner: str, *, depth: int = DEPTH, most: int = MOST) -> Line:
        """Raises NotFound (`asset_not_found`)."""
        return await self._line(_children, asset_id, owner, depth, most)

    async def _line(self, step: Step, asset_id: str, owner: str, depth: int, most: int) -> Line:
        """An asset that comes from itself, in whatever way, is no relative of its own."""
        async with self.database.look() as connection:
            if not sayable(asset_id) or not await assets_by_id(connection, [asset_id], owner):
                raise NotFound(f"no asset {asset_id[:80]!r}", code="asset_not_found")
            found: dict[str, Relative] = {}
            nearer = [asset_id]
            for generation in range(1, depth + 2):
                rows = await connection.execute(step(owner, nearer, most + len(found) + 2))
                new = {row.id: row.of for row in rows if row.id != asset_id and row.id not in found}
                if not new:
                    return Line(list(found.values()), complete=True)
                if generation > depth:
                    break
                room = dict(list(new.items())[: most - len(found)])
                found |= await _known(connection, owner, generation, room)
                if len(room) < len(new):
                    break
                nearer = list(new)
            return Line(list(found.values()), complete=False)


async def _known(connection: AsyncConnection, owner: str, generation: int, of: dict[str, str]) -> dict[str, Relative]:
    """What is there of some ids."""
    mine = {asset.id: asset for asset in await assets_by_id(connection, list(of), owner)}
    rows = await connection.execute(select(files).where(files.c.id.in_(of), belongs(files, owner)))
    brought = {row.id: File(**{name: row._mapping[name] for name in File.__dataclass_fields__}) for row in rows}
    return {one: Relative(one, generation, of[one], mine.get(one), brought.get(one)) for one in of}


def _parents(owner: str, ids: Collection[str], most: int) -> Select[Any]:
    link, place = asset_parents.c, func.min(asset_parents.c.position)
    own = asset_parents.join(assets, (assets.c.id == link.asset_id) & belongs(assets, owner))
    query = select(link.parent_id.label("id"), func.min(link.asset_id).label("of")).select_from(own)
    return query.where(link.asset_id.in_(ids)).group_by(link.parent_id).order_by(place, link.parent_id).limit(most)


def _children(owner: str, ids: Collection[str], most: int) -> Select[Any]:
    link, made = asset_parents.c, func.min(assets.c.created_at)
    own = asset_parents.join(assets, (assets.c.id == link.asset_id) & belongs(assets, owner))
    query = select(link.asset_id.label("id"), func.min(link.parent_id).label("of")).select_from(own)
    return query.where(link.parent_id.in_(ids)).group_by(link.asset_id).order_by(made, link.asset_id).limit(most)
