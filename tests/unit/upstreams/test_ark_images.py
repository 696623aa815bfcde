"""Images: one by one and in sets, and the sizes that each model makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import errors
from gateway.catalog.allowed import size_text
from gateway.http import Timeouts
from gateway.types import Event, ImageRequest, Input, Kind, MediaReady, Size, TextDelta, Usage
from gateway.upstreams.ark import stills
from tests.emulators.ark import FIFTH_LITE, FIFTH_PRO, FOUR_FIVE, FOURTH, KEY, OLD, Cut, Raw, Refusal, Slow, StillPlan
from tests.emulators.ark import stills as vendor
from tests.unit.upstreams.ark_rig import (
    HTML,
    PICTURE,
    House,
    fitting,
    living,
    made,
    media,
    no_secret_in,
    pictures,
    told,
)

pytestmark = pytest.mark.anyio

BLOCKED = ("OutputImageSensitiveContentDetected", "The output image may contain sensitive information.")
BROKEN = ("InternalServiceError", "The service encountered an unexpected internal error.")
SET = {"sequential_image_generation": "auto", "resolution": "2K"}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


def asking(model: str, **fields: Any) -> ImageRequest:
    return ImageRequest(model, "a cat", **fields)


# --- what is sent ---


async def test_an_image_from_words(house: House) -> None:
    *events, usage = await house.paint(FOUR_FIVE)
    assert house.painted == {
        "model": FOUR_FIVE,
        "prompt": "a cat",
        "size": "2048x2048",
        "response_format": "url",
        "watermark": False,
    }
    [image] = media(events)
    assert (image.family, image.width, image.height) == ("image", 2048, 2048)
    assert image.url is not None and image.url.startswith("http")
    assert usage == Usage(output_tokens=16384, images=1)


async def test_images_are_shown_by_one_or_by_a_list(house: House) -> None:
    await house.paint(FOURTH, inputs=pictures("image"), size=Size("1:1", 1024, 1024))
    assert (house.painted["image"], house.painted["size"]) == (PICTURE, "1024x1024")
    await house.paint(FOURTH, inputs=pictures("image", "reference"), params={"resolution": "1K"})
    assert (house.painted["image"], house.painted["size"]) == ([PICTURE] * 2, "1K")
    await house.paint(FOURTH, inputs=pictures("image"), size=Size("1:1", 1024, 1024), params={"watermark": True})
    assert house.painted["watermark"] is True


async def test_each_generation_has_its_own_parameters(house: House) -> None:
    await house.paint(OLD, seed=7, params={"guidance_scale": 5})
    assert (house.painted["seed"], house.painted["guidance_scale"], house.painted["size"]) == (7, 5, "1024x1024")
    await house.paint(FOURTH, params={"optimize_prompt_options": {"mode": "fast"}, "resolution": "1K"})
    assert house.painted["optimize_prompt_options"] == {"mode": "fast"}
    [image, _] = await house.paint(FIFTH_LITE, params={"output_format": "png", "tools": [{"type": "web_search"}]})
    assert (house.painted["output_format"], house.painted["tools"]) == ("png", [{"type": "web_search"}])
    assert isinstance(image, MediaReady) and image.media.mime == "image/png"


@pytest.mark.parametrize(
    ("model", "size", "params", "sent"),
    [
        (FOUR_FIVE, Size("1:1", 1024, 1024), {}, "2048x2048"),
        (FOUR_FIVE, Size("3:2", 1536, 1024), {}, "2496x1664"),
        (FOUR_FIVE, Size("16:9"), {}, "2560x1440"),
        (FOUR_FIVE, Size("16:9"), {"resolution": "4K"}, "5376x3024"),
        (FOUR_FIVE, Size("1:1", 1024, 1024), {"resolution": "4k"}, "4096x4096"),
        (FOUR_FIVE, Size("32:9"), {}, "3840x1080"),
        (FOUR_FIVE, Size("1:1", 8000, 8000), {}, "4096x4096"),
        (FOUR_FIVE, Size("1000:667", 3000, 2001), {}, "3000x2001"),
        (FOUR_FIVE, Size("1021:1019", 1021, 1019), {}, "2042x2038"),
        (FOUR_FIVE, Size("1511:1499", 1511, 1499), {}, "2056x2039"),
        (FOURTH, Size("1:1", 1024, 1024), {}, "1024x1024"),
        (FOURTH, Size("1:1", 512, 512), {}, "1024x1024"),
        (FOURTH, Size("2:1", 1280, 640), {}, "1440x720"),
        (FOURTH, Size("4:3"), {"resolution": "1K"}, "1152x864"),
        (FIFTH_LITE, Size("21:9"), {"resolution": "3K"}, "4592x1968"),
        (FIFTH_PRO, Size("1:1"), {"resolution": "1.5K"}, "1536x1536"),
        (FIFTH_PRO, Size("9:16", 4320, 7680), {}, "1440x2560"),
        (OLD, Size("1:1", 256, 256), {}, "512x512"),
        (OLD, Size("16:9"), {}, "1280x720"),
        (OLD, Size("16:9", 2560, 1440), {}, "2048x1152"),
        (OLD, Size("4:1"), {}, "2048x512"),
        ("seedream-9-0", Size("1:1", 1000, 1000), {}, "1000x1000"),
        ("seedream-9-0", Size("3:4"), {}, "1728x2304"),
    ],
)
def test_pixels_are_kept_or_the_nearest_of_their_shape(
    model: str, size: Size, params: dict[str, Any], sent: str
) -> None:
    fitted = fitting(asking(model, size=size, params=params))
    request = made(fitted, ImageRequest)
    assert stills.body(request)["size"] == sent
    asked = size_text(size)
    assert told(fitted) == ({"size": (asked, sent)} if size.width and asked != sent else {})


RATIOS = ("1:1", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4", "21:9", "5:4", "1021:1019", "7:5", "3:1", "1:4")


@pytest.mark.parametrize("model", sorted(stills.MODELS))
def test_whatever_is_asked_for_is_fitted_once_and_taken(model: str) -> None:
    facts = stills.MODELS[model]
    sizes = [Size(ratio) for ratio in RATIOS] + [Size("1:1", side, side) for side in (64, 768, 1500, 3000, 8192)]
    classes: list[dict[str, Any]] = [{}, *({} if facts.older else {"resolution": name} for name in facts.classes)]
    for params in classes:
        for size in [None, *sizes]:
            once = made(fitting(asking(model, size=size, params=params)), ImageRequest)
            again = fitting(once)
            assert (again.request, again.adjustments) == (once, ())
            assert vendor.check(stills.body(once), vendor.STILLS[model]) == 1
            if size is not None and once.size is not None:
                across, down = map(int, size.ratio.split(":"))
                assert abs(once.size.width / once.size.height * down / across - 1) < 0.02, (size, once.size)


@pytest.mark.parametrize(
    ("model", "fields", "param", "said"),
    [
        (FOUR_FIVE, {"seed": 7}, "seed", "has no 'seed'"),
        (FOUR_FIVE, {"params": {"guidance_scale": 5}}, "guidance_scale", "has no"),
        (FOUR_FIVE, {"params": {"resolution": "1K"}}, "resolution", "2K or 4K"),
        (FOUR_FIVE, {"params": {"optimize_prompt_options": {"mode": "fast"}}}, "optimize_prompt_options", "standard"),
        (FOUR_FIVE, {"params": {"negative_prompt": "dogs"}}, "negative_prompt", "has no"),
        (FIFTH_PRO, {"params": SET}, "sequential_image_generation", "has no"),
        (FIFTH_LITE, {"params": {"output_format": "webp"}}, "output_format", "png or jpeg"),
        (OLD, {"params": {"guidance_scale": 11}}, "guidance_scale", "from 1 to 10"),
        (OLD, {"size": Size("8:1")}, "size", "8:1"),
        (OLD, {"params": {"resolution": "1K"}}, "resolution", "has no"),
        (FOURTH, {"kind": "i2i"}, "images", "1 to 14"),
        (FOURTH, {"kind": "i2i", "inputs": pictures(*["image"] * 15)}, "images", "1 to 14"),
        (FOURTH, {"kind": "i2i", "inputs": pictures("image", "mask")}, "mask", "without a mask"),
        (FOURTH, {"inputs": pictures("image"), "kind": "t2i"}, "images", "takes 0"),
        (FOURTH, {"kind": "i2i", "inputs": (Input(PICTURE, mime="image/avif"),)}, "images", "not image/avif"),
        (
            FOURTH,
            {"params": {**SET, "sequential_image_generation_options": {"max_images": 16}}},
            "sequential_image_generation_options",
            "1 to 15",
        ),
        (
            FOURTH,
            {
                "kind": "i2i",
                "inputs": pictures(*["image"] * 5),
                "params": {**SET, "sequential_image_generation_options": {"max_images": 11}},
            },
            "sequential_image_generation_options",
            "1 to 10",
        ),
        ("seedream-9-0", {"params": {"resolution": "9K"}, "size": Size("1:1")}, "resolution", "1K"),
    ],
)
def test_what_a_model_cannot_do_is_refused_beforehand(
    model: str, fields: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        fitting(asking(model, **fields))
    assert (caught.value.param, said in caught.value.message) == (param, True), caught.value.message


async def test_more_images_than_a_body_holds_are_not_sent(house: House) -> None:
    large = Input("data:image/png;base64," + "A" * (33 * 2**20))
    with pytest.raises(errors.TooLarge):
        await house.paint(FOURTH, inputs=(large, large))
    assert house.site.requests == []


async def test_an_endpoint_is_asked_for_any_kind(house: House) -> None:
    house.site.endpoints["ep-20261121-abcde"] = FOURTH
    events = await house.paint("ep-20261121-abcde", params={"resolution": "1K"})
    assert (len(media(events)), house.painted["model"]) == (1, "ep-20261121-abcde")
    with pytest.raises(errors.ModelNotEnabled):
        await house.paint("ep-20261121-zzzzz")
    with pytest.raises(errors.ModelNotFound):
        await house.paint("seedream-9-0")


# --- several ---


async def test_several_are_asked_for_one_by_one(house: House) -> None:
    *events, usage = await house.paint(FOURTH, n=3, params={"resolution": "1K"})
    assert (len(media(events)), len(house.site.paints)) == (3, 3)
    assert "n" not in house.painted
    assert usage == Usage(output_tokens=3 * 4096, images=3)


async def test_of_several_those_that_were_made_are_delivered(house: House) -> None:
    house.site.still_plans.extend([StillPlan(), StillPlan(errors={0: BLOCKED})])
    *events, loss, usage = await house.paint(FOURTH, n=3, params={"resolution": "1K"})
    assert (len(media(events)), len(house.site.paints)) == (1, 2)
    assert isinstance(loss, TextDelta)
    assert loss.text.startswith("Of 3 images came to nothing 2, 3: The output image may contain sensitive")
    assert usage == Usage(output_tokens=4096, images=1)


async def test_a_set_comes_image_by_image(house: House) -> None:
    params = {**SET, "sequential_image_generation_options": {"max_images": 3}}
    seen: list[Event] = [event async for event in house.painting(FOUR_FIVE, params=params)]
    *images, usage = seen
    assert [type(event) for event in images] == [MediaReady] * 3
    assert usage == Usage(output_tokens=3 * 16384, images=3)
    assert house.painted["stream"] is True
    assert (house.painted["size"], house.painted["sequential_image_generation"]) == ("2K", "auto")


async def test_a_set_may_have_as_many_as_fit_with_those_that_are_shown(house: House) -> None:
    house.site.still_plan = StillPlan(count=2)
    await house.paint(FOURTH, params={**SET}, inputs=pictures("image", "image"))
    assert house.painted["sequential_image_generation_options"] == {"max_images": 13}


@pytest.mark.parametrize(
    ("error", "count", "of"), [(BLOCKED, 3, "Of 4 images came to nothing 2: The output"), (BROKEN, 1, "Of 2 images")]
)
async def test_a_set_goes_on_after_a_refusal_and_ends_with_a_failure(
    house: House, error: tuple[str, str], count: int, of: str
) -> None:
    house.site.still_plan = StillPlan(count=4, errors={1: error})
    *events, loss, usage = await house.paint(FOUR_FIVE, params=SET)
    assert isinstance(loss, TextDelta) and loss.text.startswith(of)
    assert len(media(events)) == count
    assert isinstance(usage, Usage) and usage.images == count


async def test_a_set_that_ends_early_after_a_failure_is_over(house: House) -> None:
    house.site.still_plan = StillPlan(count=2, errors={1: BROKEN}, ends="silently")
    assert len(media(await house.paint(FOUR_FIVE, params=SET))) == 1


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        ("silently", errors.StreamTruncated),
        ("reset", errors.UpstreamError),
        ("garbage", errors.UpstreamGarbled),
        ("error", errors.UpstreamFailed),
    ],
)
async def test_a_set_that_breaks_off_says_so(house: House, ends: Any, kind: type[errors.GatewayError]) -> None:
    house.site.still_plan = StillPlan(count=1, ends=ends)
    with pytest.raises(kind) as caught:
        await house.paint(FOUR_FIVE, params=SET)
    assert caught.value.sent == "unknown"


async def test_a_set_may_be_answered_whole_or_refused(house: House) -> None:
    house.site.fail(
        "image", Raw(200, b'{"data":[{"url":"http://x/1.png"},{"url":"http://x/2.png"}]}', "application/json")
    )
    assert len(media(await house.paint(FOUR_FIVE, params=SET))) == 2
    with pytest.raises(errors.ContentRefused) as caught:
        await house.paint(FOUR_FIVE, "forbidden", params=SET)
    assert caught.value.sent == "no"


# --- what goes wrong within a 200 ---


@pytest.mark.parametrize("params", [{}, SET])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BLOCKED, errors.ContentRefused),
        (("InputImageSensitiveContentDetected", "no"), errors.ContentRefused),
        (BROKEN, errors.GenerationFailed),
        (("SomethingNew", "no"), errors.GenerationFailed),
        (("QuotaExceeded", "Your account has exhausted its free trial quota."), errors.QuotaExhausted),
    ],
)
async def test_an_answer_without_any_image_is_its_error(
    house: House, params: dict[str, Any], error: tuple[str, str], kind: type[errors.GatewayError]
) -> None:
    house.site.still_plan = StillPlan(count=1, errors={0: error})
    with pytest.raises(errors.GatewayError) as caught:
        await house.paint(FOUR_FIVE, params=params)
    assert type(caught.value) is kind
    assert error[0].lower() in (caught.value.detail or caught.value.message).lower()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data":[]}', errors.UpstreamGarbled),
        (b'{"data":[{"size":"1x1"}]}', errors.UpstreamGarbled),
        (b'{"created":1}', errors.UpstreamGarbled),
        (b'{"error":{"code":"InternalServiceError","message":"no"}}', errors.UpstreamFailed),
        (b'{"error":{"code":"InputTextSensitiveContentDetected","message":"no"}}', errors.ContentRefused),
        (b'{"data":7}', errors.UpstreamGarbled),
        (b"half of {", errors.UpstreamGarbled),
        (b"", errors.UpstreamGarbled),
    ],
)
async def test_a_200_that_holds_nothing_is_no_image(house: House, body: bytes, kind: type[errors.GatewayError]) -> None:
    house.site.fail("image", Raw(200, body, "application/json"))
    with pytest.raises(errors.GatewayError) as caught:
        await house.paint(FOUR_FIVE)
    assert (type(caught.value), caught.value.sent) == (kind, "unknown")


async def test_base64_is_taken_as_well(house: House) -> None:
    house.site.fail("image", Raw(200, b'{"data":[{"b64_json":"aGk=","output_format":"png"}]}', "application/json"))
    [image] = media(await house.paint(FOUR_FIVE))
    assert (image.b64, image.url, image.mime) == ("aGk=", None, "image/png")


@pytest.mark.parametrize("params", [{}, SET])
@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        (Cut(), errors.UpstreamFailed, "unknown"),
        (Cut(done=True), errors.UpstreamFailed, "unknown"),
        (Raw(502), errors.UpstreamFailed, "unknown"),
        (Raw(200, HTML), errors.Challenged, "unknown"),
        (Raw(404, b"<html>elsewhere</html>"), errors.UpstreamFailed, "no"),
        (Refusal("InternalServiceError"), errors.UpstreamFailed, "unknown"),
        (Refusal("ServerOverloaded"), errors.UpstreamFailed, "no"),
    ],
)
async def test_what_is_paid_for_is_unknown_unless_surely_not_made(
    house: House, params: dict[str, Any], fault: Any, kind: type[errors.GatewayError], sent: str
) -> None:
    house.site.fail("image", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.paint(FOUR_FIVE, params=params)
    assert (type(caught.value), caught.value.sent) == (kind, sent)


@pytest.mark.parametrize("params", [{}, SET])
async def test_silence_before_the_first_image_is_no_fault(house: House, params: dict[str, Any]) -> None:
    house.ark.http.timeouts = Timeouts(idle=0.05, first_event=0.05, total=20)
    house.site.still_plan = StillPlan(count=1)
    house.site.fail("image", Slow(0.3))
    assert len(media(await house.paint(FOUR_FIVE, params=params))) == 1


async def test_no_key_is_in_any_word_of_an_error(house: House) -> None:
    house.site.still_plan = StillPlan(errors={0: ("NewOne", f"the key {KEY} is bad")}, count=1)
    for params in ({}, SET):
        with pytest.raises(errors.GatewayError) as caught:
            await house.paint(FOUR_FIVE, params=params)
        no_secret_in(caught.value)


def test_kinds_are_as_the_table_says() -> None:
    kinds: dict[str, set[Kind]] = {OLD: {"t2i"}, FOURTH: {"t2i", "i2i"}, f"doubao-{FIFTH_PRO[5:]}": {"t2i", "i2i"}}
    for model, can in kinds.items():
        card = stills.card(model)
        assert (card.kinds, card.max_n, card.closed) == (can, 1, True)
