import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.types import (
    ChatRequest,
    Event,
    Finish,
    Frame,
    Media,
    MediaReady,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    Whole,
)
from gateway.wire import body as wire_body
from gateway.wire import openai_chat
from gateway.wire.openai_chat import Heading

pytestmark = pytest.mark.anyio

HEADING = Heading("chatcmpl-1", 1_800_000_000, "m")
USER = [{"role": "user", "content": "hi"}]
PICTURE = Media("image", "image/png", url="https://gateway/a.png")
FILM = Media("video", "video/mp4", url="https://gateway/a.mp4")


def parsed(**fields: Any) -> ChatRequest:
    return openai_chat.parse(wire_body.decode(msgspec.json.encode(fields)))


def refused(**fields: Any) -> tuple[str, str | None, str]:
    with pytest.raises(InvalidRequest) as told:
        parsed(**fields)
    return told.value.code, told.value.param, told.value.message


async def events(*given: Event) -> AsyncIterator[Event]:
    for event in given:
        yield event


async def told(*given: Event, heading: Heading = HEADING, **options: Any) -> list[Any]:
    """The chunks that events become, decoded; a frame that passed through as its bytes."""
    chunks = []
    async for frame in openai_chat.chunks(events(*given), heading, **({"include_usage": False} | options)):
        assert frame.startswith(b"data: ")
        assert frame.endswith(b"\n\n")
        chunks.append(json.loads(frame[6:]))
    return chunks


def deltas(chunks: list[Any]) -> list[Any]:
    return [(one["choices"][0]["delta"], one["choices"][0]["finish_reason"]) for one in chunks]


async def completed(*given: Event, heading: Heading = HEADING, **options: Any) -> Any:
    folded = await openai_chat.fold(events(*given))
    return json.loads(openai_chat.completion(folded, heading, **options))


# --- coming in ---


def test_every_field_of_the_body_is_kept_as_it_was_sent() -> None:
    request = parsed(model="m", messages=USER, stream=True, temperature=0.3, x_new={"a": [1]})
    assert (request.model, request.stream, request.include_usage) == ("m", True, False)
    assert bytes(request.body["x_new"]) == b'{"a":[1]}'
    assert openai_chat.read(request, "temperature", float) == 0.3
    assert openai_chat.messages(request) == USER


@pytest.mark.parametrize(
    ("stream", "options", "expected"),
    [
        (None, None, (False, False)),
        (False, {"include_usage": True}, (False, True)),
        (True, None, (True, False)),
        (True, {"include_usage": True}, (True, True)),
        (True, {"include_usage": False}, (True, False)),
        (True, {"include_obfuscation": False}, (True, False)),
    ],
)
def test_streaming_is_as_asked(stream: bool | None, options: Any, expected: tuple[bool, bool]) -> None:
    request = parsed(messages=USER, stream=stream, stream_options=options)
    assert (request.stream, request.include_usage) == expected


def test_a_chat_may_name_no_model() -> None:
    assert parsed(messages=USER).model == ""
    assert parsed(messages=USER, model=None).model == ""


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, ("missing_required_parameter", "messages", "'messages' is required")),
        ({"messages": None}, ("missing_required_parameter", "messages", "'messages' is required")),
        ({"messages": "x"}, ("invalid_value", "messages", "'messages': expected array, got str")),
        ({"messages": []}, ("invalid_value", "messages", "'messages' must hold at least one message")),
        ({"messages": ["x"]}, ("invalid_value", "messages[0]", "'messages': expected object, got str")),
        (
            {"messages": [*USER, {"role": "robot"}]},
            ("invalid_value", "messages[1].role", "'messages': Invalid enum value 'robot'"),
        ),
        (
            {"messages": [{"content": "x"}]},
            ("invalid_value", "messages[0]", "'messages': Object missing required field role"),
        ),
        ({"messages": USER, "stream": "yes"}, ("invalid_value", "stream", "'stream': expected bool, got str")),
        ({"messages": USER, "model": 5}, ("invalid_value", "model", "'model': expected str, got int")),
        ({"messages": USER, "model": "a\0"}, ("invalid_value", "model", "'model' must not hold a NUL character")),
        (
            {"messages": USER, "stream": True, "stream_options": "x"},
            ("invalid_value", "stream_options", "'stream_options': expected object, got str"),
        ),
    ],
)
def test_a_chat_that_cannot_be_read_names_the_field(fields: dict[str, Any], error: tuple[str, str, str]) -> None:
    assert refused(**fields) == error


