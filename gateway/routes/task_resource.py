"""A task as its caller sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.links import Links
from gateway.tasks.failure import error_of
from gateway.tasks.progress import standing
from gateway.tasks.task import Output, Task
from gateway.types import ChatRequest, TaskState
from gateway.wire import errors as wire_errors
from gateway.wire.language import preferred

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
"""As /api/tasks/status says it."""
POLL_AGAIN_SECONDS = (1, 30)
"""What a caller is asked to wait between two looks, at least and at most."""


def resource(
    task: Task,
    base: str,
    links: Links,
    *,
    admin: bool = False,
    queue_position: int | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> dict[str, Any]:
    """Everything a caller may know of its task. Times are Unix seconds; accounts and attempts are told to admins.

    `base`: what links begin with; empty makes them paths. `headers`: of the request, by which errors are told.
    """
    failed = partial(_error, task, admin=admin, headers=headers)
    here = f"{base}/api/tasks/{task.id}"
    percent, eta = standing(task, time.time())
    shown: dict[str, Any] = {
        "id": task.id,
        "object": "task",
        "kind": task.kind,
        "model": task.model,
        "upstream": task.upstream,
        "status": "queued" if task.state in ("submitting", "submit_unknown") else task.state,
        "progress": round(percent),
        "queue_position": queue_position,
        "eta_seconds": None if eta is None else round(eta),
        "created_at": int(task.created_at),
        "started_at": _whole(task.started_at),
        "finished_at": _whole(task.finished_at),
        "deadline": int(task.deadline),
        "cancel_requested": task.cancel_requested,
        "chatId": task.chat_id,
        "input": _input(task),
        "output": _output(task, base, links, failed),
        "parameters": task.parameters,
        "adjustments": list(task.adjustments),
        "error": failed(task.error if task.final else None),  # before the end, it is what another model failed by
        "usage": task.usage,
        "cost": None if task.cost is None else {"amount": task.cost, "currency": task.currency},
        "metadata": task.metadata or {},
        "webhook": {"url": task.webhook.url, "events": list(task.webhook.events)} if task.webhook else None,
        "links": {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"},
    }
    if task.state == "cancelled" and task.error and "upstream_cancelled" in task.error:
        shown["upstream_cancelled"] = task.error["upstream_cancelled"]
    if admin:
        shown |= {"account": task.account, "attempts": list(task.attempts), "native_status": task.native}
    return shown


def again(task: Task, now: float) -> list[tuple[bytes, bytes]]:
    """When it is worth asking again: when the gateway itself will have."""
    if task.final:
        return []
    low, high = POLL_AGAIN_SECONDS
    seconds = max(low, min(high, math.ceil(task.next_poll_at - now)))
    return [(b"retry-after", b"%d" % seconds), (b"openai-poll-after-ms", b"%d" % (seconds * 1000))]


def _output(
    task: Task, base: str, links: Links, told: Callable[[dict[str, Any] | None], dict[str, Any] | None]
) -> dict[str, Any]:
    """What is here; a task of several may have succeeded in some, and then says what came of the others."""
    files = [_file(output, base, links) for output in task.outputs if output.state == "succeeded" and output.key]
    shown: dict[str, Any] = {"files": files}
    failed = [
        {"index": output.position, "error": told(output.error)} for output in task.outputs if output.state == "failed"
    ]
    if failed:
        shown["failed"] = failed
    if task.answer is not None:
        shown["text"] = task.answer
    return shown


def _file(output: Output, base: str, links: Links) -> dict[str, Any]:
    return {
        "id": output.asset_id,
        "index": output.position,
        "url": base + links.path(output.key, time.time()),
        "mime": output.mime,
        "bytes": output.size,
        "width": output.width,
        "height": output.height,
        "seconds": output.seconds,
    }


def _error(
    task: Task, kept: dict[str, Any] | None, *, admin: bool, headers: Iterable[tuple[bytes, bytes]]
) -> dict[str, Any] | None:
    if not kept or "code" not in kept:
        return None
    return wire_errors.of_task(error_of(kept, task), admin=admin, language=preferred(headers))


def failure(task: Task, request: Request) -> dict[str, Any]:
    """How a task failed: `{error, code, advice?, alternatives?, allowed?, nearest?}`; null, null where it did not."""
    told = _error(task, task.error if task.final else None, admin=False, headers=request.scope["headers"])
    if told is None:
        return {"error": None, "code": None}
    more = {name: value for name, value in told.items() if name not in ("message", "code", "type", "param")}
    return {"error": told["message"], "code": told["code"], **more}


def _input(task: Task) -> dict[str, Any]:
    asked = task.request
    if isinstance(asked, ChatRequest):
        return {"messages": msgspec.json.decode(asked.body["messages"])}
    size = getattr(asked, "size", None)
    shown: dict[str, Any] = {"prompt": asked.prompt}
    if hasattr(asked, "size"):
        shown["size"] = (f"{size.width}x{size.height}" if size.width else size.ratio) if size else None
    shown |= {
        name: getattr(asked, name) for name in ("seconds", "seed", "n", "voice", "format") if hasattr(asked, name)
    }
    if hasattr(asked, "inputs"):
        shown["images"] = len(asked.inputs)
    return {**shown, **asked.params}


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
