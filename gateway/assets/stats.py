"""Sums over assets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DAY: Final = 86_400
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some assets."""

    count: int = 0
    size: int = 0
    """Bytes."""
    cost: dict[str, float] = field(default_factory=dict)
    """By currency; assets whose cost nobody knows add nothing."""


@dataclass(frozen=True, slots=True)
class Stats:
    total: Sum
    favorites: int
    by_family: dict[str, Sum]
    by_model: dict[str, Sum]
    by_provider: dict[str, Sum]
    by_month: dict[str, Sum]
    """`2026-01`, UTC."""


@dataclass(frozen=True, slots=True)
class Facets:
    """What there is to filter by, with how many assets have it, most frequent first."""

    models: dict[str, int]
    tags: dict[str, int]


def stats_of(by_sort: Sequence[Any], by_day: Sequence[Any]) -> Stats:
    """From rows with `count`, `size`, `cost` and `currency`: by family, upstream, model and whether it is a favourite;
    and by `day` since 1970."""
    return Stats(
        total=_sum(by_sort),
        favorites=sum(row.count for row in by_sort if row.is_favorite),
        by_family=_sums(by_sort, lambda row: row.family),
        by_model=_sums(by_sort, lambda row: row.model),
        by_provider=_sums(by_sort, lambda row: row.upstream),
        by_month=_sums(by_day, lambda row: time.strftime("%Y-%m", time.gmtime(row.day * DAY))),
    )


def _sums(rows: Sequence[Any], name: Callable[[Any], str]) -> dict[str, Sum]:
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return {name: _sum(groups[name]) for name in sorted(groups)}


def _sum(rows: Iterable[Any]) -> Sum:
    count = size = 0
    cost: dict[str, float] = {}
    for row in rows:
        count += row.count
        size += int(row.size)
        if row.cost is not None:
            currency = row.currency or ""
            cost[currency] = cost.get(currency, 0.0) + row.cost
    return Sum(count, size, {currency: round(cost[currency], 9) for currency in sorted(cost)})
