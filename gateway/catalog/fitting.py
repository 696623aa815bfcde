"""Whether a model takes a request as it was asked, and what is made of it where not. Pure: decided before anything is
spent, and nothing is changed without being told.

A value that a model does not take is refused, or replaced by the nearest, or left out, as the caller says. Pixels say
what shape is wanted: where a model makes that shape in other pixels, it does so whatever the caller says, and tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final, assert_never

import msgspec

from gateway.catalog.allowed import (
    SAME_RATIO,
    bounds,
    breadth,
    nearest,
    number,
    plain,
    right,
    same,
    shown,
    size_of,
    too_many_or_few,
    wanted,
)
from gateway.errors import Unsupported
from gateway.types import (
    Adjustment,
    Fitted,
    ImageRequest,
    MediaRequest,
    ModelCard,
    MusicRequest,
    OnUnsupported,
    Parameter,
    Size,
    SpeechRequest,
    Value,
    VideoRequest,
)
from gateway.upstreams.base import Upstream
from gateway.wire.native import OF_SOME_KINDS

HINTS: Final[Mapping[str, frozenset[Any]]] = {
    "user": frozenset(),
    "safety_identifier": frozenset(),
    "moderation": frozenset(),
    "store": frozenset(),
    "quality": frozenset({"auto", "standard"}),
    "style": frozenset({"vivid"}),
    "background": frozenset({"auto"}),
    "input_fidelity": frozenset({"low"}),
    "output_format": frozenset({"png"}),
    "output_compression": frozenset({100}),
}
"""What clients of OpenAI's send unasked, and the values that ask for nothing there; none listed: whatever it is."""

_MISSING: Final = object()


def fit(request: MediaRequest, card: ModelCard, upstream: Upstream, policy: OnUnsupported = "reject") -> Fitted:
    """The request as the model at the upstream takes it. Raises Unsupported, or InvalidRequest for what cannot be."""
    _check_inputs(request, card)
    _check_count(request, card)
    adjusted, adjustments = _adjusted(request, card, policy)
    made = _made(adjusted, card, upstream)
    if (told := _of_other_pixels(adjusted, made, card, policy)) is not None:
        adjustments = (*adjustments, told)
        adjusted = with_values(adjusted, {told.parameter: told.used})
        made = _made(adjusted, card, upstream)
    return Fitted(made, (*adjustments, *_changed(given(adjusted), values(made))))


def _made(request: MediaRequest, card: ModelCard, upstream: Upstream) -> MediaRequest:
    """What the upstream makes of a request whose values the model takes."""
    return upstream.effective(_with_defaults(request, card) if card.custom else request, card)


def _with_defaults(request: MediaRequest, card: ModelCard) -> MediaRequest:
    """With what the operator says is taken where nothing is asked: of a model of its own no upstream knows that."""
    said = given(request)
    defaults = {name: one.default for name, one in takes(card, request.kind).items() if name not in said}
    found = {name: value for name, value in defaults.items() if value is not None}
    return with_values(request, found) if found else request


# --- what a request says ---


def given(request: MediaRequest) -> dict[str, Any]:
    """What the caller asked for, by the names that callers use."""
    found = {name: value for name, value in values(request).items() if value is not None}
    if found.get("n") == 1:
        found.pop("n")
    match request:
        case SpeechRequest():
            unsaid = {"voice": "", "format": "mp3", "speed": 1.0}
            found = {name: value for name, value in found.items() if unsaid.get(name, _MISSING) != value}
        case MusicRequest() if request.format == "mp3":
            found.pop("format")
        case _:
            pass
    return found


def values(request: MediaRequest) -> dict[str, Any]:
    """Every parameter of a request, with what it is; None where nobody said."""
    own: dict[str, Any]
    match request:
        case ImageRequest():
            own = {"size": request.size, "n": request.n, "seed": request.seed}
        case VideoRequest():
            own = {"size": request.size, "seconds": request.seconds, "seed": request.seed, "n": request.n}
        case SpeechRequest():
            own = {"voice": request.voice, "format": request.format, "speed": request.speed}
        case MusicRequest():
            own = {"seconds": request.seconds, "format": request.format, "seed": request.seed, "n": request.n}
        case never:
            assert_never(never)
    return {**request.params, **own}


