"""A conversation as one text, for upstreams that take one message, no tools and no response formats.

Everything that such an upstream has no field for is told in words: instructions, earlier turns, tools and the format
of the answer. Calls of tools come back as a block fenced as `tool_calls`, which `CallReader` tells from the words
around it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import ChatRequest, ToolCallDelta
from gateway.wire import body as wire_body

FENCE = "```tool_calls"
TOOL_RULES = f"""You can call tools. To call some, end your answer with one block just like this, and nothing after it:
{FENCE}
{{"tool_calls": [{{"name": "<name of a tool>", "arguments": {{<its arguments>}}}}]}}
```
You get the results in the next message. Where no tool is needed, answer without such a block."""
GO_ON = "Go on from the end of the conversation above."
JSON_ONLY = "and nothing else, without a code fence"


class _Part(msgspec.Struct):
    type: str = "text"
    text: str | None = None


class _Called(msgspec.Struct):
    name: str
    arguments: Any = None
    """A text that holds JSON, from clients; JSON itself, from models."""


class _Call(msgspec.Struct):
    function: _Called
    id: str = ""


class _Turn(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    def words(self) -> str:
        """Its words alone: what else the last turn holds goes to the upstream beside the text."""
        if not isinstance(self.content, list):
            return self.content or ""
        return "\n".join(part.text or "" for part in self.content if part.type == "text")

    def text(self) -> str:
        """Its words, and the kinds of the parts that are none."""
        parts = self.content if isinstance(self.content, list) else []
        unseen = (f"[{part.type}]" for part in parts if part.type != "text")
        return "\n".join(filter(None, (self.words(), *unseen)))


class _Function(msgspec.Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: dict[str, Any] | None = None


def flatten(request: ChatRequest) -> str:
    """The conversation in one message: instructions, what was said so far, then what is to be answered.

    A single turn of a user with no instructions goes as it is. Where the conversation goes on at the upstream
    (`request.chat`) it holds what came before, so only what followed the last answer is told: the last turn of the
    user, or the results of tools. Raises InvalidRequest for a body that cannot be read or holds no turn to answer.
    """
    turns = wire_body.need(request.body, "messages", list[_Turn])
    names = {call.id: call.function.name for turn in turns for call in turn.tool_calls or ()}
    system = [turn.words() for turn in turns if turn.role in ("system", "developer")]
    said = [turn for turn in turns if turn.role not in ("system", "developer")]
    if request.chat is not None:
        system, said = [], _since_the_last_answer(said)
    if not said:
        raise InvalidRequest("'messages' must hold a turn that can be answered", param="messages")
    rules = list(_rules(request))
    asked = said.pop().words() if said[-1].role == "user" else GO_ON
    if not (system or rules or said):
        return asked
    told = "\n\n".join(_told(turn, names) for turn in said)
    instructions = "\n\n".join((*system, *rules))
    sections = (("Instructions", instructions), ("Conversation so far", told), ("Answer this message", asked))
    return "\n\n".join(f"# {title}\n{text}" for title, text in sections if text)


def tool_names(request: ChatRequest) -> frozenset[str]:
    """The tools that the answer may call. Raises InvalidRequest."""
    return frozenset(tool.name for tool in _tools(request))


class CallReader:
    """Tells the tool calls in an answer's text from the words around them. With no names every text is words."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held = ""
        self._inside = False

    def add(self, text: str) -> str:
        """The words that certainly belong to no call."""
        if not self._names:
            return text
        self._held += text
        if self._inside:
            return ""
        at = self._held.find(FENCE)
        self._inside = at >= 0
        if not self._inside:
            begun = next(size for size in range(len(FENCE) - 1, -1, -1) if self._held.endswith(FENCE[:size]))
            at = len(self._held) - begun
        at = len(self._held[:at].rstrip())
        said, self._held = self._held[:at], self._held[at:]
        return said

    def rest(self) -> tuple[str, list[ToolCallDelta]]:
        """At the end: words that were held back, and the calls. A block that cannot be read stays words."""
        try:
            calls = [call for block in self._held.split(FENCE)[1:] for call in _calls(block)]
        except (ValueError, msgspec.ValidationError):
            return self._held, []
        if not calls or any(call.name not in self._names for call in calls):
            return self._held, []
        return "", [
            ToolCallDelta(index, f"call_{uuid4().hex}", call.name, _json(_decoded(call.arguments) or {}))
            for index, call in enumerate(calls)
        ]


def _calls(block: str) -> list[_Called]:
    """What follows a fence: an object with `tool_calls`, a list of calls or one call. Line breaks in strings pass."""
    value, _ = json.JSONDecoder(strict=False).raw_decode(block.lstrip())
    listed = value.get("tool_calls", [value]) if isinstance(value, dict) else value
    return msgspec.convert(listed, list[_Called])


def _since_the_last_answer(turns: list[_Turn]) -> list[_Turn]:
    answered = max((at for at, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    tail = turns[answered + 1 :]
    return tail if any(turn.role != "user" for turn in tail) else tail[-1:]


def _told(turn: _Turn, names: dict[str, str]) -> str:
    match turn.role:
        case "tool" | "function":
            return f"Tool ({names.get(turn.tool_call_id or '') or turn.name or 'unnamed'}): {turn.text()}"
        case "assistant" if turn.tool_calls:
            calls = [
                {"name": call.function.name, "arguments": _decoded(call.function.arguments)} for call in turn.tool_calls
            ]
            return f"Assistant: {turn.text()}\n{FENCE}\n{_json({'tool_calls': calls})}\n```"
        case role:
            return f"{role.capitalize()}: {turn.text()}"


def _rules(request: ChatRequest) -> Iterator[str]:
    """What the upstream has no field for, in words."""
    if tools := _tools(request):
        yield _tool_rules(request, tools)
    wanted = wire_body.read(request.body, "response_format", _Format)
    if wanted and wanted.type == "json_object":
        yield f"Answer with one JSON object {JSON_ONLY}."
    if wanted and wanted.type == "json_schema":
        schema = (wanted.json_schema or {}).get("schema")
        yield f"Answer with one JSON value {JSON_ONLY}, valid by this schema:\n{_json(schema or {})}"


def _tool_rules(request: ChatRequest, tools: Sequence[_Function]) -> str:
    choice = _choice(request)
    rules = [TOOL_RULES]
    if isinstance(choice, _Tool) and choice.function:
        rules.append(f"Call the tool {choice.function.name} now.")
    if choice == "required":
        rules.append("Call at least one tool now.")
    if wire_body.read(request.body, "parallel_tool_calls", bool) is False:
        rules.append("Call one tool at most.")
    listed = "\n".join(_json(msgspec.to_builtins(tool)) for tool in tools)
    return f"{' '.join(rules)}\nThe tools:\n{listed}"


def _tools(request: ChatRequest) -> list[_Function]:
    """The functions that the model may call."""
    if _choice(request) == "none":
        return []
    tools = wire_body.read(request.body, "tools", list[_Tool]) or []
    return [tool.function for tool in tools if tool.type == "function" and tool.function]


def _choice(request: ChatRequest) -> str | _Tool | None:
    choice: str | _Tool | None = wire_body.read_any(request.body, "tool_choice", str | _Tool)
    return choice


def _decoded(arguments: Any) -> Any:
    """Arguments as JSON; as they are where they hold none."""
    try:
        return json.loads(arguments)
    except (TypeError, ValueError):
        return arguments


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
