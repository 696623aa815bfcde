from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.routes.library_rig import COLLECTIONS, Caller, Rig, opened

ADVICE = "GET /api/content-assets/ lists those that you have."


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with opened(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def me(rig: Rig) -> Caller:
    return rig.me


def made(caller: Caller, *asset_ids: str, **fields: Any) -> str:
    body = {"name": "Sea", "asset_ids": list(asset_ids)} | fields
    return str(caller.told("POST", COLLECTIONS, body, status=201)["id"])


def named(caller: Caller) -> list[tuple[Any, ...]]:
    """What there is, without links: those are made anew with every look."""
    told = caller.get(COLLECTIONS, limit=100).json()["collections"]
    return [(one["id"], one["name"], one["asset_count"], one["updated_at"]) for one in told]


def held(caller: Caller, collection: str, **params: int) -> list[str]:
    return [one["id"] for one in caller.get(f"{COLLECTIONS}/{collection}/assets", **params).json()["assets"]]


def test_one_is_made_shown_changed_and_deleted(me: Caller) -> None:
    asset = me.registers()
    answer = me.post(COLLECTIONS, {"name": "Sea", "description": "all of it", "asset_ids": [asset]})
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{COLLECTIONS}/{body['id']}"
    assert body == {
        "id": body["id"],
        "object": "collection",
        "name": "Sea",
        "description": "all of it",
        "cover_asset_id": None,
        "cover_url": None,
        "asset_count": 1,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
    path = f"{COLLECTIONS}/{body['id']}"
    assert me.told("GET", path) == body
    changed = me.told("PATCH", path, {"name": "Lake", "description": None})
    assert (changed["name"], changed["description"], changed["asset_count"]) == ("Lake", None, 1)
    assert me.told("DELETE", path) == {"id": body["id"], "object": "collection.deleted", "deleted": True}
    assert me.ask("DELETE", path).status_code == 404
    assert me.get(f"/api/content-assets/{asset}").status_code == 200


def test_they_are_listed_in_pages(rig: Rig) -> None:
    before = rig.other.told("GET", COLLECTIONS)["total"]
    first, second, third = [made(rig.other, name=str(number)) for number in range(3)]
    rig.other.told("PATCH", f"{COLLECTIONS}/{first}", {"name": "first"})
    page = rig.other.get(COLLECTIONS, limit=2).json()
    assert [one["id"] for one in page["collections"]] == [first, third]
    assert (page["total"], page["limit"], page["offset"]) == (before + 3, 2, 0)
    assert rig.other.get(COLLECTIONS, limit=2, offset=2).json()["collections"][0]["id"] == second


def test_the_cover_is_shown_by_its_thumbnail(me: Caller) -> None:
    plain, first, second = me.has(width=2000), me.has(preview=True), me.has(preview=True)
    path = f"{COLLECTIONS}/{made(me, first.id, second.id, plain.id)}"
    assert me.told("GET", path)["cover_url"].endswith(first.thumbnail_key)
    chosen = me.told("PATCH", path, {"cover_asset_id": second.id})
    assert (chosen["cover_asset_id"], chosen["cover_url"].endswith(second.thumbnail_key)) == (second.id, True)
    assert me.client.get(chosen["cover_url"]).status_code == 200
    assert me.told("PATCH", path, {"cover_asset_id": plain.id})["cover_url"] is None
    assert me.told("PATCH", path, {"cover_asset_id": None})["cover_url"].endswith(first.thumbnail_key)


def test_it_is_filled_emptied_and_put_in_order(me: Caller) -> None:
    a, b, c = me.registers("a"), me.registers("b"), me.registers("c")
    collection = made(me, a)
    path = f"{COLLECTIONS}/{collection}"
    added = me.told("POST", f"{path}/assets", {"asset_ids": [c, a, b]})
    assert (added["added"], added["asset_count"]) == (2, 3)
    assert held(me, collection) == [a, c, b]
    assert me.told("PUT", f"{path}/order", {"asset_ids": [b, c, a]})["id"] == collection
    assert held(me, collection) == [b, c, a]
    page = me.get(f"{path}/assets", limit=1, offset=1).json()
    assert (held(me, collection, limit=1, offset=1), page["total"], page["limit"], page["offset"]) == ([c], 3, 1, 1)
    assert page["assets"][0]["filename"] == "text.txt"
    assert me.told("DELETE", f"{path}/assets/{c}")["removed"] == 1
    assert me.told("DELETE", f"{path}/assets", {"asset_ids": [a, c]})["removed"] == 1
    assert held(me, collection) == [b]
    answer = me.ask("DELETE", f"{path}/assets/{c}")
    assert (answer.status_code, answer.json()) == (
        404,
        {
            "error": f"the collection holds no asset '{c}'. {ADVICE}",
            "code": "asset_not_found",
            "param": "asset_id",
            "advice": ADVICE,
        },
    )


def test_an_order_that_fits_no_more_is_a_conflict(me: Caller) -> None:
    a, b = me.registers("a"), me.registers("b")
    path = f"{COLLECTIONS}/{made(me, a, b)}"
    answer = me.ask("PUT", f"{path}/order", {"asset_ids": [a]})
    assert (answer.status_code, answer.json()["code"]) == (409, "order_mismatch")
    assert b in answer.json()["error"]


def test_deleting_an_asset_takes_it_out(me: Caller) -> None:
    a, b = me.registers("a"), me.registers("b")
    collection = made(me, a, b)
    me.told("DELETE", f"/api/content-assets/{a}")
    assert held(me, collection) == [b]
    assert me.told("GET", f"{COLLECTIONS}/{collection}")["asset_count"] == 1


WRONG: list[tuple[str, str, Any, int, str | None]] = [
    ("POST", "", {}, 400, "name"),
    ("POST", "", {"name": ""}, 400, "name"),
    ("POST", "", {"name": " \n"}, 400, "name"),
    ("POST", "", {"name": "x" * 201}, 400, "name"),
    ("POST", "", {"name": "a\0b"}, 400, "name"),
    ("POST", "", {"name": 1}, 400, "name"),
    ("POST", "", {"name": "Sea", "colour": "blue"}, 400, "colour"),
    ("POST", "", {"name": "Sea", "description": "x" * 5001}, 400, "description"),
    ("POST", "", {"name": "Sea", "asset_ids": "x"}, 400, "asset_ids"),
    ("POST", "", {"name": "Sea", "asset_ids": ["a\0b"]}, 400, "asset_ids"),
    ("POST", "", {"name": "Sea", "asset_ids": [""]}, 400, "asset_ids"),
    ("POST", "", {"name": "Sea", "asset_ids": ["asset_nope"]}, 400, "asset_ids"),
    ("POST", "", {"name": "Sea", "asset_ids": [f"asset_{number}" for number in range(1001)]}, 400, "asset_ids"),
    ("PATCH", "/{id}", {}, 400, None),
    ("PATCH", "/{id}", {"name": None}, 400, "name"),
    ("PATCH", "/{id}", {"id": "mine"}, 400, "id"),
    ("PATCH", "/{id}", {"cover_asset_id": "asset_nope"}, 400, "cover_asset_id"),
    ("POST", "/{id}/assets", {}, 400, "asset_ids"),
    ("POST", "/{id}/assets", {"asset_ids": []}, 400, "asset_ids"),
    ("POST", "/{id}/assets", {"asset_ids": ["asset_nope"]}, 400, "asset_ids"),
    ("DELETE", "/{id}/assets", {}, 400, "asset_ids"),
    ("DELETE", "/{id}/assets", {"asset_ids": [1]}, 400, "asset_ids[0]"),
    ("PUT", "/{id}/order", {"asset_ids": ["asset_1", "asset_1"]}, 400, "asset_ids"),
    ("PUT", "/{id}/order", {"ids": []}, 400, "ids"),
    ("GET", "?limit=0", None, 400, "limit"),
    ("GET", "?limit=101", None, 400, "limit"),
    ("GET", "?offset=-1", None, 400, "offset"),
    ("GET", "?page=2", None, 400, "page"),
    ("GET", "/{id}/assets?sort=name", None, 400, "sort"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "param"), WRONG)
def test_what_is_wrong_is_named_and_changes_nothing(
    me: Caller, method: str, path: str, body: Any, status: int, param: str | None
) -> None:
    asset = me.registers()
    collection = made(me, asset)
    before = named(me)
    answer = me.ask(method, COLLECTIONS + path.replace("{id}", collection), body)
    assert (answer.status_code, answer.json().get("param")) == (status, param)
    assert named(me) == before
    assert held(me, collection) == [asset]


def test_an_asset_in_the_list_that_is_not_there_is_named(me: Caller) -> None:
    answer = me.post(COLLECTIONS, {"name": "Sea", "asset_ids": ["asset_b", "asset_a"]})
    assert answer.json() == {
        "error": f"no asset 'asset_a', 'asset_b'. {ADVICE}",
        "code": "asset_not_found",
        "param": "asset_ids",
        "advice": ADVICE,
    }
