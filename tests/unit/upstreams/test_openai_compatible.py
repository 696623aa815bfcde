import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from gateway.errors import (
    BalanceExhausted,
    Challenged,
    ContentRefused,
    CredentialRejected,
    GatewayError,
    InvalidRequest,
    ModelNotEnabled,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    StreamTruncated,
    TooLarge,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefusedParameter,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.http import Outbound, Timeouts
from gateway.types import (
    Account,
    Balance,
    ChatRequest,
    EmbeddingRequest,
    Event,
    Finish,
    Frame,
    ImageRequest,
    Input,
    MediaReady,
    Paced,
    Size,
    SpeechRequest,
    TranscriptionRequest,
    Usage,
    Whole,
)
from gateway.upstreams.openai_compatible import CompatibleOptions, OpenAICompatible
from gateway.wire import openai_chat
from tests.emulators import openai_compatible as emulated
from tests.emulators.openai_answers import Bent, Reply, png, refusal, wav
from tests.emulators.openai_compatible import Emulator, Limits, OtherShape, Raw, Reset, Silence
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

SAY = [{"role": "user", "content": "say hello"}]
JSON = "application/json"


class Rig:
    """An adapter, an account and the emulator it calls."""

    def __init__(self, emulator: Emulator, http: Outbound, base: str) -> None:
        self.emulator = emulator
        self.http = http
        self.account = Account("openai/a", "a", "openai", credential=emulated.KEY, base_url=f"{base}/v1")
        self.adapter = self.with_options()

    def with_options(self, **options: Any) -> OpenAICompatible:
        self.adapter = OpenAICompatible("openai", CompatibleOptions(**options), self.http)
        return self.adapter

    def impatient(self, fault: object) -> None:
        """Where silence is to come, it is not to be waited for."""
        if isinstance(fault, Silence):
            self.http.timeouts = Timeouts(idle=0.2, total=0.2)

    async def chat(self, **body: Any) -> list[Event]:
        return [event async for event in self.adapter.chat(chat_request(**body), self.account)]

    async def image(self, **fields: Any) -> list[Event]:
        request = ImageRequest(**{"model": emulated.IMAGE, "prompt": "a cat", **fields})
        return [event async for event in self.adapter.image(request, self.account)]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    emulator = Emulator()
    http = Outbound()
    await http.start()
    async with serve(emulator.app) as base:
        yield Rig(emulator, http, base)
        await http.close()


def chat_request(**body: Any) -> ChatRequest:
    raw = msgspec.json.decode(
        msgspec.json.encode({"model": "alias", "messages": SAY, **body}), type=dict[str, msgspec.Raw]
    )
    parsed = openai_chat.parse(raw)
    return ChatRequest(model=emulated.TEXT, body=raw, stream=parsed.stream, include_usage=parsed.include_usage)


def frames(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Frame))


def chunks(events: list[Event]) -> list[dict[str, Any]]:
    """Of a stream that is as strict as the strictest client needs it."""
    found = frames(events).split(b"\n\n")
    assert found.pop() == b""
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in found)
    return [json.loads(frame[6:]) for frame in found]


def said(events: list[Event]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(events) for choice in chunk["choices"])


# --- chat, whole ---


async def test_a_whole_answer_goes_on_as_it_came(rig: Rig) -> None:
    whole, usage, finish = await rig.chat()
    assert isinstance(whole, Whole)
    assert json.loads(whole.body)["choices"][0]["message"]["content"] == emulated.REPLY
    assert isinstance(usage, Usage)
    assert (usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (len(emulated.REPLY.split()), 2, 1)
    assert finish == Finish("stop")


async def test_what_the_gateway_reads_stays_and_the_rest_goes_on_untouched(rig: Rig) -> None:
    rig.emulator.also_takes = {"top_k"}
    await rig.chat(chatType="t2t", chatId="c", waitForCompletion=True, top_k=3, seed=12345678901234567890, stream=False)
    assert rig.emulator.last.json == {
        "model": emulated.TEXT,
        "messages": SAY,
        "top_k": 3,
        "seed": 12345678901234567890,
    }
    assert rig.emulator.last.headers["authorization"] == f"Bearer {emulated.KEY}"


async def test_extra_headers_are_sent(rig: Rig) -> None:
    rig.with_options(headers={"OpenAI-Organization": "org-x"})
    await rig.chat()
    assert rig.emulator.last.headers["openai-organization"] == "org-x"


def test_headers_that_would_break_a_request_are_refused() -> None:
    for headers in ({"a b": "x"}, {"X": "a\r\nEvil: 1"}, {"": "x"}):
        with pytest.raises(ValidationError):
            CompatibleOptions(headers=headers)


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Reply(200, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'), RateLimited),
        (Reply(200, b'{"id": "x"}'), UpstreamGarbled),
        (Reply(200, b'{"choices": []}'), UpstreamGarbled),
        (Reply(200, b'{"choices": [{"message": {"content": "\xff"}}]}'), UpstreamGarbled),
        (Reply(200, b"<html>welcome</html>", "text/html"), UpstreamGarbled),
        (Reply(200, emulated.HTML, "text/html"), Challenged),
        (Reply(200, b"half of {"), UpstreamGarbled),
        (Reply(204), UpstreamGarbled),
        (Reply(302, headers={"location": "http://elsewhere.example/"}), UpstreamFailed),
        (OtherShape(), UpstreamGarbled),
        (Reset(), UpstreamFailed),
        (Silence(), UpstreamTimeout),
    ],
)
async def test_a_whole_answer_that_is_none_is_an_error(rig: Rig, fault: Any, raised: type[GatewayError]) -> None:
    rig.impatient(fault)
    rig.emulator.script(fault)
    with pytest.raises(GatewayError) as caught:
        await rig.chat()
    assert type(caught.value) is raised


