"""Receives webhooks as a caller's own server would: keeps each and verifies it, and can be ill as such servers are.

    receiver = Receiver()
    with served(receiver.app) as url:
        …  # {"webhook_url": f"{url}/film"}
        events = receiver.verified(secret)

May be changed while it runs, from any thread.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LOOK_SECONDS = 0.01


@dataclass
class Hook:
    """One attempt, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.time)
    taken: bool = False
    """Whether it was answered well."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def task(self) -> str:
        return str(self.event["data"]["id"])

    def verify(self, secret: str, *, whenever: bool = False) -> None:
        """Raises WebhookVerificationError. `whenever`: where the sender's clock is wrong and may be."""
        if not whenever:
            Webhook(secret).verify(self.body, self.headers)
            return
        moment = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        signed = Webhook(secret).sign(self.id, moment, self.body.decode())
        assert signed in self.headers["webhook-signature"].split(), "the signature is not that of the body"


@dataclass
class Receiver:
    """Give `app` to a server."""

    refusing: Callable[[Hook], int] = lambda hook: 0
    """The status with which it refuses an attempt; 0: it does not."""
    silent: Callable[[Hook], bool] = lambda hook: False
    """Whether it gives an attempt no answer, for as long as that is true."""
    seconds: float = 0.0
    """How long it takes over each."""
    hooks: list[Hook] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        hook = Hook(request.url.path, dict(request.headers), await request.body())
        self.hooks.append(hook)
        await asyncio.sleep(self.seconds)
        while self.silent(hook):
            if await request.is_disconnected():
                return Response()
            await asyncio.sleep(LOOK_SECONDS)
        status = self.refusing(hook)
        hook.taken = not status
        return Response(status_code=status or 204)

    def of(self, task_id: str) -> list[Hook]:
        """Every attempt that told of a task."""
        return [hook for hook in list(self.hooks) if hook.task == task_id]

    def taken(self, task_id: str) -> list[Hook]:
        return [hook for hook in self.of(task_id) if hook.taken]

    def verified(self, secret: str, *, whenever: bool = False) -> list[dict[str, Any]]:
        """All events that were taken, each once. Raises for a signature that is wrong.

        Every attempt must tell the same event as the first with its id did: who took one needs no other.
        """
        first: dict[str, dict[str, Any]] = {}
        for hook in list(self.hooks):
            hook.verify(secret, whenever=whenever)
            assert _identity(hook.event) == _identity(first.setdefault(hook.id, hook.event)), hook.id
        taken = {hook.id for hook in list(self.hooks) if hook.taken}
        return [event for name, event in first.items() if name in taken]


def _identity(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["id"], event["type"], event["sequence"], event["created_at"], event["data"]["id"]
