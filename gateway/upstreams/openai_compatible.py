"""Whatever speaks OpenAI's dialect: OpenAI itself, and every server and reseller that copies its API.

Chat passes through as it came, in both directions; images, speech, vectors and transcripts are read. OpenAI's own
retirements are followed by the `shutdown_date` of its model list. Sources: openai-python 3.52 and its types,
OpenAI's OpenAPI description, OpenRouter's model list (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeVar

import aiohttp
import msgspec
from pydantic import Field, field_validator
from yarl import URL

from gateway.errors import GatewayError
from gateway.http import Answer, Outbound, Reply
from gateway.types import (
    Account,
    Balance,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    Event,
    ImageRequest,
    Kind,
    Media,
    MediaReady,
    ModelCard,
    SpeechRequest,
    Transcription,
    TranscriptionRequest,
    Usage,
)
from gateway.upstreams.base import OPERATION_OF, Options, Upstream
from gateway.wire import openai_balance, openai_media, openai_models, openai_passing
from gateway.wire.openai_errors import refusal
from gateway.wire.openai_passing import GATEWAY_FIELDS

T = TypeVar("T")

DEFAULT_VOICE = "alloy"

_AUDIO = {"opus": "audio/ogg", "wav": "audio/wav", "aac": "audio/aac", "flac": "audio/flac", "pcm": "audio/pcm"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_WAYS_KEPT = 1024


class CompatibleOptions(Options):
    headers: dict[str, str] = Field(default={}, description="Further request headers, like OpenAI-Organization.")
    stream_usage: bool = Field(
        default=True, description="Whether a stream may be asked for its usage; false where stream_options is refused."
    )
    edit_by_url: bool = Field(
        default=False, description="Whether image edits name their images by URL, in JSON, instead of in a form."
    )
    balance_path: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?$",
        description="Path under base_url whose GET tells what an account has left, like 'key' or 'user/balance'.",
    )

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
                raise ValueError(f"{name!r} is not a header that can be sent")
        return headers


@dataclass(frozen=True, slots=True)
class _Way:
    """How an account is called, worked out once."""

    base: str
    chat: URL
    bare: Mapping[str, str]
    json: Mapping[str, str]


class _Transcript(msgspec.Struct):
    usage: dict[str, Any] | None = None
    error: Any = None


class OpenAICompatible(Upstream):
    type_name = "openai_compatible"
    base_url = "https://api.openai.com/v1"
    env_credentials = ("OPENAI_API_KEYS", "OPENAI_API_KEY")
    env_base_url = "OPENAI_BASE_URL"
    env_name = "openai"
    options_model = CompatibleOptions
    options: CompatibleOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, options, http)
        self._ways: dict[tuple[str, str, str], _Way] = {}

    # --- chat ---

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        async def opened() -> Answer:
            way = self._way(account)
            content = openai_passing.body(request, stream_usage=self.options.stream_usage)
            return await self.http.open("POST", way.chat, headers=way.json, content=content, proxy=account.proxy)

        async def answered() -> Reply:
            way = self._way(account)
            return await self._call("POST", way.chat, account, way.json, openai_passing.body(request))

        refused = partial(self._error, account)
        if request.stream:
            return openai_passing.streamed(opened, refused, drop_usage=not request.include_usage)
        return openai_passing.whole(answered, refused)

    # --- images, speech, vectors, transcripts ---

    async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        fields = {
            name: value for name, value in openai_media.image_fields(request).items() if name not in GATEWAY_FIELDS
        }
        if not request.inputs:
            reply = await self._post("images/generations", account, fields)
        elif self.options.edit_by_url:
            reply = await self._post("images/edits", account, {**fields, **openai_media.images_by_url(request)})
        else:
            reply = await self._send_form("images/edits", account, await asyncio.to_thread(_edit_form, request, fields))
        made = self._decoded(reply, account, openai_media.Images)
        if not made.data:
            raise self._refused(reply, account)
        asked = request.params.get("output_format")
        for media in [openai_media.media(image, made, asked) for image in made.data]:
            yield MediaReady(media)
        for pause in openai_passing.pauses(reply):
            yield pause
        yield replace(openai_media.usage_of(made.usage), images=len(made.data))

    async def speech(self, request: SpeechRequest, account: Account) -> AsyncGenerator[Event]:
        body = {name: value for name, value in request.params.items() if name != "stream_format"}
        body |= {
            "model": request.model,
            "input": request.text,
            "voice": request.voice or DEFAULT_VOICE,
            "response_format": request.format,
        }
        if request.speed != 1.0:
            body["speed"] = request.speed
        reply = await self._post("audio/speech", account, body)
        kind = reply.content_type
        if not reply.body or kind.startswith("text/") or kind == "application/json":
            raise self._refused(reply, account)
        mime = kind if kind.startswith("audio/") else _AUDIO.get(request.format, "audio/mpeg")
        yield MediaReady(Media("audio", mime=mime, data=reply.body))
        for pause in openai_passing.pauses(reply):
            yield pause
        yield Usage(characters=len(request.text))

    async def embed(self, request: EmbeddingRequest, account: Account) -> Embeddings:
        reply = await self._post("embeddings", account, openai_media.embedding_body(request))
        return openai_media.embeddings(self._decoded(reply, account, openai_media.Vectors), len(request.texts))

    async def transcribe(self, request: TranscriptionRequest, account: Account) -> Transcription:
        form = _form([("model", request.model), *request.fields])
        form.add_field("file", request.data, filename=_file_name(request.name), content_type=_type(request.mime))
        path = "audio/translations" if request.translate else "audio/transcriptions"
        reply = await self._send_form(path, account, form)
        if reply.content_type == "text/html":
            raise self._refused(reply, account)
        told = None
        if reply.content_type == "application/json":
            told = self._decoded(reply, account, _Transcript)
            if told.error is not None:
                raise self._refused(reply, account)
        return Transcription(reply.body, reply.headers.get("Content-Type", "text/plain"), _heard(told))

    # --- models, and what is left ---

    async def models(self, account: Account) -> Sequence[ModelCard]:
        return openai_models.cards((await self._ask("models", account)).body, time.time())

    async def probe(self, account: Account) -> None:
        """Asks for the list, whatever its shape; one that is public says nothing of the credential."""
        await self._ask("models", account)

    async def balance(self, account: Account) -> Balance:
        """As `balance_path` tells it. What it raises is of that call: a key that may do all else may not ask this."""
        if not self.options.balance_path:
            return await super().balance(account)
        return openai_balance.balance((await self._ask(self.options.balance_path, account)).body)

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        if kind is not None and OPERATION_OF[kind] not in self.operations():
            return None
        kinds = openai_models.kinds_of(model)
        if kind is not None and kind not in kinds:
            kinds = frozenset({kind})
        return ModelCard(id=model, kinds=kinds, max_n=10 if "t2i" in kinds else 1) if kinds else None

    # --- calls ---

    async def _ask(self, path: str, account: Account) -> Reply:
        """A GET that spends nothing. Raises for a page or an error where JSON is due, whatever its status."""
        way = self._way(account)
        reply = await self._call("GET", _url(way.base, path), account, way.bare)
        told = self._decoded(reply, account, Any)
        if isinstance(told, dict) and told.get("error"):
            raise self._refused(reply, account)
        return reply

    async def _post(self, path: str, account: Account, body: Mapping[str, Any]) -> Reply:
        way = self._way(account)
        return await self._call("POST", _url(way.base, path), account, way.json, msgspec.json.encode(body))

    async def _send_form(self, path: str, account: Account, form: aiohttp.FormData) -> Reply:
        way = self._way(account)
        return await self._call("POST", _url(way.base, path), account, way.bare, form())

    async def _call(
        self, method: str, url: URL, account: Account, headers: Mapping[str, str], content: Any = None
    ) -> Reply:
        """A call whose answer comes whole, when it is ready: silence before it is no fault."""
        silence = self.http.timeouts.total if method == "POST" else None
        reply = await self.http.call(
            method, url, headers=headers, content=content, proxy=account.proxy, silence=silence
        )
        if not 200 <= reply.status < 300:
            raise self._refused(reply, account)
        return reply

    def _decoded(self, reply: Reply, account: Account, as_type: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.body, type=as_type)
        except msgspec.DecodeError as exc:
            raise self._refused(reply, account) from exc

    def _refused(self, reply: Reply, account: Account) -> GatewayError:
        return self._error(account, reply.status, reply.headers, reply.body)

    def _error(self, account: Account, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return refusal(status, headers, body, now=time.time(), secret=account.credential)

    def _way(self, account: Account) -> _Way:
        key = (account.id, account.credential, account.base_url)
        found = self._ways.get(key)
        if found is None:
            if len(self._ways) >= _WAYS_KEPT:
                self._ways.clear()
            found = self._ways[key] = _made_way(account, self.options.headers)
        return found


def _made_way(account: Account, extra: Mapping[str, str]) -> _Way:
    bare = {"Authorization": f"Bearer {account.credential}"} if account.credential else {}
    bare.update(extra)
    chat = _url(account.base_url, "chat/completions")
    return _Way(account.base_url, chat, bare, {**bare, "Content-Type": "application/json"})


@lru_cache(1024)
def _url(base: str, path: str) -> URL:
    return URL(f"{base}/{path}")


def _form(fields: Sequence[tuple[str, str]]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    return form


def _edit_form(request: ImageRequest, fields: Mapping[str, Any]) -> aiohttp.FormData:
    form = _form([(name, openai_media.form_value(value)) for name, value in fields.items()])
    images = sum(found.role != "mask" for found in request.inputs)
    for found in request.inputs:
        data, mime, name = openai_media.unpacked(found)
        form.add_field(openai_media.form_name(found, images), data, filename=name, content_type=_type(mime))
    return form


def _type(mime: str) -> str:
    return mime if _MIME.fullmatch(mime) else "application/octet-stream"


def _file_name(name: str) -> str:
    """A name that no part's header can be broken with; its ending tells the upstream the format."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-100:] or "audio"


def _heard(told: _Transcript | None) -> Usage:
    usage = (told.usage if told else None) or {}
    seconds = usage.get("seconds")
    return replace(openai_media.usage_of(usage), seconds=float(seconds) if isinstance(seconds, int | float) else 0.0)