# --- chat, streamed ---


async def test_a_stream_goes_on_as_it_came_without_the_usage_nobody_asked_for(rig: Rig) -> None:
    events = await rig.chat(stream=True)
    assert rig.emulator.last.json["stream_options"] == {"include_usage": True}
    assert said(events) == emulated.REPLY
    assert all(chunk["choices"] for chunk in chunks(events))
    assert b"[DONE]" not in frames(events)
    told = [event for event in events if not isinstance(event, Frame)]
    assert told[0] == Finish("stop")
    assert isinstance(told[1], Usage)
    assert told[1].output_tokens == len(emulated.REPLY.split())


async def test_the_usage_chunk_goes_on_where_it_was_asked_for(rig: Rig) -> None:
    events = await rig.chat(stream=True, stream_options={"include_usage": True})
    assert chunks(events)[-1]["choices"] == []
    assert chunks(events)[-1]["usage"]["completion_tokens"] == len(emulated.REPLY.split())


async def test_other_stream_options_are_kept(rig: Rig) -> None:
    await rig.chat(stream=True, stream_options={"include_obfuscation": False})
    assert rig.emulator.last.json["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_usage_is_not_asked_for_where_the_operator_says_so(rig: Rig) -> None:
    rig.with_options(stream_usage=False)
    events = await rig.chat(stream=True)
    assert "stream_options" not in rig.emulator.last.json
    assert not [event for event in events if isinstance(event, Usage)]


async def test_usage_beside_choices_stays(rig: Rig) -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"length"}],"usage":{"prompt_tokens":3}}\n\n'
    rig.emulator.script(Raw((chunk, b"data: [DONE]\n\n")))
    assert await rig.chat(stream=True) == [Frame(chunk), Usage(input_tokens=3), Finish("length")]


async def test_tool_calls_pass(rig: Rig) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}
    events = await rig.chat(stream=True, tools=[tool])
    deltas = [choice["delta"] for chunk in chunks(events) for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 7}'
    assert Finish("tool_calls") in events


@pytest.mark.parametrize(
    "bent",
    [
        Bent(split=1),
        Bent(split=7, newline=b"\r\n"),
        Bent(split=1, newline=b"\r\n"),
        Bent(split=3, newline=b"\r"),
        Bent(comments=True),
        Bent(fields=True),
        Bent(fields=True, comments=True, split=5),
        Bent(done=False),
        Bent(split=100_000),
    ],
)
async def test_however_a_stream_is_cut_and_strewn_it_says_the_same(rig: Rig, bent: Bent) -> None:
    rig.emulator.text = 'line\u2028sep\u0085nel "quoted" \x0b[DONE] "error" ünï 🎈'
    rig.emulator.script(bent)
    events = await rig.chat(stream=True)
    assert said(events) == rig.emulator.text
    assert Finish("stop") in events


async def test_comments_do_not_commit(rig: Rig) -> None:
    rig.emulator.script(Raw((b": waiting\n\n", b": waiting\n\n", b'data: {"error":{"message":"no","code":429}}\n\n')))
    with pytest.raises(RateLimited):
        await anext(rig.adapter.chat(chat_request(stream=True), rig.account))


async def test_an_error_event_after_content_comes_after_the_content(rig: Rig) -> None:
    whole = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: {"error":{"message":"boom"},"choices":[]}\n\n'
    for fault in (Bent(error_at=2), Raw((whole,))):
        rig.emulator.script(fault)
        events: list[Event] = []
        with pytest.raises(UpstreamFailed):
            async for event in rig.adapter.chat(chat_request(stream=True), rig.account):
                events.append(event)
        assert frames(events)
        assert b"error" not in frames(events)


