"""Images, videos, speech and music asked for in a chat."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.conversations import Conversation, Turn
from gateway.errors import DatabaseUnavailable, Draining
from gateway.live import EventStream
from gateway.routes import attempts
from gateway.routes.answers import Dialect, linked, relayed_by, served_as, stream, with_link, work
from gateway.routes.choosing import choose
from gateway.routes.house import Answer, connected, hints_of, house_of, note, principal_of, request_id_of, webhook_for
from gateway.routes.once import making, once_of
from gateway.routes.task_resource import WORDS
from gateway.routes.waiting import preferred_wait, seen_for
from gateway.tasks.failure import failure_of
from gateway.tasks.progress import standing
from gateway.tasks.task import Task
from gateway.types import (
    AnyRequest,
    Candidate,
    ChatRequest,
    Event,
    Finish,
    Kind,
    Media,
    MediaReady,
    Progress,
    Usage,
    VideoRequest,
    Wishes,
)
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat
from gateway.wire.openai_chat import DONE, Folded, Heading
from gateway.wire.wishes import adjustments_json

Answered = Answer | EventStream


async def answer(
    request: Request, asked: native.Body, chat: ChatRequest, kind: Kind, dialect: Dialect, wanted: Wishes
) -> Answered:
    """Make what the last message asks for. The conversation it belongs to, if any, keeps the turn."""
    house = house_of(request)
    turns = openai_chat.messages(chat)
    prompt, found = openai_chat.text(turns[-1].get("content")), native.inputs(turns)
    kind = native.fitting(kind, len(found))
    choice = await choose(request, chat.model, kind, inputs=bool(found), fallback=wanted.fallback)
    asked = choice.filled(asked)
    names = native.names(asked) or native.Names(None, None)
    talk = await house.conversations.open(principal_of(request).id, names.chat_id, names.parent_id)
    model = chat.model or choice.candidates[0].card.id
    what = native.media_request(asked, kind, model, prompt, found, hints_of(request))
    candidates = house.choosing.in_order(choice.candidates, what, wanted)
    if isinstance(what, VideoRequest):
        _check_wait(request, asked)
        task = await house.tasks.submit(
            what,
            candidates,
            principal_of(request),
            request_id=request_id_of(request),
            chat_id=talk.chat_id,
            webhook=webhook_for(request, asked),
            once=await once_of(request),
            wishes=wanted,
        )
        note(request, task=task.id)
        if task.request_id == request_id_of(request):  # else it was asked for before, and its turn is kept
            await _promised(request, task, talk, turns)
        return await _task_answer(request, asked, chat, task, dialect)
    return await _made_now(request, chat, what, kind, candidates, talk, turns, dialect, wanted)


# --- made while the caller waits: images, speech, music ---


async def _made_now(
    request: Request,
    chat: ChatRequest,
    what: AnyRequest,
    kind: Kind,
    candidates: tuple[Candidate, ...],
    talk: Conversation,
    turns: list[dict[str, Any]],
    dialect: Dialect,
    wanted: Wishes,
) -> Answered:
    with connected(request):
        async with making(request, paid=True):
            relayed = await house_of(request).relay.open(work(request, kind, what, candidates, wanted))
    turn = Turn(turns, chat.model or relayed.candidate.card.id, relayed.candidate.upstream, relayed.account.id)
    events = _remembered(request, linked(request, relayed, aiter(relayed)), talk, turn)
    extra = native.names_json(talk.chat_id, talk.response_id) if dialect.native else {}
    extra |= _told(adjustments_json(relayed.adjustments))
    heading = _heading(chat, relayed.candidate.card.id, extra)
    headers = relayed_by(request, relayed)
    if chat.stream:
        return stream(request, _frames(chat, _finished(events), heading, dialect), headers, DONE, relayed)
    with connected(request):
        async with aclosing(events):
            folded = await openai_chat.fold(events)
    body = openai_chat.completion(folded, heading, dialect.show)
    return Answer(_with_media_usage(body, folded) if dialect.native else body, headers=headers)


async def _remembered(
    request: Request, events: AsyncGenerator[Event], talk: Conversation, turn: Turn
) -> AsyncGenerator[Event]:
    """The events; a conversation that the caller named, or could name next, keeps what was made as words."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, MediaReady):
                turn.said.append(f"[{event.media.family} {event.media.asset_id}]\n")
            yield event
    await house_of(request).conversations.keep(talk, turn)


async def _finished(events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """Chat clients need a finish reason; generations of media have none of their own."""
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, Finish):
                yield event
    yield Finish("stop")


