"""What comes of it: events of a generation in order, and how a job stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from gateway.types.requests import ChatRef

MediaFamily = Literal["image", "video", "audio", "text", "document"]
TaskState = Literal["submitting", "submit_unknown", "queued", "running", "succeeded", "failed", "cancelled", "expired"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Media:
    """Something produced. Either `url` (to fetch) or `data` is set."""

    family: MediaFamily
    mime: str = ""
    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    revised_prompt: str | None = None
    b64: str | None = field(default=None, repr=False)
    """Base64 as it came, where nobody has needed the bytes yet."""
    key: str | None = None
    """Where it is kept in our storage, once ingested."""
    asset_id: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    index: int
    id: str | None = None
    """With `name`, only in the first delta of a call."""
    name: str | None = None
    arguments: str = ""


class Progress(msgspec.Struct, frozen=True):
    percent: float
    """0 to 100, never falling."""


@dataclass(frozen=True, slots=True)
class PartialImage:
    index: int
    data: bytes = field(repr=False)
    mime: str = "image/png"


class MediaReady(msgspec.Struct, frozen=True):
    media: Media


@dataclass(frozen=True, slots=True)
class Usage:
    """What the upstream measured. The last one counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: float = 0.0
    characters: int = 0
    estimated: bool = False
    """True when the gateway counted because the upstream told nothing."""
    cost: float | None = None
    """What it cost, in `currency`. From an upstream: as that told it."""
    currency: str = ""
    """`USD`, `CNY`, `credits` …"""


class Finish(msgspec.Struct, frozen=True):
    reason: FinishReason = "stop"


class InConversation(msgspec.Struct, frozen=True):
    """The upstream's names for this turn: what goes into `ChatRequest.chat` to go on after it."""

    chat: ChatRef


class Paced(msgspec.Struct, frozen=True):
    """The account has nothing left for so many seconds, as the headers of an answer say: told before any refusal.

    Never the first event, and never told to a caller.
    """

    seconds: float


class Frame(msgspec.Struct, frozen=True):
    """One or more whole SSE frames in the OpenAI chat dialect, to be passed on as they are."""

    data: bytes


class Whole(msgspec.Struct, frozen=True):
    """A whole `chat.completion` in the OpenAI dialect, to be passed on as it is."""

    body: bytes


Event = (
    TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | Progress
    | PartialImage
    | MediaReady
    | Usage
    | Finish
    | InConversation
    | Paced
    | Frame
    | Whole
)


@dataclass(frozen=True, slots=True)
class Embeddings:
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Transcription:
    """The upstream's answer as it came: its shape follows the asked `response_format`."""

    body: bytes
    mime: str
    usage: Usage


# --- jobs ---


class Job(msgspec.Struct, frozen=True):
    """An upstream's long work. `cursor` is whatever the adapter needs to ask for it again: plain JSON values."""

    id: str
    cursor: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """How a job stands. `succeeded` needs media; an unknown native state is `running`."""

    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    progress: float | None = None
    """0 to 100, or None where the upstream tells nothing."""
    media: tuple[Media, ...] = ()
    error: Exception | None = None
    """Why it failed, as an error of ours."""
    eta_seconds: float | None = None
    usage: Usage | None = None
    native: str = ""
    """The upstream's own word for the state."""
    job: Job | None = None
    """A changed cursor to go on with."""
