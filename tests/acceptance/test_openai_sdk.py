"""The official `openai` SDK against the gateway: on the sandbox, and relayed to an upstream of the same dialect."""

import base64
import io
import json
import re
import struct
import wave
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import jsonschema
import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.acceptance.gateway_process import Gateway, compatible, eventually, running, served
from tests.acceptance.tap import Tap
from tests.emulators.openai_answers import refusal
from tests.emulators.openai_compatible import EARS, IMAGE, OPEN_IMAGE, REPLY, TEXT, VECTORS, VOICE, Emulator

UPSTREAM_KEY = "sk-emulator-secret-4711"
CALLER_KEY = "caller-key-0815"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": WEATHER}}
]
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "forecast", "strict": True, "schema": WEATHER}}


class Models(NamedTuple):
    """Who is asked, and by which names."""

    client: OpenAI
    text: str
    image: str
    voice: str
    ears: str
    vectors: str


class Relayed(NamedTuple):
    """A gateway before an emulator."""

    gateway: Gateway
    emulator: Emulator
    tap: Tap
    client: OpenAI


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    quick = {"upstreams": [{"name": "sandbox", "type": "sandbox", "image_seconds": 0.1, "video_seconds": 0.3}]}
    with running(tmp_path_factory.mktemp("sdk"), quick) as gateway:
        yield gateway.openai()


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    emulator = Emulator(keys=[UPSTREAM_KEY])
    tap = Tap(emulator.app)
    with served(tap) as url:
        config = {"upstreams": [compatible(url, UPSTREAM_KEY)]}
        home = tmp_path_factory.mktemp("relayed")
        with running(home, config, env={"API_KEYS": CALLER_KEY}, secrets=[UPSTREAM_KEY]) as gateway:
            client = gateway.openai()
            eventually(lambda: emulator.requests and TEXT in {model.id for model in client.models.list()})
            yield Relayed(gateway, emulator, tap, client)


@pytest.fixture(params=["sandbox", "relayed"])
def models(request: pytest.FixtureRequest) -> Models:
    if request.param == "sandbox":
        client = request.getfixturevalue("sandboxed")
        return Models(client, "gpt-6", "dall-e-3", "tts-1", "whisper-1", "text-embedding-3-small")
    client = request.getfixturevalue("relayed").client
    return Models(client, TEXT, IMAGE, VOICE, EARS, VECTORS)


