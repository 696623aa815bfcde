"""GET /api/history: the last generations, whether a task made them or the answer brought them."""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request

from gateway.assets.asset import Asset
from gateway.errors import InvalidRequest
from gateway.routes import asset_asks as asks
from gateway.routes import asset_resource as shown
from gateway.routes.house import Answer, house_of, link, principal_of
from gateway.routes.task_resource import failure
from gateway.tasks.history import Entry, Place, Wanted, page
from gateway.tasks.task import Task
from gateway.tasks.tasks import STATES_OF
from gateway.types import ChatRequest
from gateway.wire import openai_chat

PROMPT_CHARACTERS: Final = 2000
"""Of a prompt that a list shows; the task or the asset has all of it."""

_PLACE: Final = re.compile(r"([0-9.e+-]{1,32}) ([a-z]{1,16}_[0-9a-z]{1,64})")


async def index(request: Request) -> Answer:
    """GET /api/history?kind=&status=&model=&before=&limit="""
    query = request.query_params
    asks.check_names(query, ("kind", "status", "model", "before", "limit"), "parameter")
    given = {name: query.getlist(name) for name in query}
    wanted = Wanted(
        kind=asks.kind_of(given),
        model=asks.single("model", given),
        states=STATES_OF[status] if (status := asks.one_of("status", given, tuple(STATES_OF))) else (),
        before=_place(asks.single("before", given)),
    )
    found, more = await page(house_of(request).database, principal_of(request).id, wanted, asks.limit_of(query))
    body = {
        "object": "list",
        "data": [_shown(request, entry) for entry in found],
        "has_more": more,
        "next": _cursor(found[-1].place) if more else None,
    }
    return Answer(msgspec.json.encode(body))


def _shown(request: Request, entry: Entry) -> dict[str, Any]:
    told = _of_task(entry.task, request) if entry.task is not None else _of_asset(entry.assets[0])
    to = partial(link, request)
    preview = next(filter(None, (asset.thumbnail for asset in entry.assets)), None)
    return {
        "id": entry.place.id,
        "object": "generation",
        **told,
        "preview": None if preview is None else to(preview),
        "assets": [shown.in_short(asset, to) for asset in entry.assets],
        "created_at": int(entry.place.created_at),
    }


def _of_task(task: Task, request: Request) -> dict[str, Any]:
    size = getattr(task.request, "size", None)
    return {
        "kind": task.kind,
        "model": task.model,
        "prompt": _prompt(task)[:PROMPT_CHARACTERS],
        "size": (f"{size.width}x{size.height}" if size.width else size.ratio) if size else None,
        "status": "queued" if task.state in STATES_OF["queued"] else task.state,
        "progress": round(task.progress),
        "task_id": task.id,
        **failure(task, request),
        "cost": task.cost,
        "currency": task.currency,
        "finished_at": shown.whole(task.finished_at),
    }


def _of_asset(asset: Asset) -> dict[str, Any]:
    return {
        "kind": asset.kind,
        "model": asset.model,
        "prompt": asset.prompt[:PROMPT_CHARACTERS],
        "size": f"{asset.width}x{asset.height}" if asset.width else None,
        "status": "succeeded",
        "progress": 100,
        "task_id": asset.task_id,
        "error": None,
        "code": None,
        "cost": asset.cost,
        "currency": asset.currency,
        "finished_at": int(asset.created_at),
    }


def _prompt(task: Task) -> str:
    if not isinstance(task.request, ChatRequest):
        return task.prompt
    turns = openai_chat.messages(task.request)
    return openai_chat.text(turns[-1].get("content")) if turns else ""


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(f"{place.created_at!r} {place.id}".encode()).decode().rstrip("=")


def _place(cursor: str | None) -> Place | None:
    """Where a page ended. Raises InvalidRequest for what no answer told as `next`."""
    if cursor is None:
        return None
    try:
        told = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found = _PLACE.fullmatch(told)
        place = Place(float(found[1]), found[2]) if found else None
    except ValueError:
        place = None
    if place is None or not math.isfinite(place.created_at):
        raise InvalidRequest("'before' must be what an answer told as 'next'", param="before")
    return place
