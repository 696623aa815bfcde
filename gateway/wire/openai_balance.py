"""What an account has left, as servers of the OpenAI dialect tell it: each in a shape of its own, under its own path.

OpenAI itself tells nobody. Known shapes, with or without `data` around them: `total_credits` and `total_usage`;
`limit_remaining`, null where the key has no limit; a number called `balance` or the like; `balance_infos`, one for each
currency. Sources: OpenRouter's and DeepSeek's API references (2026-11-20).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import UpstreamGarbled
from gateway.types import Balance

_LEFT = ("balance", "available_balance", "total_balance", "totalBalance", "credit_balance", "remaining", "credits")
"""Names of what is left; the first one that is told counts."""
_UNITS = ("currency", "unit")
CREDITS = "credits"
"""The unit of an amount that comes without one."""


def balance(body: bytes) -> Balance:
    """What an answer tells. The detail holds its numbers only: words may be names of people and keys.

    Raises UpstreamGarbled where no amount is found.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        found = None
    told = _held(found)
    amount, known = _amount(told)
    if not known:
        raise UpstreamGarbled("the upstream's answer tells no balance", detail=f"members: {', '.join(told)}"[:300])
    unit = next((told[name] for name in _UNITS if isinstance(told.get(name), str) and told[name]), CREDITS)
    numbers = {name: number for name, value in told.items() if (number := _number(value)) is not None}
    return Balance(amount, unit[:20], numbers)


def _held(found: Any) -> Mapping[str, Any]:
    """The object that holds the amount. Of several currencies the first one counts, dollars before others."""
    if isinstance(found, dict) and isinstance(found.get("data"), dict):
        found = found["data"]
    infos = found.get("balance_infos") if isinstance(found, dict) else None
    if isinstance(infos, list):
        usable = [info for info in infos if isinstance(info, dict)]
        found = min(usable, key=lambda info: info.get("currency") != "USD", default=None)
    return found if isinstance(found, dict) else {}


def _amount(told: Mapping[str, Any]) -> tuple[float | None, bool]:
    """The amount, and whether one was told: None is told by a key without a limit."""
    bought, spent = _number(told.get("total_credits")), _number(told.get("total_usage"))
    if bought is not None and spent is not None:
        return bought - spent, True
    if "limit_remaining" in told:
        left = _number(told["limit_remaining"])
        return left, left is not None or told["limit_remaining"] is None
    left = next((number for name in _LEFT if (number := _number(told.get(name))) is not None), None)
    return left, left is not None


def _number(value: object) -> float | None:
    """A number, also one that comes as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
