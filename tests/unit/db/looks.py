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
    """Everything that is kept."""
    found: Rows = {}
    for table in _tables(connection):
        kept = connection.execute(text(f"SELECT * FROM {table}")).mappings()
        found[table] = sorted((dict(row) for row in kept), key=repr)
    return found


def shape(connection: Connection) -> dict[str, Any]:
    """Every table with its columns, constraints and indexes, as the database tells them."""
    found = inspect(connection)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": found.get_foreign_keys(table),
            "unique": _by_name(found.get_unique_constraints(table)),
            "indexes": _by_name(found.get_indexes(table)),
            "checks": _by_name(found.get_check_constraints(table)),
        }
        for table in _tables(connection)
    }


def _tables(connection: Connection) -> list[str]:
    return sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})


def _by_name(constraints: Any) -> list[Any]:
    return sorted(constraints, key=lambda constraint: str(constraint["name"]))
