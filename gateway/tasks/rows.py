"""Tasks to rows and back."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.tasks.task import Output, Task
from gateway.types import Job, TaskRequest, Webhook, Wishes


def row_of(task: Task) -> dict[str, Any]:
    """Every column but those that are about who holds the row, and its version."""
    return {
        "id": task.id,
        "owner": task.owner,
        "kind": task.kind,
        "model": task.model,
        "upstream": task.upstream,
        "account_id": task.account,
        "state": task.state,
        "request": _json(task.request),
        "job": _json(task.job),
        "params": _json({name: getattr(task, name) for name in PARAMS}),
        "progress": task.progress,
        "eta": task.eta,
        "error": _json(task.error),
        "usage": _json(task.usage),
        "cost": task.cost,
        "currency": task.currency,
        "chat_id": task.chat_id,
        "attempts": _json(task.attempts),
        "created_at": task.created_at,
        "submitted_at": task.submitted_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "deadline": task.deadline,
        "next_poll_at": task.next_poll_at,
        "cancel_requested": task.cancel_requested,
        "native": task.native,
        "polls": task.polls,
        "answer": task.answer,
        "metadata": _json(task.metadata),
        "webhook": _json(task.webhook),
        "parameters": _json(task.parameters),
        "adjustments": _json(task.adjustments) if task.adjustments else None,
        "batch_id": task.batch_id,
        "skipped": task.skipped,
    }


PARAMS = ("candidates", "estimate", "request_id", "account_tags", "most", "key_name", "wishes")
"""Fields of a task that its column `params` holds."""
CONSTANT = frozenset(
    {"id", "owner", "kind", "request", "params", "chat_id", "created_at", "deadline", "metadata", "webhook", "batch_id"}
)
"""Written once, with the row."""


def change_of(task: Task) -> dict[str, Any]:
    """What its holder may write: a cancel that somebody asked for meanwhile stays asked for."""
    row = row_of(task)
    return {name: value for name, value in row.items() if name not in CONSTANT and name != "cancel_requested"}


def task_of(row: Any) -> Task:
    params = msgspec.json.decode(row.params)
    return Task(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        model=row.model,
        upstream=row.upstream,
        account=row.account_id,
        state=row.state,
        request=_REQUEST.decode(row.request),
        job=_JOB.decode(row.job) if row.job else None,
        progress=row.progress,
        eta=row.eta,
        error=_read(row.error),
        usage=_read(row.usage),
        cost=row.cost,
        currency=row.currency,
        chat_id=row.chat_id,
        attempts=tuple(msgspec.json.decode(row.attempts)),
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline=row.deadline,
        next_poll_at=row.next_poll_at,
        cancel_requested=bool(row.cancel_requested),
        native=row.native or "",
        candidates=tuple((upstream, model) for upstream, model in params["candidates"]),
        estimate=params["estimate"],
        request_id=params["request_id"],
        account_tags=tuple(params.get("account_tags", ())),
        most=params.get("most", 1),
        key_name=params.get("key_name", ""),
        polls=row.polls,
        version=row.version,
        answer=row.answer,
        metadata=_read(row.metadata),
        webhook=_WEBHOOK.decode(row.webhook) if row.webhook else None,
        wishes=msgspec.convert(params.get("wishes", {}), Wishes),
        parameters=_read(row.parameters),
        adjustments=tuple(_read(row.adjustments) or ()),
        batch_id=row.batch_id,
        skipped=row.skipped,
        lease=row.lease_owner,
    )


def output_of(row: Any) -> Output:
    """From an output's row with its asset's beside it; an asset that was deleted leaves an output without a key."""
    return Output(
        position=row.position,
        state=row.state,
        asset_id=row.asset_id,
        key=row.key or "",
        mime=row.mime or "",
        size=row.size or 0,
        width=row.width,
        height=row.height,
        seconds=row.seconds,
        error=_read(row.error),
    )


_REQUEST: msgspec.json.Decoder[TaskRequest] = msgspec.json.Decoder(TaskRequest)
_JOB = msgspec.json.Decoder(Job)
_WEBHOOK = msgspec.json.Decoder(Webhook)


def _read(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
