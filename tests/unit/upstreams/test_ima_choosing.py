"""What callers may ask of the models, what becomes of it, and what it costs: by the trees that the site tells."""

import pytest

from gateway.errors import AdapterContract, InvalidRequest, Unsupported
from gateway.types import MusicRequest, Size, SpeechRequest, VideoRequest
from gateway.upstreams.ima import models
from gateway.upstreams.ima.plan import planned
from gateway.upstreams.ima.products import Leaf, leaves
from tests.emulators.ima.trees import field, leaf, rule, virtual
from tests.unit.upstreams.ima_rig import House, film, image, living

pytestmark = pytest.mark.anyio

VOICE = "en_male_tim_uranus_bigtts"


def one(*rules: dict, fields: tuple = ()) -> Leaf:  # type: ignore[type-arg]
    [found] = leaves([leaf("v1", "m", "M", list(rules), *fields)], "t2v")
    return found


# --- names ---


async def test_every_version_has_a_name_and_the_bare_id_is_the_last_one() -> None:
    async with living() as house:
        names = {card.id for card in house.upstream.cards()}
        assert {"pixverse", "pixverse@pv-5.5", "pixverse@pv-3.5", "pixverse@pv-5"} <= names
        assert house.card("pixverse").extra["versions"]["text_to_video"] == "pv-5"
        await house.submit(film("pixverse"))
        await house.submit(film("pixverse@pv-5.5"))
        versions = [create.product["model_version"] for create in house.site.creates]
    assert versions == ["pv-5", "pv-5.5"]


async def test_a_card_does_all_kinds_that_its_leaves_are_for() -> None:
    async with living() as house:
        assert house.card("doubao-seedream-4.5").kinds == {"t2i", "i2i"}
        assert house.card("kling-video-o1").kinds == {"t2v", "flf2v", "ref2v"}
        assert all(card.closed for card in house.upstream.cards())
        assert house.card("kling-video-o1").inputs["flf2v"].least == 2


async def test_friendly_names_stand_for_ids() -> None:
    async with living() as house:
        await house.submit(film("seedance 2.0"))
        await house.submit(film("seedance 2.0-fast"))
        assert [create.product["model_id"] for create in house.site.creates] == ["ima-pro", "ima-pro-fast"]
        adopted = house.upstream.adopt("Seedance 2.0", "t2v")
        assert adopted is not None
        assert adopted.kinds >= {"t2v", "ref2v"}
        assert house.upstream.adopt("nano-banana-pro", "t2i") is None, "names that sell are no ids"


async def test_before_the_trees_are_known_the_cards_say_what_the_models_do() -> None:
    async with living(listed=False) as house:
        card = house.card("wan2.6-t2v")
        assert (card.kinds, card.prices, card.closed, card.estimate) == ({"t2v"}, (), False, 90)
        request = film(seconds=7.0)
        assert house.upstream.effective(request, card) == request


async def test_a_category_that_is_not_told_leaves_the_others() -> None:
    async with living(listed=False) as house:
        house.site.trees["text_to_music"] = []
        house.site.untold = {"image_to_image"}
        cards = {card.id: card for card in await house.upstream.models(house.account)}
        assert cards["wan2.6-t2v"].closed
        assert "sonic" not in cards, "what is told to be empty is empty"
        assert cards["doubao-seedream-4.5"].kinds == {"t2i", "i2i"}, "what is not told is what is known by name"
        assert not cards["doubao-seedream-4.5"].closed
        assert await house.make(image(kind="i2i")), "it is asked for again when it is needed"


# --- parameters ---


async def test_parameters_have_the_names_that_callers_use() -> None:
    async with living() as house:
        wan = house.card("wan2.6-t2v")
        assert wan.parameters["seconds"].allowed == (5, 10, 15)
        assert wan.parameters["size"].allowed == ("16:9", "9:16", "1:1")
        assert wan.parameters["prompt_extend"].type == "boolean"
        assert (wan.seconds, wan.ratios, wan.default_seconds) == ((5, 10, 15), ("16:9", "9:16", "1:1"), 5)
        assert "duration" not in wan.parameters
        kling = house.card("kling-video-o1")
        assert kling.parameters["quality"].allowed == ("720p", "1080p")
        assert "mode" not in kling.parameters, "what stands behind a control is told to nobody"
        google = house.card("gemini-3.1-flash-image")
        assert google.parameters["resolution"].allowed == ("512px", "1K", "2K", "4K")
        assert google.parameters["size"].allowed == ("1:1", "16:9", "9:16")
        assert google.parameters["n"].most == 4


