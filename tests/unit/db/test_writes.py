"""Changes that are committed together."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import metadata, settings
from gateway.db.writes import Writes
from gateway.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio


def put(key: str, value: str = "v") -> Any:
    async def change(connection: AsyncConnection) -> str:
        await connection.execute(insert(settings).values(key=key, value=value))
        return key

    return change


async def keys(database: Database) -> set[str]:
    async with database.read() as connection:
        return set((await connection.execute(select(settings.c.key))).scalars())


async def test_changes_that_come_at_once_share_a_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    write = database.write

    def counted() -> Any:
        nonlocal begun
        begun += 1
        return write()

    monkeypatch.setattr(database, "write", counted)
    writes = Writes(database)
    told = await asyncio.gather(*(writes.commit(put(f"k{n}")) for n in range(50)))
    assert told == [f"k{n}" for n in range(50)]
    assert await keys(database) >= {f"k{n}" for n in range(50)}
    assert begun <= 2


async def test_one_that_fails_fails_alone(database: Database) -> None:
    writes = Writes(database)

    async def refuses(connection: AsyncConnection) -> None:
        await connection.execute(insert(settings).values(key="half", value="v"))
        raise ValueError("no")

    done = await asyncio.gather(
        writes.commit(put("a")), writes.commit(refuses), writes.commit(put("a")), writes.commit(put("b")),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(one).__name__ for one in done] == ["str", "ValueError", "IntegrityError", "str"]
    assert await keys(database) == {"a", "b"}


async def test_one_whose_caller_left_is_written_all_the_same(database: Database) -> None:
    writes = Writes(database)
    left = asyncio.create_task(writes.commit(put("left")))
    stayed = asyncio.create_task(writes.commit(put("stayed")))
    await asyncio.sleep(0)
    left.cancel()
    await stayed
    assert await keys(database) == {"left", "stayed"}


async def test_a_database_that_is_away_is_told_to_everyone_and_found_again(database: Database) -> None:
    writes = Writes(database)
    engine, database._door.engine = database._door.engine, None
    done = await asyncio.gather(*(writes.commit(put(f"k{n}")) for n in range(3)), return_exceptions=True)
    assert [type(one) for one in done] == [DatabaseUnavailable] * 3
    database._door.engine = engine
    assert await writes.commit(put("again")) == "again"


async def test_groups_that_lock_each_other_out_are_done_one_by_one(postgres_url: str) -> None:
    database, second = Database(postgres_url), Database(postgres_url)
    await database.start()
    await second.start()
    try:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(insert(settings), [{"key": key, "value": "0"} for key in ("a", "b")])
        one, other = Writes(database), Writes(second)
        holds = {"a": asyncio.Event(), "b": asyncio.Event()}

        def touch(key: str, *, then: str = "") -> Any:
            """Lock a row, and go on once the other group has locked its first one."""

            async def change(connection: AsyncConnection) -> None:
                await connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                await connection.execute(update(settings).where(settings.c.key == key).values(value=key))
                if then:
                    holds[key].set()
                    await holds[then].wait()

            return change

        work = [
            one.commit(touch("a", then="b")), one.commit(touch("b")),
            other.commit(touch("b", then="a")), other.commit(touch("a")),
        ]  # fmt: skip
        done = await asyncio.gather(*work, return_exceptions=True)
    finally:
        await second.close()
        await database.close()
    assert [one for one in done if isinstance(one, DatabaseUnavailable)] == []
