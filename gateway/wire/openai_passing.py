"""A chat between two sides of the OpenAI dialect: the body as it is sent on, and the answer as it passes.

Whoever speaks the dialect upstream gives the call and the reading of refusals; what is between them is here. Source:
the OpenAI API and the servers that copy it (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import msgspec

from gateway.errors import GatewayError, StreamInterrupted, UpstreamFailed, UpstreamTimeout
from gateway.http import Answer, Reply
from gateway.sse import FrameBuffer
from gateway.types import ChatRequest, Event, Finish, Paced, Whole
from gateway.wire import openai_chat
from gateway.wire.openai_frames import PassingFrames, Seen, check_utf8, from_completion, see
from gateway.wire.retry import paced

Refused = Callable[[int, Mapping[str, str], bytes], GatewayError]
"""The error for an answer that is none, by its status, headers and body."""

GATEWAY_FIELDS = frozenset(
    {
        "chatType",
        "chatId",
        "parentId",
        "waitForCompletion",
        "message",
        "fallback",
        "webhook",
        "webhook_url",
        "webhook_events",
        "on_unsupported",
        "max_cost",
        "continue_from",
    }
)
"""Members of a body that the gateway itself reads; every other one goes to the upstream as it came."""


def body(request: ChatRequest, *, stream_usage: bool = True) -> bytes:
    """The caller's body as it is sent on. `stream_usage`: whether a stream may be asked for what it used.

    Raises InvalidRequest naming the field.
    """
    fields: dict[str, Any] = {name: raw for name, raw in request.body.items() if name not in GATEWAY_FIELDS}
    fields["model"] = request.model
    if not request.stream:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
        return msgspec.json.encode(fields)
    fields["stream"] = True
    if stream_usage and not request.include_usage:
        asked = openai_chat.read(request, "stream_options", dict[str, Any])
        fields["stream_options"] = {**(asked or {}), "include_usage": True}
    return msgspec.json.encode(fields)


async def whole(call: Callable[[], Awaitable[Reply]], refused: Refused) -> AsyncGenerator[Event]:
    """An answer that comes in one piece. `call` raises for a status that is none of success."""
    reply = await call()
    seen = _completed(reply, refused)
    yield Whole(reply.body)
    for pause in pauses(reply):
        yield pause
    if (usage := seen.measured()) is not None:
        yield usage
    yield next(iter(seen.finishes()), Finish())


async def streamed(
    open_: Callable[[], Awaitable[Answer]], refused: Refused, *, drop_usage: bool
) -> AsyncGenerator[Event]:
    """A stream, its frames as they came. `drop_usage`: nobody asked for the chunk that tells what was used.

    Raises what the upstream says, and StreamInterrupted or StreamTruncated for a stream without its end.
    """
    answer = await open_()
    frames = PassingFrames(
        lambda event: refused(200, {}, event), drop_usage=drop_usage, pause=paced(answer.headers, time.time())
    )
    try:
        with _cuts_judged(frames):
            if answer.status != 200 or answer.content_type in ("application/json", "text/html"):
                for event in frames.feed(await _as_frames(answer, refused)):
                    yield event
                return
            buffer = FrameBuffer()
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    if ready := buffer.feed(chunk):
                        for event in frames.feed(ready):
                            yield event
                        if frames.ended:
                            break
            for event in frames.end(buffer.rest()):
                yield event
        if frames.failure is not None:
            raise frames.failure
        await answer.drain()
    finally:
        answer.close()


def pauses(reply: Reply) -> Iterator[Paced]:
    """For how long the account has nothing left, where an answer's headers tell it."""
    if (seconds := paced(reply.headers, time.time())) is not None:
        yield Paced(seconds)


async def _as_frames(answer: Answer, refused: Refused) -> bytes:
    """A completion that came whole though a stream was asked for."""
    reply = Reply(answer.status, answer.headers, await answer.read())
    if reply.status != 200:
        raise refused(reply.status, reply.headers, reply.body)
    _completed(reply, refused)
    return b"".join(from_completion(reply.body))


def _completed(reply: Reply, refused: Refused) -> Seen:
    """What a whole completion tells, once it is sure to be one."""
    if reply.content_type == "text/html":
        raise refused(reply.status, reply.headers, reply.body)
    check_utf8(reply.body)
    seen = see(reply.body)
    if seen.error is not None or not seen.choices:
        raise refused(reply.status, reply.headers, reply.body)
    return seen


@contextmanager
def _cuts_judged(frames: PassingFrames) -> Iterator[None]:
    """A cut before anything passed leaves the request open to another try; one after the finish reason hurts nobody."""
    try:
        yield
    except StreamInterrupted as exc:
        if not frames.begun:
            raise UpstreamFailed("the upstream broke off before it said anything", sent="unknown") from exc
        if not frames.finished:
            raise
    except UpstreamTimeout:
        if not frames.finished:
            raise