async def test_rules_tell_what_goes_together() -> None:
    async with living() as house:
        rows = house.card("MiniMax-Hailuo-2.3").together
        assert {"seconds": 10, "resolution": "1080P"} not in rows
        assert len(rows) == 3
        assert house.card("kling-video-o1").together[0] == {"seconds": 5, "quality": "720p"}
        assert house.card("pixverse").together == (), "one parameter goes with itself"


# --- what becomes of a request ---


async def test_a_length_that_there_is_not_is_refused_and_what_there_is_named() -> None:
    async with living() as house:
        with pytest.raises(Unsupported, match="must be 5, 10 or 15") as told:
            house.fit(film(seconds=7.0))
        assert (told.value.param, told.value.allowed) == ("seconds", (5, 10, 15))
        near = house.fit(film(seconds=7.0), "nearest")
        assert [(one.parameter, one.asked, one.used) for one in near.adjustments] == [("seconds", 7, 5)]


async def test_what_no_rule_has_together_is_refused_with_what_there_is() -> None:
    async with living() as house:
        with pytest.raises(Unsupported, match="768P") as told:
            house.fit(film("MiniMax-Hailuo-2.3", kind="i2v", seconds=10.0, params={"resolution": "1080p"}))
        assert told.value.param in ("seconds", "resolution")


def test_a_value_that_was_given_is_never_changed_even_where_a_rule_nearly_fits() -> None:
    rules = rule(1, 10, duration=5, resolution="720P"), rule(2, 20, duration=10, resolution="1080P")
    form = (field("duration", 5, 5, 10), field("resolution", "720P", "720P", "1080P"))
    found = planned(one(*rules, fields=form), {"seconds": 10})
    assert (found.rule.attribute_id, found.values) == (2, {"seconds": 10, "resolution": "1080P"})
    with pytest.raises(Unsupported, match="it makes seconds 5, resolution 720P"):
        planned(one(*rules, fields=form), {"seconds": 10, "resolution": "720P"})


def test_the_first_rule_that_fits_wholly_counts_and_then_the_marked_one() -> None:
    rules = rule(1, 3), rule(2, 10, duration="5"), rule(3, 20, duration="5", audio="true")
    form = (field("duration", 10, 5, 10, 8), field("audio", False, True, False))
    assert planned(one(*rules, fields=form), {"seconds": 5, "audio": True}).rule.attribute_id == 2
    assert planned(one(*rules, fields=form), {"seconds": 8}).rule.attribute_id == 1
    assert "default" not in planned(one(*rules, fields=form), {"seconds": 8}).inner
    other = planned(one(rule(4, 1, duration=5), fields=()), {})
    assert (other.rule.attribute_id, other.inner) == (4, {"duration": 5}), "without a marked one, the first"


def test_a_rule_that_fits_wholly_counts_before_one_that_fits_in_more() -> None:
    rules = rule(1, 30, sound="true", style="a", shape="b"), rule(2, 10, duration="5")
    form = (field("duration", 5), field("sound", True), field("style", "a", "a"), field("shape", "c", "b", "c"))
    assert planned(one(*rules, fields=form), {}).rule.attribute_id == 2


def test_a_rule_without_an_id_is_not_sent() -> None:
    with pytest.raises(AdapterContract) as told:
        planned(one(rule(0, 5)), {})
    assert told.value.sent == "no"


def test_values_are_spelled_as_the_rule_has_them() -> None:
    rules = (rule(1, 10, duration="5", resolution="1080P", sound=True),)
    form = (field("duration", 5, 5), field("resolution", "1080p", "1080p"), field("sound", "true", "true", "false"))
    found = planned(one(*rules, fields=form), {"resolution": "1080p", "seconds": 5.0, "sound": True})
    assert found.inner == {"duration": "5", "resolution": "1080P", "sound": True}
    assert found.values == {"seconds": 5, "resolution": "1080P", "sound": True}


async def test_controls_become_what_they_stand_for() -> None:
    async with living() as house:
        await house.submit(film("kling-video-o1", params={"quality": "1080p"}))
        inner = house.last.inner
        assert (inner["mode"], "quality" in inner, inner["cast"]["points"]) == ("pro", False, 60)
        await house.make(image(size=Size("16:9")))
        assert house.last.inner["size"] == "2560x1440"
        assert "aspect_ratio" not in house.last.inner


