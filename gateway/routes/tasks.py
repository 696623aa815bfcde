"""Tasks: status, the whole resource, lists, changes as they come, cancel."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import GatewayError, InvalidRequest, WaitTimeout
from gateway.live import EventStream
from gateway.routes.house import Answer, base_url, connected, house_of, language_of, link, principal_of
from gateway.routes.task_resource import WORDS, again, failure, resource
from gateway.tasks.listing import page, queue_position
from gateway.tasks.progress import standing
from gateway.tasks.task import Task
from gateway.tasks.tasks import STATES_OF
from gateway.types import TaskState
from gateway.wire import errors as wire_errors
from gateway.wire import native

PAGE = 20
PAGE_MAX = 100
MOST_WAIT = 60.0
"""Seconds that a look may wait for news."""
AFTER_DEADLINE_SECONDS = 120.0
"""A task may end a little after its deadline: its last look takes time."""


async def status(request: Request) -> Answer:
    """GET /api/tasks/status/{id}"""
    task = await house_of(request).tasks.get(request.path_params["id"], principal_of(request))
    percent, eta = standing(task, house_of(request).tasks.store.now())
    url = next((link(request, output.key) for output in task.outputs if output.key), None)
    body = {
        "task_id": task.id,
        "task_status": WORDS[task.state],
        "status": WORDS[task.state],
        "progress": round(percent),
        "content": url or task.answer or "",
        "video_url": url if task.video else None,
        **failure(task, request),
        "data": {"content": url or task.answer or "", "task_status": WORDS[task.state]},
        "eta_seconds": None if eta is None else round(eta),
        "chatId": task.chat_id,
    }
    return Answer(msgspec.json.encode(body), headers=again(task, house_of(request).tasks.store.now()))


async def show(request: Request) -> Answer:
    """GET /api/tasks/{id}?wait=: at once, or once it has its end (or, with If-None-Match, once it has changed)."""
    house, known = house_of(request), request.headers.get("if-none-match", "").encode()
    task = await house.tasks.get(request.path_params["id"], principal_of(request))
    if (limit := _wait(request.query_params.get("wait"))) and not task.final and known in (b"", etag(task)):
        task = await _waited(request, task, limit, until_changed=bool(known))
    if known == etag(task):
        return Answer(b"", status=304, headers=[(b"etag", known), *again(task, house.tasks.store.now())])
    return await shown(request, task)


async def _waited(request: Request, task: Task, limit: float, *, until_changed: bool) -> Task:
    version = task.version
    with suppress(WaitTimeout), connected(request):
        async with aclosing(house_of(request).tasks.watch(task.id, limit)) as changes:
            async for task in changes:
                if until_changed and task.version != version:
                    break
    return task


async def index(request: Request) -> Answer:
    """GET /api/tasks?kind=&status=&model=&from=&to=&after=&limit=&order="""
    asked = request.query_params
    found, more = await page(
        house_of(request).database,
        principal_of(request).id,
        kind=_kind(asked.get("kind")),
        states=_states(asked.get("status")),
        model=asked.get("model"),
        since=_moment("from", asked.get("from")),
        before=_moment("to", asked.get("to")),
        after_id=asked.get("after"),
        limit=_limit(asked.get("limit")),
        ascending=_ascending(asked.get("order")),
    )
    body = {
        "object": "list",
        "data": [seen(request, task) for task in found],
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
        "has_more": more,
    }
    return Answer(msgspec.json.encode(body))


async def events(request: Request) -> EventStream | Answer:
    """GET /api/tasks/{id}/events: the whole resource after every change, until the task is final.

    The id of an event is the task's version. Who comes back with the last one (`Last-Event-ID`) hears what came after;
    where nothing can come any more, 204 tells an EventSource to stay away.
    """
    house = house_of(request)
    task = await house.tasks.get(request.path_params["id"], principal_of(request))
    known = request.headers.get("last-event-id", "")
    if task.final and known == str(task.version):
        return Answer(b"", status=204)

    async def frames() -> AsyncGenerator[bytes]:
        limit = max(1.0, task.deadline - house.tasks.store.now() + AFTER_DEADLINE_SECONDS)
        async with aclosing(house.tasks.watch(task.id, limit)) as changes:
            async for now in changes:
                if str(now.version) != known:
                    yield _frame("task.updated", seen(request, now), now.version)

    def failed(error: GatewayError) -> bytes:
        told = wire_errors.native(error, language=language_of(request))
        return _frame("error", msgspec.Raw(told))

    return EventStream(frames(), house.drain, error_frame=failed)


def _frame(event: str, data: Any, version: int | None = None) -> bytes:
    head = b"" if version is None else b"id: %d\n" % version
    return head + b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


async def cancel(request: Request) -> Answer:
    """POST /api/tasks/{id}/cancel"""
    task = await house_of(request).tasks.cancel(request.path_params["id"], principal_of(request))
    return await shown(request, task, status=200 if task.final else 202)


async def delete(request: Request) -> Answer:
    """DELETE /api/tasks/{id}"""
    task_id = request.path_params["id"]
    await house_of(request).tasks.delete(task_id, principal_of(request))
    return Answer(msgspec.json.encode({"id": task_id, "object": "task.deleted", "deleted": True}))


async def shown(request: Request, task: Task, *, status: int = 200) -> Answer:
    """The whole resource as an answer, with its version and when to ask again."""
    house = house_of(request)
    body = seen(request, task, await queue_position(house.database, task))
    headers = [(b"etag", etag(task)), (b"cache-control", b"private, no-cache"), (b"vary", b"Accept-Language")]
    headers += again(task, house.tasks.store.now())
    return Answer(msgspec.json.encode(body), status=status, headers=headers)


def seen(request: Request, task: Task, position: int | None = None) -> dict[str, Any]:
    admin = principal_of(request).role == "admin"
    links, headers = house_of(request).links, request.scope["headers"]
    return resource(task, base_url(request), links, admin=admin, queue_position=position, headers=headers)


def etag(task: Task) -> bytes:
    """Weak: the links inside are made anew with every look."""
    return b'W/"%d"' % task.version


def _wait(text: str | None) -> float:
    if text is None:
        return 0.0
    if not text.isdecimal() or len(text) > 6:
        raise InvalidRequest(f"'wait' must be a whole number of seconds; {MOST_WAIT:g} is the most", param="wait")
    return min(float(text), MOST_WAIT)


def _states(word: str | None) -> tuple[TaskState, ...]:
    if word is None:
        return ()
    if word not in STATES_OF:
        raise InvalidRequest(f"'status' {word[:40]!r} is unknown: use one of {', '.join(STATES_OF)}", param="status")
    return STATES_OF[word]


def _kind(word: str | None) -> str | None:
    found = native.LONG_NAMES.get(word, word) if word is not None else None
    if found is not None and found not in native.CHAT_TYPES:
        raise InvalidRequest(f"'kind' is unknown: use one of {', '.join(native.CHAT_TYPES)}", param="kind")
    return found


def _moment(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InvalidRequest(f"'{name}' must be a time in Unix seconds", param=name)
    return found


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= PAGE_MAX:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {PAGE_MAX}", param="limit")
    return int(text)


def _ascending(word: str | None) -> bool:
    if word not in (None, "asc", "desc"):
        raise InvalidRequest("'order' must be 'asc' or 'desc'", param="order")
    return word == "asc"