def parameters(request: MediaRequest) -> dict[str, Any]:
    """Every parameter that a request has a value for, as JSON has it: what `with_values` gives to another again."""
    return {name: plain(value) for name, value in values(request).items() if value not in (None, "")}


def with_values(request: MediaRequest, changed: Mapping[str, Any]) -> MediaRequest:
    """The request with other values; what has a default gets it back by None."""
    fields = {name: value for name, value in changed.items() if name in _FIELDS and hasattr(request, name)}
    if isinstance(fields.get("size"), str):
        fields["size"] = size_of(fields["size"])
    others = {name: value for name, value in changed.items() if name not in fields}
    params = {name: value for name, value in {**request.params, **others}.items() if value is not None}
    fields = {name: _FIELDS[name] if value is None else value for name, value in fields.items()}
    return msgspec.structs.replace(request, params=params, **fields)


_FIELDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("size", "seconds", "seed")), "n": 1, "voice": "", "format": "mp3", "speed": 1.0
}  # fmt: skip


# --- what the model takes ---


def _check_count(request: MediaRequest, card: ModelCard) -> None:
    """Images are asked for again and again until there are enough; of all else one call makes what it can make."""
    match request:
        case ImageRequest():
            return
        case SpeechRequest():
            count, most = request.params.get("n") or 1, 1
        case _:
            count, most = request.n, card.max_n
    if count > most:
        raise Unsupported(
            f"'n' must be at most {most} with {card.id}, not {count}; POST /api/batches makes any number",
            param="n",
            nearest=f"{most}",
        )


def _check_inputs(request: MediaRequest, card: ModelCard) -> None:
    rule = card.inputs.get(request.kind)
    if rule is None or not isinstance(request, ImageRequest | VideoRequest):
        return
    count = len(request.inputs)
    if not rule.least <= count <= rule.most:
        wanted = f"{rule.least}" if rule.least == rule.most else f"{rule.least} to {rule.most}"
        noun = "image" if wanted == "1" else "images"
        raise Unsupported(f"{request.kind} by {card.id} takes {wanted} {noun}, the request has {count}", param="images")
    for one in request.inputs:
        if rule.mimes and one.mime and one.mime not in rule.mimes:
            takes = ", ".join(sorted(mime.partition("/")[2] for mime in rule.mimes))
            raise Unsupported(f"{card.id} takes images of the types {takes}, not {one.mime}", param="images")
        if rule.max_bytes and one.size > rule.max_bytes:
            most = rule.max_bytes / 2**20
            raise Unsupported(f"{card.id} takes images of at most {most:g} MB", param="images")


def _adjusted(
    request: MediaRequest, card: ModelCard, policy: OnUnsupported
) -> tuple[MediaRequest, tuple[Adjustment, ...]]:
    """What the caller asked for, each value spelled as the model has it, and what was done about the others."""
    changed: dict[str, Any] = {}
    adjustments: list[Adjustment] = []
    for name, value in given(request).items():
        found = _taken(name, value, request, card, policy)
        if isinstance(found, Adjustment):
            adjustments.append(found)
            changed[name] = found.used
        elif card.parameters:
            changed[name] = found
    asked = {name: value for name, value in {**given(request), **changed}.items() if value is not None}
    for adjustment in _in_a_row(asked, card, policy):
        adjustments.append(adjustment)
        changed[adjustment.parameter] = adjustment.used
    return (with_values(request, changed) if changed else request), tuple(adjustments)


def _taken(name: str, value: Any, request: MediaRequest, card: ModelCard, policy: OnUnsupported) -> Any:
    """A value as the model has it, or what becomes of one that it does not take."""
    parameter = card.parameters.get(name)
    if parameter is None or (parameter.kinds and request.kind not in parameter.kinds):
        return _undeclared(name, value, request, card, policy)
    found = right(value, parameter)
    if found is not None:
        return found
    if too_many_or_few(value, parameter):
        return value  # the upstream may make that shape in pixels of its own: `_of_other_pixels` looks at those
    near = nearest(value, parameter)
    why = f"'{name}' must be {wanted(parameter)} with {card.id}, not {shown(value)}"
    return _otherwise(name, value, near, policy, why, parameter.allowed)


