"""Looking into a database of either kind, past the tables that this version knows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, inspect, text

from gateway.db.engine import Database

Seen = TypeVar("Seen")
Rows = dict[str, list[dict[str, Any]]]
"""By table, in an order of their own."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


async def execute(url: str, *statements: str) -> None:
    async with opened(url) as database, database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def look(url: str, at: Callable[[Connection], Seen]) -> Seen:
    async with opened(url) as database, database.read() as connection:
        return await connection.run_sync(at)


def revision(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def rows(connection: Connection) -> Rows:
    """Everything that is kept, but for what the database makes of it by itself."""
    found: Rows = {}
    for table in _tables(connection):
        kept = connection.execute(text(f"SELECT * FROM {table}")).mappings()
        found[table] = sorted(({name: row[name] for name in row if name != "vector"} for row in kept), key=repr)
    return found


def shape(connection: Connection) -> dict[str, Any]:
    """Every table with its columns, constraints, indexes and triggers, as the database tells them."""
    found = inspect(connection)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": _by_name(found.get_foreign_keys(table)),
            "unique": _by_name(found.get_unique_constraints(table)),
            "indexes": [{name: _plainly(told) for name, told in i.items()} for i in _by_name(found.get_indexes(table))],
            "checks": _by_name(found.get_check_constraints(table)),
            "triggers": _triggers(connection, table),
        }
        for table in _tables(connection)
    }


def found_by_words(connection: Connection) -> dict[str, set[str]]:
    """The ids of the assets that the full-text index has, by each word of theirs."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, asset_words, instance)"))
        seen = text("SELECT DISTINCT term, id FROM temp.words LEFT JOIN asset_index ON number = doc")
    else:
        seen = text("SELECT lexeme AS term, id FROM assets, unnest(vector)")
    found: dict[str, set[str]] = {}
    for row in connection.execute(seen):
        found.setdefault(row.term, set()).add(row.id)
    return found


def kept_words(connection: Connection) -> dict[str, set[str]]:
    """The same, by the column that the index is made from."""
    found: dict[str, set[str]] = {}
    for row in connection.execute(text("SELECT id, words FROM assets")):
        for word in row.words.split():
            found.setdefault(word, set()).add(row.id)
    return found


async def wipe(url: str) -> None:
    """Drop everything that is there."""
    async with opened(url) as database, database.write() as connection:
        for table in await connection.run_sync(_whole_tables):
            await connection.execute(
                text(f"DROP TABLE {table} CASCADE" if "postgresql" in url else f"DROP TABLE {table}")
            )


def _whole_tables(connection: Connection) -> list[str]:
    """Those that others refer to come last, and what a full-text index keeps goes along with it."""
    first = ["asset_words", "asset_index", "outputs", "turns", "collection_assets", "asset_parents", "asset_tags"]
    there = set(inspect(connection).get_table_names())
    rest = sorted(table for table in there if not table.startswith("asset_words_") and table not in first)
    return [table for table in first if table in there] + rest


def _tables(connection: Connection) -> list[str]:
    there = set(inspect(connection).get_table_names()) - {"alembic_version"}
    return sorted(table for table in there if not table.startswith("asset_words"))


def _triggers(connection: Connection, table: str) -> dict[str, str]:
    if connection.dialect.name != "sqlite":
        return {}
    told = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    return {row.name: " ".join(row.sql.split()) for row in connection.execute(told, {"table": table})}


def _plainly(told: Any) -> Any:
    """Conditions of indexes are objects of their own each time."""
    return {name: str(value) for name, value in told.items()} if isinstance(told, dict) else told


def _by_name(constraints: Any) -> list[Any]:
    return sorted(constraints, key=lambda constraint: str(constraint["name"]))
