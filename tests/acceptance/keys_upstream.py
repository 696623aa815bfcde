"""An upstream with many keys, each of which behaves in its own way and is counted by itself, and who asks for it."""

import asyncio
import itertools
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.acceptance.gateway_process import Gateway, compatible
from tests.emulators.openai_compatible import REPLY, TEXT, Emulator, Fault

# --- the upstream ---


@dataclass
class AtOnce:
    """Requests at once: now, and at the worst moment."""

    now: int = 0
    most: int = 0

    def change(self, by: int) -> None:
        self.now += by
        self.most = max(self.most, self.now)


class Key:
    """A credential and what becomes of the requests that carry it: a fault for every one, or a right answer."""

    def __init__(
        self, credential: str, everyone: AtOnce, fault: Fault = None, seconds: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.credential = credential
        self.everyone = everyone
        """All keys of its upstream together."""
        self.fault = fault
        self.seconds = seconds
        """How long an answer takes; asked once for each."""
        self.began: list[float] = []
        """When its requests came: monotonic seconds."""
        self.texts: list[str] = []
        """What they said, in the same order."""
        self.at_once = AtOnce()
        self._emulator = Emulator([credential], [TEXT])

    @property
    def started(self) -> int:
        return len(self.began)

    def forget(self) -> None:
        """Begin counting anew."""
        self.began, self.texts, self.at_once.most = [], [], self.at_once.now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, gone = await _body(receive), asyncio.create_task(_left(receive), name="caller")
        self.began.append(time.monotonic())
        self.texts.append(_said(body))
        at_once, going = (self.at_once, self.everyone), 1
        for count in at_once:
            count.change(1)

        def over() -> None:
            nonlocal going
            for count in at_once:
                count.change(-going)
            going = 0

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                over()  # before the last byte is out: who has it may ask again
            await send(message)

        try:
            if self.fault is None:
                await asyncio.wait({gone}, timeout=self.seconds())
            else:
                self._emulator.script(self.fault)
            if not gone.done():
                await self._emulator.app(scope, _again(body, gone), counted)
        finally:
            gone.cancel()
            over()


class KeysSite:
    """The site that all keys belong to."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        """By credential."""
        self.of: dict[str, list[Key]] = {}
        """By upstream, in the order of its accounts."""
        self.at_once: dict[str, AtOnce] = {}
        """By upstream."""

    def add(self, upstream: str, count: int = 1, fault: Fault = None, **more: Any) -> list[Key]:
        """So many more keys for an upstream, which all behave alike."""
        here, everyone = self.of.setdefault(upstream, []), self.at_once.setdefault(upstream, AtOnce())
        new = [Key(f"sk-{upstream}-{len(here) + at:04}", everyone, fault, **more) for at in range(1, count + 1)]
        here += new
        self.keys |= {key.credential: key for key in new}
        return new

    def stanza(self, url: str, upstream: str, *accounts: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The upstream, with an account a1, a2, … for each of its keys. `accounts`: what is set for each, or for all
        where there is only one."""
        keys = self.of[upstream]
        found = compatible(url, *(key.credential for key in keys), name=upstream, models=[TEXT], **more)
        settings = accounts * len(keys) if len(accounts) == 1 else accounts or ({},) * len(keys)
        found["accounts"] = [{**one, **own} for one, own in zip(found["accounts"], settings, strict=True)]
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        key = self.keys.get(headers.get(b"authorization", b"").decode().removeprefix("Bearer "))
        app: ASGIApp = key or JSONResponse({"error": {"message": "who are you?", "code": "invalid_api_key"}}, 401)
        await app(scope, receive, send)


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _left(receive: Receive) -> None:
    """Ends when the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _again(body: bytes, gone: "asyncio.Task[None]") -> Receive:
    """A `receive` that tells the body once more, and then when the caller is gone."""
    told = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        if (message := next(told, None)) is not None:
            return message
        await asyncio.wait({gone})
        return {"type": "http.disconnect"}

    return receive


def _said(body: bytes) -> str:
    return str(json.loads(body)["messages"][-1]["content"])


# --- the way to it ---


class Door:
    """A port of its own before a site: `shut`, nothing listens; `slam`, who comes in is cut off; `open`, it leads on.

    The port stays the same. Use it inside `with`.
    """

    def __init__(self, url: str, state: Literal["shut", "slam", "open"] = "shut") -> None:
        self._target = urlsplit(url).port
        self.state = state
        self.came = 0
        """Connections."""
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # nobody else gets the port, and before `listen` it refuses
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        if state != "shut":
            self._listen()

    def open(self) -> None:
        shut, self.state = self.state == "shut", "open"
        if shut:
            self._listen()

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait in `accept` for ever
        self._listener.close()

    def _listen(self) -> None:
        self._listener.listen(512)
        threading.Thread(target=self._let_in, name="door", daemon=True).start()

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.came += 1
                if self.state == "slam":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    continue
                inside = socket.create_connection(("127.0.0.1", self._target))
                for one, other in ((client, inside), (inside, client)):
                    threading.Thread(target=_carry, args=(one, other), name="door", daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


# --- those who ask ---


@dataclass(frozen=True)
class Ask:
    upstream: str
    stream: bool = False
    text: str = "Hello"
    key: str = ""
    """Whose; "": the gateway's own."""


@dataclass(frozen=True)
class Heard:
    """An answer, as the caller got it."""

    ask: Ask
    status: int
    """0: no answer came."""
    headers: dict[str, str]
    text: str
    sent: float
    """Monotonic seconds."""
    got: float

    @property
    def well(self) -> bool:
        """Whether it is the whole of the right answer."""
        words = REPLY.split(" ")
        if self.ask.stream:
            return self.status == 200 and all(word in self.text for word in words) and "[DONE]" in self.text
        return self.status == 200 and REPLY in self.text

    @property
    def retry_after(self) -> int:
        """Seconds; fails where a refusal does not say when to come back."""
        assert self.status in (429, 503), f"{self.status} {self.text}"
        seconds = int(self.headers["retry-after"])
        assert seconds >= 1, seconds
        return seconds


def asked(gateways: Gateway | Sequence[Gateway], asks: Iterable[Ask], at_once: int = 1) -> list[Heard]:
    """The answers to all, in the order of the asks: so many under way at any time, and each gateway has its turn."""
    those = (gateways,) if isinstance(gateways, Gateway) else gateways
    return asyncio.run(_asked(those, list(asks), at_once))


def one(gateway: Gateway, upstream: str, **ask: Any) -> Heard:
    [heard] = asked(gateway, [Ask(upstream, **ask)])
    return heard


def statuses(answers: Iterable[Heard]) -> dict[int, int]:
    """How many there are of each status; an answer of 200 that is not right counts as -200."""
    return dict(Counter(heard.status if heard.well or heard.status != 200 else -200 for heard in answers))


@dataclass
class Load(threading.Thread):
    """Callers that ask the gateways in turn, each again as soon as it has its answer, until the end of the `with`."""

    gateways: Sequence[Gateway]
    upstream: str
    callers: int
    key: str = ""
    """Whose; "": the gateway's own."""
    answers: list[Heard] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        super().__init__(name="load")

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with _session() as session:
            turns = itertools.cycle(self.gateways)
            await asyncio.gather(*(self._on(session, turns) for _ in range(self.callers)))

    async def _on(self, session: aiohttp.ClientSession, turns: "itertools.cycle[Gateway]") -> None:
        while not self.over:
            self.answers.append(await _heard(session, next(turns), Ask(self.upstream, key=self.key)))

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.join(60)


async def _asked(gateways: Sequence[Gateway], asks: Sequence[Ask], at_once: int) -> list[Heard]:
    heard: list[Heard | None] = [None] * len(asks)
    waiting = iter(range(len(asks)))
    async with _session() as session:

        async def caller() -> None:
            for at in waiting:
                heard[at] = await _heard(session, gateways[at % len(gateways)], asks[at])

        await asyncio.gather(*(caller() for _ in range(at_once)))
    return [answer for answer in heard if answer is not None]


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60))


async def _heard(session: aiohttp.ClientSession, gateway: Gateway, ask: Ask) -> Heard:
    body = {"model": f"{ask.upstream}/{TEXT}", "messages": [{"role": "user", "content": ask.text}]}
    key = ask.key or gateway.key
    headers = {"authorization": f"Bearer {key}"} if key else {}
    sent = time.monotonic()
    url = f"{gateway.url}/v1/chat/completions"
    try:
        async with session.post(url, json=body | {"stream": ask.stream}, headers=headers) as answer:
            text = await answer.text()
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Heard(ask, answer.status, told, text, sent, time.monotonic())
    except (aiohttp.ClientError, TimeoutError) as error:
        return Heard(ask, 0, {}, repr(error), sent, time.monotonic())
