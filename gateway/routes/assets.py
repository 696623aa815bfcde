"""The library over HTTP: lists and sums, one asset, registering, what is done with assets, and where they come from."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.assets.asset import Asset, Changes
from gateway.assets.inputs import IMAGE_MAX
from gateway.assets.registering import TEXTS, Said
from gateway.assets.search import Filters
from gateway.errors import InvalidRequest, NotFound, RequestError, StorageUnavailable
from gateway.routes import asset_asks as asks
from gateway.routes import asset_resource as shown
from gateway.routes.forms import spending
from gateway.routes.house import (
    Answer,
    House,
    connected,
    house_of,
    link,
    note,
    principal_of,
    read_body,
    request_id_of,
)
from gateway.routes.serving import serve_object
from gateway.wire import body as wire_body
from gateway.wire import native

CONTENT_BYTES: Final = 64 * 1024
"""Of a text that its asset is told with; longer ones are read by their link."""
SOURCES: Final = ("file_id", "url", "content")
"""Where what is registered comes from: one of these."""
URLS: Final = ("https://", "http://", "data:")
REGISTERED: Final = (
    *SOURCES,
    "mime",
    "asset_type",
    "title",
    "description",
    "prompt",
    "tags",
    "metadata",
    "source_module",
    "provider",
    "model",
    "cost",
    "currency",
    "generation_time",
    "parents",
)
MOST_PARENTS: Final = 16
CURRENCY_CHARACTERS: Final = 16
MOST_NUMBER: Final = 1e12
"""Of a cost or a time; what is larger is a mistake."""


async def index(request: Request) -> Answer:
    """GET /api/content-assets/, with filters, `sort`, `limit` and `offset`"""
    query = request.query_params
    filters = asks.filters_of_query(query, "sort", "limit", "offset")
    asked = asks.sliced(query)
    page = await house_of(request).search.page(
        principal_of(request).id, filters, order=asks.order_of(query), limit=asked.limit, offset=asked.offset
    )
    return listed(request, page.assets, page.total, asked)


async def stats(request: Request) -> Answer:
    """GET /api/content-assets/stats, with filters"""
    filters = asks.filters_of_query(request.query_params)
    return _answer(shown.sums(await house_of(request).search.stats(principal_of(request).id, filters)))


async def facets(request: Request) -> Answer:
    """GET /api/content-assets/facets"""
    asks.check_names(request.query_params, (), "parameter")
    found = await house_of(request).search.facets(principal_of(request).id)
    return _answer({"models": found.models, "tags": found.tags})


# --- one asset ---


async def show(request: Request) -> Answer:
    """GET /api/content-assets/{id}"""
    asset = await _asset(request)
    body = resource(request, asset)
    if asset.family == "text":
        body["content"] = await _content(house_of(request), asset)
    return _answer(body)


async def change(request: Request) -> Answer:
    """PATCH /api/content-assets/{id}"""
    changes = asks.changes_of(wire_body.decode(await read_body(request)))
    asset = await house_of(request).library.change(_id(request), principal_of(request).id, changes)
    return _answer(resource(request, asset))


async def delete(request: Request) -> Answer:
    """DELETE /api/content-assets/{id}"""
    asset_id = _id(request)
    if not await house_of(request).library.remove([asset_id], principal_of(request).id):
        raise _no_such(asset_id)
    return _answer({"id": asset_id, "object": "asset.deleted", "deleted": True})


async def favorite(request: Request) -> Answer:
    """POST /api/content-assets/{id}/favorite: the other way round, or as `{is_favorite}` says"""
    sent = await read_body(request)
    body = wire_body.decode(sent) if sent else {}
    asks.check_names(body, ("is_favorite",), "field")
    wanted = wire_body.read(body, "is_favorite", bool)
    library, owner = house_of(request).library, principal_of(request).id
    if wanted is None:
        now = await library.toggle(_id(request), owner)
    else:
        given = Changes(is_favorite=wanted, given=frozenset({"is_favorite"}))
        now = (await library.change(_id(request), owner, given)).is_favorite
    return _answer({"id": _id(request), "is_favorite": now})


async def use(request: Request) -> Answer:
    """POST /api/content-assets/{id}/usage `{action}`"""
    action = asks.action_of(wire_body.decode(await read_body(request)))
    return _answer(shown.counts(await house_of(request).library.count(_id(request), principal_of(request).id, action)))


async def content(request: Request) -> Response:
    """GET, HEAD /api/content-assets/{id}/content?download="""
    asks.check_names(request.query_params, ("download",), "parameter")
    attachment = asks.flag(request.query_params, "download")
    asset = await _asset(request)
    storage = house_of(request).storage
    return await serve_object(
        request, storage, asset.key, mime=asset.mime, filename=asset.filename, attachment=attachment
    )


async def thumbnail(request: Request) -> Response:
    """GET, HEAD /api/content-assets/{id}/thumbnail"""
    asset = await _asset(request)
    key = asset.thumbnail
    if key is None:
        raise NotFound(f"there is no preview of asset {asset.id!r}", code="no_preview")
    return await serve_object(request, house_of(request).storage, key)


async def lineage(request: Request) -> Answer:
    """GET /api/content-assets/{id}/lineage"""
    house, asset_id, owner = house_of(request), _id(request), principal_of(request).id
    up, down = await house.lineage.ancestors(asset_id, owner), await house.lineage.descendants(asset_id, owner)
    to = partial(link, request)
    return _answer(
        {
            "id": asset_id,
            "ancestors": shown.line(up, to),
            "descendants": shown.line(down, to),
            "complete": up.complete and down.complete,
        }
    )


# --- registering ---


async def register(request: Request) -> Answer:
    """POST /api/content-assets/: something made elsewhere, by `file_id`, `url` or `content`"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, REGISTERED, "field")
    source = _source(body)
    said = _said(request, body)
    house = house_of(request)
    with connected(request):
        await house.registering.check_parents(said)
        asset = await _registered(house, source, body, said)
    note(request, asset=asset.id)
    headers = [(b"location", f"/api/content-assets/{asset.id}".encode())]
    return Answer(msgspec.json.encode(resource(request, asset)), status=201, headers=headers)


