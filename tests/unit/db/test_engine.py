import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import exc, insert, select, text

from gateway.db import engine
from gateway.db.engine import Database, to_the_end
from gateway.db.migrate import migrate
from gateway.db.tables import outputs, settings
from gateway.errors import ConfigError, DatabaseUnavailable

pytestmark = pytest.mark.anyio

SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(5)",
}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url)
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    await migrate(sqlite_url)
    async with opened(sqlite_url) as database:
        yield database


async def put(database: Database, key: str, value: str = "v") -> None:
    async with database.write() as connection:
        await connection.execute(insert(settings).values(key=key, value=value))


async def keys(database: Database) -> set[str]:
    async with database.read() as connection:
        return set((await connection.execute(select(settings.c.key))).scalars())


async def test_what_was_committed_is_there_after_opening_again(database_url: str) -> None:
    await migrate(database_url)
    async with opened(database_url) as database:
        await put(database, "kept")
    async with opened(database_url) as database:
        assert await keys(database) == {"kept"}


async def test_a_block_that_raises_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.write() as connection:
            await connection.execute(insert(settings).values(key="lost", value="v"))
            raise LookupError
    await put(database, "kept")
    assert await keys(database) == {"kept"}


async def test_reading_never_commits(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(insert(settings).values(key="lost", value="v"))
    assert await keys(database) == set()


@pytest.mark.parametrize("moment", ["between statements", "in a statement"])
async def test_a_cancelled_write_rolls_back_and_leaves_the_database_usable(database: Database, moment: str) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(insert(settings).values(key="lost", value="v"))
            inside.set()
            if moment == "in a statement":
                await connection.execute(text(SLOW[connection.dialect.name]))
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await inside.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await put(database, "kept")
    assert await keys(database) == {"kept"}


async def test_cancelling_those_who_wait_for_their_turn_disturbs_nobody(database: Database) -> None:
    tasks = [asyncio.create_task(put(database, f"k{number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    done = {f"k{number}" for number, task in enumerate(tasks) if not task.cancelled()}
    assert {f"k{number}" for number in range(0, 20, 2)} <= done
    assert await keys(database) == done


async def test_what_must_not_stop_half_way_ends_before_the_cancellation_is_raised() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        await asyncio.sleep(0.02)
        ended = True

    task = asyncio.create_task(to_the_end(work()))
    for _ in range(2):
        await asyncio.sleep(0.005)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_concurrent_writers_lose_no_update(database: Database) -> None:
    await put(database, "n", "0")

    async def add() -> None:
        async with database.write() as connection:
            locked = select(settings.c.value).where(settings.c.key == "n").with_for_update()
            number = int((await connection.execute(locked)).scalar_one())
            await connection.execute(settings.update().where(settings.c.key == "n").values(value=str(number + 1)))

    await asyncio.gather(*(add() for _ in range(30)))
    async with database.read() as connection:
        assert (await connection.execute(select(settings.c.value))).scalar_one() == "30"


async def test_a_broken_rule_is_told_as_it_is(database: Database) -> None:
    await put(database, "a")
    with pytest.raises(exc.IntegrityError):
        await put(database, "a")
    with pytest.raises(exc.IntegrityError):
        async with database.write() as connection:
            await connection.execute(insert(outputs).values(id="o", task_id="nobody", position=0, state="queued"))
    await put(database, "b")


async def test_a_transaction_inside_a_transaction_is_refused_and_not_waited_for(sqlite: Database) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"):
        async with sqlite.write(), sqlite.read():
            pass
    await put(sqlite, "usable")


async def seen(database: Database) -> set[str]:
    async with database.look() as connection:
        return set((await connection.execute(select(settings.c.key))).scalars())


async def test_whoever_looks_sees_what_was_committed(database: Database) -> None:
    assert await seen(database) == set()
    for number in range(3):
        await put(database, f"k{number}")
        assert await seen(database) == {f"k{past}" for past in range(number + 1)}


async def test_whoever_looks_holds_up_nobody_who_writes(database: Database) -> None:
    async with database.look() as connection:
        first = set((await connection.execute(select(settings.c.key))).scalars())
        for number in range(20):
            await asyncio.create_task(put(database, f"k{number}"))
        await put(database, "also from the same task")
        assert await keys(database) == {*(f"k{number}" for number in range(20)), "also from the same task"}
    assert first == set()
    assert await seen(database) == await keys(database)


async def test_a_write_goes_on_while_a_long_statement_looks(database: Database) -> None:
    async def long() -> None:
        async with database.look() as connection:
            inside.set()
            await connection.execute(text(SLOW[connection.dialect.name]))

    inside = asyncio.Event()
    looking = asyncio.create_task(long())
    await inside.wait()
    await put(database, "meanwhile")
    assert not looking.done()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert await seen(database) == {"meanwhile"}


async def test_a_closed_database_is_unavailable(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(DatabaseUnavailable):
        await keys(database)
    await database.close()


# --- SQLite ---


async def test_sqlite_is_set_up_for_durability(sqlite: Database) -> None:
    async with sqlite.read() as connection:
        found = {
            pragma: (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


async def test_whoever_looks_can_neither_write_nor_checkpoint(sqlite: Database) -> None:
    async with sqlite.look() as connection:
        for pragma, value in (("query_only", 1), ("wal_autocheckpoint", 0), ("busy_timeout", 5000)):
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one() == value
        with pytest.raises(exc.OperationalError, match="readonly"):
            await connection.execute(insert(settings).values(key="k", value="v"))
    with pytest.raises(DatabaseUnavailable):
        async with sqlite.look() as connection:
            await connection.execute(insert(settings).values(key="k", value="v"))
    assert await keys(sqlite) == set()


async def test_a_look_inside_a_look_is_refused_and_not_waited_for(sqlite: Database) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"):
        async with sqlite.look(), sqlite.look():
            pass
    assert await seen(sqlite) == set()


async def test_closing_waits_for_whoever_looks_and_leaves_one_whole_file(sqlite_url: str) -> None:
    """The connection that writes is the last one to go, so it is the one that puts everything into the file."""
    await migrate(sqlite_url)
    ended: list[str] = []
    async with opened(sqlite_url) as database:
        await put(database, "kept")

        async def look() -> None:
            async with database.look() as connection:
                await connection.execute(select(settings.c.key))
                inside.set()
                await asyncio.sleep(0.1)
                ended.append("looking")

        inside = asyncio.Event()
        looking = asyncio.create_task(look())
        await inside.wait()
        await database.close()
        ended.append("closing")
        await looking
        with pytest.raises(DatabaseUnavailable):
            await seen(database)
    assert ended == ["looking", "closing"]
    file = Path(sqlite_url.partition(":///")[2])
    assert sorted(one.name for one in file.parent.iterdir()) == ["gateway.db", "gateway.db.lock"]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT key FROM settings").fetchall() == [("kept",)]


async def test_a_new_file_is_for_its_owner_only(sqlite: Database, tmp_path: Path) -> None:
    modes = {file.stat().st_mode & 0o077 for file in (tmp_path / "data").iterdir()}
    assert modes == {0}


async def test_a_second_gateway_on_the_same_file_is_refused(sqlite: Database, sqlite_url: str) -> None:
    second = Database(sqlite_url)
    with pytest.raises(ConfigError, match=r"another process already uses .*gateway\.db"):
        await second.start()
    await second.close()
    await put(sqlite, "undisturbed")
    await sqlite.close()
    async with opened(sqlite_url) as third:
        assert await keys(third) == {"undisturbed"}


@pytest.fixture
def intruder(sqlite: Database, tmp_path: Path) -> sqlite3.Connection:
    """Another program that holds the write lock."""
    connection = sqlite3.connect(tmp_path / "data" / "gateway.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


async def test_another_program_that_writes_is_waited_for(sqlite: Database, intruder: sqlite3.Connection) -> None:
    with closing(intruder):
        asyncio.get_running_loop().call_later(0.1, intruder.execute, "COMMIT")
        await put(sqlite, "patient")
    assert await keys(sqlite) == {"patient"}


async def test_the_wait_for_another_program_ends_for_all_who_wait_and_blocks_nobody_else(
    sqlite: Database, intruder: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WAIT_SECONDS", 0.5)
    with closing(intruder):
        started = time.monotonic()
        waiting = asyncio.gather(*(put(sqlite, f"k{number}") for number in range(3)), return_exceptions=True)
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert [type(error) for error in await waiting] == [DatabaseUnavailable] * 3
        assert time.monotonic() - started < 1.5
        assert ticks > 10
    await put(sqlite, "later")
    assert await keys(sqlite) == {"later"}


async def test_a_full_disk_is_told_commits_nothing_and_may_pass(sqlite: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        async with sqlite.write() as connection:
            await connection.execute(insert(settings).values(key="lost", value="v"))
            await connection.exec_driver_sql("PRAGMA max_page_count=1")  # means: no larger than it is
            await connection.execute(insert(settings).values(key="large", value="v" * 1_000_000))
    assert told.value.detail == "database or disk is full"
    async with sqlite.write() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    await put(sqlite, "later", "v" * 1_000_000)
    assert await keys(sqlite) == {"later"}


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(ConfigError, match=r"notes\.txt: file is not a database"):
        await Database(f"sqlite+aiosqlite:///{file}").start()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make"):
        await Database(f"sqlite+aiosqlite:///{tmp_path / 'file' / 'gateway.db'}").start()


async def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="must name a file"):
        Database("sqlite+aiosqlite://")


WRITER = """
import asyncio, sys
from sqlalchemy import insert
from gateway.db.engine import Database
from gateway.db.tables import settings

async def main():
    database = Database(sys.argv[1])
    await database.start()
    for number in range(100_000):
        async with database.write() as connection:
            await connection.execute(insert(settings).values(key=str(number), value="v"))
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_no_commit_it_told_of_and_frees_the_file(sqlite_url: str) -> None:
    await migrate(sqlite_url)
    process = subprocess.Popen([sys.executable, "-c", WRITER, sqlite_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    told = [process.stdout.readline().strip() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split()
    process.wait()
    async with opened(sqlite_url) as database:
        assert set(told) <= await keys(database)
        async with database.read() as connection:
            assert (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar_one() == "ok"


# --- PostgreSQL ---


async def test_connections_that_the_server_ended_are_replaced(postgres_url: str) -> None:
    await migrate(postgres_url)
    async with opened(postgres_url) as database:
        with pytest.raises(DatabaseUnavailable):
            async with database.write() as connection:
                own = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                async with database.write() as other:
                    await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": own})
                await connection.execute(insert(settings).values(key="lost", value="v"))
        await put(database, "kept")
        assert await keys(database) == {"kept"}


async def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        await Database("postgresql+asyncpg://me:hunter22@127.0.0.1:1/gateway").start()
    assert "127.0.0.1:1/gateway" in str(told.value)
    assert "hunter22" not in f"{told.value} {told.value.detail}"


async def test_whoever_finds_all_connections_taken_is_told_soon(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POSTGRES_CONNECTIONS", 1)
    monkeypatch.setattr(engine, "POSTGRES_WAIT_SECONDS", 0.1)
    async with opened(postgres_url) as database, database.read():
        with pytest.raises(DatabaseUnavailable):
            async with database.read():
                pass
