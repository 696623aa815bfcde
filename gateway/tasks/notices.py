"""Who waits for a change of a task in this process, and how they are told: at once of what this process does, by the
bus or by a look into the database of what others do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from gateway.errors import DatabaseUnavailable
from gateway.state.base import Bus

Versions = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""The versions of tasks as the database has them now. Tasks that are not there are left out."""

LOOK_SECONDS = 0.5
"""How often a process looks into the database for all that is waited for."""
LOOK_BESIDE_BUS_SECONDS = 2.0
"""The same while a bus is connected, which tells of nearly everything."""
LOOK_AT_MOST = 500
"""Tasks that one query asks for."""

log = structlog.get_logger(__name__)


class Notices:
    """Who waits for a change of a task in this process."""

    def __init__(self, bus: Bus | None = None, versions: Versions | None = None) -> None:
        self.hear: Callable[[str], None] = self.wake
        """What gets the topics of the bus. Who listens to more of them hands those of tasks on to `wake`."""
        self._bus = bus
        self._versions = versions
        self._waiting: dict[str, set[Change]] = {}
        self._anybody = asyncio.Event()
        self._seen: dict[str, int] = {}
        """Versions of the last look, for those who did not say what they saw."""
        self._blind = False

    def next(self, task_id: str, version: int | None = None) -> Change:
        """The next change of a task, after `version` if that is known. Ask first, then read the task."""
        change = Change(self._waiting, task_id, version)
        self._waiting.setdefault(task_id, set()).add(change)
        self._anybody.set()
        return change

    def tell(self, task_id: str) -> None:
        """This process has changed a task."""
        self.wake(task_id)
        if self._bus is not None:
            self._bus.publish(task_id)

    async def run(self) -> None:
        """Hear and see what other processes change. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._bus is not None:
                group.create_task(self._bus.run(self.hear), name="notices of others")
            if self._versions is not None:
                group.create_task(self._look_out(self._versions), name="lookout")
            await asyncio.Event().wait()  # for nothing: a process that is alone runs this as well

    def wake(self, task_id: str) -> None:
        """Somebody has changed a task: those here who wait for it look again."""
        for change in self._waiting.pop(task_id, ()):
            change.event.set()

    async def _look_out(self, versions: Versions) -> None:
        """Look while somebody waits, and else do nothing at all."""
        looked = -LOOK_BESIDE_BUS_SECONDS
        clock = asyncio.get_running_loop().time
        while True:
            await self._anybody.wait()
            await asyncio.sleep(LOOK_SECONDS)
            if not self._waiting:
                self._anybody.clear()
                self._seen = {}
            elif not self._told_of_all() or clock() - looked >= LOOK_BESIDE_BUS_SECONDS:
                looked = clock()
                await self._look(versions)

    def _told_of_all(self) -> bool:
        return self._bus is not None and self._bus.connected

    async def _look(self, versions: Versions) -> None:
        try:
            ids = list(self._waiting)
            found: dict[str, int] = {}
            for start in range(0, len(ids), LOOK_AT_MOST):
                found.update(await versions(ids[start : start + LOOK_AT_MOST]))
        except DatabaseUnavailable as error:
            if not self._blind:
                log.warning("changes of others not seen", waiting=len(self._waiting), code=error.code)
            self._blind = True
            return
        if self._blind:
            log.info("changes of others seen again")
        self._blind = False
        self._compare(ids, found)

    def _compare(self, ids: list[str], found: Mapping[str, int]) -> None:
        """Wake those who know less than the database: of a task that is gone, and where nobody can tell, everyone."""
        for task_id in ids:
            now, before = found.get(task_id), self._seen.get(task_id)
            for change in tuple(self._waiting.get(task_id, ())):
                known = before if change.version is None else change.version
                if now is None or known is None or known < now:
                    change.close()
                    change.event.set()
        self._seen = dict(found)


@dataclass(eq=False, slots=True)
class Change:
    """The next change of a task."""

    _waiting: dict[str, set[Change]]
    _task_id: str
    version: int | None = None
    """The version its watcher has seen; may be set once the watcher has read the task."""
    event: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, limit: float) -> None:
        """Until it comes, `limit` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.event.wait()

    def close(self) -> None:
        """Nobody waits for it any more."""
        others = self._waiting.get(self._task_id)
        if others is not None:
            others.discard(self)
            if not others:
                del self._waiting[self._task_id]
