"""What is counted of an answer whose upstream told nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.relay.measured import SAMPLE_BYTES, Measured, counted
from gateway.types import (
    ChatRequest,
    EmbeddingRequest,
    Event,
    Finish,
    Frame,
    ImageRequest,
    Media,
    MediaReady,
    MusicRequest,
    ReasoningDelta,
    SpeechRequest,
    TextDelta,
    ToolCallDelta,
    Usage,
    Whole,
)
from tests.unit.scripted import chat_request

PICTURE, SPOKEN = ImageRequest("m", "p"), SpeechRequest("m", "hello")
HEAD = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1_800_000_000, "model": "some-model"}


def frame(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + msgspec.json.encode({**HEAD, "choices": [choice]}) + b"\n\n"


def stream(*deltas: dict[str, Any]) -> list[bytes]:
    return [frame({"role": "assistant", "content": ""}), *map(frame, deltas), frame({}, "stop")]


def measured(*events: Event) -> Measured:
    found = Measured()
    for event in events:
        found.add(event)
    return found


def media(family: Any, seconds: float | None = None) -> MediaReady:
    return MediaReady(Media(family, seconds=seconds))


def test_words_that_come_as_such_are_counted_whatever_they_are_for() -> None:
    events = [TextDelta("x" * 20), ReasoningDelta("é" * 10), ToolCallDelta(0, "c", "f", "y" * 40), Finish()]
    assert measured(*events).tokens() == 20
    assert measured(TextDelta("x")).tokens() == 1
    assert measured(Finish()).tokens() == 0


@pytest.mark.parametrize("together", [1, 7, 1000])
@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning"])
def test_a_frame_is_a_token_at_least_and_long_ones_are_as_many_as_they_are_long(together: int, name: str) -> None:
    for text, tokens in (("a", 100), ("word", 100), ("x" * 40, 1000)):
        frames = stream(*({name: text} for _ in range(100)))
        pieces = [b"".join(frames[at : at + together]) for at in range(0, len(frames), together)]
        found = measured(*map(Frame, pieces)).tokens()
        assert tokens * 0.9 <= found <= tokens * 1.15, (text, found)


def test_of_a_long_stream_no_more_is_kept_than_of_a_short_one() -> None:
    found = measured(*map(Frame, stream(*({"content": "word"} for _ in range(5000)))))
    assert sum(map(len, found._sample)) < SAMPLE_BYTES + 500
    assert sum(map(len, measured(Frame(b"".join(stream(*({"content": "word"},) * 500))))._sample)) == SAMPLE_BYTES
    assert 4500 <= found.tokens() <= 5500


def test_calls_of_tools_in_frames_are_words_too() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"arguments": "z" * 80}}]}
    found = measured(*map(Frame, stream(*[call] * 10))).tokens()
    assert 170 <= found <= 220


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ({"content": "x" * 40}, 10),
        ({"content": "x" * 41, "reasoning_content": "y" * 40}, 21),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "z" * 20}}]}, 5),
        ({"content": [{"type": "text"}]}, 0),
    ],
)
def test_a_whole_answer_is_as_many_tokens_as_its_words_are_long(message: dict[str, Any], tokens: int) -> None:
    body = msgspec.json.encode({"id": "x" * 500, "choices": [{"message": message}]})
    assert measured(Whole(body)).tokens() == tokens


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"choices":[1]}', b'{"choices":[{"message":3}]}', b"[]"])
def test_an_answer_of_no_shape_has_no_words(body: bytes) -> None:
    assert measured(Whole(body)).tokens() == 0


# --- what counts ---


def test_what_the_upstream_told_stands() -> None:
    for told in (Usage(3, 4, cached_tokens=1, reasoning_tokens=2), Usage(0, 4), Usage(3)):
        assert counted(told, chat_request(), measured(TextDelta("x" * 400))) is told


def test_what_it_did_not_is_counted_and_says_so() -> None:
    found = counted(Usage(cost=0.5, currency="USD"), chat_request("x" * 100), measured(TextDelta("y" * 400)))
    assert found == Usage(33, 100, estimated=True, cost=0.5, currency="USD")


def test_images_among_the_words_are_no_words() -> None:
    def said(*parts: dict[str, Any]) -> int:
        content = [{"type": "text", "text": "look"}, *parts]
        body = {"messages": msgspec.Raw(msgspec.json.encode([{"role": "user", "content": content}]))}
        return counted(Usage(), ChatRequest("m", body)).input_tokens

    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "Ab+/" * 30_000}}
    assert said(image) - said() < 30
    assert said({"type": "text", "text": "w" * 4000}) - said() > 1000


def test_tools_are_read_too() -> None:
    tools = msgspec.Raw(msgspec.json.encode([{"type": "function", "function": {"description": "d" * 400}}]))
    plain = chat_request()
    more = ChatRequest("m", {**plain.body, "tools": tools})
    assert counted(Usage(), more).input_tokens - counted(Usage(), plain).input_tokens >= 100


def test_vectors_are_counted_by_what_they_are_of() -> None:
    request = EmbeddingRequest("m", ("x" * 8, "y" * 8))
    assert counted(Usage(), request) == Usage(5, estimated=True)
    assert counted(Usage(7), request) == Usage(7)


@pytest.mark.parametrize(
    ("request_", "told", "made", "found"),
    [
        (PICTURE, Usage(), [media("image"), media("image")], Usage(images=2)),
        (PICTURE, Usage(5, 6, images=1), [media("image"), media("image")], Usage(5, 6, images=1)),
        (PICTURE, Usage(), [], Usage()),
        (MusicRequest("m", "p"), Usage(), [media("audio", 2.5)], Usage(seconds=2.5)),
        (MusicRequest("m", "p"), Usage(seconds=3), [media("audio", 2.5)], Usage(seconds=3)),
        (MusicRequest("m", "p"), Usage(), [media("audio")], Usage()),
        (SPOKEN, Usage(), [media("audio", 1.5)], Usage(seconds=1.5, characters=5)),
        (SPOKEN, Usage(characters=9), [media("audio", 1.5)], Usage(seconds=1.5, characters=9)),
        (SPOKEN, Usage(), [], Usage()),
    ],
)
def test_media_are_counted_as_they_are(request_: Any, told: Usage, made: list[Event], found: Usage) -> None:
    assert counted(told, request_, measured(*made)) == found
