"""Carries batches through: makes tasks of their items, no more at once than each batch allows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from gateway.catalog.choosing import Choosing
from gateway.errors import Conflict, DatabaseUnavailable, GatewayError, NotFound, StorageUnavailable
from gateway.tasks.asked import asked
from gateway.tasks.batch import Batch, Wanted
from gateway.tasks.batches import Batches
from gateway.tasks.idempotency import InProgress, Once
from gateway.tasks.task import told
from gateway.tasks.tasks import Tasks
from gateway.types import Principal, Webhook

PAUSE_SECONDS: Final = 1.0
"""Between two looks while a batch is open."""
IDLE_SECONDS: Final = 10.0
"""The same while none is: another replica may have taken one on and died."""

log = structlog.get_logger(__name__)


class Batching:
    def __init__(self, batches: Batches, tasks: Tasks, choosing: Choosing) -> None:
        self.batches = batches
        self.tasks = tasks
        self.choosing = choosing
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is a new batch, or one of its tasks is over."""
        self._news.set()

    async def run(self) -> None:
        """Carry open batches on until cancelled. None waits for another: some upstreams take long to take a job."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                busy = True
                try:
                    busy = await self.batches.any_open()
                    for batch in await self.batches.due() if busy else []:
                        for position, wanted in await self.batches.take(batch):
                            group.create_task(self._begin(batch, position, wanted), name=f"{batch.id} {position}")
                except DatabaseUnavailable as error:
                    log.warning("batches cannot be read", code=error.code)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS if busy else IDLE_SECONDS):
                        await self._news.wait()

    async def step(self) -> None:
        """Begin what there is room for in every open batch, and see it begun: for where nothing else does."""
        await asyncio.gather(*(self.carry(batch) for batch in await self.batches.due()))

    async def carry(self, batch: Batch) -> None:
        """The same for one of them."""
        taken = await self.batches.take(batch)
        await asyncio.gather(*(self._begin(batch, position, wanted) for position, wanted in taken))

    async def _begin(self, batch: Batch, position: int, wanted: Wanted) -> None:
        """Make the item's task. What refuses it is the item's own affair; what is away meanwhile is waited for."""
        key = f"{batch.id}:{position}"
        try:
            task_id = await self._task(batch, wanted, Once.by_key(batch.owner, key, key))
        except (DatabaseUnavailable, StorageUnavailable, InProgress):
            await self.batches.put_back(batch.id, position)
        except GatewayError as error:
            await self.batches.refused(batch.id, position, told(error), error.task_id)
        except Exception:
            log.exception("an item of a batch could not be begun", batch=batch.id, item=position)
            await self.batches.refused(batch.id, position, told(GatewayError()), None)
        else:
            if await self.batches.begun(batch.id, position, task_id):
                with suppress(Conflict, NotFound):  # its upstream does not stop it, or somebody deleted it
                    await self.tasks.cancel(task_id, batch.principal)
            self.wake()

    async def cancel(self, batch_id: str, principal: Principal) -> Batch:
        """Begin nothing more of a batch, and stop its tasks as far as that can be. Raises NotFound."""
        batch = await self.batches.get(batch_id, principal.id)
        if batch.state == "running":
            for task_id in await self.batches.cancel(batch_id):
                with suppress(Conflict, NotFound):
                    await self.tasks.cancel(task_id, principal)
            await self.batches.take(batch)
            self.wake()
        return await self.batches.get(batch_id, principal.id)

    async def _task(self, batch: Batch, wanted: Wanted, once: Once) -> str:
        found = await asked(wanted.body, self.choosing, batch.principal, {})
        task = await self.tasks.submit(
            found.request,
            found.candidates,
            batch.principal,
            request_id=batch.request_id,
            kind=found.kind,
            metadata=found.metadata,
            webhook=msgspec.convert(wanted.webhook, Webhook) if wanted.webhook else None,
            deadline=found.deadline,
            once=once,
            wishes=found.wishes,
            batch_id=batch.id,
        )
        return task.id
