"""Asking an upstream for a job, once; and finding out what became of an asking that was never answered.

    queued          nobody was asked yet, or all who were refused: may be asked
    submitting      being asked at this moment, by the account in the row
    submit_unknown  was asked, and the answer is lost: never asked again, but looked for

A row that says `submitting` while nobody holds it is one whose process died in between: it counts as unknown.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from typing import Final

import msgspec
import structlog

from gateway.catalog.fitting import parameters
from gateway.errors import (
    AccountError,
    Fault,
    GatewayError,
    RateLimited,
    SubmitOutcomeUnknown,
    Unavailable,
)
from gateway.relay import Relay, Work, within
from gateway.tasks.pace import Pace
from gateway.tasks.recorder import Recorder
from gateway.tasks.schedule import QUEUE_SECONDS, backoff, interval
from gateway.tasks.store import Store
from gateway.tasks.task import Task
from gateway.types import (
    Account,
    Candidate,
    Fitted,
    ImageRequest,
    Job,
    ModelCard,
    MusicRequest,
    Principal,
    TaskRequest,
    VideoRequest,
)
from gateway.upstreams.base import Upstream

RATE_LIMIT_SECONDS: Final = 5.0
FIND_SECONDS: Final = 30.0
"""How long one look for a lost job may take."""
SETTLED_SECONDS: Final = 120.0
"""After this time a job that was made is one that its upstream shows."""
FEWEST_LOOKS: Final = 3
LOOK_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class NotOurs(Exception):
    """The task went to another process, or is to be cancelled, before anything was sent."""


class Submission:
    def __init__(self, store: Store, relay: Relay, recorder: Recorder, pace: Pace, default_interval: float) -> None:
        self.store = store
        self.pace = pace
        self.relay = relay
        self.recorder = recorder
        self.default_interval = default_interval

    async def submit(self, task: Task) -> GatewayError | None:
        """Ask for the job of a task in hand. Returns the error that ended the task, if one did."""
        asking = Asking(self.store, task)
        work = work_for(task, asking)
        try:
            served = await self.relay.ask(work)
        except NotOurs:
            await self.given_back(task)
            return None
        except (Unavailable, AccountError) as error:
            return await self.queue(attempted(asking.task, work), error)
        except GatewayError as error:
            tried = attempted(asking.task, work)
            if error.sent == "unknown" and error.fault is Fault.UPSTREAM and asking.sent:
                return await self._unknown(tried, error)
            return await self.recorder.fail(tried, error)
        await self.made(attempted(asking.task, work), served.value)
        return None

    async def made(self, task: Task, job: Job) -> None:
        """Write the job down, whatever happens; stop it again if that was asked for meanwhile."""
        now = self.store.now()
        wait = interval(self.relay.upstreams.get(task.upstream), self.default_interval, 0.0)
        running = replace(
            task, state="running", job=job, started_at=now, next_poll_at=now + wait, polls=0, eta=task.estimate
        )
        to_be_cancelled = await self.recorder.insisted(running, lambda: self.store.job_made(running))
        if to_be_cancelled is None:
            log.error("job made for a task that is over", task=task.id, job=job.id, account=task.account)
        elif to_be_cancelled:
            await self.store.due_now(task.id)
            wait = 0.0
        self.recorder.notices.tell(task.id)
        self.recorder.announced()
        self.recorder.wake(wait)

    async def queue(self, task: Task, error: GatewayError) -> GatewayError | None:
        """No account can take it now: it waits for one. Where none will before the deadline, it fails."""
        wait = RATE_LIMIT_SECONDS if error.retry_after is None and isinstance(error, RateLimited) else error.retry_after
        if wait is None or self.store.now() + wait >= task.deadline:
            return await self.recorder.fail(task, error)
        wait = max(wait, QUEUE_SECONDS)
        await self.recorder.put_off(replace(task, state="queued", account=None, eta=wait), wait)
        return None

    async def _unknown(self, task: Task, error: GatewayError) -> GatewayError | None:
        if self._finder(task) is None:
            return await self.recorder.fail(task, SubmitOutcomeUnknown(detail=error.message))
        log.warning("create not answered", task=task.id, account=task.account, code=error.code)
        await self.recorder.put_off(replace(task, state="submit_unknown", polls=0), LOOK_SECONDS)
        return None

    def after(self, task: Task, error: GatewayError) -> int | None:
        """How many candidates are done with after what the last one began has ended so; None where nobody else is to
        be asked. Who does not take the request, or costs too much, is passed over."""
        if not task.may_fall_back(error) or self.store.now() >= task.deadline:
            return None
        for at in range(task.tried, len(task.candidates)):
            with suppress(GatewayError):
                self.relay.fitted(task.request, _candidate(*task.candidates[at], task), task.wishes)
                return at
        return None

    async def given_back(self, task: Task) -> None:
        """After NotOurs: whoever has the task goes on with it, unless it was to be cancelled and nobody has."""
        now = await self.store.get(task.id)
        if now.cancel_requested and not now.final:
            await self.recorder.end(replace(task, state="cancelled", cancel_requested=True))

    # --- looking for a job that may have been made ---

    async def reconcile(self, task: Task) -> GatewayError | None:
        """Look for the job of an asking that was never answered. It is never asked for again."""
        found, video = self._finder(task), task.made
        if found is None or not isinstance(video, VideoRequest):
            return await self.recorder.fail(task, SubmitOutcomeUnknown())
        upstream, account = found
        video = msgspec.structs.replace(video, model=task.model)
        task = replace(task, state="submit_unknown", polls=task.polls + 1)
        since = task.submitted_at or task.created_at
        await self.pace.turn(account.id, upstream.polls_per_second)
        try:
            job = await within(upstream.find(video, since, account), FIND_SECONDS)
        except GatewayError as error:
            log.warning("looking for a job failed", task=task.id, account=task.account, code=error.code)
            await self.recorder.put_off(task, backoff(LOOK_SECONDS, task.polls, error.retry_after))
            return None if self.store.now() < task.deadline else await self._never_found(task)
        if job is not None and await self.store.holder_of(task.upstream, job, account.id) is None:
            log.info("lost job found", task=task.id, account=task.account, job=job.id)
            await self.made(task, job)
            return None
        if task.polls >= FEWEST_LOOKS and self.store.now() >= since + SETTLED_SECONDS:
            return await self._never_found(task)
        await self.recorder.put_off(task, backoff(LOOK_SECONDS, task.polls - 1))
        return None

    async def _never_found(self, task: Task) -> GatewayError:
        said = "the upstream did not answer whether it made the job, and shows none; it was not sent again"
        return await self.recorder.fail(task, SubmitOutcomeUnknown(said))

    def _finder(self, task: Task) -> tuple[Upstream, Account] | None:
        """Who can be asked for a lost job, and as whom."""
        upstream, pool = self.relay.upstreams.get(task.upstream), self.relay.pools.get(task.upstream)
        account = pool.account(task.account or "") if pool else None
        if upstream is None or account is None or task.video is None or "find" not in upstream.operations():
            return None
        return upstream, account


class Asking:
    """Before each attempt the row says who is being asked: should the answer be lost, that is where to look."""

    def __init__(self, store: Store, task: Task) -> None:
        self.store = store
        self.task = task
        self.sent = False

    async def __call__(self, candidate: Candidate, account: Account) -> None:
        self.task = replace(
            self.task,
            state="submitting",
            upstream=candidate.upstream,
            model=candidate.card.id,
            account=account.id,
            submitted_at=self.store.now(),
        )
        if not await self.store.sending(self.task):
            raise NotOurs
        self.sent = True


def work_for(task: Task, sending: Asking, request: TaskRequest | None = None, whole: TaskRequest | None = None) -> Work:
    """A task, or `request` as a part of the `whole`, for the relay. It waits in the queue, never for a slot."""
    return Work(
        kind=task.kind,
        request=request or task.request,
        candidates=[_candidate(upstream, model, task) for upstream, model in task.candidates[task.skipped :]],
        principal=Principal(task.owner, task.key_name, account_tags=frozenset(task.account_tags)),
        request_id=task.request_id,
        task_id=task.id,
        wait=0.0,
        sending=sending,
        wishes=task.wishes,
        whole=whole,
    )


def attempted(task: Task, work: Work) -> Task:
    """The task with what was tried, and how it was asked for in the end."""
    tried = replace(task, attempts=(*task.attempts, *(asdict(attempt) for attempt in work.attempts)))
    return tried if work.fitted is None else as_fitted(tried, work.fitted)


def as_fitted(task: Task, fitted: Fitted) -> Task:
    """The task with the values that it is made with."""
    used = parameters(fitted.request)
    if isinstance(task.request, ImageRequest | MusicRequest):
        used["n"] = task.request.n  # whatever part of it was asked for last
    return replace(task, parameters=used, adjustments=tuple(map(asdict, fitted.adjustments)))


def _candidate(upstream: str, model: str, task: Task) -> Candidate:
    return Candidate(upstream, ModelCard(id=model, kinds=frozenset({task.kind}), estimate=task.estimate))
