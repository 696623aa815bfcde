"""The provider, its emulator and an account; and what tests look for in events and errors."""

from dataclasses import replace
from typing import Any

import msgspec

from gateway import errors
from gateway.http import Outbound
from gateway.types import (
    Account,
    ChatRef,
    ChatRequest,
    ImageRequest,
    Input,
    MediaReady,
    ReasoningDelta,
    TextDelta,
    VideoRequest,
)
from gateway.upstreams.qwen import Qwen, QwenOptions
from tests.emulators.qwen import QwenSite, jwt

A, B = jwt("a"), jwt("b")


class House:
    """The provider, its emulator and an account."""

    def __init__(self, site: QwenSite, base_url: str, http: Outbound) -> None:
        self.site = site
        self.http = http
        self.account = Account("qwen/a", "a", "qwen", credential=A, base_url=base_url)
        self.other = replace(self.account, id="qwen/b", name="b", credential=B)
        self.qwen = self.provider()

    def provider(self, **options: Any) -> Qwen:
        return Qwen("qwen", QwenOptions(oss_url=self.account.base_url + "/{bucket}", **options), self.http)

    async def say(
        self, *turns: Any, chat: ChatRef | None = None, inputs: tuple[Input, ...] = (), **body: Any
    ) -> list[Any]:
        asked = request(*turns, chat=chat, inputs=inputs, **body)
        return [event async for event in self.qwen.chat(asked, self.account)]

    async def paint(self, prompt: str = "a cat", **fields: Any) -> list[Any]:
        asked = ImageRequest("qwen3-max", prompt, **fields)
        return [event async for event in self.qwen.image(asked, self.account)]

    def film(self, prompt: str = "a cat", **fields: Any) -> Any:
        return self.qwen.submit(VideoRequest("qwen3-max", prompt, **fields), self.account)

    def sent(self) -> dict[str, Any]:
        """The last completion's body."""
        body: dict[str, Any] = self.site.asked("completions")[-1].body
        return body

    def content(self) -> str:
        return str(self.sent()["messages"][0]["content"])


def request(*turns: Any, chat: ChatRef | None = None, inputs: tuple[Input, ...] = (), **body: Any) -> ChatRequest:
    messages = [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in turns]
    fields = {"model": "qwen3-max", **body, "messages": messages}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return ChatRequest(fields["model"], raw, chat=chat, inputs=inputs)


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thoughts(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def images(events: list[Any]) -> list[Any]:
    return [event.media for event in events if isinstance(event, MediaReady)]


def no_secret_in(error: errors.GatewayError) -> None:
    seen: BaseException | None = error
    while seen is not None:
        for shown in (str(seen), repr(seen), str(getattr(seen, "detail", "")), str(getattr(seen, "advice", ""))):
            assert A not in shown
            assert "eyJ" not in shown
        seen = seen.__cause__ or seen.__context__
