"""A task as it stands, and what it makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from gateway.catalog.fitting import with_values
from gateway.errors import GatewayError, GenerationFailed, ResultUnavailable, Unsupported, UpstreamFailed
from gateway.types import NO_WISHES, ChatRequest, Job, Kind, TaskRequest, TaskState, VideoRequest, Webhook, Wishes
from gateway.wire.errors import own_words

OPEN: tuple[TaskState, ...] = ("submitting", "submit_unknown", "queued", "running")
FINAL: tuple[TaskState, ...] = ("succeeded", "failed", "cancelled", "expired")
DETAIL_CHARACTERS = 1000
"""Of an upstream's own words, as kept with a task."""


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a task, or why it could not be had."""

    position: int
    state: Literal["succeeded", "failed"] = "succeeded"
    asset_id: str | None = None
    key: str = ""
    mime: str = ""
    size: int = 0
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    error: dict[str, Any] | None = None
    """Why it failed, as `told` keeps it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task, as its row tells. Times are Unix seconds by the database's clock."""

    id: str
    owner: str
    kind: Kind
    model: str
    upstream: str
    account: str | None
    state: TaskState
    request: TaskRequest
    job: Job | None
    progress: float
    eta: float | None
    """Seconds to go, as far as anybody knows."""
    error: dict[str, Any] | None
    """`{code, message, type, param, status, advice?, alternatives?, allowed?, nearest?, detail?}`"""
    usage: dict[str, Any] | None
    chat_id: str | None
    attempts: tuple[dict[str, Any], ...]
    created_at: float
    submitted_at: float | None
    """When the upstream was last asked to make it."""
    started_at: float | None
    finished_at: float | None
    deadline: float
    next_poll_at: float
    cancel_requested: bool
    native: str
    candidates: tuple[tuple[str, str], ...]
    """(upstream, model) in order: where it may be submitted."""
    estimate: float | None
    request_id: str
    account_tags: tuple[str, ...] = ()
    """It is served only by accounts that carry all of these."""
    most: int = 1
    """Outputs that one asking of any candidate makes."""
    outputs: tuple[Output, ...] = ()
    polls: int = 0
    """Looks at its job, or for it while nobody knows whether there is one."""
    version: int = 0
    """One more with every change that is written."""
    answer: str | None = None
    """The text, where text was asked for."""
    metadata: dict[str, str] | None = None
    webhook: Webhook | None = None
    cost: float | None = None
    """What it cost, in `currency`. None: nobody knows, or nothing was made."""
    currency: str | None = None
    key_name: str = ""
    """The name of the key it was asked for with."""
    wishes: Wishes = NO_WISHES
    parameters: dict[str, Any] | None = None
    """Every value it was, or is to be, made with. None: nobody knows."""
    adjustments: tuple[dict[str, Any], ...] = ()
    """`{parameter, asked, used, reason}` of each value that was not used as asked."""
    batch_id: str | None = None
    """The batch it is of."""
    skipped: int = 0
    """Candidates that are done with: what they began has failed."""
    lease: str | None = None
    """Who works on it; what is written under another lease is refused."""

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def unasked(self) -> bool:
        """Whether certainly no upstream works on it."""
        return self.state == "queued" and self.job is None

    @property
    def prompt(self) -> str:
        return getattr(self.request, "prompt", "")

    def may_fall_back(self, error: GatewayError) -> bool:
        """Whether another candidate may be asked after what this one began has ended so.

        What the caller is at fault for fails everywhere. What may have been made in spite of it is not made twice: a
        job's own end is sure, an answer without a job only where it says that nothing came of it.
        """
        ended = isinstance(error, GenerationFailed) or (isinstance(error, UpstreamFailed) and self.job is not None)
        return ended and not isinstance(error, ResultUnavailable) and not self.cancel_requested and self.wishes.fallback

    @property
    def tried(self) -> int:
        """How many of its candidates were asked, or passed over."""
        here = [at for at, one in enumerate(self.candidates) if one == (self.upstream, self.model)]
        return max(here, default=self.skipped - 1) + 1

    @property
    def made(self) -> TaskRequest:
        """The request as it is made, as far as that is known: what it costs goes by that."""
        if isinstance(self.request, ChatRequest) or self.parameters is None:
            return self.request
        return with_values(self.request, self.parameters)

    @property
    def video(self) -> VideoRequest | None:
        """The request, where it is one that an upstream makes a job of."""
        return self.request if isinstance(self.request, VideoRequest) else None


def told(error: GatewayError) -> dict[str, Any]:
    """An error as it is kept with a task: all that it can be told by in any language. See `failure.error_of`."""
    kept: dict[str, Any] = {
        "code": error.code,
        "message": own_words(error),
        "type": error.type,
        "param": error.param,
        "status": error.status,
    }
    more: dict[str, Any] = {
        "advice": error.advice,
        "detail": (error.detail or "")[:DETAIL_CHARACTERS],
        "alternatives": [asdict(one) for one in error.alternatives],
    }
    if isinstance(error, Unsupported):
        more |= {"allowed": list(error.allowed), "nearest": error.nearest}
    return kept | {name: value for name, value in more.items() if value}
