"""How a step of a task ends: written down, told to whoever waits, accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Literal, TypeVar

import structlog

from gateway.catalog.prices import PriceBook
from gateway.catalog.quotes import expected
from gateway.errors import (
    AccountError,
    Attempt,
    DatabaseUnavailable,
    GatewayError,
    RequestError,
    StorageUnavailable,
    TaskExpired,
    Unavailable,
)
from gateway.relay.measured import with_media
from gateway.relay.work import Suggest
from gateway.tasks.notices import Notices
from gateway.tasks.schedule import BACKOFF_MAX
from gateway.tasks.store import Store
from gateway.tasks.task import Task, told
from gateway.types import Candidate, ModelCard, Usage, UsageRecord
from gateway.usage import Meter, measures
from gateway.usage.together import together

NOT_BEGUN = (AccountError, RequestError, TaskExpired, Unavailable)
"""Errors after which nothing was made where it was tried last."""
WRITE_AGAIN_SECONDS = 0.5
WRITE_AGAIN_MAX = 30.0
STORES_AWAY_SECONDS = 5.0
"""A task whose database or storage is away is taken up again after this."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Recorder:
    def __init__(self, store: Store, notices: Notices, meter: Meter, prices: PriceBook) -> None:
        self.store = store
        self.notices = notices
        self.meter = meter
        self.prices = prices
        self.wake: Callable[[float], None] = lambda seconds: None
        """Called when a task will be due in so many seconds."""
        self.announced: Callable[[], None] = lambda: None
        """Called when a webhook may wait."""

        self.suggest: Suggest | None = None
        """Which other models could have done it, if anybody can say."""
        self.batched: Callable[[], None] = lambda: None
        """Called when a task of a batch has ended."""

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
        self,
        task: Task,
        error: GatewayError,
        state: Literal["failed", "expired"] = "failed",
        usage: Usage | None = None,
    ) -> GatewayError:
        if self.suggest is not None:
            tried = [Candidate(upstream, ModelCard(name, frozenset({task.kind}))) for upstream, name in task.candidates]
            self.suggest(error, task.request, task.kind, tried, frozenset(task.account_tags))
        if task.skipped and task.job is None and task.error and isinstance(error, NOT_BEGUN):
            state, kept = "failed", task.error  # what became of the job that there was says more
        else:
            kept = told(error)
        await self.end(replace(task, state=state, error=kept, eta=None), error, usage)
        return error

    async def fall_back(self, task: Task, error: GatewayError, skipped: int, usage: Usage | None) -> None:
        """Its job has failed, and the next candidate is asked: what it took is recorded, and what was tried is told."""
        log.warning("job failed, another model is asked", task=task.id, model=task.model, code=error.code)
        usage = usage if usage is None or usage.cost is None else self._priced(task, usage)
        seconds = self.store.now() - (task.submitted_at or task.created_at)
        tried = asdict(Attempt(task.upstream, task.account or "", error.code, seconds, error.message))
        self._record(task, error, usage or Usage(), self.store.now())
        again = replace(
            task,
            state="queued",
            job=None,
            account=None,
            progress=0.0,
            polls=0,
            skipped=skipped,
            error=told(error),
            attempts=(*task.attempts, tried),
        )
        await self.put_off(with_usage(again, usage), 0.0)

    async def end(self, task: Task, error: GatewayError | None = None, usage: Usage | None = None) -> bool:
        """Give a task that this process holds its final state. False where it has one, or another holds it."""
        if usage is not None and task.job is not None and (error is None or usage.cost is not None):
            usage = self._priced(task, usage)  # what has no job was priced by the relay
        done = with_usage(replace(task, finished_at=self.store.now()), usage)
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
        if task.batch_id is not None:
            self.batched()
        log.info("task ended", task=task.id, state=task.state, kind=task.kind, model=task.model, account=task.account)
        if task.job is None:
            return  # the relay has recorded what was tried
        self._record(task, error, usage or Usage(), task.finished_at or self.store.now())

    def _record(self, task: Task, error: GatewayError | None, usage: Usage, finished: float) -> None:
        self.meter.record(
            UsageRecord(
                at=finished,
                request_id=task.request_id,
                owner=task.owner,
                kind=task.kind,
                model=task.model,
                upstream=task.upstream,
                account=task.account or "",
                status=error.status if error else 200,
                code=error.code if error else task.state,
                seconds=finished - task.created_at,
                attempts=max(1, len(task.attempts)),
                task_id=task.id,
                key=task.key_name,
                assets=tuple(output.asset_id for output in task.outputs if output.asset_id),
                generation_time=finished - (task.submitted_at or task.created_at),
                **measures(usage),
            )
        )

    def unstopped(self, task: Task) -> Usage | None:
        """What a job takes that goes on without its task: all that was asked for. None where nobody knows how much."""
        card = self.prices.card(task.upstream, task.model) or ModelCard(task.model, frozenset({task.kind}))
        usage, sure = expected(task.made, card)
        if not any(getattr(usage, measure) for measure in sure):
            return None
        return self.prices.priced(replace(usage, estimated=True), task.upstream, task.model, task.made, card)

    def _priced(self, task: Task, usage: Usage) -> Usage:
        """Usage with what the task made, and what that cost now."""
        made = [(output.mime.partition("/")[0], output.seconds) for output in task.outputs if output.key]
        return self.prices.priced(with_media(usage, made), task.upstream, task.model, task.made)


def with_usage(task: Task, usage: Usage | None) -> Task:
    """A task with what it took besides what it took before; its cost stands by itself."""
    if usage is None:
        return task
    if task.usage is not None:
        usage = together(Usage(**task.usage, cost=task.cost, currency=task.currency or ""), usage)
    measured = {name: value for name, value in asdict(usage).items() if name not in ("cost", "currency")}
    return replace(task, usage=measured, cost=usage.cost, currency=None if usage.cost is None else usage.currency)
