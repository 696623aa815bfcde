"""The models there are, and what a request for one would be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.catalog import quotes
from gateway.catalog.prices import PriceBook
from gateway.catalog.quotes import Quote
from gateway.errors import InvalidRequest
from gateway.routes.house import Answer, House, house_of, read_body
from gateway.types import AnyRequest, ChatRequest, Kind, ModelCard, Price
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat


async def index(request: Request) -> Answer:
    """GET /v1/models, GET /api/models?kind="""
    house = house_of(request)
    kind = request.query_params.get("kind")
    if kind is not None:
        kind = native.LONG_NAMES.get(kind, kind)
        if kind not in native.CHAT_TYPES:
            raise InvalidRequest(f"'kind' is unknown: use one of {', '.join(native.CHAT_TYPES)}", param="kind")
    cards = [card for card in house.catalog.cards() if kind is None or kind in card.kinds]
    shown = [model_json(card, house.relay.prices) for card in cards]
    return Answer(msgspec.json.encode({"object": "list", "data": shown}))


async def show(request: Request) -> Answer:
    """GET /v1/models/{id}, GET /api/models/{id}: ids may hold slashes."""
    house = house_of(request)
    card = house.catalog.card(request.path_params["id"])
    return Answer(msgspec.json.encode(model_json(card, house.relay.prices)))


async def quote(request: Request) -> Answer:
    """POST /api/quote with any generation body: what it would be, where, how long, and whether now. Spends nothing."""
    house = house_of(request)
    asked = wire_body.decode(await read_body(request))
    body = native.chat_body(_with_message(asked))
    chat = openai_chat.parse(body)
    turns = openai_chat.messages(chat)
    found = native.inputs(turns)
    kind = house.catalog.resolve(chat.model, native.kind(asked)).kind
    if kind != "t2t":
        kind = native.fitting(kind, len(found))
    resolved = house.catalog.resolve(chat.model, kind, inputs=bool(found))
    first = resolved.candidates[0]
    prompt = openai_chat.text(turns[-1].get("content"))
    wait = _wait(house, first.upstream, first.card.id, kind)
    asks: AnyRequest = chat
    if kind != "t2t":
        asks = native.media_request(asked, kind, first.card.id, prompt, found, {})
    prices = house.relay.prices.of(first.upstream, first.card.id, first.card)
    return Answer(
        msgspec.json.encode(
            {
                "model": first.card.id,
                "upstream": first.upstream,
                "kind": kind,
                "parameters": _parameters(asks),
                "adjustments": [],
                "price": _quoted(quotes.quote(prices, asks, first.card)),
                "estimate_seconds": first.card.estimate,
                "available": wait == 0,
                "available_in_seconds": wait,
            }
        )
    )


def model_json(card: ModelCard, book: PriceBook) -> dict[str, Any]:
    """A model in the OpenAI shape, with what the gateway knows beyond it."""
    upstreams = card.extra.get("upstreams", ())
    name = card.extra.get("alias_of", card.id)
    prices = [_price(price) for price in (book.of(upstreams[0], name, card) if upstreams else card.prices)]
    shown: dict[str, Any] = {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": upstreams[0] if upstreams else "",
        "name": card.name or card.id,
        "kinds": sorted(card.kinds),
        "upstreams": list(upstreams),
        "parameters": _limits(card),
        "price": prices[0] if prices else None,
        "prices": prices,
        "estimate_seconds": card.estimate,
    }
    if "alias_of" in card.extra:
        shown["alias_of"] = card.extra["alias_of"]
    return shown


def _limits(card: ModelCard) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if card.context_length:
        found["context_length"] = card.context_length
    if "t2t" in card.kinds:
        found |= {"vision": card.vision, "reasoning": card.reasoning}
    if card.ratios:
        found["size"] = list(card.ratios)
    if card.seconds:
        found["seconds"] = list(card.seconds)
    return found


def _with_message(asked: native.Body) -> native.Body:
    """A quote may come as a prompt alone, in the words of the media endpoints."""
    if "message" in asked or "messages" in asked:
        return asked
    for name in ("prompt", "input"):
        if name in asked:
            return {**asked, "message": asked[name]}
    return asked


def _parameters(asks: AnyRequest) -> dict[str, Any]:
    if isinstance(asks, ChatRequest):
        return {}
    shown = msgspec.to_builtins(asks)
    dropped = ("type", "model", "prompt", "text", "kind", "inputs", "hints", "params", "mark")
    return {name: value for name, value in shown.items() if name not in dropped and value is not None}


def _quoted(found: Quote | None) -> dict[str, Any] | None:
    if found is None:
        return None
    per = {name: rate for name, rate in _price(found.price).items() if name not in ("currency", "when")}
    return {"amount": found.amount, "currency": found.price.currency, "exact": found.exact, "per": per}


def _price(price: Price) -> dict[str, Any]:
    """Only what is charged for; of a condition with one value, that."""
    shown = {name: value for name, value in asdict(price).items() if value not in (None, {})}
    if price.when:
        shown["when"] = {name: wanted[0] if len(wanted) == 1 else list(wanted) for name, wanted in price.when.items()}
    return shown


def _wait(house: House, upstream: str, model: str, kind: Kind) -> float | None:
    """Seconds until an account can serve; 0 now, None when nobody knows."""
    return house.relay.pools[upstream].soonest(model=model, kind=kind)
