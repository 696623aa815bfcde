"""Looking after the storage once a day: retention, then collection. One at a time, whoever shares the database."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, TypeVar

import msgspec
import structlog

from gateway.assets.collector import Collected, Collector, Rules
from gateway.assets.references import References
from gateway.assets.retention import Expired, Forget, Retention
from gateway.config import RetentionConfig
from gateway.db.engine import to_the_end
from gateway.db.settings import Settings
from gateway.drain import Drain
from gateway.errors import Conflict, DatabaseUnavailable, Draining, GatewayError

DAY: Final = 24 * 3600.0
AGAIN_SECONDS: Final = 3600.0
"""When a daily run is tried again that failed."""
LOOK_SECONDS: Final = 600.0
"""How often a process looks whether a run is due; each at moments of its own."""
BREATH_SECONDS: Final = 0.05
"""Between two steps of a daily run, which is in no hurry."""
LEASE_SECONDS: Final = 300.0
"""How long a run that died keeps others waiting. Longer than any one step of a run takes."""
RENEW_SECONDS: Final = 30.0

COLLECTED: Final = "collected_at"
"""The settings row of when the last daily run began, or a day before the next one is due."""
LEASE: Final = "collecting"
"""The settings row of who runs now, and until when that is believed."""
CHECK: Final = "storage_check"
COLLECTION: Final = "collection"
RETENTION: Final = "retention"
"""The settings rows of what came of the last ones."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Running(Conflict):
    """Another collection runs now."""

    code = "collection_running"
    resend_helps = True


class Keeping:
    def __init__(
        self, references: References, forget_usage: Forget, retention: Callable[[], RetentionConfig], drain: Drain
    ) -> None:
        self._database = references.database
        self._storage = references.storage
        self._settings = Settings(references.database)
        self._collector = Collector(references)
        self._retention = Retention(references, forget_usage)
        self._kept_for = retention
        self._drain = drain

    # --- what operators ask for ---

    async def check(self) -> dict[str, Any]:
        """See whether the storage works: the steps that were tried, in how many seconds. Raises StorageUnavailable."""
        begun = time.perf_counter()
        try:
            report = await self._storage.check()
        except GatewayError as error:
            await self._note(CHECK, {"ok": False, **_told(error)})
            raise
        told = {"ok": True, "seconds": round(time.perf_counter() - begun, 3), **asdict(report)}
        await self._note(CHECK, told)
        return told

    async def collect(self, rules: Rules, *, breath: float = 0.0) -> Collected:
        """Raises Running, Shared, Draining, StorageUnavailable, DatabaseUnavailable."""
        return await self._run(COLLECTION, breath, lambda going_on: self._collector.collect(rules, going_on))

    async def retain(self, *, dry_run: bool, breath: float = 0.0) -> dict[str, Expired]:
        """Raises Running, Draining, DatabaseUnavailable."""
        config = self._kept_for()
        return await self._run(
            RETENTION, breath, lambda going_on: self._retention.apply(config, going_on, dry_run=dry_run)
        )

    async def last(self) -> dict[str, Any]:
        """What came of the last check, collection and retention; None for what never was."""
        known = {name: await self._settings.get(name) for name in (CHECK, COLLECTION, RETENTION)}
        return {name: None if value is None else msgspec.json.decode(value) for name, value in known.items()}

    # --- by itself ---

    async def run(self) -> None:
        """Once a day, by whichever process is first, until cancelled."""
        begun = False
        while True:
            try:
                if not begun:
                    await self._collector.begin()
                    begun = True
                await self.turn()
            except GatewayError as error:
                log.warning("storage not looked after", code=error.code, why=error.message, detail=error.detail)
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))

    async def turn(self) -> bool:
        """The daily run, if it is due and nobody else takes it.

        Raises what it fails of. Unless it comes to its end, killed or not, it is due again in an hour.
        """
        now = self._database.now()
        before = await self._settings.get(COLLECTED)
        if before is None:
            await self._settings.swap(COLLECTED, None, repr(now))  # there is nothing old enough before tomorrow
            return False
        taken = repr(now - DAY + AGAIN_SECONDS)
        if now < float(before) + DAY or not await self._settings.swap(COLLECTED, before, taken):
            return False
        await self.retain(dry_run=False, breath=BREATH_SECONDS)
        await self.collect(Rules(dry_run=False), breath=BREATH_SECONDS)
        await self._settings.swap(COLLECTED, taken, repr(now))
        return True

    # --- steps ---

    async def _run(self, name: str, breath: float, work: Callable[[Callable[[], Awaitable[None]]], Awaitable[T]]) -> T:
        """One run under the lease, and a note of what came of it."""
        begun = self._database.now()
        try:
            async with self._lease() as renewed:

                async def going_on() -> None:
                    if self._drain.draining:
                        raise Draining
                    await renewed()
                    await asyncio.sleep(breath)

                result = await work(going_on)
        except Running:
            raise
        except GatewayError as error:
            await self._note(name, {"ok": False, **_told(error)})
            raise
        told = plain(result)
        await self._note(name, {"ok": True, "seconds": round(self._database.now() - begun, 3), "result": told})
        log.info(f"{name} done", **_brief(told))
        return result

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """The right to run, alone. Yields what has to be called now and then to keep it. Raises Running."""
        now, before = self._database.now(), await self._settings.get(LEASE)
        until = float(before.split()[1]) if before else 0.0
        mine = f"{secrets.token_hex(8)} {now + LEASE_SECONDS}"
        if until > now or not await self._settings.swap(LEASE, before, mine):
            left = min(max(1.0, until - now), RENEW_SECONDS)
            raise Running(advice="Ask again when it is done", retry_after=left)

        async def renewed() -> None:
            nonlocal mine
            holder, over = mine.split()
            now = self._database.now()
            if now < float(over) - LEASE_SECONDS + RENEW_SECONDS:
                return
            longer = f"{holder} {now + LEASE_SECONDS}"
            if not await self._settings.swap(LEASE, mine, longer):
                raise Running("this collection took so long over a step that another one began")
            mine = longer

        try:
            yield renewed
        finally:
            with suppress(DatabaseUnavailable):  # it ends by itself
                await to_the_end(self._settings.swap(LEASE, mine, None))

    async def _note(self, name: str, told: dict[str, Any]) -> None:
        said = {"at": round(self._database.now(), 3), **told}
        await self._settings.put(name, msgspec.json.encode(said).decode())


def plain(result: Any) -> dict[str, Any]:
    """A result as plain values."""
    if isinstance(result, dict):
        return {name: asdict(value) for name, value in result.items()}
    return asdict(result)


def _told(error: GatewayError) -> dict[str, Any]:
    return {"code": error.code, "error": error.message}


def _brief(told: dict[str, Any]) -> dict[str, Any]:
    """For the log: numbers, no ids."""
    sorts = {name: value for name, value in told.items() if isinstance(value, dict)}
    facts = {name: value for name, value in told.items() if isinstance(value, bool | str)}
    return facts | {name: value["removed" if "days" in value else "count"] for name, value in sorts.items()}
