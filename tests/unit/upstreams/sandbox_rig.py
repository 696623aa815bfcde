"""A sandbox at hand: no waiting, a clock that stands, requests in one line."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from PIL import Image

from gateway.http import Outbound
from gateway.types import Account, ChatRequest, Event, Media, MediaReady, Size, VideoRequest
from gateway.upstreams.sandbox import Sandbox, SandboxAccount, SandboxOptions

ACCOUNT = Account(id="sandbox/a", name="a", upstream="sandbox")
TINY = Size("1:1", 64, 64)
NOON = 43_200.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sandbox(clock: Clock | None = None, **options: float) -> Sandbox:
    upstream = Sandbox("sandbox", SandboxOptions(**{"chunk_delay": 0, "image_seconds": 0, **options}), Outbound())
    upstream.clock = clock or Clock()
    return upstream


def faulty(fault: str, name: str = "a") -> Account:
    return Account(id=f"sandbox/{name}", name=name, upstream="sandbox", options=SandboxAccount(fault=fault))


def asking(said: str = "Why is the sea salty?", *, fault: str = "", stream: bool = True, **body: Any) -> ChatRequest:
    whole = {"messages": [{"role": "user", "content": said}], **body}
    raw = msgspec.json.decode(msgspec.json.encode(whole), type=dict[str, msgspec.Raw])
    return ChatRequest("sandbox-chat", raw, stream=stream, hints=hints(fault))


def hints(fault: str) -> dict[str, str]:
    return {"x-sandbox-fault": fault} if fault else {}


def filming(fault: str = "", **fields: Any) -> VideoRequest:
    return VideoRequest("sandbox-video", "a red fox", **{"size": TINY, "seconds": 1, "hints": hints(fault), **fields})


def data_url(colour: str = "red", side: int = 32) -> str:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


async def all_of(events: AsyncGenerator[Event]) -> list[Event]:
    return [event async for event in events]


async def media_of(events: AsyncGenerator[Event]) -> Media:
    return next(event.media for event in await all_of(events) if isinstance(event, MediaReady))


def opened(media: Media) -> Image.Image:
    assert media.data is not None
    return Image.open(io.BytesIO(media.data))
