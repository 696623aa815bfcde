"""A task's bad end as the error it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import GatewayError, GenerationFailed, Unsupported
from gateway.tasks.task import Task
from gateway.types import Alternative


def failure_of(task: Task) -> GatewayError:
    """The error that ended a task, with the status and code it had; a cancelled one says so."""
    if task.state == "cancelled":
        error: GatewayError = GenerationFailed("the task was cancelled", code="cancelled", task_id=task.id)
        error.status = 409
        return error
    return error_of(task.error or {}, task)


def error_of(kept: Mapping[str, Any], task: Task) -> GatewayError:
    """What is kept of an error with a task or one of its outputs, as an error; older ones keep less."""
    error: GatewayError
    if "allowed" in kept or "nearest" in kept:
        error = Unsupported(kept.get("message"), allowed=kept.get("allowed", ()), nearest=kept.get("nearest", ""))
    else:
        error = GenerationFailed(kept.get("message"))
    error.code = kept.get("code", error.code)
    error.status = kept.get("status", error.status)
    error.type = kept.get("type", error.type)
    error.param, error.advice, error.detail = kept.get("param"), kept.get("advice"), kept.get("detail")
    error.alternatives = tuple(Alternative(**one) for one in kept.get("alternatives", ()))
    error.task_id, error.chat_id = task.id, task.chat_id
    return error
