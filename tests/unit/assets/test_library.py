"""What was made is entered once, however many processes say so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.assets.library import Kept, Library
from gateway.db.engine import Database
from gateway.db.tables import assets
from tests.unit.assets.bringing import origin
from tests.unit.scripted import Talks

pytestmark = pytest.mark.anyio

KEPT = Kept("asset_1", "videos/2026-01/a_20260105_101010_00000000.mp4", "video/mp4", 10, 64, 48, 0.5, "f" * 64)
ORIGIN = origin(Talks([]))


async def rows(database: Database) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(assets))).mappings())


async def test_an_asset_is_found_as_it_was_entered(database: Database) -> None:
    library = Library(database)
    assert await library.find("asset_1") is None
    assert await library.enter(KEPT, "video", ORIGIN) is None
    assert await library.find("asset_1") == KEPT
    [row] = await rows(database)
    assert (row["filename"], row["prompt"], row["upstream"]) == (KEPT.key.rpartition("/")[2], "a lighthouse", "up")
    assert (row["source_module"], row["metadata"], row["kind"]) == ("api", "{}", "t2v")


async def test_entered_once_more_it_says_what_is_true_now_and_keeps_what_was_noted_of_it(database: Database) -> None:
    library = Library(database)
    await library.enter(KEPT, "video", ORIGIN)
    async with database.write() as connection:
        await connection.execute(update(assets).values(metadata='{"favourite": true}', created_at=1.0))
    other = replace(KEPT, key="videos/2026-01/a_20260105_101010_00000000.webm", size=11, mime="video/webm")
    assert await library.enter(other, "video", ORIGIN) == KEPT.key
    [row] = await rows(database)
    assert (await library.find("asset_1"), row["filename"][-4:]) == (other, "webm")
    assert (row["created_at"], row["metadata"]) == (1.0, '{"favourite": true}')


async def test_many_at_once_make_one_row(database: Database) -> None:
    library = Library(database)
    told = await asyncio.gather(*(library.enter(KEPT, "video", ORIGIN) for _ in range(8)))
    assert sorted(told, key=str) == [None, *[KEPT.key] * 7]
    assert len(await rows(database)) == 1


async def test_the_keys_of_a_task_are_its_owner_s(database: Database) -> None:
    library = Library(database)
    for number, task in enumerate(("task_1", "task_1", "task_2")):
        await library.enter(replace(KEPT, asset_id=f"asset_{number}"), "video", replace(ORIGIN, task_id=task))
    assert await library.keys("task_1", "owner") == {"asset_0": KEPT.key, "asset_1": KEPT.key}
    assert await library.keys("task_1", "somebody") == {}
    assert await library.remove(["asset_0", "asset_1", "asset_none"]) == 2
    assert await library.remove([]) == 0
    assert [row["id"] for row in await rows(database)] == ["asset_2"]
