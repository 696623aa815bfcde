"""What can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["t2t", "t2i", "i2i", "t2v", "i2v", "flf2v", "ref2v", "t2m", "tts", "embedding", "transcription"]
"""Kinds of work. The last two have no media result and are asked for by their own /v1 routes only."""


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
    n: int = 1
    """Videos from one job, where a model makes several."""
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
    n: int = 1
    """Pieces from one call, where a model makes several."""


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
