"""Batches: lists of generations that run under a limit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest, NotFound, RequestError
from gateway.routes.continuing import continued
from gateway.routes.house import Answer, base_url, house_of, note, principal_of, read_body, request_id_of, webhook_for
from gateway.routes.once import making
from gateway.routes.tasks import seen
from gateway.tasks.batch import Batch, Item, Wanted
from gateway.tasks.listing import several
from gateway.tasks.task import Task
from gateway.wire import body as wire_body
from gateway.wire import task as wire_task

MOST_ITEMS: Final = 1000
CONCURRENCY: Final = 4
MOST_CONCURRENCY: Final = 64
PAGE: Final = 20
PAGE_MAX: Final = 100


async def create(request: Request) -> Answer:
    """POST /api/batches: 202 and the batch. What is wrong with one of its requests is told of that one alone."""
    body = wire_body.decode(await read_body(request))
    wanted = await _wanted(request, body)
    concurrency = wire_body.whole_number(body, "concurrency", 1, MOST_CONCURRENCY) or CONCURRENCY
    metadata = wire_task.metadata(body)
    batching = house_of(request).batching
    async with making(request):
        batch = await batching.batches.add(
            wanted,
            principal_of(request),
            concurrency=concurrency,
            metadata=metadata,
            request_id=request_id_of(request),
        )
        note(request, batch=batch.id)
        if not house_of(request).config.tasks.background:
            await batching.carry(batch)
        batching.wake()
    answer = await _shown(request, batch, status=202)
    answer.headers += [(b"location", f"/api/batches/{batch.id}".encode())]
    return answer


async def _wanted(request: Request, body: dict[str, msgspec.Raw]) -> list[Wanted]:
    found = wire_body.need(body, "requests", list[dict[str, msgspec.Raw]])
    if not 1 <= len(found) <= MOST_ITEMS:
        raise InvalidRequest(f"'requests' must hold 1 to {MOST_ITEMS} generations, not {len(found)}", param="requests")
    wanted = []
    for at, one in enumerate(found):
        try:
            webhook = webhook_for(request, one)
            kept = dict(await continued(request, wire_task.flat(one), in_chat=False))
        except RequestError as error:
            error.param = f"requests[{at}].{error.param}" if error.param else f"requests[{at}]"
            raise
        wanted.append(Wanted(kept, msgspec.to_builtins(webhook) if webhook else None))
    return wanted


async def index(request: Request) -> Answer:
    """GET /api/batches?limit=&after="""
    limit = _number(request, "limit", PAGE, 1, PAGE_MAX)
    after = request.query_params.get("after")
    found, more = await house_of(request).batching.batches.page(principal_of(request).id, after, limit)
    body = {
        "object": "list",
        "data": [_batch(request, batch) for batch in found],
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
        "has_more": more,
    }
    return Answer(msgspec.json.encode(body))


async def show(request: Request) -> Answer:
    """GET /api/batches/{id}?offset=&limit=: the batch and so many of its items, each with its task."""
    house, me = house_of(request), principal_of(request)
    batch = await house.batching.batches.get(request.path_params["id"], me.id)
    if not house.config.tasks.background and batch.state == "running":
        for item in await house.batching.batches.items(batch.id, 0, batch.total):
            if item.state == "running" and item.task_id:
                with suppress(NotFound):
                    await house.tasks.get(item.task_id, me)  # which takes it a step further
        await house.batching.carry(batch)
        batch = await house.batching.batches.get(batch.id, me.id)
    return await _shown(request, batch)


async def cancel(request: Request) -> Answer:
    """POST /api/batches/{id}/cancel: nothing more of it begins, and what runs is stopped as far as that can be."""
    return await _shown(
        request, await house_of(request).batching.cancel(request.path_params["id"], principal_of(request))
    )


async def _shown(request: Request, batch: Batch, *, status: int = 200) -> Answer:
    house = house_of(request)
    offset = _number(request, "offset", 0, 0, MOST_ITEMS)
    limit = _number(request, "limit", PAGE_MAX, 1, PAGE_MAX)
    items = await house.batching.batches.items(batch.id, offset, limit)
    made = await several(house.database, batch.owner, [item.task_id for item in items if item.task_id])
    rows = [_item(request, item, made.get(item.task_id or "")) for item in items]
    body = {**_batch(request, batch), "items": rows, "has_more": offset + len(items) < batch.total}
    return Answer(msgspec.json.encode(body), status=status)


def _batch(request: Request, batch: Batch) -> dict[str, Any]:
    here = f"{base_url(request)}/api/batches/{batch.id}"
    starting = batch.counts.get("starting", 0)
    counts = {name: count for name, count in batch.counts.items() if name != "starting"}
    return {
        "id": batch.id,
        "object": "batch",
        "status": batch.state,
        "cancel_requested": batch.cancel_requested,
        "concurrency": batch.concurrency,
        "total": batch.total,
        "counts": {**counts, "running": counts.get("running", 0) + starting},
        "metadata": batch.metadata or {},
        "created_at": int(batch.created_at),
        "finished_at": None if batch.finished_at is None else int(batch.finished_at),
        "links": {"self": here, "cancel": f"{here}/cancel"},
    }


def _item(request: Request, item: Item, task: Task | None) -> dict[str, Any]:
    """An item; what its task came to is told by the task, that is nearer than what was noted of it."""
    state: str = "running" if item.state == "starting" else item.state
    shown = seen(request, task) if task else None
    if task is not None and task.final:
        state = task.state
    error = shown["error"] if shown else item.error
    return {"index": item.position, "status": state, "task_id": item.task_id, "error": error, "task": shown}


def _number(request: Request, name: str, usual: int, low: int, high: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return usual
    if not given.isascii() or not given.isdigit() or len(given) > 9 or not low <= int(given) <= high:
        raise InvalidRequest(f"'{name}' must be a whole number from {low} to {high}", param=name)
    return int(given)
