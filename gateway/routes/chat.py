"""Chats: text relayed, and everything else that can be asked for in a chat. /v1/chat/completions and /api/chat."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.conversations import Conversation, Turn
from gateway.errors import AccountError, Conflict, Unavailable, UpstreamUnreachable
from gateway.live import EventStream
from gateway.relay import Relayed
from gateway.routes import media_chat
from gateway.routes.answers import NATIVE, OPENAI, Dialect, relayed_by, stream, work
from gateway.routes.choosing import choose
from gateway.routes.continuing import continued
from gateway.routes.house import Answer, connected, hints_of, house_of, note, principal_of, read_body
from gateway.routes.kept_text import KeptText, kept
from gateway.routes.once import making
from gateway.types import Candidate, ChatRequest, Event, Wishes
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat
from gateway.wire.openai_chat import DONE, Heading
from gateway.wire.wishes import wishes

Answered = Answer | EventStream


async def create(request: Request) -> Answered:
    """POST /v1/chat/completions: a chat in the OpenAI dialect; the native extra fields work here too."""
    body = await continued(request, wire_body.decode(await read_body(request)))
    chat = native.chat_body(body) if "message" in body or "files" in body else body
    return await _answer(request, body, chat, OPENAI)


async def create_native(request: Request) -> Answered:
    """POST /api/chat: text, images, videos and audio by `chatType`."""
    body = await continued(request, wire_body.decode(await read_body(request)))
    native.kind(body)
    return await _answer(request, body, native.chat_body(body), NATIVE)


async def _answer(request: Request, asked: native.Body, body: native.Body, dialect: Dialect) -> Answered:
    chat = openai_chat.parse(body)
    wanted = wishes(asked)
    kind = native.kind(asked)
    if kind is not None and kind != "t2t":  # what the request brings makes another kind of it
        kind = native.fitting(kind, len(native.inputs(openai_chat.messages(chat))))
    choice = await choose(request, chat.model, kind, fallback=wanted.fallback)
    if choice.kind != "t2t":
        return await media_chat.answer(request, asked, chat, choice.kind, dialect, wanted)
    if choice.params:
        chat = msgspec.structs.replace(chat, body=choice.filled(chat.body))
    candidates = house_of(request).choosing.in_order(choice.candidates, chat, wanted)
    keeping = kept(request, chat)
    if hints := hints_of(request):
        chat = msgspec.structs.replace(chat, hints=hints)
    names = native.names(asked)
    if names is None and not dialect.native:
        with connected(request):
            async with making(request):
                relayed = await house_of(request).relay.open(work(request, "t2t", chat, candidates, wanted))
            return await _told(request, chat, relayed, aiter(relayed), {}, keeping)
    return await _turn(request, chat, candidates, names or native.Names(None, None), keeping, wanted)


async def _turn(
    request: Request,
    chat: ChatRequest,
    candidates: tuple[Candidate, ...],
    names: native.Names,
    keeping: KeptText | None,
    wanted: Wishes,
) -> Answered:
    """A chat that belongs to a conversation: it goes on where it is held, and its new turn is kept."""
    house = house_of(request)
    conversation = await house.conversations.open(principal_of(request).id, names.chat_id, names.parent_id)
    added = openai_chat.messages(chat)
    with connected(request):
        async with making(request):
            relayed = await _held(request, chat, candidates, conversation, wanted)
            if relayed is None:
                whole = _with_earlier(chat, conversation, added)
                relayed = await house.relay.open(work(request, "t2t", whole, candidates, wanted))
        turn = Turn(added, chat.model or relayed.candidate.card.id, relayed.candidate.upstream, relayed.account.id)
        extra = native.names_json(conversation.chat_id, conversation.response_id)
        return await _told(request, chat, relayed, _kept(request, relayed, conversation, turn), extra, keeping)


async def _held(
    request: Request,
    chat: ChatRequest,
    candidates: tuple[Candidate, ...],
    conversation: Conversation,
    wanted: Wishes,
) -> Relayed | None:
    """Go on at the account that holds the conversation; None where it cannot, so that all turns are sent anew."""
    at = tuple(found for found in candidates if found.upstream == conversation.upstream)
    if conversation.ref is None or not at:
        return None
    held = work(request, "t2t", msgspec.structs.replace(chat, chat=conversation.ref), at[:1], wanted)
    held.only = conversation.account
    try:
        return await house_of(request).relay.open(held)
    except (Unavailable, AccountError, Conflict, UpstreamUnreachable) as error:
        note(request, moved=error.code)
        return None


def _with_earlier(chat: ChatRequest, conversation: Conversation, added: list[dict[str, Any]]) -> ChatRequest:
    if not conversation.earlier:
        return chat
    turns = msgspec.Raw(msgspec.json.encode([*conversation.earlier, *added]))
    return msgspec.structs.replace(chat, body={**chat.body, "messages": turns})


async def _kept(request: Request, relayed: Relayed, conversation: Conversation, turn: Turn) -> AsyncGenerator[Event]:
    """The events, and the turn written once they ended well: an answer cut short is not one to go on from."""
    async with aclosing(turn.heard(aiter(relayed))) as events:
        async for event in events:
            yield event
    await house_of(request).conversations.keep(conversation, turn)


async def _told(
    request: Request,
    chat: ChatRequest,
    relayed: Relayed,
    events: AsyncIterator[Event],
    extra: dict[str, Any],
    keeping: KeptText | None,
) -> Answered:
    if keeping is not None:
        events = keeping.heard(relayed, events)
    headers = relayed_by(request, relayed)
    model = chat.model or relayed.candidate.card.id
    heading = Heading(f"chatcmpl-{random.getrandbits(96):024x}", int(time.time()), model, extra)
    if chat.stream:
        return stream(request, _frames(chat, relayed, events, heading), headers, DONE, relayed)
    async with aclosing(relayed):
        folded = await openai_chat.fold(events)
    if keeping is not None and keeping.asset_id is not None:
        headers.append((b"x-asset-id", keeping.asset_id.encode()))
    return Answer(openai_chat.completion(folded, heading), headers=headers)


async def _frames(
    chat: ChatRequest, relayed: Relayed, events: AsyncIterator[Event], heading: Heading
) -> AsyncGenerator[bytes]:
    async with aclosing(relayed):
        if heading.extra and relayed.passed:
            yield openai_chat.extra_frame(heading)
        async for frame in openai_chat.chunks(events, heading, include_usage=chat.include_usage):
            yield frame
