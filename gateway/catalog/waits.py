"""When an account could serve: what choosing among models goes by. Asking spends nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.accounts.pool import Pool
from gateway.types import Kind

Wait = Callable[[str, str, Kind, frozenset[str]], float | None]
"""Seconds until an account of an upstream could take work for a model: 0 where one could now or is merely busy, None
for never. Given the upstream, the model, the kind and the tags that the account must carry."""


def at_once(_upstream: str, _model: str, _kind: Kind, _tags: frozenset[str]) -> float | None:
    """Where nobody counts accounts, all could."""
    return 0.0


class Waits:
    """`pools` by upstream, which may change."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def __call__(self, upstream: str, model: str, kind: Kind, tags: frozenset[str]) -> float | None:
        pool = self._pools.get(upstream)
        if pool is None:
            return None
        if pool.could(model=model, kind=kind, tags=tags):  # ends at the first account that is free
            return 0.0
        return pool.soonest(model=model, kind=kind, tags=tags)