@pytest.mark.parametrize("role", ["developer", "system", "user", "assistant", "tool", "function"])
def test_every_role_there_is_may_speak(role: str) -> None:
    assert parsed(messages=[{"role": role, "content": "x"}])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
contents = (
    st.text() | st.none() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}) | json_values)
)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": contents},
    optional={"name": st.text(), "tool_calls": json_values, "x": json_values},
)


@given(st.lists(turns, min_size=1, max_size=5))
def test_any_conversation_is_read_whole_and_none_breaks_its_readers(messages: list[dict[str, Any]]) -> None:
    request = parsed(messages=messages)
    assert openai_chat.messages(request) == messages
    for turn in messages:
        assert isinstance(openai_chat.text(turn["content"]), str)
        assert all(isinstance(url, str) for url in openai_chat.images(turn["content"]))


def test_the_words_and_the_pictures_of_a_message_are_told_apart() -> None:
    content = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "https://a/1.png"}},
        {"type": "image_url", "image_url": "https://a/2.png"},
        {"type": "image_url"},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": "text", "text": 5},
        {"type": "file", "text": "not this"},
        {"text": "two"},
        None,
    ]
    assert openai_chat.text(content) == "one\ntwo"
    assert openai_chat.images(content) == ["https://a/1.png", "https://a/2.png"]
    assert (openai_chat.text("x"), openai_chat.text(None), openai_chat.text(5)) == ("x", "", "")
    assert openai_chat.images("https://a/1.png") == []


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({}, Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": None, "completion_tokens": "4"}, Usage()),
        ({"prompt_tokens": -3, "completion_tokens": 4.5}, Usage()),
        (
            {
                "prompt_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            Usage(3, cached_tokens=2, reasoning_tokens=9),
        ),
        ({"prompt_tokens_details": None, "completion_tokens_details": {}}, Usage()),
        ({"prompt_tokens": 3, "prompt_tokens_details": "x", "completion_tokens_details": [1]}, Usage(3)),
    ],
)
def test_a_usage_object_is_read_whatever_it_lacks(data: dict[str, Any], usage: Usage) -> None:
    assert openai_chat.usage(data) == usage


@pytest.mark.parametrize(
    ("data", "cost"),
    [
        ({"cost": 0.00025}, 0.00025),
        ({"cost": 0}, 0.0),
        ({"cost": 3}, 3.0),
        ({"cost_in_usd_ticks": 25_000_000}, 0.0025),
        ({"cost": 1, "cost_in_usd_ticks": 5}, 1.0),
        ({"cost": None, "cost_in_usd_ticks": 10**10}, 1.0),
        ({"cost": "0.1"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": 1e12}, None),
        ({"cost": float("nan")}, None),
        ({"cost": 10**400}, None),
        ({}, None),
    ],
)
def test_what_an_upstream_says_that_it_cost_is_read_in_dollars(data: dict[str, Any], cost: float | None) -> None:
    found = openai_chat.usage({"prompt_tokens": 3, **data})
    assert (found.input_tokens, found.cost, found.currency) == (3, cost, "" if cost is None else "USD")


def test_usage_is_told_with_its_details_only_where_there_are_any() -> None:
    assert openai_chat.usage_json(Usage(3, 4)) == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert openai_chat.usage_json(Usage(3, 4, cached_tokens=1, reasoning_tokens=2)) == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


@given(st.tuples(*[st.integers(0, 10**9)] * 4).map(lambda counts: Usage(*counts)))
def test_usage_comes_back_as_it_was_told(usage: Usage) -> None:
    assert openai_chat.usage(openai_chat.usage_json(usage)) == usage


# --- going out in chunks ---


async def test_text_begins_with_a_role_and_ends_with_a_reason() -> None:
    chunks = await told(TextDelta("a"), ReasoningDelta("hm"), TextDelta("b"), Finish("length"))
    assert deltas(chunks) == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "a"}, None),
        ({"reasoning_content": "hm"}, None),
        ({"content": "b"}, None),
        ({}, "length"),
    ]
    for chunk in chunks:
        assert {name: chunk[name] for name in ("id", "object", "created", "model")} == {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_800_000_000,
            "model": "m",
        }


