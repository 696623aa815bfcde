"""Tools and formats of answers, in words."""

import json
from typing import Any

import pytest

from gateway import errors
from gateway.types import (
    Finish,
    ToolCallDelta,
)
from tests.emulators.qwen import Answer
from tests.unit.upstreams.qwen.rig import House, text

pytestmark = pytest.mark.anyio


TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}
CALL = '```tool_calls\n{"tool_calls": [{"name": "weather", "arguments": {"city": "Brno", "note": "a ``` b"}}]}\n```'


@pytest.mark.parametrize("pieces", [1, 2, 7, 200])
@pytest.mark.parametrize("before", ["", "Let me look.\n\n"])
async def test_a_block_of_calls_becomes_calls(house: House, pieces: int, before: str) -> None:
    house.site.answers.append(Answer(before + CALL, pieces=pieces))
    events = await house.say("weather in Brno?", tools=[TOOL])
    (call,) = [event for event in events if isinstance(event, ToolCallDelta)]
    assert (call.index, call.name) == (0, "weather")
    assert call.id
    assert json.loads(call.arguments) == {"city": "Brno", "note": "a ``` b"}
    assert text(events) == before.rstrip()
    assert events[-1] == Finish("tool_calls")
    assert json.dumps(TOOL["function"]) in house.content()


@pytest.mark.parametrize(
    "words",
    [
        "```tool_calls\n{broken",
        '```tool_calls\n{"tool_calls": [{"name": "no_such", "arguments": {}}]}\n```',
        "```python\nprint(1)\n```",
        "no tools `` needed ```",
        "```tool_calls\n[1]",
    ],
)
async def test_what_cannot_be_read_as_a_call_stays_text(house: House, words: str) -> None:
    house.site.answers.append(Answer(words, pieces=5))
    events = await house.say("hi", tools=[TOOL])
    assert text(events) == words
    assert events[-1] == Finish("stop")


async def test_several_calls_are_numbered(house: House) -> None:
    two = '```tool_calls\n[{"name": "weather", "arguments": {"n": 1}}, {"name": "weather", "arguments": {"n": 2}}]\n```'
    house.site.answers.append(Answer(two))
    events = await house.say("hi", tools=[TOOL])
    assert [event.index for event in events if isinstance(event, ToolCallDelta)] == [0, 1]


async def test_results_of_tools_are_told_by_name(house: House) -> None:
    function = {"name": "weather", "arguments": '{"city": "Brno"}'}
    await house.say(
        "weather?",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        tools=[TOOL],
    )
    assert 'Assistant: \n```tool_calls\n{"tool_calls": [{"name": "weather", "arguments": {"city": "Brno"}}]}\n```' in (
        house.content()
    )
    assert "Tool (weather): rain" in house.content()
    assert house.content().endswith("Go on from the end of the conversation above.")


async def test_the_choice_of_tools_is_told(house: House) -> None:
    await house.say("hi", tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    assert "at least one tool" in house.content()
    assert "one tool at most" in house.content()
    await house.say("hi", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "weather"}})
    assert "Call the tool weather now." in house.content()
    await house.say("hi", tools=[TOOL], tool_choice="none")
    assert house.content() == "hi"


async def test_a_response_format_is_told(house: House) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await house.say("hi", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert json.dumps(schema) in house.content()
    await house.say("hi", response_format={"type": "json_object"})
    assert "one JSON object" in house.content()


@pytest.mark.parametrize(
    "body",
    [
        {"thinking_budget": -1},
        {"thinking_budget": "much"},
        {"enable_thinking": "yes"},
        {"tools": [1]},
        {"response_format": "json"},
        {"tool_choice": 7},
    ],
)
async def test_a_wrong_field_is_refused_by_name_before_anything_is_sent(house: House, body: dict[str, Any]) -> None:
    asked = {"tools": [TOOL], **body}
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.say("hi", **asked)
    assert str(caught.value.param).partition("[")[0] in body
    assert house.site.requests == []
