"""Webhooks: what was sent and what became of it, sending it again, and the secret that signs it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import Forbidden, InvalidRequest
from gateway.routes.house import Answer, house_of, principal_of, read_body
from gateway.tasks.outbox import STATES, Delivery, State
from gateway.tasks.signing import MAX_OVERLAP_SECONDS, OVERLAP_SECONDS, Secret
from gateway.wire import body as wire_body

PAGE = 20
PAGE_MAX = 100
UNSTORED = ((b"cache-control", b"no-store"),)


async def index(request: Request) -> Answer:
    """GET /api/webhooks/deliveries?status=&task_id=&after=&limit="""
    asked = request.query_params
    found, more = await house_of(request).webhooks.outbox.page(
        principal_of(request).id,
        state=_state(asked.get("status")),
        task_id=asked.get("task_id"),
        after_id=asked.get("after"),
        limit=_limit(asked.get("limit")),
    )
    body = {
        "object": "list",
        "data": [resource(delivery) for delivery in found],
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
        "has_more": more,
    }
    return Answer(msgspec.json.encode(body))


async def show(request: Request) -> Answer:
    """GET /api/webhooks/deliveries/{id}"""
    found = await house_of(request).webhooks.outbox.get(request.path_params["id"], principal_of(request).id)
    return Answer(msgspec.json.encode(resource(found)))


async def replay(request: Request) -> Answer:
    """POST /api/webhooks/deliveries/{id}/replay"""
    _no_viewer(request)
    webhooks = house_of(request).webhooks
    found = await webhooks.outbox.replay(request.path_params["id"], principal_of(request).id)
    webhooks.wake()
    return Answer(msgspec.json.encode(resource(found)), status=202)


async def secret(request: Request) -> Answer:
    """GET /api/webhooks/secret"""
    _no_viewer(request)
    return _told(await house_of(request).webhooks.secrets.live(principal_of(request).id))


async def rotate(request: Request) -> Answer:
    """POST /api/webhooks/secret/rotate"""
    _no_viewer(request)
    sent = await read_body(request)
    body = wire_body.decode(sent) if sent else {}
    overlap = wire_body.whole_number(body, "overlap_seconds", 0, MAX_OVERLAP_SECONDS)
    overlap = OVERLAP_SECONDS if overlap is None else overlap
    return _told(await house_of(request).webhooks.secrets.rotate(principal_of(request).id, overlap))


def resource(delivery: Delivery) -> dict[str, Any]:
    """A delivery as its owner sees it. Times are Unix seconds."""
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "type": delivery.type,
        "task_id": delivery.task_id,
        "url": delivery.url,
        "sequence": delivery.sequence,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "response_status": delivery.status,
        "error": delivery.error,
        "created_at": int(delivery.created_at),
        "next_attempt_at": int(delivery.next_at) if delivery.state == "pending" else None,
        "finished_at": None if delivery.finished_at is None else int(delivery.finished_at),
    }


def _told(secrets: list[Secret]) -> Answer:
    """The newest secret, and those that still sign beside it."""
    newest, *former = secrets
    body = {
        "secret": newest.value,
        "created_at": int(newest.created_at),
        "expiring": [
            {"secret": one.value, "created_at": int(one.created_at), "expires_at": int(one.expires_at or 0)}
            for one in former
        ],
    }
    return Answer(msgspec.json.encode(body), headers=UNSTORED)


def _no_viewer(request: Request) -> None:
    """Who may only read could sign in the gateway's name with a secret."""
    if principal_of(request).role == "viewer":
        raise Forbidden("this key may only read, and not secrets")


def _state(word: str | None) -> State | None:
    known = next((state for state in STATES if state == word), None)
    if word is not None and known is None:
        raise InvalidRequest(f"'status' {word[:40]!r} is unknown: use one of {', '.join(STATES)}", param="status")
    return known


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= PAGE_MAX:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {PAGE_MAX}", param="limit")
    return int(text)
