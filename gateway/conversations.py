"""Conversations that callers name by `chatId` and `parentId`: every turn kept, and where the upstream holds them.

A chat goes on at the account that holds it, with only the new turn sent. Where that account is gone or rests, or the
upstream keeps no chats, all turns are sent again: nothing that was said is lost.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from gateway.db.engine import Database
from gateway.db.tables import chats, turns
from gateway.errors import InvalidRequest, NotFound
from gateway.types import ChatRef, Event, Finish, InConversation
from gateway.wire import openai_chat

MAX_TURNS = 1_000


@dataclass(slots=True)
class Conversation:
    """A chat as far as the turn that a request goes on from."""

    chat_id: str
    owner: str
    parent_id: str | None = None
    response_id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(16)}")
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The messages before this request, oldest first."""
    account: str | None = None
    """Who holds it upstream, by account id."""
    upstream: str | None = None
    ref: ChatRef | None = None
    known: bool = False
    """Whether the chat's row exists already."""


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, *, name: str, model: str) -> str:
        """A new, empty chat. Returns its id."""
        chat_id = _new_chat_id()
        async with self._database.write() as connection:
            await connection.execute(insert(chats).values(_chat(chat_id, owner, name=name, model=model)))
        return chat_id

    async def open(self, owner: str, chat_id: str | None, parent_id: str | None) -> Conversation:
        """The conversation a request belongs to; a new one where it names none.

        Without `parent_id` a known chat goes on after its last turn. Raises NotFound for ids that are not the owner's.
        """
        if chat_id is None:
            if parent_id is not None:
                chat_id = await self._chat_of(owner, parent_id)
            else:
                return Conversation(_new_chat_id(), owner)
        async with self._database.read() as connection:
            row = (await connection.execute(select(chats).where(chats.c.id == chat_id))).one_or_none()
            if row is None or row.owner != owner:
                raise NotFound(f"no chat {chat_id[:80]!r}", param="chatId", code="chat_not_found")
            found = (await connection.execute(select(turns).where(turns.c.chat_id == chat_id))).all()
        return _conversation(chat_id, owner, parent_id, {turn.id: turn for turn in found})

    async def keep(self, conversation: Conversation, turn: Turn) -> None:
        """Write a finished turn; the chat's row with it, where this was the first."""
        now = time.time()
        ref = turn.ref and {"chat_id": turn.ref.chat_id, "parent_id": turn.ref.parent_id}
        async with self._database.write() as connection:
            if not conversation.known:
                await connection.execute(
                    insert(chats).values(_chat(conversation.chat_id, conversation.owner, name="", model=turn.model))
                )
            await connection.execute(
                insert(turns).values(
                    id=conversation.response_id,
                    chat_id=conversation.chat_id,
                    owner=conversation.owner,
                    parent_id=conversation.parent_id,
                    messages=msgspec.json.encode(turn.messages).decode(),
                    answer="".join(turn.said).replace("\0", ""),  # an upstream may say one; PostgreSQL keeps none
                    model=turn.model,
                    upstream=turn.upstream,
                    account_id=turn.account,
                    upstream_ref=msgspec.json.encode(ref).decode() if ref else None,
                    created_at=now,
                )
            )
            await connection.execute(
                update(chats).where(chats.c.id == conversation.chat_id).values(updated_at=now, model=turn.model)
            )

    async def _chat_of(self, owner: str, turn_id: str) -> str:
        async with self._database.read() as connection:
            row = (await connection.execute(select(turns).where(turns.c.id == turn_id))).one_or_none()
        if row is None or row.owner != owner:
            raise NotFound(f"no turn {turn_id[:80]!r} to go on from", param="parentId", code="chat_not_found")
        return str(row.chat_id)


@dataclass(slots=True)
class Turn:
    """What a request adds to a conversation."""

    messages: list[dict[str, Any]]
    model: str
    upstream: str = ""
    account: str = ""
    said: list[str] = field(default_factory=list)
    """The answer, piece by piece."""
    ref: ChatRef | None = None
    finished: bool = False

    async def heard(self, events: AsyncIterator[Event]) -> AsyncGenerator[Event]:
        """The same events, their text and the upstream's names for the turn noted on the way."""
        async for event in events:
            self._note(event)
            yield event

    def _note(self, event: Event) -> None:
        match event:
            case InConversation(chat):
                self.ref = chat
            case Finish():
                self.finished = True
            case _:
                self.said.append(openai_chat.said(event))


def _conversation(chat_id: str, owner: str, parent_id: str | None, by_id: dict[str, Any]) -> Conversation:
    if parent_id is None and by_id:
        parent_id = max(by_id.values(), key=lambda turn: turn.created_at).id
    if parent_id is not None and parent_id not in by_id:
        raise InvalidRequest(
            f"the chat has no turn {parent_id[:80]!r}; send the 'response_id' of one of its answers", param="parentId"
        )
    path: list[Any] = []
    at = parent_id
    while at is not None and len(path) < MAX_TURNS:
        path.append(by_id[at])
        at = by_id[at].parent_id
    conversation = Conversation(chat_id, owner, parent_id, known=True)
    for turn in reversed(path):
        conversation.earlier += msgspec.json.decode(turn.messages)
        conversation.earlier.append({"role": "assistant", "content": turn.answer})
    if path:
        last = path[0]
        conversation.account, conversation.upstream = last.account_id, last.upstream
        conversation.ref = ChatRef(**msgspec.json.decode(last.upstream_ref)) if last.upstream_ref else None
    return conversation


def _chat(chat_id: str, owner: str, *, name: str, model: str) -> dict[str, Any]:
    now = time.time()
    return {
        "id": chat_id,
        "owner": owner,
        "name": name,
        "model": model,
        "kind": "t2t",
        "created_at": now,
        "updated_at": now,
    }


def _new_chat_id() -> str:
    return f"chat_{secrets.token_hex(16)}"
