"""What comes back: lines of a stream and kept conversations, read into events and media. Pure readers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from gateway import errors
from gateway.types import (
    ChatRef,
    Event,
    Finish,
    InConversation,
    Media,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.upstreams.qwen import failures
from gateway.wire.flattened import CallReader

UNFINISHED = "the upstream's answer stopped before it began"


# --- lines of a stream ---


class Extra(msgspec.Struct):
    """What stands beside a delta's text."""

    summary_title: dict[str, list[str]] | None = None
    summary_thought: dict[str, list[str]] | None = None
    image_list: list[dict[str, str]] | None = None
    output_image_hw: list[tuple[int, int]] | None = None

    def summary(self) -> str:
        """Thoughts in short: titles and paragraphs, all of them each time."""
        titles, thoughts = ((told or {}).get("content", []) for told in (self.summary_title, self.summary_thought))
        return "\n\n".join("\n".join(filter(None, pair)) for pair in zip_longest(titles, thoughts))


class Delta(msgspec.Struct):
    role: str | None = None
    content: str | None = None
    phase: str | None = None
    """None in older replies: the answer, or the image that was asked for."""
    status: str | None = None
    """`finished` ends a phase."""
    extra: Extra | None = None


class Choice(msgspec.Struct):
    delta: Delta


class Measured(msgspec.Struct):
    """Usage: tokens so far or, of images, their sides."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: dict[str, int] | None = None
    output_tokens_details: dict[str, int] | None = None
    width: int | None = None
    height: int | None = None

    def usage(self) -> Usage:
        cached = (self.input_tokens_details or {}).get("cached_tokens", 0)
        reasoning = (self.output_tokens_details or {}).get("reasoning_tokens", 0)
        return Usage(self.input_tokens, self.output_tokens, cached, reasoning)


class Created(msgspec.Struct):
    response_id: str | None = None


class Line(failures.Envelope):
    """One `data:` of a stream."""

    created: Created | None = msgspec.field(default=None, name="response.created")
    info: Any = msgspec.field(default=None, name="response.info")
    """A keep-alive."""
    completed: Any = msgspec.field(default=None, name="response.completed")
    choices: list[Choice] | None = None
    usage: Measured | None = None
    response_id: str | None = None

    def deltas(self) -> Iterator[Delta]:
        return (choice.delta for choice in self.choices or () if choice.delta.role != "function")


class ChatAnswer:
    """Reads the lines of a chat answer into events; the first one names the conversation."""

    def __init__(self, chat_id: str | None, tools: frozenset[str]) -> None:
        self.ended = self.begun = False
        self._chat_id = chat_id
        self._response_id: str | None = None
        self._calls = CallReader(tools)
        self._summary = ""
        self._usage: Usage | None = None

    def read(self, line: Line) -> Iterator[Event]:
        self._response_id = (line.created or line).response_id or self._response_id
        self._usage = line.usage.usage() if line.usage else self._usage
        for delta in line.deltas():
            match delta.phase or "answer":
                case "think":
                    yield from self._tell(ReasoningDelta(delta.content or ""))
                case "thinking_summary":
                    yield from self._tell(ReasoningDelta(self._news(delta.extra or Extra())))
                case "answer":
                    yield from self._tell(TextDelta(self._calls.add(delta.content or "")))
                    self.ended |= delta.status == "finished"
        self.ended |= line.completed is not None

    def rest(self) -> Iterator[Event]:
        """What is left when the stream is over. Raises StreamTruncated, UpstreamGarbled."""
        if not self.ended:  # before anything was told another account may still be tried
            raise errors.StreamTruncated() if self.begun else errors.UpstreamGarbled(UNFINISHED)
        words, calls = self._calls.rest()
        yield from self._tell(TextDelta(words), *calls)
        if not self.begun:
            raise errors.UpstreamGarbled("the upstream's answer was empty")
        if self._usage:
            yield self._usage
        yield Finish("tool_calls" if calls else "stop")

    def _news(self, extra: Extra) -> str:
        """What a summary says that the one before did not."""
        before, told = self._summary, extra.summary()
        self._summary = told or before
        return told.removeprefix(before)

    def _tell(self, *events: TextDelta | ReasoningDelta | ToolCallDelta) -> Iterator[Event]:
        told = [event for event in events if isinstance(event, ToolCallDelta) or event.text]
        if told and not self.begun:
            self.begun = True
            if self._chat_id:
                yield InConversation(ChatRef(self._chat_id, self._response_id))
        yield from told


class Gallery:
    """Gathers the images that an answer tells of, without the files that went in."""

    def __init__(self, files: Sequence[Mapping[str, Any]], own: str) -> None:
        self.ended = False
        self.words = ""
        self._not = {str(file["url"]).partition("?")[0] for file in files}
        self._own = own
        self._told = ""
        self._listed: list[str] = []
        self._sides: tuple[int | None, int | None] = (None, None)

    def read(self, line: Line) -> bool:
        """Take a line in; True when it says that the image is still being worked on."""
        for delta in line.deltas():
            match delta.phase or "image_gen":
                case "answer":
                    self.words += delta.content or ""
                case "image_gen" | "image_edit":
                    self._told += delta.content or ""
                    self._note(delta.extra or Extra())
                case _:
                    continue
            self.ended |= delta.status == "finished"
        self.ended |= line.completed is not None
        if line.usage and line.usage.width:
            self._sides = (line.usage.width, line.usage.height)
        return line.info is not None

    def media(self) -> list[Media]:
        return self._media((self._told, *self._listed))

    def recall(self, messages: Iterable[Message]) -> list[Media]:
        """The images that messages of the conversation hold."""
        return self._media(text for message in messages for text in message.texts())

    def _note(self, extra: Extra) -> None:
        self._listed += (picture["image"] for picture in extra.image_list or () if "image" in picture)
        for height, width in extra.output_image_hw or ():
            self._sides = (width, height)

    def _media(self, texts: Iterable[str]) -> list[Media]:
        """Each image once: its URL may come again with another key. All of one answer have the same sides."""
        found: dict[str, str] = {}
        for url in urls("\n".join(texts), self._own):
            found.setdefault(url.partition("?")[0], url)
        width, height = self._sides
        return [
            Media("image", url=url, width=width, height=height) for path, url in found.items() if path not in self._not
        ]


# --- conversations ---


class Piece(msgspec.Struct):
    content: str | None = None


class Message(msgspec.Struct):
    """A message as the site keeps it."""

    role: str | None = None
    content: str | None = None
    content_list: list[Piece] | None = None
    extra: dict[str, Any] | None = None

    def texts(self) -> Iterator[str]:
        pieces = (piece.content for piece in self.content_list or ())
        return (text for text in (self.content, *pieces) if text)


class NewChat(msgspec.Struct):
    id: str


class History(msgspec.Struct):
    messages: dict[str, Message] | None = None


class Chat(msgspec.Struct):
    history: History | None = None
    messages: list[Message] | None = None


class Conversation(msgspec.Struct):
    """A conversation, its messages in a map or a list."""

    chat: Chat

    def answers(self) -> list[Message]:
        """The site's own messages."""
        kept = self.chat.history.messages if self.chat.history else None
        return [message for message in (kept or {}).values() or self.chat.messages or () if message.role == "assistant"]


def urls(text: str, own: str) -> list[str]:
    """The URLs in a text, also where they follow each other with nothing between: on https, or the site's own."""
    pieces = re.split(f"(?=https://|{re.escape(own)}/)", text)
    found = (re.match(r"https?://[^\s\"'<>()\[\]]+", piece) for piece in pieces)
    return [url[0].rstrip(",;") for url in found if url]
