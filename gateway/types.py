"""The nouns of the house: values that rooms hand to each other. No behaviour, no imports of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Kind = Literal["t2t", "t2i", "i2i", "t2v", "i2v", "flf2v", "ref2v", "t2m", "tts", "embedding", "transcription"]
"""Kinds of work. The last two have no media result and are asked for by their own /v1 routes only."""

MediaFamily = Literal["image", "video", "audio", "text", "document"]
TaskState = Literal["submitting", "submit_unknown", "queued", "running", "succeeded", "failed", "cancelled", "expired"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


# --- requests ---


class Size(msgspec.Struct, frozen=True):
    """What the caller asked for: pixels, or only a ratio (then `width` and `height` are 0)."""

    ratio: str
    """Like `16:9`, reduced; always set."""
    width: int = 0
    height: int = 0


class Input(msgspec.Struct, frozen=True):
    """A file that goes into a generation."""

    url: str
    """`https://…`, `data:…`, one of our links, or (once staged) what the upstream wants to be told."""
    role: Literal["image", "first_frame", "last_frame", "reference", "mask", "file"] = "image"
    mime: str = ""
    name: str = ""
    size: int = 0
    ref: dict[str, Any] | None = None
    """What `Upstream.upload` returned for it: the upstream's own name for the file."""


class ChatRef(msgspec.Struct, frozen=True):
    """An upstream's own names for a conversation it keeps."""

    chat_id: str
    parent_id: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, tag="chat"):
    """Text from messages. Keeps the caller's whole body: an upstream of the same dialect gets every field."""

    model: str
    body: Mapping[str, msgspec.Raw]
    """The JSON object as sent on /v1, each value undecoded. `gateway.wire.openai_chat` reads fields from it."""
    stream: bool = False
    include_usage: bool = False
    """Whether a streaming caller asked for the usage chunk."""
    chat: ChatRef | None = None
    """Set when the conversation goes on at the account that holds it: send only the last turn."""
    inputs: tuple[Input, ...] = ()
    """Files named in the last user message, staged for the upstream if it takes uploads."""
    hints: Mapping[str, str] = {}
    """Request headers that an upstream declares it reads (`Upstream.reads_headers`)."""


class ImageRequest(msgspec.Struct, frozen=True, tag="image"):
    """Images from text (t2i) or from text and images (i2i)."""

    model: str
    prompt: str
    kind: Literal["t2i", "i2i"] = "t2i"
    size: Size | None = None
    n: int = 1
    seed: int | None = None
    inputs: tuple[Input, ...] = ()
    partial_images: int = 0
    params: dict[str, Any] = {}
    """Further parameters as the caller sent them, passed to upstreams of the same dialect."""
    hints: dict[str, str] = {}


class VideoRequest(msgspec.Struct, frozen=True, tag="video"):
    """A video from text and, by kind, images. Stored with its task."""

    model: str
    prompt: str
    kind: Literal["t2v", "i2v", "flf2v", "ref2v"] = "t2v"
    size: Size | None = None
    seconds: float | None = None
    seed: int | None = None
    inputs: tuple[Input, ...] = ()
    params: dict[str, Any] = {}
    hints: dict[str, str] = {}
    mark: int = 0
    """A number of 31 random bits, the task's own: what an upstream carries along, its job can be found again by."""


class SpeechRequest(msgspec.Struct, frozen=True, tag="speech"):
    """Speech from text."""

    model: str
    text: str
    kind: Literal["tts"] = "tts"
    voice: str = ""
    format: str = "mp3"
    speed: float = 1.0
    params: dict[str, Any] = {}
    hints: dict[str, str] = {}

    @property
    def prompt(self) -> str:
        return self.text


class MusicRequest(msgspec.Struct, frozen=True, tag="music"):
    """Music from text."""

    model: str
    prompt: str
    kind: Literal["t2m"] = "t2m"
    seconds: float | None = None
    format: str = "mp3"
    seed: int | None = None
    params: dict[str, Any] = {}
    hints: dict[str, str] = {}


MediaRequest = ImageRequest | VideoRequest | SpeechRequest | MusicRequest
TaskRequest = MediaRequest | ChatRequest
"""What a task can be asked for; each carries its `type`, by which a stored one is read back."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Vectors from texts."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    user: str | None = None
    params: dict[str, Any] = {}
    hints: dict[str, str] = {}


class TranscriptionRequest(msgspec.Struct, frozen=True):
    """Text from speech. `fields` are the form's other fields, as sent."""

    model: str
    data: bytes
    name: str
    mime: str
    fields: tuple[tuple[str, str], ...] = ()
    translate: bool = False
    hints: dict[str, str] = {}


AnyRequest = (
    ChatRequest | ImageRequest | VideoRequest | SpeechRequest | MusicRequest | EmbeddingRequest | TranscriptionRequest
)


# --- events: what a generation yields, in order ---


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


class Finish(msgspec.Struct, frozen=True):
    reason: FinishReason = "stop"


class InConversation(msgspec.Struct, frozen=True):
    """The upstream's names for this turn: what goes into `ChatRequest.chat` to go on after it."""

    chat: ChatRef


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


# --- accounts and models ---


@dataclass(frozen=True, slots=True)
class Account:
    """One identity at an upstream."""

    id: str
    """`<upstream>/<name>`"""
    name: str
    upstream: str
    credential: str = field(default="", repr=False)
    base_url: str = ""
    """Without a trailing slash; the upstream's default already filled in."""
    proxy: str | None = field(default=None, repr=False)
    weight: float = 1.0
    max_concurrency: int = 8
    requests_per_minute: int | None = None
    daily_quota: Mapping[Kind, int] = field(default_factory=dict)
    not_models: frozenset[str] = frozenset()
    enabled: bool = True
    options: Any = field(default=None, repr=False)
    """The validated `Upstream.account_options_model` of the account's type."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model at one upstream."""

    id: str
    kinds: frozenset[Kind]
    name: str = ""
    context_length: int | None = None
    vision: bool = False
    reasoning: bool = False
    ratios: tuple[str, ...] = ()
    """Ratios it can make; empty: any."""
    max_n: int = 1
    """Images one call can make."""
    seconds: tuple[float, ...] = ()
    """Durations it can make; empty: any, or not its choice."""
    estimate: float | None = None
    """Seconds a generation usually takes."""
    created: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that can serve: a model at an upstream."""

    upstream: str
    card: ModelCard


WebhookEvent = Literal["task.running", "task.succeeded", "task.failed", "task.cancelled", "task.expired"]


class Webhook(msgspec.Struct, frozen=True):
    """Where the caller wants to hear of its tasks."""

    url: str
    events: tuple[WebhookEvent, ...] = ("task.succeeded", "task.failed", "task.cancelled", "task.expired")
    base: str = ""
    """What links in its events begin with: how the gateway was reached when the task was asked for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key proved to be."""

    id: str
    """Owner of what it makes."""
    name: str
    role: Literal["admin", "developer", "viewer"] = "developer"
    webhook: Webhook | None = None
    """Told of its tasks that name no webhook of their own."""


class UsageRecord(msgspec.Struct, frozen=True):
    """One request, as accounted for."""

    at: float
    """Unix seconds."""
    request_id: str
    owner: str
    kind: Kind
    model: str
    upstream: str
    account: str
    status: int
    code: str
    input_tokens: int
    output_tokens: int
    images: int
    media_seconds: float
    seconds: float
    """How long the request took."""
    attempts: int
    task_id: str | None = None
