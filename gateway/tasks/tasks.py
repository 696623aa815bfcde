"""Tasks as the routes see them: submit, get, watch, cancel, delete.

The row is written before anything else happens; then the poller takes the task on, apart from any request, so that a
client that leaves loses nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec

from gateway.assets.inputs import Inputs
from gateway.errors import (
    AccountError,
    Conflict,
    GatewayError,
    RequestError,
    SubmitOutcomeUnknown,
    UpstreamError,
    WaitTimeout,
)
from gateway.relay import Relay
from gateway.tasks.idempotency import Once
from gateway.tasks.poller import Poller
from gateway.tasks.recorder import with_usage
from gateway.tasks.store import Store
from gateway.tasks.submission import as_fitted
from gateway.tasks.task import Task
from gateway.types import (
    NO_WISHES,
    Candidate,
    ChatRequest,
    Fitted,
    ImageRequest,
    Kind,
    MusicRequest,
    Principal,
    SpeechRequest,
    TaskRequest,
    TaskState,
    VideoRequest,
    Webhook,
    Wishes,
)

LOOK_SECONDS = 10.0
"""A watcher looks itself this often, whatever it hears."""
ADVANCE_SECONDS = 0.5
"""The same where nothing runs in the background: its looking is what makes the task go on."""
STEP_SECONDS = 20.0
"""How long a request lets a step of its task take before it tells how the task stands."""
SUBMIT_WAIT_SECONDS = 30.0
"""How long a request waits to hear whether its task was taken."""


class Tasks:
    def __init__(
        self,
        store: Store,
        poller: Poller,
        relay: Relay,
        inputs: Inputs,
        *,
        deadline: float,
        background: bool = True,
    ) -> None:
        self.store = store
        self.poller = poller
        self.relay = relay
        self.inputs = inputs
        self.deadline = deadline
        self.background = background
        """Whether tasks go on by themselves; if not, being asked about takes them a step further."""

    async def submit(
        self,
        request: TaskRequest,
        candidates: Sequence[Candidate],
        principal: Principal,
        *,
        request_id: str,
        kind: Kind | None = None,
        chat_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: Webhook | None = None,
        deadline: float | None = None,
        once: Once | None = None,
        wishes: Wishes = NO_WISHES,
        batch_id: str | None = None,
    ) -> Task:
        """Promise a generation: once this returns, it is in the database. Raises what refuses it at once.

        `deadline`: seconds it may take, if not what its upstream and the configuration say. `once`: whether it was
        asked for before; then the earlier task is returned, as it stands.
        """
        tags = principal.account_tags
        fitted = self._fitted(request, kind, candidates, wishes, tags)
        if fitted is not None and not isinstance(request, ChatRequest):  # with what its upstream has promised, if any
            request = msgspec.structs.replace(request, hints=fitted.request.hints)
        request = await self._ready(request, principal.id)
        now = self.store.now()
        first = candidates[0]
        task = Task(
            id=f"task_{secrets.token_hex(16)}",
            owner=principal.id,
            kind=kind or _kind_of(request),
            model=first.card.id,
            upstream=first.upstream,
            account=None,
            state="queued",
            request=request,
            job=None,
            progress=0.0,
            eta=first.card.estimate,
            error=None,
            usage=None,
            chat_id=chat_id,
            attempts=(),
            created_at=now,
            submitted_at=None,
            started_at=None,
            finished_at=None,
            deadline=now + (deadline or self._allowance(request, candidates)),
            next_poll_at=now,
            cancel_requested=False,
            native="",
            candidates=tuple((candidate.upstream, candidate.card.id) for candidate in candidates),
            estimate=first.card.estimate,
            request_id=request_id,
            key_name=principal.name,
            account_tags=tuple(sorted(principal.account_tags)),
            most=max(1, min(candidate.card.max_n for candidate in candidates)),
            metadata=dict(metadata) if metadata else None,
            webhook=webhook,
            wishes=wishes,
            batch_id=batch_id,
        )
        if fitted is not None:
            task = as_fitted(task, fitted)
        written = await self.store.add(task, once)
        if written.id != task.id:
            return written
        refusal = await self.poller.take_on(written, self._first_step(request))
        if refusal is not None:
            refusal.task_id, refusal.chat_id = task.id, chat_id
            if once is not None and not isinstance(refusal, SubmitOutcomeUnknown):
                await self.store.forget_request(once, task.id)
            raise refusal
        return await self.store.get(task.id)

    def _fitted(
        self,
        request: TaskRequest,
        kind: Kind | None,
        candidates: Sequence[Candidate],
        wishes: Wishes,
        tags: frozenset[str],
    ) -> Fitted | None:
        """The request as the first candidate takes it that takes it at all. Raises what the first one has against it,
        and who could do it: before anything is written."""
        first: GatewayError | None = None
        for _, fitted, refusal in self.relay.fitting(request, candidates, wishes):
            if refusal is None:
                return fitted
            first = first or refusal
        assert first is not None, "a resolved request has candidates"
        if self.relay.suggest is not None:
            self.relay.suggest(first, request, kind or _kind_of(request), candidates, tags)
        raise first

    async def _ready(self, request: TaskRequest, owner: str) -> TaskRequest:
        """A request that can be stored: its files are ours, and a job made for it can be found again."""
        match request:
            case VideoRequest():
                request = msgspec.structs.replace(request, mark=secrets.randbits(31) | 1)
                return await self.inputs.settled(request, owner)
            case ImageRequest():
                return await self.inputs.settled(request, owner)
            case SpeechRequest() | MusicRequest() | ChatRequest():
                return request

    def _allowance(self, request: TaskRequest, candidates: Sequence[Candidate]) -> float:
        if not isinstance(request, VideoRequest):
            return self.deadline
        upstream = self.relay.upstreams.get(candidates[0].upstream)  # gone, where it was taken out just now
        return (upstream.allowance(request) if upstream else None) or self.deadline

    def _first_step(self, request: TaskRequest) -> float:
        """A job is promised once the upstream has taken it; what is made here is promised at once."""
        if isinstance(request, VideoRequest):
            return SUBMIT_WAIT_SECONDS
        return 0.0 if self.background else STEP_SECONDS

    async def get(self, task_id: str, principal: Principal) -> Task:
        """A task of the caller's; it goes a step further first, where nothing runs in the background."""
        task = await self.store.get(task_id, principal.id)
        if self.background or task.final or task.next_poll_at > self.store.now():
            return task
        await self.poller.advance(task_id, STEP_SECONDS)
        return await self.store.get(task_id, principal.id)

    async def watch(self, task_id: str, limit: float) -> AsyncGenerator[Task]:
        """The task now and after every change, until it is final. Raises WaitTimeout after `limit` seconds."""
        end = time.monotonic() + limit
        seen: tuple[Any, ...] | None = None
        while True:
            with closing(self.poller.notices.next(task_id)) as changed:
                task = await self.store.get(task_id)
                changed.version = task.version
                looks = (task.state, round(task.progress), len(task.outputs), task.cancel_requested)
                if looks != seen:
                    seen = looks
                    yield task
                if task.final:
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise _too_long(task, limit)
                await changed.wait(min(LOOK_SECONDS if self.background else ADVANCE_SECONDS, left))
            if not self.background:
                await self.poller.advance(task_id, min(STEP_SECONDS, max(0.0, end - time.monotonic())))

    async def finished(self, task_id: str, limit: float) -> Task:
        """Wait for the end. Raises WaitTimeout."""
        last: Task | None = None
        async for task in self.watch(task_id, limit):
            last = task
        assert last is not None
        return last

    async def cancel(self, task_id: str, principal: Principal) -> Task:
        """Stop a task: at once where no job exists, else as far as the upstream can. A final task stays as it is."""
        task = await self.store.get(task_id, principal.id)
        if await self.store.ask_to_cancel(task_id):
            task = await self.store.get(task_id)  # read after the asking: whoever comes second stops the job
        if not task.final:
            await self._stop(task)
        self.poller.notices.tell(task_id)
        return await self.store.get(task_id)

    async def _stop(self, task: Task) -> None:
        if task.job is not None:
            confirmed = await self._stopped_upstream(task)
            if confirmed is not False:
                await self._cancelled(task, upstream=bool(confirmed))
        elif task.unasked:
            await self._cancelled(task, upstream=None)
        elif task.video is None:
            self.poller.drop(task.id)
            await self._cancelled(task, upstream=False)

    async def _stopped_upstream(self, task: Task) -> bool | None:
        try:
            return await self.poller.polling.stop(task)
        except (AccountError, RequestError, UpstreamError) as exc:
            raise Conflict(
                f"the task cannot be cancelled now: {exc.message}", code="not_cancellable", task_id=task.id
            ) from exc

    async def _cancelled(self, task: Task, *, upstream: bool | None) -> None:
        """`upstream`: whether the upstream stopped its part; None where it had none."""
        note = None if upstream is None else {"upstream_cancelled": upstream}
        done = replace(
            task, state="cancelled", cancel_requested=True, finished_at=self.store.now(), error=note, eta=None
        )
        usage = self.poller.recorder.unstopped(done) if upstream is False and task.job is not None else None
        done = with_usage(done, usage)
        if await self.store.end(done):
            self.poller.recorder.ended(done, None, usage)

    async def delete(self, task_id: str, principal: Principal) -> None:
        """Forget a final task and what it made. Its usage stays recorded. Raises Conflict while it goes on."""
        task = await self.store.get(task_id, principal.id)
        if not task.final:
            raise Conflict(
                "the task goes on",
                code="task_not_final",
                task_id=task_id,
                advice="Cancel it first, or wait for its end",
            )
        await self.relay.ingest.forget(task.id, task.owner)
        await self.store.delete(task.id)


def _kind_of(request: TaskRequest) -> Kind:
    return "t2t" if isinstance(request, ChatRequest) else request.kind


def _too_long(task: Task, limit: float) -> WaitTimeout:
    made = "the video" if task.video else "the result"
    return WaitTimeout(
        f"{made} was not ready within {limit:.0f} s; it goes on",
        advice=f"Ask GET /api/tasks/status/{task.id} for it",
        task_id=task.id,
        chat_id=task.chat_id,
    )


STATES_OF: dict[str, tuple[TaskState, ...]] = {
    "queued": ("queued", "submitting", "submit_unknown"),
    "running": ("running",),
    "processing": ("queued", "submitting", "submit_unknown", "running"),
    "succeeded": ("succeeded",),
    "completed": ("succeeded",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
    "expired": ("expired",),
}
"""What a caller may filter by, native and canonical words alike."""
