"""What a monitor reads: GET /metrics. Nothing is counted for it; it is read from what the house knows anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from gateway.errors import Forbidden
from gateway.routes.alarms import Alarm, UpstreamState, alarms, states
from gateway.routes.house import Answer, House, house_of, principal_of
from gateway.types import TaskState
from gateway.usage import Sort, Sums

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is told, as of one moment."""

    uptime: float
    """Seconds."""
    draining: bool
    live: int
    """Requests that are being answered."""
    upstreams: Sequence[UpstreamState]
    alarms: Sequence[Alarm]
    sums: Sequence[tuple[Sort, Sums]]
    usage_waiting: int
    """Rows of usage that are not written yet."""
    usage_dropped: int
    tasks: Mapping[TaskState, int] | None
    """Open ones, of all processes; None where the database does not tell."""


async def show(request: Request) -> Answer:
    """GET /metrics, for admins and viewers. Rendered beside the event loop: hundreds of accounts make a long text."""
    if principal_of(request).role == "developer":
        raise Forbidden("this key may not read metrics: use one of the role viewer or admin")
    reading = await read(house_of(request))
    text = await asyncio.to_thread(_rendered, reading)
    return Answer(text, mime=CONTENT_TYPE, headers=[(b"cache-control", b"no-store")])


async def read(house: House) -> Reading:
    tasks = await house.counts.open()
    now = time.time()
    upstreams = states(house.relay.pools)
    return Reading(
        uptime=now - house.started,
        draining=house.drain.draining,
        live=house.drain.live,
        upstreams=upstreams,
        alarms=alarms(upstreams, now),
        sums=house.meter.tally.read(),
        usage_waiting=house.meter.waiting,
        usage_dropped=house.meter.dropped,
        tasks=tasks,
    )


def _rendered(reading: Reading) -> bytes:
    from gateway.routes.exposition import rendered  # its import takes longer than a look, and many gateways need none

    return rendered(reading)
