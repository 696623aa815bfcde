import asyncio
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, make_url, select, text

from gateway.db.engine import open_engine
from gateway.db.migrate import HEAD, MIGRATIONS, REVISIONS, migrate, needs_migration, upgrade
from gateway.db.tables import metadata, settings
from gateway.errors import ConfigError
from tests.unit.db.looks import execute, look, opened, shape, wipe

pytestmark = pytest.mark.anyio


def differences(connection: Connection) -> list[Any]:
    opts = {"compare_type": True, "compare_server_default": True, "include_name": of_both}
    return list(compare_metadata(MigrationContext.configure(connection, opts=opts), metadata))


def of_both(name: str | None, sort: str, parents: Any) -> bool:
    """Whether it is something that both databases have: each has a full-text index of its own kind."""
    return not str(name).startswith(("asset_index", "asset_words", "vector", "ix_assets_vector"))


async def make_by_migrations(url: str) -> None:
    async with opened(url):
        await upgrade(url)


async def test_the_migrations_make_the_schema_of_the_tables(database_url: str) -> None:
    await make_by_migrations(database_url)
    assert await look(database_url, differences) == []


async def test_a_new_database_is_what_the_migrations_would_have_made(database_url: str) -> None:
    await migrate(database_url)
    assert await look(database_url, differences) == []
    created = await look(database_url, shape)
    await wipe(database_url)
    await make_by_migrations(database_url)
    assert by_name(await look(database_url, shape)) == by_name(created)


def by_name(found: dict[str, Any]) -> dict[str, Any]:
    """Columns in no order: those of a migration are added at the end."""
    named = {table: sorted(parts["columns"], key=lambda column: column["name"]) for table, parts in found.items()}
    return {table: {**parts, "columns": named[table]} for table, parts in found.items()}


async def test_tables_that_are_made_and_dropped_leave_nothing_behind(database_url: str) -> None:
    async with opened(database_url) as database, database.write() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(metadata.drop_all)
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    await migrate(database_url)
    async with opened(database_url) as database:
        assert not await needs_migration(database)
        async with database.write() as connection:
            await connection.execute(insert(settings).values(key="kept", value="v"))
    await migrate(database_url)
    assert await look(database_url, lambda connection: connection.scalar(select(settings.c.key))) == "kept"


async def test_an_older_schema_is_brought_forward(database_url: str) -> None:
    await execute(
        database_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "CREATE TABLE theirs (n INTEGER)",
        "INSERT INTO theirs VALUES (7)",
    )
    await migrate(database_url)
    assert await look(database_url, lambda connection: connection.scalar(text("SELECT n FROM theirs"))) == 7
    async with opened(database_url) as database:
        assert not await needs_migration(database)


async def test_a_step_that_fails_changes_nothing_and_is_told(database_url: str) -> None:
    await execute(
        database_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "CREATE TABLE usage (id INTEGER PRIMARY KEY)",
    )
    with pytest.raises(ConfigError, match=r"could not be brought up to date: .*usage.*already exists"):
        await migrate(database_url)
    tables = await look(database_url, lambda connection: inspect(connection).get_table_names())
    assert sorted(tables) == ["alembic_version", "usage"]


async def test_a_newer_schema_is_refused(database_url: str) -> None:
    await migrate(database_url)
    await execute(database_url, "UPDATE alembic_version SET version_num = '9999_future'")
    with pytest.raises(ConfigError, match="'9999_future' is newer than this mediagate"):
        await migrate(database_url)


async def test_tables_of_another_program_are_left_alone(database_url: str) -> None:
    await execute(database_url, "CREATE TABLE tasks (id INTEGER PRIMARY KEY)")
    with pytest.raises(ConfigError, match=r"tables of another program \(tasks\)"):
        await migrate(database_url)


async def test_replicas_that_start_at_once_make_one_schema(postgres_url: str) -> None:
    await asyncio.gather(*(migrate(postgres_url) for _ in range(4)))
    assert await look(postgres_url, lambda c: c.execute(text("SELECT version_num FROM alembic_version")).all()) == [
        (HEAD,)
    ]


async def test_replicas_that_upgrade_at_once_take_each_step_once(postgres_url: str) -> None:
    await asyncio.gather(*(upgrade(postgres_url) for _ in range(3)))
    assert await look(postgres_url, differences) == []


async def test_a_file_of_a_migration_is_named_as_its_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(REVISIONS))
    assert scripts.get_current_head() == HEAD


KEEPS_NO_MEMORY = """
import asyncio, sys
from gateway.db.migrate import migrate
asyncio.run(migrate(sys.argv[1]))
assert "alembic" not in sys.modules
"""


async def test_the_gateway_itself_never_loads_the_migration_tool(sqlite_url: str) -> None:
    await execute(sqlite_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    subprocess.run([sys.executable, "-c", KEEPS_NO_MEMORY, sqlite_url], check=True)
    engine = open_engine(make_url(sqlite_url))
    async with engine.connect() as connection:
        assert set(metadata.tables) <= set(await connection.run_sync(lambda c: inspect(c).get_table_names()))
    await engine.dispose()
