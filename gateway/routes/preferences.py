"""What a caller wants to be taken where its requests name no model. Saved only when it says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
from starlette.requests import Request

from gateway.catalog.allowed import right, shown, wanted
from gateway.catalog.choosing import SYNONYMS
from gateway.catalog.fitting import takes
from gateway.catalog.models import Resolved
from gateway.catalog.preferences import Preference
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, Unsupported
from gateway.routes import asset_asks as asks
from gateway.routes.house import Answer, House, hints_of, house_of, principal_of, read_body
from gateway.routes.model_resource import INPUTS
from gateway.types import Input, InputRule, Kind, MediaRequest, ModelCard
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat
from gateway.wire.wishes import NAMES as WISHES

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MEDIA: Final = frozenset(native.CHAT_TYPES) - {"t2t"}
MOST_BYTES: Final = 16 * 1024
NO_PARAMETERS: Final = WISHES | {
    *("model", "message", "messages", "prompt", "input", "text", "chatType", "kind", "chatId", "parentId", "files"),
    *("images", "image", "first_frame", "last_frame", "reference_images", "waitForCompletion", "stream", "progress"),
    *("stream_options", "webhook", "webhook_url", "webhook_events", "metadata", "deadline_s", "continue_from", "tools"),
    *("tool_choice", "functions", "store"),
}
"""What a request says for itself alone."""
OF_A_CHAT: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty", "repetition_penalty"), float),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "top_k", "n", "seed", "top_logprobs"), int),
    **dict.fromkeys(("logprobs", "parallel_tool_calls", "enable_thinking", "enable_search", "include_reasoning"), bool),
    **dict.fromkeys(("reasoning_effort", "verbosity", "service_tier", "user"), str),
    **dict.fromkeys(("response_format", "logit_bias", "audio", "prediction", "reasoning", "thinking"), dict[str, Any]),
    "stop": str | list[str],
    "modalities": list[str],
    "thinking_budget": int,
}
"""Of which type a parameter of a chat is, for all providers that have it: OpenAI's reference of chat completions and
what resellers and DashScope have beside it, 2026-11-22."""


async def index(request: Request) -> Answer:
    """GET /api/preferences: the caller's own."""
    found = await house_of(request).choosing.preferences.all(principal_of(request).id)
    return _answer({"object": "list", "data": [resource(one) for one in found.values()]})


async def show(request: Request) -> Answer:
    """GET /api/preferences/{kind}"""
    kind = _kind(request)
    found = await house_of(request).choosing.preferences.of(principal_of(request).id, kind)
    if found is None:
        raise _none(kind)
    return _answer(resource(found))


async def save(request: Request) -> Answer:
    """PUT /api/preferences/{kind} `{model, parameters?}`: in place of the one before"""
    kind, house = _kind(request), house_of(request)
    body = wire_body.decode(await read_body(request))
    asks.check_names(body, ("model", "parameters", "params"), "field")
    model = wire_body.text(body, "model") or ""
    if not model or house.catalog.is_auto(model):
        raise InvalidRequest("'model' must name a model", param="model")
    params = _params(body, kind)
    resolved = _resolved(house, model, kind)
    _check(request, resolved, params)
    owner = principal_of(request).id
    return _answer(resource(await house.choosing.preferences.put(owner, kind, model, params)))


async def delete(request: Request) -> Answer:
    """DELETE /api/preferences/{kind}"""
    kind = _kind(request)
    if not await house_of(request).choosing.preferences.delete(principal_of(request).id, kind):
        raise _none(kind)
    return _answer({"kind": kind, "object": "preference.deleted", "deleted": True})


def resource(one: Preference) -> dict[str, Any]:
    return {
        "object": "preference",
        "kind": one.kind,
        "model": one.model,
        "parameters": dict(one.params),
        "updated_at": int(one.updated_at),
    }


# --- what is asked ---