async def _registered(house: House, source: str, body: asks.Body, said: Said) -> Asset:
    given = wire_body.text(body, source) or ""
    match source:
        case "file_id":
            return await house.registering.file(given, said)
        case "content":
            return await house.registering.text(given, _mime(body), said)
    if not given.startswith(URLS):
        raise InvalidRequest("'url' must be an http(s) or data: URL", param="url", code="invalid_url")
    with spending(house, IMAGE_MAX):
        try:
            brought = await house.inputs.bring(given)
            return await house.registering.fetched(brought.data, brought.name, said)
        except RequestError as error:
            error.param = "url" if error.param in (None, "file") else error.param
            raise


def _source(body: asks.Body) -> str:
    given = [name for name in SOURCES if name in body and bytes(body[name]) != b"null"]
    if len(given) != 1:
        raise InvalidRequest(
            f"exactly one of {', '.join(SOURCES)} is needed, not {' and '.join(given) or 'none'}",
            param=given[1] if given else SOURCES[0],
            code="invalid_value" if given else "missing_required_parameter",
        )
    return given[0]


def _said(request: Request, body: asks.Body) -> Said:
    family = asks.known("asset_type", wire_body.text(body, "asset_type"), shown.ASSET_TYPES)
    cost, currency = wire_body.read(body, "cost", float), asks.text(body, "currency", CURRENCY_CHARACTERS)
    if (cost is None) != (currency is None):
        raise InvalidRequest(
            "'cost' and 'currency' go together: 0.04 and 'USD', say", param="currency" if currency is None else "cost"
        )
    if currency is not None and not (currency.isascii() and currency.isalpha()):
        raise InvalidRequest("'currency' must be a code of letters, like 'USD'", param="currency")
    return Said(
        owner=principal_of(request).id,
        request_id=request_id_of(request),
        family=family,
        title=asks.text(body, "title", asks.TITLE_CHARACTERS),
        description=asks.text(body, "description", asks.DESCRIPTION_CHARACTERS),
        prompt=asks.text(body, "prompt", native.MAX_PROMPT) or "",
        tags=asks.tags(wire_body.read(body, "tags", list[str]) or ()),
        metadata=asks.metadata(body),
        source_module=asks.text(body, "source_module", asks.WORD_CHARACTERS) or "registered",
        provider=asks.text(body, "provider", asks.WORD_CHARACTERS) or "",
        model=asks.text(body, "model", asks.WORD_CHARACTERS) or "",
        cost=_not_negative("cost", cost),
        currency=currency,
        generation_time=_not_negative("generation_time", wire_body.read(body, "generation_time", float)),
        parents=tuple(asks.distinct(wire_body.read(body, "parents", list[str]) or (), "parents", most=MOST_PARENTS)),
    )


