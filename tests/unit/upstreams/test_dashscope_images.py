"""Images, at once and by tasks; and what is too large to go inside a request."""

from __future__ import annotations

import asyncio
import base64
import io
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from gateway import errors
from gateway.http import Timeouts
from gateway.types import ImageRequest, Input, Progress, Size, TextDelta, Usage
from gateway.upstreams.dashscope import models, uploads, waiting
from tests.emulators.dashscope import KEY, Cut, Plan, Raw, Refusal, Slow
from tests.unit.upstreams.dashscope_rig import (
    HTML,
    I2V,
    OTHER,
    PICTURE,
    R2V,
    House,
    again,
    living,
    media,
    no_secret_in,
    pictures,
)

pytestmark = pytest.mark.anyio

OLD = "wan2.2-t2i-flash"
REFUSED = ("DataInspectionFailed", "Output data may contain inappropriate content.")


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Its clock goes on by half a minute with every look at a task."""
    async with living() as house:

        async def pause(seconds: float) -> None:
            house.clock.now += max(30.0, seconds)
            await asyncio.sleep(0)

        monkeypatch.setattr(waiting, "sleep", pause)
        yield house


# --- what is sent ---


async def test_an_image_from_words_at_once(house: House) -> None:
    *events, usage = await house.paint(n=2, seed=7, size=Size("1:1", 1280, 1280), params={"negative_prompt": "dogs"})
    assert house.sent == {
        "model": "wan2.6-t2i",
        "input": {"messages": [{"role": "user", "content": [{"text": "a cat"}]}]},
        "parameters": {"n": 2, "size": "1280*1280", "seed": 7, "negative_prompt": "dogs"},
    }
    assert house.path == "aigc/multimodal-generation/generation"
    assert "x-dashscope-async" not in house.site.creates[0].headers
    assert [made.family for made in media(events)] == ["image", "image"]
    assert (await house.download(media(events)[0])).startswith(b"\x89PNG")
    assert usage == Usage(images=2)


async def test_images_come_before_the_words(house: House) -> None:
    await house.paint("wan2.7-image", inputs=pictures("image", "reference"))
    [message] = house.sent["input"]["messages"]
    assert message["content"] == [{"image": PICTURE}, {"image": PICTURE}, {"text": "a cat"}]


async def test_the_number_is_always_told(house: House) -> None:
    events = await house.paint("wan2.7-image")
    assert (len(media(events)), house.sent["parameters"]["n"]) == (1, 1)


async def test_older_models_are_asked_by_fields(house: House) -> None:
    await house.paint(OLD, size=Size("1:1", 1024, 1024), params={"negative_prompt": "dogs", "prompt_extend": False})
    assert house.sent == {
        "model": OLD,
        "input": {"prompt": "a cat", "negative_prompt": "dogs"},
        "parameters": {"n": 1, "size": "1024*1024", "prompt_extend": False},
    }
    assert house.path == "aigc/text2image/image-synthesis"
    await house.paint("wan2.5-i2i-preview", inputs=pictures("image", "image"), seed=3)
    assert house.sent["input"] == {"prompt": "a cat", "images": [PICTURE] * 2}
    assert (house.path, house.sent["parameters"]) == ("aigc/image2image/image-synthesis", {"n": 1, "seed": 3})


async def test_an_edit_says_what_is_done(house: House) -> None:
    edit = "wanx2.1-imageedit"
    await house.paint(edit, inputs=pictures("image"))
    assert house.sent["input"] == {"prompt": "a cat", "base_image_url": PICTURE, "function": "description_edit"}
    await house.paint(edit, inputs=pictures("image", "mask"), params={"watermark": True})
    assert house.sent["input"]["function"] == "description_edit_with_mask"
    assert house.sent["input"]["mask_image_url"] == PICTURE
    assert house.sent["parameters"] == {"n": 1, "watermark": True}
    await house.paint(edit, inputs=pictures("image"), params={"function": "colorization"})
    assert house.sent["input"]["function"] == "colorization"


@pytest.mark.parametrize(
    ("model", "size", "told"),
    [
        ("wan2.6-t2i", Size("1:1", 1024, 1024), "1280*1280"),
        ("wan2.6-t2i", Size("1:1", 1400, 1400), "1400*1400"),
        ("wan2.6-t2i", Size("3:2", 1536, 1024), "1568*1056"),
        ("wan2.6-t2i", Size("16:9"), "1760*992"),
        ("wan2.6-t2i", Size("1:1", 4096, 4096), "1440*1440"),
        ("wan2.7-image", Size("1:1", 1024, 1024), "1024*1024"),
        ("wan2.7-image", Size("1:1", 4096, 4096), "2048*2048"),
        ("wan2.7-image-pro", Size("1:1", 4096, 4096), "4096*4096"),
        ("qwen-image", Size("1:1", 1024, 1024), "1328*1328"),
        ("qwen-image", Size("16:9"), "1664*928"),
        ("qwen-image", Size("3:4", 768, 1024), "1104*1472"),
        ("qwen-image-2.0", Size("1:1", 640, 640), "640*640"),
        ("qwen-image-2.0", Size("1:1", 128, 128), "512*512"),
        (OLD, Size("16:9", 1920, 1080), "1440*816"),
        (OLD, Size("4:3"), "1168*880"),
    ],
)
async def test_a_size_becomes_the_nearest_that_is_made(house: House, model: str, size: Size, told: str) -> None:
    await house.paint(model, size=size)
    assert house.sent["parameters"]["size"] == told


async def test_no_size_is_the_vendor_s_own_choice(house: House) -> None:
    await house.paint()
    assert "size" not in house.sent["parameters"]
    await house.paint("qwen-image-edit", inputs=pictures("image"), size=Size("1:1", 512, 512))
    assert "size" not in house.sent["parameters"], "an edit has the size of its image"
    assert house.told == {"size": ("512x512", None)}
    await house.paint("qwen-image")
    assert house.sent["parameters"] == {"n": 1, "size": "1664*928"}


@pytest.mark.parametrize(
    "model", sorted(name for name in models.LISTED if isinstance(models.facts(name), models.Still))
)
async def test_whatever_a_card_promises_is_taken(house: House, model: str) -> None:
    facts = models.facts(model)
    assert isinstance(facts, models.Still)
    chance = random.Random(model)
    for kind in facts.kinds:
        images = pictures(*["image"] * facts.references) if kind == "i2i" else ()
        assert len(media(await house.paint(model, kind=kind, inputs=images, n=facts.most))) == facts.most
        for _ in range(30):
            width, height = chance.randint(64, 8192), chance.randint(64, 8192)
            if isinstance(facts.sizing, models.Fixed):
                width, height = map(int, chance.choice(facts.sizing.sizes).split("*"))
            if max(width, height) <= 2.8 * min(width, height):
                await house.paint(model, kind=kind, inputs=images[:1], size=Size(f"{width}:{height}", width, height))
                await house.paint(model, kind=kind, inputs=images[:1], size=Size(f"{width}:{height}"))
    assert {create.body["model"] for create in house.site.creates} == {model}


@pytest.mark.parametrize(
    ("model", "fields", "param", "told"),
    [
        ("wan2.6-t2i", {"size": Size("5:1")}, "size", "1:4 and 4:1"),
        (OLD, {"size": Size("3:1", 900, 300)}, "size", "2.8125"),
        ("wan2.6-t2i", {"seed": 2**31}, "seed", "whole number from 0"),
        ("wan2.6-t2i", {"params": {"prompt_extend": "yes"}}, "prompt_extend", "true"),
        ("wan2.6-t2i", {"inputs": pictures("image")}, "model", "t2i"),
        ("wan2.6-image", {}, "model", "i2i"),
        ("wan2.7-t2v", {}, "model", "images"),
        ("qwen-image-edit", {"inputs": pictures(*["image"] * 4)}, "images", "1 to 3"),
        ("qwen-image-edit", {"inputs": pictures("image", "mask")}, "mask", "without a mask"),
        ("wanx2.1-imageedit", {"inputs": pictures("image", "image")}, "images", "1 image with"),
        ("wanx2.1-imageedit", {"inputs": pictures("mask", "mask")}, "mask", "mask"),
        ("wanx2.1-imageedit", {"inputs": pictures("image", "mask", "mask")}, "images", "1 to 2"),
        (
            "wanx2.1-imageedit",
            {"inputs": pictures("image"), "params": {"function": "description_edit_with_mask"}},
            "function",
            "where there is a mask",
        ),
        (
            "wanx2.1-imageedit",
            {"inputs": pictures("image", "mask"), "params": {"function": "expand"}},
            "function",
            "where there is a mask",
        ),
        ("wanx2.1-imageedit", {"inputs": pictures("image"), "params": {"function": "erase"}}, "function", "expand"),
    ],
)
async def test_what_a_model_cannot_do_is_not_sent(
    house: House, model: str, fields: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.paint(model, **fields)
    assert (caught.value.param, told in caught.value.message) == (param, True), caught.value.message
    assert house.site.requests == []


# --- by tasks ---


async def test_an_older_image_is_waited_for(house: House) -> None:
    first, *events, usage = await house.paint(OLD, n=3)
    assert house.site.creates[0].headers["x-dashscope-async"] == "enable"
    assert (first, usage) == (Progress(0), Usage(images=3))
    assert len(media(events)) == 3
    assert len(house.site.polls) == 2
    assert [event.percent for event in events if isinstance(event, Progress)] == [0, 95]


async def test_newer_images_are_made_by_tasks_where_that_is_wished(house: House) -> None:
    wishing = house.with_options(image_tasks=True)
    events = await wishing.paint("wan2.6-t2i", n=2)
    assert (house.path, len(media(events))) == ("aigc/image-generation/generation", 2)
    await wishing.paint("qwen-image")
    assert house.path == "aigc/multimodal-generation/generation", "of these nobody knows"


async def test_of_several_some_may_be_missing(house: House) -> None:
    house.site.plan = Plan(missing={0: REFUSED, 2: REFUSED})
    *events, usage = await house.paint(OLD, n=4)
    assert (len(media(events)), usage) == (2, Usage(images=2))
    assert [event.text for event in events if isinstance(event, TextDelta)] == [
        "Of 4 images came to nothing 1, 3: Output data may contain inappropriate content.\n"
    ]
    *events, usage = await house.paint("wan2.6-t2i", n=4)
    assert (len(media(events)), usage) == (2, Usage(images=2))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Of 4 images came to nothing 3, 4\n"], (
        "at once nothing is told of them"
    )


async def test_more_than_one_call_makes_are_asked_for_in_several(house: House) -> None:
    *events, usage = await house.paint("qwen-image", n=2)
    assert (len(media(events)), usage) == (2, Usage(images=2))
    house.site.creates.clear()
    *events, usage = await house.paint("wan2.6-t2i", n=6)
    assert (len(media(events)), usage) == (6, Usage(images=6))
    assert [create.body["parameters"]["n"] for create in house.site.creates] == [4, 2]
    *events, usage = await house.paint(OLD, n=8)
    told = [event.percent for event in events if isinstance(event, Progress)]
    assert (told[0], told == sorted(told), usage) == (0, True, Usage(images=8))


async def test_of_several_calls_what_came_before_one_that_failed_is_delivered(house: House) -> None:
    house.site.fail("create", None, Refusal("InternalError"))
    *events, usage = await house.paint("qwen-image", n=3)
    assert (len(media(events)), usage) == (1, Usage(images=1))
    assert [event.text for event in events if isinstance(event, TextDelta)] == [
        "Of 3 images came to nothing 2, 3: The upstream failed.\n"
    ]
    assert len(house.site.seen("create")) == 2, "what is paid for is not asked for again"
    house.site.fail("create", Refusal("Throttling"))
    with pytest.raises(errors.RateLimited):
        await house.paint("qwen-image", n=3)


async def test_why_an_image_is_missing_holds_no_secret(house: House) -> None:
    house.site.plan = Plan(missing={0: ("DataInspectionFailed", f"The key {KEY} made bad output.")})
    events = await house.paint(OLD, n=2)
    [told] = [event.text for event in events if isinstance(event, TextDelta)]
    assert KEY not in told


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        (Plan(missing={0: REFUSED}), errors.ContentRefused),
        (Plan(missing={0: ("InternalError.Algo", "it broke")}), errors.GenerationFailed),
        (Plan(ends="FAILED"), errors.GenerationFailed),
        (Plan(ends="FAILED", error=REFUSED), errors.ContentRefused),
        (Plan(ends="FAILED", error=("Throttling.RateQuota", "")), errors.RateLimited),
        (Plan(ends="CANCELED"), errors.GenerationFailed),
        (Plan(ends="UNKNOWN"), errors.JobLost),
        (Plan(result="none"), errors.UpstreamGarbled),
    ],
)
async def test_where_none_came_out_it_is_said_why(house: House, plan: Plan, kind: type[errors.GatewayError]) -> None:
    house.site.plan = plan
    with pytest.raises(errors.GatewayError) as caught:
        await house.paint(OLD)
    assert type(caught.value) is kind
    assert len(house.site.creates) == 1


@pytest.mark.parametrize(
    ("plan", "kind"),
    [(Plan(result="none"), errors.UpstreamGarbled), (Plan(ends="FAILED", error=REFUSED), errors.ContentRefused)],
)
async def test_the_same_at_once(house: House, plan: Plan, kind: type[errors.GatewayError]) -> None:
    house.site.plan = plan
    with pytest.raises(kind):
        await house.paint()


async def test_looks_that_fail_are_made_again(house: House) -> None:
    begun = house.clock.now
    house.site.fail(
        "get", *again(Cut()), Raw(502), Refusal("Throttling", headers={"Retry-After": "400"}), Raw(200, b"{")
    )
    assert len(media(await house.paint(OLD))) == 1
    assert house.clock.now - begun > 400


@pytest.mark.parametrize(
    ("fault", "kind", "looks"),
    [
        (Raw(502), errors.UpstreamFailed, waiting.BLIND_LOOKS),
        (Refusal("Throttling"), errors.RateLimited, waiting.BLIND_LOOKS),
        (Refusal("InvalidApiKey"), errors.CredentialRejected, 1),
        (Raw(403, HTML), errors.Challenged, 1),
    ],
)
async def test_an_image_is_given_up_and_may_have_been_made(
    house: House, fault: Any, kind: type[errors.GatewayError], looks: int
) -> None:
    house.site.fail("get", *[fault] * 10)
    with pytest.raises(kind) as caught:
        await house.paint(OLD)
    assert (caught.value.sent, len(house.site.seen("get")), len(house.site.creates)) == ("unknown", looks, 1)


async def test_an_image_that_takes_too_long_is_given_up(house: House) -> None:
    house.site.plan = Plan(queued=1e6)
    house.upstream.http.timeouts = Timeouts(idle=5, total=0.05)
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await house.paint(OLD)
    assert caught.value.sent == "unknown"


@pytest.mark.parametrize(("queued", "stopped"), [(1e6, 1), (0.0, 0)])
@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_an_image_that_nobody_waits_for_is_stopped_if_it_can_be(
    house: House, queued: float, stopped: int, how: str
) -> None:
    house.site.plan = Plan(queued=queued, running=1e6)
    events = house.upstream.image(ImageRequest(OLD, "a cat"), house.account)

    async def watch(most: int) -> None:
        async for _ in events:
            most -= 1
            if not most:
                return

    if how == "closed":
        async with aclosing(events):
            await watch(2)
    else:
        watching = asyncio.create_task(watch(10**9))
        while not house.site.polls:
            await asyncio.wait([watching], timeout=0.01)
        await asyncio.wait([watching], timeout=0.05)
        watching.cancel()
        await asyncio.wait([watching])
        await events.aclose()
    assert len(house.site.cancels) == stopped
    assert next(iter(house.site.tasks.values())).status(house.clock.now) == ("CANCELED" if stopped else "RUNNING")


@pytest.mark.parametrize(
    "fault", [Cut(), Cut(done=True), Raw(502), Refusal("InternalError"), Raw(200, b"{}", "application/json")]
)
@pytest.mark.parametrize("model", ["wan2.6-t2i", OLD])
async def test_a_create_without_a_good_answer_is_not_sent_again(house: House, model: str, fault: Any) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.UpstreamError) as caught:
        await house.paint(model)
    assert (caught.value.sent, len(house.site.seen("create"))) == ("unknown", 1)


# --- what is too large to go inside ---


def noise(side: int) -> str:
    """A picture that no format makes small."""
    held = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(side).randbytes(3 * side * side)).save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


async def test_large_images_are_laid_down_and_small_ones_are_not(house: House) -> None:
    large = Input(noise(1500))
    assert len(large.url) > uploads.INSIDE_MAX
    await house.paint("wan2.6-image", inputs=(large, *pictures("image")))
    content = house.sent["input"]["messages"][0]["content"]
    keys = list(house.site.stored.objects)
    assert [part["image"] for part in content[:2]] == [f"oss://{key}" for key in keys]
    assert house.site.stored.objects[keys[0]] == base64.b64decode(large.url.partition(",")[2])
    assert keys[0].endswith(".png")
    assert house.site.creates[0].headers["x-dashscope-ossresourceresolve"] == "enable"
    assert len(house.site.seen("policy")) == 1
    assert house.site.seen("policy")[0].query == {"action": "getPolicy", "model": "wan2.6-image"}
    await house.paint("wan2.6-image", inputs=pictures("image"))
    assert len(house.site.stored.objects) == 2


async def test_all_are_laid_down_or_none_where_that_is_wished(house: House) -> None:
    always, never = house.with_options(uploads="always"), house.with_options(uploads="never")
    await always.submit(I2V, kind="i2v", inputs=pictures("image"))
    assert house.sent["input"]["media"][0]["url"].startswith("oss://")
    await always.submit(R2V, kind="ref2v", inputs=(*pictures("image"), Input("https://example.com/a.png")))
    urls = [one["url"] for one in house.sent["input"]["media"]]
    assert urls[0].startswith("oss://")
    assert urls[1] == "https://example.com/a.png"
    await always.submit()
    await always.paint()
    assert len(house.site.stored.objects) == 2, "nothing is laid down for what has no images"
    await never.paint("wan2.6-image", inputs=(Input(noise(1500)),))
    assert len(house.site.stored.objects) == 2


async def test_nothing_is_laid_down_for_what_cannot_be_asked(house: House) -> None:
    always = house.with_options(uploads="always")
    with pytest.raises(errors.InvalidRequest):
        await always.submit(I2V, kind="i2v", inputs=pictures("image"), seconds=99)
    with pytest.raises(errors.InvalidRequest):
        await always.paint("wan2.6-image", inputs=pictures("image", "mask"))
    assert house.site.requests == []


async def test_the_key_does_not_go_to_the_storage(house: House) -> None:
    await house.with_options(uploads="always").submit(I2V, kind="i2v", inputs=pictures("image"))
    [stored] = house.site.seen("store")
    assert "authorization" not in stored.headers
    assert stored.key == ""


@pytest.mark.parametrize(
    ("operation", "fault", "kind"),
    [
        ("policy", Refusal("InvalidApiKey"), errors.CredentialRejected),
        ("policy", Refusal("Throttling"), errors.RateLimited),
        ("policy", Refusal("InternalError"), errors.UpstreamFailed),
        ("policy", Raw(404, b"<html>not here</html>"), errors.UpstreamFailed),
        ("policy", Raw(200, b'{"data": {"policy": "x"}}', "application/json"), errors.UpstreamGarbled),
        ("policy", Raw(200, b"{}", "application/json"), errors.UpstreamGarbled),
        ("store", Raw(403, b"<Code>AccessDenied</Code><OSSAccessKeyId>LTAI-emulated-key-id</OSSAccessKeyId>"),
         errors.UpstreamFailed),
        ("store", Raw(502), errors.UpstreamFailed),
        ("store", Cut(), errors.UpstreamFailed),
    ],
)  # fmt: skip
async def test_an_upload_that_failed_cost_nothing(
    house: House, operation: str, fault: Any, kind: type[errors.GatewayError]
) -> None:
    house.site.fail(operation, *again(fault))
    with pytest.raises(errors.GatewayError) as caught:
        await house.with_options(uploads="always").submit(I2V, kind="i2v", inputs=pictures("image"))
    assert (type(caught.value), caught.value.sent, house.site.creates) == (kind, "no", [])
    no_secret_in(caught.value, house.site.stored.KEY_ID, *house.site.stored.signatures.values())


@pytest.mark.parametrize(
    "host",
    [
        "https://evil.example",
        "https://aliyuncs.com.evil.example",
        "https://x.aliyuncs.com@evil.example",
        "http://bucket.oss-cn-beijing.aliyuncs.com",
        "http://127.0.0.1:1/bucket",
        "nothing",
    ],
)
async def test_files_go_to_nobody_else_s_storage(house: House, host: str) -> None:
    house.site.stored.host = host
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.with_options(uploads="always").submit(I2V, kind="i2v", inputs=pictures("image"))
    assert (caught.value.sent, house.site.creates, house.site.seen("store")) == ("no", [], [])


def test_the_vendor_s_own_storage_is_taken() -> None:
    policy = uploads.Policy("p", "s", "dir/a", "https://dashscope-file.oss-cn-beijing.aliyuncs.com", "id")
    assert str(uploads.address(policy, "https://dashscope.aliyuncs.com")).startswith(policy.upload_host)
    with pytest.raises(errors.UpstreamGarbled):
        uploads.address(replace_dir(policy, "dir/../../b?x"), "https://dashscope.aliyuncs.com")


def replace_dir(policy: uploads.Policy, folder: str) -> uploads.Policy:
    return uploads.msgspec.structs.replace(policy, upload_dir=folder)


async def test_a_file_larger_than_the_policy_allows_is_the_caller_s(house: House) -> None:
    house.site.stored.most = 0.0001
    with pytest.raises(errors.TooLarge) as caught:
        await house.with_options(uploads="always").submit(I2V, kind="i2v", inputs=pictures("image"))
    assert caught.value.param == "files"


async def test_what_is_laid_down_is_the_account_s_and_the_model_s(house: House) -> None:
    always = house.with_options(uploads="always")
    await always.submit(I2V, kind="i2v", inputs=pictures("image"))
    await always.submit("wan2.6-i2v", kind="i2v", inputs=pictures("image"))
    other = replace(always, account=replace(house.account, credential=OTHER))
    await other.submit(I2V, kind="i2v", inputs=pictures("image"))
    assert len(house.site.stored.objects) == len(house.site.creates) == 3


def test_the_name_of_a_file_is_no_path() -> None:
    policy = uploads.Policy("p", "s", "dir/a", "https://x.aliyuncs.com", "id")
    for mime, ending in (("image/jpeg", "jpg"), ("image/svg+xml", "svg"), ("image/../x", "x"), ("", "bin")):
        name = uploads.named(policy, mime)
        assert name.startswith("dir/a/")
        assert name.count("/") == 2
        assert name.endswith(f".{ending}")


async def test_silence_while_an_image_is_made_is_no_fault(house: House) -> None:
    house.upstream.http.timeouts = Timeouts(idle=0.1, total=5)
    house.site.fail("create", Slow(0.3))
    assert media(await house.paint())


async def test_a_look_that_shows_something_makes_up_for_those_that_failed(house: House) -> None:
    few = [Raw(502)] * (waiting.BLIND_LOOKS - 1)
    house.site.plan = Plan(queued=31 + 30 * len(few))
    house.site.fail("get", *few, None, *few)
    assert len(media(await house.paint(OLD))) == 1


async def test_a_task_that_is_lost_is_looked_at_once(house: House) -> None:
    house.site.plan = Plan(ends="UNKNOWN", queued=0, running=0)
    with pytest.raises(errors.JobLost):
        await house.paint(OLD)
    assert len(house.site.polls) == 1
