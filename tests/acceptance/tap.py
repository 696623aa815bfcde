"""An upstream whose answers the test lets through piece by piece, and whose clients it sees leave."""

import asyncio
from collections import Counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Tap:
    """An ASGI layer around an emulator. Counts POST requests whose path ends in `path`: `seen["came"]` and so on.

    A client that goes away before its answer was sent to the end has `left`, the others' requests have `ended`;
    `held` are those whose answer was stopped on its way.
    """

    def __init__(self, app: ASGIApp, path: str = "") -> None:
        self.app = app
        self.path = path
        self.seen: Counter[str] = Counter()
        self._pass: int | None = None
        self._head = True

    def shut(self, after: int = 0, *, head: bool = False) -> None:
        """From now on only so many pieces of an answer flow; with 0 its head alone, or not even that."""
        self._pass, self._head = after, head or after > 0

    def holds(self, message: Message, sent: int) -> bool:
        if self._pass is None:
            return False
        return sent >= self._pass if message["type"] == "http.response.body" else not self._head

    def open(self) -> None:
        self._pass = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(self.path):
            await self.app(scope, receive, send)
            return
        await _Flow(self, receive, send).run(scope)


class _Flow:
    """One request through the tap."""

    def __init__(self, tap: Tap, receive: Receive, send: Send) -> None:
        self.tap = tap
        self._receive = receive
        self._send = send
        self._sent = 0
        self._gone = self._ended = self._held = False
        self._watch: asyncio.Task[Any] | None = None

    async def run(self, scope: Scope) -> None:
        try:
            await self.tap.app(scope, self.receive, self.send)
        finally:
            if self._watch is not None:
                self._watch.cancel()

    # Bound methods of the server pass through, since emulators reach for the transport behind them.
    @property
    def transport(self) -> Any:
        return getattr(getattr(self._receive, "__self__", None), "transport", None)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body") and self._watch is None:
            self.tap.seen["came"] += 1
            self._watch = asyncio.create_task(self._until_gone(), name="tap")
        return message

    async def send(self, message: Message) -> None:
        body = message["type"] == "http.response.body"
        if not self._gone and not self._held and self.tap.holds(message, self._sent):
            self._held = True
            self.tap.seen["held"] += 1
        while not self._gone and self.tap.holds(message, self._sent):
            await asyncio.sleep(0.005)
        if body and not message.get("more_body"):
            self._note_end()
        await self._send(message)
        self._sent += bool(body and message.get("body"))

    def _note_end(self) -> None:
        if not self._gone:
            self._ended = True
            self.tap.seen["ended"] += 1

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._ended:
            self._gone = True
            self.tap.seen["left"] += 1
