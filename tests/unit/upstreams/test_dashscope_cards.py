"""What is told of the models beforehand, and what becomes of a request before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.catalog.fitting import fit
from gateway.errors import InvalidRequest, Unsupported
from gateway.http import Outbound
from gateway.types import (
    Fitted,
    ImageRequest,
    Input,
    InputRule,
    MediaRequest,
    ModelCard,
    OnUnsupported,
    Parameter,
    Size,
    SpeechRequest,
    VideoRequest,
)
from gateway.upstreams.dashscope import DashScope, DashScopeOptions, films, models

CLIP = "https://example.com/clip.mp4"


def upstream() -> DashScope:
    return DashScope("dashscope", DashScopeOptions(), Outbound())


def test_every_family_is_on_offer_but_those_that_are_hearsay() -> None:
    offered = {id(models.facts(name)) for name in models.LISTED}
    assert {name for name, facts in models.FAMILIES.items() if id(facts) not in offered} == {
        "wan3.0-video",
        "qwen3-tts-vd",
        "qwen3-tts-vc",
    }
    assert len(upstream().cards()) == len(set(models.LISTED)) == len(models.LISTED)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("t2t", "qwen-plus"),
        ("t2i", "wan2.6-t2i"),
        ("i2i", "wan2.7-image"),
        ("t2v", "wan2.7-t2v"),
        ("i2v", "wan2.7-i2v"),
        ("flf2v", "wan2.7-i2v"),
        ("ref2v", "wan2.7-r2v"),
        ("tts", "qwen3-tts-flash"),
    ],
)
def test_each_kind_has_a_usual_model(kind: Any, model: str) -> None:
    assert next(card.id for card in upstream().cards() if kind in card.kinds) == model


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("wan2.7-t2v-2026-06-12", {"t2v"}),
        ("wan2.7-i2v-2026-04-25", {"i2v", "flf2v"}),
        ("wan2.6-i2v-flash", {"i2v"}),
        ("wan3.0-video", {"t2v", "i2v", "flf2v", "ref2v"}),
        ("wan2.9-t2v", {"t2v"}),
        ("wan2.9-image-pro", {"t2i", "i2i"}),
        ("qwen-image-2.0-pro", {"t2i", "i2i"}),
        ("qwen-image-edit-plus-2025-10-30", {"i2i"}),
        ("qwen-image-2025-08-04", {"t2i"}),
        ("qwen3-tts-flash-2025-11-27", {"tts"}),
        ("qwen-tts-latest", {"tts"}),
        ("qwen3-max-2026-01-23", {"t2t"}),
        ("qwq-32b", {"t2t"}),
        ("qwen2.5-72b-instruct", {"t2t"}),
        ("wan2.7-videoedit", None),
        ("qwen3-tts-flash-realtime", None),
        ("qwen3-asr-flash", None),
        ("qwen-omni-turbo-realtime", None),
        ("qwen3-embedding-8b", None),
        ("text-embedding-v4", None),
        ("wander", None),
        ("gpt-6", None),
        ("someone/qwen-plus", None),
    ],
)
def test_a_model_is_known_by_the_look_of_its_name(model: str, kinds: Any) -> None:
    card = upstream().adopt(model, None)
    assert (card and set(card.kinds)) == kinds
    if card:
        assert all(upstream().adopt(model, kind) == card for kind in card.kinds)
        assert upstream().adopt(model, "t2m") is None


def test_cards_tell_what_the_models_can() -> None:
    cards = {card.id: card for card in upstream().cards()}
    assert cards["wan2.6-t2v"].seconds == (5.0, 10.0, 15.0)
    assert cards["wan2.7-t2v"].seconds[::13] == (2.0, 15.0)
    assert cards["wan2.7-t2v"].ratios == models.RATIOS
    assert cards["wan2.7-i2v"].ratios == ()
    assert [cards[name].max_n for name in ("qwen-image", "wan2.6-t2i", "qwen-image-2.0", "wan2.7-t2v")] == [1, 4, 6, 1]
    assert all(card.estimate for card in cards.values() if "t2t" not in card.kinds)
    assert cards["qwq-plus"].reasoning
    assert cards["qwen3-vl-plus"].vision
    assert not cards["qwen-plus"].vision


# --- what may be asked ---


def card(model: str) -> ModelCard:
    found = upstream().adopt(model, None)
    assert found is not None
    return found


def declared(model: str) -> Mapping[str, Parameter]:
    return card(model).parameters


@pytest.mark.parametrize("model", models.LISTED)
def test_media_models_say_all_that_they_take_and_text_models_nothing(model: str) -> None:
    told = card(model)
    media = models.facts(model) is not None
    assert (told.closed, bool(told.parameters)) == (media, media)
    assert set(told.inputs) == (told.kinds - {"tts", "t2t"})


def test_films_take_lengths_resolutions_and_shapes() -> None:
    assert declared("wan2.6-t2v")["seconds"] == Parameter("integer", (5, 10, 15), default=5, unit="s")
    assert declared("wan2.6-t2v")["resolution"] == Parameter("string", ("720P", "1080P"), default="1080P")
    assert declared("wan2.6-t2v")["size"].allowed[:6] == (*models.RATIOS, "1280x720")
    assert len(declared("wan2.6-t2v")["size"].allowed) == 15
    assert declared("wan2.7-t2v")["size"] == Parameter("size", models.RATIOS)
    assert declared("wan2.2-kf2v-flash")["resolution"].default == "720P"
    assert declared("wan2.7-i2v")["size"] == Parameter("size")
    assert card("wan2.7-t2v").default_seconds == 5.0
    assert {"audio", "shot_type"} <= set(declared("wan2.6-t2v"))
    assert not {"audio", "shot_type"} & set(declared("wan2.7-t2v"))
    assert declared("wan2.7-r2v")["reference_video_urls"] == Parameter("urls", least=1, most=5)


def test_images_take_numbers_and_sizes() -> None:
    five = ("1664x928", "1472x1104", "1328x1328", "1104x1472", "928x1664")
    assert declared("qwen-image")["size"] == Parameter(
        "size", ("16:9", "4:3", "1:1", "3:4", "9:16", *five), default="1664x928"
    )
    assert declared("wan2.6-t2i")["size"] == Parameter("size", least=1280**2, most=1440**2)
    assert declared("wan2.2-t2i-flash")["size"] == Parameter("size", least=512**2, most=1440**2)
    assert declared("qwen-image-edit")["size"] == Parameter("size")
    assert declared("wan2.6-t2i")["n"] == Parameter("integer", least=1, default=1)
    assert "negative_prompt" not in declared("wan2.7-image")
    assert declared("wanx2.1-imageedit")["function"].default == "description_edit"


def test_voices_are_some_of_many_and_there_is_one_speed() -> None:
    said = declared("qwen3-tts-flash")
    assert (said["voice"].default, said["voice"].free, "Ethan" in said["voice"].allowed) == ("Cherry", True, True)
    assert said["format"].allowed == ("mp3", "wav", "opus", "aac", "flac", "pcm")
    assert not {"speed", "instructions"} & set(said)
    assert "instructions" in declared("qwen3-tts-instruct-flash")
    assert declared("qwen3-tts-vc-2026-01-22")["voice"].default is None


def test_what_files_go_in_is_told() -> None:
    ten, twenty = 10 * 2**20, 20 * 2**20
    mimes = frozenset({"image/jpeg", "image/png", "image/bmp", "image/webp"})
    assert card("wan2.6-i2v").inputs == {"i2v": InputRule(1, 1, mimes, ten)}
    assert card("wan2.7-i2v").inputs["flf2v"] == InputRule(2, 2, mimes)
    assert card("wan2.7-r2v").inputs == {"ref2v": InputRule(1, 5, mimes, twenty)}
    assert card("qwen-image-2.0").inputs == {"t2i": InputRule(), "i2i": InputRule(1, 3)}
    assert card("wanx2.1-imageedit").inputs == {"i2i": InputRule(1, 2)}, "the image and its mask"


# --- what becomes of a request ---


def fitted(request: MediaRequest, policy: OnUnsupported = "reject") -> Fitted:
    return fit(request, card(request.model), upstream(), policy)


def film(model: str = "wan2.6-t2v", **fields: Any) -> VideoRequest:
    return VideoRequest(model, "a kite", **fields)


def told(found: Fitted) -> dict[str, tuple[Any, Any]]:
    return {one.parameter: (one.asked, one.used) for one in found.adjustments}


def test_seven_seconds_where_five_and_ten_exist_are_refused_and_these_are_named() -> None:
    for model in ("wan2.5-t2v-preview", "wan2.6-r2v"):
        kind, inputs = ("t2v", ()) if "t2v" in model else ("ref2v", (Input("https://example.com/a.png"),))
        with pytest.raises(Unsupported, match="must be 5 or 10 with") as caught:
            fitted(film(model, kind=kind, inputs=inputs, seconds=7.0))
        error = caught.value
        assert (error.param, error.code, error.allowed) == ("seconds", "unsupported_value", (5, 10))
    near = fitted(film(seconds=7.0), "nearest")
    assert (near.request.seconds, told(near)) == (5.0, {"seconds": (7.0, 5)})  # type: ignore[union-attr]
    left = fitted(film("wan2.7-t2v", seconds=99.0), "drop")
    assert (left.request.seconds, told(left)) == (5.0, {"seconds": (99.0, None)})  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("model", "fields", "line", "size"),
    [
        ("wan2.6-t2v", {}, "1080P", Size("16:9", 1920, 1080)),
        ("wan2.6-t2v", {"size": Size("9:16")}, "1080P", Size("9:16", 1080, 1920)),
        ("wan2.6-t2v", {"size": Size("16:9", 1280, 720)}, "720P", Size("16:9", 1280, 720)),
        ("wan2.6-t2v", {"params": {"resolution": "720p"}}, "720P", Size("16:9", 1280, 720)),
        ("wan2.2-t2v-plus", {"size": Size("4:3")}, "1080P", Size("34:26", 1632, 1248)),
        ("wan2.7-t2v", {}, "1080P", None),
        ("wan2.7-t2v", {"size": Size("16:9", 1280, 720)}, "720P", Size("16:9", 1280, 720)),
        ("wan2.7-t2v", {"size": Size("4:3")}, "1080P", Size("4:3")),
        ("wan2.9-t2v", {}, None, None),
        ("wan2.9-t2v", {"size": Size("2:1"), "params": {"resolution": "4K"}}, "4K", Size("2:1")),
    ],
)
def test_what_is_left_open_is_filled_in_and_nothing_is_told_of_it(
    model: str, fields: dict[str, Any], line: str | None, size: Size | None
) -> None:
    found = fitted(film(model, **fields))
    made = found.request
    assert isinstance(made, VideoRequest)
    if size and size.width:
        assert made.size
        assert (made.size.width, made.size.height) == (size.width, size.height)
    else:
        assert made.size == size
    assert (made.params.get("resolution"), made.seconds, found.adjustments) == (line, 5.0, ())


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (film(size=Size("1:1", 1024, 1024)), {"size": ("1024x1024", "960x960")}),
        (film(size=Size("16:9", 1280, 720), params={"resolution": "1080P"}), {"size": ("1280x720", "1920x1080")}),
        (film("wan2.7-t2v", size=Size("1:1", 1024, 1024)), {"size": ("1024x1024", "1:1")}),
        (film("wan2.2-t2v-plus", size=Size("4:3", 640, 480)), {"size": ("640x480", "1632x1248")}),
        (ImageRequest("wan2.6-t2i", "a cat", size=Size("1:1", 1024, 1024)), {"size": ("1024x1024", "1280x1280")}),
        (ImageRequest("qwen-image", "a cat", size=Size("1:1", 1024, 1024)), {"size": ("1024x1024", "1328x1328")}),
        (ImageRequest("qwen-image", "a cat", size=Size("16:9")), {}),
        (ImageRequest("wan2.7-image", "a cat", size=Size("1:1", 1024, 1024)), {}),
    ],
)
def test_pixels_that_are_not_made_become_the_nearest_of_their_shape_and_that_is_told(
    request_: MediaRequest, wanted: dict[str, tuple[Any, Any]]
) -> None:
    assert told(fitted(request_)) == wanted


def test_a_film_from_an_image_has_its_shape_and_the_size_that_it_has_not_is_told() -> None:
    frame = (Input("https://example.com/a.png", role="first_frame"),)
    found = fitted(film("wan2.6-i2v", kind="i2v", inputs=frame, size=Size("16:9", 1280, 720)))
    made = found.request
    assert isinstance(made, VideoRequest)
    assert (made.size, made.params, told(found)) == (None, {"resolution": "720P"}, {"size": ("1280x720", None)})


@pytest.mark.parametrize(
    ("request_", "param", "says"),
    [
        (film("wan2.7-t2v", size=Size("7:3")), "size", "16:9, 9:16, 1:1, 4:3 or 3:4 with wan2.7-t2v, not 7:3"),
        (film("wan2.7-t2v", size=Size("3:1", 900, 300)), "size", "not 900x300; the nearest is 16:9"),
        (
            film("wan2.5-t2v-preview", size=Size("4:3"), params={"resolution": "480P"}),
            "size",
            "16:9, 9:16, 1:1 in 480P",
        ),
        (film("wan2.7-t2v", params={"resolution": "480P"}), "resolution", "720P or 1080P"),
        (film("wan2.7-t2v", params={"shot_type": "multi"}), "shot_type", "wan2.7-t2v has no 'shot_type'; it takes"),
        (film("wan2.7-t2v", params={"callback": "x"}), "callback", "wan2.7-t2v has no 'callback'; it takes"),
        (film(params={"shot_type": "multi", "prompt_extend": False}), "shot_type", "single where 'prompt_extend'"),
        (film("wan2.2-t2v-plus", seed=2**31), "seed", "from 0 to 2147483647"),
        (ImageRequest("qwen-image", "a cat", size=Size("3:2", 1536, 1024)), "size", "the nearest is 4:3"),
        (ImageRequest("wan2.7-image", "a cat", params={"negative_prompt": "x"}), "negative_prompt", "it takes n, seed"),
        (SpeechRequest("qwen3-tts-flash", "Hello", speed=1.5), "speed", "has no 'speed'"),
        (SpeechRequest("qwen3-tts-flash", "Hello", params={"instructions": "softly"}), "instructions", "has no"),
        (SpeechRequest("qwen3-tts-vd", "Hello"), "voice", "one of your own with qwen3-tts-vd"),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_what_would_be_right(
    request_: MediaRequest, param: str, says: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fitted(request_)
    assert (caught.value.param, says in caught.value.message) == (param, True), caught.value.message


def test_of_a_version_that_nobody_knows_all_is_passed_on() -> None:
    unknown = card("wan2.9-t2v")
    assert (unknown.closed, unknown.seconds, unknown.ratios, unknown.inputs) == (False, (), (), {})
    found = fitted(film("wan2.9-t2v", seconds=40.0, params={"mood": "calm", "resolution": "1080p"}))
    made = found.request
    assert isinstance(made, VideoRequest)
    assert (made.seconds, made.params, found.adjustments) == (40.0, {"mood": "calm", "resolution": "1080P"}, ())
    picture = ImageRequest("wan2.9-image", "a cat", n=9, size=Size("1:1", 4096, 4096))
    assert fitted(picture) == Fitted(picture)
    assert card("wan2.7-t2v-2026-06-12").closed


def test_what_clients_send_unasked_is_left_out() -> None:
    asked = ImageRequest("wan2.6-t2i", "a cat", params={"quality": "auto", "user": "me", "watermark": None})
    assert fitted(asked) == Fitted(ImageRequest("wan2.6-t2i", "a cat"))
    assert fitted(SpeechRequest("qwen3-tts-flash", "Hi", params={"language_type": None})).request.params == {}
    assert fitted(film(params={"shot_type": "Multi"})).request.params["shot_type"] == "multi", "prompts are extended"


def test_of_films_for_references_longer_films_are_not_made() -> None:
    shown = {"kind": "ref2v", "inputs": (Input("https://example.com/a.png", role="reference"),)}
    for clips, seconds, param in (([CLIP] * 2, 11.0, "seconds"), ([CLIP] * 5, 5.0, "reference_video_urls")):
        with pytest.raises(Unsupported) as caught:
            fitted(film("wan2.7-r2v", **shown, seconds=seconds, params={"reference_video_urls": clips}))
        assert caught.value.param == param
    assert caught.value.message == "'reference_video_urls' must be no more than 5, images included"
    assert fitted(film("wan2.7-r2v", **shown, seconds=10.0, params={"reference_video_urls": [CLIP] * 4}))


# --- what the operator says ---


def named(model: str, kind: Any, **fields: Any) -> ModelCard:
    return ModelCard(model, frozenset({kind}), custom=True, **fields)


@pytest.mark.parametrize("kind", ["t2v", "i2v", "flf2v", "ref2v"])
def test_a_model_that_only_the_operator_knows_is_asked_for_as_the_newest_are(kind: Any) -> None:
    count = {"t2v": 0, "i2v": 1, "flf2v": 2, "ref2v": 7}[kind]
    shown = tuple(Input(f"https://example.com/{at}.png") for at in range(count))
    asked = VideoRequest("kling-v9", "a kite", kind=kind, inputs=shown, size=Size("9:16"), params={"mode": "pro"})
    made = fit(asked, named("kling-v9", kind), upstream()).request
    assert isinstance(made, VideoRequest)
    assert (made.seconds, made.params) == (5.0, {"mode": "pro"})
    body = films.film(made).body
    assert len(body["input"].get("media", ())) == count
    assert body["parameters"] == {
        "duration": 5,
        "mode": "pro",
        **({} if kind in ("i2v", "flf2v") else {"ratio": "9:16"}),
    }


def test_a_default_of_the_operator_s_is_what_is_made() -> None:
    resolution = Parameter("string", ("720P", "1080P", "4K"), default="720P")
    for said in ({"default_seconds": 10.0}, {"parameters": {"seconds": Parameter("integer", (5, 10), default=10)}}):
        known = card("wan2.7-t2v")
        changed = replace(known, **{**said, "parameters": {**known.parameters, **said.get("parameters", {})}})  # type: ignore[arg-type, dict-item]
        changed = replace(changed, parameters={**changed.parameters, "resolution": resolution})
        made = fit(film("wan2.7-t2v"), changed, upstream()).request
        assert isinstance(made, VideoRequest)
        assert (made.seconds, made.params) == (10.0, {"resolution": "720P"})
        finer = fit(film("wan2.7-t2v", params={"resolution": "4k"}), changed, upstream()).request
        assert finer.params == {"resolution": "4K"}
    spoken = replace(card("qwen3-tts-flash"), parameters={"voice": Parameter("string", default="Moon")})
    assert fit(SpeechRequest("qwen3-tts-flash", "Hi"), spoken, upstream()).request.voice == "Moon"  # type: ignore[union-attr]
    wide = replace(card("wan2.6-t2i"), parameters={"size": Parameter("size", default="16:9")})
    drawn = fit(ImageRequest("wan2.6-t2i", "a cat"), wide, upstream()).request
    assert drawn.size == Size("55:31", 1760, 992)  # type: ignore[union-attr]
