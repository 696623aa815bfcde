"""The data of the first release: what it left in a database of each kind, and how to put that into another."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import make_url

HERE: Final = Path(__file__).parent
SCHEMA: Final = "0001_spine"
KEYS: Final = {"ada": "key-of-ada-for-tests", "bob": "key-of-bob-for-tests"}
"""The callers whose tasks these are."""


async def load(url: str) -> None:
    """Put it into an empty database."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        load_file(Path(str(place.database)))
        return
    connection = await asyncpg.connect(place.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        await connection.execute(_text("postgresql"))
    finally:
        await connection.close()


def load_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(_text("sqlite"))


def _text(kind: str) -> str:
    return (HERE / f"{SCHEMA}.{kind}.sql").read_text(encoding="utf-8")
