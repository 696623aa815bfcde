"""What was tried for a request: gathered on its way, told to admins and to nobody else."""

from __future__ import annotations

import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Attempt, GatewayError
from gateway.tasks.task import Task
from gateway.wire.attempts import account_header, attempts_header

STREAMING = "streaming"
"""The outcome of an attempt whose answer has begun."""

State = MutableMapping[str, Any]
"""A request's `scope["state"]`."""


@dataclass(slots=True)
class Tried:
    """The attempts of one request, as they are noted: each list belongs to one piece of work and grows with it."""

    lists: list[Sequence[Attempt]] = field(default_factory=list)
    account: str | None = None
    """The id of who serves it."""
    streaming: Attempt | None = None
    begun: float = field(default_factory=time.monotonic)

    def all(self) -> list[Attempt]:
        return [attempt for attempts in self.lists for attempt in attempts]


def is_admin(state: State) -> bool:
    principal = state.get("principal")
    return principal is not None and principal.role == "admin"


# --- gathered: for admins, since nobody else will be told ---


def tried_of(state: State) -> Tried | None:
    found: Tried | None = state.get("tried")
    if found is None and is_admin(state):
        found = state["tried"] = Tried()
    return found


def working(state: State, attempts: Sequence[Attempt]) -> None:
    """A piece of work begins, which notes its attempts in that list."""
    if (tried := tried_of(state)) is not None:
        tried.lists.append(attempts)


def served(state: State, account: str | None) -> None:
    """It is known who answers."""
    if (tried := tried_of(state)) is not None:
        tried.account = account


def streaming(state: State, upstream: str, account: str) -> None:
    """An answer has begun to stream; how it ends comes too late for a header."""
    if (tried := tried_of(state)) is not None:
        before = sum(attempt.seconds for attempt in tried.all())
        tried.streaming = Attempt(upstream, account, STREAMING, max(0.0, time.monotonic() - tried.begun - before))


def served_as(state: State, task: Task) -> None:
    """A task is the answer: what was tried for it counts, whenever that was."""
    if (tried := tried_of(state)) is not None:
        tried.account, tried.lists = task.account, [of_task(task)]


def failed(state: State, error: GatewayError) -> None:
    """An error is the answer: what it tells of attempts counts, where none were noted."""
    if error.account is None and not error.attempts:
        return
    if (tried := tried_of(state)) is not None:
        tried.account, tried.streaming = error.account or tried.account, None
        if not any(tried.lists):
            tried.lists = [error.attempts]


def of_task(task: Task) -> list[Attempt]:
    """The attempts kept with a task."""
    return [
        Attempt(kept["upstream"], kept["account"], kept["outcome"], kept["seconds"], kept.get("reason", ""))
        for kept in task.attempts
    ]


# --- told ---


def attempts_for(state: State, error: GatewayError) -> Sequence[Attempt]:
    """What led to an error, for who asked."""
    tried = tried_of(state)
    return () if tried is None else tried.all() or error.attempts


def headers(state: State) -> list[tuple[bytes, bytes]]:
    """Who served, and what was tried until the answer began."""
    tried: Tried | None = state.get("tried")
    if tried is None:
        return []
    told = []
    if tried.account:
        told.append((b"x-gateway-account", account_header(tried.account)))
    attempts = tried.all()
    if tried.streaming is not None:
        attempts.append(tried.streaming)
    if attempts:
        told.append((b"x-gateway-attempts", attempts_header(attempts)))
    return told
