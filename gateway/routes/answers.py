"""What the answers of generations have in common, whatever was generated."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request

from gateway.errors import GatewayError
from gateway.live import EventStream
from gateway.relay import Relayed, Work
from gateway.routes import attempts
from gateway.routes.house import house_of, language_of, link, note, principal_of, request_id_of
from gateway.tasks.task import Task
from gateway.types import NO_WISHES, AnyRequest, Candidate, Event, Kind, Media, MediaReady, Wishes
from gateway.wire import errors as wire_errors
from gateway.wire import openai_chat
from gateway.wire.wishes import adjustments_json

MOST_TOLD: Final = 4096
"""Characters of a header."""
HeaderList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an answer is worded: markdown around media on /v1, bare URLs and the names of the chat on /api."""

    native: bool
    show: Callable[[Media], str]


OPENAI = Dialect(native=False, show=openai_chat.markdown)
NATIVE = Dialect(native=True, show=openai_chat.bare_url)


def work(
    request: Request,
    kind: Kind,
    what: AnyRequest,
    candidates: tuple[Candidate, ...],
    wishes: Wishes = NO_WISHES,
) -> Work:
    made = Work(
        kind=kind,
        request=what,
        candidates=candidates,
        principal=principal_of(request),
        request_id=request_id_of(request),
        wishes=wishes,
    )
    attempts.working(request.scope["state"], made.attempts)
    return made


def served_by(request: Request, upstream: str, account: str | None = None) -> HeaderList:
    """The header that says who answered; the log line says which account, and so does the door to admins."""
    note(request, upstream=upstream, account=account)
    attempts.served(request.scope["state"], account)
    return [(b"x-gateway-upstream", upstream.encode())]


def served_as(request: Request, task: Task) -> HeaderList:
    """The headers of an answer that is a task."""
    headers = served_by(request, task.upstream, task.account)
    attempts.served_as(request.scope["state"], task)
    return [*headers, (b"x-task-id", task.id.encode()), *adjusted(task.adjustments)]


def relayed_by(request: Request, relayed: Relayed) -> HeaderList:
    headers = served_by(request, relayed.candidate.upstream, relayed.account.id)
    return [*headers, *adjusted(adjustments_json(relayed.adjustments))]


def adjusted(adjustments: Sequence[dict[str, Any]]) -> HeaderList:
    """The header that tells which values were not used as asked: for answers that have no room to say it, as a file."""
    if not adjustments:
        return []
    told = json.dumps(list(adjustments))
    if len(told) > MOST_TOLD:
        told = json.dumps([{"parameter": one["parameter"][:64]} for one in adjustments[:32]])
    return [(b"x-gateway-adjustments", told.encode())]


def stream(
    request: Request,
    frames: AsyncGenerator[bytes],
    headers: HeaderList,
    tail: bytes,
    relayed: Relayed | None = None,
) -> EventStream:
    def failed(error: GatewayError) -> bytes:
        note(request, code=error.code, **({"detail": error.detail} if error.detail else {}))
        return openai_chat.error_frame(openai_error(request, error))

    begun(request, relayed)
    return EventStream(
        frames,
        house_of(request).drain,
        error_frame=failed,
        tail=tail,
        headers=headers,
        source=relayed,
    )


def begun(request: Request, relayed: Relayed | None) -> None:
    """An answer is about to stream, by whom is known."""
    if relayed is not None:
        attempts.streaming(request.scope["state"], relayed.candidate.upstream, relayed.account.id)


def openai_error(request: Request, error: GatewayError) -> bytes:
    """An error inside of a stream, as who asked is told it."""
    tried = attempts.attempts_for(request.scope["state"], error)
    return wire_errors.openai(error, attempts=tried, language=language_of(request))


async def linked(request: Request, relayed: Relayed, events: AsyncIterator[Event]) -> AsyncGenerator[Event]:
    """The events, media bearing a link of ours; the relayed answer is settled whatever ends them."""
    async with aclosing(relayed):
        async for event in events:
            yield MediaReady(with_link(request, event.media)) if isinstance(event, MediaReady) else event


def with_link(request: Request, media: Media) -> Media:
    return replace(media, url=link(request, media.key)) if media.key else media
