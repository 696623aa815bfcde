"""One attempt to deliver a webhook: the event made and signed, sent, and what came of it put in words."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from yarl import URL

from gateway.errors import (
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    UpstreamGarbled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.http import Outbound, Reply
from gateway.tasks.outbox import GONE, Delivery, Result
from gateway.tasks.signing import Secrets, signatures
from gateway.wire.retry import retry_after

WAITS: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0, 24 * 3600.0)
"""Seconds between attempts, 70 hours in all."""
JITTER: Final = 0.1
GONE_STATUS: Final = 410

Render = Callable[[str, str], Awaitable[dict[str, Any] | None]]
"""A task's resource, by its id and owner, with fresh links; None where the task is gone."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of an attempt."""

    reason: str | None
    """Why it failed; None where it is delivered."""
    status: int | None = None
    asked: float | None = None
    """Seconds that the receiver wants to be left alone."""
    alive: bool | None = None
    """Whether the receiver can answer at all, be it no: a path that refuses says nothing of the others there."""


class Sender:
    def __init__(self, http: Outbound, secrets: Secrets, render: Render, trusted: Collection[URL]) -> None:
        self._http = http
        self._secrets = secrets
        self._render = render
        self._trusted = trusted

    async def attempt(self, delivery: Delivery, seconds: float) -> Heard:
        """Send a delivery once. Raises DatabaseUnavailable where it could not even be made."""
        try:
            body = await self._body(delivery)
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("webhook event not made", delivery=delivery.id, task=delivery.task_id)
            return Heard("the event could not be made")
        headers = await self._headers(delivery, body)
        try:
            reply = await self._http.tell(delivery.url, body, headers=headers, trusted=self._trusted, seconds=seconds)
        except GatewayError as error:
            return Heard(_reason(error, seconds), alive=False)
        return _heard(reply)

    async def _body(self, delivery: Delivery) -> bytes:
        task = await self._render(delivery.task_id, delivery.owner)
        event = {
            "id": delivery.id,
            "object": "event",
            "type": delivery.type,
            "created_at": int(delivery.created_at),
            "sequence": delivery.sequence,
            "data": task or {"id": delivery.task_id, "object": "task", "deleted": True},
        }
        return msgspec.json.encode(event)

    async def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        secrets = await self._secrets.live(delivery.owner)
        moment = int(time.time())  # of the world: receivers compare it with their own clocks
        return {
            "content-type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signatures(secrets, delivery.id, moment, body),
        }


def next_wait(failures: int, asked: float | None, dice: float) -> float | None:
    """Seconds until the next attempt after so many failed ones; None: give up. `dice`: from -1 to 1."""
    if failures > len(WAITS):
        return None
    return max(WAITS[failures - 1] * (1 + JITTER * dice), asked or 0.0)


def result_of(heard: Heard, delivery: Delivery, now: float) -> Result:
    """What an attempt makes of its delivery."""
    if heard.reason is None:
        return Result("delivered", heard.status)
    if heard.status == GONE_STATUS:
        return Result("disabled", heard.status, heard.reason)
    wait = next_wait(delivery.attempts + 1, heard.asked, random.uniform(-1, 1))
    if wait is None:
        return Result("failed", heard.status, heard.reason)
    return Result("pending", heard.status, heard.reason, now + wait)


def _heard(reply: Reply) -> Heard:
    if 200 <= reply.status < 300:
        return Heard(None, reply.status, alive=True)
    said = GONE if reply.status == GONE_STATUS else f"it answered {reply.status}"
    asked = retry_after(reply.headers, time.time())
    return Heard(said, reply.status, asked, alive=reply.status < 500 and reply.status != 429)


def _reason(error: GatewayError, seconds: float) -> str:
    """A short sentence about the receiver. An address that is refused reads like one where nobody is."""
    match error:
        case UpstreamUnreachable(__cause__=ssl.SSLError()):
            return "no secure connection: its certificate or its TLS was not accepted"
        case InvalidRequest() | UpstreamUnreachable():
            return "no connection to it at a public address"
        case UpstreamTimeout():
            return f"no answer within {seconds:.0f} s"
        case UpstreamGarbled():
            return "its answer is not HTTP"
        case _:
            return "it closed the connection without an answer"
