"""Where assets come from and what became of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from gateway.assets.lineage import Lineage
from gateway.db.engine import Database
from gateway.db.tables import asset_parents, files
from gateway.errors import NotFound
from tests.unit.assets.shelf import OWNER, asset, shelved

pytestmark = pytest.mark.anyio

PARENTS = {
    "a": ["file_1"],
    "b": ["a"],
    "c": ["b", "a", "gone"],
    "d": ["c"],
    "e": ["c", "b"],
    "x": ["y"],
    "y": ["x", "y"],
    "of-bob": ["bob", "file_2"],
    "bob": ["bob's", "a"],
}
"""`of-bob` says, as no request can, that it comes from what is bob's; and `bob` is bob's and comes from `a`."""


@pytest.fixture
async def lineage(database: Database) -> Lineage:
    made = [asset(name, created_at=float(number)) for number, name in enumerate(PARENTS) if name != "bob"]
    await shelved(database, *made, asset("bob", owner="bob"), asset("bob's", owner="bob"))
    rows = [(name, at, parent) for name, parents in PARENTS.items() for at, parent in enumerate(parents)]
    async with database.write() as connection:
        await connection.execute(
            insert(asset_parents),
            [{"asset_id": name, "position": at, "parent_id": parent} for name, at, parent in rows],
        )
        for number, owner in ((1, OWNER), (2, "bob")):
            row = {"id": f"file_{number}", "owner": owner, "key": f"k{number}", "name": "n.png", "mime": "image/png"}
            await connection.execute(insert(files).values(row | {"size": 1, "sha256": "", "created_at": 1.0}))
    return Lineage(database)


async def told(lineage: Lineage, way: str, asset_id: str, **bounds: Any) -> tuple[list[tuple[str, int]], bool]:
    line = await getattr(lineage, way)(asset_id, OWNER, **bounds)
    assert len({one.id for one in line.relatives}) == len(line.relatives)
    return [(one.id, one.generation) for one in line.relatives], line.complete


async def test_ancestors_are_told_once_the_nearest_first(lineage: Lineage) -> None:
    assert await told(lineage, "ancestors", "d") == (
        [("c", 1), ("b", 2), ("a", 2), ("gone", 2), ("file_1", 3)],
        True,
    )
    assert await told(lineage, "ancestors", "a") == ([("file_1", 1)], True)


async def test_descendants_are_told_once_the_nearest_and_the_eldest_first(lineage: Lineage) -> None:
    assert await told(lineage, "descendants", "a") == ([("b", 1), ("c", 1), ("d", 2), ("e", 2)], True)
    assert await told(lineage, "descendants", "e") == ([], True)


async def test_each_says_what_it_is_and_by_whom_it_was_reached(lineage: Lineage) -> None:
    line = await lineage.ancestors("d", OWNER)
    of = {one.id: one.of for one in line.relatives}
    assert of == {"c": "d", "b": "c", "a": "c", "gone": "c", "file_1": "a"}
    known = {one.id: one for one in line.relatives}
    assert (known["a"].asset, known["a"].file) == (asset("a", created_at=0.0), None)
    assert (known["gone"].asset, known["gone"].file) == (None, None)
    assert known["file_1"].asset is None
    assert known["file_1"].file is not None and known["file_1"].file.key == "k1"


async def test_circles_come_to_an_end(lineage: Lineage) -> None:
    for way in ("ancestors", "descendants"):
        assert await told(lineage, way, "x") == ([("y", 1)], True)
        assert await told(lineage, way, "y") == ([("x", 1)], True)


@pytest.mark.parametrize(("depth", "right"), [(1, 1), (2, 4), (3, 5)])
async def test_no_more_generations_are_followed_than_asked_for(lineage: Lineage, depth: int, right: int) -> None:
    found, complete = await told(lineage, "ancestors", "d", depth=depth)
    assert (len(found), complete) == (right, depth == 3)
    assert all(generation <= depth for _, generation in found)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
async def test_no_more_are_told_than_asked_for(lineage: Lineage, most: int) -> None:
    whole, _ = await told(lineage, "descendants", "a")
    assert await told(lineage, "descendants", "a", most=most) == (whole[:most], most == 4)


async def test_what_is_another_owner_s_is_neither_shown_nor_followed(lineage: Lineage) -> None:
    line = await lineage.ancestors("of-bob", OWNER)
    assert [(one.id, one.asset, one.file) for one in line.relatives] == [("bob", None, None), ("file_2", None, None)]
    assert "bob" not in [one.id for one in (await lineage.descendants("a", OWNER)).relatives]
    assert (await lineage.descendants("bob's", "bob")).relatives[0].id == "bob"


@pytest.mark.parametrize("way", ["ancestors", "descendants"])
@pytest.mark.parametrize("asset_id", ["bob", "none", "file_1", "\0", "\ud800"])
async def test_only_of_assets_that_are_there_and_one_s_own(lineage: Lineage, way: str, asset_id: str) -> None:
    with pytest.raises(NotFound) as error:
        await told(lineage, way, asset_id)
    assert (error.value.code, str(error.value)) == ("asset_not_found", f"no asset {asset_id!r}")
