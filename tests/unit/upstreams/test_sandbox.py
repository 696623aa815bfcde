from __future__ import annotations

import asyncio
import io
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from pydantic import ValidationError

from gateway import errors
from gateway.http import Outbound
from gateway.types import (
    EmbeddingRequest,
    Finish,
    ImageRequest,
    Input,
    Kind,
    MediaReady,
    MusicRequest,
    PartialImage,
    Progress,
    ReasoningDelta,
    Size,
    SpeechRequest,
    TextDelta,
    ToolCallDelta,
    TranscriptionRequest,
    Usage,
)
from gateway.upstreams.base import Options
from gateway.upstreams.sandbox import Sandbox, SandboxAccount, SandboxOptions
from tests.unit.upstreams.sandbox_rig import ACCOUNT, TINY, all_of, asking, data_url, media_of, opened, sandbox

pytestmark = pytest.mark.anyio

# --- what it is ---


def test_it_can_do_every_kind_of_work_without_a_credential():
    assert Sandbox.operations() >= {"chat", "image", "speech", "music", "embed", "transcribe"}
    assert Sandbox.operations() >= {"submit", "poll", "cancel", "models", "probe", "balance"}
    assert Sandbox.stand_in
    assert not Sandbox.needs_credential


def test_its_options_have_defaults_and_refuse_what_is_wrong():
    assert Sandbox("x", Options(), Outbound()).options == SandboxOptions()
    with pytest.raises(ValidationError):
        SandboxOptions(chunk_delay=-1)
    with pytest.raises(ValidationError, match="not a fault; known are rate_limit"):
        SandboxAccount(fault="nonsense")


async def test_its_list_is_its_table():
    upstream = sandbox()
    assert await upstream.models(ACCOUNT) == upstream.cards()
    kinds = {card.id: set(card.kinds) for card in upstream.cards()}
    assert kinds == {
        "sandbox-chat": {"t2t"},
        "sandbox-image": {"t2i", "i2i"},
        "sandbox-video": {"t2v", "i2v", "flf2v", "ref2v"},
        "sandbox-speech": {"tts"},
        "sandbox-music": {"t2m"},
        "sandbox-embedding": {"embedding"},
        "sandbox-transcription": {"transcription"},
    }
    assert {card.id: card.estimate for card in sandbox(video_seconds=4).cards()}["sandbox-video"] == 4


@pytest.mark.parametrize(
    ("model", "kind", "held"),
    [
        ("gpt-4o", None, {"t2t"}),
        ("gpt-4o", "t2v", {"t2t", "t2i", "t2v"}),
        ("dall-e-3", None, {"t2i", "i2i"}),
        ("dall-e-3", "t2t", {"t2i", "t2t"}),
        ("wan2.6-t2v", None, {"t2v", "flf2v"}),
    ],
)
def test_any_name_is_adopted_with_the_kind_that_was_asked(model: str, kind: Kind | None, held: set[Kind]):
    card = sandbox().adopt(model, kind)
    assert card is not None
    assert card.id == model
    assert held <= card.kinds
    assert ("t2v" in card.kinds) == ("t2v" in held)


def test_a_name_that_is_none_is_not_adopted():
    assert sandbox().adopt("", None) is None


# --- text ---


async def test_text_comes_in_pieces_with_usage_before_the_end():
    events = await all_of(sandbox().chat(asking(), ACCOUNT))
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(pieces) > 5
    assert "salty" in "".join(pieces)
    assert isinstance(events[-2], Usage)
    assert events[-2].output_tokens > 0
    assert events[-1] == Finish("stop")
    assert events == await all_of(sandbox().chat(asking(), ACCOUNT))


async def test_only_a_stream_takes_its_time():
    started = asyncio.get_running_loop().time()
    await all_of(sandbox(chunk_delay=60).chat(asking(stream=False), ACCOUNT))
    assert asyncio.get_running_loop().time() - started < 30
    stream = sandbox(chunk_delay=60).chat(asking(), ACCOUNT)
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.05)


async def test_reasoning_comes_first():
    events = await all_of(sandbox().chat(asking(reasoning_effort="high"), ACCOUNT))
    kinds = [type(event) for event in events[:-2]]
    assert kinds[0] is ReasoningDelta
    assert kinds == sorted(kinds, key=[ReasoningDelta, TextDelta].index)