def _mime(body: asks.Body) -> str:
    return asks.known("mime", wire_body.text(body, "mime"), tuple(TEXTS)) or "text/plain"


def _not_negative(name: str, number: float | None) -> float | None:
    if number is not None and not 0 <= number < MOST_NUMBER:
        raise InvalidRequest(f"'{name}' must be a number of 0 or more", param=name)
    return number


# --- many ---


async def delete_many(request: Request) -> Answer:
    """POST /api/content-assets/delete `{asset_ids}` or `{filter, confirm: true}`; `dry_run: true` only counts"""
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("asset_ids", "filter", "confirm", "dry_run"), "field")
    if ("asset_ids" in body) == ("filter" in body):
        raise InvalidRequest("exactly one of 'asset_ids' and 'filter' is needed", param="asset_ids")
    dry = wire_body.read(body, "dry_run", bool) or False
    if "asset_ids" in body:
        return await _delete_named(request, asks.ids(body), dry=dry)
    filters = asks.filters_of_body(body, "filter")
    if not dry and not wire_body.read(body, "confirm", bool):
        raise InvalidRequest(
            "'confirm' must be true to delete all that a filter finds",
            param="confirm",
            advice="See with 'dry_run': true how many they are",
        )
    return await _delete_found(request, filters, dry=dry)


async def _delete_named(request: Request, asset_ids: list[str], *, dry: bool) -> Answer:
    library, owner = house_of(request).library, principal_of(request).id
    if dry:
        found = await library.many(asset_ids, owner)
        gone, size = {asset.id for asset in found}, sum(asset.size for asset in found)
        answer: dict[str, Any] = {"dry_run": True, "count": len(found), "bytes": size}
    else:
        gone = set(await library.remove(asset_ids, owner))
        answer = {"deleted": len(gone)}
    return _answer({**answer, "not_found": [one for one in asset_ids if one not in gone]})


async def _delete_found(request: Request, filters: Filters, *, dry: bool) -> Answer:
    """A batch at a time: who leaves has some of them deleted."""
    house, owner = house_of(request), principal_of(request).id
    if dry:
        total = (await house.search.stats(owner, filters)).total
        return _answer({"dry_run": True, "count": total.count, "bytes": total.size, "not_found": []})
    deleted = 0
    with connected(request):
        async with aclosing(house.search.walk(owner, filters)) as batches:
            async for batch in batches:
                deleted += len(await house.library.remove([asset.id for asset in batch], owner))
    return _answer({"deleted": deleted, "not_found": []})


# --- steps ---


def resource(request: Request, asset: Asset) -> dict[str, Any]:
    return shown.resource(asset, partial(link, request))


def listed(request: Request, assets: list[Asset], total: int, asked: asks.Slice) -> Answer:
    """A page of assets."""
    page = {"assets": [resource(request, asset) for asset in assets], "total": total}
    return _answer({**page, "limit": asked.limit, "offset": asked.offset})


async def _asset(request: Request) -> Asset:
    """The asset of the path. Raises NotFound."""
    return await house_of(request).library.get(_id(request), principal_of(request).id)


async def _content(house: House, asset: Asset) -> str | None:
    """The text itself, where it is short and can be read now."""
    if asset.size > CONTENT_BYTES:
        return None
    try:
        data = b"".join([chunk async for chunk in house.storage.get(asset.key)])
    except (NotFound, StorageUnavailable):
        return None
    return data.decode("utf-8-sig", "replace")


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(msgspec.json.encode(body))


def _no_such(asset_id: str) -> NotFound:
    return NotFound(f"no asset {asset_id[:80]!r}", code="asset_not_found")
