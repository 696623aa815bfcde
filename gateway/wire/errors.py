"""Errors as callers see them: the OpenAI object on /v1, a sentence with a code on /api. Never a 200."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.errors import Attempt, GatewayError
from gateway.wire.attempts import attempts_json


def openai(error: GatewayError, *, attempts: Sequence[Attempt] = ()) -> bytes:
    """`{"error": {"message", "type", "param", "code", "task_id"?, "attempts"?}}`.

    The message is enough by itself: SDKs show nothing else. `attempts` are for admins.
    """
    body: dict[str, Any] = {
        "message": sentence(error),
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.task_id:
        body["task_id"] = error.task_id
    if attempts:
        body["attempts"] = attempts_json(attempts)
    return msgspec.json.encode({"error": body})


def native(error: GatewayError, *, admin: bool = False, attempts: Sequence[Attempt] = ()) -> bytes:
    """`{"error", "code", "detail"?, "param"?, "status"?, "task_id"?, "chatId"?, "attempts"?}`.

    `detail` and `attempts` are for admins.
    """
    body: dict[str, Any] = {"error": sentence(error), "code": error.code}
    if error.param:
        body["param"] = error.param
    if admin and error.detail:
        body["detail"] = error.detail
    if error.task_id:
        body["task_id"] = error.task_id
    if error.chat_id:
        body["chatId"] = error.chat_id
    if error.code == "timeout":
        body["status"] = "timeout"
    if attempts:
        body["attempts"] = attempts_json(attempts)
    return msgspec.json.encode(body)


def sentence(error: GatewayError) -> str:
    """What happened and, where there is something to do, what."""
    if not error.advice:
        return error.message
    return f"{error.message.rstrip('.')}. {error.advice}"


def headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """What clients act on: when to come back, and whether it makes sense."""
    found: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None or error.status in (429, 503):
        seconds = max(1, math.ceil(error.retry_after or 1))
        found.append((b"retry-after", str(seconds).encode()))
    if error.resend_helps is not None:
        found.append((b"x-should-retry", b"true" if error.resend_helps else b"false"))
    if error.status == 401:
        found.append((b"www-authenticate", b"Bearer"))
    return found
