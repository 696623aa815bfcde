"""The provider, its emulator and an account; and what tests look for in events and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import msgspec

from gateway.catalog.fitting import fit
from gateway.http import Outbound, Timeouts
from gateway.types import (
    Account,
    Adjustment,
    ChatRequest,
    Event,
    ImageRequest,
    Input,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    ModelCard,
    OnUnsupported,
    SpeechRequest,
    VideoRequest,
)
from gateway.upstreams.dashscope import DashScope, DashScopeOptions
from gateway.upstreams.dashscope.site import AccountOptions
from tests.emulators.dashscope import KEY, Cut, DashScopeSite, image
from tests.emulators.serving import serve

OTHER = "sk-dashscope-emulator-0002"
T2V, I2V, R2V = "wan2.7-t2v", "wan2.7-i2v", "wan2.7-r2v"
PICTURE = image()
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


R = TypeVar("R", VideoRequest, ImageRequest, SpeechRequest)


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    site: DashScopeSite
    clock: Clock
    upstream: DashScope
    account: Account
    adjusted: list[Adjustment] = field(default_factory=list)

    def with_options(self, **options: Any) -> House:
        made = DashScope("dashscope", DashScopeOptions(**options), self.upstream.http)
        return replace(self, upstream=made)

    def fitted(self, request: R, policy: OnUnsupported = "reject") -> R:
        """The request as the relay hands it over; what is told of it is in `adjusted`."""
        card = self.upstream.adopt(request.model, None) or ModelCard(request.model, frozenset({request.kind}))
        found = fit(request, card, self.upstream, policy)
        self.adjusted[:] = found.adjustments
        assert fit(found.request, card, self.upstream, "reject") == type(found)(found.request), "it stays as it is"
        return cast(R, found.request)

    @property
    def told(self) -> dict[str, tuple[Any, Any]]:
        """What was asked for last and not made so: as it was asked, and as it is made."""
        return {one.parameter: (one.asked, one.used) for one in self.adjusted}

    async def submit(self, model: str = T2V, prompt: str = "a kite", **fields: Any) -> Job:
        return await self.upstream.submit(self.fitted(VideoRequest(model, prompt, **fields)), self.account)

    async def poll(self, job: Job) -> JobUpdate:
        return await self.upstream.poll(job, self.account)

    async def find(self, request: VideoRequest, since: float | None = None) -> Job | None:
        return await self.upstream.find(request, self.clock.now if since is None else since, self.account)

    async def paint(self, model: str = "wan2.6-t2i", prompt: str = "a cat", **fields: Any) -> list[Event]:
        if fields.get("inputs"):
            fields.setdefault("kind", "i2i")
        asked = self.fitted(ImageRequest(model, prompt, **fields))
        return [event async for event in self.upstream.image(asked, self.account)]

    async def speak(self, model: str = "qwen3-tts-flash", text: str = "Hello there", **fields: Any) -> list[Event]:
        fields.setdefault("format", "wav")
        asked = self.fitted(SpeechRequest(model, text, **fields))
        return [event async for event in self.upstream.speech(asked, self.account)]

    async def say(self, prompt: str = "Tell me of kites", stream: bool = True, **body: Any) -> list[Event]:
        fields = {"model": "qwen-plus", "messages": [{"role": "user", "content": prompt}], "stream": stream, **body}
        raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        asked = ChatRequest(fields["model"], raw, stream=stream)
        return [event async for event in self.upstream.chat(asked, self.account)]

    async def download(self, media: Media) -> bytes:
        answer = await self.upstream.http.download(media.url or "", trusted=self.account.base_url)
        try:
            return await answer.read()
        finally:
            answer.close()

    @property
    def sent(self) -> dict[str, Any]:
        return self.site.creates[-1].body

    @property
    def path(self) -> str:
        return self.site.creates[-1].path


@asynccontextmanager
async def living(**options: Any) -> AsyncIterator[House]:
    clock = Clock()
    site = DashScopeSite((KEY, OTHER), clock=clock, queued_seconds=10, running_seconds=50)
    http = Outbound(Timeouts(idle=5))
    await http.start()
    async with serve(site.app) as url:
        account = Account("dashscope/a", "a", "dashscope", credential=KEY, base_url=url, options=AccountOptions())
        yield House(site, clock, DashScope("dashscope", DashScopeOptions(**options), http), account)
    await http.close()


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


def no_secret_in(error: BaseException | None, *secrets: str) -> None:
    while error is not None:
        for shown in (str(error), repr(error), str(getattr(error, "detail", "")), str(getattr(error, "advice", ""))):
            for secret in (KEY, *secrets):
                assert secret not in shown
        error = error.__cause__ or error.__context__