def loudness() -> bytes:
    """A second of sound."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<8000h", *(at % 100 * 200 for at in range(8000))))
    return held.getvalue()


def picture() -> str:
    held = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


# --- models ---


def test_models_are_listed_and_found_by_name(models: Models) -> None:
    listed = {model.id: model for model in models.client.models.list()}
    assert listed
    name = next(iter(listed))
    assert models.client.models.retrieve(name).owned_by == listed[name].owned_by


def test_model_name_may_hold_a_slash(sandboxed: OpenAI, relayed: Relayed) -> None:
    assert sandboxed.models.retrieve("org/model:free").id == "org/model:free"
    assert relayed.client.models.retrieve(f"emulator/{TEXT}").id == f"emulator/{TEXT}"


# --- chat ---


def test_chat_answers_whole(models: Models) -> None:
    raw = models.client.chat.completions.with_raw_response.create(model=models.text, messages=HELLO)
    answer = raw.parse()
    assert raw.headers["x-request-id"] == answer._request_id
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_chat_streams_and_ends_with_a_reason(models: Models) -> None:
    chunks = list(models.client.chat.completions.create(model=models.text, messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks if chunk.choices) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert all(chunk.choices for chunk in chunks), "a usage chunk comes only where it was asked for"


def test_usage_comes_last_where_it_was_asked_for(models: Models) -> None:
    stream = models.client.chat.completions.create(
        model=models.text, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert not last.choices
    assert last.usage is not None
    assert last.usage.total_tokens > 0
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_sdks_own_accumulator_takes_the_stream(models: Models) -> None:
    with models.client.chat.completions.stream(model=models.text, messages=HELLO) as stream:
        told = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(told) == final.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_have_valid_arguments(models: Models, stream: bool) -> None:
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    if stream:
        with models.client.chat.completions.stream(model=models.text, messages=asked, tools=TOOLS) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = models.client.chat.completions.create(model=models.text, messages=asked, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls
    assert call.id
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER)


def test_results_of_tools_are_answered_in_words(models: Models) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    turns: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    answer = models.client.chat.completions.create(model=models.text, messages=turns)
    assert answer.choices[0].message.content


def test_json_schema_is_kept(models: Models) -> None:
    answer = models.client.chat.completions.create(model=models.text, messages=HELLO, response_format=SCHEMA)
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), WEATHER)


def test_image_is_looked_at(models: Models) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": picture()}}]
    turns: list[Any] = [{"role": "user", "content": parts}]
    assert models.client.chat.completions.create(model=models.text, messages=turns).choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_media_models_answer_in_chat_with_a_link(sandboxed: OpenAI, stream: bool) -> None:
    for model, shape, kind in (
        ("dall-e-3", r"!\[image\]\((\S+\.png)\)", "image"),
        ("sora-2", r"\[video\]\((\S+\.mp4)\)", "video"),
    ):
        body: dict[str, Any] = {"size": "128x72", "seconds": 1} if kind == "video" else {"size": "64x64"}
        answer: Any = sandboxed.chat.completions.create(model=model, messages=HELLO, stream=stream, extra_body=body)
        if stream:
            content = "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
        else:
            content = answer.choices[0].message.content
        link = re.fullmatch(shape, content.strip())
        assert link, content
        assert httpx.get(link[1]).headers["content-type"].startswith(kind)


# --- the rest ---


def test_embeddings_come_as_the_sdk_wants_them(models: Models) -> None:
    made = models.client.embeddings.create(model=models.vectors, input=["a hill", "a sea"], dimensions=8)
    assert [row.index for row in made.data] == [0, 1]
    assert [len(row.embedding) for row in made.data] == [8, 8]
    plain = models.client.embeddings.create(model=models.vectors, input="a hill", dimensions=8, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(made.data[0].embedding, abs=1e-6)


def test_images_come_as_data(models: Models) -> None:
    made = models.client.images.generate(
        model=models.image, prompt="a hill", n=2, size="256x256", response_format="b64_json"
    )
    assert made.data is not None
    assert [Image.open(io.BytesIO(base64.b64decode(image.b64_json or ""))).format for image in made.data] == ["PNG"] * 2
    assert all(image.url is None for image in made.data)


def test_images_come_as_links(models: Models) -> None:
    made = models.client.images.generate(model=models.image, prompt="a hill", size="256x256", response_format="url")
    assert made.data is not None
    url = made.data[0].url or ""
    assert url.startswith(str(models.client.base_url).removesuffix("v1/"))
    assert Image.open(io.BytesIO(httpx.get(url).content)).format == "PNG"


def test_images_that_an_upstream_names_by_link_become_ours(relayed: Relayed) -> None:
    made = relayed.client.images.generate(model=OPEN_IMAGE, prompt="a hill", size="256x256", response_format="url")
    assert made.data is not None
    assert (made.data[0].url or "").startswith(relayed.gateway.url)
    assert httpx.get(made.data[0].url or "").content.startswith(b"\x89PNG")


def test_speech_is_sound(models: Models) -> None:
    with models.client.audio.speech.with_streaming_response.create(
        model=models.voice, input="A hill.", voice="alloy", response_format="wav"
    ) as answer:
        sound = answer.read()
        assert answer.headers["content-type"].startswith("audio/")
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getnframes() > 0


@pytest.mark.parametrize("shape", ["json", "text"])
def test_transcripts_are_words(models: Models, shape: Any) -> None:
    file = ("sound.wav", loudness())
    told: Any = models.client.audio.transcriptions.create(model=models.ears, file=file, response_format=shape)
    assert (told if shape == "text" else told.text).strip()


# --- errors, as the SDK tells them apart ---


def test_unknown_model_is_not_found(relayed: Relayed) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        relayed.client.chat.completions.create(model="nobody-has-it", messages=HELLO)
    assert (told.value.code, told.value.param, told.value.type) == ("model_not_found", "model", "invalid_request_error")
    assert told.value.request_id
    with pytest.raises(openai.NotFoundError):
        relayed.client.models.retrieve("nobody-has-it")


def test_wrong_request_is_bad(models: Models) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        models.client.chat.completions.create(model=models.text, messages=[])
    assert told.value.param == "messages"


def test_what_the_upstream_refuses_is_told_as_it_said(relayed: Relayed) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        relayed.client.chat.completions.create(model=TEXT, messages=HELLO, extra_body={"tempersture": 1})
    assert "tempersture" in told.value.message
    assert relayed.client.chat.completions.create(model=TEXT, messages=HELLO).choices


@pytest.mark.parametrize("key", ["wrong-key-123", "caller-key-0815x"])
def test_wrong_key_is_an_authentication_error(relayed: Relayed, key: str) -> None:
    before = len(relayed.emulator.requests)
    with pytest.raises(openai.AuthenticationError) as told:
        relayed.gateway.openai(api_key=key).chat.completions.create(model=TEXT, messages=HELLO)
    assert told.value.code == "invalid_api_key"
    assert key not in str(told.value.body)
    assert len(relayed.emulator.requests) == before


def faulty(client: OpenAI, fault: str, **body: Any) -> Any:
    headers = {"x-sandbox-fault": fault}
    return client.chat.completions.create(model="gpt-6", messages=HELLO, extra_headers=headers, **body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit;retry_after=0.1", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("garbage", openai.InternalServerError),
        ("refused", openai.BadRequestError),
    ],
)
def test_faults_before_the_first_word_have_a_status(
    sandboxed: OpenAI, stream: bool, fault: str, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as told:
        faulty(sandboxed, fault, stream=stream)
    assert told.value.request_id
    assert told.value.message
    assert not resting(sandboxed), "a fault that a caller asks for is the caller's alone"
    if error is openai.RateLimitError:
        assert int(told.value.response.headers["retry-after"]) >= 1


def resting(client: OpenAI) -> bool:
    answer = httpx.get(str(client.base_url).replace("/v1/", "/api/status")).json()
    return any(account["status"] != "OK" for account in answer["accounts"])


def test_fault_after_some_words_is_raised_too(sandboxed: OpenAI) -> None:
    heard = 0
    with pytest.raises(openai.APIError) as told:
        for chunk in faulty(sandboxed, "cut;after=3", stream=True):
            heard += bool(chunk.choices[0].delta.content)
    assert (heard, told.value.code) == (3, "stream_interrupted")


def test_retries_of_the_sdk_outlast_a_passing_fault(relayed: Relayed) -> None:
    relayed.emulator.script(*[refusal(500, "server_error", "The server had an error")] * 2)
    client = relayed.gateway.openai(max_retries=2)
    assert client.chat.completions.create(model=TEXT, messages=HELLO).choices[0].message.content == REPLY


# --- passing through ---


def test_what_the_gateway_does_not_know_passes_untouched(relayed: Relayed) -> None:
    relayed.emulator.also_takes |= {"x_future", "reasoning"}
    odd = {"x_future": {"deep": [1, 2.50, None, "\u2028"]}, "reasoning": {"effort": "high"}, "temperature": 0.70}
    relayed.client.chat.completions.create(model=TEXT, messages=HELLO, extra_body=odd, metadata={"a": "b"})
    sent = relayed.emulator.last
    assert {name: sent.json[name] for name in odd} == odd
    assert sent.json["metadata"] == {"a": "b"}
    assert sent.json["messages"] == HELLO
    assert b"2.5" in sent.body
    assert sent.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert CALLER_KEY not in str(sent)


def test_what_is_meant_for_the_gateway_stays_there(relayed: Relayed) -> None:
    ours = {"chatType": "t2t", "waitForCompletion": True}
    answer = relayed.client.chat.completions.create(model=TEXT, messages=HELLO, extra_body=ours)
    assert answer.choices[0].message.content == REPLY
    assert not ours.keys() & relayed.emulator.last.json.keys()


def test_first_word_arrives_before_the_upstream_sends_the_second(relayed: Relayed) -> None:
    relayed.tap.shut(after=2)
    try:
        stream = relayed.client.chat.completions.create(model=TEXT, messages=HELLO, stream=True)
        role, first = next(stream), next(stream)
        assert (role.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "Hello ")
    finally:
        relayed.tap.open()
    rest = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "Hello " + "".join(rest) == REPLY
