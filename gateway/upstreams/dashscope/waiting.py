"""Waiting for an image's task: looks at it, again and again, until it is over."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from collections.abc import AsyncGenerator
from itertools import chain, repeat

from gateway import errors
from gateway.errors import GatewayError
from gateway.types import Account
from gateway.upstreams.dashscope.records import Answer
from gateway.upstreams.dashscope.site import Site

PAUSES = (0.5, 1.0, 2.0, 3.0)
"""Seconds between looks; the last goes on."""
BLIND_LOOKS = 5
"""Looks in a row that may fail before the task is given up."""
OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED"})


async def looks(site: Site, task: str, account: Account) -> AsyncGenerator[Answer]:
    """How the task stands, the last time when it is over. After an error it may go on, and be paid for.

    Raises UpstreamTimeout where it takes longer than any answer may, and what the looks raise.
    """
    clock = get_running_loop().time
    end, blind = clock() + site.http.timeouts.total, 0
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        await sleep(pause)
        try:
            answer = await site.task(task, account)
        except GatewayError as error:
            blind += 1
            error.sent = "unknown"
            if blind >= BLIND_LOOKS or not _may_pass(error):
                raise
            await sleep(min(error.retry_after or 0.0, end - clock()))
        else:
            blind = 0
            yield answer
            if answer.output and answer.output.task_status in OVER:
                return
        if clock() >= end:
            raise errors.UpstreamTimeout("the upstream's image took too long", sent="unknown")


def _may_pass(error: GatewayError) -> bool:
    """Whether the next look may show more."""
    if isinstance(error, errors.JobLost):
        return False
    return isinstance(error, errors.RateLimited | errors.UpstreamError)
