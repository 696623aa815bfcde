"""Asking an upstream about an account: what spends nothing, and takes no longer than an operator waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar

from gateway.errors import GatewayError, UpstreamTimeout
from gateway.types import Account
from gateway.upstreams.base import Upstream

PROBE_SECONDS: Final = 30.0
BALANCE_SECONDS: Final = 10.0
"""Of one account; others are asked beside it."""
AT_ONCE: Final = 16
"""Balances asked for beside each other."""

T = TypeVar("T")


async def probed(upstream: Upstream, account: Account) -> dict[str, Any]:
    """Whether an account works: `ok` is None where its upstream can only be asked for work that is paid."""
    if "probe" not in upstream.operations():
        return {"ok": None, "message": f"an upstream of type {upstream.type_name} cannot be asked without spending"}
    begun = time.monotonic()
    try:
        await _in_time(upstream.probe(account), PROBE_SECONDS)
    except GatewayError as error:
        return {"ok": False, "seconds": _since(begun), "error": _told(error, account)}
    return {"ok": True, "seconds": _since(begun), "balance": await balance(upstream, account)}


async def balance(upstream: Upstream, account: Account) -> dict[str, Any] | None:
    """What an account has left, or why that was not told; None where its upstream never tells."""
    if "balance" not in upstream.operations() or account.unusable:
        return None
    try:
        return asdict(await _in_time(upstream.balance(account), BALANCE_SECONDS))
    except GatewayError as error:
        return {"error": _told(error, account)}


async def balances(accounts: Sequence[tuple[Upstream, Account]]) -> list[dict[str, Any] | None]:
    """The same of many, in their order."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(upstream: Upstream, account: Account) -> dict[str, Any] | None:
        async with turns:
            return await balance(upstream, account)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(one(*each), name=f"balance of {each[1].id}") for each in accounts]
    return [each.result() for each in asked]


async def _in_time(asked: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError as exc:
        raise UpstreamTimeout(f"the upstream did not answer within {seconds:g} s") from exc


def _told(error: GatewayError, account: Account) -> dict[str, Any]:
    """An upstream may say back what it was sent."""
    message = error.message.replace(account.credential, "…") if account.credential else error.message
    return {"code": error.code, "message": message}


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
