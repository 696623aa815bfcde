"""What things cost: prices, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | float | bool
"""Of a parameter, as a price may ask for it."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in any mix of the ways to charge for it. None: nothing is charged that way."""

    currency: str
    """`USD`, `CNY`, `credits`, `points` …"""
    input_tokens: float | None = None
    """A million tokens read."""
    cached_tokens: float | None = None
    """A million of those that the upstream had read before. None: as `input_tokens`."""
    output_tokens: float | None = None
    """A million tokens written."""
    image: float | None = None
    """Each image made."""
    second: float | None = None
    """Each second of video or sound made."""
    characters: float | None = None
    """A million characters spoken."""
    request: float | None = None
    """Each request that came to something."""
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """For which requests it holds: values by parameter, one of which the request has to have."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What was charged."""

    amount: float
    currency: str
