"""A model as callers see it: in the OpenAI shape, with what the gateway knows beyond it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.accounts.quota import GROUP_OF
from gateway.assets.inputs import IMAGE_MAX
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.types import InputRule, Kind, ModelCard, Parameter, Price
from gateway.wire import native

IMAGES = ("image/avif", "image/bmp", "image/gif", "image/heic", "image/jpeg", "image/png", "image/webp")
"""What the gateway knows as an image that can go in."""
INPUTS: Mapping[Kind, InputRule] = {
    "i2i": InputRule(1, native.MAX_INPUTS),
    "i2v": InputRule(1, 1),
    "flf2v": InputRule(2, 2),
    "ref2v": InputRule(1, native.MAX_INPUTS),
}
"""What files go into a kind of work, where its model says nothing."""


class Shown:
    """Models as one answer shows them. `tags`: what accounts must carry that may serve the caller."""

    def __init__(self, catalog: Catalog, prices: PriceBook, tags: frozenset[str]) -> None:
        self._catalog = catalog
        self._prices = prices
        self._tags = tags
        self._any: dict[tuple[str, Kind], float | None] = {}
        """Seconds until any model of an upstream could be served, by kind."""
        self._aliases: dict[str, list[str]] = {}
        for alias, model in catalog.aliases.items():
            self._aliases.setdefault(model, []).append(alias)

    def resource(self, card: ModelCard) -> dict[str, Any]:
        upstreams = list(card.extra.get("upstreams", ()))
        name = str(card.extra.get("alias_of", card.id))
        prices = [price_json(one) for one in (self._prices.of(upstreams[0], name, card) if upstreams else card.prices)]
        wait = self._wait(card, name, upstreams)
        shown = {
            "id": card.id,
            "object": "model",
            "created": card.created,
            "owned_by": upstreams[0] if upstreams else "",
            "name": card.name or card.id,
            "aliases": self._aliases.get(card.id, []),
            "kinds": sorted(card.kinds),
            "upstreams": upstreams,
            "source": "custom" if card.custom else "system",
            "active": wait is not None,
            "available_in_seconds": wait,
            "inputs": {kind: _input(rule) for kind, rule in sorted(_inputs(card).items())},
            "parameters": [parameter_json(one, parameter) for one, parameter in _parameters(card).items()],
            "closed": card.closed,
            "together": list(map(dict, card.together)),
            "context_length": card.context_length,
            "vision": card.vision,
            "reasoning": card.reasoning,
            "price": prices[0] if prices else None,
            "prices": prices,
            "estimate_seconds": card.estimate,
        }
        return shown | {"alias_of": name} if "alias_of" in card.extra else shown

    def _wait(self, card: ModelCard, name: str, upstreams: Iterable[str]) -> float | None:
        """Seconds until an account could serve any of its kinds."""
        kinds = {GROUP_OF[kind] for kind in card.kinds}
        waits = [self._at(upstream, name, kind) for upstream in upstreams for kind in kinds]
        return min((wait for wait in waits if wait is not None), default=None)

    def _at(self, upstream: str, model: str, kind: Kind) -> float | None:
        """Where no account is free for any model, none is looked at again for each: there may be hundreds of both."""
        if (upstream, kind) not in self._any:
            self._any[upstream, kind] = self._catalog.wait(upstream, "", kind, self._tags)
        wait = self._any[upstream, kind]
        return self._catalog.wait(upstream, model, kind, self._tags) if wait == 0 else wait


def _inputs(card: ModelCard) -> Mapping[Kind, InputRule]:
    usual = {kind: rule for kind, rule in INPUTS.items() if kind in card.kinds}
    return {**usual, **{kind: rule for kind, rule in card.inputs.items() if kind in card.kinds}}


def _input(rule: InputRule) -> dict[str, Any]:
    return {
        "least": rule.least,
        "most": rule.most,
        "formats": sorted(rule.mimes or IMAGES),
        "max_bytes": rule.max_bytes or IMAGE_MAX,
    }


def _parameters(card: ModelCard) -> Mapping[str, Parameter]:
    """What is known of its parameters. Of a model without any such table, what else its card tells."""
    if card.parameters:
        return card.parameters
    found: dict[str, Parameter] = {}
    if card.ratios:
        found["size"] = Parameter("size", card.ratios, free=True)
    if card.seconds:
        found["seconds"] = Parameter("number", card.seconds, default=card.default_seconds, unit="s")
    return found


def parameter_json(name: str, parameter: Parameter) -> dict[str, Any]:
    """Only what is known; without `kinds` it is for all that the model does."""
    shown = {
        "name": name,
        "type": parameter.type,
        "allowed": list(parameter.allowed),
        "least": parameter.least,
        "most": parameter.most,
        "default": parameter.default,
        "unit": parameter.unit,
        "kinds": sorted(parameter.kinds),
    }
    told = {key: value for key, value in shown.items() if value not in (None, "", [])}
    return told | {"free": True} if parameter.free else told


def price_json(price: Price) -> dict[str, Any]:
    """Only what is charged for; of a condition with one value, that."""
    shown = {name: value for name, value in asdict(price).items() if value not in (None, {})}
    if price.when:
        shown["when"] = {name: wanted[0] if len(wanted) == 1 else list(wanted) for name, wanted in price.when.items()}
    return shown
