"""Which price holds for a request, and what comes of it.

Amounts are exact decimals on the way and have at most 12 significant digits in the end. Unknown is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import ceil
from typing import Final

import msgspec

from gateway.types import (
    AnyRequest,
    ChatRequest,
    Cost,
    ImageRequest,
    ModelCard,
    MusicRequest,
    Price,
    Size,
    Usage,
    Value,
    VideoRequest,
)

MILLION: Final = Decimal(1_000_000)
DIGITS: Final = 12
FINEST: Final = Decimal("1e-12")
"""No amount is told finer than that."""
MOST_REMEMBERED: Final = 10_000
_CONTEXT = Context(prec=60)
_TWELVE = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


# --- which price ---


def price_of(prices: Sequence[Price], request: AnyRequest) -> Price | None:
    """The first price that holds for a request."""
    for price in prices:
        if all(_one_of(parameter(request, name), wanted) for name, wanted in price.when.items()):
            return price
    return None


def _one_of(found: Value | None, wanted: Sequence[Value]) -> bool:
    """`true` is no number here, whatever Python thinks."""
    return any(found == one and isinstance(found, bool) == isinstance(one, bool) for one in wanted)


def parameter(request: AnyRequest, name: str) -> Value | None:
    """A parameter of a request, as prices ask for it: what it leaves to the model is None."""
    if isinstance(request, ChatRequest):
        raw = request.body.get(name)
        found = None if raw is None else msgspec.json.decode(raw)
    elif name == "ratio":
        size = getattr(request, "size", None)
        found = size.ratio if size else None
    else:
        found = getattr(request, name, None)
        found = getattr(request, "params", {}).get(name) if found is None else found
    if isinstance(found, Size):
        return f"{found.width}x{found.height}" if found.width else found.ratio
    return found if isinstance(found, str | int | float) else None


class PriceBook:
    """What models cost: as the operator says, else as the cards of their upstreams do."""

    def __init__(
        self,
        own: Mapping[str, Sequence[Price]] | None = None,
        card: Callable[[str, str], ModelCard | None] = lambda upstream, model: None,
    ) -> None:
        """`own`: by model, by `<upstream>/<model>`, or by either with `*` for any characters. `card`: what is known of
        a model at an upstream."""
        self.card = card
        self.renew(own or {})

    def renew(self, own: Mapping[str, Sequence[Price]]) -> None:
        """Go by other prices from now on. What was recorded keeps its cost."""
        self._own = {name: tuple(prices) for name, prices in own.items()}
        self._patterns = [
            (_pattern(name), prices)
            for name, prices in sorted(self._own.items(), key=lambda item: (-len(item[0]), item[0]))
            if "*" in name
        ]
        self._found: dict[tuple[str, str], tuple[Price, ...] | None] = {}

    def of(self, upstream: str, model: str, card: ModelCard | None = None) -> tuple[Price, ...]:
        """The prices of a model at an upstream, best first; none where nobody knows any.

        `card`: what is known of the model there, where that is at hand: looking it up takes time.
        """
        key = (upstream, model)
        try:
            own = self._found[key]
        except KeyError:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            own = self._found[key] = self._named(f"{upstream}/{model}", model)
        if own is not None:
            return own
        card = card or self.card(upstream, model)
        return card.prices if card else ()

    def _named(self, *names: str) -> tuple[Price, ...] | None:
        """As the operator says: the whole name first, then the longest pattern."""
        for name in names:
            if name in self._own:
                return self._own[name]
        for pattern, prices in self._patterns:
            if any(pattern.fullmatch(name) for name in names):
                return prices
        return None

    def priced(
        self, usage: Usage, upstream: str, model: str, request: AnyRequest, card: ModelCard | None = None
    ) -> Usage:
        """Usage with its cost: as the upstream told it, else by the price. Without one where nobody knows it."""
        if usage.cost is not None:
            return replace(usage, cost=exact(_decimal(usage.cost)))
        prices = self.of(upstream, model, card)
        price = price_of(prices, request) if prices else None
        found = cost(price, usage, calls(request, card or self.card(upstream, model))) if price else None
        return usage if found is None else replace(usage, cost=found.amount, currency=found.currency)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)


# --- what comes of it ---


def calls(request: AnyRequest, card: ModelCard | None) -> int:
    """How many requests at the upstream come of one: images are asked for until there are enough, and of videos and
    music each is paid for by itself."""
    match request:
        case ImageRequest():
            return ceil(request.n / max(1, card.max_n if card else 1))
        case VideoRequest() | MusicRequest():
            return request.n
        case _:
            return 1


def cost(price: Price, usage: Usage, requests: int = 1) -> Cost | None:
    """What usage of so many requests costs; None where nothing was measured of what the price charges for."""
    charged = [(rate, measure, unit) for rate, measure, unit in _charges(price, usage, requests) if rate is not None]
    if any(rate for rate, _, _ in charged) and not any(measure for _, measure, _ in charged):
        return None
    amount = Decimal(0)
    for rate, measure, unit in charged:
        if rate and measure:
            amount += _CONTEXT.divide(_CONTEXT.multiply(_decimal(rate), _decimal(measure)), unit)
    return Cost(exact(amount), price.currency)


def _charges(price: Price, usage: Usage, requests: int) -> list[tuple[float | None, float, Decimal]]:
    """Each rate with what was measured of it and how many of that it is for."""
    cached = min(usage.cached_tokens, usage.input_tokens) if price.cached_tokens is not None else 0
    return [
        (price.input_tokens, usage.input_tokens - cached, MILLION),
        (price.cached_tokens, cached, MILLION),
        (price.output_tokens, usage.output_tokens, MILLION),
        (price.image, usage.images, Decimal(1)),
        (price.second, usage.seconds, Decimal(1)),
        (price.characters, usage.characters, MILLION),
        (price.request, requests, Decimal(1)),
    ]


def exact(amount: Decimal) -> float:
    """An amount as it is kept and told."""
    rounded = _TWELVE.plus(amount)
    return float(rounded if abs(rounded) >= 1 else rounded.quantize(FINEST, ROUND_HALF_EVEN))


def total(amounts: Iterable[float]) -> float:
    """Amounts of one currency together."""
    return exact(sum(map(_decimal, amounts), Decimal(0)))


def shares(amount: float, count: int) -> list[float]:
    """An amount in so many parts, equal but for the last digit, which are the amount together."""
    if not count:
        return []
    whole = _decimal(exact(_decimal(amount)))
    step = Decimal(1).scaleb(whole.adjusted() - DIGITS)
    each, rest = divmod(_CONTEXT.divide(whole, step).to_integral_value(), count)
    return [float((each + (1 if at < rest else 0)) * step) for at in range(count)]


@lru_cache(4096)
def _decimal(number: float) -> Decimal:
    """As it is written, not as the processor has it."""
    return Decimal(repr(number))
