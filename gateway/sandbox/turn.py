"""One turn of a conversation: what a chat body asks for, as far as the sandbox heeds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.sandbox.dice import dice
from gateway.sandbox.tools import NO_TOOLS, Messages, Toolbox, toolbox

MAX_STOPS = 4
THINKER = re.compile("reason|thinking", re.IGNORECASE)
"""Models that reason before they answer, asked or not."""

Limit = Annotated[int, msgspec.Meta(ge=1)] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """What there is to answer, and how."""

    messages: Messages
    """The whole conversation in the OpenAI shape, one message at least."""
    model: str
    seed: int
    box: Toolbox = NO_TOOLS
    form: Mapping[str, Any] | None = None
    """The `response_format` of the body."""
    thinks: bool = False
    """Whether the answer begins with its reasoning."""
    stops: tuple[str, ...] = ()
    budget: int | None = None
    """Tokens that the answer may have, reasoning and calls included."""


class _Body(msgspec.Struct):
    messages: list[dict[str, Any]]
    n: int | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    stop: str | list[str] | None = None
    max_completion_tokens: Limit = None
    max_tokens: Limit = None


def read(body: Mapping[str, Any], model: str) -> Turn:
    """The turn that a decoded chat body asks for. Raises InvalidRequest naming the field that is wrong."""
    try:
        wishes = msgspec.convert(body, _Body)
    except msgspec.ValidationError as exc:
        why, _, at = str(exc).partition(" - at `$.")
        field = at.rstrip("`") or "messages"
        raise InvalidRequest(f"'{field}': {why.replace('`', '')}", param=field) from exc
    if not wishes.messages:
        raise InvalidRequest("'messages' must hold at least one message", param="messages")
    if wishes.n not in (None, 1):
        raise InvalidRequest(f"'n' must be 1, not {wishes.n}: the sandbox gives one answer", param="n")
    return Turn(
        wishes.messages,
        model,
        _seed(wishes, model),
        _box(wishes),
        wishes.response_format,
        _thinks(wishes, model),
        _stops(wishes),
        wishes.max_tokens if wishes.max_completion_tokens is None else wishes.max_completion_tokens,
    )


def _seed(wishes: _Body, model: str) -> int:
    if wishes.seed is not None:
        return wishes.seed
    return dice(model, msgspec.json.encode(wishes.messages, order="deterministic").decode()).getrandbits(31)


def _box(wishes: _Body) -> Toolbox:
    if not wishes.tools:
        return NO_TOOLS
    return toolbox(wishes.tools, wishes.tool_choice, parallel=wishes.parallel_tool_calls is not False)


def _thinks(wishes: _Body, model: str) -> bool:
    if wishes.reasoning_effort is not None:
        return wishes.reasoning_effort != "none"
    return bool(THINKER.search(model))


def _stops(wishes: _Body) -> tuple[str, ...]:
    stops = [wishes.stop] if isinstance(wishes.stop, str) else wishes.stop or []
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(f"'stop' may hold up to {MAX_STOPS} texts, not {len(stops)}", param="stop")
    return tuple(filter(None, stops))
