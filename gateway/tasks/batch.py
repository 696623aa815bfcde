"""A list of generations that run under a limit, as it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from gateway.types import Principal

BatchState = Literal["running", "completed", "cancelled"]
ItemState = Literal["waiting", "starting", "running", "succeeded", "failed", "cancelled", "expired"]
OPEN_ITEMS: Final[tuple[ItemState, ...]] = ("waiting", "starting", "running")


@dataclass(frozen=True, slots=True)
class Batch:
    """Times are Unix seconds by the database's clock."""

    id: str
    owner: str
    key_name: str
    account_tags: tuple[str, ...]
    state: BatchState
    concurrency: int
    """Generations at once."""
    total: int
    metadata: dict[str, str] | None
    request_id: str
    cancel_requested: bool
    created_at: float
    finished_at: float | None
    counts: dict[str, int] = field(default_factory=dict)
    """Items by state."""

    @property
    def principal(self) -> Principal:
        """Who it is for: its tasks are theirs."""
        return Principal(self.owner, self.key_name, account_tags=frozenset(self.account_tags))


@dataclass(frozen=True, slots=True)
class Item:
    """One generation of a batch."""

    position: int
    state: ItemState
    task_id: str | None
    error: dict[str, Any] | None
    """What kept it from becoming a task; what ended its task is told by that."""


class Wanted(msgspec.Struct, frozen=True):
    """An item's request as it is kept."""

    body: dict[str, msgspec.Raw]
    webhook: dict[str, Any] | None = None