async def test_a_tool_call_is_named_once_and_its_arguments_follow() -> None:
    chunks = await told(ToolCallDelta(0, "call_1", "look"), ToolCallDelta(0, arguments='{"a'), Finish("tool_calls"))
    assert deltas(chunks)[1:] == [
        (
            {"tool_calls": [{"index": 0, "function": {"arguments": "", "name": "look"}, "id": "call_1",
                             "type": "function"}]},
            None,
        ),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}, None),
        ({}, "tool_calls"),
    ]  # fmt: skip


async def test_the_usage_chunk_comes_last_has_no_choice_and_only_where_asked_for() -> None:
    given = (TextDelta("a"), Usage(1, 1), Usage(3, 4), Finish())
    assert all("usage" not in chunk for chunk in await told(*given))
    last = (await told(*given, include_usage=True))[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 7)


async def test_usage_that_was_asked_for_and_never_told_is_nothing() -> None:
    last = (await told(TextDelta("a"), Finish(), include_usage=True))[-1]
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


async def test_the_names_of_the_chat_stand_in_every_chunk() -> None:
    heading = Heading("chatcmpl-1", 1, "m", {"response_id": "resp_1", "chatId": "chat_1"})
    chunks = await told(TextDelta("a"), Finish(), heading=heading, include_usage=True)
    assert {(chunk["response_id"], chunk["chatId"]) for chunk in chunks} == {("resp_1", "chat_1")}


async def test_media_are_shown_in_the_text() -> None:
    assert deltas(await told(MediaReady(PICTURE), MediaReady(FILM)))[1:] == [
        ({"content": "![image](https://gateway/a.png)\n"}, None),
        ({"content": "[video](https://gateway/a.mp4)\n"}, None),
    ]
    bare = await told(MediaReady(PICTURE), show=openai_chat.bare_url)
    assert deltas(bare)[1:] == [({"content": "https://gateway/a.png\n"}, None)]


async def test_progress_is_told_to_who_asked_for_it_and_starts_no_answer() -> None:
    given = (Progress(12.345), TextDelta("a"))
    assert len(await told(*given)) == 2
    first, *rest = await told(*given, progress=True)
    assert (first["choices"], first["progress"]) == ([], 12.3)
    assert deltas(rest)[0] == ({"role": "assistant", "content": ""}, None)


async def test_frames_pass_untouched_and_nothing_is_added_to_them() -> None:
    frames = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b'data: {"choices":[]}\n\n']
    given = [Frame(frames[0]), Usage(3, 4), Frame(frames[1]), Finish()]
    assert [out async for out in openai_chat.chunks(events(*given), HEADING, include_usage=True)] == frames


async def test_an_error_frame_has_no_choices_and_an_extra_frame_no_choice() -> None:
    assert openai_chat.error_frame(b'{"error":{}}') == b'data: {"error":{}}\n\n'
    extra = json.loads(openai_chat.extra_frame(Heading("i", 1, "m", {"chatId": "c"}))[6:])
    assert (extra["choices"], extra["chatId"], extra["object"]) == ([], "c", "chat.completion.chunk")
    assert openai_chat.DONE == b"data: [DONE]\n\n"