def _with_media_usage(body: bytes, folded: Folded) -> bytes:
    """The native usage of media: measures instead of tokens."""
    first = folded.media[0] if folded.media else None
    shown = msgspec.json.decode(body)
    shown["usage"] = {
        "input_tokens": folded.usage.input_tokens,
        "output_tokens": folded.usage.output_tokens,
        "width": first.width if first else None,
        "height": first.height if first else None,
        "image_count": sum(media.family == "image" for media in folded.media),
    }
    if first is not None and first.family != "image":
        shown[f"{first.family}_url"] = first.url
    return msgspec.json.encode(shown)


# --- made as a task: videos ---


def _check_wait(request: Request, asked: native.Body) -> None:
    """Look at how the caller wants to wait before anything is made that costs. Raises InvalidRequest."""
    native.waits(asked)
    wire_body.read(asked, "progress", bool)
    preferred_wait(request)


async def _task_answer(
    request: Request, asked: native.Body, chat: ChatRequest, task: Task, dialect: Dialect
) -> Answered:
    headers = served_as(request, task)
    if task.final and task.state != "succeeded":  # asked for before, and it ended badly
        raise failure_of(task)
    preferred = preferred_wait(request)
    if not native.waits(asked) and preferred is None:
        return Answer(_promise(task), headers=headers)
    extra = {**native.names_json(task.chat_id, task.id), "task_id": task.id, **_told(task.adjustments)}
    if chat.stream:
        heading = _heading(chat, task.model, extra, task.id)
        progress = bool(wire_body.read(asked, "progress", bool))
        frames = _frames(chat, _watched(request, task), heading, dialect, progress=progress)
        return stream(request, frames, headers, DONE)
    if preferred is None:
        done = await _finished_task(request, task)
    elif not (done := await seen_for(request, task, preferred)).final:
        return Answer(_promise(done), headers=served_as(request, done))
    headers = served_as(request, done)
    folded = Folded(media=_media(request, done), usage=_usage(done))
    extra["video_url"] = folded.media[0].url if folded.media else None
    heading = _heading(chat, task.model, extra, task.id)
    return Answer(openai_chat.completion(folded, heading, dialect.show), headers=headers)


async def _promised(request: Request, task: Task, talk: Conversation, turns: list[dict[str, Any]]) -> None:
    """Keep the turn at once, under the task's name: the chat goes on by it, whether or not its caller waits."""
    talk.response_id = task.id
    turn = Turn(turns, task.model, task.upstream, task.account or "", said=[f"[video {task.id}]"])
    with suppress(DatabaseUnavailable):  # the task stands, and its caller must hear of it
        await house_of(request).conversations.keep(talk, turn)


async def _finished_task(request: Request, task: Task) -> Task:
    """Wait for the end. Raises WaitTimeout, or Draining that names the task: asked for again, it would cost again."""
    try:
        with connected(request):
            return await house_of(request).tasks.finished(task.id, house_of(request).config.tasks.wait_timeout)
    except Draining as error:
        error.task_id, error.chat_id, error.resend_helps = task.id, task.chat_id, False
        error.advice = f"The video goes on: ask GET /api/tasks/status/{task.id} for it"
        raise


def _promise(task: Task) -> bytes:
    return msgspec.json.encode(
        {
            "task_id": task.id,
            "status": WORDS[task.state],
            "message": f"the video is {'' if task.final else 'being '}made; ask GET /api/tasks/status/{task.id}",
            **native.names_json(task.chat_id, task.id),
            **_told(task.adjustments),
        }
    )


async def _watched(request: Request, task: Task) -> AsyncGenerator[Event]:
    """A task's changes as events, to its end. Raises what ended it badly."""
    async for seen in house_of(request).tasks.watch(task.id, max(1.0, task.deadline - time.time())):
        if seen.final:
            attempts.served_as(request.scope["state"], seen)
            for media in _media(request, seen):
                yield MediaReady(media)
            yield _usage(seen)
            yield Finish("stop")
        else:
            yield Progress(standing(seen, house_of(request).tasks.store.now())[0])


def _media(request: Request, task: Task) -> list[Media]:
    """What a finished task made, with links. Raises what ended it badly."""
    if task.state != "succeeded":
        raise failure_of(task)
    return [
        with_link(
            request,
            Media("video", out.mime, width=out.width, height=out.height, seconds=out.seconds, key=out.key),
        )
        for out in task.outputs
    ]


def _usage(task: Task) -> Usage:
    return Usage(**task.usage) if task.usage else Usage()


# --- both ---


def _heading(chat: ChatRequest, model: str, extra: dict[str, Any], id_: str = "") -> Heading:
    return Heading(id_ or f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), chat.model or model, extra)


def _told(adjustments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was not used as asked, where there is any."""
    return {"adjustments": list(adjustments)} if adjustments else {}


async def _frames(
    chat: ChatRequest, events: AsyncGenerator[Event], heading: Heading, dialect: Dialect, *, progress: bool = False
) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for frame in openai_chat.chunks(
            events, heading, include_usage=chat.include_usage, show=dialect.show, progress=progress
        ):
            yield frame
