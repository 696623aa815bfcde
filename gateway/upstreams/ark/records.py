"""Jobs as the vendor keeps them, and what they tell: how a job stands, and whose it is. Pure readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import msgspec

from gateway import errors
from gateway.types import Job, JobUpdate, Media, Usage, VideoRequest
from gateway.upstreams.ark import failures, payload
from gateway.upstreams.ark.names import is_endpoint, keeps_seed


class Made(msgspec.Struct):
    """The answer to a create."""

    id: Annotated[str, msgspec.Meta(min_length=1)]


class Content(msgspec.Struct):
    video_url: str | None = None
    last_frame_url: str | None = None


class Spent(msgspec.Struct):
    completion_tokens: int = 0


class Record(msgspec.Struct):
    """A job. Until it has succeeded, seed and length are not told."""

    id: str
    status: str
    model: str = ""
    """The model itself, also where an endpoint was asked."""
    created_at: float = 0
    """Unix seconds."""
    seed: int | None = None
    execution_expires_after: int | None = None
    duration: float | None = None
    """Seconds; `frames` is told instead where those were counted."""
    frames: int | None = None
    framespersecond: float | None = None
    error: failures.Trouble | None = None
    content: Content | None = None
    usage: Spent | None = None

    @property
    def video_url(self) -> str:
        return (self.content and self.content.video_url) or ""

    @property
    def seconds(self) -> float | None:
        counted = self.frames / self.framespersecond if self.frames and self.framespersecond else None
        return self.duration or counted


class Page(msgspec.Struct):
    """A piece of a list, newest first."""

    items: list[msgspec.Raw] | None = None
    total: int = 0

    def records(self) -> Iterator[Record]:
        """Those that can be read: one that cannot is no reason to be blind to all."""
        for item in self.items or ():
            with suppress(msgspec.DecodeError):
                yield msgspec.json.decode(item, type=Record, strict=False)


def job(name: str, request: VideoRequest) -> Job:
    wanted = {"last_frame": bool(payload.asked(request).get("return_last_frame")), "flex": payload.is_flex(request)}
    return Job(name, {name: True for name, so in wanted.items() if so})


def update(known: Job, record: Record, secret: str) -> JobUpdate:
    """How a job stands. One that has succeeded but names no video has no media: it is looked at again."""
    native = record.status
    match native:
        case "queued" | "cancelled":
            return JobUpdate(native, native=native)
        case "succeeded":
            tokens = record.usage.completion_tokens if record.usage else 0
            usage = Usage(output_tokens=tokens, seconds=record.seconds or 0.0)
            return JobUpdate("succeeded", 100, tuple(_media(known, record)), usage=usage, native=native)
        case "failed":
            return JobUpdate("failed", error=failures.of_job(record.error, secret), native=native)
        case "expired":
            error = errors.TaskExpired("the upstream gave up the job: its time was over before it was done")
            return JobUpdate("expired", error=error, native=native)
        case _:
            return JobUpdate("running", native=native)


def _media(known: Job, record: Record) -> Iterator[Media]:
    if not record.video_url:
        return
    yield Media("video", url=record.video_url, seconds=record.seconds)
    last = record.content.last_frame_url if record.content else None
    if last and known.cursor.get("last_frame"):
        yield Media("image", url=last)


def is_of(request: VideoRequest, record: Record) -> bool:
    """Whether a record tells one of the task's own marks, and nothing that speaks against it."""
    if not is_endpoint(request.model) and record.model != request.model:
        return False
    given, own = payload.marks(request)
    sent = given | own
    told = {"seed": record.seed, "execution_expires_after": record.execution_expires_after}
    if not keeps_seed(record.model) and record.seed != sent.get("seed"):
        told["seed"] = None  # one that the model drew itself
    against = any(told[name] not in (None, value) for name, value in sent.items())
    return not against and any(told[name] == value for name, value in own.items())
