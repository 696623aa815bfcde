"""Videos: asked for once, asked about until they are made."""

from typing import Any

import pytest

from gateway import errors
from gateway.types import Input, Job, JobUpdate, Size
from gateway.upstreams.qwen import tasks
from gateway.upstreams.qwen.site import shaped
from tests.emulators.qwen import Fault
from tests.unit.upstreams.qwen.rig import A, House

pytestmark = pytest.mark.anyio


async def test_a_video_is_made_and_asked_about(house: House) -> None:
    job = await house.film(size=Size("9:16"))
    body = house.sent()
    assert (body["stream"], body["size"], body["messages"][0]["extra"]["meta"]["size"]) == (False, "9:16", "9:16")
    assert job.cursor["chat_id"] in house.site.people[A].chats
    states = [await house.qwen.poll(job, house.account) for _ in range(3)]
    assert [(update.state, update.native) for update in states] == [
        ("running", "pending"),
        ("running", "running"),
        ("succeeded", "success"),
    ]
    assert states[1].eta_seconds == 60
    assert states[2].media[0].family == "video"
    assert states[2].media[0].url.endswith(house.site.people[A].tasks[job.id].url[-20:])


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_whichever_status_endpoint_answers_is_remembered(house: House, generation: str) -> None:
    house.site.generations = {generation}
    job = await house.film()
    for _ in range(3):
        await house.qwen.poll(job, house.account)
    asked = ["v1" if "/v1/" in request.path else "v2" for request in house.site.asked("status")]
    assert asked == (["v1"] * 3 if generation == "v1" else ["v1", "v2", "v2", "v2"])


async def test_a_job_is_asked_about_with_its_accounts_token_and_unknown_to_others(house: House) -> None:
    job = await house.film()
    await house.qwen.poll(job, house.account)
    assert {request.headers["authorization"] for request in house.site.asked("status")} == {f"Bearer {A}"}
    with pytest.raises(errors.JobLost):
        await house.qwen.poll(job, house.other)


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("running", "running"), ("processing", "running"), ("pending", "running"), ("success", "succeeded"),
        ("succeeded", "succeeded"), ("completed", "succeeded"), ("failed", "failed"), ("error", "failed"),
        ("failure", "failed"), ("never_seen", "running"), ("", "running"),
    ],
)  # fmt: skip
def test_every_native_state_has_ours(native: str, state: str) -> None:
    assert update(Job("t"), task_status=native, content="https://cdn/x.mp4").state == state


def update(job: Job, now: float = 0.0, **told: Any) -> JobUpdate:
    return tasks.update(job, shaped(told, tasks.Status), "https://chat.qwen.ai", A, now)


def test_progress_comes_from_the_time_left() -> None:
    job = Job("t", {"submitted_at": 100.0})
    told = update(job, 190.0, task_status="running", remaining_time="30")
    assert (told.progress, told.eta_seconds) == (75.0, 30.0)
    assert update(job, 190.0, task_status="running", remaining_time="").progress is None


def test_success_counts_with_a_video() -> None:
    assert update(Job("t"), task_status="success", content="").state == "running"


def test_a_failed_video_says_why() -> None:
    refused = update(Job("t"), task_status="failed", message="data inspection: no")
    assert isinstance(refused.error, errors.ContentRefused)
    failed = update(Job("t"), task_status="failed", message=f"out of paint {A}")
    assert isinstance(failed.error, errors.GenerationFailed)
    assert failed.error.detail == "out of paint [token]"


async def test_a_task_that_the_answer_does_not_name_is_found_in_the_conversation(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id())
    job = await house.film()
    assert job.id in house.site.people[A].tasks


async def test_a_task_that_is_named_nowhere_leaves_the_outcome_open(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id(in_chat=False))
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.film()
    assert caught.value.sent == "unknown"
    assert len(house.site.asked("detail")) == 1


async def test_a_conversation_that_cannot_be_looked_at_leaves_the_outcome_open(house: House) -> None:
    house.site.fail("completions", Fault.no_task_id())
    house.site.fail("detail", Fault.throttled())
    with pytest.raises(errors.UpstreamGarbled) as caught:
        await house.film()
    assert caught.value.sent == "unknown"


async def test_a_create_that_was_cut_is_never_sent_again(house: House) -> None:
    house.site.fail("completions", Fault.cut())
    with pytest.raises(errors.UpstreamError) as caught:
        await house.film()
    assert caught.value.sent == "unknown"
    assert len(house.site.asked("completions")) == 1


async def test_a_task_made_by_a_create_that_was_cut_is_taken_up(house: House) -> None:
    house.site.fail("completions", Fault.cut_after_create())
    job = await house.film()
    assert job.id in house.site.people[A].tasks
    assert len(house.site.asked("completions")) == 1


async def test_no_more_videos_today(house: House) -> None:
    house.site.people[A].videos_left = 0
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.film()
    assert caught.value.retry_after == 9 * 3600


async def test_a_video_from_an_image_names_the_file(house: House) -> None:
    ref = await house.qwen.upload(b"png", name="cat.png", mime="image/png", account=house.account)
    await house.film(kind="i2v", inputs=(Input("object:x", ref=ref),))
    message = house.sent()["messages"][0]
    assert message["chat_type"] == "i2v"
    (file,) = message["files"]
    assert {name: file[name] for name in ("type", "name", "file_type", "showType", "file_class", "status")} == {
        "type": "image",
        "name": "cat.png",
        "file_type": "image/png",
        "showType": "image",
        "file_class": "vision",
        "status": "uploaded",
    }


@pytest.mark.parametrize("kind", ["flf2v", "ref2v"])
async def test_kinds_it_does_not_make_are_refused_before_anything_is_sent(house: House, kind: Any) -> None:
    with pytest.raises(errors.UpstreamRefusedParameter):
        await house.film(kind=kind)
    assert house.site.requests == []


async def test_a_poll_tells_of_the_account(house: House) -> None:
    job = await house.film()
    house.site.fail("status", Fault.api("Unauthorized"), Fault.throttled())
    with pytest.raises(errors.CredentialRejected):
        await house.qwen.poll(job, house.account)
    with pytest.raises(errors.RateLimited):
        await house.qwen.poll(job, house.account)


async def test_no_size_is_the_sites_wide_one(house: House) -> None:
    await house.film()
    assert house.sent()["size"] == "16:9"


async def test_a_page_instead_of_a_known_status_is_a_challenge(house: House) -> None:
    job = await house.film()
    await house.qwen.poll(job, house.account)
    house.site.fail("status", Fault.html())
    with pytest.raises(errors.Challenged):
        await house.qwen.poll(job, house.account)
    assert len(house.site.asked("status")) == 2
