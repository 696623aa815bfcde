"""What a request would cost, before it is sent: by the same prices and the same sums as what is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.catalog.prices import calls, cost, price_of
from gateway.errors import TooDear
from gateway.types import (
    AnyRequest,
    ChatRequest,
    EmbeddingRequest,
    ImageRequest,
    ModelCard,
    MusicRequest,
    Price,
    SpeechRequest,
    Usage,
    VideoRequest,
)
from gateway.wire.expected import input_tokens, most_tokens

USUAL_ANSWER: Final = 500
"""Tokens of an answer that nobody limits."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request would cost."""

    amount: float | None
    """None: that shows only once it is made."""
    exact: bool
    """Whether it will be that, if it succeeds."""
    price: Price


def quote(prices: Sequence[Price], request: AnyRequest, card: ModelCard) -> Quote | None:
    """None where nobody knows a price for it."""
    price = price_of(prices, request)
    if price is None:
        return None
    usage, sure = expected(request, card)
    if not all(_charged(price, name) is None or getattr(usage, name) for name in _MEASURES):
        return Quote(None, False, price)
    found = cost(price, usage, calls(request, card))
    charged_by = {name for name in _MEASURES if _charged(price, name)}
    return Quote(found.amount if found else None, found is not None and charged_by <= sure, price)


def check_cost(found: Quote | None, most: float) -> None:
    """Raises TooDear for what costs more, and for what nobody knows the price of."""
    if found is None or found.amount is None:
        raise TooDear("what this costs is not known beforehand, so that 'max_cost' cannot be kept", param="max_cost")
    if found.amount > most:
        costs = f"{found.amount:g} {found.price.currency}"
        raise TooDear(f"this costs {costs}, more than the 'max_cost' of {most:g}", param="max_cost")


def expected(request: AnyRequest, card: ModelCard) -> tuple[Usage, set[str]]:
    """What a request will use, as far as that shows now, and which of it is sure."""
    match request:
        case ChatRequest():
            most = most_tokens(request)
            return Usage(input_tokens(request), USUAL_ANSWER if most is None else most), set()
        case EmbeddingRequest():
            return Usage(input_tokens(request)), set()
        case ImageRequest():
            return Usage(images=request.n), {"images"}
        case SpeechRequest():
            return Usage(characters=len(request.text)), {"characters"}
        case VideoRequest() | MusicRequest():
            seconds = request.seconds or card.default_seconds
            return Usage(seconds=(seconds or 0.0) * request.n), {"seconds"}
        case _:
            return Usage(), set()


_MEASURES: Final = ("input_tokens", "output_tokens", "images", "seconds", "characters")
_RATES: Final = {"images": "image", "seconds": "second"}


def _charged(price: Price, measure: str) -> float | None:
    """What a price charges for a measure of usage."""
    rate: float | None = getattr(price, _RATES.get(measure, measure))
    return rate
