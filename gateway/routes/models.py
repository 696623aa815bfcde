"""The models there are."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.routes.house import Answer, house_of, principal_of
from gateway.routes.model_resource import Shown
from gateway.types import Kind, ModelCard
from gateway.wire import native


async def index(request: Request) -> Answer:
    """GET /v1/models, GET /api/models?kind=&q="""
    kind = _kind(request.query_params.get("kind"))
    words = request.query_params.get("q", "").casefold().split()
    cards = [
        card
        for card in house_of(request).catalog.cards()
        if (kind is None or kind in card.kinds) and (not words or _told_of(card, words))
    ]
    shown = _shown(request)
    return Answer(msgspec.json.encode({"object": "list", "data": [shown.resource(card) for card in cards]}))


async def show(request: Request) -> Answer:
    """GET /v1/models/{id}, GET /api/models/{id}: ids may hold slashes."""
    card = house_of(request).catalog.card(request.path_params["id"])
    return Answer(msgspec.json.encode(_shown(request).resource(card)))


def _shown(request: Request) -> Shown:
    house = house_of(request)
    return Shown(house.catalog, house.relay.prices, principal_of(request).account_tags)


def _kind(name: str | None) -> Kind | None:
    if name is None:
        return None
    found = next((kind for kind in native.CHAT_TYPES if kind == native.LONG_NAMES.get(name, name)), None)
    if found is None:
        raise InvalidRequest(f"'kind' is unknown: use one of {', '.join(native.CHAT_TYPES)}", param="kind")
    return found


def _told_of(card: ModelCard, words: list[str]) -> bool:
    """Whether every word is in its id, its name or the name of who serves it, in whatever case."""
    told = " ".join((card.id, card.name, str(card.extra.get("alias_of", "")), *card.extra.get("upstreams", ())))
    return all(word in told.casefold() for word in words)
