"""What the sandbox says in a conversation: a text, JSON of an asked shape, or calls of the tools it was given."""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.errors import InvalidRequest
from gateway.sandbox import schema, words
from gateway.sandbox.tools import Call, calls, last_question, results
from gateway.sandbox.turn import Turn


@dataclass(frozen=True, slots=True)
class Answer:
    """One turn's answer: a text or calls, never both."""

    reasoning: str
    text: str
    calls: tuple[Call, ...]
    finish: Literal["stop", "length", "tool_calls"]
    input_tokens: int
    output_tokens: int
    """Of everything said, the reasoning too."""
    reasoning_tokens: int


def answer(turn: Turn) -> Answer:
    """The answer of a turn, always the same one. Raises InvalidRequest for a shape or schema that cannot be met."""
    made = calls(turn.messages, turn.box, seed=turn.seed)
    reasoning = words.reasoning(turn.messages, seed=turn.seed) if turn.thinks else ""
    said = "" if made else before(_said(turn), turn.stops)
    whole = [reasoning, said, *(call.arguments for call in made)]
    kept = within(whole, turn.budget)
    short = (replace(call, arguments=arguments) for call, arguments in zip(made, kept[2:], strict=True))
    return Answer(
        kept[0],
        kept[1],
        tuple(call for call in short if call.arguments),
        "length" if kept != whole else "tool_calls" if made else "stop",
        input_tokens=sum(words.tokens(words.content_text(message.get("content"))) for message in turn.messages),
        output_tokens=sum(map(words.tokens, kept)),
        reasoning_tokens=words.tokens(kept[0]),
    )


def within(parts: Sequence[str], budget: int | None) -> list[str]:
    """The parts, one after the other, until the budget (tokens) is spent."""
    kept = []
    for part in parts:
        kept.append(_clipped(part, budget))
        budget = None if budget is None else budget - words.tokens(kept[-1])
    return kept


def before(said: str, stops: Sequence[str]) -> str:
    """What comes before the first of the stop sequences."""
    found = [at for stop in stops if (at := said.find(stop)) >= 0]
    return said[: min(found)] if found else said


def _said(turn: Turn) -> str:
    form = turn.form or {}
    match form.get("type", "text"):
        case "text":
            return _text(turn)
        case "json_object":
            return _json({"question": last_question(turn.messages), "answer": _text(turn)})
        case "json_schema":
            return _json(_shaped(form, turn))
        case other:
            known = "text, json_object and json_schema"
            raise InvalidRequest(f"'response_format' has no type {other!r}: there are {known}", param="response_format")


def _text(turn: Turn) -> str:
    said = words.answer(turn.messages, seed=turn.seed, model=turn.model)
    told = [f"{name} → {content}" for name, content in results(turn.messages)]
    return "\n\n".join([*told, said])


def _shaped(form: Mapping[str, Any], turn: Turn) -> Any:
    named = form.get("json_schema")
    wanted = named.get("schema") if isinstance(named, dict) else None
    where = "response_format.json_schema.schema"
    if not isinstance(wanted, dict):
        raise InvalidRequest(f"'{where}' must be a JSON Schema", param=where)
    try:
        return schema.instance(wanted, seed=turn.seed, hint=last_question(turn.messages))
    except ValueError as exc:
        raise InvalidRequest(f"nothing satisfies '{where}': {exc}", param=where) from exc


def _clipped(said: str, budget: int | None) -> str:
    if budget is None or words.tokens(said) <= budget:
        return said
    return said[: bisect.bisect_right(range(1, len(said) + 1), budget, key=lambda end: words.tokens(said[:end]))]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
