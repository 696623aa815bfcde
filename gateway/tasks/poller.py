"""The only place that submits and polls: takes due tasks in hand and takes the next step of each.

Apart from any request. Which step it is, the row alone decides, so a restart goes on where it stopped:

    job there                   look at it                                   (polling, results)
    queued                      nobody was asked: ask                        (submission, generating)
    anything else, no job       asked, and the answer is lost: look for it   (submission.reconcile)

Two lanes, so that making never keeps polling waiting: tasks without a job, and tasks with one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from gateway.assets.ingest import Ingest
from gateway.errors import DatabaseUnavailable, GatewayError, TaskExpired
from gateway.relay import Relay
from gateway.tasks.generating import Generating
from gateway.tasks.lane import Lane
from gateway.tasks.notices import Notices
from gateway.tasks.pace import Pace
from gateway.tasks.polling import Polling
from gateway.tasks.recorder import Recorder
from gateway.tasks.results import Results
from gateway.tasks.store import RENEW_SECONDS, Store
from gateway.tasks.submission import Submission
from gateway.tasks.task import Task

MAKES: Final = 64
POLLS: Final = 2_000
"""Tasks in hand at a time, by lane."""
CLAIM: Final = 500
"""Tasks claimed at once."""
IDLE_SECONDS: Final = 2.0
SPACING_SECONDS: Final = 0.25
"""Claims are so far apart, that one finds many tasks and one call asks for them."""

log = structlog.get_logger(__name__)
Step = Coroutine[Any, Any, GatewayError | None]


class Poller:
    def __init__(
        self, store: Store, relay: Relay, ingest: Ingest, *, interval: float, notices: Notices | None = None
    ) -> None:
        self.store = store
        self.notices = notices or Notices()
        self.recorder = Recorder(store, self.notices, relay.meter, relay.prices)
        self.recorder.wake = self._due_in
        self.recorder.suggest = relay.suggest
        pace = Pace()
        self.submission = Submission(store, relay, self.recorder, pace, interval)
        self.generating = Generating(store, relay, self.recorder, self.submission)
        self.polling = Polling(
            store,
            relay,
            self.recorder,
            Results(store, ingest, self.recorder, relay.inputs),
            pace,
            interval,
            self.submission.after,
        )
        spacing = min(SPACING_SECONDS, interval / 8)
        self._lanes = (Lane("make", MAKES, spacing), Lane("poll", POLLS, spacing))
        self._group: asyncio.TaskGroup | None = None
        self._closing = False
        self._in_hand: dict[asyncio.Task[Any], Task] = {}

    async def run(self) -> None:
        """Take due tasks in hand until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for lane in self._lanes:
                self._group.create_task(self._watched(partial(self._round, lane)), name=f"{lane.name} lane")
            self._group.create_task(self._watched(self._renewal), name="leases")

    async def settle(self, limit: float) -> None:
        """Take nothing new in hand, and wait for what is being made: cut off in between, nobody could tell of it."""
        self._closing = True
        making = [work for work, task in self._in_hand.items() if task.job is None]
        if making:
            await asyncio.wait(making, timeout=limit)

    # --- what others ask for ---

    async def take_on(self, task: Task, limit: float) -> GatewayError | None:
        """The first step of a new task, which this process holds, now.

        Returns what refused it; None once it is taken, or will be by itself later.
        """
        return await self._waited(self._begun(self._step(task), task), limit)

    async def advance(self, task_id: str, limit: float) -> None:
        """Take the next step of a task if it is due and nobody does: for where nothing else does."""
        task = await self.store.claim_one(task_id, due=True)
        if task is not None:
            await self._waited(self._begun(self._step(task), task), limit)

    async def tick(self, limit: float) -> int:
        """Take steps of whatever is due, for `limit` seconds at most. Returns how many were begun."""
        end, steps = asyncio.get_running_loop().time() + limit, 0
        while (left := end - asyncio.get_running_loop().time()) > 0 and not self._closing:
            begun: list[asyncio.Task[GatewayError | None]] = []
            for lane in self._lanes:
                claimed = await self.store.claim(lane.name, min(lane.free, CLAIM))
                begun += self._begin_all(claimed, lane)
                steps += len(claimed)
            if not begun:
                break
            await asyncio.wait(begun, timeout=left)
        return steps

    def drop(self, task_id: str) -> None:
        """Stop working on a task that has its end, where this process does."""
        for work, task in list(self._in_hand.items()):
            if task.id == task_id:
                work.cancel()

    # --- the loops ---

    async def _watched(self, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turn()
            except DatabaseUnavailable as error:
                log.warning("tasks cannot be read", code=error.code)
                await asyncio.sleep(IDLE_SECONDS)

    async def _round(self, lane: Lane) -> None:
        await lane.some_free()
        lane.plan(IDLE_SECONDS)  # before looking: what comes due meanwhile brings it forward
        wanted = min(lane.free, CLAIM)
        claimed = [] if self._closing else await self.store.claim(lane.name, wanted)
        self._begin_all(claimed, lane)
        if len(claimed) == wanted:
            lane.sooner(0.0)
        elif (due := await self.store.next_due(lane.name)) is not None and not self._closing:
            lane.sooner(due - self.store.now())
        await lane.rest()

    def _begin_all(self, tasks: Sequence[Task], lane: Lane) -> list[asyncio.Task[GatewayError | None]]:
        return [self._begun(self._step(task), task, lane) for task in tasks]

    async def _renewal(self) -> None:
        await asyncio.sleep(RENEW_SECONDS)
        await self.renew()

    async def renew(self) -> None:
        """Hold on to everything in hand. The loop does it every RENEW_SECONDS; where none runs, somebody must."""
        ids = [task.id for task in self._in_hand.values()]
        for start in range(0, len(ids), CLAIM):
            await self.store.renew(ids[start : start + CLAIM])

    def _due_in(self, seconds: float) -> None:
        for lane in self._lanes:
            lane.sooner(seconds)

    # --- steps ---

    def _begun(self, step: Step, task: Task, lane: Lane | None = None) -> asyncio.Task[GatewayError | None]:
        group, name = self._group, f"task {task.id}"
        work = group.create_task(step, name=name) if group is not None else asyncio.create_task(step, name=name)
        self._in_hand[work] = task
        if lane is not None:
            lane.busy += 1
        work.add_done_callback(lambda done: self._over(done, lane))
        return work

    def _over(self, work: asyncio.Task[Any], lane: Lane | None) -> None:
        del self._in_hand[work]
        if lane is not None:
            lane.gave_back()

    async def _waited(self, work: asyncio.Task[GatewayError | None], limit: float) -> GatewayError | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                return await asyncio.shield(work)
        return None

    async def _step(self, task: Task) -> GatewayError | None:
        """The next step of a task. Returns the error that ended it, if one did before it had a job."""
        if task.job is None:
            return await self.recorder.carried(task, self._making(task))
        await self.recorder.carried(task, self.polling.poll(task))
        return None

    async def _making(self, task: Task) -> GatewayError | None:
        if not task.unasked:
            return await (self.submission.reconcile(task) if task.video else self.generating.orphaned(task))
        if task.cancel_requested:
            await self.recorder.end(replace(task, state="cancelled", eta=None))
            return None
        if self.store.now() >= task.deadline:
            waited = f"no account took the task within {task.deadline - task.created_at:.0f} s"
            return await self.recorder.fail(task, TaskExpired(waited), "expired")
        return await (self.submission.submit(task) if task.video else self.generating.make(task))
