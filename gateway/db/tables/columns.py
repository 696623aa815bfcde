"""What all tables have in common: their registry and the columns they are made of.

`a_time` columns are Unix seconds as floats; sizes are bytes, other durations seconds. `as_json` columns hold JSON as
text: it is written and read whole, never searched, so both databases may keep it as it is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Double, MetaData, Text, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def an_id() -> Column[Any]:
    return Column("id", Text, primary_key=True)


def words(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def as_json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def a_time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Double, nullable=nullable)


def of_rows(condition: str) -> dict[str, Any]:
    """Of an index that holds only some rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
