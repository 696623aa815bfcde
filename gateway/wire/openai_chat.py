"""The OpenAI chat dialect: a body to a ChatRequest, events to a `chat.completion` or to chunks.

Source: the clients themselves (openai-python 1 to 3, openai-node 4 and 7, AI SDK 5 and 7, LangChain, Open WebUI),
2026-11-20. What of it is not obvious: a chunk stream ends with a finish reason and then `[DONE]`; the usage chunk has
`choices: []` and comes only where it was asked for; reasoning travels as `reasoning_content` alone; an error in the
stream is an object with `error` and no `choices`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import (
    ChatRequest,
    Event,
    Finish,
    Frame,
    Media,
    MediaReady,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    Whole,
)
from gateway.wire import body as wire_body

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"
TICKS_A_DOLLAR = 1e10
MOST_TOLD = 1e9
"""Dollars. Who tells more for a request tells nonsense."""

_encode = msgspec.json.Encoder().encode


class _Turn(msgspec.Struct):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """What every chunk of an answer repeats."""

    id: str
    created: int
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further top-level members: `response_id`, `chatId` …"""


# --- coming in ---


def parse(body: Mapping[str, msgspec.Raw]) -> ChatRequest:
    """A chat body, checked as far as the gateway reads it. Raises InvalidRequest naming the field."""
    turns = wire_body.need(body, "messages", list[_Turn])
    if not turns:
        raise InvalidRequest("'messages' must hold at least one message", param="messages")
    stream = body.get("stream")
    options = wire_body.read(body, "stream_options", _StreamOptions) if stream is not None else None
    return ChatRequest(
        model=wire_body.text(body, "model") or "",
        body=body,
        stream=bool(wire_body.read(body, "stream", bool)) if stream is not None else False,
        include_usage=options is not None and options.include_usage,
    )


def read(request: ChatRequest, name: str, as_type: type[T]) -> T | None:
    """One field of the caller's body, decoded. Raises InvalidRequest naming it."""
    return wire_body.read(request.body, name, as_type)


def messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The whole conversation as sent."""
    return wire_body.need(request.body, "messages", list[dict[str, Any]])


def text(content: Any) -> str:
    """The words of a message's content: a string, or its text parts one after the other."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type", "text") == "text"]
    return "\n".join(part for part in parts if isinstance(part, str))


def images(content: Any) -> list[str]:
    """The URLs (http or data) of the image parts of a message's content."""
    if not isinstance(content, list):
        return []
    found = (part.get("image_url") for part in content if isinstance(part, dict) and part.get("type") == "image_url")
    urls = (url.get("url") if isinstance(url, dict) else url for url in found)
    return [url for url in urls if isinstance(url, str)]


def asked(request: ChatRequest) -> str:
    """The words of the caller's last message, without NUL, which no database takes."""
    turns = (turn for turn in reversed(messages(request)) if turn.get("role") == "user")
    last: dict[str, Any] = next(turns, {})
    return text(last.get("content")).replace("\0", "")


def to_be_kept(request: ChatRequest, otherwise: bool) -> bool:
    """Whether the answer is to become an asset: as `store` says, where it says anything."""
    wanted = read(request, "store", bool) if "store" in request.body else None
    return otherwise if wanted is None else wanted


