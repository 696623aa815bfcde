"""The qwen provider against its emulator: what it sends, what it makes of the answers, and of what goes wrong."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.http import Outbound, Timeouts
from gateway.types import (
    Account,
    ChatRef,
    ChatRequest,
    Finish,
    ImageRequest,
    InConversation,
    Input,
    Job,
    MediaReady,
    Progress,
    ReasoningDelta,
    Size,
    TextDelta,
    ToolCallDelta,
    Usage,
    VideoRequest,
)
from gateway.upstreams import qwen
from gateway.upstreams.qwen import Qwen, QwenOptions
from tests.emulators.qwen import Answer, Fault, Picture, QwenSite, jwt
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

A, B = jwt("a"), jwt("b")


class House:
    """The provider, its emulator and an account."""

    def __init__(self, site: QwenSite, base_url: str, http: Outbound) -> None:
        self.site = site
        self.http = http
        self.account = Account("qwen/a", "a", "qwen", credential=A, base_url=base_url)
        self.other = replace(self.account, id="qwen/b", name="b", credential=B)
        self.qwen = self.provider()

    def provider(self, **options: Any) -> Qwen:
        return Qwen("qwen", QwenOptions(oss_url=self.account.base_url + "/{bucket}", **options), self.http)

    async def say(
        self, *turns: Any, chat: ChatRef | None = None, inputs: tuple[Input, ...] = (), **body: Any
    ) -> list[Any]:
        asked = request(*turns, chat=chat, inputs=inputs, **body)
        return [event async for event in self.qwen.chat(asked, self.account)]

    async def paint(self, prompt: str = "a cat", **fields: Any) -> list[Any]:
        asked = ImageRequest("qwen3-max", prompt, **fields)
        return [event async for event in self.qwen.image(asked, self.account)]

    def film(self, prompt: str = "a cat", **fields: Any) -> Any:
        return self.qwen.submit(VideoRequest("qwen3-max", prompt, **fields), self.account)

    def sent(self) -> dict[str, Any]:
        """The last completion's body."""
        body: dict[str, Any] = self.site.asked("completions")[-1].body
        return body

    def content(self) -> str:
        return str(self.sent()["messages"][0]["content"])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    site = QwenSite((A, B))
    http = Outbound(Timeouts(idle=5))
    await http.start()
    async with serve(site) as base_url:
        yield House(site, base_url, http)
    await http.close()


