"""Bringing in what a job made: each output by itself, as soon as it exists, again and again until it is here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from gateway.assets.ingest import Ingest, Kept, Origin
from gateway.assets.inputs import Inputs
from gateway.errors import GatewayError, ResultUnavailable
from gateway.tasks.recorder import Recorder
from gateway.tasks.schedule import backoff
from gateway.tasks.store import Store
from gateway.tasks.task import Output, Task, told
from gateway.types import Account, JobUpdate, Media, Usage
from gateway.upstreams.base import Upstream

TRIES = 4
"""Looks at a finished job, each with URLs made anew, before a result that cannot be fetched is given up."""
AT_ONCE = 4
"""Outputs of one task that are brought in side by side."""

log = structlog.get_logger(__name__)


class Results:
    def __init__(self, store: Store, ingest: Ingest, recorder: Recorder, inputs: Inputs) -> None:
        self.store = store
        self.ingest = ingest
        self.recorder = recorder
        self.inputs = inputs
        self._tries: dict[str, int] = {}

    async def bring_in(
        self, task: Task, upstream: Upstream, account: Account, update: JobUpdate, usual: float
    ) -> GatewayError | None:
        """Bring in what is not here yet and end the task; `usual`: seconds between two looks at the job.

        StorageUnavailable passes: nothing is given up for that.
        """
        if not update.media:
            nothing = ResultUnavailable("the upstream says it is done but names no result")
            return await self._again(task, [nothing], usual)
        origin = Origin(
            owner=task.owner,
            kind=task.kind,
            model=task.model,
            upstream=upstream,
            account=account,
            prompt=task.prompt,
            task_id=task.id,
            source_module="task",
            created_at=task.created_at,
            request_id=task.request_id,
            sources=self.inputs.sources(task.request),
        )
        here = {output.position for output in task.outputs if output.state == "succeeded"}
        missing = [position for position in range(len(update.media)) if position not in here]
        brought, lost = await self._bring(task, origin, update.media, missing)
        task = replace(task, outputs=(*task.outputs, *brought))
        if lost and self._tries.get(task.id, 0) + 1 < TRIES:
            return await self._again(task, list(lost.values()), usual)
        for position, error in lost.items():
            await self.store.add_output(task, position, None, told(error))
        if len(lost) == len(update.media):
            self._tries.pop(task.id, None)
            return await self.recorder.fail(task, lost[0])
        await self._succeed(task, update)
        return None

    async def _bring(
        self, task: Task, origin: Origin, media: Sequence[Media], positions: Sequence[int]
    ) -> tuple[list[Output], dict[int, ResultUnavailable]]:
        """What is stored and entered now, and what could not be had, by position."""
        brought: list[Output] = []
        lost: dict[int, ResultUnavailable] = {}
        hands = asyncio.Semaphore(AT_ONCE)

        async def one(position: int) -> None:
            async with hands:
                try:
                    kept = await self.ingest.bring(media[position], origin, position, again=task.polls > 1)
                except ResultUnavailable as error:
                    lost[position] = error
                    return
                await self.store.add_output(task, position, kept.asset_id)
                brought.append(_output(position, kept))

        done = await asyncio.gather(*(one(position) for position in positions), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
        return brought, lost

    async def _again(self, task: Task, errors: Sequence[ResultUnavailable], usual: float) -> GatewayError | None:
        """Look at the job once more, later: its URLs may work then, or be new ones."""
        tries = self._tries[task.id] = self._tries.get(task.id, 0) + 1
        log.warning("result not here yet", task=task.id, account=task.account, tries=tries, why=errors[0].message)
        if tries < TRIES:
            await self.recorder.put_off(task, backoff(usual, tries))
            return None
        self._tries.pop(task.id, None)
        return await self.recorder.fail(task, errors[0])

    async def _succeed(self, task: Task, update: JobUpdate) -> None:
        self._tries.pop(task.id, None)
        usage = update.usage or Usage(seconds=sum(output.seconds or 0 for output in task.outputs))
        done = replace(task, state="succeeded", progress=100.0, eta=0.0, error=None)
        await self.recorder.end(done, None, usage)


def _output(position: int, kept: Kept) -> Output:
    return Output(
        position=position,
        asset_id=kept.asset_id,
        key=kept.key,
        mime=kept.mime,
        size=kept.size,
        width=kept.width,
        height=kept.height,
        seconds=kept.seconds,
    )
