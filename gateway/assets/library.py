"""The library: what was made, for whom, and under which key it is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, and_, bindparam, delete, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.asset import COLUMNS, Action, Asset, Changes, asset_of, assets_by_id, belongs, row_of
from gateway.assets.references import References
from gateway.assets.words import sayable, tag_of
from gateway.db.engine import Database
from gateway.db.tables import asset_parents, asset_tags, assets, files
from gateway.errors import InvalidRequest, NotFound
from gateway.types import Account, Kind, MediaFamily
from gateway.upstreams.base import Upstream

T = TypeVar("T")
ANY: Final = "*"
"""No key: whichever it was."""
AT_ONCE: Final = 500
"""Ids in one statement."""
MEASURED: Final = ("key", "mime", "size", "sha256", "width", "height", "seconds")
"""What is true of an asset's bytes: all that changes where an asset is entered once more."""
UNSEEN: Final = {"thumbnail_key": None, "poster_key": None, "waveform": None, "previewed_at": None}
"""What is known of the looks of bytes that nobody has looked at."""


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
    request_id: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """The keys of what they were made from."""
    metadata: dict[str, Any] | None = None


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


_C = assets.c
_ID = _C.id == bindparam("the_id")
_MINE = and_(_ID, belongs(assets, bindparam("the_owner")))
_ALL = tuple(_C[name] for name in COLUMNS)
_KEYS = (_C.key, _C.thumbnail_key, _C.poster_key)
_ROW = select(*_ALL)
_LOCKED = _ROW.where(_MINE).with_for_update()
_KEPT = select(_C.id, _C.key, _C.mime, _C.size, _C.width, _C.height, _C.seconds, _C.sha256).where(_ID)
_OF_TASK = select(_C.id, _C.key).where(_C.task_id == bindparam("the_task"), belongs(assets, bindparam("the_owner")))
_BEFORE = select(_C.key, _C.sha256).where(_ID).with_for_update()
_NEW, _NEW_TAGS, _NEW_PARENTS = insert(assets), insert(asset_tags), insert(asset_parents)
_AGAIN = update(assets).where(_ID)
_TOGGLED = update(assets).where(_MINE).values(is_favorite=~_C.is_favorite).returning(_C.is_favorite)
_COUNTERS: dict[Action, ColumnElement[int]] = {
    "use": _C.use_count,
    "download": _C.download_count,
    "share": _C.share_count,
    "view": _C.view_count,
}
_COUNTED = {
    action: update(assets).where(_MINE).values({counter: counter + 1}).returning(*_ALL)
    for action, counter in _COUNTERS.items()
}
"""Statements are built once: building one costs more than running it."""


