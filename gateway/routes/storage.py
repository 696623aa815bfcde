"""The storage, for operators: how it stands, whether it works, collecting what is nobody's, removing what is old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from gateway.assets.collector import LEAST_SECONDS, Collected, Rules
from gateway.assets.keeping import CHECK, COLLECTION, RETENTION, plain
from gateway.errors import Forbidden, InvalidRequest, UnknownParameter
from gateway.routes.house import Answer, House, connected, house_of, note, principal_of, read_body
from gateway.wire import body as wire_body

MOST_HOURS: Final = 10 * 366 * 24.0
HOUR: Final = 3600.0


async def show(request: Request) -> Answer:
    """GET /api/storage"""
    house = _admitted(request)
    last = await house.keeping.last()
    held = await house.holdings.by_folder()
    config = house.config.storage
    body = {
        "store": urlsplit(config.url).scheme,
        "redirect": config.redirect,
        "direct_uploads": config.direct_uploads,
        "retention_days": house.config.retention.model_dump(),
        "folders": {name: asdict(folder) for name, folder in held.items()},
        "check": last[CHECK],
        "collection": last[COLLECTION],
        "retention": last[RETENTION],
    }
    return Answer(msgspec.json.encode(body))


async def check(request: Request) -> Answer:
    """POST /api/storage/check: try all that is needed of it, on a small object."""
    house = _admitted(request)
    with connected(request):
        told = await house.keeping.check()
    return Answer(msgspec.json.encode(told))


async def collect(request: Request) -> Answer:
    """POST /api/storage/collect `{dry_run?, older_than_hours?, include_earlier?, remove_missing?}`"""
    house = _admitted(request)
    rules = _rules(await _body(request, "dry_run", "older_than_hours", "include_earlier", "remove_missing"))
    with connected(request):
        result = await house.keeping.collect(rules)
    note(request, dry_run=rules.dry_run, deleted=result.deleted.count)
    return Answer(msgspec.json.encode(_collection(result)))


async def retain(request: Request) -> Answer:
    """POST /api/storage/retention `{dry_run?}`"""
    house = _admitted(request)
    dry_run = _flag(await _body(request, "dry_run"), "dry_run", usual=True)
    with connected(request):
        result = plain(await house.keeping.retain(dry_run=dry_run))
    note(request, dry_run=dry_run, removed=sum(one["removed"] for one in result.values()))
    return Answer(msgspec.json.encode({"object": "storage.retention", "dry_run": dry_run, "data": result}))


# --- steps ---


def _admitted(request: Request) -> House:
    if principal_of(request).role != "admin":
        raise Forbidden("this key may not look after the storage: that takes one of the role admin")
    return house_of(request)


async def _body(request: Request, *known: str) -> Mapping[str, msgspec.Raw]:
    """The body, which may be empty. Raises UnknownParameter for anything but these."""
    data = await read_body(request)
    body = wire_body.decode(data) if data else {}
    if unknown := body.keys() - set(known):
        name = min(unknown)
        raise UnknownParameter(f"{name!r} is an unknown key; there are {', '.join(sorted(known))}", param=name)
    return body


def _rules(body: Mapping[str, msgspec.Raw]) -> Rules:
    hours = wire_body.read(body, "older_than_hours", float)
    least = LEAST_SECONDS / HOUR
    if hours is not None and not least <= hours <= MOST_HOURS:
        raise InvalidRequest(
            f"'older_than_hours' must be a number from {least:g} to {MOST_HOURS:g}", param="older_than_hours"
        )
    usual = Rules()
    return Rules(
        dry_run=_flag(body, "dry_run", usual=usual.dry_run),
        older_than=usual.older_than if hours is None else hours * HOUR,
        include_earlier=_flag(body, "include_earlier", usual=usual.include_earlier),
        remove_missing=_flag(body, "remove_missing", usual=usual.remove_missing),
    )


def _flag(body: Mapping[str, msgspec.Raw], name: str, *, usual: bool) -> bool:
    found = wire_body.read(body, name, bool)
    return usual if found is None else found


def _collection(result: Collected) -> dict[str, Any]:
    return {"object": "storage.collection", **plain(result)}
