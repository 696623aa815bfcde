"""What the vendor tells of a task, of images and of speech, and what that is to us. Pure readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.types import JobUpdate, Media, Usage, VideoRequest
from gateway.upstreams.dashscope import failures
from gateway.upstreams.dashscope.films import lengths

ZONE = timezone(timedelta(hours=8))
"""Of every time that the vendor tells or is told, on a clock of 24 hours and without its zone."""


class Part(msgspec.Struct):
    """One of several results: an address, or why there is none."""

    url: str | None = None
    code: str | None = None
    message: str | None = None


class Message(msgspec.Struct):
    content: list[dict[str, Any]] | str | None = None


class Choice(msgspec.Struct):
    message: Message | None = None


class Audio(msgspec.Struct):
    url: str | None = None
    data: str | None = None
    """In base64; only streams have it."""


class Metrics(msgspec.Struct):
    """Parts of a task, counted."""

    total: int = msgspec.field(default=0, name="TOTAL")
    succeeded: int = msgspec.field(default=0, name="SUCCEEDED")
    failed: int = msgspec.field(default=0, name="FAILED")


class Output(msgspec.Struct):
    task_id: str = ""
    task_status: str = ""
    submit_time: str | None = None
    video_url: str | None = None
    results: list[Part] | dict[str, Any] | None = None
    choices: list[Choice] | None = None
    audio: Audio | None = None
    orig_prompt: str | None = None
    """Of tasks that succeeded."""
    task_metrics: Metrics | None = None
    code: str | None = None
    message: str | None = None

    @property
    def parts(self) -> list[Part]:
        """The images, however they are told."""
        if isinstance(self.results, list) and self.results:
            return list(self.results)
        contents = [choice.message.content for choice in self.choices or () if choice.message]
        pieces = [piece for content in contents if isinstance(content, list) for piece in content]
        return [Part(url=piece["image"]) for piece in pieces if isinstance(piece.get("image"), str)]

    @property
    def submitted(self) -> float | None:
        """Unix seconds."""
        with suppress(ValueError):
            return datetime.fromisoformat(self.submit_time or "").replace(tzinfo=ZONE).timestamp()
        return None


class Answer(msgspec.Struct):
    """Every answer of the vendor's own API that is not a list."""

    output: Output | None = None
    usage: dict[str, Any] | None = None
    code: str | None = None
    """Of a refusal that wears a 200."""


class Row(msgspec.Struct):
    task_id: str = ""
    task_status: str = ""
    status: str = ""
    """The same; lists have been seen with either."""


class Page(msgspec.Struct):
    """A piece of the list of tasks."""

    tasks: list[Row] | None = None
    data: list[Row] | None = None
    """The same; lists have been seen with either."""
    code: str | None = None

    def succeeded(self) -> list[str]:
        """The names of those that have."""
        rows = self.tasks or self.data or ()
        return [row.task_id for row in rows if row.task_id and (row.task_status or row.status) == "SUCCEEDED"]


def update(answer: Answer, secret: str) -> JobUpdate:
    """How a film's task stands. One that has succeeded but names no film has no media: it is looked at again."""
    output = answer.output or Output()
    match native := output.task_status:
        case "PENDING":
            return JobUpdate("queued", native=native)
        case "SUCCEEDED":
            usage = Usage(seconds=seconds(answer.usage))
            return JobUpdate("succeeded", 100, tuple(_film(answer)), usage=usage, native=native)
        case "FAILED":
            return JobUpdate("failed", error=failures.of_task(output.code, output.message, secret), native=native)
        case "CANCELED":
            return JobUpdate("cancelled", native=native)
        case _:
            return JobUpdate("running", native=native)


@dataclass(frozen=True, slots=True)
class Stills:
    """What came of an image's request."""

    made: tuple[Media, ...]
    missing: tuple[int, ...]
    """The places of those that came to nothing, from 1 on."""
    error: GatewayError | None
    """Why the first of them did, where that is told."""

    @property
    def count(self) -> int:
        """Of all whose end is known."""
        return len(self.made) + len(self.missing)

    def then(self, more: Stills) -> Stills:
        """With what came of another call after it."""
        missing = (*self.missing, *(self.count + place for place in more.missing))
        return Stills((*self.made, *more.made), missing, self.error or more.error)

    def lost(self, asked: int, error: GatewayError) -> Stills:
        """Nothing more comes of those that were `asked` for."""
        return self.then(Stills((), tuple(range(1, asked - self.count + 1)), error))

    @property
    def told(self) -> str:
        """The loss in words; empty where there is none."""
        if not self.missing:
            return ""
        which = ", ".join(map(str, self.missing))
        why = f": {self.error.message}" if self.error else ""
        return f"Of {self.count} images came to nothing {which}{why}\n"


def stills(answer: Answer, asked: int, secret: str) -> Stills:
    """The images that came out, and which of those that were `asked` for did not.

    A task tells why each is missing; an answer at once just has fewer.
    """
    output = answer.output or Output()
    parts = output.parts
    parts += [Part() for _ in range(asked - len(parts))]
    made = tuple(Media("image", url=part.url) for part in parts if part.url)
    missing = tuple(place for place, part in enumerate(parts, 1) if not part.url)
    blame = next((part for part in parts if part.code), output)
    told = blame.code or output.task_status in ("FAILED", "CANCELED")
    error = failures.of_task(blame.code, blame.message, secret) if missing and told else None
    return Stills(made, missing, error)


def percent(answer: Answer) -> float:
    """How far a task with several parts is."""
    metrics = (answer.output and answer.output.task_metrics) or Metrics()
    return min(95.0, 100 * (metrics.succeeded + metrics.failed) / metrics.total) if metrics.total > 0 else 0.0


def is_of(request: VideoRequest, answer: Answer, first: float, last: float) -> bool:
    """Whether a film is one that the request asked for between two times (Unix seconds), by all that is told of it."""
    output = answer.output
    if output is None or output.orig_prompt != request.prompt or output.submitted is None:
        return False
    made, able = seconds(answer.usage), lengths(request)
    return first <= output.submitted <= last and (not made or not able or made in able)


def counted(usage: dict[str, Any] | None) -> Usage:
    """What speech took."""
    return Usage(
        input_tokens=_whole(usage, "input_tokens"),
        output_tokens=_whole(usage, "output_tokens"),
        characters=_whole(usage, "characters"),
    )


def seconds(usage: dict[str, Any] | None) -> float:
    """How long a film is, by whichever of its names the vendor tells it; 0 where it does not."""
    for name in ("output_video_duration", "duration", "video_duration"):
        value = (usage or {}).get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return 0.0


def stamp(when: float) -> str:
    """A time as the list is asked by it. `when`: Unix seconds."""
    return datetime.fromtimestamp(when, ZONE).strftime("%Y%m%d%H%M%S")


def _film(answer: Answer) -> Iterator[Media]:
    if answer.output and answer.output.video_url:
        yield Media("video", url=answer.output.video_url, seconds=seconds(answer.usage) or None)


def _whole(usage: dict[str, Any] | None, name: str) -> int:
    value = (usage or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
