"""POST /api/tasks: any kind of work as a task."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.routes import attempts
from gateway.routes.house import Answer, hints_of, house_of, note, principal_of, read_body, request_id_of, webhook_for
from gateway.routes.once import once_of
from gateway.routes.tasks import shown
from gateway.routes.waiting import preferred_wait, seen_for
from gateway.types import Candidate, Kind, TaskRequest, Wishes
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat
from gateway.wire import task as wire_task
from gateway.wire.wishes import wishes


async def create(request: Request) -> Answer:
    """POST /api/tasks: 202 and the task; 200 where `Prefer: wait=N` saw its end."""
    house = house_of(request)
    body = wire_task.flat(wire_body.decode(await read_body(request)))
    limit = preferred_wait(request)
    webhook = webhook_for(request, body)
    metadata, deadline = wire_task.metadata(body), wire_task.deadline(body)
    wanted = wishes(body)
    kind, what, candidates = _asked(request, wire_task.with_message(body), wanted)
    task = await house.tasks.submit(
        what,
        candidates,
        principal_of(request),
        request_id=request_id_of(request),
        kind=kind,
        metadata=metadata,
        webhook=webhook,
        deadline=deadline,
        once=await once_of(request),
        wishes=wanted,
    )
    note(request, task=task.id)
    if limit:
        task = await seen_for(request, task, limit)
    attempts.served_as(request.scope["state"], task)
    answer = await shown(request, task, status=200 if task.final else 202)
    answer.headers += [(b"location", f"/api/tasks/{task.id}".encode()), (b"x-task-id", task.id.encode())]
    return answer


def _asked(request: Request, body: native.Body, wanted: Wishes) -> tuple[Kind, TaskRequest, tuple[Candidate, ...]]:
    house = house_of(request)
    named, implied = wire_task.images(body)
    chat = openai_chat.parse(native.chat_body(body, "prompt"))
    turns = openai_chat.messages(chat)
    found = named or native.inputs(turns)
    asked = native.kind(body) or implied
    resolved = house.catalog.resolve(
        chat.model,
        native.fitting(asked, len(found)) if asked else None,
        inputs=bool(found),
        fallback=wanted.fallback,
    )
    kind = resolved.kind
    if kind == "t2t":
        whole = msgspec.structs.replace(chat, stream=False, include_usage=False, hints=hints_of(request))
        return kind, whole, resolved.candidates
    if kind not in native.CHAT_TYPES:
        raise InvalidRequest(f"a task cannot be of kind {kind}", param="kind")
    kind = native.fitting(kind, len(found), "kind")
    model = chat.model or resolved.candidates[0].card.id
    prompt = openai_chat.text(turns[-1].get("content"))
    return kind, native.media_request(body, kind, model, prompt, found, hints_of(request)), resolved.candidates
