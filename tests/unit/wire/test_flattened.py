"""A conversation as one text, and calls of tools read back from one."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest, RequestError
from gateway.types import ChatRef, ChatRequest
from gateway.wire.flattened import CallReader, flatten, tool_names

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}
CALL = '```tool_calls\n{"tool_calls": [{"name": "weather", "arguments": {"city": "Brno", "note": "a ``` b"}}]}\n```'


def request(*turns: Any, chat: ChatRef | None = None, **body: Any) -> ChatRequest:
    messages = [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in turns]
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in {**body, "messages": messages}.items()}
    return ChatRequest("m", raw, chat=chat)


def assistant(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


def called(name: str = "weather") -> dict[str, Any]:
    function = {"name": name, "arguments": '{"city": "Brno"}'}
    return assistant(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}


# --- a conversation ---


def test_a_lone_turn_goes_as_it_is() -> None:
    assert flatten(request("hi\n  there ")) == "hi\n  there "


def test_instructions_earlier_turns_and_the_question_have_their_places() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    developer = {"role": "developer", "content": "In French."}
    told = flatten(
        request({"role": "system", "content": "Be brief."}, "one", assistant("two"), {"role": "user", "content": parts},
                assistant("three"), developer, "four")
    )  # fmt: skip
    assert told == (
        "# Instructions\nBe brief.\n\nIn French.\n\n"
        "# Conversation so far\nUser: one\n\nAssistant: two\n\nUser: look\n[image_url]\n\nAssistant: three\n\n"
        "# Answer this message\nfour"
    )


def test_a_conversation_that_the_upstream_holds_goes_on_with_what_is_new() -> None:
    held = ChatRef("c")
    system = {"role": "system", "content": "Be brief."}
    assert flatten(request(system, "one", assistant("two"), "three", chat=held)) == "three"
    told = flatten(request("one", called(), RESULT, chat=held))
    assert "Tool (weather): rain" in told
    assert "one" not in told.split()


def test_calls_and_their_results_are_told_by_name() -> None:
    told = flatten(request("weather?", called(), RESULT, tools=[TOOL]))
    block = '{"tool_calls": [{"name": "weather", "arguments": {"city": "Brno"}}]}'
    assert f"Assistant: \n```tool_calls\n{block}\n```\n\nTool (weather): rain" in told
    assert told.endswith("Go on from the end of the conversation above.")


@pytest.mark.parametrize("turns", [[], [{"role": "system", "content": "Be brief."}]])
def test_a_conversation_without_a_turn_to_answer_is_refused(turns: list[Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        flatten(request(*turns))
    assert caught.value.param == "messages"


# --- what there is no field for ---


def test_tools_are_told_with_how_to_call_them() -> None:
    told = flatten(request("hi", tools=[TOOL]))
    assert json.dumps(TOOL["function"]) in told
    assert "```tool_calls" in told
    assert tool_names(request("hi", tools=[TOOL])) == {"weather"}


def test_the_choice_of_tools_is_told() -> None:
    told = flatten(request("hi", tools=[TOOL], tool_choice="required", parallel_tool_calls=False))
    assert "at least one tool" in told
    assert "one tool at most" in told
    named = {"type": "function", "function": {"name": "weather"}}
    assert "Call the tool weather now." in flatten(request("hi", tools=[TOOL], tool_choice=named))


def test_tools_that_may_not_be_called_are_not_told() -> None:
    unused = request("hi", tools=[TOOL], tool_choice="none")
    assert flatten(unused) == "hi"
    assert tool_names(unused) == frozenset()


def test_the_format_of_the_answer_is_told() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.dumps(schema) in flatten(request("hi", response_format=wanted))
    assert "one JSON object" in flatten(request("hi", response_format={"type": "json_object"}))
    assert flatten(request("hi", response_format={"type": "text"})) == "hi"


@pytest.mark.parametrize(
    "body", [{"tools": [1]}, {"tools": [{"function": {}}]}, {"response_format": "json"}, {"tool_choice": 7}]
)
def test_a_wrong_field_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        flatten(request("hi", **{"tools": [TOOL], **body}))
    assert str(caught.value.param).partition("[")[0].partition(".")[0] in body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(("content", "type", "text", "tool_calls", "function", "name", "arguments")),
            inner,
            max_size=3,
        )
    ),
)


@given(JSON, JSON, JSON)
def test_a_body_of_any_shape_is_told_or_refused(content: Any, calls: Any, tool: Any) -> None:
    with contextlib.suppress(RequestError):
        flatten(request("hi", assistant(content, tool_calls=calls), tools=[tool]))


# --- calls ---


def read(text: str, size: int = 1000) -> tuple[str, list[Any]]:
    """What is said in all, and the calls, of a text that comes in pieces."""
    reader = CallReader(frozenset({"weather"}))
    said = "".join([reader.add(text[at : at + size]) for at in range(0, len(text), size)])
    rest, calls = reader.rest()
    return said + rest, calls


@pytest.mark.parametrize("size", [1, 2, 7, 200])
@pytest.mark.parametrize("before", ["", "Let me look.\n\n"])
def test_a_block_of_calls_becomes_calls(size: int, before: str) -> None:
    said, [call] = read(before + CALL, size)
    assert said == before.rstrip()
    assert (call.index, call.name, bool(call.id)) == (0, "weather", True)
    assert json.loads(call.arguments) == {"city": "Brno", "note": "a ``` b"}


def test_several_calls_are_numbered() -> None:
    block = '```tool_calls\n[{"name": "weather"}, {"name": "weather", "arguments": {"n": 2}}]\n```'
    _, calls = read(block + "\n" + CALL)
    assert [(call.index, json.loads(call.arguments).get("n")) for call in calls] == [(0, None), (1, 2), (2, None)]


def test_a_call_that_stands_alone_counts() -> None:
    assert len(read('```tool_calls\n{"name": "weather", "arguments": {}}')[1]) == 1


def test_arguments_that_are_a_text_are_the_json_it_holds() -> None:
    _, [call] = read(r'```tool_calls {"name": "weather", "arguments": "{\"n\": 1}"}')
    assert json.loads(call.arguments) == {"n": 1}


@pytest.mark.parametrize(
    "words",
    [
        "```tool_calls\n{broken",
        '```tool_calls\n{"tool_calls": [{"name": "no_such", "arguments": {}}]}\n```',
        "```python\nprint(1)\n```",
        "no tools `` needed ```",
        "```tool_calls\n[1]",
        "",
    ],
)
@pytest.mark.parametrize("size", [1, 5, 200])
def test_what_cannot_be_read_as_a_call_stays_text(words: str, size: int) -> None:
    assert read(words, size) == (words, [])


def test_without_tools_nothing_is_held_back() -> None:
    reader = CallReader(frozenset())
    assert reader.add("see ```tool_calls\n ") == "see ```tool_calls\n "
    assert reader.rest() == ("", [])
