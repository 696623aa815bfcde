"""The API's table of contents: every path, its methods and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.routes import audio, chat, embeddings, files, images, models, status, tasks

Endpoint = Callable[[Request], Awaitable[Any]]


class Entry(NamedTuple):
    method: str
    path: str
    endpoint: Endpoint


TABLE = (
    Entry("POST", "/v1/chat/completions", chat.create),
    Entry("POST", "/v1/embeddings", embeddings.create),
    Entry("POST", "/v1/images/generations", images.generate),
    Entry("POST", "/v1/audio/speech", audio.speak),
    Entry("POST", "/v1/audio/transcriptions", audio.transcribe),
    Entry("POST", "/v1/audio/translations", audio.translate),
    Entry("GET", "/v1/models", models.index),
    Entry("GET", "/v1/models/{id:path}", models.show),
    Entry("POST", "/api/chat", chat.create_native),
    Entry("POST", "/api/chat/completions", chat.create),
    Entry("POST", "/api/chats", status.create_chat),
    Entry("POST", "/api/quote", models.quote),
    Entry("GET", "/api/models", models.index),
    Entry("GET", "/api/models/{id:path}", models.show),
    Entry("GET", "/api/tasks/status/{id}", tasks.status),
    Entry("GET", "/api/tasks", tasks.index),
    Entry("GET", "/api/tasks/{id}", tasks.show),
    Entry("GET", "/api/tasks/{id}/events", tasks.events),
    Entry("POST", "/api/tasks/{id}/cancel", tasks.cancel),
    Entry("POST", "/api/files/upload", files.upload),
    Entry("POST", "/api/files/getstsToken", files.ticket),
    Entry("GET", "/api/status", status.accounts),
    Entry("GET", "/files/{token}/{key:path}", files.serve),
    Entry("PUT", "/uploads/{token}/{path:path}", files.redeem),
    Entry("GET", "/healthz", status.alive),
    Entry("GET", "/readyz", status.ready),
    Entry("GET", "/", status.welcome),
)


def router() -> Router:
    """The table as a router. GET answers HEAD too; a path with another slash at its end is another path."""
    routes = [Route(path, _Answering(endpoint), methods=[method]) for method, path, endpoint in TABLE]
    return Router(routes, redirect_slashes=False)


class _Answering:
    """An endpoint as an ASGI application: the door catches what it raises, so nothing stands between."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)
