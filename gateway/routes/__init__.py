"""The API's table of contents: every path, its methods and who answers."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.routes import (
    accounts,
    audio,
    chat,
    embeddings,
    files,
    images,
    internal,
    metrics,
    models,
    new_task,
    status,
    tasks,
    webhooks,
)
from gateway.routes.once import Endpoint, once


class Entry(NamedTuple):
    method: str
    path: str
    endpoint: Endpoint


TABLE = (
    Entry("POST", "/v1/chat/completions", once(chat.create)),
    Entry("POST", "/v1/embeddings", once(embeddings.create)),
    Entry("POST", "/v1/images/generations", once(images.generate)),
    Entry("POST", "/v1/audio/speech", once(audio.speak)),
    Entry("POST", "/v1/audio/transcriptions", once(audio.transcribe, form=True)),
    Entry("POST", "/v1/audio/translations", once(audio.translate, form=True)),
    Entry("GET", "/v1/models", models.index),
    Entry("GET", "/v1/models/{id:path}", models.show),
    Entry("POST", "/api/chat", once(chat.create_native)),
    Entry("POST", "/api/chat/completions", once(chat.create)),
    Entry("POST", "/api/chats", status.create_chat),
    Entry("POST", "/api/quote", models.quote),
    Entry("GET", "/api/models", models.index),
    Entry("GET", "/api/models/{id:path}", models.show),
    Entry("GET", "/api/tasks/status/{id}", tasks.status),
    Entry("POST", "/api/tasks", once(new_task.create)),
    Entry("GET", "/api/tasks", tasks.index),
    Entry("GET", "/api/tasks/{id}", tasks.show),
    Entry("DELETE", "/api/tasks/{id}", tasks.delete),
    Entry("GET", "/api/tasks/{id}/events", tasks.events),
    Entry("POST", "/api/tasks/{id}/cancel", tasks.cancel),
    Entry("POST", "/api/files/upload", files.upload),
    Entry("POST", "/api/files/getstsToken", files.ticket),
    Entry("GET", "/api/webhooks/deliveries", webhooks.index),
    Entry("GET", "/api/webhooks/deliveries/{id}", webhooks.show),
    Entry("POST", "/api/webhooks/deliveries/{id}/replay", webhooks.replay),
    Entry("GET", "/api/webhooks/secret", webhooks.secret),
    Entry("POST", "/api/webhooks/secret/rotate", webhooks.rotate),
    Entry("GET", "/api/status", status.accounts),
    Entry("GET", "/api/accounts", accounts.index),
    Entry("POST", "/api/accounts", accounts.create),
    Entry("GET", "/api/accounts/{upstream}/{name}", accounts.show),
    Entry("PATCH", "/api/accounts/{upstream}/{name}", accounts.change),
    Entry("DELETE", "/api/accounts/{upstream}/{name}", accounts.delete),
    Entry("POST", "/api/accounts/{upstream}/{name}/test", accounts.test),
    Entry("POST", "/api/accounts/{upstream}/{name}/disable", accounts.disable),
    Entry("POST", "/api/accounts/{upstream}/{name}/enable", accounts.enable),
    Entry("POST", "/api/accounts/{upstream}/{name}/renew", accounts.renew),
    Entry("POST", "/api/accounts/{upstream}/{name}/credential", accounts.rotate),
    Entry("GET", "/files/{token}/{key:path}", files.serve),
    Entry("PUT", "/uploads/{token}/{path:path}", files.redeem),
    Entry("POST", "/internal/tick", internal.tick),
    Entry("GET", "/internal/tick", internal.tick),
    Entry("GET", "/metrics", metrics.show),
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