def _undeclared(name: str, value: Any, request: MediaRequest, card: ModelCard, policy: OnUnsupported) -> Any:
    """What becomes of a value that nobody says the model takes: all pass but those of another kind of work."""
    if not card.parameters or not card.closed:
        is_strange = name in OF_SOME_KINDS and name in request.params
        return Adjustment(name, plain(value), None, f"{request.kind} has no {name!r}") if is_strange else value
    if name in HINTS and (not HINTS[name] or any(same(one, value) for one in HINTS[name])):
        return None
    names = ", ".join(sorted(takes(card, request.kind)))
    return _otherwise(name, value, None, policy, f"{card.id} has no {name!r}; it takes {names or 'none'}", ())


def takes(card: ModelCard, kind: str) -> dict[str, Parameter]:
    """The parameters of a model for a kind of work."""
    return {name: one for name, one in card.parameters.items() if not one.kinds or kind in one.kinds}


def _otherwise(
    name: str, value: Any, near: Any, policy: OnUnsupported, why: str, allowed: Sequence[Value]
) -> Adjustment:
    if policy == "reject":
        hint = f"; the nearest is {shown(near)}" if near is not None and len(allowed) != 1 else ""
        code = "unsupported_value" if allowed or near is not None else "unsupported_parameter"
        raise Unsupported(f"{why}{hint}", param=name, code=code, allowed=allowed, nearest=shown(near))
    used = near if policy == "nearest" else None
    return Adjustment(name, plain(value), plain(used), why)


# --- values together ---


def _in_a_row(asked: Mapping[str, Any], card: ModelCard, policy: OnUnsupported) -> list[Adjustment]:
    """What has to change so that all values are of one row."""
    names = {name for row in card.together for name in row}
    said = {name: value for name, value in asked.items() if name in names}
    if not said or any(_fits(row, said) for row in card.together):
        return []
    best = max(card.together, key=lambda row: sum(name in row and same(row[name], said[name]) for name in said))
    wrong = {name: best[name] for name, value in said.items() if name in best and not same(best[name], value)}
    found = []
    for name, near in wrong.items():
        others = {other: value for other, value in said.items() if other not in wrong}
        able = list(dict.fromkeys(row[name] for row in card.together if name in row and _fits(row, others)))
        beside = " and ".join(f"{other} {shown(value)}" for other, value in others.items())
        right_ones = wanted(Parameter("string", tuple(able)))
        why = (
            f"'{name}' must be {right_ones} with {card.id}{f' and {beside}' if beside else ''}, not {shown(said[name])}"
        )
        near = _nearest_of(said[name], able, near)
        found.append(_otherwise(name, said[name], near, policy, why, able))
    return found


def _fits(row: Mapping[str, Value], said: Mapping[str, Any]) -> bool:
    return all(name in row and same(row[name], value) for name, value in said.items())


def _nearest_of(value: Any, able: Sequence[Value], usual: Value) -> Value:
    wished = number(value)
    if wished is None:
        return usual
    numbers = [one for one in able if isinstance(one, int | float)]
    return min(numbers, key=lambda one: abs(one - wished), default=usual)


# --- what the upstream makes of it ---


def _of_other_pixels(
    request: MediaRequest, made: MediaRequest, card: ModelCard, policy: OnUnsupported
) -> Adjustment | None:
    """What becomes of a size with more or fewer pixels than the model makes, where the upstream leaves it so."""
    parameter = takes(card, request.kind).get("size")
    asked = values(request).get("size")
    if parameter is None or not all(too_many_or_few(size, parameter) for size in (asked, values(made).get("size"))):
        return None
    why = f"'size' must be {bounds(parameter)} with {card.id}, not {shown(asked)}"
    return _otherwise("size", asked, nearest(asked, parameter), policy, why, parameter.allowed)


def _changed(asked: Mapping[str, Any], used: Mapping[str, Any]) -> tuple[Adjustment, ...]:
    """What the caller gave and the upstream will make otherwise."""
    return tuple(
        Adjustment(name, plain(value), plain(used.get(name)), "the nearest that the model makes")
        for name, value in asked.items()
        if not _told_alike(value, used.get(name))
    )


def _told_alike(asked: Any, used: Any) -> bool:
    """A ratio is kept by any pixels of that ratio."""
    if isinstance(asked, Size) and isinstance(used, Size) and not asked.width:
        return abs(log(breadth(asked) / breadth(used))) <= SAME_RATIO
    return same(asked, used)
