"""The API's table of contents: every path, its methods and who answers."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.routes import (
    accounts,
    assets,
    audio,
    batches,
    chat,
    collections,
    embeddings,
    exports,
    files,
    history,
    images,
    internal,
    metrics,
    models,
    new_task,
    preferences,
    quotes,
    status,
    storage,
    tasks,
    tickets,
    usage,
    v1_files,
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
    Entry("POST", "/v1/files", v1_files.create),
    Entry("GET", "/v1/files", v1_files.index),
    Entry("GET", "/v1/files/{id}", v1_files.show),
    Entry("DELETE", "/v1/files/{id}", files.delete),
    Entry("GET", "/v1/files/{id}/content", v1_files.content),
    Entry("GET", "/v1/models", models.index),
    Entry("GET", "/v1/models/{id:path}", models.show),
    Entry("POST", "/api/chat", once(chat.create_native)),
    Entry("POST", "/api/chat/completions", once(chat.create)),
    Entry("POST", "/api/chats", status.create_chat),
    Entry("POST", "/api/quote", quotes.quote),
    Entry("GET", "/api/models", models.index),
    Entry("GET", "/api/models/{id:path}", models.show),
    Entry("GET", "/api/preferences", preferences.index),
    Entry("GET", "/api/preferences/{kind}", preferences.show),
    Entry("PUT", "/api/preferences/{kind}", preferences.save),
    Entry("DELETE", "/api/preferences/{kind}", preferences.delete),
    Entry("GET", "/api/tasks/status/{id}", tasks.status),
    Entry("POST", "/api/tasks", once(new_task.create)),
    Entry("GET", "/api/tasks", tasks.index),
    Entry("GET", "/api/tasks/{id}", tasks.show),
    Entry("DELETE", "/api/tasks/{id}", tasks.delete),
    Entry("GET", "/api/tasks/{id}/events", tasks.events),
    Entry("POST", "/api/tasks/{id}/cancel", tasks.cancel),
    Entry("POST", "/api/batches", once(batches.create)),
    Entry("GET", "/api/batches", batches.index),
    Entry("GET", "/api/batches/{id}", batches.show),
    Entry("POST", "/api/batches/{id}/cancel", batches.cancel),
    Entry("POST", "/api/files/upload", files.upload),
    Entry("POST", "/api/files/getstsToken", tickets.ticket),
    Entry("POST", "/api/files/{id}/complete", tickets.complete),
    Entry("GET", "/api/files", files.index),
    Entry("GET", "/api/files/{id}", files.show),
    Entry("DELETE", "/api/files/{id}", files.delete),
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
    Entry("GET", "/api/storage", storage.show),
    Entry("POST", "/api/storage/check", storage.check),
    Entry("POST", "/api/storage/collect", storage.collect),
    Entry("POST", "/api/storage/retention", storage.retain),
    Entry("GET", "/api/content-assets", assets.index),
    Entry("GET", "/api/content-assets/", assets.index),
    Entry("POST", "/api/content-assets", assets.register),
    Entry("POST", "/api/content-assets/", assets.register),
    Entry("GET", "/api/content-assets/stats", assets.stats),
    Entry("GET", "/api/content-assets/facets", assets.facets),
    Entry("GET", "/api/content-assets/export", exports.download),
    Entry("POST", "/api/content-assets/export", exports.create),
    Entry("POST", "/api/content-assets/delete", assets.delete_many),
    Entry("GET", "/api/content-assets/{id}", assets.show),
    Entry("PATCH", "/api/content-assets/{id}", assets.change),
    Entry("DELETE", "/api/content-assets/{id}", assets.delete),
    Entry("POST", "/api/content-assets/{id}/favorite", assets.favorite),
    Entry("POST", "/api/content-assets/{id}/usage", assets.use),
    Entry("GET", "/api/content-assets/{id}/content", assets.content),
    Entry("GET", "/api/content-assets/{id}/thumbnail", assets.thumbnail),
    Entry("GET", "/api/content-assets/{id}/lineage", assets.lineage),
    Entry("GET", "/api/collections", collections.index),
    Entry("POST", "/api/collections", collections.create),
    Entry("GET", "/api/collections/{id}", collections.show),
    Entry("PATCH", "/api/collections/{id}", collections.change),
    Entry("DELETE", "/api/collections/{id}", collections.delete),
    Entry("GET", "/api/collections/{id}/assets", collections.assets),
    Entry("POST", "/api/collections/{id}/assets", collections.put_in),
    Entry("DELETE", "/api/collections/{id}/assets", collections.take_out),
    Entry("DELETE", "/api/collections/{id}/assets/{asset_id}", collections.take_one_out),
    Entry("PUT", "/api/collections/{id}/order", collections.arrange),
    Entry("GET", "/api/history", history.index),
    Entry("GET", "/api/usage", usage.index),
    Entry("GET", "/api/usage/summary", usage.summary),
    Entry("GET", "/files/{token}/{key:path}", files.serve),
    Entry("PUT", "/uploads/{token}/{path:path}", tickets.redeem),
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
