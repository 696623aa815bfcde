"""When an account could serve: what choosing among models goes by. Asking spends nothing and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.accounts.pool import Pool
from gateway.types import Kind

Wait = Callable[[str, str, Kind, frozenset[str]], float | None]
"""Seconds until an account of an upstream could take work for a model: 0 where one could now or is merely busy, None
for never. Given the upstream, the model ("" for any), the kind and the tags that the account must carry."""

FREE_SECONDS: Final = 0.25
"""How long it is remembered that somebody is free: who relies on it in vain is refused, and goes elsewhere."""
RESTING_SECONDS: Final = 1.0
"""How long it is remembered that nobody is."""
MOST_REMEMBERED: Final = 10_000


def at_once(_upstream: str, _model: str, _kind: Kind, _tags: frozenset[str]) -> float | None:
    """Where nobody counts accounts, all could."""
    return 0.0


class _Seen(NamedTuple):
    pool: Pool
    until: float
    free_at: float | None
    """None: never. Both by the clock."""


class Waits:
    """Answers are remembered for a moment: finding out means looking at every account where all of them rest."""

    def __init__(self, pools: Mapping[str, Pool], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`pools` by upstream, which may change. `clock`: monotonic seconds."""
        self._pools = pools
        self._clock = clock
        self._seen: dict[tuple[str, str, Kind, frozenset[str]], _Seen] = {}

    def __call__(self, upstream: str, model: str, kind: Kind, tags: frozenset[str]) -> float | None:
        pool, now = self._pools.get(upstream), self._clock()
        if pool is None:
            return None
        key = (upstream, model, kind, tags)
        seen = self._seen.get(key)
        if seen is None or seen.pool is not pool or now >= seen.until:
            seen = _seen(pool, now, self._found(pool, key))
            if len(self._seen) >= MOST_REMEMBERED:
                self._seen.clear()
            self._seen[key] = seen
        return None if seen.free_at is None else max(0.0, seen.free_at - now)

    def _found(self, pool: Pool, key: tuple[str, str, Kind, frozenset[str]]) -> float | None:
        """Who has nobody for any model has nobody for this one: then only the time is asked for."""
        upstream, model, kind, tags = key
        for_any = self(upstream, "", kind, tags) if model else 0.0
        if for_any is None:
            return None
        if for_any == 0 and pool.could(model=model, kind=kind, tags=tags):  # ends at the first account that is free
            return 0.0
        return pool.soonest(model=model, kind=kind, tags=tags)


def _seen(pool: Pool, now: float, wait: float | None) -> _Seen:
    if wait is None:
        return _Seen(pool, now + RESTING_SECONDS, None)
    return _Seen(pool, now + (min(wait, RESTING_SECONDS) or FREE_SECONDS), now + wait)
