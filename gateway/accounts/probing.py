"""Asking a site that failed, by requests that spend nothing, before callers' requests are tried on it again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.accounts.pool import Pool
from gateway.errors import GatewayError, UpstreamTimeout, UpstreamUnreachable
from gateway.types import Account
from gateway.upstreams.base import Upstream

LOOK_SECONDS: Final = 0.5
AHEAD_SECONDS: Final = 1.0
"""How long before the trial the site is asked."""
PROBE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class Probing:
    """`upstreams` and `pools` by name; they may change while it runs."""

    def __init__(self, upstreams: Mapping[str, Upstream], pools: Mapping[str, Pool]) -> None:
        self._upstreams = upstreams
        self._pools = pools

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for pool, upstream, account in self.due():
                    group.create_task(self.ask(pool, upstream, account), name="probe")
                await asyncio.sleep(LOOK_SECONDS)

    def due(self) -> list[tuple[Pool, Upstream, Account]]:
        """Who is to be asked now: one account of each site that may be tried again soon."""
        able = [
            (pool, upstream)
            for name, pool in self._pools.items()
            if (upstream := self._upstreams.get(name)) is not None and "probe" in upstream.operations()
        ]
        return [(pool, upstream, account) for pool, upstream in able for account in pool.probed(AHEAD_SECONDS)]

    async def ask(self, pool: Pool, upstream: Upstream, account: Account) -> None:
        """Where the site is not reached, it stays set aside for longer; what else goes wrong proves nothing: not every
        site has this request, nor every credential may make it."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await upstream.probe(account)
        except (TimeoutError, UpstreamUnreachable, UpstreamTimeout) as error:
            log.info("probe not answered", upstream=upstream.name, account=account.id, error=type(error).__name__)
            pool.unreached(account.id)
        except GatewayError:
            pass
