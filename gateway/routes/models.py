"""The models there are, and what a request for one would be."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.routes.house import Answer, House, house_of, read_body
from gateway.types import Kind, ModelCard
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
    return Answer(msgspec.json.encode({"object": "list", "data": [model_json(card) for card in cards]}))


async def show(request: Request) -> Answer:
    """GET /v1/models/{id}, GET /api/models/{id}: ids may hold slashes."""
    card = house_of(request).catalog.card(request.path_params["id"])
    return Answer(msgspec.json.encode(model_json(card)))


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
    return Answer(
        msgspec.json.encode(
            {
                "model": first.card.id,
                "upstream": first.upstream,
                "kind": kind,
                "parameters": _parameters(asked, kind, first.card.id, prompt, found),
                "adjustments": [],
                "price": None,
                "estimate_seconds": first.card.estimate,
                "available": wait == 0,
                "available_in_seconds": wait,
            }
        )
    )


def model_json(card: ModelCard) -> dict[str, Any]:
    """A model in the OpenAI shape, with what the gateway knows beyond it."""
    upstreams = card.extra.get("upstreams", ())
    shown: dict[str, Any] = {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": upstreams[0] if upstreams else "",
        "name": card.name or card.id,
        "kinds": sorted(card.kinds),
        "upstreams": list(upstreams),
        "parameters": _limits(card),
        "price": None,
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


def _parameters(asked: native.Body, kind: Kind, model: str, prompt: str, found: Any) -> dict[str, Any]:
    if kind == "t2t":
        return {}
    shown = msgspec.to_builtins(native.media_request(asked, kind, model, prompt, found, {}))
    dropped = ("type", "model", "prompt", "text", "kind", "inputs", "hints", "params", "mark")
    return {name: value for name, value in shown.items() if name not in dropped and value is not None}


def _wait(house: House, upstream: str, model: str, kind: Kind) -> float | None:
    """Seconds until an account can serve; 0 now, None when nobody knows."""
    return house.relay.pools[upstream].soonest(model=model, kind=kind)
