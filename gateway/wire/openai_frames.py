"""A chat stream of the OpenAI dialect on its way through: frames pass as they came, what they tell is noted.

Every event is decoded into the three fields that matter here, which costs 0.6 µs more than searching its bytes for
them and keeps garbage from going out. Frames are rebuilt only where something has to be left out: comments, `id:`,
`retry:` and foreign events (each breaks an official SDK), the upstream's `[DONE]`, a usage chunk nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from gateway import sse
from gateway.errors import GatewayError, StreamTruncated, UpstreamGarbled
from gateway.types import Event, Finish, FinishReason, Frame, Paced, Usage
from gateway.wire import openai_chat

_PREFIX = b"data: "
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class Choice(msgspec.Struct):
    """Of a choice, or of a choice's chunk, only how it ended."""

    finish_reason: Any = None


class Seen(msgspec.Struct):
    """Of a chunk or a completion, what the gateway looks at."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None

    def measured(self) -> Usage | None:
        return openai_chat.usage(self.usage) if isinstance(self.usage, dict) else None

    def finishes(self) -> list[Finish]:
        return [finish(choice.finish_reason) for choice in self.choices or () if choice.finish_reason]


_decoder = msgspec.json.Decoder(Seen)


def see(data: bytes | memoryview) -> Seen:
    """Raises UpstreamGarbled where it is no JSON object of this dialect."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UpstreamGarbled("the upstream sent an event that cannot be understood", detail=str(exc)) from exc


def finish(reason: object) -> Finish:
    """A finish reason of whatever upstream as one of ours."""
    return Finish(_REASONS.get(str(reason).lower(), "stop"))


class PassingFrames:
    """One stream on its way through."""

    __slots__ = ("_drop_usage", "_pause", "_refusal", "begun", "done", "failure", "finished")

    def __init__(
        self, refusal: Callable[[bytes], GatewayError], *, drop_usage: bool, pause: float | None = None
    ) -> None:
        """`refusal`: an event that holds an error, as an error of ours. `drop_usage`: nobody asked for that chunk.

        `pause`: seconds for which the account has nothing left, to be told after the first frame.
        """
        self._refusal = refusal
        self._drop_usage = drop_usage
        self._pause = pause
        self.begun = False
        """Whether anything has passed."""
        self.finished = False
        """Whether a finish reason has come."""
        self.done = False
        """Whether the upstream said `[DONE]`."""
        self.failure: GatewayError | None = None
        """What ended the stream, to be raised once the events before it are out."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will pass."""
        return self.done or self.failure is not None

    def feed(self, whole: bytes) -> list[Event]:
        """The events of one or more whole frames (line ends LF): a Frame if anything passes, then what it told."""
        if self._plain(whole):
            self.begun = True
            return [Frame(whole)] if self._pause is None else [Frame(whole), *self._paced()]
        told: list[Event] = []
        try:
            check_utf8(whole)
            kept, clean = self._pass(whole, told)
        except GatewayError as exc:
            self.failure = exc
            return []
        if kept:
            self.begun = True
            told[:0] = [Frame(whole if clean else b"\n\n".join((*kept, b""))), *self._paced()]
        return told

    def _paced(self) -> Iterator[Paced]:
        if self._pause is not None:
            yield Paced(self._pause)
            self._pause = None

    def _plain(self, whole: bytes) -> bool:
        """Whether it is one chunk that tells nothing but words: most are, when they come one by one."""
        if not whole.startswith(b"data: {") or whole.find(b"\n") != len(whole) - 2 or not whole.isascii():
            return False
        try:
            seen = _decoder.decode(memoryview(whole)[6:])
        except (msgspec.DecodeError, RecursionError):
            return False
        if seen.usage is not None or seen.error is not None or not seen.choices:
            return False
        return all(choice.finish_reason is None for choice in seen.choices)

    def end(self, rest: bytes) -> list[Event]:
        """The last events, `rest` being what had no blank line after it. Without a finish reason the end is a cut."""
        if self.ended:
            told = []
        else:
            told = self.feed(rest + b"\n\n") if rest.strip() else []
            if isinstance(self.failure, UpstreamGarbled):
                self.failure = None  # half an event is a cut, not nonsense
        if self.failure is None and not self.finished:
            self.failure = StreamTruncated() if self.begun else UpstreamGarbled("the upstream's stream held no answer")
        return told

    def _pass(self, whole: bytes, told: list[Event]) -> tuple[list[bytes], bool]:
        """The frames that go on, and whether those are all of them, unchanged."""
        kept: list[bytes] = []
        clean = True
        for raw in whole.split(b"\n\n"):
            if not raw:
                continue
            frame = raw
            try:
                if raw.startswith(b"data: {") and b"\n" not in raw:
                    passes = self._take(memoryview(raw)[6:], told)
                else:
                    frame, passes, clean = *self._odd(raw, told), False
            except GatewayError as exc:
                self.failure = exc
                return kept, False
            if passes:
                kept.append(frame)
            else:
                clean = False
            if self.done:
                break
        return kept, clean

    def _take(self, data: bytes | memoryview, told: list[Event]) -> bool:
        """Note what a chunk tells; whether it goes on to the caller."""
        seen = see(data)
        if seen.error is not None:
            raise self._refusal(bytes(data))
        if (usage := seen.measured() if seen.usage else None) is not None:
            told.append(usage)
        if not seen.choices:
            return seen.choices is not None and not (self._drop_usage and usage is not None)
        for choice in seen.choices:
            if choice.finish_reason:
                self.finished = True
                told.append(finish(choice.finish_reason))
        return True

    def _odd(self, raw: bytes, told: list[Event]) -> tuple[bytes, bool]:
        """A frame that is not one `data: {…}` line: brought into that form, or left out."""
        for event in sse.parse(raw):
            data = event.data.strip()
            if data == b"[DONE]":
                self.done = True
            elif event.event == "error":
                raise self._refusal(data)
            elif data:
                return _PREFIX + data.replace(b"\n", b" "), self._take(data, told)
        return raw, False