async def test_controls_of_a_group_are_given_together_and_only_as_the_page_has_them() -> None:
    async with living() as house:
        style = {"style": "general", "motion": "large"}
        await house.submit(film("viduq2", params=style))
        assert (house.last.inner["profile"], house.last.points) == ("g2", 9)
        with pytest.raises(Unsupported, match="only together with motion"):
            house.fit(film("viduq2", params={"style": "anime"}))
        with pytest.raises(Unsupported) as told:
            house.fit(film("viduq2", params={"style": "anime", "motion": "large"}))
        assert "g1" not in told.value.message
        assert len(house.site.creates) == 1


def test_a_control_that_is_not_mapped_is_refused_with_what_is() -> None:
    ui = {"field": "quality", "value": "low", "options": [{"value": "low"}, {"value": "high"}]}
    form = (virtual("mode", "std", [ui], [({"quality": "low"}, "std")]),)
    with pytest.raises(Unsupported, match="does not make quality high; it makes quality low"):
        planned(one(rule(1, 1), fields=form), {"quality": "high"})


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("wan2.6-t2v", {"params": {"styl": "x"}}, "styl"),
        ("wan2.6-t2v", {"size": Size("21:9")}, "size"),
        ("kling-video-o1", {"params": {"mode": "pro"}}, "mode"),
        ("kling-video-o1", {"params": {"quality": "4k"}}, "quality"),
        ("kling-video-o1", {"seed": 7}, "seed"),
        ("ima-pro", {"seconds": 16.0}, "seconds"),
    ],
)
async def test_what_a_model_does_not_take_is_refused_by_name(model: str, fields: dict[str, object], param: str) -> None:
    async with living() as house:
        with pytest.raises(Unsupported) as told:
            house.fit(film(model, **fields))
        assert told.value.param == param
        assert house.site.creates == []


async def test_pixels_are_the_shape_that_comes_out_and_it_is_told() -> None:
    async with living() as house:
        fitted = house.fit(film(size=Size("16:9", 1920, 1088)))
        assert [(one.asked, one.used) for one in fitted.adjustments] == [("1920x1088", "16:9")]
        exact = house.fit(image(kind="i2i", size=Size("1:1", 2048, 2048)))
        assert exact.adjustments == ()
        with pytest.raises(Unsupported):
            house.fit(image(kind="i2i", params={"resolution": "adaptive"}))
        with pytest.raises(Unsupported, match="exclude each other"):
            house.fit(image(kind="i2i", size=Size("1:1"), params={"resolution": "4k"}))


async def test_more_images_than_can_be_made_at_once_are_refused() -> None:
    async with living() as house:
        with pytest.raises(InvalidRequest) as told:
            house.fit(image(n=5))
        assert told.value.param == "n"


async def test_what_comes_out_comes_out_again() -> None:
    async with living() as house:
        cards = house.upstream.cards()
        wanted = [film(one.id, kind=kind) for one in cards for kind in sorted(one.kinds & {"t2v", "ref2v"})]
        wanted.append(film(params={"resolution": "720p"}, seconds=10.0))
        wanted.append(film("kling-video-o1", params={"quality": "1080p"}))
        others = [
            image(size=Size("7:3"), n=2),
            MusicRequest("sonic", "a song", params={"lyrics": "la la"}),
            SpeechRequest("seed-tts-2.0", "hello", speed=1.333, voice=VOICE),
        ]
        for request in (*wanted, *others):
            made = house.fit(request).request
            assert house.upstream.effective(made, house.card(request.model)) == made
            assert house.quoted(request) is not None


async def test_what_was_filled_in_is_told_as_used() -> None:
    async with living() as house:
        made = house.fit(film()).request
        assert isinstance(made, VideoRequest)
        assert (made.seconds, made.size, made.seed) == (5, Size("16:9"), None)
        assert made.params == {"resolution": "1080P", "prompt_extend": True, "shot_type": "single"}


# --- single models ---


async def test_speech_has_the_voices_and_the_speed_that_it_has() -> None:
    async with living() as house:
        params = {"emotion": "happy", "loudness_rate": 10, "language": "en", "instructions": "softly"}
        await house.make(SpeechRequest("seed-tts-2.0", "Hello", voice=VOICE, speed=1.25, params=params))
        inner = house.last.inner
        assert inner["speaker"] == VOICE
        assert inner["audio_params"] == {"speech_rate": 25, "loudness_rate": 10, "emotion": "happy"}
        assert inner["additions"] == {"explicit_language": "en", "context_texts": ["softly"]}
        assert inner["model"] == "seed-tts-2.0-expressive"
        fitted = house.fit(SpeechRequest("seed-tts-2.0", "Hello", speed=1.333))
        assert [(one.parameter, one.used) for one in fitted.adjustments] == [("speed", 1.33)]
        for fields in ({"voice": "BV001_streaming"}, {"speed": 3.0}, {"format": "wav"}):
            with pytest.raises(Unsupported):
                house.fit(SpeechRequest("seed-tts-2.0", "Hello", **fields))  # type: ignore[arg-type]


