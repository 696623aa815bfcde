"""Collections: assets that somebody put together, in an order. An asset may be in many; none of them owns it.

Whoever changes what a collection holds locks its row first, so two who add at once take places one after the other.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection as Many
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.asset import belongs, thumbnail_of
from gateway.db.engine import Database
from gateway.db.tables import assets, collection_assets, collections
from gateway.errors import Conflict, InvalidRequest, NotFound

MOST_ASSETS: Final = 10_000
"""In one collection."""
NAMED: Final = 10
"""Ids that an error names, of however many it is about."""
_SHOWN_BY: Final = ("key", "thumbnail_key", "mime", "size", "width", "height")
"""What of an asset says what to show for it."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Times are Unix seconds."""

    id: str
    owner: str
    name: str
    description: str | None
    cover_asset_id: str | None
    """As chosen. None where none was, or what was chosen is no longer in it."""
    cover_key: str | None
    """The thumbnail of the cover, else of the first asset."""
    count: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What may be changed of a collection; only what is named in `given` is."""

    name: str = ""
    description: str | None = None
    cover_asset_id: str | None = None
    given: frozenset[str] = frozenset()


class Collections:
    def __init__(self, database: Database) -> None:
        self.database = database

    # --- reading ---

    async def page(self, owner: str, *, limit: int, offset: int) -> tuple[list[Collection], int]:
        """Those changed last first, and how many there are."""
        mine = collections.c.owner == owner
        newest = (collections.c.updated_at.desc(), collections.c.id.desc())
        chosen = select(collections).where(mine).order_by(*newest).limit(limit).offset(offset)
        async with self.database.look() as connection:
            total = (await connection.execute(select(func.count()).select_from(collections).where(mine))).scalar_one()
            return await _seen(connection, chosen), total

    async def get(self, collection_id: str, owner: str) -> Collection:
        """Raises NotFound, also for one that is not `owner`'s."""
        async with self.database.look() as connection:
            found = await _seen(connection, select(collections).where(_is(collection_id, owner)))
        if not found:
            raise _no_such(collection_id)
        return found[0]

    async def holds(self, collection_id: str, owner: str, *, limit: int, offset: int) -> tuple[list[str], int]:
        """A page of the ids of its assets, in its order, and how many it holds. Raises NotFound."""
        held = collection_assets.c.collection_id == collection_id
        page = select(collection_assets.c.asset_id).where(held).order_by(*_IN_ORDER).limit(limit).offset(offset)
        async with self.database.look() as connection:
            if (await connection.execute(select(collections.c.id).where(_is(collection_id, owner)))).first() is None:
                raise _no_such(collection_id)
            total = (await connection.execute(select(func.count()).where(held))).scalar_one()
            return list((await connection.execute(page)).scalars()), total

    # --- changing ---

    async def create(self, owner: str, name: str, description: str | None, asset_ids: Sequence[str] = ()) -> Collection:
        """Raises InvalidRequest for assets that are not there; nothing is made then."""
        collection_id, now = f"col_{secrets.token_hex(16)}", self.database.now()
        row = {
            "id": collection_id,
            "owner": owner,
            "name": name,
            "description": description,
            "created_at": now,
            "updated_at": now,
        }
        async with self.database.write() as connection:
            await connection.execute(insert(collections).values(row))
            await _put_in(connection, collection_id, owner, asset_ids, now)
        return await self.get(collection_id, owner)

    async def change(self, collection_id: str, owner: str, changes: Changes) -> Collection:
        """Raises NotFound, and InvalidRequest for a cover that is not in it."""
        now = self.database.now()
        values = {name: getattr(changes, name) for name in changes.given} | {"updated_at": now}
        async with self.database.write() as connection:
            await _locked(connection, collection_id, owner)
            if (cover := values.get("cover_asset_id")) is not None:
                await _check_cover(connection, collection_id, cover)
            await connection.execute(update(collections).where(collections.c.id == collection_id).values(values))
        return await self.get(collection_id, owner)

    async def delete(self, collection_id: str, owner: str) -> None:
        """The collection alone; its assets stay in the library. Raises NotFound."""
        async with self.database.write() as connection:
            gone = await connection.execute(delete(collections).where(_is(collection_id, owner)))
        if not gone.rowcount:
            raise _no_such(collection_id)

    async def put_in(self, collection_id: str, owner: str, asset_ids: Sequence[str]) -> int:
        """Add assets at its end; those it holds already keep their place. How many are new.

        Raises NotFound, InvalidRequest for assets that are not there and Conflict past MOST_ASSETS; none is added then.
        """
        now = self.database.now()
        async with self.database.write() as connection:
            await _locked(connection, collection_id, owner)
            added = await _put_in(connection, collection_id, owner, asset_ids, now)
            if added:
                await _touched(connection, collection_id, now)
        return added

    async def take_out(self, collection_id: str, owner: str, asset_ids: Many[str]) -> int:
        """How many it held of them. Raises NotFound for a collection that is not there."""
        named = and_(
            collection_assets.c.collection_id == collection_id, collection_assets.c.asset_id.in_(list(asset_ids))
        )
        async with self.database.write() as connection:
            await _locked(connection, collection_id, owner)
            gone = (await connection.execute(delete(collection_assets).where(named))).rowcount
            if gone:
                await _touched(connection, collection_id, self.database.now())
        return gone

    async def arrange(self, collection_id: str, owner: str, asset_ids: Sequence[str]) -> None:
        """Give its assets this order. Raises NotFound, and Conflict where they are not just those it holds."""
        async with self.database.write() as connection:
            await _locked(connection, collection_id, owner)
            held = collection_assets.c.collection_id == collection_id
            found = await connection.execute(
                select(collection_assets.c.asset_id, collection_assets.c.position).where(held)
            )
            before = {row.asset_id: row.position for row in found}
            _check_same(before.keys(), asset_ids)
            moved = [
                {"the_collection": collection_id, "the_asset": one, "the_position": at}
                for at, one in enumerate(asset_ids)
                if before[one] != at
            ]
            if moved:
                await connection.execute(_MOVE, moved)
            await _touched(connection, collection_id, self.database.now())


