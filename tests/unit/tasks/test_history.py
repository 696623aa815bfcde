from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from gateway.db.engine import Database
from gateway.db.tables import assets, outputs, tasks
from gateway.tasks.history import Entry, Place, Wanted, page
from gateway.types import ImageRequest

pytestmark = pytest.mark.anyio

ME, OTHER = "owner-1", "owner-2"


async def has_task(database: Database, name: str, at: float, state: str = "succeeded", **fields: Any) -> None:
    """A task whose outputs are the assets that `made` names."""
    made = fields.pop("made", ())
    row = {
        "id": f"task_{name}",
        "owner": ME,
        "kind": "t2i",
        "model": "m",
        "upstream": "u",
        "state": state,
        "request": msgspec.json.encode(ImageRequest("m", "a lighthouse")).decode(),
        "params": '{"candidates":[["u","m"]],"estimate":null,"request_id":"req_1"}',
        "progress": 0.0,
        "attempts": "[]",
        "created_at": at,
        "deadline": at + 60,
        "next_poll_at": at,
        "native": "",
    } | fields
    places = [
        {"id": f"out_{one}", "task_id": row["id"], "position": at, "state": "succeeded", "asset_id": f"asset_{one}"}
        for at, one in enumerate(made)
    ]
    async with database.write() as connection:
        await connection.execute(insert(tasks).values(row))
        if places:
            await connection.execute(insert(outputs), places)


async def has_asset(database: Database, name: str, at: float, **fields: Any) -> None:
    row = {
        "id": f"asset_{name}",
        "owner": ME,
        "family": "image",
        "key": f"images/2026-01/{name}.png",
        "mime": "image/png",
        "size": 1,
        "sha256": "",
        "filename": f"{name}.png",
        "prompt": "a lighthouse",
        "model": "m",
        "upstream": "u",
        "kind": "t2i",
        "source_module": "api",
        "created_at": at,
        "metadata": "{}",
    } | fields
    async with database.write() as connection:
        await connection.execute(insert(assets).values(row))


async def ids(database: Database, limit: int = 10, **wanted: Any) -> list[str]:
    return [entry.place.id for entry in (await page(database, ME, Wanted(**wanted), limit))[0]]


async def test_tasks_and_what_came_without_one_are_in_one_line(database: Database) -> None:
    await has_task(database, "1", 10.0, "failed")
    await has_asset(database, "2", 20.0)
    await has_task(database, "3", 30.0, "running", started_at=31.0)
    await has_asset(database, "4", 40.0)
    found, more = await page(database, ME, Wanted(), 10)
    assert [entry.place for entry in found] == [
        Place(40.0, "asset_4"),
        Place(30.0, "task_3"),
        Place(20.0, "asset_2"),
        Place(10.0, "task_1"),
    ]
    assert not more
    assert [entry.task.state if entry.task else None for entry in found] == [None, "running", None, "failed"]
    assert [asset.id for asset in found[0].assets] == ["asset_4"]


async def test_what_a_task_made_is_told_with_it_and_not_once_more(database: Database) -> None:
    await has_task(database, "1", 10.0, made=("b", "a", "gone"))
    await has_asset(database, "a", 12.0, task_id="task_1")
    await has_asset(database, "b", 13.0, task_id="task_1")
    await has_asset(database, "text", 11.0, task_id="task_1", family="text")
    await has_asset(database, "theirs", 11.0, task_id="task_1", owner=OTHER)
    [entry], _ = await page(database, ME, Wanted(), 10)
    assert [asset.id for asset in entry.assets] == ["asset_b", "asset_a", "asset_text"]
    assert entry.task is not None
    assert [output.asset_id for output in entry.task.outputs] == ["asset_b", "asset_a", "asset_gone"]


async def test_what_is_left_of_a_deleted_task_stays_in_the_line(database: Database) -> None:
    await has_asset(database, "a", 12.0, task_id="task_gone")
    assert await ids(database) == ["asset_a"]


async def test_what_was_made_elsewhere_is_no_generation(database: Database) -> None:
    await has_asset(database, "a", 12.0, kind="")
    assert await ids(database) == []


async def test_nobody_sees_another_s(database: Database) -> None:
    await has_task(database, "1", 10.0, owner=OTHER)
    await has_asset(database, "a", 12.0, owner=OTHER)
    assert await ids(database) == []


async def test_filters(database: Database) -> None:
    await has_task(database, "1", 10.0, "failed")
    await has_task(database, "2", 20.0, kind="t2v", model="films")
    await has_asset(database, "3", 30.0)
    await has_asset(database, "4", 40.0, kind="tts", model="voice")
    assert await ids(database, kind="t2i") == ["asset_3", "task_1"]
    assert await ids(database, kind="t2v") == ["task_2"]
    assert await ids(database, model="voice") == ["asset_4"]
    assert await ids(database, model="films") == ["task_2"]
    assert await ids(database, states=("failed", "expired")) == ["task_1"]
    assert await ids(database, states=("succeeded",)) == ["asset_4", "asset_3", "task_2"]


async def walked(database: Database, limit: int) -> list[Entry]:
    found: list[Entry] = []
    wanted = Wanted()
    while True:
        some, more = await page(database, ME, wanted, limit)
        assert len(some) == limit or not more
        found += some
        if not more:
            return found
        wanted = replace(wanted, before=some[-1].place)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_tell_all_of_it_once(database: Database, limit: int) -> None:
    """Many at the same moment, long runs of one sort, and a task that made something later than others began."""
    for number in range(6):
        await has_task(database, f"{number}", 10.0 + number // 3, made=(f"of{number}",))
        await has_asset(database, f"of{number}", 50.0, task_id=f"task_{number}")
    for number in range(5):
        await has_asset(database, f"{number}", 10.0 + number // 2)
    for number in range(6, 9):
        await has_task(database, f"{number}", 5.0)
    for number in range(5, 9):
        await has_asset(database, f"{number}", 1.0)
    found = [entry.place for entry in await walked(database, limit)]
    assert found == sorted(found, reverse=True)
    assert sorted(place.id for place in found) == sorted(
        [*(f"task_{number}" for number in range(9)), *(f"asset_{number}" for number in range(9))]
    )