def request(*turns: Any, chat: ChatRef | None = None, inputs: tuple[Input, ...] = (), **body: Any) -> ChatRequest:
    messages = [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in turns]
    fields = {"model": "qwen3-max", **body, "messages": messages}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return ChatRequest(fields["model"], raw, chat=chat, inputs=inputs)


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thoughts(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def images(events: list[Any]) -> list[Any]:
    return [event.media for event in events if isinstance(event, MediaReady)]


def no_secret_in(error: errors.GatewayError) -> None:
    seen: BaseException | None = error
    while seen is not None:
        for shown in (str(seen), repr(seen), str(getattr(seen, "detail", "")), str(getattr(seen, "advice", ""))):
            assert A not in shown
            assert "eyJ" not in shown
        seen = seen.__cause__ or seen.__context__


# --- what it is ---


def test_it_says_what_it_can_do() -> None:
    able = Qwen.operations()
    assert able == {"chat", "image", "submit", "poll", "upload", "models", "probe"}
    assert (Qwen.max_concurrency, Qwen.poll_interval, Qwen.deadline) == (2, 5, 1200)


async def test_models_of_its_name_are_adopted(house: House) -> None:
    card = house.qwen.adopt("qwen9-ultra", "t2v")
    assert card is not None
    assert card.kinds == {"t2t", "t2i", "i2i", "t2v", "i2v"}
    assert card.ratios == ("1:1", "3:4", "4:3", "16:9", "9:16")
    assert house.qwen.adopt("QwQ-32B", None)
    assert house.qwen.adopt("gpt-4o", None) is None
    assert house.qwen.adopt("qwen-image-max", None) is None
    assert house.qwen.adopt("qwen3-max", "tts") is None


@pytest.mark.parametrize("generations", [("v1",), ("v2",)])
async def test_the_live_list_becomes_cards(house: House, generations: tuple[str, ...]) -> None:
    house.site.generations = set(generations)
    cards = {card.id: card for card in await house.qwen.models(house.account)}
    assert cards["qwen3-max"].kinds == {"t2t", "t2i", "i2i", "t2v", "i2v"}
    assert cards["qwen3-vl-plus"].kinds == {"t2t", "t2i"}
    assert cards["qwen3-vl-plus"].vision
    assert not cards["qwen3-max"].reasoning
    assert cards["qwen3.7-plus"].reasoning
    assert cards["qwen3.7-plus"].context_length == 262_144


async def test_the_probe_lists_chats_and_makes_none(house: House) -> None:
    await house.qwen.probe(house.account)
    (asked,) = house.site.requests
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/v2/chats/", {"page": "1"})


async def test_the_probe_finds_a_token_that_chats_new_would_take(house: House) -> None:
    house.site.people[A].expired = True
    with pytest.raises(errors.CredentialRejected):
        await house.qwen.probe(house.account)


def test_a_tokens_end_is_read_from_it() -> None:
    assert qwen.credential_expires(jwt("x", 1_800_000_000)) == 1_800_000_000
    for odd in ("", "abc", "a.b.c", "..", "a.bm90IGpzb24.c", "sk-123"):
        assert qwen.credential_expires(odd) is None


# --- chat: what is sent ---


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


# --- chat: what is answered ---


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


async def test_a_summary_of_thoughts_is_told_once() -> None:
    answer = qwen._Answer("c", frozenset(), named=True)
    told: list[Any] = []
    for title, thought in ((["T"], ["I"]), (["T"], ["I see"]), (["T", "U"], ["I see", "Done"])):
        extra = {"summary_title": {"content": title}, "summary_thought": {"content": thought}}
        line = {"choices": [{"delta": {"phase": "thinking_summary", "content": "", "extra": extra}}]}
        told += answer.read(line)
    done = {"phase": "thinking_summary", "content": "", "status": "finished", "extra": {}}
    told += answer.read({"choices": [{"delta": done}]})
    assert not answer.ended
    assert thoughts(told) == "T\nI see\n\nU\nDone"


async def test_phases_of_tools_are_not_text() -> None:
    answer = qwen._Answer("c", frozenset(), named=True)
    for phase in ("web_search", "image_gen_tool", "code_interpreter"):
        assert list(answer.read({"choices": [{"delta": {"phase": phase, "content": "x"}}]})) == []


async def test_an_answer_without_phases_is_text(house: House) -> None:
    house.site.answers.append(Answer("plain", phaseless=True))
    assert text(await house.say("hi")) == "plain"


@pytest.mark.parametrize("words", ["abcdefghij", "aaaaaaaa", "haha haha", "ab", "一二三四"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 10])
async def test_text_in_pieces_arrives_whole(house: House, words: str, pieces: int) -> None:
    house.site.answers.append(Answer(words, pieces=pieces))
    assert text(await house.say("hi")) == words


@pytest.mark.parametrize("words", ["abcdefghij", "aaaaaaaa", "haha haha", "一二三四五六七八"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 10])
async def test_text_that_is_told_whole_each_time_arrives_once(house: House, words: str, pieces: int) -> None:
    house.site.answers.append(Answer(words, pieces=pieces, cumulative=True))
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
    monkeypatch.setattr(qwen, "DRAIN", 0.05)
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


# --- chat: tools and formats, in words ---

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


# --- conversations ---


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


# --- what goes wrong ---

FAULTS: list[tuple[Fault, type[errors.GatewayError]]] = [
    (Fault.api("Unauthorized"), errors.CredentialRejected),
    (Fault.api("Bad_Request", "Token has expired"), errors.CredentialRejected),
    (Fault.api("", "", status=401), errors.CredentialRejected),
    (Fault.api("", "", actual=401), errors.CredentialRejected),
    (Fault.rate_limited(4), errors.QuotaExhausted),
    (Fault.throttled(), errors.RateLimited),
    (replace(Fault.rate_limited(4), status=429), errors.QuotaExhausted),
    (Fault.api("invalid_input", "bad url", status=500), errors.UpstreamRefusedParameter),
    (Fault.api("Throttled", "Allocated quota exceeded, please wait"), errors.RateLimited),
    (Fault.api("Odd", "slow down", status=429), errors.RateLimited),
    (Fault.api("Odd", "slow down", actual=429), errors.RateLimited),
    (Fault.raw(b"slow down", "text/plain", 429), errors.RateLimited),
    (Fault.api("Bad_Request", "The field feature_config is wrong"), errors.AdapterContract),
    (Fault.api("Bad_Request", "Model not found"), errors.UpstreamRefusedParameter),
    (Fault.api("Bad_Request", "content is too long"), errors.UpstreamRefusedParameter),
    (Fault.api("Bad_Request", "internal error"), errors.UpstreamFailed),
    (Fault.api("internal_error", "oops"), errors.UpstreamFailed),
    (Fault.api("Never_Seen", "who knows"), errors.UpstreamFailed),
    (Fault.raw(b"<html>504</html>", "text/html", 504), errors.UpstreamFailed),
    (Fault.api("Bad_Request", "The chat is in progress!"), errors.ConcurrencyLimited),
    (Fault.api("Not_Found", "Chat not found"), errors.UpstreamFailed),
    (Fault.api("invalid_input", "bad url"), errors.UpstreamRefusedParameter),
    (Fault.api("data_inspection_failed", "no"), errors.ContentRefused),
    (Fault.api("Bad_Request", "Content Security Warning: inappropriate content"), errors.ContentRefused),
    (Fault.html(), errors.Challenged),
    (Fault.html(403), errors.Challenged),
    (Fault.html(404), errors.Challenged),
    (Fault.raw(b'{"ret": ["FAIL_SYS_USER_VALIDATE"], "data": {"url": "x"}}'), errors.Challenged),
    (Fault.raw(b"", "", 302), errors.Challenged),
    (Fault.raw(b'{"success": tr'), errors.UpstreamGarbled),
    (Fault.raw(b'{"success": true, "data": {}}'), errors.UpstreamGarbled),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
async def test_every_failure_has_its_class(house: House, fault: Fault, expected: type[errors.GatewayError]) -> None:
    house.site.fail("completions", replace(fault, details=f"{fault.details} {A}"))
    with pytest.raises(errors.GatewayError) as caught:
        await house.say("hi")
    assert type(caught.value) is expected
    assert len(house.site.asked("completions")) == 1
    no_secret_in(caught.value)


@pytest.mark.parametrize("shape", ["data", "text", "object"])
@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("RateLimited", "You've reached the upper limit for today's usage.", errors.QuotaExhausted),
        ("data_inspection_failed", "content security: refused", errors.ContentRefused),
        ("Bad_Request", "internal error", errors.UpstreamFailed),
    ],
)
@pytest.mark.parametrize("after", [0, 4])
async def test_failures_within_a_stream_count(
    house: House, shape: str, code: str, details: str, expected: type[Exception], after: int
) -> None:
    house.site.fail("completions", Fault.in_stream(code, f"{details} {A}", shape, after))
    events: list[Any] = []
    with pytest.raises(expected) as caught:
        async for event in house.qwen.chat(request("hi"), house.account):
            events.append(event)
    assert bool(events) is (after > 0)
    no_secret_in(caught.value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("told", "seconds"), [(4, 4 * 3600), ("2", 7200), (None, None), ("soon", None), (0, None)])
