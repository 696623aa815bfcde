"""Tasks: status, the whole resource, lists, changes as they come, cancel."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.live import EventStream
from gateway.routes.house import Answer, house_of, link, principal_of
from gateway.tasks.store import Task
from gateway.tasks.tasks import STATES_OF
from gateway.types import TaskState
from gateway.wire import native

WORDS: dict[TaskState, str] = {
    "submitting": "processing",
    "submit_unknown": "processing",
    "queued": "processing",
    "running": "processing",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}
POLL_AGAIN_SECONDS = 2
PAGE = 20
PAGE_MAX = 100


async def status(request: Request) -> Answer:
    """GET /api/tasks/status/{id}"""
    task = await house_of(request).tasks.get(request.path_params["id"], principal_of(request))
    url = link(request, task.outputs[0].key) if task.outputs else None
    body = {
        "task_id": task.id,
        "task_status": WORDS[task.state],
        "status": WORDS[task.state],
        "progress": round(task.progress),
        "content": url or "",
        "video_url": url,
        "error": task.error["message"] if task.error else None,
        "code": task.error["code"] if task.error else None,
        "data": {"content": url or "", "task_status": WORDS[task.state]},
        "eta_seconds": None if task.eta is None else round(task.eta),
        "chatId": task.chat_id,
    }
    return Answer(msgspec.json.encode(body), headers=_again(task))


async def show(request: Request) -> Answer:
    """GET /api/tasks/{id}"""
    task = await house_of(request).tasks.get(request.path_params["id"], principal_of(request))
    return Answer(msgspec.json.encode(resource(request, task)), headers=_again(task))


async def index(request: Request) -> Answer:
    """GET /api/tasks?kind=&status=&model=&from=&to=&after=&limit=&order="""
    asked = request.query_params
    found, more = await house_of(request).tasks.store.page(
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
        "data": [resource(request, task) for task in found],
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
        "has_more": more,
    }
    return Answer(msgspec.json.encode(body))


async def events(request: Request) -> EventStream:
    """GET /api/tasks/{id}/events: the whole resource after every change, until the task is final."""
    house = house_of(request)
    task = await house.tasks.get(request.path_params["id"], principal_of(request))

    async def frames() -> AsyncGenerator[bytes]:
        async for seen in house.tasks.watch(task.id, max(1.0, task.deadline - time.time() + 60)):
            yield b"event: task.updated\ndata: " + msgspec.json.encode(resource(request, seen)) + b"\n\n"

    def failed(error: Exception) -> bytes:
        return b"event: error\ndata: " + msgspec.json.encode({"error": str(error)}) + b"\n\n"

    return EventStream(frames(), house.drain, error_frame=failed)


async def cancel(request: Request) -> Answer:
    """POST /api/tasks/{id}/cancel"""
    task = await house_of(request).tasks.cancel(request.path_params["id"], principal_of(request))
    return Answer(msgspec.json.encode(resource(request, task)), status=200 if task.final else 202)


def resource(request: Request, task: Task) -> dict[str, Any]:
    """Everything a caller may know of its task. Times are Unix seconds; accounts and attempts are told to admins."""
    here = f"/api/tasks/{task.id}"
    shown: dict[str, Any] = {
        "id": task.id,
        "object": "task",
        "kind": task.kind,
        "model": task.model,
        "upstream": task.upstream,
        "status": "queued" if task.state in ("submitting", "submit_unknown") else task.state,
        "progress": round(task.progress),
        "eta_seconds": None if task.eta is None else round(task.eta),
        "created_at": int(task.created_at),
        "started_at": _whole(task.started_at),
        "finished_at": _whole(task.finished_at),
        "deadline": int(task.deadline),
        "cancel_requested": task.cancel_requested,
        "chatId": task.chat_id,
        "input": _input(task),
        "output": {"files": [_file(request, task, index) for index in range(len(task.outputs))]},
        "error": {name: task.error.get(name) for name in ("code", "message", "type", "param")} if task.error else None,
        "usage": task.usage,
        "links": {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"},
    }
    if principal_of(request).role == "admin":
        shown["account"] = task.account
        shown["attempts"] = list(task.attempts)
        shown["native_status"] = task.native
    return shown


def _file(request: Request, task: Task, index: int) -> dict[str, Any]:
    output = task.outputs[index]
    return {
        "id": output.asset_id,
        "url": link(request, output.key),
        "mime": output.mime,
        "bytes": output.size,
        "width": output.width,
        "height": output.height,
        "seconds": output.seconds,
    }


def _input(task: Task) -> dict[str, Any]:
    asked = task.request
    size = asked.size
    return {
        "prompt": asked.prompt,
        "size": (f"{size.width}x{size.height}" if size.width else size.ratio) if size else None,
        "seconds": asked.seconds,
        "seed": asked.seed,
        "images": len(asked.inputs),
        **asked.params,
    }


def _again(task: Task) -> list[tuple[bytes, bytes]]:
    if task.final:
        return []
    return [
        (b"retry-after", b"%d" % POLL_AGAIN_SECONDS),
        (b"openai-poll-after-ms", b"%d" % (POLL_AGAIN_SECONDS * 1000)),
    ]


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


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
