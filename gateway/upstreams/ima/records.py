"""How a task stands, as the vendor tells it (wire sheet §7, 2026-11-21)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from gateway import errors
from gateway.types import Job, JobUpdate, Kind, Media, MediaFamily, Usage
from gateway.upstreams.ima import failures
from gateway.upstreams.ima.models import FILMS, IMAGES, POINTS

State = Literal["queued", "running", "ready", "failed", "gone"]

_SECONDS: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", re.IGNORECASE)


class Made(msgspec.Struct):
    """The answer to a create. `biz_id` is never asked with."""

    id: str | int | None = None
    generate_count: int | None = None


class Item(msgspec.Struct):
    """One output of a task."""

    resource_status: int | str | None = None
    status: str | None = None
    url: str | None = None
    preview_url: str | None = None
    watermark_url: str | None = None
    width: int | float | str | None = None
    height: int | float | str | None = None
    duration_str: str | int | float | None = None
    error_msg: str | None = None
    remark: str | None = None

    @property
    def state(self) -> State:
        """The word `failed` counts whatever the number says."""
        number, word = str(self.resource_status or 0), (self.status or "").lower()
        if word == "failed" or number == "2":
            return "failed"
        if number == "3":
            return "gone"
        if number == "1":
            return "ready"
        return "queued" if word == "pending" else "running"

    @property
    def address(self) -> str:
        return self.url or self.preview_url or self.watermark_url or ""

    @property
    def why(self) -> str:
        return self.error_msg or self.remark or ""

    @property
    def seconds(self) -> float | None:
        found = _SECONDS.fullmatch(str(self.duration_str or ""))
        return float(found[1]) if found else None


class Record(msgspec.Struct):
    medias: list[Item] | None = None


class Cursor(msgspec.Struct, frozen=True):
    """What is needed of a create when its task is looked at."""

    kind: Kind
    points: float
    count: int
    ready: bool = False
    """Whether an output was ready before."""


def cursor(job: Job) -> Cursor:
    return msgspec.convert(job.cursor, Cursor)


def update(job: Job, record: Record, secret: str) -> JobUpdate:
    """All or nothing: one output that failed is the task's end, and it tells how many were ready."""
    asked, items = cursor(job), record.medias or []
    states = [item.state for item in items]
    native = ", ".join(f"{item.resource_status}/{item.status}" for item in items)[:200]
    ready = states.count("ready")
    if "failed" in states or "gone" in states:
        return _ended(asked, items, ready, secret, native)
    if items and ready == len(items) >= asked.count:
        return _done(asked, items, native)
    state: Literal["queued", "running"] = "queued" if set(states) <= {"queued"} else "running"
    if ready and not asked.ready:
        seen = Job(job.id, {**job.cursor, "ready": True})
        return JobUpdate(state, native=native, job=seen)
    return JobUpdate(state, native=native)


def _ended(asked: Cursor, items: Sequence[Item], ready: int, secret: str, native: str) -> JobUpdate:
    why = next((item.why for item in items if item.state == "failed" and item.why), "")
    lost = any(item.state == "gone" for item in items)
    if lost and not any(item.state == "failed" for item in items):
        error: Exception = errors.GenerationFailed("the upstream has deleted the result", detail=native)
        return JobUpdate("expired" if asked.ready else "failed", error=error, native=native)
    error = failures.of_media(why, secret, ready=ready, count=max(asked.count, len(items)))
    return JobUpdate("failed", error=error, native=native)


def _done(asked: Cursor, items: Sequence[Item], native: str) -> JobUpdate:
    if not all(item.address for item in items):
        error = errors.UpstreamGarbled("the upstream says it is done but names no result")
        return JobUpdate("failed", error=error, native=native)
    media = tuple(_media(item, asked.kind) for item in items)
    return JobUpdate("succeeded", progress=100.0, media=media, usage=usage(asked, media), native=native)


def usage(asked: Cursor, media: Sequence[Media]) -> Usage:
    """Each output is paid for by itself."""
    return Usage(
        images=len(media) if asked.kind in IMAGES else 0,
        seconds=sum(one.seconds or 0.0 for one in media),
        cost=asked.points * asked.count,
        currency=POINTS,
    )


def _media(item: Item, kind: Kind) -> Media:
    family: MediaFamily = "image" if kind in IMAGES else "video" if kind in FILMS else "audio"
    return Media(
        family,
        url=item.address,
        width=None if family == "audio" else _whole(item.width),
        height=None if family == "audio" else _whole(item.height),
        seconds=None if family == "image" else item.seconds,
    )


def _whole(told: Any) -> int | None:
    try:
        return int(float(told)) or None
    except (TypeError, ValueError):
        return None
