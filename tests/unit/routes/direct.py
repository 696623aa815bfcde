"""An ASGI application called as an adapter calls it: one request, no server, no lifespan."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

KEY = "key-of-the-tests-1"


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def asked(
    app: ASGIApp, method: str, path: str, body: Any = None, *, key: str | None = KEY, **headers: str
) -> Told:
    """Returns when the call does, which is later than the end of the answer."""
    path, _, query = path.partition("?")
    said = {"host": "gateway.example", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if key is not None:
        said["authorization"] = f"Bearer {key}"
    inbox = [{"type": "http.request", "body": b"" if body is None else json.dumps(body).encode(), "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if inbox:
            return inbox.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody leaves")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "client": ("198.51.100.7", 0),
        "server": ("gateway.example", 443),
    }
    await app(scope, receive, send)
    start, *parts = sent
    assert not parts[-1].get("more_body")
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    return Told(start["status"], names, b"".join(part.get("body", b"") for part in parts))