@pytest.mark.parametrize(
    ("event", "raised"),
    [
        (b'data: {"error":{"message":"m","code":"insufficient_quota","type":"insufficient_quota"}}', QuotaExhausted),
        (b'data: {"error":{"message":"m","code":"rate_limit_exceeded"}}', RateLimited),
        (b'data: {"error":{"message":"m","type":"invalid_request_error","param":"x"}}', UpstreamRefusedParameter),
        (b'data: {"error":{"message":"m","code":503}}', UpstreamFailed),
        (b'data: {"error":"m"}', UpstreamFailed),
        (b'data: {"error":{"message":"m","code":502},"choices":[{"finish_reason":"error"}]}', UpstreamFailed),
        (b'event: error\ndata: {"message":"m"}', UpstreamFailed),
        (b'event: error\ndata: {"message":"m","code":"slow_down"}', RateLimited),
        (b"data: what is this", UpstreamGarbled),
        (b'data: {"choices":[{"delta":', UpstreamGarbled),
        (b'data: {"choices":5}', UpstreamGarbled),
        (b'data: {"choices":[{"delta":{"content":"\xff"}}]}', UpstreamGarbled),
        (b"\x00\x01\x02\xff", UpstreamGarbled),
        (b"data: [1]", UpstreamGarbled),
        (b"", UpstreamGarbled),
        (b"data: [DONE]", UpstreamGarbled),
    ],
)
async def test_a_stream_that_begins_wrong_raises_before_it_commits(
    rig: Rig, event: bytes, raised: type[GatewayError]
) -> None:
    rig.emulator.script(Raw((event + b"\n\n",)))
    with pytest.raises(GatewayError) as caught:
        await anext(rig.adapter.chat(chat_request(stream=True), rig.account))
    assert type(caught.value) is raised
    assert caught.value.elsewhere is (raised is not UpstreamRefusedParameter)


@pytest.mark.parametrize(
    ("fault", "raised", "begun"),
    [
        (Reset(), UpstreamFailed, False),
        (Reset(after=0), UpstreamFailed, False),
        (Reset(after=3), StreamInterrupted, True),
        (Silence(), UpstreamTimeout, False),
        (Silence(after=0), UpstreamTimeout, False),
        (Silence(after=3), UpstreamTimeout, True),
        (Bent(finish=False, done=False), StreamTruncated, True),
        (Bent(finish=False), StreamTruncated, True),
        (Bent(cut_after=3), StreamTruncated, True),
        (Raw((b'data: {"choices":[{"delta":{}}]}\n\n', b'data: {"choices":[{"del')), StreamTruncated, True),
        (Raw((b'data: {"choices":[{"delta":{}}]}\n\n', b"data: {nonsense}\n\n")), UpstreamGarbled, True),
    ],
)
async def test_a_stream_that_ends_wrong_raises_after_what_came(
    rig: Rig, fault: Any, raised: type[GatewayError], begun: bool
) -> None:
    rig.impatient(fault)
    rig.emulator.script(fault)
    events: list[Event] = []
    with pytest.raises(GatewayError) as caught:
        async for event in rig.adapter.chat(chat_request(stream=True), rig.account):
            events.append(event)
    assert type(caught.value) is raised
    assert bool(events) is begun
    if begun:
        assert chunks(events)


async def test_a_cut_after_the_finish_reason_hurts_nobody(rig: Rig) -> None:
    chunk_count = len(emulated.REPLY.split()) + 2
    rig.impatient(Silence())
    rig.emulator.script(Reset(after=chunk_count), Silence(after=chunk_count))
    for _ in range(2):
        assert said(await rig.chat(stream=True)) == emulated.REPLY


async def test_json_where_a_stream_was_asked_for_becomes_one(rig: Rig) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    rig.emulator.script(OtherShape(), OtherShape())
    events = await rig.chat(stream=True)
    assert said(events) == emulated.REPLY
    assert events[-2] == Finish("stop")
    assert isinstance(events[-1], Usage)
    calls = chunks(await rig.chat(stream=True, tools=[tool]))[0]["choices"][0]["delta"]["tool_calls"]
    assert [call["index"] for call in calls] == [0]


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (Reply(200, b'{"error": {"code": "server_is_overloaded"}}'), UpstreamFailed),
        (Reply(200, b'{"object": "list"}'), UpstreamGarbled),
        (Reply(200, b"<html>hello</html>", "text/html; charset=utf-8"), UpstreamGarbled),
        (Reply(503, emulated.HTML, "text/html"), Challenged),
        (Reply(204, b"", "text/event-stream"), UpstreamGarbled),
        (refusal(429, "rate_limit_exceeded", "m"), RateLimited),
    ],
)
async def test_what_is_no_stream_at_all_raises(rig: Rig, reply: Reply, raised: type[GatewayError]) -> None:
    rig.emulator.script(reply)
    with pytest.raises(GatewayError) as caught:
        await anext(rig.adapter.chat(chat_request(stream=True), rig.account))
    assert type(caught.value) is raised


async def test_leaving_a_stream_drops_its_connection(rig: Rig) -> None:
    rig.emulator.script(Silence(after=2))
    async with aclosing(rig.adapter.chat(chat_request(stream=True), rig.account)) as events:
        await anext(events)
    assert not rig.http._open.connector._acquired  # type: ignore[union-attr]


