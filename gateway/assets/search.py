"""Finding assets: lists, filters, full text. Everything is asked for one owner at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.asset import Asset, assets_by_id, belongs
from gateway.assets.stats import DAY, Facets, Stats, stats_of
from gateway.assets.words import asked_of, fts5, sayable, tsquery
from gateway.db.engine import Database
from gateway.db.tables import asset_tags, assets, collection_assets, collections
from gateway.errors import InvalidRequest
from gateway.types import MediaFamily

Order = Literal["-created_at", "created_at", "-updated_at", "updated_at", "-size", "size", "-use_count", "use_count"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
"""By what, the greatest first where there is a minus. Equal ones come in the order in which they were made."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for; all that is given must be true of an asset."""

    family: MediaFamily | None = None
    source_module: str | None = None
    provider: str | None = None
    """The name of the upstream."""
    model: str | None = None
    kind: str | None = None
    tags: tuple[str, ...] = ()
    """All of them."""
    favorites_only: bool = False
    collection: str | None = None
    """The id of one of the owner's."""
    since: float | None = None
    """Unix seconds, this moment included."""
    until: float | None = None
    """Unix seconds, this moment left out."""
    search: str | None = None
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    assets: list[Asset]
    total: int
    """How many there are on all pages."""


_indexed = Table(
    "asset_index",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("id", Text),
    Column("owner", Text),
    Column("created_at", Double),
    Column("family", Text),
    Column("upstream", Text),
    Column("model", Text),
    Column("kind", Text),
    Column("source_module", Text),
    Column("is_favorite", Boolean),
    Column("size", BigInteger),
    Column("use_count", Integer),
    Column("updated_at", Double),
    Column("task_id", Text),
    Column("cost", Double),
    Column("currency", Text),
)
_words = Table("asset_words", MetaData(), Column("rowid", Integer, primary_key=True))
"""What SQLite searches in."""

_EQUAL: Final = {
    "family": "family",
    "source_module": "source_module",
    "provider": "upstream",
    "model": "model",
    "kind": "kind",
    "task_id": "task_id",
}
"""Filters that are a column's value."""