async def test_the_quota_rests_as_long_as_it_says_or_until_the_day_ends(house: House, told: Any, seconds: Any) -> None:
    house.site.fail("new", Fault.rate_limited(told))
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.say("hi")
    wait = caught.value.retry_after
    assert wait == pytest.approx(seconds if seconds else 86_400 - time.time() % 86_400, abs=5)


async def test_what_breaks_before_the_generation_was_asked_for_may_be_repeated(house: House) -> None:
    house.site.fail("new", Fault.cut(), Fault.api("internal_error"), Fault.raw(b'{"success": true}'))
    for _ in range(3):
        with pytest.raises(errors.UpstreamError) as caught:
            await house.film()
        assert caught.value.sent == "no"
    assert house.site.asked("completions") == []


async def test_a_challenge_is_not_followed_by_another_call(house: House) -> None:
    house.site.fail("new", Fault.html())
    with pytest.raises(errors.Challenged):
        await house.say("hi")
    assert len(house.site.requests) == 1


async def test_the_details_are_kept_for_admins(house: House) -> None:
    house.site.fail("completions", Fault.api("Bad_Request", "The field x is wrong"))
    with pytest.raises(errors.AdapterContract) as caught:
        await house.say("hi")
    assert caught.value.detail == "Bad_Request: The field x is wrong"
    assert "field x" not in caught.value.message


# --- images ---


