"""How a caller wants its request to be treated: the fields that every generation takes, whatever it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import Adjustment, OnUnsupported, Wishes
from gateway.wire import body as wire_body

Body = Mapping[str, msgspec.Raw]

NAMES = frozenset({"on_unsupported", "max_cost", "fallback"})
POLICIES: tuple[OnUnsupported, ...] = get_args(OnUnsupported)


def wishes(body: Body) -> Wishes:
    """`on_unsupported`, `max_cost` and `fallback`. Raises InvalidRequest."""
    if not body.keys() & NAMES:
        return _NONE
    word = wire_body.text(body, "on_unsupported")
    policy = next((one for one in POLICIES if one == word), None)
    if word is not None and policy is None:
        raise InvalidRequest(f"'on_unsupported' must be one of {', '.join(POLICIES)}", param="on_unsupported")
    most = wire_body.read(body, "max_cost", float)
    if most is not None and not 0 <= most < float("inf"):
        raise InvalidRequest("'max_cost' must be a number of at least 0", param="max_cost")
    fallback = wire_body.read(body, "fallback", bool)
    return Wishes(policy, most, True if fallback is None else fallback)


_NONE = Wishes()


def adjustments_json(adjustments: Sequence[Adjustment]) -> list[dict[str, Any]]:
    return [asdict(adjustment) for adjustment in adjustments]