class Search:
    """Its methods raise InvalidRequest where a filter cannot be, as a search without a letter or a digit (`search`)."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sqlite = database.url.get_backend_name() == "sqlite"

    async def page(
        self, owner: str, filters: Filters, *, order: Order = "-created_at", limit: int = 20, offset: int = 0
    ) -> Page:
        """`limit` assets after the first `offset` ones."""
        chosen = self._chosen(owner, filters)
        found = chosen.of(chosen.table.c.id, *_keys(chosen.table, order))
        if chosen.by_words:  # what is found by words is looked up once, for both
            hits = found.cte("hits").prefix_with("MATERIALIZED")
            found, total = select(*hits.c), select(func.count()).select_from(hits)
        else:
            total = chosen.of(func.count())
        shown = found.add_columns(total.scalar_subquery()).order_by(*_sorting(found.selected_columns, order))
        async with self.database.look() as connection:
            rows = (await connection.execute(shown.limit(limit).offset(offset))).all()
            count = rows[0][-1] if rows else (await connection.execute(total)).scalar_one()
            return Page(await assets_by_id(connection, [row.id for row in rows], owner), count)

    async def walk(self, owner: str, filters: Filters, *, batch: int = 200) -> AsyncGenerator[list[Asset]]:
        """All of them, newest first, a batch at a time. What is entered or goes meanwhile may be left out."""
        chosen = self._chosen(owner, filters)
        c = chosen.table.c
        found = chosen.of(c.id, c.created_at).order_by(c.created_at.desc(), c.id.desc()).limit(batch)
        after = found
        while True:
            async with self.database.look() as connection:
                rows = (await connection.execute(after)).all()
                some = await assets_by_id(connection, [row.id for row in rows], owner)
            if some:
                yield some
            if len(rows) < batch:
                return
            last = tuple_(literal(rows[-1].created_at, Double), literal(rows[-1].id, Text))
            after = found.where(tuple_(c.created_at, c.id) < last)

    async def stats(self, owner: str, filters: Filters) -> Stats:
        chosen = self._chosen(owner, filters)
        c = chosen.table.c
        sums = (func.count().label("count"), func.sum(c.size).label("size"), func.sum(c.cost).label("cost"))
        sorts = (c.family, c.upstream, c.model, c.currency, c.is_favorite)
        day = cast(c.created_at / DAY, Integer) if self._sqlite else cast(func.floor(c.created_at / DAY), Integer)
        async with self.database.look() as connection:
            by_sort = (await connection.execute(chosen.of(*sorts, *sums).group_by(*sorts))).all()
            days = chosen.of(day.label("day"), c.currency, *sums)
            by_day = (await connection.execute(days.group_by(literal_column("day"), c.currency))).all()
        return stats_of(by_sort, by_day)

    async def facets(self, owner: str, *, most: int = 100) -> Facets:
        """The models and tags that there are, the `most` frequent of each."""
        async with self.database.look() as connection:
            return Facets(
                await _counted(connection, assets, "model", owner, most),
                await _counted(connection, asset_tags, "tag", owner, most),
            )

    def _chosen(self, owner: str, filters: Filters) -> _Chosen:
        """What belongs to an owner and passes the filters."""
        for field in fields(filters):
            _refuse_unsayable(field.name, getattr(filters, field.name))
        chosen = self._found(owner, filters)
        c = chosen.table.c
        where = [c[column] == value for name, column in _EQUAL.items() if (value := getattr(filters, name))]
        where += [c.is_favorite.is_(true())] if filters.favorites_only else []
        where += [c.created_at >= filters.since] if filters.since is not None else []
        where += [c.created_at < filters.until] if filters.until is not None else []
        where += [c.id.in_(_collected(owner, filters.collection))] if filters.collection is not None else []
        return replace(chosen, where=(*chosen.where, *where))

    def _found(self, owner: str, filters: Filters) -> _Chosen:
        """Where assets are looked for, and by what words: on SQLite, the full-text index has a table of its own."""
        if filters.search is None and not filters.tags:
            few = filters.collection is not None or filters.task_id is not None
            return _Chosen(assets, assets, (belongs(assets, owner) if few else assets.c.owner == owner,))
        terms = asked_of(owner, filters.tags, filters.search)
        if self._sqlite:
            rows = _words.join(_indexed, _indexed.c.number == _words.c.rowid)
            matched: ColumnElement[bool] = literal_column("asset_words").bool_op("MATCH")(fts5(terms))
            return _Chosen(_indexed, rows, (_indexed.c.owner == owner, matched), by_words=True)
        matched = literal_column("assets.vector").bool_op("@@")(cast(literal(tsquery(terms), Text), TSQUERY))
        return _Chosen(assets, assets, (assets.c.owner == owner, matched), by_words=True)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Assets that pass the filters."""

    table: Table
    """Whose columns tell of them."""
    rows: FromClause
    where: tuple[ColumnElement[bool], ...]
    by_words: bool = False

    def of(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).select_from(self.rows).where(*self.where)


def _keys(table: Table, order: Order) -> list[ColumnElement[Any]]:
    """What is sorted by, as columns `a`, `b`, …, of which equal ones are told apart by `id`."""
    name = order.removeprefix("-")
    made = table.c.created_at
    if name == "created_at":
        return [made.label("a")]
    return [
        (func.coalesce(table.c.updated_at, made) if name == "updated_at" else table.c[name]).label("a"),
        made.label("b"),
    ]


def _sorting(columns: Any, order: Order) -> list[ColumnElement[Any]]:
    keys = [columns[name] for name in ("a", "b", "id") if name in columns]
    return [key.desc() for key in keys] if order.startswith("-") else keys


def _collected(owner: str, collection: str) -> Select[Any]:
    held = collection_assets.join(collections, collections.c.id == collection_assets.c.collection_id)
    mine = (collections.c.id == collection) & (collections.c.owner == owner)
    return select(collection_assets.c.asset_id).select_from(held).where(mine)


async def _counted(connection: AsyncConnection, table: Table, name: str, owner: str, most: int) -> dict[str, int]:
    value, count = table.c[name], func.count()
    query = select(value, count).where(table.c.owner == owner, value != "").group_by(value)
    return {row[0]: row[1] for row in await connection.execute(query.order_by(count.desc(), value).limit(most))}


def _refuse_unsayable(name: str, value: Any) -> None:
    texts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(text, str) and not sayable(text) for text in texts):
        raise InvalidRequest(f"'{name}' must not hold a NUL character", param=name)
