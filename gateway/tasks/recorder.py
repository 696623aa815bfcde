"""How a step of a task ends: written down, told to whoever waits, accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Literal, TypeVar

import structlog

from gateway.errors import DatabaseUnavailable, GatewayError, StorageUnavailable
from gateway.tasks.notices import Notices
from gateway.tasks.schedule import BACKOFF_MAX
from gateway.tasks.store import Store
from gateway.tasks.task import Task, told
from gateway.types import Usage, UsageRecord
from gateway.usage import Meter

WRITE_AGAIN_SECONDS = 0.5
WRITE_AGAIN_MAX = 30.0
STORES_AWAY_SECONDS = 5.0
"""A task whose database or storage is away is taken up again after this."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Recorder:
    def __init__(self, store: Store, notices: Notices, meter: Meter) -> None:
        self.store = store
        self.notices = notices
        self.meter = meter
        self.wake: Callable[[float], None] = lambda seconds: None
        """Called when a task will be due in so many seconds."""
        self.announced: Callable[[], None] = lambda: None
        """Called when a webhook may wait."""

    async def carried(self, task: Task, step: Awaitable[T]) -> T | None:
        """Take a step of a task in hand; what keeps it from being taken puts it off."""
        try:
            return await step
        except (DatabaseUnavailable, StorageUnavailable) as error:
            log.warning("task step put off", task=task.id, code=error.code)
            await self.put_off(task, STORES_AWAY_SECONDS)
        except Exception:
            log.exception("task step failed", task=task.id)
            await self.put_off(task, BACKOFF_MAX)
        return None

    async def put_off(self, task: Task, seconds: float) -> None:
        """The task as it is now, given back and due again in `seconds`."""
        await self.insisted(task, lambda: self.store.save(replace(task, next_poll_at=self.store.now() + seconds)))
        self.notices.tell(task.id)
        self.wake(seconds)

    async def fail(
        self, task: Task, error: GatewayError, state: Literal["failed", "expired"] = "failed"
    ) -> GatewayError:
        await self.end(replace(task, state=state, error=told(error), eta=None), error)
        return error

    async def end(self, task: Task, error: GatewayError | None = None, usage: Usage | None = None) -> bool:
        """Give a task that this process holds its final state. False where it has one, or another holds it."""
        measured = None if usage is None else asdict(usage)
        done = replace(task, finished_at=self.store.now(), usage=measured)
        if not await self.insisted(done, lambda: self.store.save(done)):
            return False
        self.ended(done, error, usage)
        return True

    async def insisted(self, task: Task, write: Callable[[], Awaitable[T]]) -> T:
        """Write, however long the database is away: what an upstream has promised must not be forgotten."""
        pause = WRITE_AGAIN_SECONDS
        while True:
            try:
                return await write()
            except DatabaseUnavailable as error:
                job = task.job.id if task.job else None
                log.error("task not written yet", task=task.id, job=job, account=task.account, code=error.code)
            await asyncio.sleep(pause)
            pause = min(WRITE_AGAIN_MAX, pause * 2)

    def ended(self, task: Task, error: GatewayError | None, usage: Usage | None) -> None:
        """Everything that follows the end of a task, once it is written."""
        self.notices.tell(task.id)
        self.announced()
        log.info("task ended", task=task.id, state=task.state, kind=task.kind, model=task.model, account=task.account)
        if task.job is None:
            return  # the relay has recorded what was tried
        usage = usage or Usage()
        self.meter.record(
            UsageRecord(
                at=task.finished_at or self.store.now(),
                request_id=task.request_id,
                owner=task.owner,
                kind=task.kind,
                model=task.model,
                upstream=task.upstream,
                account=task.account or "",
                status=error.status if error else 200,
                code=error.code if error else task.state,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                images=usage.images,
                media_seconds=usage.seconds,
                seconds=(task.finished_at or self.store.now()) - task.created_at,
                attempts=max(1, len(task.attempts)),
                task_id=task.id,
            )
        )
