"""Other models that could do what one could not: told with the error, so that the next request can name one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil
from typing import Any, Final, get_args

import msgspec

from gateway.catalog.allowed import shown
from gateway.catalog.fitting import fit, given
from gateway.catalog.models import MOST_ALTERNATIVES, Catalog
from gateway.catalog.prices import PriceBook
from gateway.catalog.quotes import quote
from gateway.errors import (
    AccountError,
    AllResting,
    GatewayError,
    ModelNotFound,
    NoAccount,
    Unsupported,
    UpstreamError,
)
from gateway.types import Alternative, AnyRequest, Candidate, ChatRequest, Kind, MediaRequest, ModelCard
from gateway.upstreams.base import Upstream

SOON_SECONDS: Final = 60.0
"""A model that nobody serves sooner is no help now."""
MOST_LOOKED_AT: Final = 1000
MOST_FITTED: Final = 20
"""Models that a request is fitted to before it is given up: each is work, for a request that failed."""
MOST_REFUSED: Final = 3
"""Models of an upstream without an account for them, after which the rest of its models is passed over."""
HELPED: Final = (Unsupported, ModelNotFound, NoAccount, AllResting, AccountError, UpstreamError)
"""Errors that another model would not have."""
IMAGES: Final = "images"
"""How an error names the files that go in."""


class Alternatives:
    def __init__(self, catalog: Catalog, prices: PriceBook) -> None:
        self._catalog = catalog
        self._prices = prices

    def suggest(
        self,
        error: GatewayError,
        request: AnyRequest,
        kind: Kind,
        tried: Sequence[Candidate],
        tags: frozenset[str] = frozenset(),
    ) -> None:
        """Put into an error which other models could do it, where another would help at all.

        `tried`: where it was to go. `tags`: what accounts must carry that may serve the caller.
        """
        if not isinstance(error, HELPED) or error.alternatives:
            return
        param = error.param if isinstance(error, Unsupported) else None
        error.alternatives = found = self.find(request, kind, tried, tags, param=param)
        if found and isinstance(error, Unsupported):
            error.args = (f"{error.message}; models that can: {', '.join(one.model for one in found)}",)

    def find(
        self,
        request: AnyRequest,
        kind: Kind,
        tried: Sequence[Candidate],
        tags: frozenset[str] = frozenset(),
        *,
        param: str | None = None,
    ) -> tuple[Alternative, ...]:
        """At most two other models that take the request as it is, and that an account can serve now or soon.

        `param`: what it was about; only a model counts of which it is known that it takes it.
        """
        passed = {place.card.id for place in tried}
        found: list[Alternative] = []
        for upstream, card, wait in islice(self._near(kind, tags, passed, param), MOST_FITTED):
            made = _made(request, card, upstream)
            if made is not None:
                passed.add(card.id)
                found.append(Alternative(card.id, _why(request, kind, param, wait), self._price(upstream, card, made)))
            if len(found) == MOST_ALTERNATIVES:
                break
        return tuple(found)

    def _near(
        self, kind: Kind, tags: frozenset[str], passed: set[str], param: str | None
    ) -> Iterator[tuple[Upstream, ModelCard, float]]:
        """Models of a kind that an account can serve now or soon, and in how many seconds. `passed`: those that do not
        count, as it stands when the next one is asked for.

        Of an upstream that has no account for any model none is looked at one by one.
        """
        refused: Counter[str] = Counter()
        for source, card in islice(self._catalog.others(kind), MOST_LOOKED_AT):
            name = source.upstream.name
            if name not in refused:
                refused[name] = 0 if _soon(self._catalog.wait(name, "", kind, tags)) else MOST_REFUSED
            if refused[name] >= MOST_REFUSED or card.id in passed or not _knows(card, kind, param):
                continue
            wait = self._catalog.wait(name, card.id, kind, tags)
            if wait is not None and _soon(wait):
                yield source.upstream, card, wait
            else:
                refused[name] += 1

    def _price(self, upstream: Upstream, card: ModelCard, request: AnyRequest) -> dict[str, Any] | None:
        found = quote(self._prices.of(upstream.name, card.id, card), request, card)
        if found is None or found.amount is None:
            return None
        return {"amount": found.amount, "currency": found.price.currency, "exact": found.exact}


def _soon(wait: float | None) -> bool:
    return wait is not None and wait <= SOON_SECONDS


def _knows(card: ModelCard, kind: Kind, param: str | None) -> bool:
    """Whether it is known of a model what it makes of a parameter."""
    return param is None or (kind in card.inputs if param == IMAGES else param in card.parameters)


def _made(request: AnyRequest, card: ModelCard, upstream: Upstream) -> AnyRequest | None:
    """The request as another model would make it; None where it would not, or not as it is asked."""
    if isinstance(request, ChatRequest):
        return None if b'"image_url"' in bytes(request.body.get("messages", b"")) and not card.vision else request
    if not isinstance(request, get_args(MediaRequest)):
        return request
    try:
        fitted = fit(msgspec.structs.replace(request, model=card.id), card, upstream)
    except GatewayError:
        return None
    return None if fitted.adjustments else fitted.request


def _why(request: AnyRequest, kind: Kind, param: str | None, wait: float) -> str:
    """One sentence."""
    does = f"It does {kind}"
    if param == IMAGES:
        does = "It takes so many images"
    elif param is not None and isinstance(request, MediaRequest):
        does = f"It takes '{param}' {shown(given(request).get(param))}".rstrip()
    return f"{does} and can serve {'now' if not wait else f'in {ceil(wait)} s'}."
