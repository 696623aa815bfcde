from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from gateway.errors import InvalidRequest
from gateway.sandbox import words
from gateway.sandbox.dialogue import answer
from gateway.sandbox.names import kinds
from gateway.sandbox.turn import Turn, read

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The forecast for a place.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 1}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
CLOCK: dict[str, Any] = {"name": "clock", "description": "Tells what time it is somewhere."}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": CLOCK}]


def turn(said: str | list[dict[str, Any]] = "Why is the sea salty?", **body: Any) -> Turn:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    return read({"messages": messages, **body}, "some-model")


def called(said: str | list[dict[str, Any]], **body: Any) -> list[str]:
    return [call.name for call in answer(turn(said, tools=TOOLS, **body)).calls]


def test_an_answer_shows_the_question_and_is_always_the_same():
    assert "salty" in answer(turn()).text
    assert answer(turn()) == answer(turn())
    assert answer(turn()).finish == "stop"


def test_usage_counts_every_message_and_all_that_was_said():
    said = answer(turn([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]))
    assert said.input_tokens == words.tokens("Be brief.") + words.tokens("Hello there")
    assert said.output_tokens == words.tokens(said.text)


def test_it_reasons_when_asked_and_not_otherwise():
    thought = answer(turn(reasoning_effort="low"))
    assert thought.reasoning
    assert thought.reasoning_tokens == words.tokens(thought.reasoning)
    assert thought.output_tokens == thought.reasoning_tokens + words.tokens(thought.text)
    assert not answer(turn()).reasoning
    assert not answer(turn(reasoning_effort="none")).reasoning
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert answer(read(body, "qwen3-thinking")).reasoning
    assert not answer(read({**body, "reasoning_effort": "none"}, "qwen3-thinking")).reasoning


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_token_limit_cuts_the_answer(name: str, limit: int):
    whole, short = answer(turn()), answer(turn(**{name: limit}))
    assert short.finish == "length"
    assert whole.text.startswith(short.text)
    assert short.text
    assert short.output_tokens == limit


def test_a_limit_that_is_not_reached_changes_nothing():
    assert answer(turn(max_tokens=10_000)) == answer(turn())


def test_reasoning_counts_against_the_limit():
    short = answer(turn(reasoning_effort="high", max_completion_tokens=4))
    assert (short.output_tokens, short.text, short.finish) == (4, "", "length")


@pytest.mark.parametrize("stop", ["salty", ["zebra", "salty"]])
def test_a_stop_sequence_ends_the_text_before_it(stop: str | list[str]):
    said = answer(turn(stop=stop))
    assert "salty" not in said.text
    assert answer(turn()).text.startswith(said.text + "salty")
    assert said.finish == "stop"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"messages": []}, "messages"),
    ],
)
def test_what_cannot_be_meant_names_its_field(body: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        answer(turn(**body)) if "messages" not in body else read(body, "some-model")
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "tools"),
    [
        ("What is the weather in Paris?", ["get_weather"]),
        ("Please use get_weather", ["get_weather"]),
        ("Give me the forecasts for Oslo", ["get_weather"]),
        ("weather and clock, please", ["get_weather", "clock"]),
        ("Look at the clock", ["clock"]),
        ("Write a poem about the sea", []),
        ("### Task:\nSuggest a title for a chat about the weather", []),
    ],
)
def test_tools_are_called_where_the_question_speaks_of_them(said: str, tools: list[str]):
    assert called(said) == tools


def test_a_description_is_understood_in_scripts_without_spaces():
    tool = {"type": "function", "function": {"name": "q", "description": "查询天气"}}
    assert [call.name for call in answer(turn("北京今天天气怎么样", tools=[tool])).calls] == ["q"]


def test_words_that_tell_nothing_need_not_be_said():
    tools = [{"type": "function", "function": {"name": name}} for name in ("get_current_weather", "getCurrentTime")]
    said = answer(turn("What is the weather in Paris, and the time in London?", tools=tools))
    assert [call.name for call in said.calls] == ["get_current_weather", "getCurrentTime"]


