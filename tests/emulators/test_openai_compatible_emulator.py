"""The emulator is what it says: OpenAI's own SDK takes it for OpenAI."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.emulators import openai_compatible as emulated
from tests.emulators.openai_answers import Bent, Reply, png, refusal, wav
from tests.emulators.openai_compatible import Emulator, OtherShape, Raw, Reset
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

SAY = [{"role": "user", "content": "say hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo"]}}},
    },
}


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serve(emulator.app) as base,
        openai.AsyncOpenAI(api_key=emulated.KEY, base_url=f"{base}/v1", max_retries=0, timeout=5) as made,
    ):
        yield made


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    listed = await client.models.list()
    assert [model.id for model in listed.data] == list(emulated.MODELS)
    assert (await client.models.retrieve(emulated.TEXT)).id == emulated.TEXT


async def test_a_chat_answers_whole(client: openai.AsyncOpenAI) -> None:
    said = await client.chat.completions.create(model=emulated.TEXT, messages=SAY)
    assert said.choices[0].message.content == emulated.REPLY
    assert said.choices[0].finish_reason == "stop"
    assert said.usage and said.usage.completion_tokens == len(emulated.REPLY.split())


@pytest.mark.parametrize("counted", [True, False])
async def test_a_chat_streams_and_counts_only_when_asked(client: openai.AsyncOpenAI, counted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if counted else {}
    stream = await client.chat.completions.create(model=emulated.TEXT, messages=SAY, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == emulated.REPLY
    assert [bool(chunk.usage) for chunk in chunks[-2:]] == [False, counted]
    assert all(chunk.choices for chunk in chunks[:-1])


async def test_tool_calls_come_whole_and_in_deltas(client: openai.AsyncOpenAI) -> None:
    said = await client.chat.completions.create(model=emulated.TEXT, messages=SAY, tools=[WEATHER])
    assert said.choices[0].finish_reason == "tool_calls"
    (call,) = said.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')
    async with client.chat.completions.stream(model=emulated.TEXT, messages=SAY, tools=[WEATHER]) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city": "Oslo"}'


async def test_a_schema_is_kept(client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    said = await client.chat.completions.create(model=emulated.TEXT, messages=SAY, response_format=asked)
    assert said.choices[0].message.content == '{"age": 7}'


async def test_vectors_come_as_floats_and_as_base64_and_are_the_same(client: openai.AsyncOpenAI) -> None:
    floats = await client.embeddings.create(model=emulated.VECTORS, input=["a b", "c"], encoding_format="float")
    packed = await client.embeddings.create(model=emulated.VECTORS, input=["a b", "c"])
    assert sorted(item.index for item in floats.data) == [0, 1]
    assert [item.embedding for item in floats.data] == [item.embedding for item in packed.data]
    assert all(len(item.embedding) == 8 for item in floats.data)


async def test_images_are_made_and_edited(client: openai.AsyncOpenAI) -> None:
    made = await client.images.generate(model=emulated.IMAGE, prompt="a cat", n=2, size="1024x1536")
    assert [base64.b64decode(image.b64_json) for image in made.data] == [png(0), png(1)]
    by_url = await client.images.generate(model=emulated.OPEN_IMAGE, prompt="a cat")
    assert by_url.data[0].url.endswith("/media/0.png")
    edited = await client.images.edit(model=emulated.IMAGE, prompt="a hat", image=[png(1), png(2)], mask=png(3))
    assert edited.data[0].b64_json
    assert (await client.images.edit(model=emulated.IMAGE, prompt="a hat", image=png(1))).data[0].b64_json


async def test_speech_is_made_and_heard(client: openai.AsyncOpenAI) -> None:
    said = await client.audio.speech.create(model=emulated.VOICE, input="hi", voice="alloy", response_format="wav")
    assert said.content == wav()
    heard = await client.audio.transcriptions.create(model=emulated.EARS, file=("a.wav", wav()))
    assert heard.text == "gesprochene Worte"
    assert "-->" in await client.audio.transcriptions.create(
        model=emulated.EARS, file=("a.wav", wav()), response_format="srt"
    )
    assert (await client.audio.translations.create(model=emulated.EARS, file=("a.wav", wav()))).text == "spoken words"


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_each_status_raises_its_class(
    client: openai.AsyncOpenAI, emulator: Emulator, status: int, raised: type[openai.APIStatusError]
) -> None:
    emulator.script(refusal(status, "some_code", "it went wrong", retry_after="7"))
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model=emulated.TEXT, messages=SAY)
    assert caught.value.code == "some_code"
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": SAY, "temperature": "hot"}, "temperature"),
        ({"messages": SAY, "chatType": "t2t"}, "chatType"),
        ({"messages": SAY, "stream_options": {"include_usage": True}}, "stream_options"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}]},
            "messages[0].content",
        ),
    ],
)
async def test_a_wrong_chat_is_refused(client: openai.AsyncOpenAI, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/chat/completions", body={"model": emulated.TEXT, **body}, cast_to=object)
    assert caught.value.param == param


async def test_wrong_keys_models_and_prompts_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.with_options(api_key="sk-wrong-00000000").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="gpt-9", messages=SAY)
    with pytest.raises(openai.BadRequestError) as caught_image:
        await client.images.generate(model=emulated.IMAGE, prompt="forbidden")
    assert caught_image.value.code == "moderation_blocked"
    with pytest.raises(openai.BadRequestError):
        await client.images.edit(model=emulated.IMAGE, prompt="x", image=b"not an image")


async def test_faults_are_what_they_say(client: openai.AsyncOpenAI, emulator: Emulator) -> None:
    async def streamed() -> list[Any]:
        return [
            chunk
            async for chunk in await client.chat.completions.create(model=emulated.TEXT, messages=SAY, stream=True)
        ]

    emulator.script(Reset(), Reset(after=3), Bent(error_at=2), Raw((b"data: {}\n\n",)), OtherShape(), Reply(204))
    for _ in range(3):
        with pytest.raises(openai.APIError):
            await streamed()
    assert len(await streamed()) == 1
    assert await streamed() == []
    assert len(emulator.requests) == 5


async def test_a_stream_bent_out_of_shape_says_the_same(client: openai.AsyncOpenAI, emulator: Emulator) -> None:
    emulator.script(Bent(split=1), Bent(newline=b"\r\n"), Bent(comments=True), Bent(done=False))
    for _ in range(4):
        stream = await client.chat.completions.create(model=emulated.TEXT, messages=SAY, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == emulated.REPLY
