"""A task as it stands, and what it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gateway.catalog.fitting import with_values
from gateway.types import NO_WISHES, ChatRequest, Job, Kind, TaskRequest, TaskState, VideoRequest, Webhook, Wishes

OPEN: tuple[TaskState, ...] = ("submitting", "submit_unknown", "queued", "running")
FINAL: tuple[TaskState, ...] = ("succeeded", "failed", "cancelled", "expired")


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
    """`{code, message, type, param}` of a failed one."""


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
    """`{code, message, type, param, status}`"""
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


def told(error: Any) -> dict[str, Any]:
    """An error as it is kept with a task."""
    return {
        "code": error.code,
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "status": error.status,
    }
