"""The provider, its emulator and an account; and what tests look for in events and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from gateway.catalog.fitting import fit
from gateway.catalog.quotes import quote
from gateway.errors import ModelNotFound
from gateway.http import Outbound, Timeouts
from gateway.types import (
    Account,
    Event,
    Fitted,
    ImageRequest,
    Input,
    Job,
    JobUpdate,
    Media,
    MediaReady,
    MediaRequest,
    ModelCard,
    MusicRequest,
    OnUnsupported,
    SpeechRequest,
    Usage,
    VideoRequest,
)
from gateway.upstreams.ima import Ima, ImaOptions
from tests.emulators.ima import KEY, OTHER, Create, ImaSite
from tests.emulators.qwen.media import png
from tests.emulators.serving import serve


@dataclass
class House:
    site: ImaSite
    upstream: Ima
    account: Account

    def card(self, model: str) -> ModelCard:
        for card in self.upstream.cards():
            if card.id == model:
                return card
        raise ModelNotFound(model)

    def fit(self, request: MediaRequest, policy: OnUnsupported = "reject") -> Fitted:
        """As the gateway does it before anything is sent."""
        return fit(request, self.card(request.model), self.upstream, policy)

    def quoted(self, request: MediaRequest) -> float | None:
        card = self.card(request.model)
        found = quote(card.prices, self.fit(request).request, card)
        return found.amount if found else None

    async def make(self, request: MediaRequest) -> list[Event]:
        """Fitted and made, whole."""
        made = self.fit(request).request
        match made:
            case ImageRequest():
                events = self.upstream.image(made, self.account)
            case SpeechRequest():
                events = self.upstream.speech(made, self.account)
            case MusicRequest():
                events = self.upstream.music(made, self.account)
            case _:
                raise AssertionError("films are jobs")
        return [event async for event in events]

    async def submit(self, request: VideoRequest) -> Job:
        made = self.fit(request).request
        assert isinstance(made, VideoRequest)
        return await self.upstream.submit(made, self.account)

    async def poll(self, job: Job) -> JobUpdate:
        return await self.upstream.poll(job, self.account)

    @property
    def last(self) -> Create:
        return self.site.creates[-1]

    def by(self, credential: str) -> House:
        return replace(self, account=replace(self.account, credential=credential))


@asynccontextmanager
async def living(*, listed: bool = True, **options: Any) -> AsyncIterator[House]:
    """`listed`: whether the trees are known, as they are when the gateway has started."""
    site = ImaSite((KEY, OTHER))
    http = Outbound(Timeouts(idle=20))
    await http.start()
    try:
        async with serve(site.app) as url:
            account = Account("ima/a", "a", "ima", credential=KEY, base_url=url)
            upstream = Ima("ima", ImaOptions(**{"upload_url": url, "poll_seconds": 0.01, **options}), http)
            if listed:
                await upstream.models(account)
            yield House(site, upstream, account)
    finally:
        await http.close()


def film(model: str = "wan2.6-t2v", prompt: str = "a kite", **fields: Any) -> VideoRequest:
    kind = fields.get("kind", "t2v")
    count = {"t2v": 0, "i2v": 1, "flf2v": 2, "ref2v": 2}[kind]
    fields.setdefault("inputs", tuple(shown(at) for at in range(count)))
    return VideoRequest(model, prompt, **fields)


def shown(at: int = 0) -> Input:
    url = f"https://pictures.example/{at}.png"
    return Input(url, mime="image/png", size=1000, ref={"url": url, "width": 640, "height": 480})


def image(model: str = "doubao-seedream-4.5", prompt: str = "a lighthouse", **fields: Any) -> ImageRequest:
    if fields.get("kind") == "i2i":
        fields.setdefault("inputs", (shown(),))
    return ImageRequest(model, prompt, **fields)


def media(events: list[Event]) -> list[Media]:
    return [event.media for event in events if isinstance(event, MediaReady)]


def usage(events: list[Event]) -> Usage:
    [found] = [event for event in events if isinstance(event, Usage)]
    return found


def no_secret_in(error: BaseException | None) -> None:
    while error is not None:
        for told in (str(error), repr(error), str(getattr(error, "detail", "")), str(getattr(error, "advice", ""))):
            assert KEY not in told
        error = error.__cause__ or error.__context__


PNG = png()
