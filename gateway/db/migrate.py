"""Bring the schema of a database up to date.

A new database gets the tables as they are now, in one transaction. An older one is brought forward by Alembic in a
process of its own, so that the gateway never holds the memory of a tool it needs once a release.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

import gateway
from gateway.db.engine import Database, open_engine
from gateway.db.tables import metadata
from gateway.errors import ConfigError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
REVISIONS: Final = tuple(sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""Every schema there was, oldest first. A file is named as its revision."""
HEAD: Final = REVISIONS[-1]

MIGRATION_SECONDS: Final = 900.0
URL_VARIABLE: Final = "GATEWAY_MIGRATION_URL"
ADVISORY_LOCK: Final = 0x6D656469_61676174
"""`mediagat` as a number: the lock by which replicas on PostgreSQL migrate one after another."""


async def migrate(database_url: str) -> None:
    """Make the schema what this version needs; nothing where it is. To be called before the database is opened.

    Raises ConfigError where the schema is newer than this version or not ours, or where a step failed;
    DatabaseUnavailable where the database cannot be reached.
    """
    database = Database(database_url)
    await database.start()
    try:
        if not await needs_migration(database):
            return
        async with database.write() as connection:
            await lock_out_others(connection)
            if await connection.run_sync(_revision) is None:
                await connection.run_sync(_create)
                return
        await _upgrade_apart(database_url)
    finally:
        await database.close()


async def needs_migration(database: Database) -> bool:
    """One look at the recorded revision. Raises ConfigError where this version cannot work with it."""
    async with database.read() as connection:
        revision = await connection.run_sync(_revision)
    if revision not in (None, "", *REVISIONS):
        raise ConfigError(
            f"database_url: the schema '{revision}' is newer than this mediagate, which knows '{HEAD}'; "
            "install the newer version, or use another database"
        )
    return revision != HEAD


async def lock_out_others(connection: AsyncConnection) -> None:
    """Until this transaction ends, no other replica migrates. On SQLite the write lock does it."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})


def _revision(connection: Connection) -> str | None:
    """What the database says of itself; empty if it says nothing, None if nothing of ours is there."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""
    if foreign := sorted(tables & set(metadata.tables)):
        raise ConfigError(
            f"database_url: holds tables of another program ({', '.join(foreign)}); use a database of its own, "
            "or on PostgreSQL a schema: …?search_path=mediagate"
        )
    return None


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})


async def _upgrade_apart(database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.db.migrate"),
        env=_environment(os.environ, database_url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MIGRATION_SECONDS):
            _, said = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        reason = said.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {process.returncode}"
        raise ConfigError(f"database_url: the schema could not be brought up to date: {reason}")


def _environment(env: Mapping[str, str], database_url: str) -> dict[str, str]:
    """The URL may hold a password: the environment shows it to fewer than the command line would."""
    here = str(Path(gateway.__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, env.get("PYTHONPATH"))))
    return {**env, URL_VARIABLE: database_url, "PYTHONPATH": path}


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Run Alembic here and now, in one transaction. The caller holds the database."""
    engine = open_engine(make_url(database_url))
    try:
        async with engine.begin() as connection:
            await lock_out_others(connection)
            await connection.run_sync(_run_alembic, revision)
    finally:
        await engine.dispose()


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def main() -> None:
    """Upgrade the database named in the environment; what goes wrong is the last line said."""
    try:
        asyncio.run(upgrade(os.environ[URL_VARIABLE]))
    except (DBAPIError, OSError) as error:
        sys.exit(str(getattr(error, "orig", None) or error))


if __name__ == "__main__":
    main()
