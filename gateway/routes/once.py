"""Generations that are asked for again: the answer given before, or nothing done twice.

`once(endpoint)` stands around the endpoint in the table; `making` stands inside it, around what sends the work to an
upstream, since only there it is known what kind of work a request is. Routes that make tasks pass `once_of` on.

| the work, and how the request was sent | its key | remembered |
|---|---|---|
| any, with `Idempotency-Key` | the caller's | 24 hours |
| paid when made, without one | what it says; only a sender that says it tries again is given the answer | 10 minutes |
| text, vectors, transcripts, without one | none | never: nothing is asked of the database |
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from gateway.errors import (
    AccountError,
    AdapterContract,
    Draining,
    GatewayError,
    InvalidRequest,
    RequestError,
    Unavailable,
)
from gateway.live import EventStream
from gateway.routes.forms import FORM_OVERHEAD, holding
from gateway.routes.front import refusal
from gateway.routes.house import (
    IDEMPOTENCY_KEY,
    RETRY_COUNT,
    Answer,
    body_chunks,
    framing,
    house_of,
    note,
    principal_of,
    read_body,
)
from gateway.tasks.idempotency import MOST_BYTES, Claim, Idempotency, Kept, Once
from gateway.wire.fingerprint import fingerprint

HASHED_HERE = 256 * 1024
"""Bytes. A longer body is hashed off the event loop."""

_KEY = re.compile(rb"[ -~]{1,255}")
_REPLAYED = (b"idempotent-replayed", b"true")
_OF_THE_CONNECTION = frozenset({b"content-length", b"connection"})

Endpoint = Callable[[Request], Awaitable[Any]]


def once(endpoint: Endpoint, *, form: bool = False) -> Endpoint:
    """The endpoint, its answers kept where they may be asked for again. `form`: its body is one, with a file."""

    @wraps(endpoint)
    async def answered(request: Request) -> Any:
        state = request.scope["state"]
        try:
            if IDEMPOTENCY_KEY in framing(request):
                await _look(request)
            answer = await endpoint(request)
        except _Replayed as replayed:
            return replayed.answer
        except BaseException as error:
            if (made := state.get("made")) is not None:
                await made.failed(request, error)
            raise
        return answer if (made := state.get("made")) is None else await made.kept(answer)

    @wraps(endpoint)
    async def answered_form(request: Request) -> Any:
        if IDEMPOTENCY_KEY not in framing(request):
            return await answered(request)
        limit = house_of(request).config.limits.upload_max + FORM_OVERHEAD
        with holding(request, limit):
            request.scope["state"]["body"] = b"".join([chunk async for chunk in body_chunks(request, limit)])
            return await answered(request)

    return answered_form if form else answered


async def once_of(request: Request) -> Once:
    """What makes this request the same as another one. Its body was read, or is now."""
    state = request.scope["state"]
    known: Once | None = state.get("once")
    if known is None:
        known = state["once"] = await _once(request)
    return known


class making:  # noqa: N801 - reads as a clause: `async with making(request, paid=True): …`
    """Do the work of the block once: what has a key, or is paid for when made. It ends with the first event.

    Raises InProgress, KeyReused, and what makes `once` give the earlier answer.
    """

    __slots__ = ("_made", "_paid", "_request")

    def __init__(self, request: Request, *, paid: bool = False) -> None:
        self._request = request
        self._paid = paid
        self._made: _Made | None = None

    async def __aenter__(self) -> None:
        request = self._request
        if not self._paid and IDEMPOTENCY_KEY not in framing(request):
            return
        idempotency = house_of(request).idempotency
        found = await idempotency.claim(await once_of(request))
        if isinstance(found, Kept):
            raise _Replayed(request, found)
        self._made = request.scope["state"]["made"] = _Made(idempotency, found, self._paid)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._made is not None and kind is None:
            self._made.begun = True


# --- what a request is known by ---


async def _once(request: Request) -> Once:
    key = _key(request)
    body = await read_body(request)
    asked = request.scope["method"], request.scope["path"], body, request.headers.get("content-type", "")
    if len(body) <= HASHED_HERE:
        said = fingerprint(*asked)
    else:
        said = await asyncio.to_thread(fingerprint, *asked)
    owner = principal_of(request).id
    if key is not None:
        return Once.by_key(owner, key, said)
    tries = framing(request).get(RETRY_COUNT, b"")
    return Once.by_itself(owner, said, retry=tries.isdigit() and bool(tries.strip(b"0")))


def _key(request: Request) -> str | None:
    """The caller's key. Raises InvalidRequest for one that is none, or for two."""
    if IDEMPOTENCY_KEY not in framing(request):
        return None
    found = [value for name, value in request.scope["headers"] if name == IDEMPOTENCY_KEY]
    if len(found) > 1 or not _KEY.fullmatch(found[0]):
        raise InvalidRequest(
            "the header 'Idempotency-Key' must be one key of 1 to 255 printable ASCII characters",
            param="Idempotency-Key",
        )
    return str(found[0], "ascii")