@given(st.lists(st.text().map(TextDelta) | st.text().map(ReasoningDelta), max_size=6))
async def test_no_text_can_break_out_of_its_chunk(given: list[Event]) -> None:
    chunks = await told(*given)
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert said == "".join(event.text for event in given if isinstance(event, TextDelta))


# --- going out whole ---


async def test_a_completion_has_what_the_clients_read() -> None:
    assert await completed(TextDelta("a"), TextDelta("b"), Usage(3, 4), Finish("length")) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "finish_reason": "length",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


async def test_calls_are_put_together_in_their_order_and_then_no_content_is_null() -> None:
    whole = await completed(
        ToolCallDelta(1, "call_b", "second"),
        ToolCallDelta(0, "call_a", "first"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(1, arguments="{}"),
        ToolCallDelta(0, arguments="1}"),
        Finish("tool_calls"),
    )
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "first", "arguments": '{"x":1}'}},
        {"id": "call_b", "type": "function", "function": {"name": "second", "arguments": "{}"}},
    ]


async def test_thoughts_stand_beside_the_text() -> None:
    message = (await completed(ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("x")))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("x", "hm")


async def test_media_are_one_a_line() -> None:
    pictures = [MediaReady(PICTURE), MediaReady(PICTURE)]
    content = (await completed(*pictures))["choices"][0]["message"]["content"]
    assert content == "![image](https://gateway/a.png)\n![image](https://gateway/a.png)"
    content = (await completed(*pictures, show=openai_chat.bare_url))["choices"][0]["message"]["content"]
    assert content == "https://gateway/a.png\nhttps://gateway/a.png"


async def test_what_came_whole_goes_on_as_it_came() -> None:
    whole = b'{ "id": "up", "choices": [], "x": 1.50 }'
    folded = await openai_chat.fold(events(Whole(whole), Usage(1, 1), Finish()))
    assert openai_chat.completion(folded, HEADING) == whole
    extended = json.loads(openai_chat.completion(folded, Heading("i", 1, "m", {"chatId": "c"})))
    assert extended == {"id": "up", "choices": [], "x": 1.5, "chatId": "c"}


# --- reading what passed ---


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        (b'{"choices":[{"message":{"content":"hi"}}]}', "hi"),
        (b'{"choices":[{"message":{"content":[{"type":"text","text":"hi"}]}}]}', "hi"),
        (b'{"choices":[{"message":{"content":null}}]}', ""),
        (b'{"choices":[{"message":"x"}]}', ""),
        (b'{"choices":[]}', ""),
        (b'{"choices":{}}', ""),
        (b"[]", ""),
        (b"{", ""),
    ],
)
def test_the_text_of_a_whole_answer_is_found_or_empty(whole: bytes, text: str) -> None:
    assert openai_chat.answer_text(whole) == text


def test_the_text_of_frames_is_found_among_what_has_none() -> None:
    frames = (
        b': comment\n\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[]}\n\n'
        b'data: {"choices":[{"delta":null}]}\n\ndata: {"choices":[{"delta":{"content":null}}]}\n\ndata: {bad\n\n'
        b'data: {"choices":[{"delta":{"content":"b"}}]}\n\ndata: [DONE]\n\n'
    )
    assert openai_chat.frame_text(frames) == "ab"


@given(st.lists(st.text().map(TextDelta), min_size=1))
async def test_chunks_are_read_back_as_the_text_they_were_made_of(given: list[TextDelta]) -> None:
    frames = [frame async for frame in openai_chat.chunks(events(*given), HEADING, include_usage=True)]
    assert openai_chat.frame_text(b"".join(frames)) == "".join(event.text for event in given)