async def test_a_tool_call_streams_its_arguments():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    events = await all_of(sandbox().chat(asking("What is the weather in Paris?", tools=[tool]), ACCOUNT))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [delta.name for delta in deltas if delta.id] == ["get_weather"]
    assert deltas[0].id
    assert len(deltas) > 2
    jsonschema.validate(json.loads("".join(delta.arguments for delta in deltas)), schema)
    assert events[-1] == Finish("tool_calls")
    assert not any(isinstance(event, TextDelta) for event in events)


async def test_a_limit_finishes_for_length():
    assert (await all_of(sandbox().chat(asking(max_tokens=3), ACCOUNT)))[-1] == Finish("length")


async def test_an_answer_is_one():
    with pytest.raises(errors.InvalidRequest) as caught:
        await all_of(sandbox().chat(asking(n=2), ACCOUNT))
    assert caught.value.param == "n"


# --- images ---


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        (None, (1024, 1024)),
        (Size("16:9"), (1024, 576)),
        (Size("3:4"), (768, 1024)),
        (Size("131:64", 262, 128), (262, 128)),
    ],
)
async def test_an_image_has_the_asked_size(size: Size | None, pixels: tuple[int, int]):
    media = await media_of(sandbox().image(ImageRequest("m", "a fox", size=size), ACCOUNT))
    assert (media.width, media.height) == pixels
    assert opened(media).size == pixels
    assert opened(media).format == "PNG"


async def test_images_follow_from_their_seed():
    async def drawn(**fields: Any) -> list[bytes | None]:
        events = await all_of(sandbox().image(ImageRequest("m", "a fox", size=TINY, **fields), ACCOUNT))
        return [event.media.data for event in events if isinstance(event, MediaReady)]

    several = await drawn(n=3, seed=7)
    assert len(set(several)) == 3
    assert several == await drawn(n=3, seed=7)
    assert await drawn(seed=8) == several[1:2]
    assert await drawn() == await drawn()


async def test_progress_rises_and_partial_images_come_before_the_whole():
    events = await all_of(sandbox().image(ImageRequest("m", "a fox", size=TINY, partial_images=2), ACCOUNT))
    told = [event.percent for event in events if isinstance(event, Progress)]
    assert told == sorted(set(told))
    partials = [event for event in events if isinstance(event, PartialImage)]
    assert [event.index for event in partials] == [0, 1]
    assert all(Image.open(io.BytesIO(event.data)).format == "PNG" for event in partials)
    assert [type(event) for event in events[-3:]] == [MediaReady, Usage, Finish]


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
async def test_an_image_comes_in_the_asked_format(form: str):
    media = await media_of(
        sandbox().image(ImageRequest("m", "a fox", size=TINY, params={"output_format": form}), ACCOUNT)
    )
    assert media.mime == f"image/{form}"
    assert opened(media).format == form.upper()


async def test_an_image_given_shows_in_the_image_made():
    def editing(url: str) -> ImageRequest:
        return ImageRequest("m", "a fox", kind="i2i", size=Size("1:1", 128, 128), seed=1, inputs=(Input(url),))

    red, blue, elsewhere = [
        (await media_of(sandbox().image(editing(url), ACCOUNT))).data
        for url in (data_url("red"), data_url("blue"), "https://example.com/a.png")
    ]
    assert len({red, blue, elsewhere}) == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": Size("1:1", 5000, 5000)}, "size"),
        ({"n": 11}, "n"),
        ({"params": {"output_format": "gif"}}, "output_format"),
        ({"inputs": (Input("data:image/png;base64,!!!"),)}, "image"),
        ({"inputs": (Input("data:image/png;base64,AAAA"),)}, "image"),
    ],
)
async def test_an_image_that_cannot_be_made_is_refused_before_anything_comes(fields: dict[str, Any], param: str):
    with pytest.raises(errors.InvalidRequest) as caught:
        await anext(sandbox().image(ImageRequest("m", "a fox", **fields), ACCOUNT))
    assert caught.value.param == param


# --- sound, vectors ---


