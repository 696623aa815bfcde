"""What is over its time is removed: that and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from gateway.assets import retention as retention_module
from gateway.assets.retention import Expired, Retention
from gateway.config import RetentionConfig
from gateway.db.engine import Database
from gateway.db.tables import asset_tags, assets, collection_assets, files, usage
from gateway.errors import Draining, StorageUnavailable
from tests.unit.assets.keeping_shelf import DAY, Shelf, new_key, no_pause

pytestmark = pytest.mark.anyio


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, tmp_path / "objects")


async def no_usage(before: float) -> int:
    raise AssertionError("nothing was said of usage")


async def applied(shelf: Shelf, *, dry_run: bool = False, **days: int) -> dict[str, Expired]:
    return await Retention(shelf.references, no_usage).apply(RetentionConfig(**days), no_pause, dry_run=dry_run)


async def kept(shelf: Shelf, family: str = "image", age: float = 31 * DAY, **values: Any) -> str:
    return await shelf.asset(await shelf.put(new_key()), family=family, age=age, **values)


async def test_what_is_over_its_time_goes_with_all_its_objects(shelf: Shelf) -> None:
    thumbnail, poster = await shelf.put(new_key("previews")), await shelf.put(new_key("previews"))
    old = await kept(shelf, thumbnail_key=thumbnail, poster_key=poster)
    async with shelf.database.write() as connection:
        await connection.execute(insert(asset_tags).values(asset_id=old, tag="t", owner="somebody"))
    young = await kept(shelf, age=29 * DAY)
    assert len(shelf.keys) == 4
    result = (await applied(shelf, images=30))["images"]
    assert (result.days, result.count, result.bytes, result.ids, result.removed) == (30, 1, 10, [old], 1)
    assert result.oldest == pytest.approx(shelf.database.now() - 31 * DAY, abs=60)
    rows = await shelf.rows(assets)
    assert set(rows) == {young}
    assert shelf.keys == {rows[young].key}
    async with shelf.database.read() as connection:
        assert (await connection.execute(select(asset_tags))).all() == []


async def test_each_sort_has_its_own_time_and_without_one_is_kept_for_good(shelf: Shelf) -> None:
    families = ("image", "video", "audio", "text", "document")
    made = {family: await kept(shelf, family, age=100 * DAY) for family in families}
    file = await shelf.file(await shelf.put(new_key("uploads")), age=100 * DAY)
    assert await applied(shelf) == {}
    assert set(await shelf.rows(assets)) == set(made.values())
    for key, gone in (
        ("videos", ["video"]),
        ("audio", ["audio"]),
        ("text", ["text", "document"]),
        ("images", ["image"]),
    ):
        before = set(await shelf.rows(assets))
        assert set(await applied(shelf, **{key: 99})) == {key}
        assert before - set(await shelf.rows(assets)) == {made[family] for family in gone}
    assert set(await shelf.rows(files)) == {file}
    await applied(shelf, uploads=99)
    assert await shelf.rows(files) == {}
    assert shelf.keys == set()


async def test_favourites_and_what_is_in_a_collection_stay(shelf: Shelf) -> None:
    favourite, collected, neither = await kept(shelf, is_favorite=True), await kept(shelf), await kept(shelf)
    await shelf.collection(collected)
    await shelf.collection(collected)
    assert (await applied(shelf, images=1))["images"].ids == [neither]
    assert set(await shelf.rows(assets)) == {favourite, collected}
    assert len(shelf.keys) == 2


async def test_a_dry_run_says_the_same_and_removes_nothing(shelf: Shelf) -> None:
    ids = {await kept(shelf) for _ in range(3)}
    file = await shelf.file(await shelf.put(new_key("uploads")), age=9 * DAY, purpose="input")
    result = await applied(shelf, dry_run=True, images=30, uploads=8)
    assert (result["images"].count, set(result["images"].ids), result["images"].removed) == (3, ids, 0)
    assert (result["uploads"].count, result["uploads"].ids, result["uploads"].removed) == (1, [file], 0)
    assert (set(await shelf.rows(assets)), set(await shelf.rows(files)), len(shelf.keys)) == (ids, {file}, 4)


async def test_what_an_unfinished_task_starts_from_stays_until_it_is_over(shelf: Shelf) -> None:
    upload, picture = await shelf.put(new_key("uploads")), await shelf.put(new_key())
    await shelf.file(upload, age=9 * DAY, purpose="input")
    await shelf.asset(picture, age=9 * DAY)
    task = await shelf.task(f'{{"inputs":[{{"url":"object:{upload}"}},{{"url":"object:{picture}"}}]}}', "running")
    result = await applied(shelf, uploads=1, images=1)
    assert {name: (one.count, one.removed) for name, one in result.items()} == {"images": (0, 0), "uploads": (0, 0)}
    assert shelf.keys == {upload, picture}
    await shelf.end(task)
    await applied(shelf, uploads=1, images=1)
    assert shelf.keys == set()


async def test_an_object_that_another_row_names_stays(shelf: Shelf) -> None:
    key = await shelf.put(new_key("uploads"))
    await shelf.file(key, age=9 * DAY)
    young = await shelf.file(key, age=DAY)
    assert (await applied(shelf, uploads=8))["uploads"].removed == 1
    assert (set(await shelf.rows(files)), shelf.keys) == ({young}, {key})


async def test_many_go_in_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "BATCH", 2)
    monkeypatch.setattr(retention_module, "TOLD", 3)
    steps = 0

    async def going_on() -> None:
        nonlocal steps
        steps += 1

    stays = await kept(shelf, age=DAY)
    ages = [40 + number for number in range(7)]
    for age in ages:
        await kept(shelf, age=age * DAY)
    result = await Retention(shelf.references, no_usage).apply(RetentionConfig(images=30), going_on, dry_run=False)
    assert (result["images"].count, result["images"].removed, len(result["images"].ids)) == (7, 7, 3)
    assert result["images"].oldest == pytest.approx(shelf.database.now() - 46 * DAY, abs=60)
    assert (set(await shelf.rows(assets)), steps) == ({stays}, 4)


async def test_it_can_be_ended_between_two_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "BATCH", 1)
    for _ in range(2):
        await kept(shelf)

    async def over() -> None:
        raise Draining

    with pytest.raises(Draining):
        await Retention(shelf.references, no_usage).apply(RetentionConfig(images=1), over, dry_run=False)
    assert len(await shelf.rows(assets)) == 1


async def test_what_is_put_into_a_collection_meanwhile_stays(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    collected, starred, other = [await kept(shelf) for _ in range(3)]
    retention = Retention(shelf.references, no_usage)
    straight = retention._remove

    async def late(*args: Any) -> int:
        await shelf.collection(collected)
        async with shelf.database.write() as connection:
            await connection.execute(assets.update().where(assets.c.id == starred).values(is_favorite=True))
        return await straight(*args)

    monkeypatch.setattr(retention, "_remove", late)
    result = await retention.apply(RetentionConfig(images=1), no_pause, dry_run=False)
    assert (result["images"].count, result["images"].removed) == (3, 1)
    assert set(await shelf.rows(assets)) == {collected, starred}
    assert other not in await shelf.rows(assets)


async def test_whoever_collects_an_asset_at_that_moment_keeps_it(shelf: Shelf) -> None:
    """The row of a collection is written and not committed yet when the batch is removed."""
    if shelf.database.url.get_backend_name() == "sqlite":
        pytest.skip("there is one transaction at a time")
    asset = await kept(shelf)
    collection = await shelf.collection()
    row = {"collection_id": collection, "asset_id": asset, "position": 0, "added_at": 0.0}
    async with shelf.database.write() as connection:
        await connection.execute(insert(collection_assets).values(row))
        removing = asyncio.create_task(applied(shelf, images=1))
        done, _ = await asyncio.wait({removing}, timeout=0.3)
        assert not done
    assert (await removing)["images"].removed == 0
    assert set(await shelf.rows(assets)) == {asset}
    assert len(shelf.keys) == 1


async def test_a_store_that_is_away_holds_up_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(key: str) -> None:
        raise StorageUnavailable

    await kept(shelf)
    monkeypatch.setattr(shelf.storage, "delete", away)
    assert (await applied(shelf, images=1))["images"].removed == 1
    assert (await shelf.rows(assets), len(shelf.keys)) == ({}, 1)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_the_usage_log_is_told_from_when_on_to_forget(shelf: Shelf, dry_run: bool) -> None:
    now, asked = shelf.database.now(), []
    row: dict[str, Any] = dict.fromkeys(
        ("request_id", "owner", "kind", "model", "upstream", "account_id", "code"), ""
    ) | dict.fromkeys(("status", "input_tokens", "output_tokens", "images", "media_seconds", "seconds", "attempts"), 0)
    async with shelf.database.write() as connection:
        await connection.execute(insert(usage), [{**row, "at": now - age * DAY} for age in (1, 89, 91, 95)])

    async def forget(before: float) -> int:
        asked.append(before)
        return 2

    config = RetentionConfig(usage=90)
    found = (await Retention(shelf.references, forget).apply(config, no_pause, dry_run=dry_run))["usage"]
    assert (found.days, found.count, found.removed) == (90, 2, 0 if dry_run else 2)
    assert found.oldest == pytest.approx(now - 95 * DAY, abs=60)
    assert asked == ([] if dry_run else [pytest.approx(now - 90 * DAY, abs=60)])