async def test_an_image_is_told_with_its_sides(house: House) -> None:
    events = await house.paint(size=Size("16:9"))
    (media,) = images(events)
    assert media.url.startswith("https://cdn.qwenlm.ai/output/")
    assert (media.family, media.width, media.height) == ("image", 2688, 1536)
    assert isinstance(events[0], Progress)
    assert [event.percent for event in events if isinstance(event, Progress)] == sorted(
        event.percent for event in events if isinstance(event, Progress)
    )
    assert events[-1] == Usage(images=1)
    message = house.sent()["messages"][0]
    assert (message["chat_type"], message["sub_chat_type"], message["extra"]["meta"]) == (
        "t2i",
        "t2i",
        {"subChatType": "t2i", "size": "16:9"},
    )


@pytest.mark.parametrize("phase", ["image_gen", None])
@pytest.mark.parametrize("pieces", [1, 2, 5, 40])
async def test_urls_with_nothing_between_are_told_apart(house: House, phase: str | None, pieces: int) -> None:
    house.site.pictures.append(Picture(count=3, phase=phase, pieces=pieces))
    found = [media.url for media in images(await house.paint())]
    assert len(set(found)) == 3
    assert all(url.count("https://") == 1 and "?key=" in url for url in found)


async def test_images_may_be_listed_beside_the_text(house: House) -> None:
    house.site.pictures.append(Picture(count=2, listed=True))
    assert len(images(await house.paint())) == 2


async def test_an_edit_does_not_give_its_source_back(house: House) -> None:
    ref = await house.qwen.upload(b"png", name="cat.png", mime="image/png", account=house.account)
    house.site.pictures.append(Picture(echo=True, phase="image_edit"))
    (media,) = images(await house.paint(kind="i2i", inputs=(Input("object:x", ref=ref),)))
    assert "/output/" in media.url
    assert house.sent()["messages"][0]["chat_type"] == "image_edit"
    assert house.sent()["messages"][0]["files"][0]["url"] == ref["url"]


async def test_several_images_are_asked_for_one_by_one(house: House) -> None:
    events = await house.paint(n=2)
    assert len(images(events)) == 2
    assert events[-1] == Usage(images=2)
    assert len(house.site.asked("completions")) == 2


@pytest.mark.parametrize("as_list", [False, True])
async def test_an_image_that_the_stream_lost_is_found_in_the_conversation(house: House, as_list: bool) -> None:
    house.site.detail_as_list = as_list
    house.site.pictures.append(Picture(lost=True))
    assert len(images(await house.paint())) == 1
    house.site.fail("completions", Fault.cut(after=4))
    (media,) = images(await house.paint())
    assert "?key=" in media.url


async def test_no_image_anywhere_is_no_answer(house: House) -> None:
    house.site.pictures.append(Picture(count=0, words="I would rather not."))
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.paint()
    assert caught.value.detail == "I would rather not."
    assert len(house.site.asked("detail")) == 1


async def test_nothing_is_told_before_the_image_was_accepted(house: House) -> None:
    house.site.fail("completions", Fault.in_stream("RateLimited", "upper limit for today", after=0))
    events: list[Any] = []
    with pytest.raises(errors.QuotaExhausted):
        async for event in house.qwen.image(ImageRequest("qwen3-max", "x"), house.account):
            events.append(event)
    assert events == []


async def test_a_mask_is_refused(house: House) -> None:
    with pytest.raises(errors.UpstreamRefusedParameter):
        await house.paint(kind="i2i", inputs=(Input("x", role="mask"),))


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        (None, "1:1"),
        (Size("1:1", 1024, 1024), "1:1"),
        (Size("3:2", 1536, 1024), "4:3"),
        (Size("2:3", 1024, 1536), "3:4"),
        (Size("7:4", 1792, 1024), "16:9"),
        (Size("4:7", 1024, 1792), "9:16"),
        (Size("21:9"), "16:9"),
        *((Size(ratio), ratio) for ratio in ("1:1", "3:4", "4:3", "16:9", "9:16")),
    ],
)
def test_sizes_become_the_nearest_ratio(size: Size | None, ratio: str) -> None:
    assert qwen._ratio(size) == ratio


# --- videos ---


