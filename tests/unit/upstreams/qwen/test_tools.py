"""Tools, which the site does not know: told in words, called in words."""

import json
from typing import Any

import pytest

from gateway import errors
from gateway.types import Finish, ToolCallDelta
from tests.emulators.qwen import Answer
from tests.unit.upstreams.qwen.rig import House, text

pytestmark = pytest.mark.anyio

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}
CALL = '```tool_calls\n{"tool_calls": [{"name": "weather", "arguments": {"city": "Brno", "note": "a ``` b"}}]}\n```'


@pytest.mark.parametrize("pieces", [1, 2, 7, 200])
async def test_a_block_of_calls_becomes_calls(house: House, pieces: int) -> None:
    house.site.answers.append(Answer("Let me look.\n\n" + CALL, pieces=pieces))
    events = await house.say("weather in Brno?", tools=[TOOL])
    (call,) = [event for event in events if isinstance(event, ToolCallDelta)]
    assert json.loads(call.arguments) == {"city": "Brno", "note": "a ``` b"}
    assert text(events) == "Let me look."
    assert events[-1] == Finish("tool_calls")
    assert json.dumps(TOOL["function"]) in house.content()


async def test_what_cannot_be_read_as_a_call_stays_text(house: House) -> None:
    words = "```tool_calls\n{broken"
    house.site.answers.append(Answer(words, pieces=5))
    events = await house.say("hi", tools=[TOOL])
    assert text(events) == words
    assert events[-1] == Finish("stop")


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
