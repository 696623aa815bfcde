"""Collections over HTTP: making, naming, filling, ordering and deleting them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request

from gateway.assets.collections import MOST_ASSETS, Changes, Collection
from gateway.errors import InvalidRequest, NotFound
from gateway.routes import asset_asks as asks
from gateway.routes.assets import listed
from gateway.routes.house import Answer, house_of, link, principal_of, read_body
from gateway.wire import body as wire_body

NAME_CHARACTERS: Final = 200
FIELDS: Final = ("name", "description", "cover_asset_id")


async def index(request: Request) -> Answer:
    """GET /api/collections?limit=&offset="""
    query = request.query_params
    asks.check_names(query, ("limit", "offset"), "parameter")
    asked = asks.sliced(query)
    page, total = await house_of(request).collections.page(
        principal_of(request).id, limit=asked.limit, offset=asked.offset
    )
    shown = [resource(request, one) for one in page]
    return _answer({"collections": shown, "total": total, "limit": asked.limit, "offset": asked.offset})


async def create(request: Request) -> Answer:
    """POST /api/collections `{name, description?, asset_ids?}`"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("name", "description", "asset_ids"), "field")
    wire_body.need(body, "name", str)
    asset_ids = asks.distinct(wire_body.read(body, "asset_ids", list[str]) or (), "asset_ids", most=asks.MOST_IDS)
    made = await house_of(request).collections.create(
        principal_of(request).id, _name(body), asks.text(body, "description", asks.DESCRIPTION_CHARACTERS), asset_ids
    )
    headers = [(b"location", f"/api/collections/{made.id}".encode())]
    return Answer(msgspec.json.encode(resource(request, made)), status=201, headers=headers)


async def show(request: Request) -> Answer:
    """GET /api/collections/{id}"""
    return await _shown(request)


async def change(request: Request) -> Answer:
    """PATCH /api/collections/{id}: name, description and cover; null clears the last two"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, FIELDS, "field")
    if not body:
        raise InvalidRequest(f"the body names nothing to change: use {', '.join(FIELDS)}")
    changes = Changes(
        name=_name(body) if "name" in body else "",
        description=asks.text(body, "description", asks.DESCRIPTION_CHARACTERS),
        cover_asset_id=asks.text(body, "cover_asset_id", asks.WORD_CHARACTERS),
        given=frozenset(body),
    )
    changed = await house_of(request).collections.change(_id(request), principal_of(request).id, changes)
    return _answer(resource(request, changed))


async def delete(request: Request) -> Answer:
    """DELETE /api/collections/{id}: its assets stay in the library"""
    await house_of(request).collections.delete(_id(request), principal_of(request).id)
    return _answer({"id": _id(request), "object": "collection.deleted", "deleted": True})


# --- what one holds ---


async def assets(request: Request) -> Answer:
    """GET /api/collections/{id}/assets?limit=&offset="""
    query = request.query_params
    asks.check_names(query, ("limit", "offset"), "parameter")
    asked = asks.sliced(query)
    house, owner = house_of(request), principal_of(request).id
    asset_ids, total = await house.collections.holds(_id(request), owner, limit=asked.limit, offset=asked.offset)
    return listed(request, await house.library.many(asset_ids, owner), total, asked)


async def put_in(request: Request) -> Answer:
    """POST /api/collections/{id}/assets `{asset_ids}`: at the end"""
    asset_ids = await _ids(request, asks.MOST_IDS)
    added = await house_of(request).collections.put_in(_id(request), principal_of(request).id, asset_ids)
    return await _shown(request, added=added)


async def take_out(request: Request) -> Answer:
    """DELETE /api/collections/{id}/assets `{asset_ids}`: those it does not hold are none of its business"""
    asset_ids = await _ids(request, asks.MOST_IDS)
    removed = await house_of(request).collections.take_out(_id(request), principal_of(request).id, asset_ids)
    return await _shown(request, removed=removed)


async def take_one_out(request: Request) -> Answer:
    """DELETE /api/collections/{id}/assets/{asset_id}"""
    asset_id = request.path_params["asset_id"]
    removed = await house_of(request).collections.take_out(_id(request), principal_of(request).id, [asset_id])
    if not removed:
        raise NotFound(f"the collection holds no asset {asset_id[:80]!r}", param="asset_id", code="asset_not_found")
    return await _shown(request, removed=removed)


async def arrange(request: Request) -> Answer:
    """PUT /api/collections/{id}/order `{asset_ids}`: all that it holds, in their new order"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("asset_ids",), "field")
    given = wire_body.need(body, "asset_ids", list[str])
    asset_ids = asks.distinct(given, "asset_ids", most=MOST_ASSETS)
    if len(asset_ids) != len(given):
        raise InvalidRequest("'asset_ids' names an asset more than once", param="asset_ids")
    await house_of(request).collections.arrange(_id(request), principal_of(request).id, asset_ids)
    return await _shown(request)


# --- steps ---


def resource(request: Request, one: Collection) -> dict[str, Any]:
    """A collection as its owner sees it. Times are Unix seconds; the link is made now."""
    return {
        "id": one.id,
        "object": "collection",
        "name": one.name,
        "description": one.description,
        "cover_asset_id": one.cover_asset_id,
        "cover_url": None if one.cover_key is None else link(request, one.cover_key),
        "asset_count": one.count,
        "created_at": int(one.created_at),
        "updated_at": int(one.updated_at),
    }


async def _shown(request: Request, **more: int) -> Answer:
    found = await house_of(request).collections.get(_id(request), principal_of(request).id)
    return _answer({**resource(request, found), **more})


async def _ids(request: Request, most: int) -> list[str]:
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("asset_ids",), "field")
    return asks.ids(body, most=most)


def _name(body: asks.Body) -> str:
    found = asks.text(body, "name", NAME_CHARACTERS)
    if found is None:
        raise InvalidRequest(f"'name' must be a text of 1 to {NAME_CHARACTERS} characters", param="name")
    return found


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(msgspec.json.encode(body))
