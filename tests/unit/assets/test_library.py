"""What was made is entered once, however many processes say so; what is its owner's only its owner has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from sqlalchemy import Table, insert, select, text, update

from gateway.assets.asset import Action, Asset, Changes, row_of
from gateway.assets.library import Kept, Library
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import asset_parents, asset_tags, assets, collection_assets, collections, files
from gateway.errors import InvalidRequest, NotFound, StorageUnavailable
from gateway.storage import Storage
from tests.unit.assets.bringing import origin
from tests.unit.assets.shelf import OWNER, asset, shelved
from tests.unit.scripted import Talks

pytestmark = pytest.mark.anyio

KEPT = Kept("asset_1", "videos/2026-01/a_20260105_101010_00000000.mp4", "video/mp4", 10, 64, 48, 0.5, "f" * 64)
ORIGIN = origin(Talks([]))


async def rows(database: Database, table: Table = assets) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(table).order_by(*table.primary_key.columns))).mappings())


async def store(library: Library, *keys: str) -> None:
    for key in keys:
        await library.references.storage.put(key, b"data", mime="image/png")


async def stored(library: Library, *keys: str) -> set[str]:
    return {key for key in keys if await library.references.storage.head(key) is not None}


async def brought(database: Database, file_id: str, **known: Any) -> None:
    row = {
        "id": file_id,
        "owner": OWNER,
        "key": f"uploads/2026-01/{file_id}.png",
        "name": "n.png",
        "mime": "image/webp",
    }
    row |= {"size": 7, "sha256": "e" * 64, "created_at": 1.0, "width": 5, "height": 6, "seconds": 1.5}
    async with database.write() as connection:
        await connection.execute(insert(files).values(row | known))


@pytest.fixture
async def library(database: Database) -> Library:
    """With assets `a1` and `a2` of ada, and `b1` of bob."""
    return await shelved(database, asset("a1"), asset("a2"), asset("b1", owner="bob"))


# --- entering ---


async def test_an_asset_is_found_as_it_was_entered(database: Database, library: Library) -> None:
    assert await library.find("asset_1") is None
    assert await library.enter(KEPT, "video", ORIGIN) is None
    assert await library.find("asset_1") == KEPT
    entered = await library.get("asset_1", "owner")
    assert (entered.filename, entered.prompt, entered.upstream) == (KEPT.key.rpartition("/")[2], "a lighthouse", "up")
    assert (entered.source_module, entered.metadata, entered.kind, entered.task_id) == ("api", {}, "t2v", "task_1")
    assert abs(entered.created_at - database.now()) < 60


async def test_where_it_comes_from_is_entered_with_it(database: Database, library: Library) -> None:
    await brought(database, "file_1")
    await brought(database, "file_2", owner="bob")
    sources = ("images/none.png", "uploads/2026-01/file_1.png", "images/2026-01/a1.png", "images/2026-01/b1.png")
    told = replace(
        ORIGIN, owner=OWNER, request_id="req_1", title="Tower", tags=("Sea", " sea", "Night"), metadata={"seed": 7},
        sources=(*sources, "uploads/2026-01/file_2.png", sources[1]),
    )  # fmt: skip
    await library.enter(KEPT, "video", told)
    entered = await library.get("asset_1", OWNER)
    assert entered.parents == ("file_1", "a1")
    assert (entered.request_id, entered.title, entered.metadata) == ("req_1", "Tower", {"seed": 7})
    assert entered.tags == ("Sea", " sea", "Night")
    assert [(row["asset_id"], row["tag"]) for row in await rows(database, asset_tags)] == [
        ("asset_1", "night"),
        ("asset_1", "sea"),
    ]
    assert [(row["position"], row["parent_id"]) for row in await rows(database, asset_parents)] == [
        (0, "file_1"),
        (1, "a1"),
    ]


async def test_an_asset_is_the_parent_rather_than_the_file_it_was_registered_from(
    database: Database, library: Library
) -> None:
    await brought(database, "file_1")
    await library.add(asset("a3"), file_id="file_1")
    await library.enter(KEPT, "video", replace(ORIGIN, owner=OWNER, sources=("uploads/2026-01/file_1.png",)))
    assert (await library.get("asset_1", OWNER)).parents == ("a3",)


async def test_entered_once_more_it_says_what_is_true_now_and_keeps_what_was_noted_of_it(
    database: Database, library: Library
) -> None:
    await library.enter(KEPT, "video", ORIGIN)
    noted = Changes(title="t", tags=("x",), metadata={"mine": 1}, prompt="p", is_favorite=True)
    given = frozenset({"title", "tags", "metadata", "prompt", "is_favorite"})
    changed = await library.change("asset_1", "owner", replace(noted, given=given))
    seen = {"thumbnail_key": "t.webp", "previewed_at": 5.0, "missing_since": 6.0}
    async with database.write() as connection:
        await connection.execute(update(assets).values(seen))
    other = replace(KEPT, key="videos/2026-01/b.webm", size=11, mime="video/webm")
    assert await library.enter(other, "video", replace(ORIGIN, tags=("y",), title="other")) == KEPT.key
    now = await library.get("asset_1", "owner")
    assert await library.find("asset_1") == other
    assert now == replace(
        changed, key=other.key, size=11, mime="video/webm", filename="b.webm", thumbnail_key="t.webp", previewed_at=5.0
    )
    assert await library.enter(replace(other, sha256="0" * 64), "video", ORIGIN) == other.key
    again = await library.get("asset_1", "owner")
    assert (again.thumbnail_key, again.previewed_at, again.created_at) == (None, None, changed.created_at)
    assert [row["tag"] for row in await rows(database, asset_tags)] == ["x"]


async def test_many_at_once_make_one_row(database: Database) -> None:
    library = await shelved(database)
    told = await asyncio.gather(*(library.enter(KEPT, "video", ORIGIN) for _ in range(8)))
    assert sorted(told, key=str) == [None, *[KEPT.key] * 7]
    assert len(await rows(database)) == 1


async def test_whoever_finds_that_another_process_was_first_says_what_is_true(database: Database) -> None:
    if database.url.get_backend_name() == "sqlite":
        pytest.skip("SQLite is one process's")
    library = await shelved(database)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query LIKE :entering")

    async def waits() -> bool:
        async with database.read() as connection:
            return bool((await connection.execute(waiting, {"entering": "INSERT INTO assets%"})).scalar_one())

    async with asyncio.timeout(20), database.write() as first:
        await first.execute(insert(assets).values(row_of(asset("asset_1", owner="owner", key="videos/x.mp4"))))
        second = asyncio.create_task(library.enter(KEPT, "video", ORIGIN))
        while not await waits():
            await asyncio.sleep(0.01)
    assert await second == "videos/x.mp4"
    assert [row["key"] for row in await rows(database)] == [KEPT.key]


async def test_nothing_that_was_paid_for_is_lost_over_a_character(database: Database, library: Library) -> None:
    odd = replace(ORIGIN, prompt="a\0b\ud800", title="\0", tags=("t\0",))
    assert await library.enter(KEPT, "video", odd) is None
    entered = await library.get("asset_1", "owner")
    assert (entered.prompt, entered.title, entered.tags) == ("ab?", "", ("t",))


# --- registering ---


async def test_what_is_added_is_there_as_it_was_said(library: Library) -> None:
    full = asset(
        "a3", title="T", description="D", tags=("A", "b"), parents=("a1",), cost=0.5, currency="USD",
        generation_time=2.0, metadata={"x": [1, None, "é"]}, waveform=(1, 2), request_id="r", kind="",
    )  # fmt: skip
    assert await library.add(full) == full
    assert await library.get("a3", OWNER) == full


async def test_with_a_file_it_has_the_bytes_of_the_file(database: Database, library: Library) -> None:
    await brought(database, "file_1", expires_at=database.now() + 3600)
    added = await library.add(asset("a3", size=1), file_id="file_1")
    assert (added.key, added.size, added.sha256, added.mime) == (
        "uploads/2026-01/file_1.png", 7, "e" * 64, "image/webp",
    )  # fmt: skip
    assert (added.width, added.height, added.seconds, added.filename) == (5, 6, 1.5, "a3.png")
    assert await library.get("a3", OWNER) == added


@pytest.mark.parametrize("file_id", ["file_theirs", "file_over", "file_none", "file\0"])
async def test_a_file_that_is_not_there_cannot_be_added(database: Database, library: Library, file_id: str) -> None:
    await brought(database, "file_theirs", owner="bob")
    await brought(database, "file_over", expires_at=database.now() - 1)
    with pytest.raises(NotFound) as told:
        await library.add(asset("a3", tags=("x",)), file_id=file_id)
    assert (told.value.code, told.value.param, str(told.value)) == ("file_not_found", "file_id", f"no file {file_id!r}")
    assert len(await rows(database)) == 3
    assert await rows(database, asset_tags) == []


@pytest.mark.parametrize("parent", ["b1", "none", "file_theirs"])
async def test_parents_must_be_the_owner_s(database: Database, library: Library, parent: str) -> None:
    await brought(database, "file_theirs", owner="bob")
    await brought(database, "file_mine")
    with pytest.raises(InvalidRequest, match=f"no '{parent}'") as told:
        await library.add(asset("a3", parents=("a1", "file_mine", parent)))
    assert told.value.param == "parents"
    assert len(await rows(database)) == 3
    assert (await library.add(asset("a3", parents=("a1", "file_mine")))).parents == ("a1", "file_mine")


@pytest.mark.parametrize("field", ["title", "description", "prompt", "model", "source_module", "tags"])
@pytest.mark.parametrize("bad", ["a\0b", "\udfff"])
async def test_texts_that_no_database_takes_are_refused(library: Library, field: str, bad: str) -> None:
    said: Any = (bad,) if field == "tags" else bad
    with pytest.raises(InvalidRequest) as told:
        await library.add(asset("a3", **{field: said}))
    assert told.value.param == field
    if field in Changes.__dataclass_fields__:
        with pytest.raises(InvalidRequest) as told:
            await library.change("a1", OWNER, Changes(**{field: said}, given=frozenset({field})))
        assert told.value.param == field


# --- looking up ---


async def test_many_come_in_the_order_of_their_ids_and_without_those_of_others(library: Library) -> None:
    found = await library.many(["a2", "none", "b1", "a1", "a\0", "a2"], OWNER)
    assert [one.id for one in found] == ["a2", "a1"]
    assert await library.many([], OWNER) == []


async def test_more_than_fit_into_a_statement_can_be_looked_up_and_removed(library: Library) -> None:
    ids = [*(f"none{number}" for number in range(1_200)), "a1", "a2", "b1"]
    assert [one.id for one in await library.many(ids, OWNER)] == ["a1", "a2"]
    assert sorted(await library.remove(ids, OWNER)) == ["a1", "a2"]


ACTS: dict[str, Callable[[Library, str], Awaitable[Any]]] = {
    "get": lambda library, one: library.get(one, OWNER),
    "change": lambda library, one: library.change(one, OWNER, Changes(title="t", given=frozenset({"title"}))),
    "toggle": lambda library, one: library.toggle(one, OWNER),
    "count": lambda library, one: library.count(one, OWNER, "use"),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("asset_id", ["b1", "none", "a\0", "\ud800", ""])
async def test_what_is_another_owner_s_is_as_if_it_were_not_there(
    database: Database, library: Library, act: str, asset_id: str
) -> None:
    before = await rows(database)
    with pytest.raises(NotFound) as told:
        await ACTS[act](library, asset_id)
    assert (told.value.code, str(told.value)) == ("asset_not_found", f"no asset {asset_id!r}")
    assert await rows(database) == before


# --- changing ---


async def test_only_what_is_given_changes(database: Database, library: Library) -> None:
    before = await library.get("a1", OWNER)
    said = Changes(title="T", description="D", prompt="P", tags=("X", "x", "y"), metadata={"k": 1}, is_favorite=True)
    for name in ("title", "description", "prompt", "tags", "metadata"):
        after = await library.change("a1", OWNER, replace(said, given=frozenset({name})))
        assert after == replace(before, **{name: getattr(said, name)}, updated_at=after.updated_at)
        assert after.updated_at is not None and abs(after.updated_at - database.now()) < 60
        assert await library.get("a1", OWNER) == after
        before = after
    assert [row["tag"] for row in await rows(database, asset_tags)] == ["x", "y"]
    await library.change("a2", OWNER, Changes(tags=("x", "z"), given=frozenset({"tags"})))
    before = await library.change("a1", OWNER, Changes(tags=("y", "z"), given=frozenset({"tags"})))
    found = [(row["asset_id"], row["tag"]) for row in await rows(database, asset_tags)]
    assert found == [("a1", "y"), ("a1", "z"), ("a2", "x"), ("a2", "z")]
    after = await library.change("a1", OWNER, replace(said, is_favorite=True, given=frozenset({"is_favorite"})))
    assert after == replace(before, is_favorite=True)
    assert (await library.get("b1", "bob")) == asset("b1", owner="bob")


async def test_a_favourite_is_one_until_it_is_none(library: Library) -> None:
    assert await library.toggle("a1", OWNER) is True
    assert (await library.get("a1", OWNER)).is_favorite is True
    assert await library.toggle("a1", OWNER) is False
    assert await library.get("a1", OWNER) == asset("a1")


async def test_what_is_done_is_counted_by_itself_and_by_all_who_do_it_at_once(library: Library) -> None:
    for number, action in enumerate(get_args(Action), start=2):
        await asyncio.gather(*(library.count("a1", OWNER, action) for _ in range(number)))
    counted = replace(asset("a1"), use_count=2, download_count=3, share_count=4, view_count=5)
    assert await library.get("a1", OWNER) == counted
    assert await library.count("a1", OWNER, "use") == replace(counted, use_count=3)


# --- removing ---


def previewed(asset_id: str, **known: Any) -> Asset:
    folder = f"thumbnails/2026-01/{asset_id}"
    return asset(asset_id, thumbnail_key=f"{folder}-t.webp", poster_key=f"{folder}-p.webp", **known)


async def test_removed_assets_go_with_all_that_is_theirs_and_nothing_else(database: Database, library: Library) -> None:
    await brought(database, "file_1")
    made = previewed("a3", tags=("x",), parents=("a1",))
    shared = asset("a5", key="images/2026-01/a4.png")
    for one in (made, asset("a4", key=shared.key, parents=("a3",)), shared):
        await library.add(one)
    await library.add(asset("a6"), file_id="file_1")
    async with database.write() as connection:
        await connection.execute(insert(collections).values(id="c", owner=OWNER, name="", created_at=1, updated_at=1))
        held = {"collection_id": "c", "asset_id": "a3", "position": 0, "added_at": 1}
        await connection.execute(insert(collection_assets).values(held))
    keys = (*made.keys, shared.key, "uploads/2026-01/file_1.png", "images/2026-01/b1.png")
    await store(library, *keys)
    gone = await library.remove(["a3", "a4", "a6", "b1", "none", "a3", "\0"], OWNER)
    assert sorted(gone) == ["a3", "a4", "a6"]
    assert [row["id"] for row in await rows(database)] == ["a1", "a2", "a5", "b1"]
    assert await rows(database, asset_tags) == await rows(database, asset_parents) == []
    assert await rows(database, collection_assets) == []
    assert await stored(library, *keys) == {*keys} - {*made.keys}
    assert await library.remove(["a3"], OWNER) == await library.remove([], OWNER) == []


async def test_rows_go_first_and_a_store_that_is_away_fails_nobody(database: Database) -> None:
    seen: list[list[str]] = []

    class Away(Storage):
        async def delete(self, key: str) -> None:
            seen.append([row["id"] for row in await rows(database)])
            raise StorageUnavailable

    away = Storage.open("memory://")
    away.__class__ = Away
    library = Library(database, References(database, away))
    await library.add(previewed("a1"))
    await library.add(asset("a2", task_id="task_1"))
    assert await library.remove(["a1"], OWNER) == ["a1"]
    assert await library.forget("task_1", OWNER) == ["a2"]
    assert seen == [["a2"]] * 3 + [[]]


async def test_what_a_task_made_is_its_owner_s_to_forget(database: Database, library: Library) -> None:
    for number, task in enumerate(("task_1", "task_1", "task_2")):
        kept = replace(KEPT, asset_id=f"asset_{number}", key=f"videos/2026-01/{number}.mp4")
        await library.enter(kept, "video", replace(ORIGIN, task_id=task))
        await store(library, kept.key)
    mine = {"asset_0": "videos/2026-01/0.mp4", "asset_1": "videos/2026-01/1.mp4"}
    assert await library.keys("task_1", "owner") == mine
    assert await library.keys("task_1", "somebody") == {}
    assert await library.forget("task_1", "somebody") == []
    assert sorted(await library.forget("task_1", "owner")) == [*mine]
    assert await stored(library, *mine.values(), "videos/2026-01/2.mp4") == {"videos/2026-01/2.mp4"}
    assert [row["id"] for row in await rows(database) if row["task_id"]] == ["asset_2"]
