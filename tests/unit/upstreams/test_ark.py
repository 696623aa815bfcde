"""The provider against its emulator, on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gateway import errors
from gateway.catalog.allowed import size_text
from gateway.http import Outbound, Timeouts
from gateway.types import ImageRequest, Input, Job, Kind, Size, VideoRequest
from gateway.upstreams import ark as chapters
from gateway.upstreams.ark import Ark, payload, records
from gateway.upstreams.ark.films import MODELS
from gateway.upstreams.ark.names import FILM_KINDS, STILL_KINDS
from gateway.upstreams.base import Options
from tests.emulators.ark import (
    FAST,
    FIFTH,
    FOUR_FIVE,
    FREE_TRIAL,
    KEY,
    LITE,
    PRO,
    SECOND,
    SECOND_FAST,
    SOUND,
    Cut,
    Plan,
    Raw,
    Refusal,
    Slow,
)
from tests.emulators.ark.faults import PLAN
from tests.unit.upstreams.ark_rig import (
    EXPIRY,
    HTML,
    MARK,
    OTHER,
    PICTURE,
    House,
    again,
    asking,
    fitting,
    images_for,
    living,
    made,
    no_secret_in,
    pictures,
    told,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


# --- what is sent ---


async def test_a_video_from_words(house: House) -> None:
    job = await house.submit(size=Size("16:9", 1280, 720), seconds=5.0)
    assert house.sent == {
        "model": PRO,
        "content": [{"type": "text", "text": "waves at dusk"}],
        "watermark": False,
        "resolution": "720p",
        "ratio": "16:9",
        "duration": 5,
        "seed": MARK,
        "execution_expires_after": EXPIRY,
    }
    assert type(house.sent["duration"]) is int
    assert (job.id, job.cursor) == (house.site.creates[0].id, {})
    assert house.site.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("model", "kind", "roles", "told"),
    [
        (PRO, "i2v", ["first_frame"], ["first_frame"]),
        (PRO, "i2v", ["image"], ["first_frame"]),
        (PRO, "flf2v", ["first_frame", "last_frame"], ["first_frame", "last_frame"]),
        (PRO, "flf2v", ["last_frame", "first_frame"], ["last_frame", "first_frame"]),
        (PRO, "flf2v", ["image", "image"], ["first_frame", "last_frame"]),
        (SECOND, "ref2v", ["reference", "image", "reference"], ["reference_image"] * 3),
    ],
)
async def test_images_come_with_their_roles(
    house: House, model: str, kind: Kind, roles: list[str], told: list[str]
) -> None:
    await house.submit(model, kind=kind, inputs=pictures(*roles))
    words, *shown = house.sent["content"]
    assert words["type"] == "text"
    assert [part["role"] for part in shown] == told
    assert all(part["image_url"] == {"url": PICTURE} for part in shown)
    assert house.sent.get("ratio") == (None if kind == "ref2v" else "adaptive")


async def test_an_image_needs_no_words(house: House) -> None:
    await house.submit(prompt=" ", kind="i2v", inputs=pictures("first_frame"))
    assert [part["type"] for part in house.sent["content"]] == ["image_url"]


@pytest.mark.parametrize(
    ("model", "size", "resolution", "ratio", "out"),
    [
        (PRO, Size("16:9", 1280, 720), "720p", "16:9", "1280x720"),
        (PRO, Size("9:5", 864, 480), "480p", "16:9", "854x480"),
        (PRO, Size("9:16", 1080, 1920), "1080p", "9:16", "1080x1920"),
        (PRO, Size("7:4", 1792, 1024), "1080p", "16:9", "1920x1080"),
        (PRO, Size("16:9", 128, 72), "480p", "16:9", "854x480"),
        (PRO, Size("1:1", 720, 720), "720p", "1:1", "720x720"),
        (PRO, Size("16:9", 3840, 2160), "1080p", "16:9", "1920x1080"),
        (SECOND, Size("16:9", 3840, 2160), "4k", "16:9", "3840x2160"),
        (SECOND_FAST, Size("16:9", 1920, 1080), "720p", "16:9", "1280x720"),
        (PRO, Size("4:3"), "1080p", "4:3", "4:3"),
        (SOUND, Size("7:3"), "720p", "21:9", "7:3"),
    ],
)
async def test_a_size_becomes_resolution_and_ratio_and_what_comes_out_is_told(
    house: House, model: str, size: Size, resolution: str, ratio: str, out: str
) -> None:
    await house.submit(model, size=size)
    assert (house.sent["resolution"], house.sent["ratio"]) == (resolution, ratio)
    fitted = fitting(asking(model, size=size))
    assert size_text(made(fitted, VideoRequest).size or Size("")) == out
    asked = size_text(size)
    assert told(fitted) == ({} if out == asked else {"size": (asked, out)})


@pytest.mark.parametrize(
    ("model", "fields", "wanted", "changed"),
    [
        (PRO, {"params": {"resolution": "480P"}}, {"resolution": "480p"}, {}),
        (
            PRO,
            {"params": {"resolution": "480p"}, "size": Size("16:9", 1280, 720)},
            {"resolution": "480p"},
            {"size": ("1280x720", "854x480")},
        ),
        (PRO, {"params": {"ratio": "1:1"}, "size": Size("16:9")}, {"ratio": "1:1"}, {"size": ("16:9", "1:1")}),
        (PRO, {"params": {"frames": 53}, "seconds": 5.0}, {"frames": 53}, {"seconds": (5.0, 53 / 24)}),
        (SOUND, {"params": {"draft": True}}, {"resolution": "480p"}, {}),
        (
            SOUND,
            {"params": {"draft": True}, "size": Size("1:1", 720, 720)},
            {"resolution": "480p"},
            {"size": ("720x720", "480x480")},
        ),
        (PRO, {"params": {"generate_audio": True}}, {}, {"generate_audio": (True, False)}),
        (
            FIFTH,
            {"kind": "i2v", "inputs": pictures("image"), "size": Size("16:9", 1280, 720)},
            {"ratio": "adaptive", "resolution": "720p"},
            {"size": ("1280x720", None)},
        ),
        (LITE, {"kind": "ref2v", "inputs": pictures("reference"), "size": Size("16:9", 1920, 1080)},
         {"resolution": "720p"}, {"size": ("1920x1080", "1280x720")}),
    ],
)  # fmt: skip
async def test_where_values_clash_one_wins_and_it_is_told(
    house: House, model: str, fields: dict[str, Any], wanted: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert told(fitting(asking(model, **fields))) == changed
    await house.submit(model, **fields)
    assert house.sent | wanted == house.sent


async def test_what_nobody_asked_for_is_filled_in_and_told_as_no_change(house: House) -> None:
    fitted = fitting(asking(SOUND))
    request = made(fitted, VideoRequest)
    assert (request.seconds, request.size, fitted.adjustments) == (5.0, None, ())
    assert request.params == {"watermark": False, "generate_audio": False, "resolution": "720p"}
    assert fitting(request).request == request
    await house.submit(SOUND)
    assert "ratio" not in house.sent, "the vendor chooses it"


@pytest.mark.parametrize("model", [*sorted(MODELS), "seedance-9-9", "ep-20261121-abcde"])
def test_what_was_fitted_once_stays_as_it_is(model: str) -> None:
    kinds = MODELS[model].kinds if model in MODELS else FILM_KINDS
    sizes = [None, Size("9:16"), Size("16:9", 1921, 1081), Size("1:1", 4096, 4096)]
    for kind in kinds:
        for size in sizes:
            once = made(fitting(asking(model, kind=kind, inputs=images_for(kind), size=size)), VideoRequest)
            assert fitting(once).request == once
            assert fitting(once).adjustments == ()


@pytest.mark.parametrize(("model", "silent"), [(PRO, None), (FAST, None), (SOUND, False), (SECOND, False)])
async def test_there_is_no_sound_unless_asked_for(house: House, model: str, silent: bool | None) -> None:
    await house.submit(model)
    assert house.sent.get("generate_audio") is silent
    if silent is False:
        await house.submit(model, params={"generate_audio": True})
        assert house.sent["generate_audio"] is True


async def test_the_length_is_always_told(house: House) -> None:
    await house.submit(FIFTH)
    assert house.sent["duration"] == 5
    await house.submit(seconds=7.0)
    assert (house.sent["duration"], type(house.sent["duration"])) == (7, int)
    await house.submit(params={"frames": 29}, seconds=5)
    assert (house.sent["frames"], "duration" in house.sent) == (29, False)


async def test_the_vendor_s_own_parameters_pass(house: House) -> None:
    own = {
        "resolution": "480p",
        "ratio": "1:1",
        "watermark": True,
        "generate_audio": True,
        "return_last_frame": True,
        "service_tier": "default",
        "execution_expires_after": 7200,
        "priority": 3,
        "safety_identifier": "somebody",
        "output_format": "mp4",
        "tools": [{"type": "web_search"}],
    }
    await house.submit(SECOND, params=own, seconds=6)
    assert house.sent == own | {"model": SECOND, "content": house.sent["content"], "seed": MARK, "duration": 6}
    await house.submit(SOUND, params={"camera_fixed": True, "draft": True, "resolution": "480p"})
    assert (house.sent["camera_fixed"], house.sent["draft"]) == (True, True)


@pytest.mark.parametrize("model", [SECOND, "ep-20261121-abcde"])
async def test_others_are_refused_or_told_as_left_out(house: House, model: str) -> None:
    house.site.endpoints["ep-20261121-abcde"] = SECOND
    others = {"callback_url": "https://example.com", "omni_reference_task_type": "auto"}
    fitted = fitting(asking(model, params=others), policy="drop")
    assert told(fitted) == {name: (value, None) for name, value in others.items()}
    if model == SECOND:
        with pytest.raises(errors.Unsupported):
            await house.submit(model, params=others)
        return
    await house.submit(model, params=others)
    assert not set(others) & set(house.sent)


@pytest.mark.parametrize(
    ("fields", "seed", "expiry"),
    [
        ({}, MARK, EXPIRY),
        ({"seed": 7}, 7, EXPIRY),
        ({"seed": 0}, 0, EXPIRY),
        ({"seed": -1}, MARK, EXPIRY),
        ({"mark": 0}, None, None),
        ({"mark": 0, "seed": 7}, 7, None),
        ({"mark": 2**31 - 1}, 2**31 - 1, 3600 + (2**31 - 1) % 82_800),
        ({"params": {"execution_expires_after": 7200}}, MARK, 7200),
        ({"params": {"execution_expires_after": 7200.0}}, MARK, 7200),
        ({"params": {"service_tier": "flex"}}, MARK, None),
    ],
)
async def test_a_create_carries_the_task_s_mark(
    house: House, fields: dict[str, Any], seed: int | None, expiry: int | None
) -> None:
    await house.submit(**fields)
    assert (house.sent.get("seed"), house.sent.get("execution_expires_after")) == (seed, expiry)


@pytest.mark.parametrize(
    ("model", "fields", "param", "told"),
    [
        (PRO, {"seconds": 13.0}, "seconds", "2 to 12"),
        (PRO, {"seconds": 5.5}, "seconds", "whole"),
        (SOUND, {"seconds": 3.0}, "seconds", "4 to 12"),
        (SECOND, {"seconds": 16.0}, "seconds", "4 to 15"),
        ("ep-20261121-abcde", {"seconds": 5.5}, "seconds", "whole"),
        ("ep-20261121-abcde", {"seed": 2**32}, "seed", "4294967295"),
        (SECOND_FAST, {"params": {"resolution": "1080p"}}, "resolution", "480p or 720p"),
        (PRO, {"params": {"resolution": ["720p"]}}, "resolution", "480p, 720p or 1080p"),
        (SOUND, {"params": {"resolution": "720p", "draft": True}}, "resolution", "480p"),
        (PRO, {"size": Size("5:4")}, "size", "4:3"),
        ("seedance-9-9", {"size": Size("5:4")}, "size", "4:3"),
        (PRO, {"size": Size("3:2", 1536, 1024)}, "size", "4:3"),
        (PRO, {"seed": 2**32}, "seed", "from -1 to"),
        (PRO, {"params": {"ratio": "adaptive"}}, "ratio", "image"),
        (PRO, {"params": {"frames": 30}}, "frames", "29, 33"),
        (SOUND, {"params": {"frames": 29}}, "frames", "has no 'frames'"),
        (SECOND, {"params": {"camera_fixed": True}}, "camera_fixed", "has no"),
        (SECOND, {"params": {"service_tier": "flex"}}, "service_tier", "default"),
        (PRO, {"params": {"execution_expires_after": 60}}, "execution_expires_after", "3600"),
        (PRO, {"params": {"execution_expires_after": "2 h"}}, "execution_expires_after", "3600"),
        (PRO, {"kind": "i2v"}, "images", "takes 1 image"),
        (PRO, {"kind": "i2v", "inputs": pictures("last_frame")}, "images", "first_frame"),
        (PRO, {"kind": "flf2v", "inputs": pictures("first_frame")}, "images", "takes 2 images"),
        (PRO, {"kind": "t2v", "inputs": pictures("image")}, "images", "takes 0 images"),
        ("seedance-9-9", {"kind": "t2v", "inputs": pictures("image")}, "images", "no image"),
        (SECOND, {"kind": "flf2v", "inputs": pictures("first_frame", "reference")}, "images", "last_frame"),
        (SECOND, {"kind": "ref2v", "inputs": pictures("reference", "first_frame")}, "images", "1 to 9"),
        (SECOND, {"kind": "ref2v", "inputs": pictures(*["reference"] * 10)}, "images", "1 to 9"),
        (LITE, {"kind": "ref2v", "inputs": pictures(*["reference"] * 5)}, "images", "1 to 4"),
        (LITE, {"kind": "ref2v"}, "images", "1 to 4"),
        (
            LITE,
            {"kind": "ref2v", "inputs": pictures("reference"), "params": {"resolution": "1080p"}},
            "resolution",
            "480p or 720p",
        ),
        (SECOND, {"kind": "ref2v", "inputs": pictures("mask")}, "images", "reference"),
        (PRO, {"kind": "i2v", "inputs": (Input(PICTURE, mime="image/avif"),)}, "images", "not image/avif"),
        (PRO, {"kind": "i2v", "inputs": (Input(PICTURE, size=31 * 2**20),)}, "images", "30 MB"),
    ],
)
async def test_what_a_model_cannot_do_is_not_sent(
    house: House, model: str, fields: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await house.submit(model, **fields)
    assert (caught.value.param, told in caught.value.message) == (param, True), caught.value.message
    assert house.site.requests == []


async def test_more_images_than_a_body_holds_are_not_sent(house: House) -> None:
    large = Input("data:image/png;base64," + "A" * (33 * 2**20), role="reference")
    with pytest.raises(errors.TooLarge):
        await house.submit(SECOND, kind="ref2v", inputs=(large, large))
    assert house.site.requests == []


@pytest.mark.parametrize("model", sorted(MODELS))
async def test_whatever_a_card_promises_is_taken(house: House, model: str) -> None:
    facts = MODELS[model]
    for kind in facts.kinds:
        for line in (kind == "ref2v" and facts.referred) or facts.resolutions:
            for seconds in (facts.shortest, facts.longest):
                fields = {"params": {"resolution": line}, "seconds": float(seconds), "inputs": images_for(kind)}
                await house.submit(model, kind=kind, **fields)
    assert {create.body["model"] for create in house.site.creates} == {model}


async def test_a_model_that_is_not_known_is_left_to_the_vendor(house: House) -> None:
    house.site.endpoints["ep-20261121-abcde"] = SECOND
    await house.submit("ep-20261121-abcde", seconds=15, size=Size("16:9", 3840, 2160))
    assert (house.sent["resolution"], house.sent["generate_audio"], house.sent["ratio"]) == ("4k", False, "16:9")
    await house.submit("ep-20261121-abcde")
    assert ("resolution" in house.sent, "ratio" in house.sent) == (False, False)
    with pytest.raises(errors.UpstreamRefusedParameter) as caught:
        await house.submit("ep-20261121-abcde", seconds=16)
    assert (caught.value.param, caught.value.sent) == ("duration", "no")
    assert len(house.site.creates) == 2


@pytest.mark.parametrize("wrong", [["a"], {"a": 1}, 7, "nonsense", True])
def test_nonsense_for_a_model_that_is_not_known_is_the_vendor_s_to_refuse(wrong: Any) -> None:
    own = dict.fromkeys(("ratio", "resolution", "frames", "generate_audio", "execution_expires_after"), wrong)
    request = asking("seedance-9-9", size=Size("16:9"), params=own)
    sent = payload.body(made(fitting(request), VideoRequest))
    assert (sent["frames"], sent["generate_audio"]) == (wrong, wrong)
    for resolution in (wrong, "2K"):
        still = ImageRequest("seedream-9-0", "a cat", params={"resolution": resolution}, size=Size("1:1"))
        if resolution == "2K":
            assert fitting(still).adjustments == ()
        else:
            with pytest.raises(errors.Unsupported):
                fitting(still)


# --- how a job stands ---


async def test_a_job_waits_runs_and_is_done(house: House) -> None:
    job = await house.submit(seconds=5)
    seen = []
    for _ in range(3):
        seen.append(await house.poll(job))
        house.clock.now += 30
    assert [(told.state, told.native) for told in seen] == [
        ("queued", "queued"),
        ("running", "running"),
        ("succeeded", "succeeded"),
    ]
    done = seen[2]
    assert done.usage is not None
    assert (done.usage.output_tokens, done.usage.seconds) == (5000, 5.0)
    [media] = done.media
    assert (media.family, media.seconds) == ("video", 5.0)
    assert media.url is not None
    answer = await house.ark.http.download(media.url, trusted=house.account.base_url)
    assert job.id.encode() in await answer.read()


async def test_the_last_frame_comes_where_it_was_asked_for(house: House) -> None:
    job = await house.submit(params={"return_last_frame": True})
    house.clock.now += 100
    assert job.cursor == {"last_frame": True}
    assert [media.family for media in (await house.poll(job)).media] == ["video", "image"]
    assert [media.family for media in (await house.poll(Job(job.id))).media] == ["video"]


async def test_a_length_in_frames_is_told_in_seconds(house: House) -> None:
    job = await house.submit(params={"frames": 49})
    house.clock.now += 100
    assert (await house.poll(job)).media[0].seconds == pytest.approx(49 / 24)


@pytest.mark.parametrize(
    ("plan", "state"),
    [
        (Plan(ends="failed"), "failed"),
        (Plan(ends="expired"), "expired"),
        (Plan(ends="cancelled"), "cancelled"),
        (Plan(running=500, word="polishing"), "running"),
        (Plan(running=500, word=""), "running"),
        (Plan(result="none"), "succeeded"),
    ],
)
async def test_every_word_of_the_vendor_s_has_one_of_ours(house: House, plan: Plan, state: str) -> None:
    house.site.plan = plan
    job = await house.submit()
    house.clock.now += 100
    told = await house.poll(job)
    assert told.state == state
    assert told.media == ()
    assert isinstance(told.error, errors.TaskExpired) is (state == "expired")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("OutputVideoSensitiveContentDetected", errors.ContentRefused),
        ("OutputVideoSensitiveContentDetected.PolicyViolation", errors.ContentRefused),
        ("InputImageSensitiveContentDetected.PrivacyInformation", errors.ContentRefused),
        ("InvalidParameter.TaskTypeConstraint", errors.UpstreamRefusedParameter),
        ("InternalServiceError", errors.GenerationFailed),
        ("ServerOverloaded", errors.GenerationFailed),
        ("AccountOverdueError", errors.BalanceExhausted),
        ("NeverSeen", errors.GenerationFailed),
        ("", errors.GenerationFailed),
    ],
)
async def test_a_failed_job_says_why(house: House, code: str, kind: type[errors.GatewayError]) -> None:
    house.site.plan = Plan(ends="failed", error=(code, f"it did not work with {KEY}"))
    job = await house.submit()
    house.clock.now += 100
    error = (await house.poll(job)).error
    assert type(error) is kind
    assert code.lower() in (error.detail or "")
    no_secret_in(error)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Raw(200, b'{"id": 5}', "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"\xff\xfe", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"<html>hello</html>"), errors.UpstreamGarbled),
        (Raw(200, HTML), errors.Challenged),
        (Raw(403, HTML), errors.Challenged),
        (Raw(404, b"<html>no such page</html>"), errors.UpstreamFailed),
        (Raw(502), errors.UpstreamFailed),
        (Raw(504), errors.UpstreamTimeout),
        (Cut(), errors.UpstreamFailed),
        (Refusal("InternalServiceError"), errors.UpstreamFailed),
        (Refusal("APIAccountRpmRateLimitExceeded"), errors.RateLimited),
        (Refusal("AuthenticationError"), errors.CredentialRejected),
    ],
)
async def test_a_poll_that_failed_says_so(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    job = await house.submit()
    house.site.fail("get", *again(fault))
    with pytest.raises(kind):
        await house.poll(job)
    assert (await house.poll(job)).state == "queued"


async def test_a_job_that_is_forgotten_is_lost(house: House) -> None:
    job = await house.submit()
    house.site.forget(job.id)
    with pytest.raises(errors.JobLost):
        await house.poll(job)


async def test_a_strange_id_stays_one_piece_of_the_path(house: House) -> None:
    for name in ("cgt-1?page_size=1#x", "cgt 1%2e"):
        with pytest.raises(errors.JobLost):
            await house.poll(Job(name))
        assert (house.site.polls[-1], house.site.requests[-1].query) == (name, ())
    with pytest.raises(errors.UpstreamFailed):
        await house.poll(Job("../tasks"))
    assert house.site.lists == []


# --- many in one call ---


async def test_one_list_tells_of_many_jobs(house: House) -> None:
    jobs = [await house.submit(prompt=str(number)) for number in range(30)]
    house.site.forget(jobs[3].id)
    house.clock.now += 30
    told = await house.ark.poll_many(jobs, house.account)
    assert set(told) == {job.id for job in jobs} - {jobs[3].id}
    assert {update.state for update in told.values()} == {"running"}
    assert (len(house.site.lists), house.site.polls) == (1, [])


async def test_the_most_that_one_list_is_asked_for_comes_back(house: House) -> None:
    jobs = [await house.submit() for _ in range(Ark.poll_batch)]
    assert len(await house.ark.poll_many(jobs, house.account)) == Ark.poll_batch


async def test_many_finished_jobs_are_told_with_what_they_made(house: House) -> None:
    house.site.plans.extend([Plan(), Plan(ends="failed"), Plan(result="none")])
    jobs = [await house.submit() for _ in range(3)]
    house.clock.now += 100
    told = await house.ark.poll_many(jobs, house.account)
    assert [told[job.id].state for job in jobs if job.id in told] == ["succeeded", "failed"]
    assert told[jobs[0].id].media[0].url
    assert jobs[2].id not in told, "one without a video is looked at by itself"


async def test_patient_jobs_are_in_a_list_of_their_own(house: House) -> None:
    patient = [await house.submit(params={"service_tier": "flex"}) for _ in range(2)]
    usual = await house.submit()
    assert set(await house.ark.poll_many(patient, house.account)) == {job.id for job in patient}
    assert set(await house.ark.poll_many([*patient, usual], house.account)) == {usual.id}


def test_a_record_that_cannot_be_read_hides_no_other() -> None:
    raw = b'{"items": [{"id": 5}, {"id": "cgt-1", "status": "running", "error": "null"}, 7], "total": 3}'
    page = chapters.msgspec.json.decode(raw, type=records.Page, strict=False)
    assert [record.id for record in page.records()] == ["cgt-1"]


async def test_a_list_that_failed_says_so(house: House) -> None:
    job = await house.submit()
    house.site.list_fault = Refusal("AccountRateLimitExceeded", headers={"Retry-After": "2"})
    with pytest.raises(errors.RateLimited) as caught:
        await house.ark.poll_many([job, job], house.account)
    assert caught.value.retry_after == 2


# --- a create that was not answered ---


async def lost(house: House, request: VideoRequest) -> str:
    """The id of a job whose create was never answered."""
    house.site.lose_create_replies = 1
    with pytest.raises(errors.UpstreamFailed) as caught:
        await house.ark.submit(request, house.account)
    assert caught.value.sent == "unknown"
    return house.site.creates[-1].id


@pytest.mark.parametrize(
    ("fault", "made"), [(Cut(done=True), 1), (Cut(), 0), (Raw(502), 0), (Refusal("InternalServiceError"), 0)]
)
async def test_a_create_without_an_answer_leaves_it_open_whether_there_is_a_job(
    house: House, fault: Any, made: int
) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.UpstreamError) as caught:
        await house.submit()
    assert (caught.value.sent, len(house.site.jobs)) == ("unknown", made)


@pytest.mark.parametrize(
    "fault",
    [
        Raw(200, b"<html>hello</html>"),
        Raw(200, b"{}", "application/json"),
        Raw(200, b'{"id": ""}', "application/json"),
        Raw(200, b'{"id": "cgt-', "application/json"),
        Raw(200, b'{"id": "cgt-1"}', "application/json", {"Content-Encoding": "gzip"}),
        Raw(408, b"<html>timeout</html>"),
        Refusal("RequestTimeout", status=408),
        Raw(500, b'{"error": {"code": "Whatever"}}', "application/json"),
    ],
)
async def test_an_answer_that_names_no_job_leaves_it_open_too(house: House, fault: Any) -> None:
    house.site.fail("create", fault)
    with pytest.raises(errors.UpstreamError) as caught:
        await house.submit()
    assert caught.value.sent == "unknown"


async def test_a_create_that_takes_too_long_leaves_it_open(house: House) -> None:
    house.ark.http.timeouts = Timeouts(idle=0.1)
    house.site.fail("create", Slow(0.3))
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await house.submit()
    assert caught.value.sent == "unknown"


async def test_an_upstream_that_cannot_be_reached_made_nothing(house: House) -> None:
    account = replace(house.account, base_url="http://127.0.0.1:1/api/v3")
    with pytest.raises(errors.UpstreamUnreachable) as caught:
        await house.ark.submit(asking(), account)
    assert caught.value.sent == "no"


async def test_a_create_is_not_sent_twice_over_a_kept_connection(house: House) -> None:
    await house.ark.probe(house.account)
    await lost(house, asking())
    assert len(house.site.jobs) == 1
    assert [seen.operation for seen in house.site.requests] == ["list", "create"]


@pytest.mark.parametrize("seconds", [0, 30, 100])
async def test_a_lost_job_is_found_by_the_task_s_own_marks_at_any_time(house: House, seconds: float) -> None:
    request = asking(params={"return_last_frame": True})
    since = house.clock.now
    name = await lost(house, request)
    house.clock.now += seconds
    assert await house.find(request, since) == Job(name, {"last_frame": True})
    assert (len(house.site.jobs), len(house.site.lists)) == (1, 1)


@pytest.mark.parametrize("model", [SECOND, SOUND, "doubao-seedance-2-0-260128"])
@pytest.mark.parametrize("seconds", [0, 100])
async def test_a_lost_job_of_a_model_with_seeds_of_its_own_is_found(house: House, model: str, seconds: float) -> None:
    request, since = asking(model), house.clock.now
    name = await lost(house, request)
    house.clock.now += seconds
    assert await house.find(request, since) == Job(name)


async def test_a_lost_job_with_the_caller_s_seed_is_found_by_its_expiry(house: House) -> None:
    request, other = asking(seed=7), asking(seed=7, mark=MARK + 1)
    since = house.clock.now
    name = await lost(house, request)
    await lost(house, other)
    for _ in range(2):
        assert await house.find(request, since) == Job(name)
        house.clock.now += 100


async def test_a_job_with_the_same_expiry_and_another_seed_is_another(house: House) -> None:
    since = house.clock.now
    await house.submit(seed=8)
    house.clock.now += 100
    assert await house.find(asking(seed=7), since) is None
    assert await house.find(asking(), since) is None


async def test_a_lost_patient_job_is_found_by_its_seed_once_it_is_told(house: House) -> None:
    request, since = asking(params={"service_tier": "flex"}), house.clock.now
    name = await lost(house, request)
    assert await house.find(request, since) is None
    house.clock.now += 100
    assert await house.find(request, since) == Job(name, {"flex": True})


async def test_of_two_that_fit_neither_is_taken(house: House) -> None:
    since = house.clock.now
    await lost(house, asking(seed=7))
    await lost(house, asking(seed=7))
    assert await house.find(asking(seed=7), since) is None


async def test_what_the_caller_chose_himself_proves_nothing(house: House) -> None:
    request = asking(seed=7, params={"execution_expires_after": 7200})
    await lost(house, request)
    assert await house.find(request) is None
    assert await house.find(asking(mark=0)) is None
    assert house.site.lists == []


async def test_nothing_is_found_where_nothing_was_made(house: House) -> None:
    house.site.drop_creates = 1
    with pytest.raises(errors.UpstreamFailed):
        await house.submit()
    await house.submit(mark=MARK + 1)
    assert await house.find(asking()) is None
    assert len(house.site.jobs) == 1


async def test_jobs_of_others_before_or_for_another_model_are_not_taken(house: House) -> None:
    await house.submit()
    house.clock.now += 61
    assert await house.find(asking()) is None, "older than the asking"
    await house.submit(FAST)
    assert await house.find(asking()) is None, "another model"
    await house.ark.submit(asking(), replace(house.account, credential=OTHER))
    assert await house.find(asking()) is None, "another account"
    job = await house.submit()
    assert await house.find(asking(), house.clock.now + 59) == job, "within what clocks may differ"


async def test_a_job_at_an_endpoint_is_found_under_the_endpoint_s_name(house: House) -> None:
    house.site.endpoints |= {"ep-one": PRO, "ep-two": PRO}
    await house.submit("ep-two")
    assert await house.find(asking("ep-one")) is None
    job = await house.submit("ep-one")
    assert await house.find(asking("ep-one")) == job


async def test_a_key_of_limited_rights_finds_it_as_well(house: House) -> None:
    house.site.limited.add(KEY)
    job = await house.submit()
    assert await house.find(asking()) == job


async def test_a_search_goes_back_as_far_as_it_must_and_no_further(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chapters, "SEARCHED", 2)
    monkeypatch.setattr(chapters, "SEARCH_PAUSE", 0)
    for mark in range(1, 5):
        await house.submit(mark=mark)
    house.clock.now += 1000
    since = house.clock.now
    job = await house.submit()
    for mark in range(5, 8):
        await house.submit(mark=mark)
    assert await house.find(asking(), since) == job
    assert [dict(query)["page_num"] for query in house.site.lists] == ["1", "2", "3"]
    for mark in range(8, 20):
        await house.submit(mark=mark)
    assert await house.find(asking(), since) is None, "a search has an end"
    assert len(house.site.lists) == 3 + chapters.SEARCH_PAGES


async def test_a_search_that_failed_says_so(house: House) -> None:
    house.site.list_fault = Refusal("AccountRateLimitExceeded")
    with pytest.raises(errors.RateLimited):
        await house.find(asking())


# --- cancelling ---


@pytest.mark.parametrize(
    ("plan", "seconds", "stopped", "deleted"),
    [
        (Plan(), 0, True, 1),
        (Plan(), 30, False, 0),
        (Plan(), 100, False, 0),
        (Plan(ends="failed"), 100, False, 0),
        (Plan(ends="expired"), 100, False, 0),
        (Plan(word="polishing"), 30, False, 0),
        (Plan(ends="cancelled"), 100, True, 0),
    ],
)
async def test_only_what_waits_is_cancelled_and_no_record_is_erased(
    house: House, plan: Plan, seconds: float, stopped: bool, deleted: int
) -> None:
    house.site.plan = plan
    job = await house.submit()
    house.clock.now += seconds
    assert await house.ark.cancel(job, house.account) is stopped
    assert (len(house.site.deletes), house.site.erased) == (deleted, [])
    if deleted:
        assert (await house.poll(job)).state == "cancelled"
        assert await house.ark.cancel(job, house.account) is True, "asked again, it still is"
        assert len(house.site.deletes) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("InvalidParameter"),
        Refusal("InvalidParameter", status=409),
        Refusal("OperationDenied.UnsupportedPhase"),
    ],
)
async def test_a_job_that_began_in_between_is_not_cancelled(house: House, refusal: Refusal) -> None:
    job = await house.submit()
    house.site.fail("delete", refusal)
    assert await house.ark.cancel(job, house.account) is False


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refusal("InternalServiceError"), errors.UpstreamFailed),
        (Refusal("NotFound.Task"), errors.JobLost),
        (Refusal("APIAccountRpmRateLimitExceeded"), errors.RateLimited),
        (Cut(), errors.UpstreamFailed),
    ],
)
async def test_a_cancel_that_failed_says_so(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    job = await house.submit()
    house.site.fail("delete", *again(fault))
    with pytest.raises(kind):
        await house.ark.cancel(job, house.account)


async def test_a_cancel_whose_answer_was_lost_on_the_way_is_one(house: House) -> None:
    job = await house.submit()
    house.site.fail("delete", Cut(done=True))
    assert await house.ark.cancel(job, house.account) is True
    assert house.site.deletes == [job.id, job.id]


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (FREE_TRIAL, errors.QuotaExhausted),
        ("You have exceeded the weekly usage quota. It will reset at 2026-12-01.", errors.QuotaExhausted),
        ("The request has exceeded the quota.", errors.ConcurrencyLimited),
    ],
)
async def test_one_code_for_quotas_means_three_things(
    house: House, message: str, kind: type[errors.GatewayError]
) -> None:
    house.site.refuse_creates = Refusal("QuotaExceeded", message)
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("refusal", "kind", "param"),
    [
        (Refusal("InvalidParameter", "it is wrong", "ratio"), errors.UpstreamRefusedParameter, "ratio"),
        (Refusal("InvalidParameter", "The parameter `seed` is wrong"), errors.UpstreamRefusedParameter, "seed"),
        (Refusal("InvalidParameter", "Error while downloading the image"), errors.InputUnreachable, None),
        (Refusal("SomethingNew", "it is wrong", "seed", status=400), errors.UpstreamRefusedParameter, "seed"),
        (Refusal("SomethingNew", status=403), errors.ModelNotEnabled, None),
        (Refusal("SomethingNew", status=401), errors.CredentialRejected, None),
        (Refusal("SomethingNew", status=429), errors.RateLimited, None),
        (Refusal("SomethingNew", status=413), errors.TooLarge, None),
        (Refusal("SomethingNew", status=503), errors.UpstreamFailed, None),
    ],
)
async def test_words_and_status_tell_what_the_code_does_not(
    house: House, refusal: Refusal, kind: type[errors.GatewayError], param: str | None
) -> None:
    house.site.refuse_creates = refusal
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert (type(caught.value), caught.value.param) == (kind, param)


@pytest.mark.parametrize("status", [301, 404, 405])
async def test_what_is_not_the_api_made_nothing(house: House, status: int) -> None:
    house.site.fail("create", Raw(status, b"<html>elsewhere</html>"))
    with pytest.raises(errors.UpstreamFailed, match="base_url") as caught:
        await house.submit()
    assert caught.value.sent == "no"


async def test_an_endpoint_that_is_not_found_may_be_another_account_s(house: House) -> None:
    with pytest.raises(errors.ModelNotEnabled):
        await house.submit("ep-20261121-zzzzz")
    with pytest.raises(errors.ModelNotFound) as caught:
        await house.submit("seedance-9-9-270101")
    assert caught.value.param == "model"


async def test_a_rest_is_as_long_as_the_vendor_says(house: House) -> None:
    for code in ("RateLimitExceeded.EndpointRPMExceeded", "InflightBatchsizeExceeded", "ServerOverloaded"):
        house.site.refuse_creates = Refusal(code, headers={"retry-after-ms": "7500"})
        with pytest.raises(errors.GatewayError) as caught:
            await house.submit()
        assert caught.value.retry_after == 7.5


@pytest.mark.parametrize("code", ["AccountQuotaExceeded", "QuotaExceeded"])
@pytest.mark.parametrize(("window", "hours"), [("5-hour", 3), ("monthly", 20 * 24)])
async def test_a_plan_s_quota_comes_back_when_its_sentence_says(
    house: House, code: str, window: str, hours: float
) -> None:
    at = datetime.now(timezone(timedelta(hours=8))) + timedelta(hours=hours)
    house.site.refuse_creates = Refusal(code, PLAN.format(window=window, at=f"{at:%Y-%m-%d %H:%M:%S}"))
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.submit()
    assert caught.value.retry_after == pytest.approx(hours * 3600, abs=60)


@pytest.mark.parametrize(
    ("code", "wait"),
    [("SetLimitExceeded", 259_200), ("AccountQuotaExceeded", 259_200), ("RequestBurstTooFast", 86_400)],
)
async def test_only_what_is_used_up_takes_longer_than_a_day(house: House, code: str, wait: float) -> None:
    house.site.refuse_creates = Refusal(code, headers={"Retry-After": "259200"})
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert caught.value.retry_after == wait


@pytest.mark.parametrize("operation", ["create", "get", "list", "delete"])
@pytest.mark.parametrize("code", ["AuthenticationError", "InvalidParameter", "InternalServiceError", "NewOne"])
async def test_no_key_is_in_any_word_of_an_error(house: House, operation: Any, code: str) -> None:
    job = await house.submit()
    status = 500 if code == "InternalServiceError" else 401
    house.site.fail(operation, Refusal(code, f"the key {KEY} is not good", status=status))
    calls = {
        "create": lambda: house.submit(),
        "get": lambda: house.poll(job),
        "list": lambda: house.ark.poll_many([job, job], house.account),
        "delete": lambda: house.ark.cancel(job, house.account),
    }
    with pytest.raises(errors.GatewayError) as caught:
        await calls[operation]()
    no_secret_in(caught.value)


# --- the rest ---


async def test_a_probe_spends_nothing(house: House) -> None:
    await house.ark.probe(house.account)
    assert (len(house.site.lists), house.site.jobs) == (1, {})
    with pytest.raises(errors.CredentialRejected):
        await house.ark.probe(replace(house.account, credential="wrong-key-0003"))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Raw(200, b"<html>hello</html>"), errors.UpstreamGarbled),
        (Raw(200, b"<html>Just a moment...</html>"), errors.Challenged),
        (Raw(403, b"<html>denied</html>"), errors.Challenged),
        (Raw(200, b"half of {", "application/json"), errors.UpstreamGarbled),
        (Refusal("AccountOverdueError"), errors.BalanceExhausted),
        (Refusal("RequestBurstTooFast"), errors.RateLimited),
    ],
)
async def test_a_probe_says_what_is_wrong(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    house.site.list_fault = fault
    with pytest.raises(errors.GatewayError) as caught:
        await house.ark.probe(house.account)
    assert type(caught.value) is kind


async def test_a_probe_of_nobody_blames_no_account(house: House) -> None:
    with pytest.raises(errors.UpstreamUnreachable):
        await house.ark.probe(replace(house.account, base_url="http://127.0.0.1:1/api/v3"))


@pytest.mark.parametrize(
    ("params", "seconds"),
    [
        ({}, 1800),
        ({"execution_expires_after": 7200}, 1800),
        ({"service_tier": "flex"}, 172_800 + 600),
        ({"service_tier": "flex", "execution_expires_after": 7200}, 7200 + 600),
        ({"service_tier": "flex", "execution_expires_after": "long"}, 172_800 + 600),
    ],
)
def test_patient_jobs_may_take_days(params: dict[str, Any], seconds: float) -> None:
    assert Ark("ark", Options(), Outbound()).allowance(asking(params=params)) == seconds


def test_both_sites_have_their_names_for_each_model() -> None:
    cards = {card.id: card for card in Ark("ark", Options(), Outbound()).cards()}
    assert next(iter(cards)) == PRO, "what a video is made by where no model is named"
    assert {PRO, f"doubao-{PRO}", SECOND, "doubao-seedance-2-0-260128"} <= set(cards)
    assert "doubao-dreamina-seedance-2-0-260128" not in cards
    assert cards[LITE].kinds == {"i2v", "flf2v", "ref2v"}
    assert (cards[SOUND].seconds[0], cards[SOUND].seconds[-1], len(cards[SOUND].seconds)) == (4.0, 12.0, 9)
    assert "21:9" in cards[FIFTH].ratios
    assert all(card.estimate for card in cards.values() if card.kinds != {"t2t"})
    assert all(card.closed and card.parameters and card.inputs for card in cards.values() if card.kinds != {"t2t"})


FILMS, STILLS = set(FILM_KINDS), set(STILL_KINDS)


@pytest.mark.parametrize(
    ("model", "kind", "kinds"),
    [
        ("ep-20261121-abcde", "t2v", {"t2t"} | STILLS | FILMS),
        ("ep-20261121-abcde", None, {"t2t"} | STILLS | FILMS),
        ("ep-20261121-abcde", "tts", None),
        ("seedance-3-0-270101", "ref2v", FILMS),
        ("doubao-seedance-2.0", "i2v", FILMS),
        ("seedance-3-0-270101", "t2i", None),
        ("dola-seedream-5-0-flash-260915", "i2i", STILLS),
        ("seedream-9-0-270101", None, STILLS),
        ("seedream-9-0-270101", "t2v", None),
        ("seed-2-1-pro-270101", None, {"t2t"}),
        ("doubao-seed-1.6", "t2t", {"t2t"}),
        ("deepseek-v3-1-250821", "t2t", {"t2t"}),
        ("deepseek-chat", "t2t", None),
        ("doubao-seededit-3-0-i2i-250628", None, None),
        ("someone/seedance-1", None, None),
        ("epic", None, None),
    ],
)
def test_endpoints_and_new_models_are_taken_by_name(model: str, kind: Any, kinds: set[str] | None) -> None:
    card = Ark("ark", Options(), Outbound()).adopt(model, kind)
    assert (card and card.kinds) == kinds
    assert card is None or (card.id, card.closed) == (model, False)


def test_each_kind_has_a_model_that_is_taken_where_none_is_named() -> None:
    cards = Ark("ark", Options(), Outbound()).cards()
    first = {kind: next(card.id for card in cards if kind in card.kinds) for kind in ("t2t", "t2i", "i2i", "t2v")}
    assert first == {"t2t": "seed-2-0-pro-260328", "t2i": FOUR_FIVE, "i2i": FOUR_FIVE, "t2v": PRO}


def test_marks_are_all_different_enough() -> None:
    expiries = {payload.marks(asking(mark=mark))[1]["execution_expires_after"] for mark in range(1, 82_801)}
    assert len(expiries) == 82_800
    assert (min(expiries), max(expiries)) == (3600, 86_399)
