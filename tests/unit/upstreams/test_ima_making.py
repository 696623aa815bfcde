"""What is sent, how tasks are followed, and how files get to the site."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from gateway import errors
from gateway.types import ImageRequest, Input, Job, MediaReady, MusicRequest, Progress, SpeechRequest
from gateway.upstreams.ima import records, tree, uploads, waiting
from gateway.upstreams.ima.records import Record
from tests.emulators.ima import KEY, OTHER, Plan
from tests.unit.upstreams.ima_rig import PNG, film, image, living, media, no_secret_in, shown, usage

pytestmark = pytest.mark.anyio


def record(*items: dict[str, Any]) -> Record:
    return msgspec.json.decode(json.dumps({"medias": list(items)}), type=Record)


def job(count: int = 1, **more: Any) -> Job:
    return Job("t", {"kind": "t2i", "points": 5, "count": count, **more})


READY = {"resource_status": 1, "status": "success", "url": "https://cdn.example/a.png"}


# --- creates ---


async def test_a_create_is_as_the_sheet_has_it() -> None:
    async with living() as house:
        await house.make(image())
        assert house.last.body == {
            "task_type": "text_to_image",
            "enable_multi_model": False,
            "src_img_url": [],
            "parameters": [
                {
                    "attribute_id": 2341,
                    "model_id": "doubao-seedream-4.5",
                    "model_name": "SeeDream 4.5",
                    "model_version": "doubao-seedream-4-5-251128",
                    "app": "ima",
                    "platform": "web",
                    "category": "text_to_image",
                    "credit": 5,
                    "parameters": {
                        "prompt": "a lighthouse",
                        "size": "2048x2048",
                        "n": 1,
                        "input_images": [],
                        "cast": {"points": 5, "attribute_id": 2341},
                    },
                }
            ],
        }
        _, headers, _ = house.site.asked[-2]
        assert (headers["x-app-source"], headers["x_app_language"]) == ("ima_skills", "en")


async def test_the_language_is_the_operator_s() -> None:
    async with living(language="zh") as house:
        assert {headers["x_app_language"] for _, headers, _ in house.site.asked} == {"zh"}


@pytest.mark.parametrize(
    ("kind", "model", "count"),
    [
        ("t2v", "wan2.6-t2v", 0),
        ("i2v", "wan2.6-i2v", 1),
        ("flf2v", "kling-video-o1", 2),
        ("ref2v", "kling-video-o1", 2),
        ("ref2v", "ima-pro", 2),
    ],
)
async def test_films_of_every_kind(kind: Any, model: str, count: int) -> None:
    async with living() as house:
        made = await house.submit(film(model, kind=kind))
        update = await house.poll(made)
        assert (update.state, len(update.media), update.media[0].family) == ("succeeded", 1, "video")
        assert update.usage is not None
        assert (update.usage.cost, update.usage.currency) == (house.site.spent, "points")
        urls = [f"https://pictures.example/{at}.png" for at in range(count)]
        assert house.last.body["src_img_url"] == house.last.inner["input_images"] == urls


async def test_images_music_and_speech() -> None:
    async with living() as house:
        for request, family in (
            (image(n=3), "image"),
            (image(kind="i2i"), "image"),
            (MusicRequest("sonic", "a song"), "audio"),
            (MusicRequest("GenBGM", "a tune"), "audio"),
            (SpeechRequest("seed-tts-2.0", "Hello there"), "audio"),
        ):
            events = await house.make(request)
            assert events[0] == Progress(0), "what commits is that there is a task"
            made = media(events)
            assert {one.family for one in made} == {family}
            assert len(made) == getattr(request, "n", 1)
            assert usage(events).cost == house.last.points


async def test_of_several_outputs_each_is_paid_for_and_all_are_waited_for() -> None:
    async with living() as house:
        house.site.plan = Plan(late=3)
        events = await house.make(image(n=4))
        assert len(media(events)) == 4
        assert (house.last.product["credit"], house.last.points, usage(events).cost) == (5, 20, 20)
        assert len(house.site.seen("detail")) == 4
        assert all(isinstance(event, Progress) for event in events[:4])


async def test_a_task_is_asked_for_by_its_id_only() -> None:
    async with living() as house:
        house.site.code = 200
        made = await house.submit(film())
        assert made.id == house.last.id
        await house.poll(made)
        assert house.site.seen("detail") == [{"task_id": made.id}]


async def test_seedance_has_its_images_looked_at_before_anything_is_made() -> None:
    async with living() as house:
        await house.submit(film("ima-pro", kind="ref2v"))
        assert house.last.body["src_image"] == [
            {"url": f"https://pictures.example/{at}.png", "width": 640, "height": 480} for at in (0, 1)
        ]
        assert [what["url"][-5:] for what in house.site.seen("verify")] == ["0.png", "1.png"]
        await house.submit(film("ima-pro", kind="i2v"))
        assert "src_image" not in house.last.body
        house.site.unverified["1.png"] = "this face is somebody's"
        with pytest.raises(errors.ContentRefused, match="somebody") as told:
            await house.submit(film("ima-pro", kind="ref2v"))
        assert told.value.sent == "no"
        assert len(house.site.creates) == 2


@pytest.mark.parametrize(
    "given",
    [
        Input("x", size=31 * 2**20, ref={"url": "https://a.example/a.png"}),
        Input("x", ref={"url": "https://a.example/a.png", "width": 200, "height": 300}),
        Input("x", ref={"url": "https://a.example/a.png", "width": 3000, "height": 1000}),
        Input("data:image/png;base64,AAAA"),
    ],
)
async def test_an_image_that_seedance_never_takes_is_refused_here(given: Input) -> None:
    async with living() as house:
        with pytest.raises(errors.InvalidRequest) as told:
            await house.submit(film("ima-pro", kind="i2v", inputs=(given,)))
        assert told.value.param == "images"
        assert house.site.seen("verify") == house.site.creates == []


async def test_an_edit_has_no_mask() -> None:
    async with living() as house:
        masked = ImageRequest("doubao-seedream-4.5", "a hat", kind="i2i", inputs=(shown(), Input("x", role="mask")))
        with pytest.raises(errors.InvalidRequest, match="mask"):
            await house.make(masked)


async def test_the_tree_is_asked_for_before_the_first_create_and_once_for_many() -> None:
    async with living(listed=False) as house:
        await asyncio.gather(*(house.upstream.submit(film(), house.account) for _ in range(3)))
        assert house.site.seen("list") == [{"app": "ima", "platform": "web", "category": "text_to_video"}]
        with pytest.raises(errors.Unsupported, match="5, 10, 15"):
            await house.upstream.submit(film(seconds=7.0), house.account)


async def test_an_old_category_is_asked_for_again_and_one_that_cannot_be_is_still_good() -> None:
    now = [0.0]
    kept = tree.Tree(clock=lambda: now[0])
    asked: list[str] = []

    async def ask(kind: Any) -> Any:
        asked.append(kind)
        if len(asked) > 2:
            raise errors.UpstreamFailed
        return ()

    await kept.fresh("t2v", ask)
    await kept.fresh("t2v", ask)
    assert asked == ["t2v"]
    now[0] = tree.FRESH_SECONDS + 1
    await kept.fresh("t2v", ask)
    assert asked == ["t2v", "t2v"]
    with pytest.raises(errors.UpstreamFailed):
        await kept.fresh("t2v", ask, anew=True)


# --- how a task stands ---


@pytest.mark.parametrize(
    ("number", "word", "state"),
    [
        (None, "pending", "queued"),
        ("", "pending", "queued"),
        (0, "pending", "queued"),
        (None, "processing", "running"),
        (0, "processing", "running"),
        (0, "dreaming", "running"),
        (1, "success", "succeeded"),
        (1, "completed", "succeeded"),
        ("1", "success", "succeeded"),
        (1, "failed", "failed"),
        (2, "success", "failed"),
        (2, None, "failed"),
        (3, "success", "failed"),
        (0, "failed", "failed"),
    ],
)
def test_every_state(number: Any, word: Any, state: str) -> None:
    item = {"resource_status": number, "status": word, "url": "https://cdn.example/a.png"}
    assert records.update(job(), record(item), KEY).state == state
    assert records.update(job(), record({"status": word, "url": "u"} if number is None else item), KEY).state == state


def test_a_task_is_over_when_all_of_it_is() -> None:
    assert records.update(job(), record(), KEY).state == "queued"
    assert records.update(job(2), record(READY), KEY).state == "running", "there must be two"
    done = records.update(job(2), record(READY, READY), KEY)
    assert (done.state, done.usage and done.usage.cost, done.usage and done.usage.images) == ("succeeded", 10, 2)
    failed = records.update(job(2), record(READY, {"resource_status": 2, "error_msg": "no memory"}), KEY)
    assert failed.state == "failed"
    assert "1 of 2 outputs were ready" in str(failed.error)
    assert getattr(failed.error, "detail", "") == "no memory"


def test_a_result_that_was_there_and_is_deleted_has_expired() -> None:
    before = records.update(job(2), record(READY, {"resource_status": 0, "status": "processing"}), KEY)
    assert before.job is not None
    gone = record({"resource_status": 3, "status": "success"}, READY)
    assert records.update(before.job, gone, KEY).state == "expired"
    assert records.update(job(2), gone, KEY).state == "failed"


@pytest.mark.parametrize("name", ["url", "preview_url", "watermark_url"])
def test_a_result_may_have_any_of_three_addresses(name: str) -> None:
    item = {"resource_status": 1, "status": "success", "url": "", name: "https://cdn.example/x"}
    [found] = records.update(job(), record(item), KEY).media
    assert found.url == "https://cdn.example/x"
    nothing = records.update(job(), record({"resource_status": 1, "status": "success"}), KEY)
    assert isinstance(nothing.error, errors.UpstreamGarbled)


def test_lengths_are_told_in_words() -> None:
    film_job = Job("t", {"kind": "t2v", "points": 5, "count": 1})
    done = records.update(film_job, record({**READY, "duration_str": "12s", "width": "640", "height": 0}), KEY)
    assert (done.media[0].seconds, done.media[0].width, done.media[0].height) == (12, 640, None)
    assert done.usage is not None
    assert done.usage.seconds == 12


def test_progress_goes_by_the_time_it_usually_takes_and_stops_before_the_end() -> None:
    assert [waiting.percent(at, 60) for at in (0, 6.5, 30, 59, 600)] == [0, 10, 50, 95, 95]
    assert waiting.pause("midjourney", "t2i") == 8
    assert waiting.pause("doubao-seedream-4.5", "i2i") == 5
    assert waiting.pause("seed-tts-2.0", "tts") == 3


async def test_what_takes_too_long_is_given_up_and_may_have_been_made() -> None:
    async with living() as house:
        house.site.plan = Plan(running=1000)
        made = await house.submit(film())
        with pytest.raises(errors.UpstreamTimeout) as told:
            [_ async for _ in waiting.looks(house.upstream._site, made, house.account, 0.01, 0.05)]
        assert told.value.sent == "unknown"


async def test_another_account_does_not_know_the_task() -> None:
    async with living() as house:
        made = await house.submit(film())
        with pytest.raises(errors.UpstreamFailed):
            await house.by(OTHER).poll(made)


# --- files ---


async def test_a_file_is_laid_down_and_shown_by_its_public_url() -> None:
    async with living() as house:
        ref = await house.upstream.upload(PNG, name="a.png", mime="image/png", account=house.account)
        assert (ref["width"], ref["height"]) == (64, 36)
        assert list(house.site.storage.files.values()) == [PNG]
        [asked] = house.site.seen("token")
        assert len(asked) == 11
        assert (asked["fType"], asked["fSuffix"], asked["appUid"]) == ("picture", "png", KEY)
        events = await house.make(image(kind="i2i", inputs=(Input("object:x", mime="image/png", ref=ref),)))
        assert house.last.body["src_img_url"] == [ref["url"]]
        assert any(isinstance(event, MediaReady) for event in events)


@pytest.mark.parametrize(
    ("mime", "family", "suffix"),
    [("image/jpeg", "picture", "jpg"), ("video/mp4", "video", "mp4"), ("audio/mpeg", "audio", "mp3")],
)
def test_leave_is_asked_for_as_the_type_of_the_file_wants_it(mime: str, family: str, suffix: str) -> None:
    asked = uploads.question(mime, KEY, 1_790_000_000.5)
    assert (asked["fType"], asked["fSuffix"], asked["timestamp"]) == (family, suffix, "1790000000")
    assert len(asked["nonce"]) <= 21
    assert asked["nonce"] != uploads.question(mime, KEY, 1_790_000_000.5)["nonce"]


@pytest.mark.parametrize(
    ("told", "until"), [(604800, 1604800), ("1800000000", 1_800_000_000), (1_800_000_000_000, 1_800_000_000), (None, 0)]
)
def test_a_file_is_used_again_as_long_as_it_is_there(told: Any, until: float) -> None:
    from yarl import URL

    grant = uploads.Grant("https://x.aliyuncs.com/a", "https://cdn.example/a.png", told)
    found = uploads.placed(grant, URL("https://imapi.example"), b"no picture", 1_000_000)
    assert found.expires_at == (until or 1_000_000 + uploads.KEPT_SECONDS)
    assert found.width is None


@pytest.mark.parametrize(
    "where", ["https://elsewhere.example/", "http://x.aliyuncs.com/", "https://aliyuncs.com.evil/"]
)
async def test_a_file_goes_to_no_host_but_the_vendor_s(where: str) -> None:
    async with living() as house:
        house.site.storage.host = where
        with pytest.raises(errors.UpstreamGarbled, match="not its own") as told:
            await house.upstream.upload(PNG, name="a.png", mime="image/png", account=house.account)
        assert told.value.sent == "no"
        assert "Signature" not in str(told.value.detail)
        no_secret_in(told.value)


async def test_films_and_songs_come_in_several_as_well() -> None:
    async with living() as house:
        job = await house.submit(film(n=3))
        assert house.last.body["parameters"][0]["parameters"]["n"] == 3
        while (update := await house.poll(job)).state in ("queued", "running"):
            await asyncio.sleep(0.01)
        assert (update.state, len(update.media)) == ("succeeded", 3)
        assert update.usage is not None
        assert update.usage.cost == house.site.spent == 3 * house.last.product["credit"] == house.quoted(film(n=3))
        songs = media(await house.make(MusicRequest("sonic", "a sea shanty", n=2)))
        assert len(songs) == 2


@pytest.mark.parametrize(
    ("request_", "most"),
    [
        (film(n=5), 4),
        (MusicRequest("sonic", "a sea shanty", n=3), 2),
        (MusicRequest("GenBGM", "waves", n=2), 1),
    ],
)
async def test_more_than_the_vendor_makes_at_once_is_refused(request_: Any, most: int) -> None:
    async with living() as house:
        with pytest.raises(errors.InvalidRequest, match=rf"at most {most}|from 1 to {most}") as told:
            house.fit(request_)
        assert told.value.param == "n"
        assert house.site.creates == []


async def test_what_was_promised_holds_though_the_list_was_asked_for_anew_since() -> None:
    async with living() as house:
        promised = house.fit(film()).request.hints
        taken_on = film(hints=promised)
        assert house.fit(taken_on).request.hints == promised
        house.site.reprice("text_to_video", "wan2.6-t2v", 5)
        await house.upstream.models(house.account)
        with pytest.raises(errors.PriceChanged, match="points now instead of"):
            house.fit(taken_on)
        assert house.site.creates == []
        other = house.fit(film("kling-video-o1", hints=promised)).request.hints
        assert other != promised, "nothing was promised of another model"