def test_the_choice_of_tools_is_the_callers():
    named = {"type": "function", "function": {"name": "clock"}}
    allowed = {"mode": "auto", "tools": [named]}
    assert called("What is the weather?", tool_choice="none") == []
    assert called("Write a poem", tool_choice="required") == ["get_weather"]
    assert called("Write a poem", tool_choice=named) == ["clock"]
    assert called("weather and clock", parallel_tool_calls=False) == ["get_weather"]
    assert called("weather and clock", tool_choice={"type": "allowed_tools", "allowed_tools": allowed}) == ["clock"]


def test_arguments_are_valid_and_ids_unique():
    said = answer(turn("weather and clock in Paris", tools=TOOLS))
    assert said.finish == "tool_calls"
    assert said.text == ""
    weather, clock = (json.loads(call.arguments) for call in said.calls)
    jsonschema.validate(weather, WEATHER["parameters"])
    assert clock == {}
    assert len({call.id for call in said.calls}) == 2


def test_after_a_tool_has_answered_the_text_tells_what_it_said():
    asked = {"role": "user", "content": "What is the weather in Paris?"}
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    told = [{"role": "tool", "tool_call_id": "c1", "content": "rain, 8 degrees"}]
    said = answer(turn([asked, {"role": "assistant", "content": None, "tool_calls": [call]}, *told], tools=TOOLS))
    assert said.finish == "stop"
    assert "get_weather" in said.text
    assert "rain, 8 degrees" in said.text


def test_a_limit_cuts_the_arguments_of_a_call():
    said = answer(turn("weather", tools=TOOLS, max_tokens=2))
    assert (said.finish, said.output_tokens) == ("length", 2)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]},
        {"type": "array", "items": {"$ref": "#/$defs/s"}, "minItems": 2, "$defs": {"s": {"enum": ["a", "b"]}}},
    ],
)
def test_a_json_schema_is_met(schema: dict[str, Any]):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    said = answer(turn(response_format=form))
    jsonschema.validate(json.loads(said.text), schema)
    assert said.finish == "stop"


def test_a_json_object_is_one_and_answers():
    said = json.loads(answer(turn(response_format={"type": "json_object"})).text)
    assert said["question"] == "Why is the sea salty?"
    assert "salty" in said["answer"]


def test_a_schema_that_nothing_satisfies_is_the_callers_fault():
    schema = {"type": "integer", "minimum": 2, "maximum": 1}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(InvalidRequest):
        answer(turn(response_format=form))
    tool = {"type": "function", "function": {"name": "sea", "parameters": schema}}
    with pytest.raises(InvalidRequest):
        answer(turn("the sea", tools=[tool]))


@pytest.mark.parametrize(
    ("kind", "models"),
    [
        ("t2i", "gpt-image-1 dall-e-3 flux-pro doubao-seedream-4.5 imagen-4 wan2.5-t2i-preview grok-imagine-image"),
        ("t2v", "sora-2 veo-3.1 wan2.6-t2v kling-v2 seedance-1-0-pro MiniMax-Hailuo-02 wan2.2 grok-imagine-video"),
        ("tts", "tts-1 gpt-4o-mini-tts speech-02-hd"),
        ("t2m", "suno-v5 music-1.5"),
        ("embedding", "text-embedding-3-small qwen3-embedding"),
        ("transcription", "whisper-1 gpt-4o-transcribe"),
    ],
)
def test_names_tell_kinds(kind: str, models: str):
    for model in models.split():
        assert kind in (kinds(model) or ()), model


def test_names_of_chat_models_tell_nothing():
    for model in ("gpt-4o", "qwen3-max", "claude-sonnet-4", "swan-7b", "gpt-audio", "deepseek-r1", "llama-4"):
        assert kinds(model) is None, model
