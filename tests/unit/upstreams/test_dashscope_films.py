"""Films: what is sent, how tasks stand, and what becomes of a create that was not answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway import errors
from gateway.http import Timeouts
from gateway.types import Input, Job, Size, VideoRequest
from gateway.upstreams.dashscope import films, models, records
from tests.emulators.dashscope import KEY, Cut, Plan, Raw, Refusal, Slow
from tests.unit.upstreams.dashscope_rig import (
    HTML,
    I2V,
    OTHER,
    PICTURE,
    R2V,
    T2V,
    House,
    again,
    images_for,
    living,
    pictures,
)

pytestmark = pytest.mark.anyio

WEB = "https://example.com/sound.mp3"
CLIP = "https://example.com/clip.mp4"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


# --- what is sent ---


async def test_a_film_from_words(house: House) -> None:
    job = await house.submit(size=Size("16:9", 1280, 720), seconds=5.0, seed=7)
    assert house.sent == {
        "model": T2V,
        "input": {"prompt": "a kite"},
        "parameters": {"resolution": "720P", "ratio": "16:9", "duration": 5, "seed": 7},
    }
    assert type(house.sent["parameters"]["duration"]) is int
    assert house.path == "aigc/video-generation/video-synthesis"
    headers = house.site.creates[0].headers
    assert (headers["authorization"], headers["x-dashscope-async"]) == (f"Bearer {KEY}", "enable")
    assert "x-dashscope-ossresourceresolve" not in headers
    assert "x-dashscope-workspace" not in headers
    assert job == Job(house.site.creates[0].id)


@pytest.mark.parametrize(
    ("model", "kind", "roles", "shown", "path"),
    [
        ("wan2.6-i2v", "i2v", ["first_frame"], {"img_url": PICTURE}, "video-generation"),
        ("wan2.6-i2v-flash", "i2v", ["image"], {"img_url": PICTURE}, "video-generation"),
        ("wan2.6-r2v", "ref2v", ["reference", "image"], {"reference_urls": [PICTURE] * 2}, "video-generation"),
        (
            "wan2.2-kf2v-flash", "flf2v", ["first_frame", "last_frame"],
            {"first_frame_url": PICTURE, "last_frame_url": PICTURE}, "image2video",
        ),
        (I2V, "i2v", ["image"], {"media": [{"type": "first_frame", "url": PICTURE}]}, "video-generation"),
        (
            I2V, "flf2v", ["image", "image"],
            {"media": [{"type": "first_frame", "url": PICTURE}, {"type": "last_frame", "url": PICTURE}]},
            "video-generation",
        ),
        (
            R2V, "ref2v", ["first_frame", "reference"],
            {"media": [{"type": "first_frame", "url": PICTURE}, {"type": "reference_image", "url": PICTURE}]},
            "video-generation",
        ),
    ],
)  # fmt: skip
async def test_images_come_as_the_model_wants_them(
    house: House, model: str, kind: Any, roles: list[str], shown: dict[str, Any], path: str
) -> None:
    await house.submit(model, kind=kind, inputs=pictures(*roles))
    assert house.sent["input"] == {"prompt": "a kite", **shown}
    assert house.path == f"aigc/{path}/video-synthesis"


async def test_frames_keep_their_places_in_any_order(house: House) -> None:
    first, last = Input("https://example.com/1.png", role="first_frame"), Input(PICTURE, role="last_frame")
    await house.submit("wan2.2-kf2v-flash", kind="flf2v", inputs=(last, first))
    assert house.sent["input"]["first_frame_url"] == "https://example.com/1.png"
    assert house.sent["input"]["last_frame_url"] == PICTURE


async def test_an_image_needs_no_words(house: House) -> None:
    await house.submit(I2V, " ", kind="i2v", inputs=pictures("first_frame"))
    assert set(house.sent["input"]) == {"media"}


@pytest.mark.parametrize(
    ("model", "size", "params", "told"),
    [
        (T2V, None, {}, {"resolution": "1080P"}),
        (T2V, Size("16:9", 1920, 1080), {}, {"resolution": "1080P", "ratio": "16:9"}),
        (T2V, Size("9:16", 720, 1280), {}, {"resolution": "720P", "ratio": "9:16"}),
        (T2V, Size("7:4", 1792, 1024), {}, {"resolution": "1080P", "ratio": "16:9"}),
        (T2V, Size("4:3"), {}, {"resolution": "1080P", "ratio": "4:3"}),
        (T2V, Size("1:1"), {"resolution": "1080p"}, {"resolution": "1080P", "ratio": "1:1"}),
        ("wan2.6-t2v", None, {}, {"size": "1920*1080"}),
        ("wan2.6-t2v", Size("16:9", 1280, 720), {}, {"size": "1280*720"}),
        ("wan2.6-t2v", Size("3:4"), {}, {"size": "1248*1632"}),
        ("wan2.6-t2v", Size("1:1"), {"resolution": "1080P"}, {"size": "1440*1440"}),
        ("wan2.6-t2v", None, {"resolution": "1080P"}, {"size": "1920*1080"}),
        ("wan2.2-t2v-plus", Size("9:16"), {}, {"size": "1080*1920"}),
        ("wan2.5-t2v-preview", Size("1:1", 480, 480), {}, {"size": "624*624"}),
    ],
)
async def test_a_size_becomes_what_the_model_is_told(
    house: House, model: str, size: Size | None, params: dict[str, Any], told: dict[str, str]
) -> None:
    await house.submit(model, size=size, params=params)
    assert house.sent["parameters"] == {"duration": 5, **told}


async def test_a_film_from_an_image_has_the_image_s_ratio(house: House) -> None:
    await house.submit("wan2.6-i2v", kind="i2v", inputs=pictures("image"), size=Size("9:16", 1080, 1920))
    assert house.sent["parameters"] == {"duration": 5, "resolution": "1080P"}
    assert house.told == {"size": ("1080x1920", None)}
    await house.submit("wan2.6-i2v", kind="i2v", inputs=pictures("image"), size=Size("9:16", 720, 1280))
    assert house.sent["parameters"] == {"duration": 5, "resolution": "720P"}
    await house.submit("wan2.2-kf2v-flash", kind="flf2v", inputs=images_for("flf2v"))
    assert house.sent["parameters"] == {"duration": 5, "resolution": "720P"}


async def test_the_vendor_s_own_parameters_pass_where_the_model_has_them(house: House) -> None:
    own = {
        "negative_prompt": "rain", "prompt_extend": True, "watermark": True, "audio": False, "shot_type": "multi",
        "audio_url": WEB,
    }  # fmt: skip
    with pytest.raises(errors.Unsupported, match="has no 'driving_audio'; it takes audio, audio_url"):
        await house.submit("wan2.6-t2v", params={**own, "driving_audio": WEB})
    await house.submit("wan2.6-t2v", params={**own, "user": "x"})
    assert house.sent["input"] == {"prompt": "a kite", "negative_prompt": "rain", "audio_url": WEB}
    assert house.sent["parameters"] == {
        "duration": 5, "size": "1920*1080", "prompt_extend": True, "watermark": True, "audio": False,
        "shot_type": "multi",
    }  # fmt: skip
    await house.submit("wanx2.1-i2v-turbo", kind="i2v", inputs=pictures("image"), params={"template": "flying"})
    assert house.sent["input"]["template"] == "flying"


async def test_of_a_version_that_nobody_knows_everything_is_sent(house: House) -> None:
    asked = house.fitted(VideoRequest("wan2.9-t2v", "a kite", seconds=40.0, seed=1, params={"mood": "calm"}))
    assert films.film(asked).body["parameters"] == {"duration": 40, "seed": 1, "mood": "calm"}


async def test_sound_and_clips_come_among_the_media(house: House) -> None:
    await house.submit(I2V, kind="i2v", inputs=pictures("image"), params={"driving_audio": WEB})
    assert house.sent["input"]["media"][1] == {"type": "driving_audio", "url": WEB}
    assert "driving_audio" not in house.sent["parameters"]
    params = {"reference_video_urls": [CLIP, CLIP]}
    await house.submit(R2V, kind="ref2v", inputs=pictures("reference"), params=params, seconds=10)
    types = [one["type"] for one in house.sent["input"]["media"]]
    assert types == ["reference_image", "reference_video", "reference_video"]


@pytest.mark.parametrize(
    ("model", "fields", "param", "told"),
    [
        (T2V, {"seconds": 16.0}, "seconds", "2, 3, 4"),
        (T2V, {"seconds": 1.0}, "seconds", "2, 3, 4"),
        (T2V, {"seconds": 5.5}, "seconds", "14 or 15"),
        ("wan2.6-t2v", {"seconds": 7.0}, "seconds", "5, 10 or 15"),
        ("wan2.2-t2v-plus", {"seconds": 10.0}, "seconds", "must be 5 with"),
        (T2V, {"size": Size("7:3")}, "size", "16:9, 9:16"),
        ("wan2.2-t2v-plus", {"size": Size("4:3"), "params": {"resolution": "480P"}}, "size", "1:1 in 480P"),
        (T2V, {"params": {"resolution": "480P"}}, "resolution", "720P or 1080P"),
        (T2V, {"params": {"resolution": ["720P"]}}, "resolution", "720P or 1080P"),
        (T2V, {"seed": 2**31}, "seed", "whole number from 0"),
        (T2V, {"seed": -1}, "seed", "0"),
        (T2V, {"prompt": "a" * 5001}, "prompt", "5000"),
        ("wan2.6-t2v", {"prompt": "a" * 1501}, "prompt", "1500"),
        ("wan2.2-t2v-plus", {"prompt": "a" * 801}, "prompt", "800"),
        (T2V, {"params": {"negative_prompt": "a" * 501}}, "negative_prompt", "500"),
        (T2V, {"params": {"negative_prompt": 5}}, "negative_prompt", "string"),
        (T2V, {"params": {"watermark": "no"}}, "watermark", "true or false"),
        (T2V, {"params": {"watermark": 1}}, "watermark", "true or false"),
        ("wan2.6-t2v", {"params": {"shot_type": "none"}}, "shot_type", "single or multi"),
        ("wan2.6-t2v", {"params": {"audio_url": "file:///a.mp3"}}, "audio_url", "http"),
        (R2V, {"kind": "ref2v", "inputs": pictures("image"), "params": {"reference_video_urls": []}},
         "reference_video_urls", "1 to 5"),
        (R2V, {"kind": "ref2v", "inputs": pictures("image"), "params": {"reference_video_urls": [CLIP] * 5}},
         "reference_video_urls", "images included"),
        (T2V, {"kind": "i2v", "inputs": pictures("image")}, "model", "t2v"),
        ("wan2.6-i2v", {}, "model", "i2v"),
        ("wan2.6-t2i", {}, "model", "videos"),
        ("qwen-plus", {}, "model", "videos"),
        (I2V, {"kind": "i2v"}, "images", "takes 1 image"),
        (I2V, {"kind": "i2v", "inputs": pictures("last_frame")}, "images", "takes first_frame"),
        (I2V, {"kind": "flf2v", "inputs": pictures("first_frame")}, "images", "takes 2 images"),
        (T2V, {"inputs": pictures("image")}, "images", "takes 0 images"),
        (R2V, {"kind": "ref2v"}, "images", "1 to 5"),
        (R2V, {"kind": "ref2v", "inputs": pictures(*["reference"] * 6)}, "images", "1 to 5"),
        (R2V, {"kind": "ref2v", "inputs": pictures("first_frame")}, "images", "reference"),
        (R2V, {"kind": "ref2v", "inputs": pictures("first_frame", "first_frame", "image")}, "images", "one of them"),
        ("wan2.6-r2v", {"kind": "ref2v", "inputs": pictures("first_frame", "image")}, "images", "reference"),
        (R2V, {"kind": "ref2v", "inputs": pictures("mask")}, "images", "reference"),
    ],
)  # fmt: skip
async def test_what_a_model_cannot_do_is_not_sent(
    house: House, model: str, fields: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.submit(model, **fields)
    assert (caught.value.param, told in caught.value.message) == (param, True), caught.value.message
    assert house.site.requests == []


@pytest.mark.parametrize("model", sorted(name for name in models.LISTED if isinstance(models.facts(name), models.Film)))
async def test_whatever_a_card_promises_is_taken(house: House, model: str) -> None:
    facts = models.facts(model)
    assert isinstance(facts, models.Film)
    for kind in facts.kinds:
        for seconds in facts.seconds:
            await house.submit(model, kind=kind, inputs=images_for(kind), seconds=float(seconds))
        for line in facts.lines:
            sizes = [Size("16:9")] if facts.shape == "line" else [Size(ratio) for ratio in models.SIZES[line]]
            for size in sizes:
                await house.submit(model, kind=kind, inputs=images_for(kind), size=size, params={"resolution": line})
    assert {create.body["model"] for create in house.site.creates} == {model}


async def test_a_workspace_goes_with_every_call(house: House) -> None:
    house.site.workspaces = {house.site.accounts[KEY]: "ws-1"}
    options = type(house.account.options)(workspace="ws-1")
    within = replace(house, account=replace(house.account, options=options))
    job = await within.submit()
    assert (await within.poll(job)).state == "queued"
    assert await within.upstream.cancel(job, within.account) is True
    await within.upstream.probe(within.account)
    assert await within.say()
    with pytest.raises(errors.ModelNotEnabled):
        await house.submit()


@pytest.mark.parametrize("suffix", ["", "/api/v1", "/compatible-mode/v1"])
async def test_a_base_url_may_have_one_of_the_vendor_s_paths(house: House, suffix: str) -> None:
    house = replace(house, account=replace(house.account, base_url=house.account.base_url + suffix))
    await house.submit()
    assert await house.say()
    assert len(house.site.creates) == 1


# --- how a task stands ---


async def test_a_task_waits_runs_and_is_done(house: House) -> None:
    job = await house.submit(seconds=7)
    seen = []
    for _ in range(3):
        seen.append(await house.poll(job))
        house.clock.now += 30
    assert [(told.state, told.native) for told in seen] == [
        ("queued", "PENDING"),
        ("running", "RUNNING"),
        ("succeeded", "SUCCEEDED"),
    ]
    done = seen[2]
    assert done.usage is not None
    assert done.usage.seconds == 7.0
    [film] = done.media
    assert (film.family, film.seconds) == ("video", 7.0)
    assert job.id.encode() in await house.download(film)


@pytest.mark.parametrize(
    ("plan", "state"),
    [
        (Plan(ends="FAILED"), "failed"),
        (Plan(ends="CANCELED"), "cancelled"),
        (Plan(running=500, word="SUSPENDED"), "running"),
        (Plan(running=500, word="POLISHING"), "running"),
        (Plan(result="none"), "succeeded"),
    ],
)
async def test_every_word_of_the_vendor_s_has_one_of_ours(house: House, plan: Plan, state: str) -> None:
    house.site.plan = plan
    job = await house.submit()
    house.clock.now += 100
    told = await house.poll(job)
    assert (told.state, told.media) == (state, ())


@pytest.mark.parametrize("lost", ["unknown", "forgotten", "old", "another's"])
async def test_a_task_that_the_vendor_does_not_know_is_lost(house: House, lost: str) -> None:
    job = await house.submit()
    if lost == "unknown":
        job = Job("no-such-task")
    elif lost == "forgotten":
        house.site.forget(job.id)
    elif lost == "old":
        house.clock.now += 86_401
    else:
        house = replace(house, account=replace(house.account, credential=OTHER))
    with pytest.raises(errors.JobLost):
        await house.poll(job)
    with pytest.raises(errors.JobLost):
        await house.upstream.cancel(job, house.account)
    assert house.site.cancels == []


@pytest.mark.parametrize("name", ["a?page_size=1#x", "a b%2e", "../tasks/b"])
async def test_a_strange_id_stays_one_piece_of_the_path(house: House, name: str) -> None:
    with pytest.raises((errors.JobLost, errors.UpstreamFailed)):
        await house.poll(Job(name))
    assert house.site.lists == []
    assert all(asked == name for asked in house.site.polls)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Raw(200, b'{"output": {}}', "application/json"), errors.UpstreamGarbled),
        (Raw(200, b'{"output": {"task_status": 5}}', "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"\xff\xfe", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b'{"output": {"task_', "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"<html>hello</html>"), errors.UpstreamGarbled),
        (Raw(200, HTML), errors.Challenged),
        (Raw(403, HTML), errors.Challenged),
        (Raw(404, b"<html>no such page</html>"), errors.UpstreamFailed),
        (Raw(502), errors.UpstreamFailed),
        (Raw(504), errors.UpstreamTimeout),
        (Cut(), errors.UpstreamFailed),
        (Refusal("InternalError"), errors.UpstreamFailed),
        (Refusal("Throttling.RateQuota"), errors.RateLimited),
        (Refusal("InvalidApiKey"), errors.CredentialRejected),
        (Refusal("TaskNotFound", "no such task", status=404), errors.JobLost),
        (Refusal("Throttling", status=200), errors.RateLimited),
    ],
)
async def test_a_poll_that_failed_says_so(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    job = await house.submit()
    house.site.fail("get", *again(fault))
    with pytest.raises(errors.GatewayError) as caught:
        await house.poll(job)
    assert type(caught.value) is kind
    assert (await house.poll(job)).state == "queued"


# --- cancelling ---


@pytest.mark.parametrize(
    ("plan", "seconds", "stopped", "asked"),
    [
        (Plan(), 0, True, 1),
        (Plan(), 30, False, 0),
        (Plan(), 100, False, 0),
        (Plan(ends="FAILED"), 100, False, 0),
        (Plan(word="SUSPENDED"), 30, False, 0),
        (Plan(ends="CANCELED"), 100, True, 0),
    ],
)
async def test_only_what_waits_is_stopped(house: House, plan: Plan, seconds: float, stopped: bool, asked: int) -> None:
    house.site.plan = plan
    job = await house.submit()
    house.clock.now += seconds
    assert await house.upstream.cancel(job, house.account) is stopped
    assert len(house.site.cancels) == asked
    if asked:
        assert (await house.poll(job)).state == "cancelled"
        assert await house.upstream.cancel(job, house.account) is True, "asked again, it still is"
        assert len(house.site.cancels) == 1


@pytest.mark.parametrize("refusal", [Refusal("UnsupportedOperation"), Refusal("InvalidParameter")])
async def test_a_task_that_began_in_between_is_not_stopped(house: House, refusal: Refusal) -> None:
    job = await house.submit()
    house.site.fail("cancel", refusal)
    assert await house.upstream.cancel(job, house.account) is False


async def test_a_task_that_was_stopped_in_between_is(house: House) -> None:
    job = await house.submit()
    house.site.fail("cancel", Cut(done=True))
    with pytest.raises(errors.UpstreamFailed):
        await house.upstream.cancel(job, house.account)
    assert await house.upstream.cancel(job, house.account) is True
    assert house.site.cancels == [job.id]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refusal("InternalError"), errors.UpstreamFailed),
        (Refusal("Throttling"), errors.RateLimited),
        (Refusal("InvalidApiKey"), errors.CredentialRejected),
        (Raw(502), errors.UpstreamFailed),
    ],
)
async def test_a_cancel_that_failed_says_so(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    job = await house.submit()
    house.site.fail("cancel", fault)
    with pytest.raises(kind):
        await house.upstream.cancel(job, house.account)


# --- a create that was not answered ---


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        (Cut(done=True), 1),
        (Cut(), 0),
        (Raw(502), 0),
        (Refusal("InternalError"), 0),
        (Refusal("InternalError.Timeout"), 0),
        (Refusal("ServiceUnavailable"), 0),
        (Refusal("RequestTimeOut", status=408), 0),
        (Raw(200, b"<html>hello</html>"), 0),
        (Raw(200, b"{}", "application/json"), 0),
        (Raw(200, b'{"output": {"task_id": ""}}', "application/json"), 0),
        (Raw(200, b'{"output": {"task_id": "a-', "application/json"), 0),
        (Raw(200, b"{}", "application/json", {"Content-Encoding": "gzip"}), 0),
        (Raw(408, b"<html>timeout</html>"), 0),
        (Raw(500, b'{"code": "Whatever"}', "application/json"), 0),
    ],
)
async def test_a_create_without_a_good_answer_leaves_it_open_whether_there_is_a_task(
    house: House, fault: Any, made: int
) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.UpstreamError) as caught:
        await house.submit()
    assert (caught.value.sent, len(house.site.tasks)) == ("unknown", made)
    assert len(house.site.seen("create")) == 1, "and is not sent again"


@pytest.mark.parametrize(
    "fault",
    [
        Refusal("InvalidParameter"),
        Refusal("Throttling"),
        Refusal("InvalidApiKey"),
        Refusal("Arrearage"),
        Refusal("ModelUnavailable", status=429),
        Refusal("Throttling", status=200),
        Refusal("DataInspectionFailed", status=200),
        Raw(301, b"<html>elsewhere</html>"),
        Raw(404, b"<html>elsewhere</html>"),
        Raw(405, b"<html>elsewhere</html>"),
    ],
)
async def test_a_create_that_was_refused_made_nothing(house: House, fault: Any) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert (caught.value.sent, house.site.tasks) == ("no", {})


async def test_a_create_that_takes_too_long_leaves_it_open(house: House) -> None:
    house.upstream.http.timeouts = Timeouts(idle=0.1)
    house.site.fail("create", Slow(0.3))
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await house.submit()
    assert caught.value.sent == "unknown"


async def test_an_upstream_that_cannot_be_reached_made_nothing(house: House) -> None:
    house = replace(house, account=replace(house.account, base_url="http://127.0.0.1:1"))
    with pytest.raises(errors.UpstreamUnreachable) as caught:
        await house.submit()
    assert caught.value.sent == "no"


async def lost(house: House, request: VideoRequest) -> str:
    """The id of a task whose create was never answered."""
    house.site.lose_create_replies = 1
    with pytest.raises(errors.UpstreamFailed) as caught:
        await house.upstream.submit(house.fitted(request), house.account)
    assert caught.value.sent == "unknown"
    return house.site.creates[-1].id


KITE = VideoRequest(T2V, "a kite", seconds=6)


async def test_a_lost_task_is_found_by_its_prompt_once_it_has_succeeded(house: House) -> None:
    since = house.clock.now
    name = await lost(house, KITE)
    assert await house.find(KITE, since) is None
    house.clock.now += 30
    assert await house.find(KITE, since) is None
    house.clock.now += 60
    assert await house.find(KITE, since) == Job(name)
    assert house.site.lists[-1] == {
        "start_time": "20260921221220",
        "model_name": T2V,
        "page_no": "1",
        "page_size": "50",
    }
    assert len(house.site.tasks) == 1


@pytest.mark.parametrize(
    "other",
    [
        VideoRequest(T2V, "a kit", seconds=6),
        VideoRequest(T2V, "a kite", seconds=5),
        VideoRequest("wan2.6-t2v", "a kite", seconds=5),
    ],
)
async def test_another_s_task_is_not_taken(house: House, other: VideoRequest) -> None:
    since = house.clock.now
    await lost(house, other)
    house.clock.now += 100
    assert await house.find(KITE, since) is None


async def test_a_task_of_another_time_or_account_is_not_taken(house: House) -> None:
    await lost(house, KITE)
    house.clock.now += 61
    since = house.clock.now
    house.clock.now += 100
    assert await house.find(KITE, since) is None, "made before"
    house.clock.now += 100
    name = await lost(house, KITE)
    house.clock.now += 100
    assert await house.find(KITE, since) is None, "made long after"
    assert await house.find(KITE, since + 100) == Job(name)
    elsewhere = replace(house, account=replace(house.account, credential=OTHER))
    assert await elsewhere.find(KITE, since + 100) is None


async def test_a_lost_task_of_another_length_than_was_asked_is_found_where_that_length_is_not_made(
    house: House,
) -> None:
    since, asked = house.clock.now, VideoRequest("wan2.6-t2v", "a kite", seconds=7)
    name = await lost(house, house.fitted(asked, "nearest"))
    house.clock.now += 100
    assert house.site.creates[-1].body["parameters"]["duration"] == 5
    assert await house.find(asked, since) == Job(name)
    assert await house.find(VideoRequest("wan2.6-t2v", "a kite", seconds=10), since) is None


async def test_of_two_that_fit_neither_is_taken(house: House) -> None:
    since = house.clock.now
    await lost(house, KITE)
    await lost(house, KITE)
    house.clock.now += 100
    assert await house.find(KITE, since) is None


async def test_what_says_nothing_is_not_looked_for(house: House) -> None:
    assert await house.find(VideoRequest(I2V, " ", kind="i2v", inputs=pictures("image"))) is None
    assert house.site.lists == []


async def test_a_task_that_went_while_it_was_looked_at_hides_no_other(house: House) -> None:
    since = house.clock.now
    name = await lost(house, KITE)
    await lost(house, VideoRequest(T2V, "a hill"))
    house.clock.now += 100
    unknown = Raw(200, b'{"output": {"task_id": "x", "task_status": "UNKNOWN"}}', "application/json")
    house.site.fail("get", unknown)
    found = await house.find(KITE, since)
    assert found in (None, Job(name))
    assert await house.find(KITE, since) == Job(name)


async def test_a_search_that_failed_says_so(house: House) -> None:
    house.site.fail("list", Refusal("Throttling"))
    with pytest.raises(errors.RateLimited):
        await house.find(KITE)


@pytest.mark.parametrize(
    ("told", "when"),
    [
        ("2026-11-20 12:00:00.250", 1_795_147_200.25),
        ("2026-11-20 00:30:00", 1_795_105_800),
        ("2026-11-20 23:59:59.999", 1_795_190_399.999),
        ("20.11.2026", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_beijing_s(told: str | None, when: float | None) -> None:
    assert records.Output(submit_time=told).submitted == when


def test_a_list_may_be_told_in_two_ways() -> None:
    rows = b'[{"task_id": "a", "status": "SUCCEEDED"}, {"task_id": "b", "task_status": "RUNNING"}]'
    for name in (b"tasks", b"data"):
        page = records.msgspec.json.decode(b'{"%s": %s}' % (name, rows), type=records.Page)
        assert page.succeeded() == ["a"]


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        ({"duration": 5}, 5.0),
        ({"output_video_duration": 7.5, "duration": 12, "input_video_duration": 4.5}, 7.5),
        ({"video_duration": 5}, 5.0),
        ({"duration": "5"}, 0.0),
        ({"duration": True}, 0.0),
        ({}, 0.0),
        (None, 0.0),
    ],
)
def test_a_film_s_length_has_many_names(usage: Any, seconds: float) -> None:
    assert records.seconds(usage) == seconds
