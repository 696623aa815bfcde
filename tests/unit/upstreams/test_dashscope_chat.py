"""Text: the OpenAI dialect, with the vendor's codes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import errors
from gateway.types import Finish, Frame, ReasoningDelta, TextDelta, ToolCallDelta, Usage, Whole
from gateway.upstreams.dashscope import dialect
from tests.emulators.dashscope import KEY, REPLY, Bent, Broken, Cut, Raw, Refusal
from tests.unit.upstreams.dashscope_rig import HTML, House, again, living, no_secret_in

pytestmark = pytest.mark.anyio

THINKER = "qwen3-235b-a22b-thinking-2507"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


def words(events: list[Any]) -> str:
    data = b"".join(event.data for event in events if isinstance(event, Frame))
    chunks = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def test_a_stream_passes_as_it_came(house: House) -> None:
    events = await house.say(enable_search=True, chatType="t2t")
    assert words(events) == REPLY
    assert any(isinstance(event, Usage) for event in events)
    assert Finish("stop") in events
    [asked] = house.site.seen("chat")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["enable_search"] is True
    assert "chatType" not in asked.body


async def test_an_answer_passes_whole(house: House) -> None:
    whole, *_ = await house.say(stream=False)
    assert isinstance(whole, Whole)
    assert json.loads(whole.body)["choices"][0]["message"]["content"] == REPLY


@pytest.mark.parametrize("model", [THINKER, "qwq-plus", "qwen3-32b"])
async def test_a_model_that_only_streams_is_streamed_and_gathered(house: House, model: str) -> None:
    events = await house.say(stream=False, model=model)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == REPLY
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Hm. "
    assert (events[0], Finish("stop") in events) == (ReasoningDelta("Hm. "), True)
    assert not any(isinstance(event, Frame | Whole) for event in events)
    [usage] = [event for event in events if isinstance(event, Usage)]
    assert usage.output_tokens > 0
    assert house.site.seen("chat")[0].body["stream"] is True


async def test_a_model_that_is_told_not_to_think_answers_whole(house: House) -> None:
    whole, *_ = await house.say(stream=False, model="qwen3-32b", enable_thinking=False)
    assert isinstance(whole, Whole)


def test_of_several_answers_the_first_is_gathered() -> None:
    def chunk(index: int, delta: str) -> bytes:
        return b'data: {"choices": [{"index": %d, "delta": %s}]}\n\n' % (index, delta.encode())

    frames = chunk(0, '{"content": "one"}') + chunk(1, '{"content": "two"}') + chunk(0, '{"content": null}')
    assert list(dialect._told(frames)) == [TextDelta("one")]


async def test_calls_of_tools_are_gathered_as_well(house: House) -> None:
    events = await house.say(stream=False, model="qwen3-32b", tools=[TOOL])
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert (calls[0].id, calls[0].name) == ("call_emulated", "look")
    assert json.loads("".join(call.arguments for call in calls)) == {}
    assert Finish("tool_calls") in events


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refusal("invalid_api_key"), errors.CredentialRejected),
        (Refusal("model_not_found"), errors.ModelNotFound),
        (Refusal("AccessDenied.Unpurchased"), errors.ModelNotEnabled),
        (Refusal("Arrearage"), errors.BalanceExhausted),
        (Refusal("insufficient_quota"), errors.QuotaExhausted),
        (Refusal("AllocationQuota.FreeTierOnly"), errors.QuotaExhausted),
        (Refusal("limit_requests"), errors.RateLimited),
        (Refusal("Throttling.AllocationQuota"), errors.RateLimited),
        (Refusal("data_inspection_failed"), errors.ContentRefused),
        (Refusal("invalid_parameter_error", "max_tokens is wrong", status=400), errors.UpstreamRefusedParameter),
        (Refusal("internal_error", status=500), errors.UpstreamFailed),
        (Refusal("ServiceUnavailable"), errors.UpstreamFailed),
        (Refusal("limit_requests", status=200), errors.RateLimited),
        (Raw(403, HTML), errors.Challenged),
        (Raw(200, HTML), errors.Challenged),
        (Raw(200, b"{}", "application/json"), errors.UpstreamGarbled),
        (Raw(502), errors.UpstreamFailed),
    ],
)
async def test_a_refusal_is_known_by_its_code(
    house: House, stream: bool, fault: Any, kind: type[errors.GatewayError]
) -> None:
    house.site.fail("chat", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.say(stream=stream)
    assert type(caught.value) is kind


async def test_a_code_may_come_in_the_vendor_s_own_shape(house: House) -> None:
    body = b'{"code": "DataInspectionFailed", "message": "Input data may be inappropriate.", "request_id": "1"}'
    house.site.fail("chat", Raw(400, body, "application/json"))
    with pytest.raises(errors.ContentRefused):
        await house.say()


@pytest.mark.parametrize("model", ["qwen-plus", "qwq-plus"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Broken(0), errors.UpstreamFailed),
        (Broken(3), errors.StreamInterrupted),
        (Broken(3, b"data: {half\n\n"), errors.UpstreamGarbled),
        (Bent(cut_after=3), errors.StreamTruncated),
        (Bent(error_at=3, error={"message": "Output data may be inappropriate", "code": "data_inspection_failed"}),
         errors.ContentRefused),
        (Bent(error_at=3, error={"message": "busy", "code": "internal_error"}), errors.UpstreamFailed),
        (Bent(error_at=0, error={"message": "slow down", "code": "limit_requests"}), errors.RateLimited),
    ],
)  # fmt: skip
async def test_a_stream_that_goes_wrong_says_so(
    house: House, model: str, fault: Any, kind: type[errors.GatewayError]
) -> None:
    house.site.fail("chat", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.say(model=model, stream=model == "qwen-plus")
    assert type(caught.value) is kind


async def test_a_strange_form_of_a_stream_is_understood(house: House) -> None:
    house.site.fail("chat", Bent(split=7, newline=b"\r\n", comments=True, fields=True))
    assert words(await house.say()) == REPLY


async def test_a_dial_that_failed_says_so(house: House) -> None:
    house.site.fail("chat", *again(Cut()))
    with pytest.raises(errors.UpstreamFailed):
        await house.say()


async def test_no_key_is_in_any_word_of_an_error(house: House) -> None:
    house.site.fail("chat", Refusal("invalid_api_key", f"Incorrect API key provided: {KEY}"))
    with pytest.raises(errors.CredentialRejected) as caught:
        await house.say()
    no_secret_in(caught.value)
