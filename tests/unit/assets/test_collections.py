from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from gateway.assets import collections as room
from gateway.assets.collections import Changes, Collection, Collections, named
from gateway.db.engine import Database
from gateway.db.tables import assets, collection_assets
from gateway.errors import Conflict, InvalidRequest, NotFound

pytestmark = pytest.mark.anyio

ME, OTHER = "owner-1", "owner-2"


async def has(database: Database, *ids: str, owner: str = ME, **fields: Any) -> None:
    """Assets of the library."""
    rows = [
        {
            "id": one,
            "owner": owner,
            "family": "image",
            "key": f"images/2026-01/{one}.png",
            "mime": "image/png",
            "size": 1,
            "sha256": "",
            "filename": f"{one}.png",
            "prompt": "",
            "model": "m",
            "upstream": "u",
            "kind": "t2i",
            "source_module": "api",
            "created_at": 1.0,
            "metadata": "{}",
            "thumbnail_key": f"images/2026-01/{one}.webp",
        }
        | fields
        for one in ids
    ]
    async with database.write() as connection:
        await connection.execute(insert(assets), rows)


async def gone(database: Database, asset_id: str) -> None:
    async with database.write() as connection:
        await connection.execute(delete(assets).where(assets.c.id == asset_id))


async def held(collections: Collections, made: Collection) -> list[str]:
    return (await collections.holds(made.id, ME, limit=100, offset=0))[0]


@pytest.fixture
async def collections(database: Database) -> Collections:
    await has(database, "a", "b", "c", "d")
    await has(database, "x", owner=OTHER)
    return Collections(database)


