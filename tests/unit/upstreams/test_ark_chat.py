"""Text: the OpenAI dialect, with the vendor's own fields."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import errors
from gateway.types import Event, Finish, Frame, Usage, Whole
from tests.emulators.ark import KEY, REPLY, SEED, Cut, Raw, Refusal, Told
from tests.emulators.openai_answers import Bent
from tests.unit.upstreams.ark_rig import HTML, House, again, living, no_secret_in

pytestmark = pytest.mark.anyio

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


def said(events: list[Event], part: str = "content") -> str:
    data = b"".join(event.data for event in events if isinstance(event, Frame))
    chunks = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]
    return "".join(chunk["choices"][0]["delta"].get(part) or "" for chunk in chunks if chunk["choices"])


async def test_a_stream_passes_as_it_came(house: House) -> None:
    events = await house.say(thinking={"type": "enabled"}, reasoning_effort="low", chatType="t2t", max_cost=1)
    assert (said(events), said(events, "reasoning_content")) == (REPLY, "Hm. ")
    assert Finish("stop") in events
    [usage] = [event for event in events if isinstance(event, Usage)]
    assert usage.output_tokens > 0
    [body] = house.site.chats
    assert (body["model"], body["thinking"], body["reasoning_effort"]) == (SEED, {"type": "enabled"}, "low")
    assert body["stream_options"] == {"include_usage": True}, "what was used is asked for"
    assert not {"chatType", "max_cost"} & set(body)
    assert house.site.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("asked", [True, False])
async def test_the_count_passes_only_to_who_asked_for_it(house: House, asked: bool) -> None:
    events = await house.say(**({"stream_options": {"include_usage": True}} if asked else {}))
    frames = b"".join(event.data for event in events if isinstance(event, Frame))
    assert (b'"choices": []' in frames) is asked


async def test_an_answer_passes_whole(house: House) -> None:
    whole, usage, finish = await house.say(stream=False, stream_options={"include_usage": True})
    assert isinstance(whole, Whole)
    message = json.loads(whole.body)["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (REPLY, "Hm. ")
    assert isinstance(usage, Usage) and usage.output_tokens > 0
    assert finish == Finish("stop")
    assert not {"stream", "stream_options"} & set(house.site.chats[0])


async def test_thoughts_can_be_switched_off(house: House) -> None:
    assert said(await house.say(thinking={"type": "disabled"}), "reasoning_content") == ""


async def test_calls_of_tools_pass(house: House) -> None:
    events = await house.say(tools=[TOOL])
    assert Finish("tool_calls") in events
    assert b"call_emulated" in b"".join(event.data for event in events if isinstance(event, Frame))


async def test_an_endpoint_answers_under_its_own_name(house: House) -> None:
    house.site.endpoints["ep-20261121-abcde"] = SEED
    assert said(await house.say(model="ep-20261121-abcde")) == REPLY
    assert house.site.chats[0]["model"] == "ep-20261121-abcde"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_endpoint_that_is_not_found_may_be_another_account_s(house: House, stream: bool) -> None:
    with pytest.raises(errors.ModelNotEnabled):
        await house.say(model="ep-20261121-zzzzz", stream=stream)
    with pytest.raises(errors.ModelNotFound):
        await house.say(model="seed-9-9-270101", stream=stream)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refusal("SomethingNew", status=401), errors.CredentialRejected),
        (Refusal("InternalServiceError", status=200), errors.UpstreamFailed),
        (Refusal("OutputTextSensitiveContentDetected", status=200), errors.ContentRefused),
        (Raw(403, HTML), errors.Challenged),
        (Raw(200, HTML), errors.Challenged),
        (Raw(200, b"{}", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"half of {", "application/json"), errors.UpstreamGarbled),
        (Raw(502), errors.UpstreamFailed),
    ],
)
async def test_a_failure_says_so_whatever_its_status(
    house: House, stream: bool, fault: Any, kind: type[errors.GatewayError]
) -> None:
    house.site.fail("chat", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.say(stream=stream)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("bent", "kind"),
    [
        (Bent(cut_after=3), errors.StreamTruncated),
        (
            Bent(error_at=3, error={"message": "no", "code": "OutputTextSensitiveContentDetected"}),
            errors.ContentRefused,
        ),
        (Bent(error_at=3, error={"message": "no", "code": "InternalServiceError"}), errors.UpstreamFailed),
        (Bent(error_at=0, error={"message": "no", "code": "RequestBurstTooFast"}), errors.RateLimited),
    ],
)
async def test_a_stream_that_goes_wrong_says_so(house: House, bent: Bent, kind: type[errors.GatewayError]) -> None:
    house.site.talk.told.append(Told(bent))
    with pytest.raises(errors.GatewayError) as caught:
        await house.say()
    assert type(caught.value) is kind


async def test_a_strange_form_of_a_stream_is_understood(house: House) -> None:
    house.site.talk.told.append(Told(Bent(split=7, newline=b"\r\n", comments=True, fields=True)))
    assert said(await house.say()) == REPLY


async def test_a_cut_before_the_answer_says_so(house: House) -> None:
    for stream in (True, False):
        house.site.fail("chat", *again(Cut()))
        with pytest.raises(errors.UpstreamFailed):
            await house.say(stream=stream)


async def test_no_key_is_in_any_word_of_an_error(house: House) -> None:
    for stream in (True, False):
        house.site.fail("chat", Refusal("AuthenticationError", f"the key {KEY} is not good"))
        with pytest.raises(errors.CredentialRejected) as caught:
            await house.say(stream=stream)
        no_secret_in(caught.value)
