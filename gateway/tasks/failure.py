"""A task's bad end as the error it was."""

from __future__ import annotations

from gateway.errors import GatewayError, GenerationFailed
from gateway.tasks.task import Task


def failure_of(task: Task) -> GatewayError:
    """The error that ended a task, with the status and code it had; a cancelled one says so."""
    if task.state == "cancelled":
        error: GatewayError = GenerationFailed("the task was cancelled", code="cancelled", task_id=task.id)
        error.status = 409
        return error
    told = task.error or {}
    error = GenerationFailed(
        told.get("message"), code=told.get("code"), param=told.get("param"), task_id=task.id, chat_id=task.chat_id
    )
    error.status = told.get("status", error.status)
    error.type = told.get("type", error.type)
    return error
