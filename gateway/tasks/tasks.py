"""Tasks as the routes see them: submit, get, list, watch, cancel.

The row is written before anything else happens; then the runner takes the task on, apart from any request, so that a
client that leaves loses nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from typing import Any

from gateway.assets.inputs import Inputs
from gateway.errors import AccountError, Conflict, RequestError, UpstreamError, WaitTimeout
from gateway.relay import Relay
from gateway.tasks.poller import Poller
from gateway.tasks.store import Store, Task
from gateway.types import Candidate, Principal, TaskState, VideoRequest

LOOK_SECONDS = 2.0
"""A watcher looks itself this often: a change may have been made by another process."""
SUBMIT_WAIT_SECONDS = 30.0
"""How long a request waits to hear whether its task was taken."""


class Tasks:
    def __init__(self, store: Store, poller: Poller, relay: Relay, inputs: Inputs, *, deadline: float) -> None:
        self.store = store
        self.poller = poller
        self.relay = relay
        self.inputs = inputs
        self.deadline = deadline

    async def submit(
        self,
        request: VideoRequest,
        candidates: Sequence[Candidate],
        principal: Principal,
        *,
        request_id: str,
        chat_id: str | None = None,
    ) -> Task:
        """Promise a generation: once this returns, it is in the database. Raises what refuses it at once."""
        request = await self.inputs.settled(request)
        now = time.time()
        first = candidates[0]
        upstream = self.relay.upstreams[first.upstream]
        task = Task(
            id=f"task_{secrets.token_hex(16)}",
            owner=principal.id,
            kind=request.kind,
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
            deadline=now + (upstream.deadline or self.deadline),
            next_poll_at=now,
            cancel_requested=False,
            native="",
            candidates=tuple((candidate.upstream, candidate.card.id) for candidate in candidates),
            estimate=first.card.estimate,
            request_id=request_id,
        )
        await self.store.add(task)
        refusal = await self.poller.take_on(task.id, SUBMIT_WAIT_SECONDS)
        if refusal is not None:
            refusal.task_id, refusal.chat_id = task.id, chat_id
            raise refusal
        return await self.store.get(task.id)

    async def get(self, task_id: str, principal: Principal) -> Task:
        return await self.store.get(task_id, principal.id)

    async def watch(self, task_id: str, limit: float) -> AsyncGenerator[Task]:
        """The task now and after every change, until it is final. Raises WaitTimeout after `limit` seconds."""
        end = time.monotonic() + limit
        seen: tuple[Any, ...] | None = None
        while True:
            with closing(self.poller.notices.next(task_id)) as changed:
                task = await self.store.get(task_id)
                looks = (task.state, round(task.progress))
                if looks != seen:
                    seen = looks
                    yield task
                if task.final:
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise _too_long(task, limit)
                await changed.wait(min(LOOK_SECONDS, left))

    async def finished(self, task_id: str, limit: float) -> Task:
        """Wait for the end. Raises WaitTimeout."""
        last: Task | None = None
        async for task in self.watch(task_id, limit):
            last = task
        assert last is not None
        return last

    async def cancel(self, task_id: str, principal: Principal) -> Task:
        """Stop a task: at once where no job exists, else as far as the upstream can. A final task stays as it is."""
        task = await self.get(task_id, principal)
        if await self.store.ask_to_cancel(task_id):
            task = await self.store.get(task_id)  # read after the asking: whoever comes second stops the job
        if task.state in ("queued", "running"):
            await self._stop(task)
        self.poller.notices.tell(task_id)
        return await self.store.get(task_id)

    async def _stop(self, task: Task) -> None:
        try:
            await self.poller.stop(task)
        except (AccountError, RequestError, UpstreamError) as exc:
            raise Conflict(
                f"the task cannot be cancelled now: {exc.message}", code="not_cancellable", task_id=task.id
            ) from exc


def _too_long(task: Task, limit: float) -> WaitTimeout:
    return WaitTimeout(
        f"the video was not ready within {limit:.0f} s; it goes on",
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
