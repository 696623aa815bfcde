"""Waiting for a task: looks at it, again and again, until it is over (wire sheet §2, 2026-11-21)."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from gateway import errors
from gateway.errors import GatewayError
from gateway.types import Account, Job, JobUpdate, Kind
from gateway.upstreams.ima import records
from gateway.upstreams.ima.site import Site
from gateway.upstreams.ima.specials import is_midjourney

PAUSES: Final[Mapping[Kind, float]] = {"t2i": 5.0, "i2i": 5.0, "t2m": 5.0, "tts": 3.0}
"""Seconds between looks."""
MIDJOURNEY_PAUSE: Final = 8.0
LONGEST: Final[Mapping[Kind, float]] = {"t2i": 600.0, "i2i": 600.0, "t2m": 480.0, "tts": 300.0}
"""Seconds that a task may take."""
BLIND_LOOKS: Final = 5
"""Looks in a row that may fail before the task is given up."""
NEARLY: Final = 95.0
"""Percent that are told until it is over."""


def pause(model: str, kind: Kind) -> float:
    return MIDJOURNEY_PAUSE if is_midjourney(model) else PAUSES[kind]


def percent(elapsed: float, longest: float) -> float:
    """How far a task is by the longest time it usually takes."""
    return min(NEARLY, float(int(100 * elapsed / longest)))


async def looks(
    site: Site, job: Job, account: Account, seconds: float, longest: float
) -> AsyncGenerator[tuple[JobUpdate, float]]:
    """How the task stands and the seconds since it was made; the last time when it is over.

    `seconds`: between looks; `longest`: that it may take. Raises UpstreamTimeout where it takes longer, and what the
    looks raise: the task may go on, and is paid for.
    """
    clock = get_running_loop().time
    began, blind = clock(), 0
    while clock() < began + longest:
        await sleep(seconds)
        try:
            update = records.update(job, await site.task(job.id, account), account.credential)
        except GatewayError as error:
            blind += 1
            error.sent = "unknown"
            if blind >= BLIND_LOOKS or isinstance(error, errors.CredentialRejected):
                raise
            await sleep(min(error.retry_after or 0.0, max(0.0, began + longest - clock())))
            continue
        blind, job = 0, update.job or job
        yield update, clock() - began
        if update.state not in ("queued", "running"):
            return
    raise errors.UpstreamTimeout("the upstream's task took too long", sent="unknown")