# --- an answer that was given before ---


class _Replayed(Exception):
    """Leave the request: it was answered before."""

    def __init__(self, request: Request, kept: Kept) -> None:
        super().__init__()
        note(request, replayed=True)
        self.answer = Answer(kept.body, status=kept.status)
        self.answer.headers = [*kept.headers, (b"content-length", b"%d" % len(kept.body)), _REPLAYED]


async def _look(request: Request) -> None:
    """Give the answer to a key before anything else is looked at: a model it names may be gone since."""
    kept = await house_of(request).idempotency.look(await once_of(request))
    if kept is not None:
        raise _Replayed(request, kept)


# --- an answer that is being made ---


@dataclass(slots=True)
class _Made:
    """What this request makes, for itself and for those that come after it."""

    idempotency: Idempotency
    claim: Claim
    paid: bool
    begun: bool = False
    """Whether its first event came."""

    async def kept(self, answer: Any) -> Any:
        """The answer to give. A whole one is kept before it is given, a stream when it has come to its end."""
        if isinstance(answer, EventStream):
            return _Recorded(answer, self)
        await self.keep(answer.status, answer.headers, answer.body)
        return answer

    async def keep(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        lasting = [header for header in headers if header[0] not in _OF_THE_CONNECTION]
        await self.idempotency.keep(self.claim, status, lasting, body)

    async def failed(self, request: Request, error: BaseException) -> None:
        """Free the key, unless something may have been made and paid for: then the failure is the answer."""
        if not self.paid or not may_be_made(error, self.begun):
            await self.idempotency.release(self.claim)
            return
        told = error if isinstance(error, GatewayError) else GatewayError()
        told.resend_helps = False
        refused = refusal(request.scope, told)
        await self.keep(refused.status, refused.headers, refused.body)


def may_be_made(error: BaseException, begun: bool) -> bool:
    """Whether a failure leaves it open that the upstream made, and counts, what was asked for.

    A client that left, and a shutdown, end the work itself: the caller is free to ask for it anew.
    """
    if isinstance(error, RequestError | AccountError | AdapterContract | Draining) or not isinstance(error, Exception):
        return False
    if begun or not isinstance(error, GatewayError):
        return True
    return not isinstance(error, Unavailable) and error.sent != "no"


class _Recorded:
    """A stream that is kept once it has come to its end.

    One that broke off or was left is not, paid for or not: a replay could only break off at the same place, and no
    client sends a request again by itself once its stream has begun. Whoever does wants what was asked for.
    """

    __slots__ = ("_kept", "_made", "_stream")

    def __init__(self, stream: EventStream, made: _Made) -> None:
        self._stream = stream
        self._made = made
        self._kept = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._stream.frames = self._heard(self._stream.frames)
        try:
            await self._stream(scope, receive, send)
        finally:
            if not self._kept:
                await self._made.idempotency.release(self._made.claim)

    async def _heard(self, frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The frames; they are kept before the client can know that there are no more, and ask again."""
        heard: list[bytes] = []
        size = 0
        async with aclosing(frames):
            async for frame in frames:
                yield frame
                size += len(frame)
                if size <= MOST_BYTES:
                    heard.append(frame)
                else:
                    heard.clear()
        if size <= MOST_BYTES:
            await self._made.keep(200, self._stream.headers, b"".join([*heard, self._stream.tail]))
            self._kept = True
