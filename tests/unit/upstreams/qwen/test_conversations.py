"""Conversations that the site keeps."""

import asyncio

import pytest

from gateway import errors
from gateway.types import ChatRef, InConversation
from tests.emulators.qwen import Answer
from tests.unit.upstreams.qwen.rig import A, House, request, text

pytestmark = pytest.mark.anyio


async def test_a_conversation_goes_on_with_the_last_turn_alone(house: House) -> None:
    first = await house.say({"role": "system", "content": "Be brief."}, "one")
    ref = first[0].chat
    events = await house.say("one", {"role": "assistant", "content": "Hello"}, "two", chat=ref)
    assert house.content() == "two"
    assert house.sent()["parent_id"] == ref.parent_id
    assert events[0].chat.chat_id == ref.chat_id
    assert events[0].chat.parent_id != ref.parent_id
    assert len(house.site.asked("new")) == 1


async def test_turns_of_one_conversation_wait_for_each_other(house: House) -> None:
    ref = (await house.say("one"))[0].chat
    house.site.answers.extend([Answer("first", pause=0.02), Answer("second")])
    answers = await asyncio.gather(house.say("two", chat=ref), house.say("three", chat=ref))
    assert sorted(map(text, answers)) == ["first", "second"]
    assert house.site.most_at_once == 1
    assert len(house.qwen._turns) == 0


async def test_turns_of_different_conversations_do_not_wait(house: House) -> None:
    house.site.answers.extend([Answer("first", pause=0.05), Answer("second", pause=0.05)])
    await asyncio.gather(house.say("two"), house.say("three"))
    assert house.site.most_at_once == 2


async def test_a_turn_left_early_lets_the_next_one_in(house: House) -> None:
    ref = (await house.say("one"))[0].chat
    house.site.answers.append(Answer("a long answer", pause=0.02))
    events = house.qwen.chat(request("two", chat=ref), house.account)
    await anext(events)
    await events.aclose()
    await asyncio.sleep(0.1)
    assert text(await house.say("three", chat=ref))


async def test_a_busy_conversation_is_a_limit_of_the_account(house: House) -> None:
    ref = (await house.say("one"))[0].chat
    house.site.people[A].chats[ref.chat_id].busy = True
    with pytest.raises(errors.ConcurrencyLimited):
        await house.say("two", chat=ref)


async def test_a_conversation_that_is_gone_is_a_conflict(house: House) -> None:
    with pytest.raises(errors.Conflict) as caught:
        await house.say("hi", chat=ChatRef("no/such?chat", "r"))
    assert caught.value.code == "conversation_unavailable"
    assert house.site.asked("completions")[0].query == {"chat_id": "no/such?chat"}


async def test_a_wrong_place_in_a_conversation_is_the_callers_fault(house: House) -> None:
    ref = (await house.say("one"))[0].chat
    with pytest.raises(errors.UpstreamRefusedParameter) as caught:
        await house.say("two", chat=ChatRef(ref.chat_id, "nowhere"))
    assert caught.value.param == "parentId"


async def test_chats_can_be_deleted_when_they_are_answered(house: House) -> None:
    house.qwen = house.provider(delete_chats=True)
    events = await house.say("hi")
    assert house.site.people[A].chats == {}
    assert not any(isinstance(event, InConversation) for event in events)
    assert text(events)
