"""What every request measured: kept in a bounded queue and written in batches, never on the path of a chat."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert

from gateway.db.engine import Database
from gateway.db.tables import usage
from gateway.errors import DatabaseUnavailable
from gateway.types import UsageRecord

QUEUE = 100_000
BATCH = 5_000
EVERY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Meter:
    """Takes records at once and writes them soon. A database that is away loses none until the queue is full."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[UsageRecord] = deque()
        self.dropped = 0

    def record(self, record: UsageRecord) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(record)

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