async def test_a_finished_stream_leaves_its_connection_for_the_next(rig: Rig) -> None:
    for _ in range(3):
        await rig.chat(stream=True)
    connector = rig.http._open.connector  # type: ignore[union-attr]
    assert not connector._acquired
    assert sum(map(len, connector._conns.values())) == 1


# --- errors ---

TODAY = "You've reached the upper limit for today's usage."
PER_DAY = "Rate limit reached on requests per day (RPD): Limit 200, Used 200."


@pytest.mark.parametrize(
    ("reply", "raised", "status"),
    [
        (refusal(400, "invalid_value", "bad", param="n"), UpstreamRefusedParameter, 400),
        (refusal(422, None, "bad"), UpstreamRefusedParameter, 400),
        (refusal(404, "model_not_found", "no such"), ModelNotFound, 404),
        (refusal(404, None, "The model `x` does not exist"), ModelNotFound, 404),
        (Reply(404, b'{"detail":"Not Found"}'), UpstreamFailed, 502),
        (Reply(404, b"<html>nginx</html>", "text/html"), UpstreamFailed, 502),
        (refusal(400, "moderation_blocked", "no", type_="image_generation_user_error"), ContentRefused, 400),
        (refusal(400, "content_policy_violation", "no"), ContentRefused, 400),
        (refusal(400, "content_filter", "no"), ContentRefused, 400),
        (Reply(403, b'{"error":{"code":403,"message":"Input was flagged by moderation"}}'), ContentRefused, 400),
        (refusal(401, "invalid_api_key", "m"), CredentialRejected, 502),
        (refusal(401, None, "m"), CredentialRejected, 502),
        (refusal(403, "unsupported_country_region_territory", "Country not supported"), CredentialRejected, 502),
        (refusal(403, "model_not_found", "Project has no access to model"), ModelNotEnabled, 502),
        (refusal(403, None, "You may not use this model"), ModelNotEnabled, 502),
        (refusal(403, None, "Key limit exceeded (total limit)"), QuotaExhausted, 429),
        (refusal(403, None, "Budget limit exceeded"), QuotaExhausted, 429),
        (refusal(402, None, "Insufficient credits"), BalanceExhausted, 402),
        (refusal(429, "credit_balance_exhausted", "m", type_="insufficient_quota"), BalanceExhausted, 402),
        (refusal(400, "billing_hard_limit_reached", "m"), BalanceExhausted, 402),
        (refusal(429, "insufficient_quota", "m", type_="insufficient_quota"), QuotaExhausted, 429),
        (refusal(429, "project_spend_limit_exceeded", "m", type_="insufficient_quota"), QuotaExhausted, 429),
        (refusal(400, "400", "Budget has been exceeded!", type_="budget_exceeded"), QuotaExhausted, 429),
        (refusal(402, "in_flight_budget_exhausted", "m"), RateLimited, 429),
        (refusal(429, None, TODAY), QuotaExhausted, 429),
        (Reply(200, json.dumps({"error": {"message": TODAY}}).encode()), QuotaExhausted, 429),
        (refusal(429, "rate_limit_exceeded", f"{PER_DAY} Please try again in 7m12s."), RateLimited, 429),
        (refusal(429, "rate_limit_exceeded", f"{PER_DAY} Please try again in 9h."), QuotaExhausted, 429),
        (refusal(400, None, "The daily limit of your prompt is wrong"), UpstreamRefusedParameter, 400),
        (refusal(500, None, "we cannot look up your daily limit"), UpstreamFailed, 502),
        (
            Reply(400, b'{"error":{"code":400,"metadata":{"error_type":"content_policy_violation"}}}'),
            ContentRefused,
            400,
        ),
        (refusal(429, "slow_down", "m", type_="rate_limit_error"), RateLimited, 429),
        (refusal(503, "slow_down", "m"), RateLimited, 429),
        (Reply(429, b"too many", "text/plain"), RateLimited, 429),
        (refusal(503, "server_is_overloaded", "m"), UpstreamFailed, 502),
        (Reply(503, b"<html>nginx: temporarily unavailable</html>", "text/html"), UpstreamFailed, 502),
        (Reply(403, b"<html>denied</html>", "text/html"), Challenged, 503),
        (Reply(500, b"oops", "text/plain"), UpstreamFailed, 502),
        (Reply(408, b"{}"), UpstreamTimeout, 504),
        (Reply(504, b"<html>gateway timeout</html>", "text/html"), UpstreamTimeout, 504),
        (refusal(413, None, "too big"), TooLarge, 413),
        (refusal(409, None, "busy"), UpstreamFailed, 502),
        (Reply(307, headers={"location": "https://elsewhere.example/"}), UpstreamFailed, 502),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_each_refusal_has_its_class(
    rig: Rig, reply: Reply, raised: type[GatewayError], status: int, stream: bool
) -> None:
    rig.emulator.script(reply)
    with pytest.raises(GatewayError) as caught:
        await rig.chat(stream=stream)
    assert (type(caught.value), caught.value.status) == (raised, status)
    assert len(rig.emulator.requests) == 1


async def test_a_refused_parameter_tells_which_and_why(rig: Rig) -> None:
    rig.emulator.script(refusal(400, "invalid_value", "'n' must be 1", param="n"))
    with pytest.raises(UpstreamRefusedParameter, match="'n' must be 1") as caught:
        await rig.chat()
    assert caught.value.param == "n"


async def test_a_context_that_is_too_long_keeps_its_code(rig: Rig) -> None:
    rig.emulator.script(refusal(400, "context_length_exceeded", "at most 128000 tokens", param="messages"))
    with pytest.raises(UpstreamRefusedParameter) as caught:
        await rig.chat()
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "7.5"}, 7.5),
        ({"retry_after_ms": "2500"}, 2.5),
        ({"retry_after": "-5"}, 1),
        ({"retry_after": "1e9"}, 86_400),
        ({"retry_after": "later"}, None),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "9s"}, 9),
        ({}, None),
    ],
)
async def test_a_rate_limit_says_when_to_come_back(rig: Rig, headers: dict[str, str], wait: float | None) -> None:
    rig.emulator.script(refusal(429, "rate_limit_exceeded", "slow", **headers))
    with pytest.raises(RateLimited) as caught:
        await rig.chat()
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (refusal(429, "insufficient_quota", "m", retry_after="259200"), 259_200),
        (refusal(402, None, "m", retry_after="259200"), 259_200),
        (refusal(429, "rate_limit_exceeded", "m", retry_after="259200"), 86_400),
        (refusal(429, "rate_limit_exceeded", "Please try again in 20s."), 20),
        (refusal(429, "rate_limit_exceeded", "Please try again in 20s.", retry_after="7"), 7),
        (refusal(503, None, "Please try again in 20s."), 20),
    ],
)
async def test_a_quota_may_take_days_and_a_sentence_tells_where_no_header_does(
    rig: Rig, reply: Reply, wait: float
) -> None:
    rig.emulator.script(reply)
    with pytest.raises(GatewayError) as caught:
        await rig.chat()
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("status", "message", "metadata", "raised"),
    [
        (429, "Rate limit exceeded: free-models-per-day", {"headers": {"X-RateLimit-Reset": "<ms>"}}, QuotaExhausted),
        (403, "Budget limit exceeded", {"resets_at": "<iso>"}, QuotaExhausted),
        (429, "m", {"headers": {"Retry-After": "36000"}}, RateLimited),
    ],
)
@pytest.mark.parametrize("in_stream", [True, False])
async def test_the_body_tells_when_a_limit_ends(
    rig: Rig, status: int, message: str, metadata: dict[str, Any], raised: type[GatewayError], in_stream: bool
) -> None:
    ends = time.time() + 36_000
    written = json.dumps({"error": {"message": message, "code": status, "metadata": metadata}})
    stamp = datetime.fromtimestamp(ends, UTC).isoformat()
    body = written.replace("<ms>", str(int(ends * 1000))).replace("<iso>", stamp).encode()
    rig.emulator.script(Raw((b"data: " + body + b"\n\n",)) if in_stream else Reply(status, body))
    with pytest.raises(GatewayError) as caught:
        await rig.chat(stream=in_stream)
    assert type(caught.value) is raised
    assert caught.value.retry_after == pytest.approx(36_000, abs=60)