async def test_a_video_is_made_and_asked_about(house: House) -> None:
    job = await house.film(size=Size("9:16"))
    body = house.sent()
    assert (body["stream"], body["size"], body["messages"][0]["extra"]["meta"]["size"]) == (False, "9:16", "9:16")
    assert job.cursor["chat_id"] in house.site.people[A].chats
    states = [await house.qwen.poll(job, house.account) for _ in range(3)]
    assert [(update.state, update.native) for update in states] == [
        ("running", "pending"),
        ("running", "running"),
        ("succeeded", "success"),
    ]
    assert states[1].eta_seconds == 60
    assert states[2].media[0].family == "video"
    assert states[2].media[0].url.endswith(house.site.people[A].tasks[job.id].url[-20:])


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_whichever_status_endpoint_answers_is_remembered(house: House, generation: str) -> None:
    house.site.generations = {generation}
    job = await house.film()
    for _ in range(3):
        await house.qwen.poll(job, house.account)
    asked = ["v1" if "/v1/" in request.path else "v2" for request in house.site.asked("status")]
    assert asked == (["v1"] * 3 if generation == "v1" else ["v1", "v2", "v2", "v2"])


async def test_a_job_is_asked_about_with_its_accounts_token_and_unknown_to_others(house: House) -> None:
    job = await house.film()
    await house.qwen.poll(job, house.account)
    assert {request.headers["authorization"] for request in house.site.asked("status")} == {f"Bearer {A}"}
    with pytest.raises(errors.JobLost):
        await house.qwen.poll(job, house.other)


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("running", "running"), ("processing", "running"), ("pending", "running"), ("success", "succeeded"),
        ("succeeded", "succeeded"), ("completed", "succeeded"), ("failed", "failed"), ("error", "failed"),
        ("failure", "failed"), ("never_seen", "running"), ("", "running"),
    ],
)  # fmt: skip
def test_every_native_state_has_ours(native: str, state: str) -> None:
    data = {"task_status": native, "content": "https://cdn/x.mp4", "message": ""}
    assert qwen._update(Job("t"), data, "https://chat.qwen.ai", 0.0).state == state


def test_progress_comes_from_the_time_left() -> None:
    job = Job("t", {"submitted_at": 100.0})
    update = qwen._update(job, {"task_status": "running", "remaining_time": "30"}, "", 190.0)
    assert (update.progress, update.eta_seconds) == (75.0, 30.0)
    assert qwen._update(job, {"task_status": "running", "remaining_time": ""}, "", 190.0).progress is None


def test_success_without_a_video_is_looked_at_again_and_then_given_up() -> None:
    job, states = Job("t"), []
    for _ in range(3):
        update = qwen._update(job, {"task_status": "success", "content": ""}, "https://chat.qwen.ai", 0.0)
        states.append((update.state, update.native))
        job = update.job or job
    assert states == [("running", "success"), ("running", "success"), ("failed", "success")]
    assert isinstance(update.error, errors.UpstreamGarbled)


def test_a_failed_video_says_why() -> None:
    refused = qwen._update(Job("t"), {"task_status": "failed", "message": "data inspection: no"}, "", 0.0)
    assert isinstance(refused.error, errors.ContentRefused)
    failed = qwen._update(Job("t"), {"task_status": "failed", "message": "out of paint"}, "", 0.0)
    assert isinstance(failed.error, errors.GenerationFailed)
    assert failed.error.detail == "out of paint"


async def test_a_task_that_the_answer_does_not_name_is_found_in_the_conversation(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id())
    job = await house.film()
    assert job.id in house.site.people[A].tasks


async def test_a_task_that_is_named_nowhere_leaves_the_outcome_open(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id(in_chat=False))
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.film()
    assert caught.value.sent == "unknown"
    assert len(house.site.asked("detail")) == 1


async def test_a_conversation_that_cannot_be_looked_at_leaves_the_outcome_open(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id())
    house.site.fail("detail", Fault.throttled())
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.film()
    assert caught.value.sent == "unknown"


async def test_a_create_that_was_cut_is_never_sent_again(house: House) -> None:
    house.site.fail("completions", Fault.cut())
    with pytest.raises(errors.UpstreamError) as caught:
        await house.film()
    assert caught.value.sent == "unknown"
    assert len(house.site.asked("completions")) == 1


async def test_a_task_made_by_a_create_that_was_cut_is_taken_up(house: House) -> None:
    house.site.fail("completions", Fault.cut_after_create())
    job = await house.film()
    assert job.id in house.site.people[A].tasks
    assert len(house.site.asked("completions")) == 1


async def test_no_more_videos_today(house: House) -> None:
    house.site.people[A].videos_left = 0
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.film()
    assert caught.value.retry_after == 9 * 3600