def usage(data: Mapping[str, Any]) -> Usage:
    """An OpenAI usage object; what is missing counts as 0."""
    cost = told_cost(data)
    return Usage(
        input_tokens=_count(data, "prompt_tokens") or _count(data, "input_tokens"),
        output_tokens=_count(data, "completion_tokens") or _count(data, "output_tokens"),
        cached_tokens=_count(data.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(data.get("completion_tokens_details"), "reasoning_tokens"),
        cost=cost,
        currency="" if cost is None else "USD",
    )


def told_cost(data: Mapping[str, Any]) -> float | None:
    """What a usage object says that it cost, in US dollars: resellers do, in dollars or in ticks."""
    for name, in_dollars in (("cost", 1.0), ("cost_in_usd_ticks", TICKS_A_DOLLAR)):
        value = data.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST_TOLD * in_dollars:
            return value / in_dollars
    return None


# --- going out ---


def usage_json(usage: Usage) -> dict[str, Any]:
    """A usage object for a chat answer."""
    shown: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        shown["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return shown


def markdown(media: Media) -> str:
    """Media in the text of a chat, as front ends show it: an image inline, the rest as a link to play."""
    return f"{'!' if media.family == 'image' else ''}[{media.family}]({media.url})"


def bare_url(media: Media) -> str:
    return media.url or ""


async def chunks(
    events: AsyncIterator[Event],
    heading: Heading,
    *,
    include_usage: bool,
    show: Callable[[Media], str] = markdown,
    progress: bool = False,
) -> AsyncGenerator[bytes]:
    """Events as SSE frames, ready to send, without the closing `[DONE]`. Frames pass through as they are.

    `progress`: chunks without a choice that tell `progress` in percent, for callers that asked for them.
    """
    head = _head(heading, "chat.completion.chunk")
    usage: Usage | None = None
    begun = passed = False
    async for event in events:
        if type(event) is Frame:
            passed = True
            yield event.data
            continue
        if type(event) is Usage:
            usage = event
            continue
        if progress and type(event) is Progress:
            yield b"data: " + _encode({**head, "choices": [], "progress": round(event.percent, 1)}) + b"\n\n"
            continue
        delta, reason = _delta(event, show)
        if passed or (delta is None and reason is None):
            continue
        if not begun:
            begun = True
            yield _frame(head, {"role": "assistant", "content": ""}, None)
        yield _frame(head, delta or {}, reason)
    if include_usage and not passed:
        yield b"data: " + _encode({**head, "choices": [], "usage": usage_json(usage or Usage())}) + b"\n\n"


@dataclass
class Folded:
    """An answer gathered from its events."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    media: list[Media] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    reason: str = "stop"
    whole: bytes | None = None

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self.text.append(text)
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ToolCallDelta():
                self._call(event)
            case MediaReady(media):
                self.media.append(media)
            case Usage():
                self.usage = event
            case Finish(reason):
                self.reason = reason
            case Whole(body):
                self.whole = body
            case _:
                pass

    def _call(self, delta: ToolCallDelta) -> None:
        call = self.tool_calls.setdefault(
            delta.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = delta.id or call["id"]
        call["function"]["name"] = delta.name or call["function"]["name"]
        call["function"]["arguments"] += delta.arguments


async def fold(events: AsyncIterator[Event]) -> Folded:
    """Gather a stream: the answer of a request that does not stream."""
    folded = Folded()
    async for event in events:
        folded.add(event)
    return folded


def completion(folded: Folded, heading: Heading, show: Callable[[Media], str] = markdown) -> bytes:
    """A `chat.completion`. One that came whole goes on as it came, with `heading.extra` added where there is any."""
    if folded.whole is not None:
        return _extended(folded.whole, heading.extra)
    content = "".join(folded.text) + "\n".join(map(show, folded.media))
    message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
    if not folded.tool_calls:
        message["content"] = content
    else:
        message["tool_calls"] = [folded.tool_calls[index] for index in sorted(folded.tool_calls)]
    if folded.reasoning:
        message["reasoning_content"] = "".join(folded.reasoning)
    choice = {"index": 0, "message": message, "finish_reason": folded.reason, "logprobs": None}
    return _encode(
        {**_head(heading, "chat.completion"), "choices": [choice], "usage": usage_json(folded.usage)},
    )


def error_frame(body: bytes) -> bytes:
    """A failure after the stream began: no `choices` beside it, no `[DONE]` after it."""
    return b"data: " + body + b"\n\n"


def said(event: Event) -> str:
    """The text that an event adds to an answer."""
    match event:
        case TextDelta(text):
            return text
        case Frame(data):
            return frame_text(data)
        case Whole(body):
            return answer_text(body)
        case _:
            return ""


def answer_text(whole: bytes) -> str:
    """The text of a `chat.completion` that came whole."""
    try:
        return text(msgspec.json.decode(whole)["choices"][0]["message"]["content"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def frame_text(data: bytes) -> str:
    """The text that frames of the OpenAI dialect add to an answer."""
    found = []
    for line in data.split(b"\n"):
        if line.startswith(b"data: {"):
            try:
                found.append(text(msgspec.json.decode(line[6:])["choices"][0]["delta"].get("content")))
            except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
                continue
    return "".join(found)


def extra_frame(heading: Heading) -> bytes:
    """A chunk without a choice that carries `heading.extra` after a stream that passed through."""
    return b"data: " + _encode({**_head(heading, "chat.completion.chunk"), "choices": []}) + b"\n\n"


def _delta(event: Event, show: Callable[[Media], str]) -> tuple[dict[str, Any] | None, str | None]:
    match event:
        case TextDelta(text):
            return {"content": text}, None
        case ReasoningDelta(text):
            return {"reasoning_content": text}, None
        case ToolCallDelta():
            return {"tool_calls": [_tool_call(event)]}, None
        case MediaReady(media):
            return {"content": show(media) + "\n"}, None
        case Finish(reason):
            return None, reason
        case _:
            return None, None


def _tool_call(delta: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": delta.arguments}
    if delta.name is not None:
        function["name"] = delta.name
    call: dict[str, Any] = {"index": delta.index, "function": function}
    if delta.id is not None:
        call |= {"id": delta.id, "type": "function"}
    return call


def _head(heading: Heading, object_: str) -> dict[str, Any]:
    return {
        "id": heading.id,
        "object": object_,
        "created": heading.created,
        "model": heading.model,
        **heading.extra,
    }


def _frame(head: dict[str, Any], delta: dict[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + _encode({**head, "choices": [choice]}) + b"\n\n"


def _extended(whole: bytes, extra: Mapping[str, Any]) -> bytes:
    if not extra:
        return whole
    return _encode({**msgspec.json.decode(whole), **extra})


def _count(data: Any, name: str) -> int:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, int) and value > 0 else 0
