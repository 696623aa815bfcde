"""What every request measured: summed up at once, kept in a bounded queue and written in batches, never on the path of
a chat.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import insert

from gateway.db.engine import Database
from gateway.db.tables import usage
from gateway.errors import DatabaseUnavailable
from gateway.types import Kind, UsageRecord

QUEUE = 100_000
BATCH = 5_000
EVERY_SECONDS = 1.0

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds that requests are sorted by; the last ones are for videos."""
MOST_MODELS = 200
MOST_SUMS = 5_000
OTHER = "other"
"""The model of requests whose model has no sums of its own, and the code of those whose code has none."""

log = structlog.get_logger(__name__)


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
    took: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Requests by how long they took: up to each of BOUNDS, and longer."""

    def add(self, record: UsageRecord) -> None:
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
        self.images += record.images
        self.media_seconds += record.media_seconds
        self.attempts += record.attempts
        self.seconds += record.seconds
        self.took[bisect_left(BOUNDS, record.seconds)] += 1

    def join(self, other: Sums) -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.images += other.images
        self.media_seconds += other.media_seconds
        self.attempts += other.attempts
        self.seconds += other.seconds
        self.took = [mine + its for mine, its in zip(self.took, other.took, strict=True)]


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
        return [(Sort(*sort), replace(sums, took=sums.took.copy())) for sort, sums in self._sums.items()]

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


class Meter:
    """Takes records at once and writes them soon. A database that is away loses none until the queue is full."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[UsageRecord] = deque()
        self.tally = Tally()
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return len(self._queue)

    def record(self, record: UsageRecord) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(record)
        self.tally.add(record)

    async def run(self) -> None:
        """Write what has come in, once a second. Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.flush()
            except DatabaseUnavailable as error:
                log.warning("usage not written yet", waiting=len(self._queue), code=error.code)

    async def flush(self) -> None:
        """Write everything that waits. Raises DatabaseUnavailable; what was not written stays queued."""
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                async with self._database.write() as connection:
                    await connection.execute(insert(usage), [_row(record) for record in batch])
            except BaseException:
                self._queue.extendleft(reversed(batch))
                raise


def _row(record: UsageRecord) -> dict[str, Any]:
    """Without NUL, which PostgreSQL keeps in no text: one such name would hold up every other record for good."""
    told = msgspec.structs.asdict(record)
    row = {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in told.items()}
    row["account_id"] = row.pop("account")
    return row
