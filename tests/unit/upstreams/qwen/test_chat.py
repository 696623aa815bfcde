"""What is made of the answers to a chat."""

import asyncio
from typing import Any

import pytest

from gateway import errors
from gateway.http import Timeouts
from gateway.types import ChatRef, Finish, InConversation, Usage
from gateway.upstreams.qwen import site
from gateway.upstreams.qwen.answers import ChatAnswer, Line
from gateway.upstreams.qwen.site import shaped
from tests.emulators.qwen import Answer, Fault
from tests.unit.upstreams.qwen.rig import A, House, text, thoughts

pytestmark = pytest.mark.anyio


async def test_an_answer_becomes_events_and_the_conversation_comes_first(house: House) -> None:
    events = await house.say("hi")
    (chat,) = house.site.people[A].chats.values()
    assert events[0] == InConversation(ChatRef(chat.id, chat.responses[-1]))
    assert text(events) == "Hello from the site."
    assert events[-2:] == [Usage(input_tokens=11, output_tokens=7), Finish("stop")]


async def test_details_of_usage_are_told(house: House) -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 9,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 4},
    }
    house.site.answers.append(Answer(usage=usage))
    assert (await house.say("hi"))[-2] == Usage(5, 9, cached_tokens=2, reasoning_tokens=4)


async def test_thoughts_come_apart_and_their_end_is_not_the_answers(house: House) -> None:
    house.site.answers.append(Answer("42", think="Let me see. It is six times seven."))
    events = await house.say("hi", enable_thinking=True)
    assert thoughts(events) == "Let me see. It is six times seven."
    assert text(events) == "42"
    assert isinstance(events[-1], Finish)


def deltas(*told: dict[str, Any]) -> Line:
    return shaped({"choices": [{"delta": delta} for delta in told]}, Line)


def test_a_summary_of_thoughts_is_told_once() -> None:
    answer = ChatAnswer("c", frozenset())
    told: list[Any] = []
    for title, thought in ((["T"], ["I"]), (["T"], ["I see"]), (["T", "U"], ["I see", "Done"])):
        extra = {"summary_title": {"content": title}, "summary_thought": {"content": thought}}
        told += answer.read(deltas({"phase": "thinking_summary", "content": "", "extra": extra}))
    told += answer.read(deltas({"phase": "thinking_summary", "content": "", "status": "finished", "extra": {}}))
    assert not answer.ended
    assert thoughts(told) == "T\nI see\n\nU\nDone"


def test_phases_of_tools_are_not_text() -> None:
    answer = ChatAnswer("c", frozenset())
    for phase in ("web_search", "image_gen_tool", "code_interpreter"):
        assert list(answer.read(deltas({"phase": phase, "content": "x"}))) == []


def test_a_text_that_waits_for_its_block_of_calls_is_not_told_when_it_never_ends() -> None:
    answer = ChatAnswer("c", frozenset({"weather"}))
    assert list(answer.read(deltas({"phase": "answer", "content": "```tool_calls\n{"}))) == []
    with pytest.raises(errors.UpstreamGarbled):
        list(answer.rest())


async def test_an_answer_without_phases_is_text(house: House) -> None:
    house.site.answers.append(Answer("plain", phaseless=True))
    assert text(await house.say("hi")) == "plain"


@pytest.mark.parametrize("words", ["abcdefghij", "aaaaaaaa", "haha haha", "ab", "一二三四"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 10])
async def test_text_in_pieces_arrives_whole(house: House, words: str, pieces: int) -> None:
    house.site.answers.append(Answer(words, pieces=pieces))
    assert text(await house.say("hi")) == words


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_characters_that_are_cut_anywhere_arrive_whole(house: House, size: int) -> None:
    words = "žluťoučký 🐈‍⬛ 猫は\u2028寝る\u0085 end"
    house.site.answers.append(Answer(words, think="思う…", split=size))
    events = await house.say("hi", enable_thinking=True)
    assert (text(events), thoughts(events)) == (words, "思う…")


@pytest.mark.parametrize("done", ["[DONE]", "completed"])
async def test_other_ends_are_ends_too(house: House, done: str) -> None:
    house.site.answers.append(Answer("x", finished=False, done=done))
    assert isinstance((await house.say("hi"))[-1], Finish)


async def test_a_stream_that_stays_open_after_its_end_is_not_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "DRAIN", 0.05)
    house.site.answers.append(Answer("x", linger=30))
    async with asyncio.timeout(3):
        assert isinstance((await house.say("hi"))[-1], Finish)


async def test_a_stream_that_just_stops_is_no_answer(house: House) -> None:
    house.site.answers.append(Answer("half", finished=False))
    with pytest.raises(errors.StreamTruncated):
        await house.say("hi")


async def test_an_empty_answer_is_no_answer(house: House) -> None:
    house.site.answers.append(Answer(""))
    with pytest.raises(errors.UpstreamGarbled):
        await house.say("hi")


async def test_a_break_before_the_first_word_may_be_tried_elsewhere(house: House) -> None:
    house.site.fail("completions", Fault.cut(after=1))
    with pytest.raises(errors.UpstreamFailed) as caught:
        await house.say("hi")
    assert caught.value.elsewhere


async def test_a_break_after_the_first_word_is_told(house: House) -> None:
    house.site.fail("completions", Fault.cut(after=4))
    with pytest.raises(errors.StreamInterrupted):
        await house.say("hi")


async def test_silence_ends_with_a_timeout(house: House) -> None:
    house.http.timeouts = Timeouts(idle=0.1)
    house.site.fail("completions", Fault.silence(after=1))
    with pytest.raises(errors.UpstreamTimeout):
        await house.say("hi")


async def test_a_slow_answer_is_waited_for(house: House) -> None:
    house.site.fail("completions", Fault.slow(0.1))
    assert text(await house.say("hi"))
