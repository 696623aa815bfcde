"""Bring the schema of a database up to date, or back to that of an older version.

A new database gets the tables as they are now, in one transaction. An older one is brought forward by Alembic in a
process of its own, so that the gateway never holds the memory of a tool it needs once a release. Every move is one
transaction: however it ends, the schema is the old one or the new one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

import gateway
from gateway.db.engine import Database, open_engine
from gateway.db.tables import metadata
from gateway.errors import ConfigError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
REVISIONS: Final = tuple(sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""Every schema there was, oldest first. A file is named as its revision."""
HEAD: Final = REVISIONS[-1]

MIGRATION_SECONDS: Final = 900.0
LOCK_LOOKS: Final = 4500
URL_VARIABLE: Final = "GATEWAY_MIGRATION_URL"
ADVISORY_LOCK: Final = 0x6D656469_61676174
"""`mediagat` as a number: the lock by which replicas on PostgreSQL migrate one after another."""

Way = Literal["upgrade", "downgrade"]


async def migrate(database_url: str, to: str = HEAD) -> None:
    """Make the schema what this version needs, or `to`; nothing where it is. Call it before the database is opened.

    Going back forgets what the older schema has no room for. Raises ConfigError where the schema is newer than this
    version or not ours, where there is no schema `to`, or where a step failed; DatabaseUnavailable where the database
    cannot be reached.
    """
    if to not in REVISIONS:
        raise ConfigError(f"there is no schema '{to}'; those that can be moved to are {', '.join(REVISIONS)}")
    database = Database(database_url)
    await database.start()
    try:
        revision = await _known_revision(database)
        if revision == to:
            return
        if revision is None and to == HEAD and await _made_new(database):
            return
        await _move_apart(database_url, _way(revision, to), to)
    finally:
        await database.close()


async def needs_migration(database: Database) -> bool:
    """One look at the recorded revision. Raises ConfigError where this version cannot work with it."""
    return await _known_revision(database) != HEAD


async def _known_revision(database: Database) -> str | None:
    async with database.read() as connection:
        revision = await connection.run_sync(_revision)
    if revision not in (None, "", *REVISIONS):
        raise ConfigError(
            f"database_url: the schema '{revision}' is newer than this mediagate, which knows '{HEAD}'; "
            "install the newer version, or use another database"
        )
    return revision


async def _made_new(database: Database) -> bool:
    """Make all tables, unless another replica did meanwhile."""
    async with database.write() as connection:
        await lock_out_others(connection)
        if await connection.run_sync(_revision) is not None:
            return False
        await connection.run_sync(_create)
        return True


def _way(revision: str | None, to: str) -> Way:
    back = revision in REVISIONS and REVISIONS.index(to) < REVISIONS.index(revision)
    return "downgrade" if back else "upgrade"


async def lock_out_others(connection: AsyncConnection) -> None:
    """Until this transaction ends, no other replica migrates. On SQLite the write lock does it.

    Looked for, not waited for: whoever has the lock may need longer than one statement is given.
    """
    if connection.dialect.name != "postgresql":
        return
    query, key = text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
    for _ in range(LOCK_LOOKS):
        if (await connection.execute(query, key)).scalar_one():
            return
        await asyncio.sleep(MIGRATION_SECONDS / LOCK_LOOKS)
    raise ConfigError(f"database_url: another process has been migrating for {MIGRATION_SECONDS:.0f} s")


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


async def _move_apart(database_url: str, way: Way, to: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.db.migrate", way, to),
        env=_environment(os.environ, database_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    failed = f"database_url: the schema could not be brought {'up to date' if to == HEAD else f'to {to}'}"
    try:
        async with asyncio.timeout(MIGRATION_SECONDS):
            said = await process.stderr.read()
            await process.wait()
    except TimeoutError:
        raise ConfigError(f"{failed} within {MIGRATION_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = said.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {process.returncode}"
        raise ConfigError(f"{failed}: {reason}")


def _environment(env: Mapping[str, str], database_url: str) -> dict[str, str]:
    """The URL may hold a password: the environment shows it to fewer than the command line would."""
    here = str(Path(gateway.__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, env.get("PYTHONPATH"))))
    return {**env, URL_VARIABLE: database_url, "PYTHONPATH": path}


async def upgrade(database_url: str, revision: str = HEAD) -> None:
    """Run Alembic here and now, in one transaction. The caller holds the database."""
    await _move(database_url, "upgrade", revision)


async def downgrade(database_url: str, revision: str) -> None:
    """The same, back to an older schema."""
    await _move(database_url, "downgrade", revision)


async def _move(database_url: str, way: Way, revision: str) -> None:
    engine = open_engine(make_url(database_url), statement_seconds=MIGRATION_SECONDS)
    _let_go_of_references(engine)
    try:
        async with engine.begin() as connection:
            await lock_out_others(connection)
            await connection.run_sync(_run_alembic, way, revision)
            await connection.run_sync(_check_references)
    finally:
        await engine.dispose()


def _let_go_of_references(engine: AsyncEngine) -> None:
    """A SQLite table that is copied and dropped must not take along the rows that refer to it."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.close()


def _check_references(connection: Connection) -> None:
    """What SQLite did not watch over meanwhile."""
    if connection.dialect.name == "sqlite" and (row := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
        raise ConfigError(f"a row of {row[0]} would refer to one of {row[2]} that is not there")


def _run_alembic(connection: Connection, way: Way, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[way](config, revision)


def main() -> None:
    """`upgrade` or `downgrade` the database named in the environment; what goes wrong is the last line said."""
    threading.Thread(target=_end_with_whoever_began_this, daemon=True).start()
    way, revision = sys.argv[1:]
    move = {"upgrade": upgrade, "downgrade": downgrade}[way]
    try:
        asyncio.run(move(os.environ[URL_VARIABLE], revision))
    except (ConfigError, DBAPIError, OSError) as error:
        sys.exit(str(getattr(error, "orig", None) or error) or type(error).__name__)


def _end_with_whoever_began_this() -> None:
    """They hold the other end of stdin. Without them nobody keeps others off the database, so nothing is committed."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