_IN_ORDER = (collection_assets.c.position, collection_assets.c.asset_id)
_MOVE = (
    update(collection_assets)
    .where(
        collection_assets.c.collection_id == bindparam("the_collection"),
        collection_assets.c.asset_id == bindparam("the_asset"),
    )
    .values(position=bindparam("the_position"))
)


def named(asset_ids: Many[str]) -> str:
    """Ids as an error names them."""
    some = sorted(asset_ids)[:NAMED]
    more = f" and {len(asset_ids) - NAMED} more" if len(asset_ids) > NAMED else ""
    return ", ".join(repr(one[:80]) for one in some) + more


def _is(collection_id: str, owner: str) -> ColumnElement[bool]:
    return and_(collections.c.id == collection_id, collections.c.owner == owner)


async def _seen(connection: AsyncConnection, chosen: Select[Any]) -> list[Collection]:
    """The chosen rows with what is told beside them: how many assets each holds, and what to show for it."""
    row = chosen.subquery("chosen")
    inside = collection_assets.c.collection_id == row.c.id
    count = select(func.count()).where(inside).scalar_subquery()
    first = select(collection_assets.c.asset_id).where(inside).order_by(*_IN_ORDER).limit(1).scalar_subquery()
    cover = (
        select(collection_assets.c.asset_id)
        .where(inside, collection_assets.c.asset_id == row.c.cover_asset_id)
        .scalar_subquery()
    )
    shown = assets.c.id == func.coalesce(cover, first)
    query = (
        select(row, count.label("holds"), cover.label("cover"), *(assets.c[name] for name in _SHOWN_BY))
        .select_from(row.outerjoin(assets, shown))
        .order_by(row.c.updated_at.desc(), row.c.id.desc())
    )
    return [
        Collection(
            id=found.id,
            owner=found.owner,
            name=found.name,
            description=found.description,
            cover_asset_id=found.cover,
            cover_key=thumbnail_of(found),
            count=found.holds,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )
        for found in await connection.execute(query)
    ]


async def _locked(connection: AsyncConnection, collection_id: str, owner: str) -> None:
    """Nobody else changes what it holds before this transaction ends. Raises NotFound."""
    query = select(collections.c.id).where(_is(collection_id, owner)).with_for_update()
    if (await connection.execute(query)).first() is None:
        raise _no_such(collection_id)


async def _touched(connection: AsyncConnection, collection_id: str, now: float) -> None:
    await connection.execute(update(collections).where(collections.c.id == collection_id).values(updated_at=now))


async def _put_in(
    connection: AsyncConnection, collection_id: str, owner: str, asset_ids: Sequence[str], now: float
) -> int:
    wanted = list(dict.fromkeys(asset_ids))
    if not wanted:
        return 0
    await _check_there(connection, owner, wanted)
    held = collection_assets.c.collection_id == collection_id
    rows = (
        await connection.execute(select(collection_assets.c.asset_id, collection_assets.c.position).where(held))
    ).all()
    here = {row.asset_id for row in rows}
    new = [one for one in wanted if one not in here]
    if len(here) + len(new) > MOST_ASSETS:
        raise Conflict(f"a collection holds at most {MOST_ASSETS} assets", code="collection_full")
    free = max((row.position for row in rows), default=-1) + 1
    places = [
        {"collection_id": collection_id, "asset_id": one, "position": free + at, "added_at": now}
        for at, one in enumerate(new)
    ]
    if places:
        await connection.execute(insert(collection_assets), places)
    return len(places)


async def _check_there(connection: AsyncConnection, owner: str, wanted: Sequence[str]) -> None:
    """Raises InvalidRequest naming those that are not there. The others stay until the transaction ends."""
    mine = and_(assets.c.id.in_(wanted), belongs(assets, owner))
    query = select(assets.c.id).where(mine).order_by(assets.c.id).with_for_update(read=True, key_share=True)
    unknown = set(wanted) - set((await connection.execute(query)).scalars())
    if unknown:
        raise InvalidRequest(f"no asset {named(unknown)}", param="asset_ids", code="asset_not_found")


async def _check_cover(connection: AsyncConnection, collection_id: str, asset_id: str) -> None:
    here = and_(collection_assets.c.collection_id == collection_id, collection_assets.c.asset_id == asset_id)
    if (await connection.execute(select(collection_assets.c.asset_id).where(here))).first() is None:
        raise InvalidRequest(
            f"'cover_asset_id': the collection holds no asset {asset_id[:80]!r}",
            param="cover_asset_id",
            code="asset_not_found",
        )


def _check_same(here: Set[str], asset_ids: Sequence[str]) -> None:
    given = set(asset_ids)
    wrong = []
    if strange := given - here:
        wrong.append(f"it does not hold {named(strange)}")
    if lacking := here - given:
        wrong.append(f"not named: {named(lacking)}")
    if wrong:
        raise Conflict(
            f"'asset_ids' must be just the assets of the collection: {'; '.join(wrong)}",
            param="asset_ids",
            code="order_mismatch",
            advice="Read its assets again and send all of them in the new order",
        )


def _no_such(collection_id: str) -> NotFound:
    return NotFound(f"no collection {collection_id[:80]!r}", param="collection_id", code="collection_not_found")
