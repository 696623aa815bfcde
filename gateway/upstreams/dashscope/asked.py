"""What every request has in common on its way out: its address, the caller's parameters, and how a no is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any, TypeVar, assert_never

from gateway.errors import InvalidRequest
from gateway.types import Kind
from gateway.upstreams.dashscope.models import OWN, SEED_MAX, Facts, Film, Parameter, facts

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is sent."""

    path: str
    """Under `/api/v1/services`."""
    body: dict[str, Any]


AT_ONCE = "aigc/multimodal-generation/generation"
"""Where newer images, and speech, are answered at once."""


def known(model: str, kind: type[F], verb: str) -> F:
    """What the model's family takes. Raises InvalidRequest for one that does other things."""
    found = facts(model)
    if not isinstance(found, kind):
        raise InvalidRequest(f"the model {model!r} does not {verb} here", param="model", code="model_cannot")
    return found


def unable(model: str, does: tuple[Kind, ...], kind: Kind) -> InvalidRequest:
    return InvalidRequest(f"{model} does {', '.join(does)}, not {kind}", param="model", code="model_cannot")


def checked(params: Mapping[str, Any], found: Facts) -> dict[str, Any]:
    """The vendor's own parameters that the caller gave and the model takes. Raises InvalidRequest for a wrong one."""
    declared: dict[str, Parameter] = {name: OWN[name] for name in found.own}
    if isinstance(found, Film):
        declared["resolution"] = Parameter("string", found.lines)
    return {
        name: _right(name, params[name], parameter)
        for name, parameter in declared.items()
        if params.get(name) is not None
    }


def _right(name: str, value: Any, parameter: Parameter) -> Any:
    match parameter.type:
        case "boolean":
            right, wanted = isinstance(value, bool), "true or false"
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            right = whole and (parameter.least or 0) <= value <= (parameter.most or value)
            wanted = f"a whole number from {parameter.least} to {parameter.most}"
        case "string":
            if parameter.allowed and isinstance(value, str):
                value = next((one for one in parameter.allowed if str(one).lower() == value.lower()), value)
            right = value in parameter.allowed if parameter.allowed else isinstance(value, str)
            right = right and (parameter.most is None or len(value) <= parameter.most)
            wanted = ", ".join(map(str, parameter.allowed)) or f"a string of at most {parameter.most} characters"
        case "url":
            right, wanted = _is_url(value), "an http(s) URL"
        case "urls":
            right = isinstance(value, list) and 0 < len(value) <= (parameter.most or 1) and all(map(_is_url, value))
            wanted = f"1 to {parameter.most} http(s) URLs"
        case never:
            assert_never(never)
    if not right:
        raise impossible(name, wanted)
    return value


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def seeded(seed: int | None) -> dict[str, int]:
    if seed is None:
        return {}
    if not 0 <= seed <= SEED_MAX:
        raise impossible("seed", f"a whole number from 0 to {SEED_MAX}")
    return {"seed": seed}


def nearest(known: Mapping[str, float], value: float) -> str:
    return min(known, key=lambda name: abs(log(known[name] / value)))


def breadth_of(ratio: str) -> float:
    width, height = ratio.split(":")
    return int(width) / int(height)


def impossible(param: str, right: str) -> InvalidRequest:
    return InvalidRequest(f"'{param}' must be {right}", param=param)
