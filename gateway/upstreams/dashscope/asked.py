"""What every request has in common on its way out: its address, the vendor's own parameters, and how a no is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log
from typing import Any, TypeVar

from gateway.errors import InvalidRequest, Unsupported
from gateway.types import Kind, MediaRequest, ModelCard, Size
from gateway.upstreams.dashscope.cards import parameters
from gateway.upstreams.dashscope.models import Facts, facts, is_live, is_text, newest

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is sent."""

    path: str
    """Under `/api/v1/services`."""
    body: dict[str, Any]


AT_ONCE = "aigc/multimodal-generation/generation"
"""Where newer images, and speech, are answered at once."""


def known(request: MediaRequest, family: type[F], verb: str) -> F:
    """What the model's family takes. Raises InvalidRequest for one that does other things."""
    model = request.model
    found = facts(model)
    if found is None and not is_text(model) and not is_live(model):
        found = newest(request.kind)
    if not isinstance(found, family):
        raise InvalidRequest(f"the model {model!r} does not {verb} here", param="model", code="model_cannot")
    return found


def usual(card: ModelCard, name: str, otherwise: Any = None) -> Any:
    """What is made where nobody says: as the card has it, which the operator may have changed."""
    parameter = card.parameters.get(name)
    return parameter.default if parameter else otherwise


def unable(model: str, does: tuple[Kind, ...], kind: Kind) -> InvalidRequest:
    return InvalidRequest(f"{model} does {', '.join(does)}, not {kind}", param="model", code="model_cannot")


def spelled(params: Mapping[str, Any], found: Facts) -> dict[str, Any]:
    """The caller's further parameters, known words as the vendor spells them: `1080p` is `1080P`."""
    declared = parameters(found)
    words = {name: {str(one).casefold(): one for one in parameter.allowed} for name, parameter in declared.items()}
    return {
        name: words.get(name, {}).get(value.casefold(), value) if isinstance(value, str) else value
        for name, value in params.items()
        if value is not None
    }


def nearest(known: Mapping[str, float], value: float) -> str:
    return min(known, key=lambda name: abs(log(known[name] / value)))


def breadth_of(ratio: str) -> float:
    width, height = ratio.split(":")
    return int(width) / int(height)


def written(size: Size) -> str:
    """Pixels as the vendor writes them."""
    return f"{size.width}*{size.height}"


def impossible(param: str, right: str, allowed: Iterable[str | float] = ()) -> Unsupported:
    return Unsupported(f"'{param}' must be {right}", param=param, allowed=tuple(allowed))
