"""/v1/images/generations: images without a chat around them."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import GatewayError, InvalidRequest
from gateway.live import EventStream
from gateway.routes.answers import begun, linked, openai_error, relayed_by, work
from gateway.routes.choosing import choose
from gateway.routes.continuing import continued
from gateway.routes.house import Answer, connected, hints_of, house_of, read_body
from gateway.routes.once import making
from gateway.types import Event, Input, Kind, Media, MediaReady, PartialImage, Usage
from gateway.wire import body as wire_body
from gateway.wire import native
from gateway.wire.openai_chat import Folded, fold
from gateway.wire.wishes import adjustments_json, wishes


async def generate(request: Request) -> Answer | EventStream:
    """POST /v1/images/generations"""
    body = await continued(request, wire_body.decode(await read_body(request)), in_chat=False, kind="t2i")
    prompt = wire_body.need(body, "prompt", str)
    model = wire_body.text(body, "model") or ""
    as_url = _wants_url(body)
    wanted = wishes(body)
    found = tuple(map(Input, wire_body.read(body, "files", list[str]) or ())) if "continue_from" in body else ()
    kind: Kind = "i2i" if found else "t2i"
    choice = await choose(request, model, kind, fallback=wanted.fallback)
    what = native.image_request(choice.filled(body), kind, model, prompt, found, hints_of(request))
    candidates = house_of(request).choosing.in_order(choice.candidates, what, wanted)
    with connected(request):
        async with making(request, paid=True):
            relayed = await house_of(request).relay.open(work(request, kind, what, candidates, wanted))
    headers = relayed_by(request, relayed)
    events = linked(request, relayed, aiter(relayed))
    if wire_body.read(body, "stream", bool):
        begun(request, relayed)
        failed = partial(_error_frame, request)
        return EventStream(
            _frames(events), house_of(request).drain, error_frame=failed, headers=headers, source=relayed
        )
    with connected(request):
        async with aclosing(events):
            folded = await fold(events)
    return Answer(_answer(folded, as_url, adjustments_json(relayed.adjustments)), headers=headers)


def _wants_url(body: native.Body) -> bool:
    found = wire_body.read(body, "response_format", str) or "b64_json"
    if found not in ("url", "b64_json"):
        raise InvalidRequest("'response_format' must be 'url' or 'b64_json'", param="response_format")
    return found == "url"


def _answer(folded: Folded, as_url: bool, adjustments: list[dict[str, Any]]) -> bytes:
    shown = {
        "created": int(time.time()),
        "data": [_image(media, as_url) for media in folded.media],
        "usage": _usage(folded.usage),
    }
    return msgspec.json.encode({**shown, "adjustments": adjustments} if adjustments else shown)


def _image(media: Media, as_url: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"url": media.url} if as_url else {"b64_json": _b64(media.data)}
    if media.revised_prompt:
        shown["revised_prompt"] = media.revised_prompt
    return shown


async def _frames(events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
    """Partial images as they come, then each image, in the event names of the images API."""
    usage = Usage()
    made: list[Media] = []
    async for event in events:
        match event:
            case PartialImage():
                yield _frame("partial_image", b64_json=_b64(event.data), partial_image_index=event.index)
            case MediaReady(media):
                made.append(media)
            case Usage():
                usage = event
            case _:
                pass
    for media in made:
        yield _frame("completed", b64_json=_b64(media.data), url=media.url, usage=_usage(usage))


def _frame(event: str, **members: Any) -> bytes:
    name = f"image_generation.{event}"
    body = {"type": name, "created_at": int(time.time()), **members}
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


def _error_frame(request: Request, error: GatewayError) -> bytes:
    inner = msgspec.json.decode(openai_error(request, error))
    return b"event: error\ndata: " + msgspec.json.encode({"type": "error", **inner}) + b"\n\n"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_details": {"text_tokens": usage.input_tokens, "image_tokens": 0},
    }


def _b64(data: bytes | None) -> str:
    return base64.b64encode(data or b"").decode()
