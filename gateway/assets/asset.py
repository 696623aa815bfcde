"""An asset, as the library has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.words import index_text
from gateway.db.tables import assets
from gateway.types import Kind, MediaFamily

SMALL_SIDE: Final = 512
"""Pixels."""
SMALL_BYTES: Final = 64 * 1024
"""A picture that is no larger is its own thumbnail."""
PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"})
"""What every browser shows."""

Action = Literal["use", "download", "share", "view"]
"""What is done with an asset, each counted by itself."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A row of the library. Times are Unix seconds, sizes bytes, durations seconds."""

    id: str
    owner: str
    family: MediaFamily
    key: str
    """Its name in object storage."""
    mime: str
    size: int
    sha256: str
    width: int | None
    height: int | None
    seconds: float | None
    filename: str
    prompt: str
    model: str
    upstream: str
    kind: Kind | Literal[""]
    """Empty where it was made elsewhere."""
    task_id: str | None
    source_module: str
    """What brought it: `api`, `task`, or as who registered it says."""
    created_at: float
    metadata: dict[str, Any]
    request_id: str | None = None
    title: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    """Ids of the assets and files that it was made from; they may be gone by now."""
    cost: float | None = None
    currency: str | None = None
    generation_time: float | None = None
    is_favorite: bool = False
    use_count: int = 0
    download_count: int = 0
    share_count: int = 0
    view_count: int = 0
    thumbnail_key: str | None = None
    poster_key: str | None = None
    waveform: tuple[int, ...] | None = None
    """Peaks from 0 to 100, evenly over the length of an audio."""
    previewed_at: float | None = None
    missing_since: float | None = None
    updated_at: float | None = None

    @property
    def thumbnail(self) -> str | None:
        """The object to show of it in a list."""
        return thumbnail_of(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every object that belongs to it."""
        return tuple(key for key in (self.key, self.thumbnail_key, self.poster_key) if key)


def thumbnail_of(row: Any) -> str | None:
    """The object to show of an asset, or a row of it, in a list: its thumbnail, or itself if it is a small picture."""
    if row.thumbnail_key is not None:
        return str(row.thumbnail_key)
    longest = max(row.width or 0, row.height or 0)
    small = row.mime in PICTURES and row.size <= SMALL_BYTES and 0 < longest <= SMALL_SIDE
    return str(row.key) if small else None


@dataclass(frozen=True, slots=True)
class Changes:
    """What an owner may change of an asset; only what is named in `given` is."""

    title: str | None = None
    description: str | None = None
    prompt: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    is_favorite: bool = False
    given: frozenset[str] = frozenset()


COLUMNS = tuple(name for name in Asset.__dataclass_fields__)
"""The columns of the table that an Asset holds."""
_JSON = {"metadata": dict[str, Any], "tags": tuple[str, ...], "parents": tuple[str, ...], "waveform": tuple[int, ...]}


def asset_of(row: Any) -> Asset:
    """An Asset from a row that has (at least) COLUMNS."""
    values = {name: getattr(row, name) for name in COLUMNS}
    for name, shape in _JSON.items():
        if values[name] is not None:
            values[name] = msgspec.json.decode(values[name], type=shape)
    return Asset(**values)


def row_of(asset: Asset) -> dict[str, Any]:
    """Its row: COLUMNS, and what it is found by."""
    row = {name: getattr(asset, name) for name in COLUMNS}
    for name in _JSON:
        if row[name] is not None:
            row[name] = msgspec.json.encode(row[name]).decode()
    row["words"] = index_text(asset.owner, (asset.title, asset.description, asset.prompt), asset.tags)
    return row


def belongs(table: Table, owner: Any) -> ColumnElement[bool]:
    """That a row is `owner`'s, said so that no index is taken for it, where ids or keys say better which rows they are.

    SQLite takes it that every owner has ten rows, and would go through all of somebody's 60,000 to find twenty ids.
    """
    told: ColumnElement[bool] = table.c.owner.concat("") == owner
    return told


_BY_ID = select(*(assets.c[name] for name in COLUMNS)).where(
    assets.c.id.in_(bindparam("ids", expanding=True)), belongs(assets, bindparam("the_owner"))
)
"""Built once: building a statement costs more than running it."""


async def assets_by_id(connection: AsyncConnection, asset_ids: Sequence[str], owner: str) -> list[Asset]:
    """Assets in the order of their ids; those that are not there, or not `owner`'s, are left out."""
    rows = await connection.execute(_BY_ID, {"ids": list(asset_ids), "the_owner": owner}) if asset_ids else ()
    found = {row.id: asset_of(row) for row in rows}
    return [found[asset_id] for asset_id in asset_ids if asset_id in found]
