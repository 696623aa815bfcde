"""Speech: what is sent, and the vendor's WAV as whatever was asked for."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import av
import pytest

from gateway import errors
from gateway.types import Usage
from tests.emulators.dashscope import Cut, Plan, Raw, Refusal
from tests.unit.upstreams.dashscope_rig import House, again, living, media

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


async def test_a_voice_says_words(house: House) -> None:
    said, usage = await house.speak(voice="Ethan", params={"language_type": "english", "user": "x"})
    assert house.sent == {
        "model": "qwen3-tts-flash",
        "input": {"text": "Hello there", "voice": "Ethan", "language_type": "English"},
    }
    assert house.path == "aigc/multimodal-generation/generation"
    assert usage == Usage(characters=11)
    [sound] = media([said])
    assert (sound.family, sound.mime) == ("audio", "audio/wav")
    assert (await house.download(sound)).startswith(b"RIFF")


async def test_without_a_voice_there_is_one(house: House) -> None:
    await house.speak()
    assert house.sent["input"]["voice"] == "Cherry"


async def test_instructions_go_to_the_model_that_has_them(house: House) -> None:
    own = {"instructions": "softly", "optimize_instructions": True}
    await house.speak("qwen3-tts-instruct-flash", params=own)
    assert house.sent["input"] == {"text": "Hello there", "voice": "Cherry", **own}
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.speak(params=own)
    assert caught.value.param == "instructions"


async def test_tokens_are_counted_where_characters_are_not(house: House) -> None:
    _, usage = await house.speak("qwen-tts")
    assert usage == Usage(input_tokens=11, output_tokens=97)


@pytest.mark.parametrize(
    ("form", "mime", "format", "codec"),
    [
        ("mp3", "audio/mpeg", "mp3", "mp3float"),
        ("opus", "audio/ogg", "ogg", "opus"),
        ("aac", "audio/aac", "aac", "aac"),
        ("flac", "audio/flac", "flac", "flac"),
    ],
)
async def test_a_wav_becomes_what_was_asked_for(house: House, form: str, mime: str, format: str, codec: str) -> None:
    [sound] = media(await house.speak(format=form))
    assert (sound.mime, sound.url) == (mime, None)
    with av.open(io.BytesIO(sound.data or b"")) as opened:
        track = opened.streams.audio[0]
        assert (opened.format.name, track.codec_context.name) == (format, codec)
        seconds = sum(frame.samples for frame in opened.decode(track)) / track.rate
    assert seconds == pytest.approx(0.5, abs=0.1)


async def test_bare_samples_are_the_wav_s(house: House) -> None:
    [sound] = media(await house.speak(format="pcm"))
    assert (sound.mime, len(sound.data or b"")) == ("audio/pcm", 24_000)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"speed": 1.5}, "speed"),
        ({"format": "midi"}, "format"),
        ({"params": {"language_type": "Klingon"}}, "language_type"),
        ({"model": "qwen-plus"}, "model"),
        ({"model": "qwen3-tts-flash-realtime"}, "model"),
    ],
)
async def test_what_a_voice_cannot_do_is_not_sent(house: House, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.speak(**fields)
    assert (caught.value.param, house.site.requests) == (param, [])


@pytest.mark.parametrize(("given", "param"), [({"voice": "alloy"}, "voice"), ({"text": "a" * 601}, "text")])
async def test_what_the_vendor_refuses_names_what(house: House, given: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.UpstreamRefusedParameter) as caught:
        await house.speak(**given)
    assert caught.value.param == param


@pytest.mark.parametrize("form", ["wav", "mp3"])
async def test_an_answer_without_sound_is_none(house: House, form: str) -> None:
    house.site.plan = Plan(result="none")
    with pytest.raises(errors.UpstreamGarbled):
        await house.speak(format=form)


@pytest.mark.parametrize("result", ["gone", "forbidden", "text"])
async def test_sound_that_cannot_be_had_is_not_asked_for_again(house: House, result: Any) -> None:
    house.site.plan = Plan(result=result)
    with pytest.raises(errors.ResultUnavailable):
        await house.speak(format="mp3")
    assert len(house.site.creates) == 1


async def test_sound_is_fetched_again_where_that_failed_once(house: House) -> None:
    house.site.fail("result", *again(Cut()))
    assert media(await house.speak(format="mp3"))
    house.site.fail("result", Raw(502))
    assert media(await house.speak(format="mp3"))


@pytest.mark.parametrize("fault", [Cut(done=True), Raw(502), Refusal("InternalError.Algo")])
async def test_speech_without_a_good_answer_is_not_asked_for_again(house: House, fault: Any) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.UpstreamError) as caught:
        await house.speak()
    assert (caught.value.sent, len(house.site.seen("create"))) == ("unknown", 1)
