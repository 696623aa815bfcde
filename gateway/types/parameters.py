"""What may be asked of a model: its parameters, what goes into it, and what became of what was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.types.prices import Value
from gateway.types.requests import Kind, MediaRequest

OnUnsupported = Literal["reject", "nearest", "drop"]
"""What becomes of a value that a model does not take: refused, replaced by the nearest one, or left out."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a parameter of a model may be."""

    type: Literal["boolean", "integer", "number", "string", "size", "url", "urls", "object", "list"]
    """`size`: a ratio like `16:9` or pixels like `1280x720`."""
    allowed: tuple[Value, ...] = ()
    """All there is; empty: anything of the type within the range. Of a size: ratios, pixels, or both."""
    least: float | None = None
    most: float | None = None
    """The range of a number; of a string the most characters, of a list the most members, of a size its pixels."""
    default: Any = None
    """What is taken where nothing is asked; None: nothing is sent, and the upstream chooses."""
    unit: str = ""
    """Of a number: `s`, `px` …"""
    kinds: frozenset[Kind] = frozenset()
    """For which kinds of work it is; empty: all that the model does."""
    free: bool = False
    """Whether other values than those of `allowed` are taken as well: those are but the known ones."""


@dataclass(frozen=True, slots=True)
class InputRule:
    """What files go into a kind of work."""

    least: int = 0
    most: int = 0
    mimes: frozenset[str] = frozenset()
    """Empty: whatever the gateway knows as an image."""
    max_bytes: int | None = None
    """Of each."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a caller wants its request to be treated, whatever it is for."""

    on_unsupported: OnUnsupported | None = None
    """None: as the operator says."""
    max_cost: float | None = None
    """What it may cost at most, in the currency of the model's price."""
    fallback: bool = True
    """Whether another model may be tried where this one fails."""


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A value that was not used as it was asked for."""

    parameter: str
    asked: Any
    used: Any
    """None: left out."""
    reason: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as a model at an upstream takes it."""

    request: MediaRequest
    """With every value that will be used, as far as that shows beforehand."""
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another model that could do it."""

    model: str
    why: str
    """One sentence."""
    price: dict[str, Any] | None = field(default=None)
    """`{amount, currency, exact}`, where anybody knows it."""
