"""What it costs to choose an account: CPU microseconds for a lease taken and given back, by pool and selection.

    python tests/bench/selection.py

Half of the accounts are in use throughout, some rest, some are out of quota for videos, some may not use the model.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from pathlib import Path
from typing import get_args

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool, PoolRules
from gateway.config import SelectionName
from gateway.errors import GatewayError, QuotaExhausted, RateLimited
from gateway.types import Account, Kind

LEASES = 20_000
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def pool_of(size: int, selection: SelectionName) -> Pool:
    accounts = [
        Account(
            id=f"up/{n}",
            name=str(n),
            upstream="up",
            weight=1 + n % 3,
            requests_per_minute=1_000_000 if n % 4 == 0 else None,
            not_models=frozenset({"dear"}) if n % 5 == 0 else frozenset(),
        )
        for n in range(size)
    ]
    return Pool("up", accounts, rules=PoolRules(selection=selection), rng=random.Random(1))


def used(pool: Pool, size: int) -> list[Lease]:
    """The pool as it is at work."""
    faults: list[GatewayError] = [RateLimited(retry_after=600), QuotaExhausted(retry_after=600)]
    for n in range(size // 10):
        lease = pool.take(model="m", kind="t2v")
        lease.release(faults[n % 2])
    return [pool.take(model="m", kind="t2t") for _ in range(size // 2)]


def cost(pool: Pool, model: str, kind: Kind, held: list[Lease]) -> float:
    """Microseconds for one lease: the oldest is given back, a new one taken."""
    begun = time.process_time()
    for n in range(LEASES):
        held.append(pool.take(model=model, kind=kind, owner=f"caller {n % 50}"))
        held.pop(0).release()
    return (time.process_time() - begun) / LEASES * 1e6


def main() -> None:
    print(
        f"{'accounts':>8} {'selection':<14} {'chat':>8} {'video':>8} {'barred model':>13}   µs CPU for take and release"
    )
    for size in (10, 100, 1_000):
        for selection in get_args(SelectionName):
            pool = pool_of(size, selection)
            held = used(pool, size)
            costs = [cost(pool, "m", "t2t", held), cost(pool, "m", "t2v", held), cost(pool, "dear", "t2t", held)]
            print(f"{size:>8} {selection:<14} {costs[0]:>8.1f} {costs[1]:>8.1f} {costs[2]:>13.1f}")


if __name__ == "__main__":
    main()
