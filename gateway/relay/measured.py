"""What has passed of an answer, and what it comes to where its upstream told nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.types import (
    AnyRequest,
    ChatRequest,
    EmbeddingRequest,
    Event,
    Frame,
    Media,
    MediaReady,
    ReasoningDelta,
    SpeechRequest,
    TextDelta,
    ToolCallDelta,
    Usage,
    Whole,
)
from gateway.wire.expected import BYTES_A_TOKEN, input_tokens
from gateway.wire.openai_frames import said_in_frames, said_in_whole

SAMPLE_BYTES = 4 * 1024
"""Of the first frames are remembered."""


class Measured:
    """Noted as events pass, at the price of an addition or two; words are looked at only where nothing was told."""

    __slots__ = ("_bytes", "_frames", "_sample", "_whole", "media", "usage")

    def __init__(self) -> None:
        self.usage = Usage()
        """As the upstream told it, until it is settled."""
        self.media: list[Media] = []
        """What was made and is kept."""
        self._bytes = 0
        """Of words that came as such."""
        self._frames = 0
        """Bytes of frames."""
        self._sample: list[bytes] = []
        """The first frames, by which the others are judged."""
        self._whole = b""

    def add(self, event: Event) -> None:
        if type(event) is Frame:
            if self._frames < SAMPLE_BYTES:
                self._sample.append(event.data[:SAMPLE_BYTES])
            self._frames += len(event.data)
        elif type(event) is TextDelta or type(event) is ReasoningDelta:
            self._bytes += len(event.text.encode())
        elif type(event) is Usage:
            self.usage = event
        else:
            self._rare(event)

    def _rare(self, event: Event) -> None:
        match event:
            case MediaReady(media):
                self.media.append(media)
            case ToolCallDelta():
                self._bytes += len(event.arguments.encode())
            case Whole(body):
                self._whole = body
            case _:
                pass

    def tokens(self) -> int:
        """A rough count of the words."""
        if self._frames:
            return max(1, self._in_frames())
        words = said_in_whole(self._whole) if self._whole else self._bytes
        return -(-words // BYTES_A_TOKEN)

    def _in_frames(self) -> int:
        """As many words as in the first frames, by the length of all; for each frame with words a token at least."""
        sample = b"".join(self._sample)
        words, frames = said_in_frames(sample)
        more = self._frames / len(sample)
        return round(max(words / BYTES_A_TOKEN, frames) * more)


def counted(usage: Usage, request: AnyRequest, measured: Measured | None = None) -> Usage:
    """What was told, and where nothing was, what the gateway sees itself: media by their bytes, words roughly."""
    measured = measured or Measured()
    if isinstance(request, ChatRequest):
        return usage if _tells_tokens(usage) else _guessed(usage, input_tokens(request), measured.tokens())
    if isinstance(request, EmbeddingRequest):
        return usage if _tells_tokens(usage) else _guessed(usage, input_tokens(request))
    usage = with_media(usage, [(media.family, media.seconds) for media in measured.media])
    if isinstance(request, SpeechRequest) and measured.media and not usage.characters:
        usage = replace(usage, characters=len(request.text))
    return usage


def _tells_tokens(usage: Usage) -> bool:
    return bool(usage.input_tokens or usage.output_tokens)


def _guessed(usage: Usage, read: int, written: int = 0) -> Usage:
    return replace(usage, input_tokens=read, output_tokens=written, estimated=True)


def with_media(usage: Usage, made: Sequence[tuple[str, float | None]]) -> Usage:
    """Usage that tells of media, each given as its family and its seconds, even where the upstream did not."""
    images = usage.images or sum(family == "image" for family, _ in made)
    seconds = usage.seconds or sum(seconds or 0.0 for family, seconds in made if family in ("video", "audio"))
    if (images, seconds) == (usage.images, usage.seconds):
        return usage
    return replace(usage, images=images, seconds=seconds)
