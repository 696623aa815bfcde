"""Carrying batches through: what goes wrong with one item, or one batch, is nobody else's affair."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import Conflict, InvalidRequest
from gateway.tasks.batch import Batch, Wanted
from gateway.tasks.batches import Batches
from gateway.tasks.batching import Batching
from gateway.types import Principal
from tests.unit.scripted import Films, made, rig
from tests.unit.tasks.test_poller import REQUEST, House, until

pytestmark = pytest.mark.anyio

ADA = Principal("ada", "ada")


class Scripted(Batching):
    """Makes no tasks: what becomes of an item is what its prompt says."""

    def __init__(self, its: House, batches: Batches) -> None:
        super().__init__(batches, its.tasks, None)  # type: ignore[arg-type]
        self.its = its
        self.waiting = asyncio.Event()
        self.begun: list[str] = []

    async def _task(self, batch: Batch, wanted: Wanted, once: Any) -> str:
        prompt = msgspec.json.decode(wanted.body["prompt"])
        self.begun.append(prompt)
        match prompt:
            case "odd":
                raise OverflowError("int too large to convert to float")
            case "refused":
                raise InvalidRequest("no", param="prompt")
            case "slow":
                await self.waiting.wait()
        task = await self.its.tasks.submit(
            REQUEST, self.its.base.candidates("t2v"), ADA, request_id="r", batch_id=batch.id
        )
        return task.id


async def add(batches: Batches, *prompts: str, concurrency: int = 4) -> Batch:
    wanted = [Wanted({"prompt": msgspec.Raw(msgspec.json.encode(prompt))}) for prompt in prompts]
    return await batches.add(wanted, ADA, concurrency=concurrency, metadata=None, request_id="r")


async def test_an_item_that_breaks_is_its_own_affair(tmp_path: Path) -> None:
    async with rig(tmp_path, Films(polls=[made()])) as base:
        batches = Batches(base.database)
        batching = Scripted(House(base), batches)
        batch = await add(batches, "odd", "refused", "good")
        await batching.step()
        items = await batches.items(batch.id, 0, 9)
        assert [item.state for item in items] == ["failed", "failed", "running"]
        assert [(item.error or {}).get("code") for item in items] == ["internal_error", "invalid_value", None]
        assert "int too large" not in str(items[0].error), "what broke is for the log"


async def test_nobody_waits_for_another_s_slow_upstream(tmp_path: Path) -> None:
    async with rig(tmp_path, Films(polls=[made()])) as base:
        batches = Batches(base.database)
        batching = Scripted(House(base), batches)
        await add(batches, "slow")
        run = asyncio.create_task(batching.run())
        try:
            await until(lambda: batching.begun == ["slow"])
            await add(batches, "good")
            batching.wake()
            await until(lambda: batching.begun == ["slow", "good"])
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


async def test_a_task_that_cannot_be_stopped_stops_nobody(tmp_path: Path) -> None:
    async with rig(tmp_path, Films(polls=[made()])) as base:
        batches = Batches(base.database)
        batching = Scripted(House(base), batches)

        async def stubborn(task_id: str, principal: Principal) -> None:
            raise Conflict("it goes on", code="not_cancellable")

        batching.tasks.cancel = stubborn  # type: ignore[method-assign,assignment]
        batch = await add(batches, "slow", "good", concurrency=1)
        step = asyncio.create_task(batching.step())
        await until(lambda: batching.begun == ["slow"])
        told = await batching.cancel(batch.id, ADA)
        assert told.cancel_requested
        batching.waiting.set()
        await step
        assert [item.state for item in await batches.items(batch.id, 0, 9)] == ["running", "cancelled"]
