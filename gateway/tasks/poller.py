"""The only place that submits and polls: takes due tasks in hand, asks the account that holds the job, keeps results.

Apart from any request. What it does with a task is decided by the row alone, so a restart goes on where it stopped:

    queued, no job     nobody was asked yet: submit
    submitting         asked, and the answer was lost with the process: nobody can tell, so never asked again
    job there          poll
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import structlog

from gateway.assets.ingest import Ingest, Origin
from gateway.errors import (
    AccountError,
    Challenged,
    CredentialRejected,
    DatabaseUnavailable,
    Fault,
    GatewayError,
    GenerationFailed,
    JobLost,
    RateLimited,
    ResultUnavailable,
    StorageUnavailable,
    SubmitOutcomeUnknown,
    TaskExpired,
    Unavailable,
)
from gateway.relay import Relay, Work, within
from gateway.tasks.notices import Notices
from gateway.tasks.progress import progress
from gateway.tasks.store import FINAL, Store, Task
from gateway.types import Account, Candidate, Job, JobUpdate, ModelCard, Principal, Usage, UsageRecord
from gateway.upstreams.base import Upstream

AT_ONCE = 64
"""Tasks in hand at a time."""
IDLE_SECONDS = 2.0
POLL_SECONDS = 30.0
"""How long one poll may take."""
BACKOFF_MAX = 60.0
LOST_POLLS = 3
"""Polls in a row that must not find a job before it counts as lost."""
RESULT_TRIES = 4
RATE_LIMIT_SECONDS = 5.0
WRITE_AGAIN_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Poller:
    def __init__(self, store: Store, relay: Relay, ingest: Ingest, *, interval: float) -> None:
        self.store = store
        self.relay = relay
        self.ingest = ingest
        self.interval = interval
        self.notices = Notices()
        self._wake = asyncio.Event()
        self._hands = asyncio.Semaphore(AT_ONCE)
        self._faults: dict[str, int] = {}
        """Failed polls in a row, by task."""
        self._unfetched: dict[str, int] = {}
        """Results in a row that could not be brought in, by task."""
        self._group: asyncio.TaskGroup | None = None
        self._closing = False
        self._submitting: set[asyncio.Task[object]] = set()

    async def run(self) -> None:
        """Take due tasks in hand until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            while True:
                try:
                    await self._round(self._group)
                except DatabaseUnavailable as error:
                    log.warning("tasks cannot be read", code=error.code)
                    await asyncio.sleep(IDLE_SECONDS)

    async def settle(self, limit: float) -> None:
        """Take nothing new in hand, and wait for creates under way: one cut off in between can never be told again."""
        self._closing = True
        if self._submitting:
            await asyncio.wait(self._submitting, timeout=limit)

    async def take_on(self, task_id: str, limit: float) -> GatewayError | None:
        """Submit a new task now. Returns what refused it; None once it is taken, or will be by itself later."""
        assert self._group is not None, "the poller runs"
        work = self._group.create_task(self._first(task_id), name=f"submit {task_id}")
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(work)
        except TimeoutError:
            return None

    async def _first(self, task_id: str) -> GatewayError | None:
        try:
            task = await self.store.claim_one(task_id, time.time())
        except DatabaseUnavailable as error:
            return error
        return await self._advance(task) if task is not None else None

    async def _round(self, group: asyncio.TaskGroup) -> None:
        await self._hands.acquire()
        self._hands.release()
        claimed = [] if self._closing else await self.store.claim(AT_ONCE, time.time())
        for task in claimed:
            await self._hands.acquire()
            group.create_task(self._in_hand(task), name=f"task {task.id}")
        if len(claimed) < AT_ONCE:
            await self._sleep()

    async def _sleep(self) -> None:
        due = await self.store.next_due()
        seconds = IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.02, due - time.time()))
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _in_hand(self, task: Task) -> None:
        try:
            await self._advance(task)
        finally:
            self._hands.release()

    async def _advance(self, task: Task) -> GatewayError | None:
        """One step of a task that this process holds. Returns the error that ended it, if one did."""
        try:
            return await self._step(task)
        except (DatabaseUnavailable, StorageUnavailable) as error:
            log.warning("task step put off", task=task.id, code=error.code)
        except Exception:
            log.exception("task step failed", task=task.id)
            with suppress(DatabaseUnavailable):
                await self._later(task, BACKOFF_MAX)
        return None

    async def _step(self, task: Task) -> GatewayError | None:
        if task.state == "submitting":
            return await self._fail(task, SubmitOutcomeUnknown())
        if task.job is None and task.cancel_requested:
            await self._end(replace(task, state="cancelled"))
            return None
        if time.time() >= task.deadline:
            return await self._fail(task, TaskExpired(f"the task did not finish within {_span(task):.0f} s"), "expired")
        if task.job is not None:
            return await self._poll(task)
        me = asyncio.current_task()
        assert me is not None
        self._submitting.add(me)
        try:
            return await self._submit(task)
        finally:
            self._submitting.discard(me)

    # --- submitting ---

    async def _submit(self, task: Task) -> GatewayError | None:
        task = replace(task, state="submitting", submitted_at=time.time())
        if not await self.store.save(task, release=False):
            return None
        work = Work(
            kind=task.kind,
            request=task.request,
            candidates=[_candidate(upstream, model, task) for upstream, model in task.candidates],
            principal=Principal(task.owner, ""),
            request_id=task.request_id,
            task_id=task.id,
            wait=0.0,
        )
        try:
            served = await self.relay.ask(work)
        except (Unavailable, AccountError) as error:
            return await self._queue(task, error, work)
        except GatewayError as error:
            unknown = error.sent == "unknown" and error.fault is Fault.UPSTREAM
            return await self._fail(
                _attempted(task, work), SubmitOutcomeUnknown(detail=error.message) if unknown else error
            )
        now = time.time()
        task = replace(
            _attempted(task, work),
            state="running",
            job=served.value,
            upstream=served.candidate.upstream,
            model=served.candidate.card.id,
            account=served.account.id,
            started_at=now,
            next_poll_at=now + self._interval(served.candidate.upstream),
        )
        await self._save(task)
        if (await self.store.get(task.id)).cancel_requested:  # asked for while nobody knew of a job
            try:
                await self.stop(task)
            except GatewayError as error:
                log.warning("cancel failed", task=task.id, account=task.account, code=error.code)
        return None

    async def _queue(self, task: Task, error: GatewayError, work: Work) -> GatewayError | None:
        """No account can take it now: it waits for one. Where none will before the deadline, it fails."""
        wait = RATE_LIMIT_SECONDS if error.retry_after is None and isinstance(error, RateLimited) else error.retry_after
        task = _attempted(task, work)
        if wait is None or time.time() + wait >= task.deadline:
            return await self._fail(task, error)
        wait = max(wait, 0.5)
        await self._save(replace(task, state="queued", next_poll_at=time.time() + wait, eta=wait))
        return None

    # --- polling ---

    async def _poll(self, task: Task) -> GatewayError | None:
        upstream = self.relay.upstreams.get(task.upstream)
        pool = self.relay.pools.get(task.upstream)
        account = pool.account(task.account or "") if pool else None
        if upstream is None or pool is None or account is None or task.job is None:
            gone = GenerationFailed("the account that made the job is no longer configured", code="account_gone")
            return await self._fail(task, gone)
        try:
            update = await within(upstream.poll(task.job, account), POLL_SECONDS)
        except JobLost as error:
            return await self._lost(task, error)
        except GatewayError as error:
            if isinstance(error, CredentialRejected | Challenged):
                pool.blame(account.id, error, model=task.model, kind=task.kind)
            await self._later(task, self._backoff(task, error))
            return None
        self._faults.pop(task.id, None)
        if update.job is not None:
            task = replace(task, job=update.job)
        return await self._updated(task, upstream, account, update)

    async def _updated(
        self, task: Task, upstream: Upstream, account: Account, update: JobUpdate
    ) -> GatewayError | None:
        task = replace(task, native=update.native or task.native)
        match update.state:
            case "queued" | "running":
                percent, eta = progress(task, update, time.time())
                state = "running" if update.state == "running" else task.state
                await self._save(
                    replace(
                        task,
                        state=state,
                        progress=percent,
                        eta=eta,
                        next_poll_at=time.time() + self._interval(task.upstream),
                    )
                )
                return None
            case "succeeded":
                return await self._bring_in(task, upstream, account, update)
            case "cancelled":
                await self._end(replace(task, state="cancelled"))
                return None
            case "failed" | "expired":
                error = update.error if isinstance(update.error, GatewayError) else GenerationFailed()
                return await self._fail(task, error, update.state)

    async def _bring_in(
        self, task: Task, upstream: Upstream, account: Account, update: JobUpdate
    ) -> GatewayError | None:
        origin = Origin(
            owner=task.owner,
            kind=task.kind,
            model=task.model,
            upstream=upstream,
            account=account,
            prompt=task.request.prompt,
            task_id=task.id,
        )
        try:
            if not update.media:
                raise ResultUnavailable("the upstream says it is done but names no result")
            kept = [await self.ingest.keep(media, origin) for media in update.media]
        except ResultUnavailable as error:
            tries = self._unfetched[task.id] = self._unfetched.get(task.id, 0) + 1
            if tries >= RESULT_TRIES:
                return await self._fail(task, error)
            await self._later(task, min(BACKOFF_MAX, self._interval(task.upstream) * 2**tries))
            return None
        usage = update.usage or Usage(seconds=sum(media.seconds or 0 for media in kept))
        done = replace(
            task, state="succeeded", progress=100.0, eta=0.0, usage=asdict(usage), finished_at=time.time(), error=None
        )
        if await self.store.succeed(done, [media.asset_id or "" for media in kept]):
            self._told(done, None, usage)
        return None

    async def _lost(self, task: Task, error: JobLost) -> GatewayError | None:
        misses = self._faults[task.id] = self._faults.get(task.id, 0) + 1
        if misses >= LOST_POLLS:
            return await self._fail(task, error, "expired")
        await self._later(task, self._interval(task.upstream))
        return None

    # --- stopping ---

    async def stop(self, task: Task) -> None:
        """Cancel a task: at once where no job exists or its upstream knows no way, else if the upstream confirms."""
        if task.job is not None and not await self._stopped_upstream(task, task.job):
            return
        done = replace(task, state="cancelled", cancel_requested=True, finished_at=time.time())
        if await self.store.end(done):
            self._told(done, None, Usage())

    async def _stopped_upstream(self, task: Task, job: Job) -> bool:
        """True when the upstream confirmed, or offers no way: then it is cancelled here and not asked for again."""
        upstream, pool = self.relay.upstreams.get(task.upstream), self.relay.pools.get(task.upstream)
        account = pool.account(task.account or "") if pool else None
        if upstream is None or account is None or "cancel" not in upstream.operations():
            return True
        return await within(upstream.cancel(job, account), POLL_SECONDS)

    # --- ending a step ---

    async def _fail(self, task: Task, error: GatewayError, state: Any = "failed") -> GatewayError:
        shown: dict[str, Any] = {"code": error.code, "message": error.message, "type": error.type, "param": error.param}
        shown["status"] = error.status
        await self._end(replace(task, state=state, error=shown, eta=None), error)
        return error

    async def _end(self, task: Task, error: GatewayError | None = None) -> None:
        done = replace(task, finished_at=time.time())
        if await self._written(done):
            self._told(done, error, Usage())

    async def _save(self, task: Task) -> None:
        await self._written(task)
        self.notices.tell(task.id)
        self._wake.set()

    async def _later(self, task: Task, seconds: float) -> None:
        await self._written(replace(task, next_poll_at=time.time() + seconds))
        self._wake.set()

    async def _written(self, task: Task) -> bool:
        """Save, however long the database is away: what an upstream has promised must not be forgotten."""
        pause = WRITE_AGAIN_SECONDS
        while True:
            try:
                return await self.store.save(task)
            except DatabaseUnavailable as error:
                job = task.job.id if task.job else None
                log.error("task not written yet", task=task.id, job=job, account=task.account, code=error.code)
            await asyncio.sleep(pause)
            pause = min(BACKOFF_MAX, pause * 2)

    def _told(self, task: Task, error: GatewayError | None, usage: Usage) -> None:
        """Everything that follows the end of a task in this process."""
        assert task.state in FINAL
        self._faults.pop(task.id, None)
        self._unfetched.pop(task.id, None)
        self.notices.tell(task.id)
        log.info("task ended", task=task.id, state=task.state, kind=task.kind, model=task.model, account=task.account)
        if task.job is None:
            return  # the relay has recorded the attempts that came to nothing
        self.relay.meter.record(
            UsageRecord(
                at=time.time(),
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
                seconds=(task.finished_at or time.time()) - task.created_at,
                attempts=max(1, len(task.attempts)),
                task_id=task.id,
            )
        )

    def _interval(self, upstream: str) -> float:
        known = self.relay.upstreams.get(upstream)
        seconds: float = (known.poll_interval if known else None) or self.interval
        return seconds * random.uniform(0.9, 1.1)

    def _backoff(self, task: Task, error: GatewayError) -> float:
        faults = self._faults[task.id] = self._faults.get(task.id, 0) + 1
        log.warning("poll failed", task=task.id, account=task.account, code=error.code, in_a_row=faults)
        seconds = min(BACKOFF_MAX, self._interval(task.upstream) * 2.0**faults)
        return max(error.retry_after or 0.0, seconds)


def _candidate(upstream: str, model: str, task: Task) -> Candidate:
    return Candidate(upstream, ModelCard(id=model, kinds=frozenset({task.kind}), estimate=task.estimate))


def _attempted(task: Task, work: Work) -> Task:
    return replace(task, attempts=(*task.attempts, *(asdict(attempt) for attempt in work.attempts)))


def _span(task: Task) -> float:
    return task.deadline - task.created_at
