"""Tasks and requests, as the site keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

ZONE = timezone(timedelta(hours=8))
DAY = 86_400.0
Result = Literal["whole", "none", "forbidden", "gone", "truncated", "text"]


@dataclass(frozen=True)
class Plan:
    """What will become of a task, or of what is answered at once."""

    queued: float | None = None
    """Seconds; None: as the site has it."""
    running: float | None = None
    ends: Literal["SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"] = "SUCCEEDED"
    error: tuple[str, str] = ("InternalError.Algo", "inference internal error")
    word: str = "RUNNING"
    """What is told while it runs."""
    result: Result = "whole"
    missing: Mapping[int, tuple[str, str]] | None = None
    """Of several images, those that come to nothing, and why."""


@dataclass
class Task:
    id: str
    account: str
    body: dict[str, Any]
    model: str
    family: Literal["film", "still"]
    created_at: float
    plan: Plan
    queued: float
    running: float
    messages: bool = False
    """Whether images are told as answers to messages."""
    count: int = 1
    held: str | None = None
    """A status that it keeps until it is let go."""
    cancelled_at: float | None = None
    forgotten: bool = False

    def status(self, now: float) -> str:
        age = now - self.created_at
        if self.forgotten or age > DAY:
            return "UNKNOWN"
        if self.cancelled_at is not None:
            return "CANCELED"
        if self.held is not None:
            return self.held
        if age < self.queued:
            return "PENDING"
        return self.plan.word if age < self.queued + self.running else self.plan.ends


@dataclass(frozen=True)
class Seen:
    """A request."""

    operation: str
    key: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Create:
    """An accepted create."""

    key: str
    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    id: str = ""
    """Of its task, if it made one."""


def told_time(when: float) -> str:
    return datetime.fromtimestamp(when, ZONE).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
