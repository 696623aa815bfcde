"""What an answer holds: its envelope opened, its content in the shape that was asked for."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway import errors
from gateway.http import Reply
from gateway.upstreams.qwen.failures import Envelope, Failure, Of, error, failure_in

T = TypeVar("T")


def opened(reply: Reply, shape: type[T], secret: str, *, flat: str = "", of: Of = "", now: float) -> T:
    """What an answer holds. Raises what it says went wrong, and Challenged for what is not the API's.

    `flat`: a member that tells the API's answer where it comes without an envelope. `secret` is kept out of errors.
    """
    actual = reply.headers.get("x-actual-status-code", "")
    status = int(actual) if actual.isdecimal() else reply.status
    body = None if "html" in reply.content_type else decoded(reply.body)
    envelope = shaped(body, Envelope) if isinstance(body, dict) else Envelope()
    failure = failure_in(envelope)
    if failure is None and envelope.success:
        return shaped(envelope.data, shape)
    if failure is None and isinstance(body, dict) and flat in body:
        return shaped(body, shape)
    if failure or status in (401, 429) or status >= 500:
        raise error(failure or Failure(), status, secret, of=of, now=now)
    if body is None and reply.content_type == "application/json":
        raise errors.UpstreamGarbled("the upstream's answer is not JSON", sent="unknown")
    raise errors.Challenged(detail=f"HTTP {reply.status}, {reply.content_type or 'no content type'}")


def shaped(value: Any, shape: type[T]) -> T:
    """Decoded JSON as a value. Raises UpstreamGarbled where what the shape names is otherwise."""
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as exc:
        message = "the upstream's answer has not the shape that is known"
        raise errors.UpstreamGarbled(message, detail=str(exc), sent="unknown") from exc


def decoded(data: bytes) -> Any:
    """Decoded JSON; None where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