def from_completion(completion: bytes) -> Iterator[bytes]:
    """A `chat.completion` as the frames it would have been: what it says, how it ended, what it took."""
    found = msgspec.json.decode(completion)
    head = {name: found[name] for name in ("id", "created", "model", "system_fingerprint") if name in found}
    head["object"] = "chat.completion.chunk"
    for place, choice in enumerate(found["choices"]):
        index = choice.get("index", place)
        reason = choice.get("finish_reason") or "stop"
        yield _frame({**head, "choices": [{"index": index, "delta": _delta(choice), "finish_reason": None}]})
        yield _frame({**head, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
    if found.get("usage"):
        yield _frame({**head, "choices": [], "usage": found["usage"]})


def _delta(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    delta = dict(message) if isinstance(message, dict) else {}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls) if isinstance(call, dict)]
    return delta


def _frame(chunk: dict[str, Any]) -> bytes:
    return _PREFIX + msgspec.json.encode(chunk) + b"\n\n"


def said_in_frames(frames: bytes) -> tuple[int, int]:
    """Bytes of the words that frames bring, answer, reasoning and calls alike; and how many frames bring any."""
    lines = (line[6:] for line in frames.split(b"\n") if line.startswith(b"data: {"))
    said = [words for line in lines if (words := _said(line, "delta"))]
    return sum(said), len(said)


def said_in_whole(completion: bytes) -> int:
    """The same of a `chat.completion`."""
    return _said(completion, "message")


def _said(data: bytes, part: str) -> int:
    try:
        choices = msgspec.json.decode(data)["choices"]
        return sum(_words(words) for choice in choices for words in _worded(choice[part]))
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return 0


def _worded(part: Mapping[str, Any]) -> Iterator[object]:
    yield from (part.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal"))
    for call in part.get("tool_calls") or ():
        yield (call.get("function") or {}).get("arguments")


def _words(value: object) -> int:
    return len(value.encode()) if isinstance(value, str) else 0


def check_utf8(data: bytes) -> None:
    """Raises UpstreamGarbled: text that is passed on undecoded must be text."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        raise UpstreamGarbled("the upstream sent an event that is not UTF-8") from exc