def _kind(request: Request) -> Kind:
    name = str(request.path_params["kind"])
    found = next((kind for kind in KINDS if kind == native.LONG_NAMES.get(name, name)), None)
    if found is None:
        raise InvalidRequest(f"'kind' is unknown: use one of {', '.join(KINDS)}", param="kind")
    return found


def _params(body: native.Body, kind: Kind) -> dict[str, Any]:
    """Parameters, of media by their first names. Raises InvalidRequest."""
    both = {"parameters", "params"} <= body.keys()
    name = "params" if "params" in body else "parameters"
    given = wire_body.read(body, name, dict[str, Any]) or {}
    first = {other: one for one, other in SYNONYMS.items()} if kind in MEDIA else {}
    found = {first.get(one, one): value for one, value in given.items() if value is not None}
    if both or len(bytes(body.get(name, b""))) > MOST_BYTES:
        raise InvalidRequest(f"'parameters' may be given once, with at most {MOST_BYTES} bytes", param="parameters")
    if no := sorted(found.keys() & NO_PARAMETERS):
        raise InvalidRequest(f"{no[0]!r} is nothing to prefer: each request says it for itself", param=no[0])
    if "\\u0000" in msgspec.json.encode(found).decode():
        raise InvalidRequest("'parameters' must not hold a NUL character", param="parameters")
    return found


# --- whether it can be ---


def _resolved(house: House, model: str, kind: Kind) -> Resolved:
    try:
        return house.catalog.resolve(model, kind, inputs=kind in INPUTS, fallback=False)
    except ModelNotFound as error:
        raise InvalidRequest(error.message, param="model", code=error.code, advice=error.advice) from error


def _check(request: Request, resolved: Resolved, params: Mapping[str, Any]) -> None:
    """Whether one of a model's places takes such values. Raises what the first one does not take."""
    if resolved.kind == "t2t":
        _check_chat(params)
    refusal: InvalidRequest | None = None
    for place in resolved.candidates:
        try:
            if resolved.kind in MEDIA:
                what = _trial(request, resolved.kind, place.card, params)
                house_of(request).catalog.fit(what, place, "reject")
            else:
                _check_each(resolved.kind, place.card, params)
            return
        except InvalidRequest as error:
            refusal = refusal or error
    assert refusal is not None, "a resolved model has places"
    raise refusal


def _trial(request: Request, kind: Kind, card: ModelCard, params: Mapping[str, Any]) -> MediaRequest:
    """A request that has these values, and the fewest files that such a one can have."""
    rule = card.inputs.get(kind) or INPUTS.get(kind) or InputRule()
    files = tuple(Input("https://example.com/image") for _ in range(rule.least))
    body = {name: _raw(value) for name, value in params.items()}
    return native.media_request(body, kind, card.id, "something", files, hints_of(request))


def _check_chat(params: Mapping[str, Any]) -> None:
    """Whether a chat can be made with these. Raises InvalidRequest: saved, they would make one of every chat."""
    body = {name: _raw(value) for name, value in params.items()}
    made = native.chat_body({**body, "message": _raw("something")})
    if lost := sorted(body.keys() - made.keys()):
        raise InvalidRequest(f"{lost[0]!r} is nothing that a chat of text takes", param=lost[0])
    openai_chat.parse(made)
    for name, wanted_type in OF_A_CHAT.items():
        wire_body.read_any(made, name, wanted_type)


def _check_each(kind: Kind, card: ModelCard, params: Mapping[str, Any]) -> None:
    """Of text and such: what is known of its parameters; all others are its upstream's business."""
    for name, parameter in takes(card, kind).items():
        if name in params and right(params[name], parameter) is None:
            said = f"'{name}' must be {wanted(parameter)} with {card.id}, not {shown(params[name])}"
            raise Unsupported(said, param=name, allowed=parameter.allowed)


def _none(kind: Kind) -> NotFound:
    return NotFound(f"no preference is saved for {kind}", param="kind")


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(msgspec.json.encode(body))