async def test_a_video_from_an_image_names_the_file(house: House) -> None:
    ref = await house.qwen.upload(b"png", name="cat.png", mime="image/png", account=house.account)
    await house.film(kind="i2v", inputs=(Input("object:x", ref=ref),))
    message = house.sent()["messages"][0]
    assert message["chat_type"] == "i2v"
    (file,) = message["files"]
    assert {name: file[name] for name in ("type", "name", "file_type", "showType", "file_class", "status")} == {
        "type": "image",
        "name": "cat.png",
        "file_type": "image/png",
        "showType": "image",
        "file_class": "vision",
        "status": "uploaded",
    }


@pytest.mark.parametrize("kind", ["flf2v", "ref2v"])
async def test_kinds_it_does_not_make_are_refused_before_anything_is_sent(house: House, kind: Any) -> None:
    with pytest.raises(errors.UpstreamRefusedParameter):
        await house.film(kind=kind)
    assert house.site.requests == []


async def test_a_poll_tells_of_the_account(house: House) -> None:
    job = await house.film()
    house.site.fail("status", Fault.api("Unauthorized"), Fault.throttled())
    with pytest.raises(errors.CredentialRejected):
        await house.qwen.poll(job, house.account)
    with pytest.raises(errors.RateLimited):
        await house.qwen.poll(job, house.account)


async def test_a_page_instead_of_a_known_status_is_a_challenge(house: House) -> None:
    job = await house.film()
    await house.qwen.poll(job, house.account)
    house.site.fail("status", Fault.html())
    with pytest.raises(errors.Challenged):
        await house.qwen.poll(job, house.account)
    assert len(house.site.asked("status")) == 2


# --- files ---


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_an_upload_is_signed_stored_and_named(house: House, generation: str) -> None:
    house.site.generations = {generation}
    ref = await house.qwen.upload(b"bytes", name="kočka 1.png", mime="image/png", account=house.account)
    ((stored, mime),) = house.site.objects.values()
    assert (stored, mime) == (b"bytes", "image/png")
    assert ref["type"] == "image"
    assert ref["size"] == 5
    assert ref["id"] in house.site.people[A].files
    assert float(ref["expires_at"]) == pytest.approx(time.time() + 300, abs=5)  # type: ignore[arg-type]
    assert A not in house.site.asked("oss")[0].headers.get("authorization", "")
    assert "cookie" not in house.site.asked("oss")[0].headers


async def test_a_document_is_read_before_it_is_used(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qwen, "PARSE_INTERVAL", 0.01)
    ref = await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)
    assert house.site.asked("sts")[-1].body["filetype"] == "document"
    assert (ref["type"], ref["file_class"]) == ("file", "document")
    assert len(house.site.asked("parse_status")) == 2
    assert text(await house.say("sum it up", inputs=(Input("object:x", ref=ref),)))


async def test_a_document_that_cannot_be_read_is_the_callers_fault(house: House) -> None:
    house.site.parse_script = ["failed"]
    with pytest.raises(errors.UpstreamRefusedParameter):
        await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)


async def test_a_document_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qwen, "PARSE_INTERVAL", 0)
    monkeypatch.setattr(qwen, "PARSE_LOOKS", 3)
    house.site.parse_script = ["running"]
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await house.qwen.upload(b"%PDF", name="a.pdf", mime="application/pdf", account=house.account)
    assert caught.value.sent == "no"


async def test_storage_that_refuses_tells_no_secret(house: House) -> None:
    leak = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>x-oss-security-token:SECRET</StringToSign></Error>"
    house.site.fail("oss", Fault.raw(leak, "application/xml", 403))
    with pytest.raises(errors.UpstreamFailed) as caught:
        await house.qwen.upload(b"x", name="a.png", mime="image/png", account=house.account)
    assert caught.value.sent == "no"
    assert "SignatureDoesNotMatch" in str(caught.value.detail)
    assert "SECRET" not in str(caught.value.detail)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "evil.test", "x.aliyuncs.com.evil.test", "a/b.aliyuncs.com"])
def test_a_file_goes_to_no_strangers_storage(endpoint: str) -> None:
    with pytest.raises(errors.UpstreamGarbled):
        qwen._place(QwenOptions().oss_url, {"bucketname": "b", "endpoint": endpoint})