@pytest.mark.parametrize(("form", "mime"), [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("opus", "audio/ogg")])
async def test_speech_is_sound_and_is_heard_as_long_as_it_is(form: str, mime: str):
    upstream = sandbox()
    media = await media_of(upstream.speech(SpeechRequest("m", "Hello to all of you", format=form), ACCOUNT))
    assert media.mime == mime
    heard = await upstream.transcribe(TranscriptionRequest("m", media.data or b"", "a", mime), ACCOUNT)
    assert 0.5 < heard.usage.seconds < 5
    assert f"{heard.usage.seconds:.1f} seconds" in json.loads(heard.body)["text"]


async def test_music_is_as_long_as_asked():
    upstream = sandbox()
    media = await media_of(upstream.music(MusicRequest("m", "calm piano", seconds=2, format="wav", seed=1), ACCOUNT))
    heard = await upstream.transcribe(TranscriptionRequest("m", media.data or b"", "a.wav", "audio/wav"), ACCOUNT)
    assert heard.usage.seconds == pytest.approx(2, abs=0.1)
    assert media.seconds == 2


async def test_a_transcription_has_the_asked_shape():
    upstream = sandbox()
    media = await media_of(upstream.speech(SpeechRequest("m", "Hello", format="wav"), ACCOUNT))

    async def heard(shape: str, translate: bool = False) -> tuple[bytes, str]:
        asked = TranscriptionRequest("m", media.data or b"", "a", "", (("response_format", shape),), translate)
        answer = await upstream.transcribe(asked, ACCOUNT)
        return answer.body, answer.mime

    body, mime = await heard("text")
    assert mime.startswith("text/plain")
    assert body.startswith(b"A recording of ")
    verbose = json.loads((await heard("verbose_json", translate=True))[0])
    assert verbose["task"] == "translate"
    assert verbose["segments"][0]["end"] == verbose["duration"] > 0
    with pytest.raises(errors.InvalidRequest) as caught:
        await heard("yaml")
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (SpeechRequest("m", "hi", format="midi"), "response_format"),
        (SpeechRequest("m", "hi", speed=9), "speed"),
        (SpeechRequest("m", " "), "input"),
        (MusicRequest("m", "hi", format="midi"), "format"),
        (MusicRequest("m", "hi", seconds=0), "seconds"),
    ],
)
async def test_sound_that_cannot_be_made_is_the_callers_fault(asked: SpeechRequest | MusicRequest, param: str):
    upstream = sandbox()
    events = upstream.speech(asked, ACCOUNT) if isinstance(asked, SpeechRequest) else upstream.music(asked, ACCOUNT)
    with pytest.raises(errors.InvalidRequest) as caught:
        await all_of(events)
    assert caught.value.param == param


async def test_what_is_no_recording_cannot_be_transcribed():
    with pytest.raises(errors.InvalidRequest) as caught:
        await sandbox().transcribe(TranscriptionRequest("m", b"no sound", "a.mp3", "audio/mpeg"), ACCOUNT)
    assert caught.value.param == "file"


async def test_a_playlist_opens_no_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    upstream = sandbox()
    media = await media_of(upstream.speech(SpeechRequest("m", "secret", format="wav"), ACCOUNT))
    (tmp_path / "ours.wav").write_bytes(media.data or b"")
    monkeypatch.chdir(tmp_path)
    playlist = b"ffconcat version 1.0\nfile ours.wav\n"
    with pytest.raises(errors.InvalidRequest):
        await upstream.transcribe(TranscriptionRequest("m", playlist, "a.wav", "audio/wav"), ACCOUNT)


@pytest.mark.parametrize("dimensions", [None, 1, 7, 4096])
async def test_vectors_have_length_one(dimensions: int | None):
    made = await sandbox().embed(EmbeddingRequest("m", ("the sea", "", "the sea"), dimensions), ACCOUNT)
    assert [len(vector) for vector in made.vectors] == [dimensions or 256] * 3
    assert all(math.isclose(math.hypot(*vector), 1) for vector in made.vectors)
    assert made.vectors[0] == made.vectors[2]
    assert made.usage.input_tokens > 0


@pytest.mark.parametrize("dimensions", [0, 4097])
async def test_vectors_have_limits(dimensions: int):
    with pytest.raises(errors.InvalidRequest) as caught:
        await sandbox().embed(EmbeddingRequest("m", ("x",), dimensions), ACCOUNT)
    assert caught.value.param == "dimensions"
