"""A request on its way, and the answers that come of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Attempt, GatewayError
from gateway.relay.measured import Measured
from gateway.types import (
    NO_WISHES,
    Account,
    AnyRequest,
    Candidate,
    Event,
    Fitted,
    Kind,
    MediaRequest,
    OnUnsupported,
    Principal,
    Usage,
    Wishes,
)
from gateway.upstreams.base import Upstream

Events = AsyncGenerator[Event]
Fit = Callable[[MediaRequest, Candidate, OnUnsupported | None], Fitted]
Suggest = Callable[[GatewayError, AnyRequest, Kind, Sequence[Candidate], frozenset[str]], None]
"""Puts into an error which other models could do it, for who may use accounts with these tags."""
Sending = Callable[[Candidate, Account], Awaitable[None]]
"""Awaited when everything is ready and nothing was sent yet, before every attempt. What it raises stops the request."""


@dataclass(slots=True)
class Work:
    """A request on its way: what to do, for whom, and where it may go."""

    kind: Kind
    request: AnyRequest
    candidates: Sequence[Candidate]
    principal: Principal
    request_id: str
    only: str | None = None
    """The account that must serve it, by id."""
    task_id: str | None = None
    wait: float | None = None
    """Seconds to wait for a slot; None: as long as the config says."""
    sending: Sending | None = None
    wishes: Wishes = NO_WISHES
    whole: AnyRequest | None = None
    """What this is a part of: it is the whole that may cost so much."""
    fitted: Fitted | None = None
    """The request as the candidate takes it that is, or was last, asked; None before, and for text."""
    attempts: list[Attempt] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def made(self) -> AnyRequest:
        """The request as it is made, where that is known; else as it was asked."""
        return self.request if self.fitted is None else self.fitted.request

    def note(self, candidate: Candidate, account: Account, error: GatewayError | None, begun: float) -> None:
        """Remember how an attempt ended."""
        outcome, reason = ("ok", "") if error is None else (error.code, error.message)
        self.attempts.append(Attempt(candidate.upstream, account.id, outcome, time.monotonic() - begun, reason))


@dataclass(slots=True)
class Served:
    """An answer that was asked for whole, and who gave it."""

    value: Any
    candidate: Candidate
    account: Account


class Relayed:
    """A committed answer: iterate its events once, then it is settled. `aclose` settles it early."""

    __slots__ = ("account", "adjustments", "attempts", "candidate", "events", "measured", "passed", "took", "upstream")

    def __init__(self, work: Work, candidate: Candidate, account: Account, upstream: Upstream) -> None:
        self.upstream = upstream
        self.candidate = candidate
        self.account = account
        self.attempts = work.attempts
        self.adjustments = work.fitted.adjustments if work.fitted else ()
        self.measured = Measured()
        self.passed = False
        """Whether it passes as it came."""
        self.took: float | None = None
        """Seconds that the attempt lasted, once it is settled."""
        self.events: Events | None = None

    @property
    def usage(self) -> Usage:
        """What it took and cost, once it is settled; until then, what the upstream has told."""
        return self.measured.usage

    def __aiter__(self) -> AsyncIterator[Event]:
        assert self.events is not None
        return self.events

    async def aclose(self) -> None:
        if self.events is not None:
            await self.events.aclose()
