"""A body to the task it asks for: one reading for whoever makes tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.catalog.choosing import Choosing
from gateway.errors import InvalidRequest
from gateway.types import Candidate, Kind, Principal, TaskRequest, Wishes
from gateway.wire import native, openai_chat
from gateway.wire import task as wire_task
from gateway.wire.wishes import wishes

Body = Mapping[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as it was asked for."""

    kind: Kind
    request: TaskRequest
    candidates: tuple[Candidate, ...]
    wishes: Wishes
    metadata: dict[str, str] | None
    deadline: float | None
    """Seconds."""


async def asked(given: Body, choosing: Choosing, principal: Principal, hints: dict[str, str]) -> Asked:
    """What a body asks for. Raises what is wrong with it, and ModelNotFound."""
    flat = wire_task.flat(given)
    wanted = wishes(flat)
    metadata, deadline = wire_task.metadata(flat), wire_task.deadline(flat)
    body = wire_task.with_message(flat)
    named, implied = wire_task.images(body)
    chat = openai_chat.parse(native.chat_body(body, "prompt"))
    turns = openai_chat.messages(chat)
    found = named or native.inputs(turns)
    kind = native.kind(body) or implied
    choice = await choosing.choose(
        chat.model,
        native.fitting(kind, len(found)) if kind else None,
        principal,
        inputs=bool(found),
        fallback=wanted.fallback,
    )
    kind, places = choice.kind, choice.candidates
    if kind == "t2t":
        whole = msgspec.structs.replace(
            chat, body=choice.filled(chat.body), stream=False, include_usage=False, hints=hints
        )
        return Asked(kind, whole, choosing.in_order(places, whole, wanted), wanted, metadata, deadline)
    if kind not in native.CHAT_TYPES:
        raise InvalidRequest(f"a task cannot be of kind {kind}", param="kind")
    kind = native.fitting(kind, len(found), "kind")
    model = chat.model or places[0].card.id
    prompt = openai_chat.text(turns[-1].get("content"))
    request = native.media_request(choice.filled(body), kind, model, prompt, found, hints)
    return Asked(kind, request, choosing.in_order(places, request, wanted), wanted, metadata, deadline)
