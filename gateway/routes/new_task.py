"""POST /api/tasks: any kind of work as a task."""

from __future__ import annotations

from starlette.requests import Request

from gateway.routes import attempts
from gateway.routes.continuing import continued
from gateway.routes.house import Answer, hints_of, house_of, note, principal_of, read_body, request_id_of, webhook_for
from gateway.routes.once import once_of
from gateway.routes.tasks import shown
from gateway.routes.waiting import preferred_wait, seen_for
from gateway.tasks.asked import asked
from gateway.wire import body as wire_body
from gateway.wire import task as wire_task


async def create(request: Request) -> Answer:
    """POST /api/tasks: 202 and the task; 200 where `Prefer: wait=N` saw its end."""
    house = house_of(request)
    flat = wire_task.flat(wire_body.decode(await read_body(request)))
    body = await continued(request, flat, in_chat=False)
    limit = preferred_wait(request)
    webhook = webhook_for(request, body)
    found = await asked(body, house.choosing, principal_of(request), hints_of(request))
    task = await house.tasks.submit(
        found.request,
        found.candidates,
        principal_of(request),
        request_id=request_id_of(request),
        kind=found.kind,
        metadata=found.metadata,
        webhook=webhook,
        deadline=found.deadline,
        once=await once_of(request),
        wishes=found.wishes,
    )
    note(request, task=task.id)
    if limit:
        task = await seen_for(request, task, limit)
    attempts.served_as(request.scope["state"], task)
    answer = await shown(request, task, status=200 if task.final else 202)
    answer.headers += [(b"location", f"/api/tasks/{task.id}".encode()), (b"x-task-id", task.id.encode())]
    return answer
