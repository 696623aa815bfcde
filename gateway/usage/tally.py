"""Sums of what requests came to since the process began, kept as they end, for who monitors it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.types import Kind, UsageRecord

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds that requests are sorted by; the last ones are for videos."""
MOST_MODELS = 200
MOST_SUMS = 5_000
OTHER = "other"
"""The model of requests whose model has no sums of its own, and the code of those whose code has none."""


class Sort(NamedTuple):
    """What is summed up together."""

    kind: Kind
    upstream: str
    model: str
    status: int
    """The first digit."""
    code: str


@dataclass(slots=True)
class Sums:
    """What the requests of one sort come to, since the process began."""

    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    media_seconds: float = 0.0
    attempts: int = 0
    seconds: float = 0.0
    cost: dict[str, float] = field(default_factory=dict)
    """By currency."""
    took: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Requests by how long they took: up to each of BOUNDS, and longer."""

    def add(self, record: UsageRecord) -> None:
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
        self.images += record.images
        self.media_seconds += record.media_seconds
        self.attempts += record.attempts
        self.seconds += record.seconds
        if record.cost is not None:
            self._charge(record.currency or "", record.cost)
        self.took[bisect_left(BOUNDS, record.seconds)] += 1

    def join(self, other: Sums) -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.images += other.images
        self.media_seconds += other.media_seconds
        self.attempts += other.attempts
        self.seconds += other.seconds
        for currency, amount in other.cost.items():
            self._charge(currency, amount)
        self.took = [mine + its for mine, its in zip(self.took, other.took, strict=True)]

    def copy(self) -> Sums:
        return replace(self, took=self.took.copy(), cost=self.cost.copy())

    def _charge(self, currency: str, amount: float) -> None:
        self.cost[currency] = self.cost.get(currency, 0.0) + amount


class Tally:
    """Sums by sort, in bounded number whatever callers ask for."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Kind, str, str, int, str], Sums] = {}
        self._models: set[str] = set()

    def add(self, record: UsageRecord) -> None:
        status = record.status // 100
        sums = self._sums.get((record.kind, record.upstream, record.model, status, record.code))
        if sums is None:
            sums = self._new(record, status)
        sums.add(record)

    def read(self) -> list[tuple[Sort, Sums]]:
        """The sums as they are now."""
        return [(Sort(*sort), sums.copy()) for sort, sums in self._sums.items()]

    def _new(self, record: UsageRecord, status: int) -> Sums:
        sort = Sort(record.kind, record.upstream, self._model(record, status), status, record.code)
        if len(self._sums) >= MOST_SUMS and sort not in self._sums:
            sort = sort._replace(model=OTHER, code=record.code if sort.status == 2 else OTHER)
        return self._sums.setdefault(sort, Sums())

    def _model(self, record: UsageRecord, status: int) -> str:
        """A name counts once something was made with it: until then it may be anything that a caller made up."""
        if record.model not in self._models:
            if status != 2 or len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add(record.model)
        return record.model
