"""The provider, its emulator and an account; and what tests look for in events and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from gateway.catalog.fitting import fit
from gateway.http import Outbound, Timeouts
from gateway.types import (
    Account,
    ChatRequest,
    Event,
    Fitted,
    ImageRequest,
    Input,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    MediaRequest,
    ModelCard,
    OnUnsupported,
    VideoRequest,
)
from gateway.upstreams.ark import Ark
from gateway.upstreams.base import Options
from tests.emulators.ark import API, KEY, PRO, SEED, ArkSite, Cut, image
from tests.emulators.serving import serve

OTHER = "ark-emulator-key-0002-bbbb"
MARK = 0x5EED_1234
EXPIRY = 3600 + MARK % 82_800
PICTURE = image()
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"

R = TypeVar("R", ImageRequest, VideoRequest)


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    site: ArkSite
    clock: Clock
    ark: Ark
    account: Account

    async def submit(self, model: str = PRO, prompt: str = "waves at dusk", **fields: Any) -> Job:
        """As the gateway does it: fitted first."""
        fitted = fitting(asking(model, prompt, **fields), self.ark)
        return await self.ark.submit(made(fitted, VideoRequest), self.account)

    async def poll(self, job: Job) -> JobUpdate:
        return await self.ark.poll(job, self.account)

    async def find(self, request: VideoRequest, since: float | None = None) -> Job | None:
        return await self.ark.find(request, self.clock.now if since is None else since, self.account)

    async def paint(self, model: str, prompt: str = "a cat", **fields: Any) -> list[Event]:
        return [event async for event in self.painting(model, prompt, **fields)]

    async def painting(self, model: str, prompt: str = "a cat", **fields: Any) -> AsyncIterator[Event]:
        """Each event as it comes."""
        if fields.get("inputs"):
            fields.setdefault("kind", "i2i")
        request = made(fitting(ImageRequest(model, prompt, **fields), self.ark), ImageRequest)
        async for event in self.ark.image(request, self.account):
            yield event

    async def say(self, prompt: str = "Tell me of kites", stream: bool = True, **body: Any) -> list[Event]:
        fields = {"model": SEED, "messages": [{"role": "user", "content": prompt}], "stream": stream, **body}
        raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        wants = bool((body.get("stream_options") or {}).get("include_usage"))
        asked = ChatRequest(fields["model"], raw, stream=stream, include_usage=wants)
        return [event async for event in self.ark.chat(asked, self.account)]

    @property
    def sent(self) -> dict[str, Any]:
        return self.site.creates[-1].body

    @property
    def painted(self) -> dict[str, Any]:
        return self.site.paints[-1]


@asynccontextmanager
async def living() -> AsyncIterator[House]:
    clock = Clock()
    site = ArkSite((KEY, OTHER), clock=clock, queued_seconds=10, running_seconds=50)
    http = Outbound(Timeouts(idle=5))
    await http.start()
    async with serve(site.app) as url:
        account = Account("ark/a", "a", "ark", credential=KEY, base_url=url + API)
        yield House(site, clock, Ark("ark", Options(), http), account)
    await http.close()


def fitting(request: MediaRequest, ark: Ark | None = None, policy: OnUnsupported = "reject") -> Fitted:
    """What the gateway makes of a request before it is sent."""
    ark = ark or Ark("ark", Options(), Outbound())
    return fit(request, card_of(ark, request.model, request.kind), ark, policy)


def card_of(ark: Ark, model: str, kind: Kind) -> ModelCard:
    known = {card.id: card for card in ark.cards()}.get(model)
    card = known or ark.adopt(model, kind)
    assert card is not None
    return card


def made(fitted: Fitted, kind: type[R]) -> R:
    assert isinstance(fitted.request, kind)
    return fitted.request


def told(fitted: Fitted) -> dict[str, tuple[Any, Any]]:
    """What was asked and what is used, by parameter."""
    return {one.parameter: (one.asked, one.used) for one in fitted.adjustments}


def asking(model: str = PRO, prompt: str = "waves at dusk", **fields: Any) -> VideoRequest:
    return VideoRequest(model, prompt, **{"mark": MARK, **fields})


def pictures(*roles: Any) -> tuple[Input, ...]:
    return tuple(Input(PICTURE, role=role) for role in roles)


def images_for(kind: Kind) -> tuple[Input, ...]:
    roles = {"i2v": ("first_frame",), "flf2v": ("first_frame", "last_frame"), "ref2v": ("reference",) * 2}
    return pictures(*roles.get(kind, ()))


def media(events: list[Event]) -> list[Media]:
    return [event.media for event in events if isinstance(event, MediaReady)]


def again(fault: Any) -> list[Any]:
    """A cut must come twice: what is safe to repeat is asked for anew where a kept connection breaks."""
    return [fault] * 2 if isinstance(fault, Cut) else [fault]


def no_secret_in(error: BaseException | None) -> None:
    while error is not None:
        for shown in (str(error), repr(error), str(getattr(error, "detail", "")), str(getattr(error, "advice", ""))):
            assert KEY not in shown
        error = error.__cause__ or error.__context__