class Library:
    def __init__(self, database: Database, references: References) -> None:
        self.database = database
        self.references = references

    # --- entering ---

    async def enter(
        self, kept: Kept, family: MediaFamily, origin: Origin, *, instead_of: str | None = ANY
    ) -> str | None:
        """Enter an asset, or what is true of it now; `instead_of`: only where its key is still that one.

        Returns the key that nothing is known by now, where it was there already: the one until now, or the new one.
        """
        asset = _made(kept, family, origin, self.database.now())
        try:
            return await self._entered(asset, origin.sources, instead_of)
        except IntegrityError:  # another process was first
            return await self._entered(asset, origin.sources, instead_of)

    async def _entered(self, asset: Asset, sources: Sequence[str], instead_of: str | None) -> str | None:
        async def change(connection: AsyncConnection) -> str | None:
            before = (await connection.execute(_BEFORE, {"the_id": asset.id})).one_or_none()
            if before is None:
                parents = await _ids_by_key(connection, asset.owner, sources)
                await _write(connection, replace(asset, parents=tuple(parents)))
                return None
            if instead_of not in (ANY, before.key):
                return asset.key
            row = {name: getattr(asset, name) for name in MEASURED}
            row |= {"filename": asset.filename, "missing_since": None}
            row |= {} if before.sha256 == asset.sha256 else UNSEEN
            await connection.execute(_AGAIN.values(row), {"the_id": asset.id})
            return str(before.key)

        return await self.database.writes.commit(change)

    async def add(self, asset: Asset, *, file_id: str | None = None) -> Asset:
        """Enter what was made elsewhere. With `file_id` its bytes are those of that file of the same owner.

        Its parents must be assets or files of the owner. Raises InvalidRequest (`parents`), and NotFound
        (`file_not_found`).
        """
        _refuse_unsayable(asset)
        now = self.database.now()

        async def change(connection: AsyncConnection) -> Asset:
            full = asset if file_id is None else await _with_bytes(connection, asset, file_id, now)
            await _check_parents(connection, asset)
            await _write(connection, full)
            return full

        return await self.database.writes.commit(change)

    # --- looking up ---

    async def find(self, asset_id: str) -> Kept | None:
        async with self.database.read() as connection:
            row = (await connection.execute(_KEPT, {"the_id": asset_id})).one_or_none()
        return None if row is None else Kept(*row)

    async def get(self, asset_id: str, owner: str) -> Asset:
        """Raises NotFound (`asset_not_found`), also for one that is not `owner`'s."""
        return _there(asset_id, next(iter(await self.many([asset_id], owner)), None))

    async def many(self, asset_ids: Sequence[str], owner: str) -> list[Asset]:
        """Assets in the order of their ids; those that are not there, or not `owner`'s, are left out."""
        found: list[Asset] = []
        async with self.database.read() as connection:
            for some in _in_portions(asset_ids):
                found += await assets_by_id(connection, some, owner)
        return found

    async def keys(self, task_id: str, owner: str) -> dict[str, str]:
        """The keys of what a task made, by asset id."""
        async with self.database.read() as connection:
            rows = await connection.execute(_OF_TASK, {"the_task": task_id, "the_owner": owner})
            return {row.id: row.key for row in rows}

    # --- changing ---

    async def change(self, asset_id: str, owner: str, changes: Changes) -> Asset:
        """Raises NotFound (`asset_not_found`), and InvalidRequest for a text that no database takes."""
        _refuse_unsayable(changes)
        given = {name: getattr(changes, name) for name in changes.given}
        stamp: dict[str, Any] = {} if changes.given <= {"is_favorite"} else {"updated_at": self.database.now()}

        async def change(connection: AsyncConnection) -> Asset | None:
            row = (await connection.execute(_LOCKED, _named(asset_id, owner))).one_or_none()
            if row is None:
                return None
            asset = replace(asset_of(row), **given, **stamp)
            values = {name: value for name, value in row_of(asset).items() if name in (*given, *stamp, "words")}
            await connection.execute(_AGAIN.values(values), {"the_id": asset_id})
            if "tags" in given:
                await connection.execute(delete(asset_tags).where(asset_tags.c.asset_id == asset_id))
                await _write_tags(connection, asset)
            return asset

        return _there(asset_id, await self._committed(asset_id, change))

    async def toggle(self, asset_id: str, owner: str) -> bool:
        """Make it a favourite, or one no more; whether it is one now. Raises NotFound (`asset_not_found`)."""

        async def change(connection: AsyncConnection) -> bool | None:
            row = (await connection.execute(_TOGGLED, _named(asset_id, owner))).one_or_none()
            return None if row is None else bool(row.is_favorite)

        return _there(asset_id, await self._committed(asset_id, change))

    async def count(self, asset_id: str, owner: str, action: Action) -> Asset:
        """Count what was done with it. Raises NotFound (`asset_not_found`)."""

        async def change(connection: AsyncConnection) -> Asset | None:
            row = (await connection.execute(_COUNTED[action], _named(asset_id, owner))).one_or_none()
            return None if row is None else asset_of(row)

        return _there(asset_id, await self._committed(asset_id, change))

    async def _committed(self, asset_id: str, change: Callable[[AsyncConnection], Awaitable[T]]) -> T | None:
        """Ids that no database takes are those of nothing."""
        return await self.database.writes.commit(change) if sayable(asset_id) else None

    # --- removing ---

    async def remove(self, asset_ids: Collection[str], owner: str) -> list[str]:
        """Delete assets: their rows, then the objects that nothing else names. The ids of those that were there."""
        async with self.database.write() as connection:
            gone = [
                row for some in _in_portions(asset_ids) for row in await _deleted(connection, owner, _C.id.in_(some))
            ]
        return await self._dropped(gone)

    async def forget(self, task_id: str, owner: str) -> list[str]:
        """Delete what a task made, as `remove` does."""
        async with self.database.write() as connection:
            gone = await _deleted(connection, owner, _C.task_id == task_id)
        return await self._dropped(gone)

    async def _dropped(self, gone: Sequence[Any]) -> list[str]:
        keys = [key for _, *keys in gone for key in keys if key]
        await self.references.drop(keys)
        return [row.id for row in gone]


# --- rows ---


