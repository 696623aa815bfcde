"""Looking at jobs, by the account that made them: one by one, or many in one call where the upstream has one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from gateway.accounts.pool import Pool
from gateway.errors import (
    Challenged,
    CredentialRejected,
    GatewayError,
    GenerationFailed,
    JobLost,
    TaskExpired,
)
from gateway.relay import Relay, within
from gateway.tasks.line import Line, Place
from gateway.tasks.pace import Pace
from gateway.tasks.progress import progress
from gateway.tasks.recorder import Recorder
from gateway.tasks.results import Results
from gateway.tasks.schedule import backoff, interval
from gateway.tasks.store import Store
from gateway.tasks.task import Task
from gateway.types import Account, Job, JobUpdate
from gateway.upstreams.base import Upstream

POLL_SECONDS: Final = 30.0
"""How long one look may take."""
LOST_POLLS: Final = 4
"""Looks in a row, further and further apart, that must not find a job before it counts as lost."""
GRACE_SECONDS: Final = 60.0
"""How long after its deadline a task whose upstream cannot be asked is kept: its job may be done."""
STOP_AGAIN_SECONDS: Final = 15.0
"""How long after an asking to stop that was not confirmed the upstream is asked again."""
MOST_REMEMBERED: Final = 10_000

log = structlog.get_logger(__name__)


class Polling:
    def __init__(
        self,
        store: Store,
        relay: Relay,
        recorder: Recorder,
        results: Results,
        pace: Pace,
        default_interval: float,
        after: Callable[[Task, GatewayError], int | None] = lambda task, error: None,
    ) -> None:
        self.store = store
        self.relay = relay
        self.recorder = recorder
        self.results = results
        self.default_interval = default_interval
        self._pace = pace
        self.after = after
        """How many candidates are done with after an error; None where nobody else is to be asked."""
        self._lines: dict[str, Line] = {}
        """By account."""
        self._faults: dict[str, int] = {}
        """Looks in a row that failed or found no job, by task."""
        self._asked_to_stop: dict[str, float] = {}
        """When the upstream was last asked to stop a job, by task."""

    async def poll(self, task: Task) -> None:
        """One look at the job of a task in hand, together with others of its account where one call tells of many."""
        found = self._held_by(task)
        if found is None:
            gone = GenerationFailed("the account that made the job is no longer configured", code="account_gone")
            await self.recorder.fail(task, gone)
            return
        upstream, account, pool = found
        if "poll_many" not in upstream.operations():
            await self._pace.turn(account.id, upstream.polls_per_second)
            await self._one(task, upstream, account, pool)
            return
        line = self._lines.setdefault(account.id, Line())
        place = line.join(task)
        try:
            async with line.turn:
                if line.holds(place):
                    await self._pace.turn(account.id, upstream.polls_per_second)
                    await asyncio.sleep(0)  # those that were claimed with it come in line first
                together = line.front(upstream.poll_batch) if line.holds(place) else []
            if together:
                await self._look(together, upstream, account, pool)
            await place.over.wait()
        finally:
            line.leave(place)

    async def _look(self, places: Sequence[Place], upstream: Upstream, account: Account, pool: Pool) -> None:
        """Ask for jobs of one account in one call. Each is over when what it showed is written."""
        try:
            if len(places) == 1:
                await self._one(places[0].task, upstream, account, pool)
            else:
                await self._many(places, upstream, account, pool)
        finally:
            for place in places:
                place.over.set()

    async def _many(self, places: Sequence[Place], upstream: Upstream, account: Account, pool: Pool) -> None:
        try:
            told = await within(upstream.poll_many([_job(place.task) for place in places], account), POLL_SECONDS)
        except GatewayError as error:
            await asyncio.gather(*(self._unanswered(place.task, error, pool) for place in places))
            return

        async def one(place: Place) -> None:
            await self._stands(place.task, upstream, account, told[_job(place.task).id])
            place.over.set()

        await asyncio.gather(*(one(place) for place in places if _job(place.task).id in told))
        for place in places:
            if _job(place.task).id not in told:
                await self._pace.turn(account.id, upstream.polls_per_second)
                await self._one(place.task, upstream, account, pool)
                place.over.set()

    async def _one(self, task: Task, upstream: Upstream, account: Account, pool: Pool) -> None:
        try:
            update = await within(upstream.poll(_job(task), account), POLL_SECONDS)
        except JobLost as error:
            await self._lost(task, error)
        except GatewayError as error:
            await self._unanswered(task, error, pool)
        else:
            await self._stands(task, upstream, account, update)

    # --- what a look shows ---

    async def _stands(self, task: Task, upstream: Upstream, account: Account, update: JobUpdate) -> None:
        self._faults.pop(task.id, None)
        await self.recorder.carried(task, self._take(task, upstream, account, update))

    async def _take(self, task: Task, upstream: Upstream, account: Account, update: JobUpdate) -> None:
        task = replace(task, native=update.native or task.native, job=update.job or task.job, polls=task.polls + 1)
        match update.state:
            case "queued" | "running":
                await self._goes_on(task, upstream, account, update)
            case "succeeded":
                await self.results.bring_in(task, upstream, account, update, self._usual(task))
            case "cancelled":
                await self.recorder.end(replace(task, state="cancelled", eta=None))
            case "failed" | "expired":
                error = update.error if isinstance(update.error, GatewayError) else GenerationFailed()
                skipped = self.after(task, error) if update.state == "failed" else None
                if skipped is not None:
                    await self.recorder.fall_back(task, error, skipped, update.usage)
                else:
                    await self.recorder.fail(task, error, update.state, update.usage)

    async def _goes_on(self, task: Task, upstream: Upstream, account: Account, update: JobUpdate) -> None:
        now = self.store.now()
        if task.cancel_requested and await self._stopped(task):
            await self.recorder.end(replace(task, state="cancelled", eta=None, error={"upstream_cancelled": True}))
            return
        if now >= task.deadline:
            await self.recorder.fail(task, _expired(task), "expired")
            return
        percent, eta = progress(task, update, now)
        seconds = interval(upstream, self.default_interval, now - (task.started_at or now))
        await self.recorder.put_off(replace(task, state="running", progress=percent, eta=eta), seconds)

    async def _lost(self, task: Task, error: JobLost) -> None:
        misses = self._failed_again(task)
        if misses >= LOST_POLLS:
            self._faults.pop(task.id, None)
            await self.recorder.fail(task, error, "expired")
            return
        await self.recorder.put_off(task, backoff(self._usual(task), misses))

    async def _unanswered(self, task: Task, error: GatewayError, pool: Pool) -> None:
        """A look that failed says nothing about the job, and nothing about the account but that its key is no good."""
        if isinstance(error, CredentialRejected | Challenged):
            pool.blame(task.account or "", error, model=task.model, kind=task.kind)
        if self.store.now() >= task.deadline + GRACE_SECONDS:
            self._faults.pop(task.id, None)
            await self.recorder.fail(task, _expired(task), "expired")
            return
        faults = self._failed_again(task)
        log.warning("poll failed", task=task.id, account=task.account, code=error.code, in_a_row=faults)
        await self.recorder.put_off(task, backoff(self._usual(task), faults, error.retry_after))

    # --- stopping ---

    async def stop(self, task: Task) -> bool | None:
        """Ask the upstream to stop a job: True when it confirmed, False when not, None where there is no way to ask.

        Raises what asking for it raises.
        """
        found = self._held_by(task)
        if found is None or "cancel" not in found[0].operations():
            return None
        if len(self._asked_to_stop) >= MOST_REMEMBERED:
            self._asked_to_stop.clear()
        self._asked_to_stop[task.id] = self.store.now()
        return await within(found[0].cancel(_job(task), found[1]), POLL_SECONDS)

    async def _stopped(self, task: Task) -> bool:
        """The same for a task that is to end, beside its polls: not again and again."""
        if self.store.now() - self._asked_to_stop.get(task.id, 0.0) < STOP_AGAIN_SECONDS:
            return False
        try:
            return bool(await self.stop(task))
        except GatewayError as error:
            log.warning("cancel failed", task=task.id, account=task.account, code=error.code)
            return False

    # --- the rest ---

    def _held_by(self, task: Task) -> tuple[Upstream, Account, Pool] | None:
        upstream, pool = self.relay.upstreams.get(task.upstream), self.relay.pools.get(task.upstream)
        account = pool.account(task.account or "") if pool else None
        return (upstream, account, pool) if upstream and account and pool else None

    def _usual(self, task: Task) -> float:
        age = self.store.now() - (task.started_at or task.created_at)
        return interval(self.relay.upstreams.get(task.upstream), self.default_interval, age)

    def _failed_again(self, task: Task) -> int:
        found = self._faults[task.id] = self._faults.get(task.id, 0) + 1
        return found


def _job(task: Task) -> Job:
    assert task.job is not None, "only tasks with a job are polled"
    return task.job


def _expired(task: Task) -> TaskExpired:
    return TaskExpired(f"the task did not finish within {task.deadline - task.created_at:.0f} s")