async def test_one_is_made_with_what_it_holds(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", "all of it", ["b", "a", "b"])
    assert (made.name, made.description, made.count) == ("Sea", "all of it", 2)
    assert made.id.startswith("col_")
    assert made.created_at == made.updated_at
    assert await held(collections, made) == ["b", "a"]
    assert await collections.get(made.id, ME) == made


async def test_nothing_is_made_where_an_asset_is_not_there(collections: Collections) -> None:
    for strange in ("nope", "x"):
        with pytest.raises(InvalidRequest, match=f"no asset '{strange}'") as caught:
            await collections.create(ME, "Sea", None, ["a", strange])
        assert (caught.value.param, caught.value.code) == ("asset_ids", "asset_not_found")
    assert await collections.page(ME, limit=10, offset=0) == ([], 0)


async def test_they_are_listed_by_their_last_change(collections: Collections, database: Database) -> None:
    first, second, third = [await collections.create(ME, name, None) for name in ("1", "2", "3")]
    await collections.create(OTHER, "theirs", None)
    async with database.write() as connection:
        for at, one in enumerate((first, second, third)):
            query = update(room.collections).where(room.collections.c.id == one.id)
            await connection.execute(query.values(updated_at=float(at)))
    await collections.put_in(second.id, ME, ["a"])
    page, total = await collections.page(ME, limit=2, offset=0)
    assert ([one.name for one in page], total) == (["2", "3"], 3)
    assert [one.name for one in (await collections.page(ME, limit=2, offset=2))[0]] == ["1"]


async def test_the_cover_is_the_chosen_one_else_the_first(collections: Collections, database: Database) -> None:
    made = await collections.create(ME, "Sea", None, ["a", "b", "c"])
    assert (made.cover_asset_id, made.cover_key) == (None, "images/2026-01/a.webp")
    made = await collections.change(made.id, ME, Changes(cover_asset_id="c", given=frozenset({"cover_asset_id"})))
    assert (made.cover_asset_id, made.cover_key) == ("c", "images/2026-01/c.webp")
    page, _ = await collections.page(ME, limit=10, offset=0)
    assert page == [made]
    await collections.create(ME, "Lake", None, ["c"])
    await collections.take_out(made.id, ME, ["c"])
    made = await collections.get(made.id, ME)
    assert (made.cover_asset_id, made.cover_key) == (None, "images/2026-01/a.webp")
    await gone(database, "a")
    assert (await collections.get(made.id, ME)).cover_key == "images/2026-01/b.webp"


async def test_only_what_it_holds_can_be_its_cover(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", None, ["a"])
    for strange in ("b", "x", "nope"):
        with pytest.raises(InvalidRequest, match=f"holds no asset '{strange}'") as caught:
            await collections.change(
                made.id, ME, Changes(name="No", cover_asset_id=strange, given=frozenset({"name", "cover_asset_id"}))
            )
        assert caught.value.param == "cover_asset_id"
    assert (await collections.get(made.id, ME)).name == "Sea"


async def test_only_what_is_given_changes(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", "all of it", ["a"])
    changed = await collections.change(made.id, ME, Changes(name="Lake", given=frozenset({"name"})))
    assert (changed.name, changed.description, changed.count) == ("Lake", "all of it", 1)
    assert changed.updated_at >= made.updated_at
    changed = await collections.change(made.id, ME, Changes(given=frozenset({"description"})))
    assert (changed.name, changed.description) == ("Lake", None)


async def test_assets_are_added_at_the_end_and_once(collections: Collections, database: Database) -> None:
    made = await collections.create(ME, "Sea", None, ["b", "a"])
    assert await collections.put_in(made.id, ME, ["c", "b", "c", "d"]) == 2
    assert await held(collections, made) == ["b", "a", "c", "d"]
    before = await collections.get(made.id, ME)
    assert await collections.put_in(made.id, ME, ["c"]) == 0
    assert await collections.get(made.id, ME) == before
    await collections.take_out(made.id, ME, ["b", "a"])
    await collections.put_in(made.id, ME, ["a"])
    assert await held(collections, made) == ["c", "d", "a"]
    await gone(database, "d")
    assert await held(collections, made) == ["c", "a"]
    assert (await collections.holds(made.id, ME, limit=1, offset=1)) == (["a"], 2)


async def test_nothing_is_added_where_one_is_not_there(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", None, ["a"])
    with pytest.raises(InvalidRequest, match=r"no asset 'nope', 'x'$"):
        await collections.put_in(made.id, ME, ["b", "x", "nope"])
    assert await held(collections, made) == ["a"]


async def test_it_holds_only_so_many(collections: Collections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ASSETS", 3)
    made = await collections.create(ME, "Sea", None, ["a", "b"])
    with pytest.raises(Conflict, match="at most 3 assets") as caught:
        await collections.put_in(made.id, ME, ["c", "d"])
    assert caught.value.code == "collection_full"
    assert await collections.put_in(made.id, ME, ["a", "b", "c"]) == 1


async def test_taking_out_what_it_does_not_hold_changes_nothing(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", None, ["a", "b"])
    assert await collections.take_out(made.id, ME, ["c", "nope"]) == 0
    assert (await collections.get(made.id, ME)).updated_at == made.updated_at
    assert await collections.take_out(made.id, ME, ["a", "nope"]) == 1
    assert await held(collections, made) == ["b"]


async def test_an_order_is_of_just_what_it_holds(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", None, ["a", "b", "c"])
    await collections.arrange(made.id, ME, ["c", "a", "b"])
    assert await held(collections, made) == ["c", "a", "b"]
    for wrong, why in (
        (["c", "a"], "not named: 'b'"),
        (["c", "a", "b", "d"], "does not hold 'd'"),
        (["c", "a", "x"], "does not hold 'x'; not named: 'b'"),
    ):
        with pytest.raises(Conflict, match=why) as caught:
            await collections.arrange(made.id, ME, wrong)
        assert caught.value.code == "order_mismatch"
    assert await held(collections, made) == ["c", "a", "b"]
    await collections.put_in(made.id, ME, ["d"])
    assert await held(collections, made) == ["c", "a", "b", "d"]


async def test_deleting_one_deletes_no_asset(collections: Collections, database: Database) -> None:
    made = await collections.create(ME, "Sea", None, ["a", "b"])
    await collections.delete(made.id, ME)
    with pytest.raises(NotFound):
        await collections.delete(made.id, ME)
    async with database.read() as connection:
        assert (await connection.execute(select(collection_assets))).all() == []
        assert len((await connection.execute(select(assets.c.id))).all()) == 5


async def test_another_owner_s_is_as_one_that_is_not_there(collections: Collections) -> None:
    made = await collections.create(OTHER, "theirs", None, ["x"])
    for collection_id in (made.id, "col_nope"):
        for asked in (
            collections.get(collection_id, ME),
            collections.holds(collection_id, ME, limit=10, offset=0),
            collections.change(collection_id, ME, Changes(name="mine", given=frozenset({"name"}))),
            collections.delete(collection_id, ME),
            collections.put_in(collection_id, ME, ["a"]),
            collections.take_out(collection_id, ME, ["x"]),
            collections.arrange(collection_id, ME, ["x"]),
        ):
            with pytest.raises(NotFound) as caught:
                await asked
            assert caught.value.message == f"no collection {collection_id!r}"
            assert caught.value.code == "collection_not_found"
    assert (await collections.get(made.id, OTHER)).count == 1


async def test_who_add_at_once_take_places_one_after_the_other(collections: Collections, database: Database) -> None:
    names = [f"n{number:02}" for number in range(40)]
    await has(database, *names)
    made = await collections.create(ME, "Sea", None)
    await asyncio.gather(
        *(collections.put_in(made.id, ME, [names[at], names[at + 1], "a"]) for at in range(0, len(names), 2))
    )
    async with database.read() as connection:
        places = (await connection.execute(select(collection_assets.c.position))).scalars().all()
    assert sorted(places) == list(range(41))
    assert set(await held(collections, made)) == {*names, "a"}


async def test_adding_and_arranging_at_once_end_in_one_of_both_orders(collections: Collections) -> None:
    made = await collections.create(ME, "Sea", None, ["a", "b"])
    results = await asyncio.gather(
        collections.put_in(made.id, ME, ["c"]),
        collections.arrange(made.id, ME, ["b", "a"]),
        return_exceptions=True,
    )
    refused = isinstance(results[1], Conflict)
    assert await held(collections, made) == (["a", "b", "c"] if refused else ["b", "a", "c"])


def test_an_error_names_some_of_many() -> None:
    assert named({f"asset_{number:02}" for number in range(12)}).endswith("'asset_09' and 2 more")
    assert len(named({"a" * 5000})) < 100
