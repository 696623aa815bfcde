"""What is sent for a chat."""

from typing import Any

import pytest

from gateway import errors
from gateway.types import Input
from tests.unit.upstreams.qwen.rig import A, House, text

pytestmark = pytest.mark.anyio


async def test_both_credentials_and_the_version_go_with_every_call(house: House) -> None:
    await house.say("hi")
    for asked in house.site.requests:
        assert asked.headers["authorization"] == f"Bearer {A}"
        assert asked.headers["cookie"] == f"token={A}"
        assert asked.headers["version"]
        assert asked.headers["source"] == "web"
        assert asked.headers["timezone"] == "UTC"
        assert asked.headers["user-agent"] == "mediagate"
    assert len({asked.headers["x-request-id"] for asked in house.site.requests}) == 2


async def test_a_lone_turn_goes_as_it_is(house: House) -> None:
    await house.say("hi\n  there ")
    assert house.content() == "hi\n  there "
    assert house.sent()["stream"] is True
    assert house.sent()["incremental_output"] is True


async def test_all_turns_count(house: House) -> None:
    await house.say(
        {"role": "system", "content": "Be brief."},
        "first question",
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": "data:x"}]},
        {"role": "assistant", "content": "second answer"},
        {"role": "developer", "content": "In French."},
        "last question",
    )
    assert house.content() == (
        "# Instructions\nBe brief.\n\nIn French.\n\n"
        "# Conversation so far\nUser: first question\n\nAssistant: first answer\n\n"
        "User: look\n[image_url]\n\nAssistant: second answer\n\n"
        "# Answer this message\nlast question"
    )


async def test_a_message_that_is_too_long_is_refused_before_anything_is_sent(house: House) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.say("x" * 131_073)
    assert caught.value.code == "context_length_exceeded"
    assert house.site.requests == []
    assert text(await house.say("x" * 131_072))


@pytest.mark.parametrize(
    ("body", "thinks", "budget"),
    [
        ({}, False, None),
        ({"enable_thinking": True}, True, None),
        ({"enable_thinking": False, "reasoning_effort": "high"}, False, None),
        ({"reasoning_effort": "none"}, False, None),
        ({"reasoning_effort": "low"}, True, 4096),
        ({"enable_thinking": True, "thinking_budget": 99_999}, True, 38_911),
        ({"model": "qwen3-max-thinking"}, True, None),
        ({"model": "qwen3-max-thinking", "reasoning_effort": "none"}, False, None),
        ({"model": "qwq-32b", "enable_thinking": False}, True, None),
    ],
)
async def test_thinking_follows_the_request(house: House, body: Any, thinks: bool, budget: int | None) -> None:
    await house.say("hi", **body)
    config = house.sent()["messages"][0]["feature_config"]
    assert config["thinking_enabled"] is thinks
    assert config.get("thinking_budget") == budget
    assert not house.sent()["model"].endswith("-thinking")


async def test_files_of_the_last_turn_go_into_the_message(house: House) -> None:
    ref = await house.qwen.upload(b"png", name="cat.png", mime="image/png", account=house.account)
    await house.say("what is it?", inputs=(Input("object:x", ref=ref),))
    (file,) = house.sent()["messages"][0]["files"]
    assert file == {name: value for name, value in ref.items() if name != "expires_at"}
