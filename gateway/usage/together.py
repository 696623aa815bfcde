"""What several askings took, as one."""

from __future__ import annotations

from typing import TypedDict

from gateway.catalog.prices import total
from gateway.types import Usage


class _Cost(TypedDict):
    cost: float | None
    currency: str


def together(one: Usage, other: Usage) -> Usage:
    """Every measure of both."""
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        images=one.images + other.images,
        seconds=one.seconds + other.seconds,
        characters=one.characters + other.characters,
        estimated=one.estimated or other.estimated,
        **_cost_of(one, other),
    )


def _cost_of(one: Usage, other: Usage) -> _Cost:
    """What both cost; None where nobody knows, or where they were charged in two currencies."""
    known = [usage for usage in (one, other) if usage.cost is not None]
    if len({usage.currency for usage in known}) != 1:
        return {"cost": None, "currency": ""}
    return {"cost": total(usage.cost or 0.0 for usage in known), "currency": known[0].currency}
