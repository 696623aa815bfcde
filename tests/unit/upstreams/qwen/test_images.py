"""Images, and how they are found in what the site says."""

from typing import Any

import pytest

from gateway import errors
from gateway.types import ImageRequest, Input, Progress, Size, Usage
from gateway.upstreams.qwen import payload
from tests.emulators.qwen import Fault, Picture
from tests.unit.upstreams.qwen.rig import House, images

pytestmark = pytest.mark.anyio


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
        (Size("1:1", 1024, 1024), "1:1"),
        (Size("3:2", 1536, 1024), "4:3"),
        (Size("2:3", 1024, 1536), "3:4"),
        (Size("7:4", 1792, 1024), "16:9"),
        (Size("4:7", 1024, 1792), "9:16"),
        (Size("21:9"), "16:9"),
        *((Size(ratio), ratio) for ratio in ("1:1", "3:4", "4:3", "16:9", "9:16")),
    ],
)
def test_sizes_become_the_nearest_ratio(size: Size, ratio: str) -> None:
    assert payload.nearest_ratio(size) == ratio
