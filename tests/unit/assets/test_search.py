"""Lists, filters, sums: the same on both databases, and never anything of somebody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from gateway.assets.asset import Asset, Changes, belongs
from gateway.assets.library import Library
from gateway.assets.search import ORDERS, Filters, Order, Search
from gateway.assets.stats import Sum
from gateway.db.engine import Database
from gateway.db.tables import assets, collection_assets, collections
from gateway.errors import InvalidRequest
from tests.unit.assets.shelf import OWNER, asset, shelved
from tests.unit.db.looks import found_by_words, kept_words

pytestmark = pytest.mark.anyio

JANUARY, FEBRUARY = 1_767_225_600.0, 1_769_904_000.0
"""When these months of 2026 begin, UTC."""


def some() -> list[Asset]:
    """Twelve of the owner, oldest first."""
    made = [asset(f"a{n:02}", created_at=JANUARY + n * 86_400, prompt=f"fox {n}", size=100 - n) for n in range(12)]
    made[1] = replace(made[1], family="video", kind="t2v", model="wan", upstream="qwen", tags=("Night Sky", "final"))
    made[2] = replace(made[2], family="video", kind="i2v", model="wan", upstream="ark", tags=("final",), use_count=5)
    made[3] = replace(made[3], source_module="import", task_id="task_3", is_favorite=True, updated_at=FEBRUARY)
    made[4] = replace(made[4], title="Sunset", description="over 海边", use_count=2)
    made[5] = replace(made[5], created_at=made[6].created_at)
    made[7] = replace(made[7], cost=0.5, currency="USD", created_at=FEBRUARY)
    made[8] = replace(made[8], cost=0.25, currency="USD", is_favorite=True)
    made[9] = replace(made[9], cost=3.0, currency="CNY")
    return made


def others() -> list[Asset]:
    """The same, of another owner."""
    return [replace(one, id=f"b{one.id[1:]}", owner="bob") for one in some()]


@pytest.fixture
async def library(database: Database) -> Library:
    library = await shelved(database, *some(), *others())
    rows = [("c1", OWNER, ("a01", "a04", "a11")), ("c2", "bob", ("b01", "b02", "a00"))]
    async with database.write() as connection:
        for name, owner, held in rows:
            row = {"id": name, "owner": owner, "name": name, "created_at": 1.0, "updated_at": 1.0}
            await connection.execute(insert(collections), row)
            places = [{"collection_id": name, "asset_id": one, "position": 0, "added_at": 1.0} for one in held]
            await connection.execute(insert(collection_assets), places)
    return library


@pytest.fixture
def search(library: Library) -> Search:
    return Search(library.database)


async def ids(library_search: Search, /, *, owner: str = OWNER, **filters: Any) -> list[str]:
    page = await library_search.page(owner, Filters(**filters), limit=100)
    assert page.total == len(page.assets)
    return [one.id for one in page.assets]


NEWEST = ["a07", "a11", "a10", "a09", "a08", "a06", "a05", "a04", "a03", "a02", "a01", "a00"]
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, NEWEST),
    ({"family": "video"}, ["a02", "a01"]),
    ({"kind": "i2v"}, ["a02"]),
    ({"model": "wan"}, ["a02", "a01"]),
    ({"model": "wan", "provider": "ark"}, ["a02"]),
    ({"provider": "qwen"}, ["a01"]),
    ({"source_module": "import"}, ["a03"]),
    ({"task_id": "task_3"}, ["a03"]),
    ({"favorites_only": True}, ["a08", "a03"]),
    ({"tags": ("final",)}, ["a02", "a01"]),
    ({"tags": ("FINAL", " night  sky ")}, ["a01"]),
    ({"tags": ("night",)}, []),
    ({"collection": "c1"}, ["a11", "a04", "a01"]),
    ({"collection": "c1", "family": "video"}, ["a01"]),
    ({"collection": "c2"}, []),
    ({"collection": "none"}, []),
    ({"since": FEBRUARY}, ["a07"]),
    ({"until": JANUARY + 86_400}, ["a00"]),
    ({"since": JANUARY + 86_400, "until": JANUARY + 3 * 86_400}, ["a02", "a01"]),
    ({"search": "fox"}, NEWEST),
    ({"search": "sunset"}, ["a04"]),
    ({"search": "海边"}, ["a04"]),
    ({"search": "night"}, ["a01"]),
    ({"search": "fox", "family": "video", "provider": "ark", "model": "wan", "kind": "i2v"}, ["a02"]),
    ({"search": "fox", "favorites_only": True}, ["a08", "a03"]),
    ({"search": "fox", "tags": ("final",), "since": JANUARY + 2 * 86_400}, ["a02"]),
    ({"search": "fox", "collection": "c1"}, ["a11", "a04", "a01"]),
    ({"search": "fox", "task_id": "task_3", "source_module": "import"}, ["a03"]),
    ({"search": "fox", "until": JANUARY + 86_400}, ["a00"]),
    ({"search": '"fox sunset"'}, []),
]


@pytest.mark.parametrize(("filters", "right"), CASES)
async def test_filters_leave_what_all_of_them_let_through(
    search: Search, filters: dict[str, Any], right: list[str]
) -> None:
    assert await ids(search, **filters) == right
    walked = [one.id async for batch in search.walk(OWNER, Filters(**filters), batch=2) for one in batch]
    assert walked == right
    stats = await search.stats(OWNER, Filters(**filters))
    assert stats.total.count == len(right)
    assert sum(month.count for month in stats.by_month.values()) == len(right)


@pytest.mark.parametrize(("filters", "right"), CASES)
async def test_nobody_finds_what_is_another_owner_s(search: Search, filters: dict[str, Any], right: list[str]) -> None:
    found = await ids(search, owner="bob", **filters)
    collected = {"c1": [], "c2": ["b02", "b01"]}.get(filters.get("collection", ""))
    assert found == ([f"b{one[1:]}" for one in right] if collected is None else collected)
    assert await ids(search, owner="eve", **filters) == []
    assert (await search.stats("eve", Filters(**filters))).total == Sum()
    assert [batch async for batch in search.walk("eve", Filters(**filters))] == []
    assert await search.facets("eve") == replace(await search.facets("eve"), models={}, tags={})


ORDERED: dict[str, list[str]] = {
    "created_at": NEWEST[::-1],
    "size": ["a11", "a10", "a09", "a08", "a07", "a06", "a05", "a04", "a03", "a02", "a01", "a00"],
    "use_count": [*(one for one in NEWEST[::-1] if one not in ("a02", "a04")), "a04", "a02"],
    "updated_at": [*(one for one in NEWEST[::-1] if one not in ("a03", "a07")), "a03", "a07"],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("words", [None, "fox"])
async def test_pages_follow_each_other_in_every_order(search: Search, order: Order, words: str | None) -> None:
    right = ORDERED[order.removeprefix("-")]
    right = right[::-1] if order.startswith("-") else right
    pages = [
        await search.page(OWNER, Filters(search=words), order=order, limit=5, offset=offset)
        for offset in (0, 5, 10, 15)
    ]
    assert [one.id for page in pages for one in page.assets] == right
    assert [len(page.assets) for page in pages] == [5, 5, 2, 0]
    assert {page.total for page in pages} == {12}


async def test_an_asset_is_shown_as_it_was_added(search: Search) -> None:
    page = await search.page(OWNER, Filters(tags=("night sky",)))
    assert page.assets == [some()[1]]


async def test_a_walk_goes_on_past_what_is_entered_and_removed_meanwhile(search: Search, library: Library) -> None:
    walked: list[str] = []
    async for batch in search.walk(OWNER, Filters(search="fox"), batch=5):
        walked += [one.id for one in batch]
        await library.remove([one.id for one in batch], OWNER)
        await library.add(asset(f"new{len(walked)}", prompt="fox", created_at=FEBRUARY + len(walked)))
    assert walked == NEWEST
    assert sorted(await ids(search)) == ["new10", "new12", "new5"]


async def test_sums_are_those_of_what_is_found(search: Search) -> None:
    stats = await search.stats(OWNER, Filters())
    assert stats.total == Sum(12, sum(one.size for one in some()), {"CNY": 3.0, "USD": 0.75})
    assert stats.favorites == 2
    assert {name: one.count for name, one in stats.by_family.items()} == {"image": 10, "video": 2}
    assert stats.by_family["video"] == Sum(2, 197, {})
    assert {name: one.count for name, one in stats.by_model.items()} == {"m": 10, "wan": 2}
    assert {name: one.count for name, one in stats.by_provider.items()} == {"ark": 1, "qwen": 1, "up": 10}
    assert {name: one.count for name, one in stats.by_month.items()} == {"2026-01": 11, "2026-02": 1}
    assert stats.by_month["2026-02"] == Sum(1, 93, {"USD": 0.5})
    found = await search.stats(OWNER, Filters(search="fox", favorites_only=True))
    assert (found.total, found.favorites) == (Sum(2, 189, {"USD": 0.25}), 2)
    assert (await search.stats(OWNER, Filters(family="audio"))).by_month == {}


async def test_months_end_when_they_end(database: Database) -> None:
    edges = (("a", FEBRUARY - 0.001), ("b", FEBRUARY), ("c", FEBRUARY + 43_200), ("d", JANUARY))
    await shelved(database, *(asset(name, created_at=moment) for name, moment in edges))
    stats = await Search(database).stats(OWNER, Filters())
    assert {name: one.count for name, one in stats.by_month.items()} == {"2026-01": 2, "2026-02": 2}


async def test_facets_tell_what_there_is_to_filter_by(search: Search) -> None:
    found = await search.facets(OWNER)
    assert list(found.models.items()) == [("m", 10), ("wan", 2)]
    assert list(found.tags.items()) == [("final", 2), ("night sky", 1)]
    few = await search.facets(OWNER, most=1)
    assert (few.models, few.tags) == ({"m": 10}, {"final": 2})


@pytest.mark.parametrize("name", ["source_module", "provider", "model", "kind", "collection", "search", "task_id"])
@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
async def test_what_no_database_takes_is_refused(search: Search, name: str, bad: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        await search.page(OWNER, Filters(**{name: bad}))
    assert told.value.param == name
    with pytest.raises(InvalidRequest):
        await search.page(OWNER, Filters(tags=("fine", bad)))


async def test_words_alone_make_nobody_an_owner(search: Search) -> None:
    async with search.database.write() as connection:
        stolen = select(assets.c.words).where(assets.c.id == "a00").scalar_subquery()
        await connection.execute(update(assets).where(assets.c.id == "b01").values(words=stolen))
    assert await ids(search, search="fox") == NEWEST


# --- the index is in step, whatever is done ---


async def in_step(database: Database) -> bool:
    async with database.read() as connection:
        return await connection.run_sync(found_by_words) == await connection.run_sync(kept_words)


async def test_changes_are_found_and_what_was_is_not(search: Search, library: Library) -> None:
    given = frozenset({"title", "tags"})
    await library.change("a00", OWNER, Changes(title="Zeppelin", tags=("Sky",), given=given))
    assert await ids(search, search="zeppelin") == ["a00"]
    assert await ids(search, tags=("sky",), search="fox") == ["a00"]
    await library.change("a00", OWNER, Changes(title=None, tags=(), given=given))
    assert await ids(search, search="zeppelin") == await ids(search, tags=("sky",)) == []
    await library.change("a00", OWNER, Changes(prompt="a whale", given=frozenset({"prompt"})))
    assert "a00" not in await ids(search, search="fox")
    assert await ids(search, search="whale") == ["a00"]
    assert await in_step(search.database)


async def test_what_is_counted_liked_and_paid_is_filtered_by_at_once(search: Search, library: Library) -> None:
    assert await library.toggle("a00", OWNER)
    await library.count("a05", OWNER, "use")
    async with search.database.write() as connection:
        await connection.execute(update(assets).where(assets.c.id == "a00").values(cost=7.0, currency="EUR"))
    assert await ids(search, search="fox", favorites_only=True) == ["a08", "a03", "a00"]
    page = await search.page(OWNER, Filters(search="fox"), order="-use_count", limit=3)
    assert [one.id for one in page.assets] == ["a02", "a04", "a05"]
    assert (await search.stats(OWNER, Filters(search="fox"))).total.cost == {"CNY": 3.0, "EUR": 7.0, "USD": 0.75}


async def test_removed_assets_leave_nothing_in_the_index(search: Search, library: Library) -> None:
    await library.remove([one.id for one in some()], OWNER)
    await library.remove([one.id for one in others()], "bob")
    assert await in_step(search.database)
    async with search.database.read() as connection:
        assert await connection.run_sync(found_by_words) == {}
    await library.add(asset("again", prompt="fox"))
    assert await ids(search, search="fox") == ["again"]


async def test_what_is_not_committed_is_not_indexed(search: Search) -> None:
    with pytest.raises(LookupError):
        async with search.database.write() as connection:
            await connection.execute(update(assets).values(words="whale"))
            await connection.execute(text("DELETE FROM assets WHERE id = 'a00'"))
            raise LookupError
    assert await ids(search, search="fox") == NEWEST
    assert await in_step(search.database)


async def test_vacuum_leaves_every_asset_its_own_words(search: Search, library: Library) -> None:
    """It may number the rows of a table anew whose key is no number."""
    if search.database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL has its index in the row")
    await library.remove([f"a{n:02}" for n in range(0, 12, 2)], OWNER)
    async with search.database.read() as connection:
        await connection.exec_driver_sql("ROLLBACK")
        await connection.exec_driver_sql("VACUUM")
        await connection.exec_driver_sql("BEGIN")
    assert await ids(search, search="fox") == [one for one in NEWEST if int(one[1:]) % 2]
    assert await ids(search, search="night") == ["a01"]
    assert await in_step(search.database)


LISTED = "USING COVERING INDEX ix_assets_listed (owner=?"


@pytest.mark.parametrize(
    ("filters", "by"),
    [
        (Filters(), LISTED),
        (Filters(since=1.0, until=2.0), LISTED),
        (Filters(family="video", model="wan", kind="t2v", provider="up", favorites_only=True), LISTED),
        (Filters(task_id="task_3"), "USING INDEX ix_assets_task_id (task_id=?"),
        (Filters(collection="c1"), "USING INDEX sqlite_autoindex_assets_1 (id=?"),
        (Filters(search="fox"), "asset_words VIRTUAL TABLE INDEX 0:M"),
        (Filters(tags=("final",), collection="c1"), "asset_words VIRTUAL TABLE INDEX 0:M"),
    ],
)
async def test_sqlite_looks_where_the_fewest_are(search: Search, filters: Filters, by: str) -> None:
    """It knows no numbers of rows, so this is all up to the query. PostgreSQL does know them."""
    database = search.database
    if database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL plans by how many rows there are")
    chosen = search._chosen(OWNER, filters)
    query = chosen.of(chosen.table.c.id, chosen.table.c.size).order_by(chosen.table.c.size)
    assert by in (await planned(database, query))[0]


async def test_sqlite_goes_through_no_owner_s_assets_for_a_few_ids_or_keys(search: Search) -> None:
    database = search.database
    if database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL plans by how many rows there are")
    many = [f"a{number}" for number in range(50)]
    for column in (assets.c.id, assets.c.key):
        query = select(assets.c.size).where(column.in_(many), belongs(assets, OWNER))
        [plan] = await planned(database, query)
        assert f"({column.name}=?)" in plan


async def planned(database: Database, query: Any) -> list[str]:
    async with database.look() as connection:
        told = query.compile(connection.sync_connection, compile_kwargs={"literal_binds": True})
        return [row[3] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {told}")]
