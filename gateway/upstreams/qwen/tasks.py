"""Videos as the site makes them: the task that an answer names, and how it stands. Pure readers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from gateway.types import Job, JobUpdate, Media
from gateway.upstreams.qwen import failures
from gateway.upstreams.qwen.answers import Message, urls


class Submitted(msgspec.Struct):
    """The answer to a video that was asked for."""

    messages: list[Message] | None = None


class Status(msgspec.Struct):
    task_status: str
    content: str | None = None
    """The video's URL, once it is made."""
    message: str | None = None
    remaining_time: float | str | None = None
    """Seconds, or nothing."""

    def seconds_left(self) -> float | None:
        with suppress(TypeError, ValueError):
            return left if (left := float(self.remaining_time or "")) > 0 else None
        return None


def task_id(messages: Iterable[Message]) -> str | None:
    """The job that one of the messages names."""
    found = ((message.extra or {}).get("wanx") or {} for message in messages)
    return next((str(wanx["task_id"]) for wanx in found if wanx.get("task_id")), None)


def update(job: Job, status: Status, own: str, secret: str, now: float) -> JobUpdate:
    """How a job stands; success counts with a video. Time spent over time in all is its progress, where told."""
    native = status.task_status
    match native.lower():
        case "success" | "succeeded" | "completed" if found := urls(status.content or "", own):
            return JobUpdate("succeeded", 100, (Media("video", url=found[0]),), native=native)
        case "failed" | "failure" | "error":
            return JobUpdate("failed", error=failures.of_job(status.message or "", secret), native=native)
        case _:
            left, begun = status.seconds_left(), job.cursor.get("submitted_at")
            spent = max(0.0, now - begun) if begun else None
            progress = 100 * spent / (spent + left) if spent is not None and left else None
            return JobUpdate("running", progress, eta_seconds=left, native=native)
