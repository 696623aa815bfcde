"""Text: the vendor's OpenAI-compatible side, relayed as every other one is, with the vendor's own codes read.

What of the models is open source tells what it thinks only in streams: asked without one it is streamed all the same,
and the answer is gathered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from gateway import sse
from gateway.errors import GatewayError
from gateway.http import Outbound
from gateway.types import Account, ChatRequest, Event, Frame, ReasoningDelta, TextDelta, ToolCallDelta
from gateway.upstreams.dashscope import failures
from gateway.upstreams.dashscope.models import streams_only
from gateway.upstreams.dashscope.site import headers, root
from gateway.upstreams.openai_compatible import CompatibleOptions, OpenAICompatible, _Way
from gateway.wire import openai_chat

DOORS_KEPT = 1024


class Dialect(OpenAICompatible):
    """Not a provider of its own: its `chat` is another's. Accounts come with the vendor's host for their base URL."""

    type_name = ""

    def __init__(self, name: str, http: Outbound) -> None:
        super().__init__(name, CompatibleOptions(), http)
        self._doors: dict[tuple[str, str, str, Any], _Way] = {}

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        if request.stream or not streams_only(request.model) or _thinks_not(request):
            return super().chat(request, account)
        return self._gathered(msgspec.structs.replace(request, stream=True), account)

    async def _gathered(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        async with aclosing(super().chat(request, account)) as events:
            async for event in events:
                if not isinstance(event, Frame):
                    yield event
                    continue
                for told in _told(event.data):
                    yield told

    def _error(self, account: Account, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return failures.refused(status, headers, body, account.credential)

    def _way(self, account: Account) -> _Way:
        key = (account.id, account.credential, account.base_url, account.options)
        found = self._doors.get(key)
        if found is None:
            if len(self._doors) >= DOORS_KEPT:
                self._doors.clear()
            found = self._doors[key] = self._door(account)
        return found

    def _door(self, account: Account) -> _Way:
        way = super()._way(replace(account, base_url=f"{root(account.base_url)}/compatible-mode/v1"))
        more = headers(account)
        return replace(way, bare={**way.bare, **more}, json={**way.json, **more})


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


def _told(frames: bytes) -> Iterator[Event]:
    """What chunks say, of the first answer where there are several. Every one of them was understood before."""
    for event in sse.parse(frames):
        for choice in msgspec.json.decode(event.data, type=_Chunk).choices or ():
            if choice.index == 0 and choice.delta:
                yield from _said(choice.delta)


def _said(delta: _Delta) -> Iterator[Event]:
    if delta.reasoning_content:
        yield ReasoningDelta(delta.reasoning_content)
    if delta.content:
        yield TextDelta(delta.content)
    for call in delta.tool_calls or ():
        function = call.function or _Function()
        yield ToolCallDelta(call.index, call.id or None, function.name or None, function.arguments or "")


def _thinks_not(request: ChatRequest) -> bool:
    return "enable_thinking" in request.body and openai_chat.read(request, "enable_thinking", bool) is False
