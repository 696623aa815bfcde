"""Jobs and requests, as the site keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Result = Literal["film", "none", "forbidden", "gone", "truncated", "text", "slow", "reset"]


@dataclass(frozen=True)
class Plan:
    """What will become of a job."""

    queued: float | None = None
    """Seconds; None: as the site has it."""
    running: float | None = None
    ends: Literal["succeeded", "failed", "expired", "cancelled"] = "succeeded"
    error: tuple[str, str] = ("InternalServiceError", "The service encountered an unexpected internal error.")
    word: str = "running"
    """What is told while it runs."""
    result: Result = "film"


@dataclass
class Task:
    """A job, and what was asked for."""

    id: str
    number: int
    account: str
    body: dict[str, Any]
    model: str
    created_at: float
    plan: Plan
    queued: float
    running: float
    seed: int
    held: str | None = None
    """A status that it keeps until it is let go."""
    cancelled_at: float | None = None
    forgotten: bool = False
    """Not known any more, as after seven days."""
    downloads: int = 0

    def status(self, now: float) -> str:
        age = now - self.created_at
        if self.cancelled_at is not None:
            return "cancelled"
        if self.held is not None:
            return self.held
        if age < min(self.queued, self.expires):
            return "queued"
        if self.queued + self.running > self.expires <= age:
            return "expired"
        return self.plan.word if age < self.queued + self.running else self.plan.ends

    @property
    def expires(self) -> int:
        return int(self.body.get("execution_expires_after", 172_800))


@dataclass(frozen=True)
class Seen:
    """A request."""

    operation: str
    key: str
    query: tuple[tuple[str, str], ...]
    body: Any
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True)
class Create:
    """An accepted create."""

    key: str
    body: dict[str, Any]
    id: str


@dataclass
class Gauge:
    """How many at once."""

    now: int = 0
    most: int = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1