def _made(kept: Kept, family: MediaFamily, origin: Origin, now: float) -> Asset:
    return Asset(
        id=kept.asset_id,
        owner=origin.owner,
        family=family,
        key=kept.key,
        mime=kept.mime,
        size=kept.size,
        sha256=kept.sha256,
        width=kept.width,
        height=kept.height,
        seconds=kept.seconds,
        filename=_filename(kept.key),
        prompt=_plain(origin.prompt),
        model=origin.model,
        upstream=origin.upstream.name,
        kind=origin.kind,
        task_id=origin.task_id,
        source_module=origin.source_module,
        created_at=now,
        metadata=origin.metadata or {},
        request_id=origin.request_id,
        title=None if origin.title is None else _plain(origin.title),
        tags=tuple(map(_plain, origin.tags)),
    )


def _plain(text: str) -> str:
    """What a database takes of it: nothing that was paid for is lost over a character."""
    return text if sayable(text) else text.replace("\0", "").encode("utf-8", "replace").decode()


def _filename(key: str) -> str:
    return key.rpartition("/")[2]


async def _write(connection: AsyncConnection, asset: Asset) -> None:
    await connection.execute(_NEW, row_of(asset))
    await _write_tags(connection, asset)
    if asset.parents:
        parents = enumerate(asset.parents)
        rows = [{"asset_id": asset.id, "position": position, "parent_id": parent} for position, parent in parents]
        await connection.execute(_NEW_PARENTS, rows)


async def _write_tags(connection: AsyncConnection, asset: Asset) -> None:
    tags = dict.fromkeys(filter(None, map(tag_of, asset.tags)))
    if tags:
        rows = [{"asset_id": asset.id, "tag": tag, "owner": asset.owner} for tag in tags]
        await connection.execute(_NEW_TAGS, rows)


async def _deleted(connection: AsyncConnection, owner: str, which: ColumnElement[bool]) -> Sequence[Any]:
    gone = delete(assets).where(belongs(assets, owner), which).returning(_C.id, *_KEYS)
    return (await connection.execute(gone)).all()


async def _ids_by_key(connection: AsyncConnection, owner: str, keys: Sequence[str]) -> list[str]:
    """The assets, or else the files, of an owner that these objects belong to."""
    if not keys:
        return []
    found: dict[str, str] = {}
    for table in (files, assets):
        mine = select(table.c.key, table.c.id).where(table.c.key.in_(keys), belongs(table, owner))
        found |= {row.key: row.id for row in await connection.execute(mine.order_by(table.c.id))}
    return list(dict.fromkeys(found[key] for key in keys if key in found))


async def _check_parents(connection: AsyncConnection, asset: Asset) -> None:
    if not asset.parents:
        return
    mine = (select(t.c.id).where(t.c.id.in_(asset.parents), belongs(t, asset.owner)) for t in (assets, files))
    found = set((await connection.execute(union_all(*mine))).scalars())
    if missing := [parent for parent in asset.parents if parent not in found]:
        raise InvalidRequest(
            f"'parents' must name assets or files that are there: no {missing[0][:80]!r}", param="parents"
        )


async def _with_bytes(connection: AsyncConnection, asset: Asset, file_id: str, now: float) -> Asset:
    """The file stays locked until the asset is there as well, so that its object cannot lose its last name between."""
    mine = (files.c.id == file_id) & (files.c.owner == asset.owner)
    found = await connection.execute(select(files).where(mine).with_for_update()) if sayable(file_id) else None
    file = found.one_or_none() if found is not None else None
    if file is None or (file.expires_at is not None and file.expires_at <= now):
        raise NotFound(f"no file {file_id[:80]!r}", param="file_id", code="file_not_found")
    same = {name: getattr(file, name) for name in MEASURED}
    return replace(asset, **same)


def _in_portions(ids: Collection[str]) -> Iterator[list[str]]:
    known = [one for one in dict.fromkeys(ids) if sayable(one)]
    return (known[at : at + AT_ONCE] for at in range(0, len(known), AT_ONCE))


def _named(asset_id: str, owner: str) -> dict[str, str]:
    return {"the_id": asset_id, "the_owner": owner}


def _there(asset_id: str, found: T | None) -> T:
    if found is None:
        raise NotFound(f"no asset {asset_id[:80]!r}", code="asset_not_found")
    return found


def _refuse_unsayable(said: Asset | Changes) -> None:
    for field in fields(said):
        value = getattr(said, field.name)
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and not sayable(text) for text in texts):
            raise InvalidRequest(f"'{field.name}' must not hold a NUL character", param=field.name)
