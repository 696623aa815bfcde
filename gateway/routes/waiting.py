"""Waiting for a task as long as its caller would like to."""

from __future__ import annotations

from starlette.requests import Request

from gateway.errors import InvalidRequest, WaitTimeout
from gateway.routes.house import connected, house_of, principal_of
from gateway.tasks.task import Task

MOST_WAIT = 60.0
"""Seconds; who wants to wait longer asks again."""


def preferred_wait(request: Request) -> float | None:
    """The seconds of `Prefer: wait=N` (RFC 7240); other preferences are none of ours."""
    for preference in request.headers.get("prefer", "").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait":
            number = value.strip().strip('"')
            if not number.isdecimal() or len(number) > 6:
                raise InvalidRequest("'Prefer: wait' takes a whole number of seconds", param="Prefer")
            return min(float(number), MOST_WAIT)
    return None


async def seen_for(request: Request, task: Task, limit: float) -> Task:
    """The task when it has its end, or as it stands after `limit` seconds."""
    house = house_of(request)
    try:
        with connected(request):
            return await house.tasks.finished(task.id, limit)
    except WaitTimeout:
        return await house.tasks.get(task.id, principal_of(request))
