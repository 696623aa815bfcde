"""One exchange with the site: what every call carries, the envelope that an answer comes in, the lines of a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec
from yarl import URL

from gateway import errors, sse
from gateway.errors import GatewayError
from gateway.http import Outbound, Reply
from gateway.types import Account, ChatRef
from gateway.upstreams.qwen import failures, payload
from gateway.upstreams.qwen.answers import ChatAnswer, Gallery, Line
from gateway.upstreams.qwen.failures import Envelope, Failure, Of
from gateway.upstreams.qwen.payload import Turn
from gateway.wire.retry import retry_after

T = TypeVar("T")

DRAIN = 1.0
"""Seconds of silence after which an answer that said it was finished is believed."""


class Site:
    """The site, as any of its accounts sees it."""

    def __init__(self, http: Outbound, version: str) -> None:
        self._http = http
        self._version = version
        self._answering: dict[tuple[str, ...], int] = {}

    async def call(
        self, method: str, path: str, account: Account, shape: type[T], *, json: Any = None, **how: Any
    ) -> T:
        """What an answer holds; `how` it is opened: see `opened`."""
        url, headers = URL(account.base_url + path, encoded=True), self._headers(account)
        reply = await self._http.call(method, url, headers=headers, json=json, proxy=account.proxy)
        return opened(reply, shape, account.credential, now=time.time(), **how)

    async def either(
        self,
        paths: tuple[str, ...],
        account: Account,
        shape: type[T],
        *,
        method: str = "GET",
        suffix: str = "",
        **how: Any,
    ) -> T:
        """Ask that of several endpoints which the site has; the one that answered is the one asked from then on."""
        known = self._answering.get(paths)
        failed: list[GatewayError] = []
        for index in range(len(paths)) if known is None else (known,):
            try:
                told = await self.call(method, paths[index] + suffix, account, shape, **how)
            except (errors.JobLost, errors.Challenged, errors.UpstreamGarbled) as exc:
                failed.append(exc)
            else:
                self._answering[paths] = index
                return told
        self._answering.pop(paths, None)
        raise next((exc for exc in failed if isinstance(exc, errors.JobLost)), failed[0])

    def _headers(self, account: Account) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {account.credential}",
            "Cookie": f"token={account.credential}",
            "Content-Type": "application/json",
            "source": "web",
            "version": self._version,
            "Timezone": "UTC",
            "X-Request-Id": str(uuid4()),
        }

    async def stream(
        self, turn: Turn, ref: ChatRef, reader: ChatAnswer | Gallery, account: Account, **how: Any
    ) -> AsyncGenerator[Line]:
        """The answer's lines. Raises what a line, or an answer that is no stream, says went wrong."""
        answer = await self._http.open(
            "POST",
            URL(account.base_url + completions(ref.chat_id), encoded=True),
            headers=self._headers(account),
            content=msgspec.json.encode(payload.completion(turn, ref, time.time())),
            proxy=account.proxy,
        )
        try:
            if answer.content_type != "text/event-stream":
                reply = Reply(answer.status, answer.headers, await answer.read())
                opened(reply, object, account.credential, now=time.time(), **how)
                raise errors.UpstreamGarbled("the upstream's answer is not a stream")
            events = sse.events(answer.chunks())
            while (event := await _next(events, DRAIN if reader.ended else None)) is not None:
                line = Line(completed=True) if event.data == b"[DONE]" else shaped(decoded(event.data), Line)
                if failure := failures.failure_in(line):
                    now = time.time()
                    wait = retry_after(answer.headers, now)
                    raise failures.error(failure, answer.status, account.credential, wait=wait, now=now, **how)
                yield line
        finally:
            answer.close()


def opened(reply: Reply, shape: type[T], secret: str, *, flat: str = "", of: Of = "", now: float) -> T:
    """What an answer holds. Raises what it says went wrong, and Challenged for what is not the API's.

    `flat`: a member that tells the API's answer where it comes without an envelope. `secret` is kept out of errors.
    """
    actual = reply.headers.get("x-actual-status-code", "")
    status = int(actual) if actual.isdecimal() else reply.status
    body = None if "html" in reply.content_type else decoded(reply.body)
    envelope = shaped(body, Envelope) if isinstance(body, dict) else Envelope()
    failure = failures.failure_in(envelope)
    if failure is None and envelope.success:
        return shaped(envelope.data, shape)
    if failure is None and isinstance(body, dict) and flat and flat in body:
        return shaped(body, shape)
    if failure or status in (401, 413, 429) or status >= 500:
        wait = retry_after(reply.headers, now)
        raise failures.error(failure or Failure(), status, secret, of=of, wait=wait, now=now)
    if body is None and reply.content_type == "application/json":
        raise errors.UpstreamGarbled("the upstream's answer is not JSON", sent="unknown")
    raise errors.Challenged(detail=f"HTTP {reply.status}, {reply.content_type or 'no content type'}")


def shaped(value: Any, shape: type[T]) -> T:
    """Decoded JSON as a value. Raises UpstreamGarbled where what the shape names is otherwise."""
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as exc:
        message = "the upstream's answer has not the shape that is known"
        raise errors.UpstreamGarbled(message, detail=str(exc), sent="unknown") from exc


def decoded(data: bytes) -> Any:
    """Decoded JSON; None where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def completions(chat_id: str) -> str:
    return f"/api/v2/chat/completions?chat_id={safe(chat_id)}"


def conversation(chat_id: str) -> str:
    return f"/api/v2/chats/{safe(chat_id)}"


def safe(name: str) -> str:
    """A name that a caller may have given, as one piece of a path or query."""
    return quote(name, safe="")


async def _next(events: AsyncIterator[sse.ServerEvent], limit: float | None) -> sse.ServerEvent | None:
    """The next event; None at the end. With a `limit`, whatever else ends the stream by then is its end too."""
    if limit is None:
        return await anext(events, None)
    with suppress(TimeoutError, GatewayError):
        async with asyncio.timeout(limit):
            return await anext(events, None)
    return None
