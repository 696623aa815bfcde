"""Records of what requests measured, kept in a bounded queue and written in batches, never on the path of a chat."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypedDict

import msgspec
import structlog
from sqlalchemy import bindparam, insert, update

from gateway.catalog.prices import shares
from gateway.db.engine import Database
from gateway.db.tables import assets, usage
from gateway.errors import DatabaseUnavailable
from gateway.types import Usage, UsageRecord
from gateway.usage.tally import Tally

QUEUE = 100_000
BATCH = 5_000
EVERY_SECONDS = 1.0

_NEW = insert(usage)
_PRICED = (
    update(assets)
    .where(assets.c.id == bindparam("the_id"))
    .values(
        cost=bindparam("its_cost"),
        currency=bindparam("its_currency"),
        generation_time=bindparam("its_time"),
    )
)
_ELSEWHERE = frozenset({"account", "assets", "generation_time"})
"""Fields of a record that are no columns of its row."""

log = structlog.get_logger(__name__)


class Meter:
    """Takes records at once and writes them soon. A database that is away loses none until the queue is full."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[UsageRecord] = deque()
        self._charges: deque[dict[str, Any]] = deque(maxlen=QUEUE)
        """Costs of assets that became such only after their request was recorded."""
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

    def charge(self, asset_id: str, usage: Usage, seconds: float | None = None) -> None:
        """Have an asset know what it cost and how many `seconds` it took. What it is a part of is recorded already."""
        told = measures(usage)
        self._charges.append(_charge(asset_id, told["cost"], told["currency"], seconds))

    async def run(self) -> None:
        """Write what has come in, once a second. Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.flush()
            except DatabaseUnavailable as error:
                log.warning("usage not written yet", waiting=len(self._queue), code=error.code)

    async def flush(self) -> None:
        """Write everything that waits, and with it what assets cost. Raises DatabaseUnavailable; what was not written
        stays queued."""
        while self._queue or self._charges:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            charges = [self._charges.popleft() for _ in range(min(BATCH, len(self._charges)))]
            try:
                await self._write(batch, [*charges, *_charges(batch)])
            except BaseException:
                self._queue.extendleft(reversed(batch))
                self._charges.extendleft(reversed(charges))
                raise

    async def _write(self, batch: Sequence[UsageRecord], charges: Sequence[dict[str, Any]]) -> None:
        """Assets in one order for all who write: two that waited for each other's would wait for good."""
        async with self._database.write() as connection:
            if batch:
                await connection.execute(_NEW, [_row(record) for record in batch])
            if charges:
                await connection.execute(_PRICED, sorted(charges, key=lambda charge: str(charge["the_id"])))


class Measures(TypedDict):
    """The fields of a record that come from usage."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    images: int
    media_seconds: float
    characters: int
    estimated: bool
    cost: float | None
    currency: str | None


def measures(usage: Usage) -> Measures:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "images": usage.images,
        "media_seconds": usage.seconds,
        "characters": usage.characters,
        "estimated": usage.estimated,
        "cost": usage.cost,
        "currency": None if usage.cost is None else usage.currency,
    }


def _row(record: UsageRecord) -> dict[str, Any]:
    """Without NUL, which PostgreSQL keeps in no text: one such name would hold up every other record for good."""
    told = msgspec.structs.asdict(record)
    row = {
        name: value.replace("\0", "") if isinstance(value, str) else value
        for name, value in told.items()
        if name not in _ELSEWHERE
    }
    row["account_id"] = record.account.replace("\0", "")
    return row


def _charges(batch: Iterable[UsageRecord]) -> Iterator[dict[str, Any]]:
    """What each asset of a record is to know: its share of the cost."""
    for record in batch:
        count = len(record.assets)
        costs = [None] * count if record.cost is None else shares(record.cost, count)
        for asset_id, cost in zip(record.assets, costs, strict=True):
            yield _charge(asset_id, cost, record.currency, record.generation_time)


def _charge(asset_id: str, cost: float | None, currency: str | None, seconds: float | None) -> dict[str, Any]:
    return {"the_id": asset_id, "its_cost": cost, "its_currency": currency, "its_time": seconds}