def test_storage_is_found_by_endpoint_or_region() -> None:
    template = QwenOptions().oss_url
    named = {"bucketname": "b", "region": "oss-x", "endpoint": "oss-y.aliyuncs.com"}
    assert qwen._place(template, named) == "https://b.oss-y.aliyuncs.com"
    assert qwen._place(template, {"bucketname": "b", "region": "oss-x"}) == "https://b.oss-x.aliyuncs.com"
    assert qwen._place(template, {"bucketname": "b", "region": "eu"}) == "https://b.oss-eu.aliyuncs.com"


def test_an_image_on_the_internet_can_be_named() -> None:
    assert qwen._file(Input("https://x.test/a.png", mime="image/png"))["url"] == "https://x.test/a.png"
    for odd in (Input("https://x.test/a.pdf", mime="application/pdf"), Input("data:image/png;base64,AA")):
        with pytest.raises(errors.InvalidRequest):
            qwen._file(odd)


# --- answers and bodies of any shape ---

NAMES = (
    "choices", "delta", "phase", "content", "status", "extra", "summary_title", "summary_thought", "image_list",
    "output_image_hw", "usage", "width", "height", "image", "output_tokens_details", "reasoning_tokens",
    "response.created", "response_id", "error", "success", "data", "code", "details", "num", "chat", "history",
    "messages", "role", "content_list", "wanx", "task_id", "task_status", "remaining_time", "message", "info", "meta",
    "chat_type", "capabilities", "id", "tool_calls", "function", "name", "arguments", "tool_call_id", "type", "text",
)  # fmt: skip
WORDS = ("think", "thinking_summary", "answer", "image_gen", "finished", "tool", "success", "https://x/a")
LEAVES = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5)
LISTED = st.lists(st.lists(ANYTHING, max_size=3) | OBJECTS | LEAVES, max_size=3) | ANYTHING
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "summary_title": st.fixed_dictionaries({"content": LISTED}),
        "summary_thought": st.fixed_dictionaries({"content": LISTED}),
        "image_list": LISTED,
        "output_image_hw": LISTED,
    },
)
DELTAS = st.fixed_dictionaries(
    {"phase": st.sampled_from((*WORDS, None)) | ANYTHING},
    optional={"content": ANYTHING, "status": ANYTHING, "extra": EXTRAS | ANYTHING, "role": ANYTHING},
)
LINES = OBJECTS | st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"delta": DELTAS}) | ANYTHING, max_size=2)}, optional={"usage": ANYTHING}
)
ROWS = OBJECTS | st.fixed_dictionaries({"info": st.fixed_dictionaries({"meta": OBJECTS | ANYTHING}) | ANYTHING})
CALLS = st.fixed_dictionaries({"id": ANYTHING, "function": OBJECTS | ANYTHING}) | ANYTHING
TURNS = OBJECTS | st.fixed_dictionaries({"content": LISTED, "tool_calls": st.lists(CALLS, max_size=2) | ANYTHING})


@given(st.lists(LINES, max_size=4))
def test_no_line_of_a_stream_breaks_the_readers(lines: list[dict[str, Any]]) -> None:
    gallery = qwen._Gallery(qwen._Turn("t2i", "m", "x"), "https://chat.qwen.ai")
    answer = qwen._Answer("c", frozenset({"weather"}), named=True)
    for line in lines:
        qwen._failure(line)
        list(answer.read(line))
        gallery.read(line)
    gallery.media()
    gallery.recall(qwen._site_messages({"chat": {"messages": lines}}))
    with contextlib.suppress(errors.GatewayError):
        list(answer.rest())


@given(ROWS)
def test_no_answer_breaks_the_tables(data: dict[str, Any]) -> None:
    qwen._update(Job("t"), data, "https://chat.qwen.ai", 0.0)
    qwen._task_id(data.get("messages"))
    qwen._listed_card({**data, "id": "m"})
    qwen._site_messages(data)


@given(st.lists(TURNS, min_size=1, max_size=4), st.booleans(), OBJECTS)
def test_no_body_breaks_the_telling_of_a_conversation(turns: list[Any], continuing: bool, tool: Any) -> None:
    asked = [{**turn, "role": role} for turn, role in zip(turns, ("user", "assistant", "tool", "user"), strict=False)]
    chat = ChatRef("c") if continuing else None
    with contextlib.suppress(errors.RequestError):
        qwen._chat_turn(request(*asked, chat=chat, tools=[tool]), set())


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
