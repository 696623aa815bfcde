"""What a generation would be, before it is asked for: where, with which values, for how much, when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec
from starlette.requests import Request

from gateway.catalog import quotes
from gateway.catalog.fitting import parameters
from gateway.catalog.quotes import Quote
from gateway.errors import GatewayError
from gateway.routes.choosing import choose
from gateway.routes.continuing import continued
from gateway.routes.house import Answer, hints_of, house_of, principal_of, read_body
from gateway.routes.model_resource import price_json
from gateway.tasks.asked import asked
from gateway.types import (
    Adjustment,
    AnyRequest,
    Candidate,
    ChatRequest,
    EmbeddingRequest,
    Kind,
    MediaRequest,
    TranscriptionRequest,
    Wishes,
)
from gateway.wire import body as wire_body
from gateway.wire import native
from gateway.wire import task as wire_task
from gateway.wire.wishes import adjustments_json, wishes

_NO_PARAMETERS: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "functions", "prompt", "images", "image", "input"}
)
"""Members of a chat's body that are no parameters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a generation would be asked for, and where."""

    kind: Kind
    request: AnyRequest
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A place that takes it."""

    candidate: Candidate
    request: AnyRequest
    """With every value that would be used."""
    adjustments: tuple[Adjustment, ...]
    wait: float | None
    """Seconds until an account can serve; None where nobody knows."""


async def quote(request: Request) -> Answer:
    """POST /api/quote with any generation body: what it would be, where, for how much, and whether now. Spends nothing.

    Raises what the generation itself would be refused with before anything is spent.
    """
    house = house_of(request)
    body = wire_task.flat(wire_body.decode(await read_body(request)))
    wanted = wishes(body)
    found = await _asked(request, body, wanted)
    place = _place(request, found, wanted)
    first = place.candidate
    card = house.catalog.known(first.upstream, first.card.id) or first.card
    price = quotes.quote(house.relay.prices.of(first.upstream, card.id, card), place.request, card)
    return Answer(
        msgspec.json.encode(
            {
                "model": card.id,
                "upstream": first.upstream,
                "kind": found.kind,
                "parameters": _parameters(place.request),
                "adjustments": adjustments_json(place.adjustments),
                "price": _price(price),
                "estimate_seconds": card.estimate,
                "available": place.wait == 0,
                "available_in_seconds": place.wait,
            }
        )
    )


async def _asked(request: Request, body: native.Body, wanted: Wishes) -> Asked:
    """What the body asks for: read as for a task, so that it comes out as the generation will."""
    house, principal = house_of(request), principal_of(request)
    if (of_texts := await _asked_of_texts(request, body, wanted)) is not None:
        return of_texts
    body = await continued(request, body, in_chat=False)
    found = await asked(body, house.choosing, principal, hints_of(request))
    return Asked(found.kind, await house.inputs.resolved(found.request, principal.id), found.candidates)


async def _asked_of_texts(request: Request, body: native.Body, wanted: Wishes) -> Asked | None:
    """What is no generation, by what its model does: vectors, alone made of several texts, and transcripts."""
    model, several = wire_body.text(body, "model") or "", bytes(body.get("input", b"")).startswith(b"[")
    if not several and (native.kind(body) is not None or house_of(request).catalog.is_auto(model)):
        return None
    choice = await choose(request, model, "embedding" if several else None, fallback=wanted.fallback)
    if choice.kind not in ("embedding", "transcription"):
        return None
    what = _of_texts(choice.kind, model, body)
    return Asked(choice.kind, what, house_of(request).choosing.in_order(choice.candidates, what, wanted))


def _of_texts(kind: Kind, model: str, body: native.Body) -> EmbeddingRequest | TranscriptionRequest:
    """What is no generation, but costs all the same. The length of a recording shows only in the recording."""
    if kind == "transcription":
        return TranscriptionRequest(model, b"", "", "")
    name = next((name for name in ("input", "message", "prompt") if name in body), "input")
    found = wire_body.read_any(body, name, str | list[str]) or ()
    return EmbeddingRequest(model, (found,) if isinstance(found, str) else tuple(found))


def _place(request: Request, found: Asked, wanted: Wishes) -> Place:
    """Where it would be made: the first place that takes it and can serve now, else the one that can soonest."""
    house, tags = house_of(request), principal_of(request).account_tags
    places: list[Place] = []
    refusal: GatewayError | None = None
    for candidate, fitted, refused in house.relay.fitting(found.request, found.candidates, wanted):
        if refused is not None:
            refusal = refusal or refused
            continue
        wait = house.catalog.waits([candidate], found.kind, tags)
        place = Place(candidate, fitted.request, fitted.adjustments, wait) if fitted else None
        places.append(place or Place(candidate, found.request, (), wait))
        if wait == 0:
            break
    if not places:
        assert refusal is not None, "a resolved request has candidates"
        if house.relay.suggest is not None:
            house.relay.suggest(refusal, found.request, found.kind, found.candidates, tags)
        raise refusal
    return min(places, key=lambda place: float("inf") if place.wait is None else place.wait)


def _parameters(request: AnyRequest) -> Mapping[str, Any]:
    """What it would be made with."""
    if isinstance(request, ChatRequest):
        return wire_body.decoded(request.body, _NO_PARAMETERS)
    return parameters(request) if isinstance(request, get_args(MediaRequest)) else {}


def _price(found: Quote | None) -> dict[str, Any] | None:
    if found is None:
        return None
    per = {name: rate for name, rate in price_json(found.price).items() if name not in ("currency", "when")}
    return {"amount": found.amount, "currency": found.price.currency, "exact": found.exact, "per": per}