@pytest.mark.parametrize(
    "metadata", ["text", [], {"headers": "text"}, {"headers": {"Retry-After": 7}}, {"resets_at": {}}, {"error_type": 7}]
)
async def test_a_body_that_tells_it_strangely_tells_nothing(rig: Rig, metadata: Any) -> None:
    rig.emulator.script(Reply(429, json.dumps({"error": {"message": "m", "metadata": metadata}}).encode()))
    with pytest.raises(RateLimited) as caught:
        await rig.chat()
    assert caught.value.retry_after is None


@pytest.mark.parametrize("stream", [True, False])
async def test_no_credential_is_in_what_an_error_says(rig: Rig, stream: bool) -> None:
    leak = f"bad key {emulated.KEY} or sk-other-12345678abc, Bearer abcdef123456, api_key=hunter2hunter2"
    rig.emulator.script(refusal(400, "invalid_value", leak))
    with pytest.raises(UpstreamRefusedParameter) as caught:
        await rig.chat(stream=stream)
    for secret in (emulated.KEY, "12345678abc", "abcdef123456", "hunter2"):
        assert secret not in f"{caught.value.message} {caught.value.detail}"


# --- limits told before any refusal ---

SPENT = Limits({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"})
LEFT = Limits({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"})


async def all_of(events: Any) -> list[Event]:
    return [event async for event in events]


async def every_answer(rig: Rig, fault: Limits) -> list[list[Event]]:
    """Whatever tells events, each answered with such headers."""
    rig.emulator.script(*[fault] * 4)
    speech = SpeechRequest(emulated.VOICE, "hello", format="wav")
    return [
        await rig.chat(stream=True, stream_options={"include_usage": True}),
        await rig.chat(),
        await rig.image(n=2),
        await all_of(rig.adapter.speech(speech, rig.account)),
    ]


async def test_a_window_that_is_spent_is_told_after_the_answer_has_begun(rig: Rig) -> None:
    for events in await every_answer(rig, SPENT):
        assert events.count(Paced(360.0)) == 1
        at = events.index(Paced(360.0))
        assert at >= 1
        assert at < min(at for at, event in enumerate(events) if isinstance(event, Usage))
        assert at == 1 or not isinstance(events[0], Frame)


async def test_a_window_with_something_left_is_not_told(rig: Rig) -> None:
    for events in [*await every_answer(rig, LEFT), *await every_answer(rig, Limits({}))]:
        assert not [event for event in events if isinstance(event, Paced)]


async def test_a_stream_that_comes_at_once_or_whole_tells_it_too(rig: Rig) -> None:
    rig.emulator.headers = SPENT.headers
    rig.emulator.script(Bent(split=100_000), OtherShape())
    for _ in range(2):
        events = await rig.chat(stream=True)
        assert isinstance(events[0], Frame)
        assert events.count(Paced(360.0)) == 1
        assert events[1] == Paced(360.0)


async def test_a_refusal_tells_no_pace(rig: Rig) -> None:
    rig.emulator.script(refusal(429, "rate_limit_exceeded", "m", x_ratelimit_remaining="0"))
    with pytest.raises(RateLimited):
        await anext(rig.adapter.chat(chat_request(stream=True), rig.account))


# --- asked without spending ---


def closed() -> str:
    """A base URL behind which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.fixture(params=["probe", "balance"])
def asked(request: pytest.FixtureRequest, rig: Rig) -> Any:
    return getattr(rig.with_options(balance_path="key"), request.param)


async def test_a_good_key_is_good(rig: Rig, asked: Any) -> None:
    await asked(rig.account)
    assert [seen.method for seen in rig.emulator.requests] == ["GET"]


async def test_a_wrong_credential_is_the_accounts_fault(rig: Rig, asked: Any) -> None:
    with pytest.raises(CredentialRejected):
        await asked(replace(rig.account, credential="sk-wrong-000000"))


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (Reply(200, emulated.HTML, "text/html"), Challenged),
        (Reply(403, emulated.HTML, "text/html"), Challenged),
        (Reply(200, b"<html>welcome</html>", "text/html"), UpstreamGarbled),
        (Reply(200, b'{"error": {"code": "invalid_api_key"}}'), CredentialRejected),
        (Reply(200, b"half of {"), UpstreamGarbled),
        (Reply(404, b"<html>nginx</html>", "text/html"), UpstreamFailed),
        (refusal(429, "insufficient_quota", "m"), QuotaExhausted),
    ],
)
async def test_what_is_no_answer_says_what_is_wrong(rig: Rig, asked: Any, reply: Any, raised: type[Exception]) -> None:
    rig.emulator.script(reply)
    with pytest.raises(GatewayError) as caught:
        await asked(rig.account)
    assert type(caught.value) is raised


async def test_nobody_there_is_no_fault_of_the_account(rig: Rig, asked: Any) -> None:
    with pytest.raises(UpstreamUnreachable):
        await asked(replace(rig.account, base_url=closed()))


@pytest.mark.parametrize("listed", [b"[]", b'{"models": []}', b'{"data": [], "error": null}'])
async def test_a_list_of_any_shape_is_good_enough_for_a_probe(rig: Rig, listed: bytes) -> None:
    rig.emulator.script(Reply(200, listed))
    await rig.adapter.probe(rig.account)


@pytest.mark.parametrize(("path", "amount"), [("key", 20.0), ("credits", 20.0)])
async def test_a_balance_is_told_where_the_stanza_says_who_tells_it(rig: Rig, path: str, amount: float) -> None:
    told = await rig.with_options(balance_path=path).balance(rig.account)
    assert (told.amount, told.unit) == (amount, "credits")
    assert rig.emulator.last.path == f"/v1/{path}"
    assert rig.emulator.last.headers["authorization"] == f"Bearer {emulated.KEY}"


async def test_a_key_without_a_limit_has_no_amount(rig: Rig) -> None:
    rig.emulator.credits = None
    assert await rig.with_options(balance_path="key").balance(rig.account) == Balance(None, "credits", {"usage": 5.0})


async def test_without_a_path_no_balance_is_told_and_nobody_is_asked(rig: Rig) -> None:
    with pytest.raises(GatewayError, match="cannot tell a balance") as caught:
        await rig.adapter.balance(rig.account)
    assert caught.value.code == "unsupported_operation"
    assert rig.emulator.requests == []


@pytest.mark.parametrize("path", ["/credits", "a//b", "../admin", "https://elsewhere.example/", "a?b", "a b", "a/"])
def test_a_path_stays_under_the_base_url(path: str) -> None:
    with pytest.raises(ValidationError):
        CompatibleOptions(balance_path=path)


# --- images ---


async def test_images_are_made(rig: Rig) -> None:
    first, second, usage = await rig.image(
        n=2, size=Size("3:2", 1536, 1024), params={"quality": "high", "stream": True}
    )
    assert rig.emulator.last.json == {
        "model": emulated.IMAGE,
        "prompt": "a cat",
        "n": 2,
        "size": "1536x1024",
        "quality": "high",
    }
    assert isinstance(first, MediaReady)
    assert isinstance(second, MediaReady)
    assert base64.b64decode(second.media.b64 or "") == png(1)
    assert (first.media.mime, first.media.width, first.media.height) == ("image/png", 1536, 1024)
    assert usage == Usage(input_tokens=9, output_tokens=200, images=2)


async def test_an_image_may_be_a_url(rig: Rig) -> None:
    made, _ = await rig.image(model=emulated.OPEN_IMAGE, seed=5)
    assert isinstance(made, MediaReady)
    assert (made.media.url or "").endswith("/media/0.png")
    assert made.media.revised_prompt == "a cat!"
    assert rig.emulator.last.json["seed"] == 5


@pytest.mark.parametrize(("ratio", "word"), [("1:1", "1024x1024"), ("16:9", "1536x1024"), ("9:16", "1024x1536")])
async def test_a_ratio_becomes_the_nearest_size(rig: Rig, ratio: str, word: str) -> None:
    await rig.image(size=Size(ratio))
    assert rig.emulator.last.json["size"] == word


async def test_response_format_goes_only_where_it_is_known(rig: Rig) -> None:
    await rig.image(params={"response_format": "url"})
    assert "response_format" not in rig.emulator.last.json
    made, _ = await rig.image(model=emulated.OPEN_IMAGE, params={"response_format": "b64_json"})
    assert isinstance(made, MediaReady)
    assert made.media.b64


def data_url(shade: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(shade)).decode()}"


async def test_edits_are_sent_as_a_form(rig: Rig) -> None:
    inputs = (Input(data_url(1)), Input(data_url(2), role="reference"), Input(data_url(3), role="mask"))
    made = (await rig.image(kind="i2i", n=2, inputs=inputs[:1], params={"background": "opaque"}))[0]
    assert isinstance(made, MediaReady)
    assert ("image", ("image.png", "image/png", png(1))) in rig.emulator.last.form
    assert ("n", "2") in rig.emulator.last.form
    await rig.image(kind="i2i", inputs=inputs)
    names = [name for name, value in rig.emulator.last.form if isinstance(value, tuple)]
    assert names == ["image[]", "image[]", "mask"]


async def test_an_edit_by_url_needs_the_operators_word(rig: Rig) -> None:
    inputs = (Input("https://pictures.example/a.png"),)
    with pytest.raises(InvalidRequest):
        await rig.image(kind="i2i", inputs=inputs)
    assert not rig.emulator.requests
    rig.with_options(edit_by_url=True)
    await rig.image(kind="i2i", inputs=inputs)
    assert rig.emulator.last.json["images"] == [{"image_url": "https://pictures.example/a.png"}]


async def test_a_refused_prompt_blames_no_account(rig: Rig) -> None:
    with pytest.raises(ContentRefused) as caught:
        await rig.image(prompt="forbidden")
    assert not caught.value.elsewhere


@pytest.mark.parametrize(
    "body", [b'{"data": []}', b'{"data": [{}]}', b'{"created": 1}', b"[]", b'{"error": {"message": "no"}}']
)
async def test_an_answer_without_an_image_is_no_success(rig: Rig, body: bytes) -> None:
    rig.emulator.script(Reply(200, body))
    with pytest.raises((UpstreamGarbled, UpstreamFailed)):
        await rig.image()


# --- audio, vectors, models ---


async def test_speech_is_made(rig: Rig) -> None:
    request = SpeechRequest(emulated.VOICE, "hello", format="wav", speed=1.5, params={"instructions": "softly"})
    ready, usage = [event async for event in rig.adapter.speech(request, rig.account)]
    assert isinstance(ready, MediaReady)
    assert (ready.media.mime, ready.media.data) == ("audio/wav", wav())
    assert usage == Usage(characters=5)
    assert rig.emulator.last.json == {
        "model": emulated.VOICE,
        "input": "hello",
        "voice": "alloy",
        "response_format": "wav",
        "speed": 1.5,
        "instructions": "softly",
    }


@pytest.mark.parametrize("reply", [Reply(200, b""), Reply(200, b'{"error": "no"}'), Reply(200, b"<html>", "text/html")])
async def test_speech_that_is_no_sound_is_an_error(rig: Rig, reply: Reply) -> None:
    rig.emulator.script(reply)
    with pytest.raises((UpstreamGarbled, UpstreamFailed)):
        await anext(rig.adapter.speech(SpeechRequest(emulated.VOICE, "hello"), rig.account))


async def test_vectors_come_in_the_order_of_the_texts(rig: Rig) -> None:
    first = await rig.adapter.embed(EmbeddingRequest(emulated.VECTORS, ("a", "b c"), dimensions=4), rig.account)
    second = await rig.adapter.embed(EmbeddingRequest(emulated.VECTORS, ("b c", "a"), dimensions=4), rig.account)
    assert first.vectors == second.vectors[::-1]
    assert len(first.vectors[0]) == 4
    assert first.usage.input_tokens == 3
    assert rig.emulator.last.json["encoding_format"] == "float"


async def test_vectors_in_base64_are_read_all_the_same(rig: Rig) -> None:
    rig.emulator.script(Reply(200, b'{"data":[{"index":0,"embedding":"AACAPwAAAMA="}]}'))
    made = await rig.adapter.embed(EmbeddingRequest(emulated.VECTORS, ("a",)), rig.account)
    assert made.vectors == ((1.0, -2.0),)


async def test_too_few_vectors_are_an_error(rig: Rig) -> None:
    rig.emulator.script(Reply(200, b'{"data":[{"index":0,"embedding":[1]}]}'))
    with pytest.raises(UpstreamGarbled):
        await rig.adapter.embed(EmbeddingRequest(emulated.VECTORS, ("a", "b")), rig.account)


@pytest.mark.parametrize(
    ("form", "mime", "begins"),
    [("json", "application/json", b'{"text"'), ("text", "text/plain", b"gesprochene"), ("srt", "text/plain", b"1\n")],
)
async def test_a_transcript_goes_on_as_it_came(rig: Rig, form: str, mime: str, begins: bytes) -> None:
    request = TranscriptionRequest(
        emulated.EARS, wav(), "my\r\nnäme.wav", "audio/wav", fields=(("response_format", form), ("language", "de"))
    )
    made = await rig.adapter.transcribe(request, rig.account)
    assert made.body.startswith(begins)
    assert made.mime.startswith(mime)
    assert made.usage.seconds == (2.5 if form == "json" else 0)
    fields = dict(rig.emulator.last.form)
    assert (fields["model"], fields["language"]) == (emulated.EARS, "de")
    assert fields["file"] == ("my_n_me.wav", "audio/wav", wav())


async def test_a_translation_goes_its_own_way(rig: Rig) -> None:
    request = TranscriptionRequest(emulated.EARS, wav(), "a.wav", "audio/wav", translate=True)
    assert b"spoken words" in (await rig.adapter.transcribe(request, rig.account)).body


async def test_the_live_list_becomes_cards(rig: Rig) -> None:
    cards = {card.id: card for card in await rig.adapter.models(rig.account)}
    assert cards[emulated.TEXT].kinds == {"t2t"}
    assert cards[emulated.IMAGE].kinds == {"t2i", "i2i"}
    assert cards[emulated.VOICE].kinds == {"tts"}
    assert cards[emulated.EARS].kinds == {"transcription"}
    assert cards[emulated.VECTORS].kinds == {"embedding"}
    assert cards[emulated.TEXT].created == 1_780_000_000


async def test_a_list_may_tell_more_of_a_model(rig: Rig) -> None:
    painter = {
        "id": "x/painter",
        "name": "Painter",
        "context_length": 32768,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image", "text"]},
        "supported_parameters": ["reasoning"],
    }
    data = [painter, {"id": "old", "shutdown_date": "2020-01-01"}, {"nonsense": 1}, {"id": "omni-moderation-latest"}]
    rig.emulator.script(Reply(200, json.dumps({"data": data}).encode()))
    (card,) = await rig.adapter.models(rig.account)
    assert (card.kinds, card.name, card.context_length) == ({"t2t", "t2i", "i2i"}, "Painter", 32768)
    assert card.vision
    assert card.reasoning


async def test_no_list_is_an_error(rig: Rig) -> None:
    rig.emulator.script(Reply(200, b"<html></html>", "text/html"))
    with pytest.raises(UpstreamGarbled):
        await rig.adapter.models(rig.account)


def test_a_model_is_adopted_by_its_name_or_by_what_is_asked_of_it() -> None:
    adapter = OpenAICompatible("openai", CompatibleOptions(), Outbound())
    assert adapter.adopt("some-llm", None).kinds == {"t2t"}  # type: ignore[union-attr]
    assert adapter.adopt("dall-e-3", None).kinds == {"t2i", "i2i"}  # type: ignore[union-attr]
    assert adapter.adopt("some-llm", "t2i").kinds == {"t2i"}  # type: ignore[union-attr]
    assert adapter.adopt("some-llm", "t2v") is None
    assert adapter.adopt("omni-moderation-latest", None) is None


def test_it_can_do_what_it_has_methods_for() -> None:
    assert OpenAICompatible.operations() == {
        "chat",
        "image",
        "speech",
        "embed",
        "transcribe",
        "models",
        "probe",
        "balance",
    }
