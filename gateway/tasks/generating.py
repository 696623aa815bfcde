"""Tasks without a job upstream: images, speech, music and text, made while a process holds the task.

Every output is kept and entered as it comes. What is paid for is asked for once: a task whose process died while it was
being made keeps what is here, and the rest counts as unknown. Text costs nothing to ask for again, and is.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import structlog

from gateway.assets.library import Origin
from gateway.errors import (
    AccountError,
    ContentRefused,
    GatewayError,
    GenerationFailed,
    SubmitOutcomeUnknown,
    Unavailable,
)
from gateway.relay import Relay, Relayed
from gateway.tasks.failure import failure_of
from gateway.tasks.recorder import Recorder, with_usage
from gateway.tasks.store import Store
from gateway.tasks.submission import Asking, NotOurs, Submission, attempted, work_for
from gateway.tasks.task import Task, told
from gateway.types import ChatRequest, ImageRequest, MediaReady, MusicRequest, Progress, TaskRequest, Usage
from gateway.usage.together import together
from gateway.wire import openai_chat
from gateway.wire.openai_chat import Folded, Heading

PROGRESS_STEP: Final = 5.0
"""Percent that a progress must have grown by to be written."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Made:
    """What came of one asking."""

    task: Task
    missing: list[int]
    """Positions that nothing came for."""
    folded: Folded = field(default_factory=Folded)
    error: GatewayError | None = None


class Generating:
    def __init__(self, store: Store, relay: Relay, recorder: Recorder, submission: Submission) -> None:
        self.store = store
        self.relay = relay
        self.recorder = recorder
        self.submission = submission
        self.keep_text = False
        """Whether answers in text become assets even where their requests do not say so."""

    async def make(self, task: Task) -> GatewayError | None:
        """Make what is missing of a task in hand. Returns the error that ended the task, if one did."""
        missing, usage = _missing(task), Usage()
        while missing:
            asked, missing = missing[: task.most], missing[task.most :]
            try:
                made = await self._asked_for(task, asked)
            except NotOurs:
                await self.submission.given_back(task)
                return None
            task, usage = made.task, together(usage, made.folded.usage)
            if isinstance(made.error, Unavailable | AccountError) and made.missing == asked:
                return await self.submission.queue(with_usage(task, usage), made.error)
            if made.error is not None and made.missing and (skipped := self.submission.after(task, made.error)):
                log.warning("failed, another model is asked", task=task.id, model=task.model, code=made.error.code)
                task, missing = replace(task, skipped=skipped), [*made.missing, *missing]
                continue
            await self._failed(task, made.missing, made.error or GenerationFailed("fewer were made than asked for"))
            if made.error is not None and not isinstance(made.error, ContentRefused | GenerationFailed):
                await self._failed(task, missing, made.error)
                break
        return await self._finished(task, usage)

    async def _asked_for(self, task: Task, positions: list[int]) -> _Made:
        """Ask once for so many outputs. Raises NotOurs."""
        made = _Made(task, list(positions))
        asking = Asking(self.store, task)
        work = work_for(task, asking, request=_part(task, len(positions)), whole=task.request)
        try:
            relayed = await self.relay.open(work)
            try:
                await self._gather(relayed, asking, made)
            finally:
                made.folded.usage = relayed.usage
        except GatewayError as error:
            made.error = _as_unknown(error, asking.sent)
        made.task = attempted(asking.task if made.task is task else made.task, work)
        return made

    async def _write(self, task: Task, relayed: Relayed) -> None:
        """The text as an asset, where somebody wants it kept. One that cannot be kept now is still an answer."""
        asked = task.request
        if not (task.answer and isinstance(asked, ChatRequest) and openai_chat.to_be_kept(asked, self.keep_text)):
            return
        origin = Origin(
            owner=task.owner,
            kind=task.kind,
            model=relayed.candidate.card.id,
            upstream=relayed.upstream,
            account=relayed.account,
            prompt=openai_chat.asked(asked),
            task_id=task.id,
            source_module="task",
            created_at=task.created_at,
            request_id=task.request_id,
        )
        try:
            kept = await self.relay.ingest.write(task.answer, origin, 0)
        except Unavailable as error:
            log.warning("text not kept", task=task.id, code=error.code)
            return
        await self.store.add_output(task, 0, kept.asset_id)
        self.relay.meter.charge(kept.asset_id, relayed.usage, relayed.took)

    async def orphaned(self, task: Task) -> GatewayError | None:
        """Go on after a process that died while it was making this."""
        if task.kind == "t2t":
            await self.recorder.put_off(replace(task, state="queued", account=None), 0.0)
            return None
        await self._failed(task, _missing(task), SubmitOutcomeUnknown())
        return await self._finished(task, Usage())

    async def _gather(self, relayed: Relayed, asking: Asking, made: _Made) -> None:
        """Everything that comes, each output entered at once."""
        async with aclosing(relayed):
            now = self.store.now()
            made.task = replace(asking.task, state="running", started_at=asking.task.started_at or now)
            await self._still_ours(made.task, begun=True)
            async for event in relayed:
                made.folded.add(event)
                if isinstance(event, MediaReady) and made.missing:
                    await self.store.add_output(made.task, made.missing.pop(0), event.media.asset_id)
                elif isinstance(event, Progress) and event.percent >= made.task.progress + PROGRESS_STEP:
                    made.task = replace(made.task, progress=min(99.0, event.percent))
                    await self._still_ours(made.task)
        if made.task.kind == "t2t":
            made.task = replace(made.task, answer=_text(made.folded, made.task.model))
            made.missing.clear()
            await self._write(made.task, relayed)

    async def _still_ours(self, task: Task, *, begun: bool = False) -> None:
        if not await self.store.save(task, release=False, begun=begun):
            raise NotOurs
        self.recorder.notices.tell(task.id)

    async def _failed(self, task: Task, positions: list[int], error: GatewayError) -> None:
        for position in positions:
            await self.store.add_output(task, position, None, told(error))

    async def _finished(self, task: Task, usage: Usage) -> GatewayError | None:
        """All outputs have an end, and so has the task: well, if any of them came to something."""
        made = (await self.store.get(task.id)).outputs
        task = replace(task, outputs=made, eta=0.0)
        if task.answer is None and not any(output.state == "succeeded" for output in made):
            task = replace(task, state="failed", error=made[0].error if made else told(GenerationFailed()), eta=None)
            error = failure_of(task)
            await self.recorder.end(task, error, usage)
            return error
        await self.recorder.end(replace(task, state="succeeded", progress=100.0, error=None), None, usage)
        return None


def _missing(task: Task) -> list[int]:
    there = {output.position for output in task.outputs}
    wanted = task.request.n if isinstance(task.request, ImageRequest | MusicRequest) else 1
    return [position for position in range(wanted) if position not in there]


def _part(task: Task, count: int) -> TaskRequest:
    request = task.request
    return msgspec.structs.replace(request, n=count) if isinstance(request, ImageRequest | MusicRequest) else request


def _as_unknown(error: GatewayError, sent: bool) -> GatewayError:
    """A failure after which nobody can say whether it was made, and paid for, says so."""
    return SubmitOutcomeUnknown(detail=error.message) if sent and error.sent == "unknown" else error


def _text(folded: Folded, model: str) -> str:
    whole = msgspec.json.decode(openai_chat.completion(folded, Heading("", 0, model, {})))
    return str(whole["choices"][0]["message"].get("content") or "")
