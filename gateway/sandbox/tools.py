"""Which of the tools that a caller offers the sandbox calls, and with what.

A tool is called where the caller requires it, or where the choice is `auto`, the last message is the user's, and it
either names the tool (its name, or every telling word of it: `get_weather` by "weather") or shares a word with its
description. All tools that are named are called, or else the one whose description fits best.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, Literal

from gateway.errors import InvalidRequest
from gateway.sandbox import schema, words
from gateway.sandbox.dice import dice

Mode = Literal["none", "auto", "required"]
Messages = Sequence[Mapping[str, Any]]
MAX_CALLS = 8

_VERBS = frozenset(
    re.findall(r"\w+", "add call create do fetch find get list lookup make my query run search send set show the")
)
_PLAIN = frozenset(
    re.findall(
        r"\w+",
        "about also and any are based call can could current data does each find for from function get give given ha "
        "have her here hi his how information into it json like list make name need not number one only other out "
        "please result return should show some string such take tell text than that the their them then there these "
        "they thi tool use used user using value want wa what when where which who why will with would write you your",
    )
)
"""Words, without a plural's s, that tell nothing about what a tool is for."""
_WORD = re.compile(r"[a-z0-9]{3,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the caller offers."""

    name: str
    description: str
    parameters: Any
    """The JSON Schema of its arguments."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools that may be called now, and whether one must be."""

    mode: Mode = "none"
    tools: tuple[Tool, ...] = ()
    parallel: bool = True
    """Whether one answer may call several."""


NO_TOOLS = Toolbox()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    id: str
    name: str
    arguments: str
    """A JSON object that is valid for the tool's parameters."""


def toolbox(tools: Sequence[Mapping[str, Any]], choice: object, *, parallel: bool = True) -> Toolbox:
    """Read `tools` and `tool_choice` of a chat body. Raises InvalidRequest naming what is wrong.

    Tools that are no functions are passed over: the sandbox cannot call them.
    """
    offered = tuple(_tool(tool, at) for at, tool in enumerate(tools) if tool.get("type", "function") == "function")
    mode, names = _choice(choice)
    if unknown := sorted(names - {tool.name for tool in offered}):
        raise InvalidRequest(f"'tool_choice' names {unknown[0]!r}, which is not among 'tools'", param="tool_choice")
    if names:
        offered = tuple(tool for tool in offered if tool.name in names)
    if mode == "required" and not offered:
        raise InvalidRequest("'tool_choice' requires a tool, but 'tools' holds no function", param="tool_choice")
    return Toolbox(mode, offered, parallel)


def _tool(tool: Mapping[str, Any], at: int) -> Tool:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise InvalidRequest(f"'tools[{at}].function.name' must be a name", param=f"tools[{at}].function.name")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(name, str(function.get("description") or ""), parameters)


def _choice(choice: object) -> tuple[Mode, frozenset[str]]:
    match choice:
        case None | "auto":
            return "auto", frozenset()
        case "none":
            return "none", frozenset()
        case "required":
            return "required", frozenset()
        case {"type": "function", "function": {"name": str(name)}}:
            return "required", frozenset({name})
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(tools)} as allowed}:
            mode: Mode = "required" if allowed.get("mode") == "required" else "auto"
            return mode, frozenset(filter(None, map(_allowed, tools)))
        case _:
            wanted = "'none', 'auto', 'required', a function or allowed tools"
            raise InvalidRequest(f"'tool_choice' must be {wanted}", param="tool_choice")


def _allowed(tool: Any) -> str:
    match tool:
        case {"function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return name
        case _:
            return ""


def calls(messages: Messages, box: Toolbox, *, seed: int) -> tuple[Call, ...]:
    """The calls that this turn makes; none where it answers with text. Raises InvalidRequest for a hopeless schema."""
    asked = last_question(messages)
    if box.mode == "none" or (box.mode == "auto" and not _open_question(messages)):
        return ()
    chosen = _fitting(asked, box.tools) or (box.tools[:1] if box.mode == "required" else ())
    chosen = chosen[: MAX_CALLS if box.parallel else 1]
    return tuple(_call(tool, asked, seed, (len(messages), at)) for at, tool in enumerate(chosen))


def results(messages: Messages) -> list[tuple[str, str]]:
    """What the tools have answered since the sandbox spoke last: the tool's name, and its words."""
    told = [*takewhile(lambda message: message.get("role") in ("tool", "function"), reversed(messages))][::-1]
    names = dict(chain.from_iterable(map(_called, messages)))
    return [
        (
            str(message.get("name") or names.get(message.get("tool_call_id")) or "tool"),
            words.content_text(message.get("content")),
        )
        for message in told
    ]


def _called(message: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The calls that a message of the assistant made: id and name."""
    made = message.get("tool_calls")
    for call in made if isinstance(made, list) else ():
        match call:
            case {"id": str(at), "function": {"name": str(name)}}:
                yield at, name


def last_question(messages: Messages) -> str:
    """The words of the last user message."""
    asked = (message.get("content") for message in reversed(messages) if message.get("role") == "user")
    return words.content_text(next(asked, ""))


def _open_question(messages: Messages) -> bool:
    """Whether the user waits for an answer, and not a front end that wants a title or tags."""
    return messages[-1].get("role") == "user" and not last_question(messages).lstrip().startswith("### Task:")


def _fitting(asked: str, tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools that the question names, else the one whose description it shares most words with."""
    said = _words(asked)
    if named := tuple(tool for tool in tools if _names(asked, said, tool)):
        return named
    shared = [len(said & (_words(tool.description) - _PLAIN)) for tool in tools]
    return (tools[shared.index(max(shared))],) if any(shared) else ()


def _names(asked: str, said: frozenset[str], tool: Tool) -> bool:
    telling = _words(_CAMEL.sub(" ", tool.name)) - _VERBS - _PLAIN
    outright = re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", asked, re.IGNORECASE)
    return bool(outright) or (bool(telling) and telling <= said)


def _words(said: str) -> frozenset[str]:
    """Words of three letters and more without a plural's s; of scripts without spaces, every pair of signs."""
    found: set[str] = set()
    for word in _WORD.findall(said.casefold().replace("_", " ")):
        if word.isascii():
            found.add(word.removesuffix("s") if len(word) > 3 else word)
        else:
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
    return frozenset(found)


def _call(tool: Tool, asked: str, seed: int, at: tuple[int, int]) -> Call:
    throw = dice("call", seed, tool.name, *at)
    try:
        arguments = schema.instance(tool.parameters, seed=throw.getrandbits(31), hint=asked)
    except ValueError as exc:
        raise InvalidRequest(
            f"nothing satisfies the parameters of the tool {tool.name!r}: {exc}", param="tools"
        ) from exc
    return Call(f"call_{throw.getrandbits(96):024x}", tool.name, json.dumps(arguments, ensure_ascii=False))