def test_a_voice_that_no_list_names_must_look_like_one() -> None:
    [speech] = leaves([leaf("seed-tts-2.0", "seed-tts-2.0", "TTS", [rule(1, 2)])], "tts")
    assert planned(speech, {"voice": "new_uranus_bigtts"}).inner["speaker"] == "new_uranus_bigtts"
    with pytest.raises(Unsupported, match="_uranus_bigtts"):
        planned(speech, {"voice": "BV001_streaming"})


async def test_lyrics_turn_on_the_mode_that_heeds_them() -> None:
    async with living() as house:
        await house.make(MusicRequest("sonic", "a song of kites", params={"lyrics": "la", "vocal_gender": "female"}))
        inner = house.last.inner
        assert (inner["custom_mode"], inner["lyrics"], inner["model_version"]) == (True, "la", "sonic-v5")
        assert house.last.product["model_version"] == "sonic"
        with pytest.raises(Unsupported, match="custom_mode"):
            house.fit(MusicRequest("sonic", "a song", params={"lyrics": "la", "custom_mode": False}))
        with pytest.raises(Unsupported):
            house.fit(MusicRequest("GenBGM", "a song", seconds=60))


async def test_pixverse_names_its_version_and_seedance_its_sound() -> None:
    async with living() as house:
        for model, version in (("pixverse@pv-5.5", "v5.5"), ("pixverse@pv-3.5", "v3.5"), ("pixverse", "v5")):
            for kind in ("t2v", "i2v", "flf2v"):
                await house.submit(film(model, kind=kind))
                assert house.last.inner["model"] == version
        await house.submit(film("ima-pro", seconds=4.0, params={"generate_audio": False}))
        assert (house.last.inner["audio"], house.last.inner["duration"]) == (False, 4)
        assert "generate_audio" not in house.last.inner


async def test_midjourney_is_square_and_its_quality_is_its_price() -> None:
    async with living() as house:
        assert house.quoted(image("midjourney", size=Size("1:1"), params={"quality": "720p"}, n=2)) == 20
        with pytest.raises(Unsupported):
            house.fit(image("midjourney", size=Size("16:9")))


def test_estimates_are_those_of_the_sheet() -> None:
    assert models.times("doubao-seedream-4.5", "t2i") == (25, 60)
    assert models.times("wan2.6-t2v", "t2v") == (60, 120)
    assert models.times("kling-video-o1", "t2v") == (180, 360)
    assert models.times("pixverse", "flf2v") == (180, 360)
    assert models.times("sonic", "t2m") == (20, 45)
    assert models.times("anything", "tts") == (5, 30)


# --- prices ---


async def test_a_price_beforehand_is_the_price_afterwards() -> None:
    async with living() as house:
        await _every_price(house)
        assert house.site.spent == sum(create.points for create in house.site.creates)


async def _every_price(house: House) -> None:
    for fields in ({}, {"seconds": 10.0}, {"params": {"resolution": "720p"}}, {"seconds": 15.0, "size": Size("1:1")}):
        request = film(**fields)
        told = house.quoted(request)
        await house.submit(request)
        assert house.last.points == told
    pro = {"resolution": "4K"}
    for picture in (image(n=3), image("gemini-3.1-flash-image", params=pro, n=2), image("gemini-3-pro-image", n=4)):
        told = house.quoted(picture)
        await house.make(picture)
        assert house.last.points == told


def test_a_tree_that_holds_nonsense_still_holds_the_rest() -> None:
    nonsense = [None, 5, {"type": "3"}, {"type": 3, "model_id": "x", "id": 7, "credit_rules": [None, {}], "name": None}]
    odd = leaf(
        "v1",
        "m",
        "M",
        [rule(1, 5), rule(2, 6, shape=[1], frame={"a": 1})],
        {"field": "duration", "value": "auto", "options": ["auto", "5", 10, [7], {"value": {}}]},
        virtual("mode", {}, [{"field": "quality", "value": [1]}], [({"quality": [1]}, "x"), ({"quality": "a"}, "y")]),
    )
    found = leaves([*nonsense, {"type": "2", "children": [{"type": "2", "children": [odd]}]}], "t2v")
    assert [one.pinned for one in found] == ["x@7", "m@v1"]
    card = models.card("m", {"t2v": found[1]})
    assert card.parameters["seconds"].allowed == (5, 10)
    assert models.card("x", {"t2v": found[0]}).kinds == {"t2v"}
