from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from typing import Any

import av
import pytest
from PIL import Image

from gateway import errors
from gateway.sandbox.faults import KEYS
from gateway.types import (
    Account,
    Balance,
    EmbeddingRequest,
    Finish,
    ImageRequest,
    Input,
    Job,
    JobUpdate,
    MusicRequest,
    Paced,
    Size,
    SpeechRequest,
    TranscriptionRequest,
)
from gateway.upstreams.sandbox import Sandbox
from tests.unit.upstreams.sandbox_rig import (
    ACCOUNT,
    NOON,
    TINY,
    Clock,
    all_of,
    asking,
    data_url,
    faulty,
    filming,
    hints,
    sandbox,
)

pytestmark = pytest.mark.anyio

REFUSALS = {
    "rate_limit": errors.RateLimited,
    "daily_quota": errors.QuotaExhausted,
    "bad_key": errors.CredentialRejected,
    "no_balance": errors.BalanceExhausted,
    "server_error": errors.UpstreamFailed,
    "unreachable": errors.UpstreamUnreachable,
    "refused": errors.ContentRefused,
    "challenge": errors.Challenged,
}
INTERRUPTIONS = {"cut": errors.StreamInterrupted, "garbage": errors.UpstreamGarbled}


async def shot(upstream: Sandbox, **fields: Any) -> JobUpdate:
    """The end of a job."""
    job = await upstream.submit(filming(**fields), ACCOUNT)
    return await upstream.poll(job, ACCOUNT)


def frames_of(update: JobUpdate) -> tuple[tuple[int, int], float]:
    with av.open(io.BytesIO(update.media[0].data or b"")) as film:
        stream = film.streams.video[0]
        assert sum(1 for _ in film.decode(stream)) > 1
        return (stream.width, stream.height), float(film.duration or 0) / av.time_base


# --- jobs ---


async def test_a_job_is_queued_then_runs_then_is_done():
    clock = Clock()
    upstream = sandbox(clock, video_seconds=4)
    job = await upstream.submit(filming(), ACCOUNT)
    seen = []
    for clock.now in (NOON, NOON + 0.3, NOON + 0.5, NOON + 2, NOON + 3.9, NOON + 4):
        seen.append(await upstream.poll(job, ACCOUNT))
    assert [update.state for update in seen] == ["queued", "queued", "running", "running", "running", "succeeded"]
    progress = [update.progress or 0 for update in seen]
    assert progress == sorted(set(progress))
    assert progress[-1] == 100
    assert [update.eta_seconds for update in seen][3] == 2
    assert frames_of(seen[-1])[0] == (64, 64)


async def test_another_sandbox_goes_on_with_a_job_from_its_cursor_alone():
    clock = Clock()
    job = await sandbox(clock, video_seconds=4).submit(filming(inputs=(Input(data_url()),), kind="i2v"), ACCOUNT)
    kept = Job(job.id, json.loads(json.dumps(job.cursor)))
    clock.now += 5
    first, second = [await sandbox(clock, video_seconds=99).poll(kept, ACCOUNT) for _ in range(2)]
    assert first.state == "succeeded"
    assert first == second


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        (None, (1280, 720)),
        (Size("16:9"), (1280, 720)),
        (Size("9:16"), (720, 1280)),
        (Size("1:1"), (960, 960)),
        (Size("21:9"), (1280, 548)),
        (Size("90:61", 180, 122), (180, 122)),
    ],
)
async def test_a_video_has_the_asked_size(size: Size | None, pixels: tuple[int, int]):
    job = await sandbox().submit(filming(size=size), ACCOUNT)
    assert (job.cursor["width"], job.cursor["height"]) == pixels


async def test_a_film_is_as_large_and_as_long_as_its_job_says():
    update = await shot(sandbox(video_seconds=0), size=Size("90:61", 180, 122), seconds=2)
    (media,) = update.media
    assert (media.family, media.mime, media.seconds) == ("video", "video/mp4", 2)
    pixels, seconds = frames_of(update)
    assert pixels == (180, 122) == (media.width, media.height)
    assert seconds == pytest.approx(2, abs=0.2)


async def test_a_film_follows_from_its_seed_and_its_images():
    async def film(**fields: Any) -> bytes | None:
        return (await shot(sandbox(video_seconds=0), **fields)).media[0].data

    assert await film(seed=1) == await film(seed=1)
    assert await film() == await film()
    red, blue = Input(data_url("red")), Input(data_url("blue"))
    films = [
        await film(seed=1),
        await film(seed=2),
        await film(seed=1, kind="i2v", inputs=(red,)),
        await film(seed=1, kind="ref2v", inputs=(blue,)),
        await film(seed=1, kind="flf2v", inputs=(red, blue)),
    ]
    assert len(set(films)) == len(films)


async def test_a_cursor_carries_ends_by_role_and_only_small_inline_images():
    async def cursor(*inputs: Input) -> tuple[bool, bool]:
        job = await sandbox().submit(filming(kind="flf2v", inputs=inputs), ACCOUNT)
        return job.cursor["first"] is not None, job.cursor["last"] is not None

    assert await cursor(Input(data_url(), "last_frame")) == (False, True)
    assert await cursor(Input(data_url()), Input(data_url())) == (True, True)
    assert await cursor(Input("https://example.com/a.png")) == (False, False)


async def test_a_cursor_carries_no_large_image():
    rng = random.Random(1)
    out = io.BytesIO()
    Image.frombytes("RGB", (900, 900), rng.randbytes(900 * 900 * 3)).save(out, "PNG", compress_level=0)
    large = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    assert len(out.getvalue()) > 2 * 1024 * 1024
    job = await sandbox().submit(filming(kind="i2v", inputs=(Input(large),)), ACCOUNT)
    assert job.cursor["first"] is None


@pytest.mark.parametrize("seconds", [0, 0.5, 31, float("nan")])
async def test_a_length_that_is_impossible_is_refused(seconds: float):
    with pytest.raises(errors.UpstreamRefusedParameter) as caught:
        await sandbox().submit(filming(seconds=seconds), ACCOUNT)
    assert caught.value.param == "seconds"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": Size("1:1", 65, 65)}, "size"),
        ({"size": Size("1:1", 4000, 4000)}, "size"),
        ({"inputs": (Input("data:image/png;base64,AAAA"),)}, "image"),
    ],
)
async def test_a_film_that_cannot_be_made_is_no_job(fields: dict[str, Any], param: str):
    with pytest.raises(errors.InvalidRequest) as caught:
        await sandbox().submit(filming(**fields), ACCOUNT)
    assert caught.value.param == param


async def test_a_job_can_be_cancelled_until_it_is_done():
    clock = Clock()
    upstream = sandbox(clock, video_seconds=4)
    job = await upstream.submit(filming(), ACCOUNT)
    clock.now += 3.9
    assert await upstream.cancel(job, ACCOUNT)
    clock.now += 0.1
    assert not await upstream.cancel(job, ACCOUNT)


async def test_a_job_of_somebody_else_is_not_known():
    with pytest.raises(errors.JobLost):
        await sandbox().poll(Job("x", {"prompt": 1}), ACCOUNT)


# --- faults ---


def operations(upstream: Sandbox, line: str, account: Account = ACCOUNT) -> dict[str, Any]:
    """Every way to ask for work, by kind, with a fault asked for."""
    told = hints(line)
    return {
        "t2t": lambda: all_of(upstream.chat(asking(fault=line), account)),
        "t2i": lambda: all_of(upstream.image(ImageRequest("m", "x", size=TINY, hints=told), account)),
        "tts": lambda: all_of(upstream.speech(SpeechRequest("m", "x", hints=told), account)),
        "t2m": lambda: all_of(upstream.music(MusicRequest("m", "x", seconds=1, hints=told), account)),
        "t2v": lambda: upstream.submit(filming(line), account),
        "embedding": lambda: upstream.embed(EmbeddingRequest("m", ("x",), hints=told), account),
        "transcription": lambda: upstream.transcribe(TranscriptionRequest("m", b"", "x", "", hints=told), account),
    }


@pytest.mark.parametrize("name", sorted(REFUSALS))
async def test_a_refusal_meets_every_kind_of_work(name: str):
    for work in operations(sandbox(), name).values():
        with pytest.raises(REFUSALS[name]):
            await work()


@pytest.mark.parametrize("name", sorted(INTERRUPTIONS))
async def test_an_interruption_meets_every_kind_of_work(name: str):
    for work in operations(sandbox(), f"{name};after=1").values():
        with pytest.raises(INTERRUPTIONS[name]):
            await work()


async def test_every_fault_there_is_has_been_tried_here():
    jobs = {"slow_job", "failed_job", "expired_job", "lost_job", "lost_create"}
    assert {*REFUSALS, *INTERRUPTIONS, "silence", "paced", *jobs} == set(KEYS)


@pytest.mark.parametrize("kind", ["t2t", "t2i", "tts", "t2m"])
async def test_a_paced_account_says_so_once_the_answer_has_begun(kind: str):
    upstream = sandbox()
    whole = await operations(upstream, "", ACCOUNT)[kind]()
    told = await operations(upstream, "", faulty("paced;seconds=7"))[kind]()
    assert told == [whole[0], Paced(7.0), *whole[1:]]


@pytest.mark.parametrize("kind", ["t2v", "embedding"])
async def test_a_paced_account_works_where_it_has_no_events(kind: str):
    assert await operations(sandbox(), "", faulty("paced"))[kind]()


async def test_a_pace_is_kept_to_its_kinds():
    events = await all_of(sandbox().chat(asking(), faulty("paced;kinds=t2i")))
    assert not [event for event in events if isinstance(event, Paced)]


async def test_no_caller_paces_an_account_for_others():
    events = await all_of(sandbox().chat(asking(fault="paced"), ACCOUNT))
    assert events == await all_of(sandbox().chat(asking(), ACCOUNT))


async def test_an_unknown_fault_lists_the_known_ones():
    with pytest.raises(errors.InvalidRequest, match="known are rate_limit, daily_quota") as caught:
        await all_of(sandbox().chat(asking(fault="oops"), ACCOUNT))
    assert caught.value.param == "x-sandbox-fault"


@pytest.mark.parametrize("name", sorted(INTERRUPTIONS))
async def test_an_interruption_lets_so_many_events_through(name: str):
    whole = await all_of(sandbox().chat(asking(), ACCOUNT))
    events = sandbox().chat(asking(fault=f"{name};after=3"), ACCOUNT)
    assert [await anext(events) for _ in range(3)] == whole[:3]
    with pytest.raises(INTERRUPTIONS[name]):
        await anext(events)
    first = sandbox().chat(asking(fault=f"{name};after=0"), ACCOUNT)
    with pytest.raises(INTERRUPTIONS[name]):
        await anext(first)


async def test_a_silence_is_one_and_then_it_goes_on():
    events = sandbox().chat(asking(fault="silence;seconds=60;after=1"), ACCOUNT)
    await anext(events)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(events), 0.05)
    brief = await all_of(sandbox().chat(asking(fault="silence;seconds=0.01"), ACCOUNT))
    assert brief[-1] == Finish("stop")


async def test_a_rate_limit_and_a_quota_say_when_they_end():
    with pytest.raises(errors.RateLimited) as limited:
        await all_of(sandbox().chat(asking(fault="rate_limit;retry_after=7"), ACCOUNT))
    assert limited.value.retry_after == 7
    with pytest.raises(errors.QuotaExhausted) as spent:
        await all_of(sandbox(Clock(NOON)).chat(asking(fault="daily_quota"), ACCOUNT))
    assert spent.value.retry_after == 12 * 3600


async def test_a_fault_is_kept_to_its_kinds_and_its_account():
    upstream = sandbox()
    assert await all_of(upstream.chat(asking(fault="refused;kinds=t2v,t2i"), ACCOUNT))
    with pytest.raises(errors.ContentRefused):
        await upstream.submit(filming("refused;kinds=t2v,t2i"), ACCOUNT)
    assert await all_of(upstream.chat(asking(fault="refused;account=b"), ACCOUNT))
    with pytest.raises(errors.ContentRefused):
        await all_of(upstream.chat(asking(fault="refused;account=a"), ACCOUNT))


async def test_a_share_of_requests_suffers_always_the_same_ones():
    async def suffers(seed: int) -> bool:
        try:
            await sandbox().submit(filming("server_error;rate=0.3", seed=seed), ACCOUNT)
        except errors.UpstreamFailed:
            return True
        return False

    fates = [await suffers(seed) for seed in range(100)]
    assert 15 < sum(fates) < 45
    assert fates[:20] == [await suffers(seed) for seed in range(20)]


async def test_an_account_has_a_fault_of_its_own():
    upstream, rejected = sandbox(), faulty("bad_key")
    with pytest.raises(errors.CredentialRejected):
        await all_of(upstream.chat(asking(), rejected))
    with pytest.raises(errors.RateLimited):
        await all_of(upstream.chat(asking(fault="rate_limit"), rejected))
    job = await upstream.submit(filming(), ACCOUNT)
    for ask in (upstream.probe, upstream.models, upstream.balance, lambda account: upstream.poll(job, account)):
        with pytest.raises(errors.CredentialRejected):
            await ask(rejected)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("challenge", errors.Challenged),
        ("unreachable", errors.UpstreamUnreachable),
        ("no_balance", errors.BalanceExhausted),
    ],
)
async def test_a_probe_and_a_balance_say_what_is_wrong(line: str, kind: type[errors.GatewayError]):
    for ask in (sandbox().probe, sandbox().balance):
        with pytest.raises(kind):
            await ask(faulty(line))


async def test_there_is_no_end_to_what_costs_nothing():
    assert await sandbox().balance(ACCOUNT) == Balance(None, "nothing")


@pytest.mark.parametrize("line", ["", "refused", "cut", "paced", "slow_job", "bad_key;kinds=t2v", "bad_key;account=z"])
async def test_a_probe_passes_unless_the_account_is_at_fault(line: str):
    await sandbox().probe(faulty(line) if line else ACCOUNT)
    await sandbox().balance(faulty(line) if line else ACCOUNT)


async def test_a_slow_job_takes_as_long_as_it_says():
    clock = Clock()
    upstream = sandbox(clock, video_seconds=0)
    job = await upstream.submit(filming("slow_job;seconds=100"), ACCOUNT)
    clock.now += 99
    assert (await upstream.poll(job, ACCOUNT)).state == "running"
    clock.now += 1
    assert (await upstream.poll(job, ACCOUNT)).state == "succeeded"


@pytest.mark.parametrize(
    ("name", "state", "error"),
    [("failed_job", "failed", errors.GenerationFailed), ("expired_job", "expired", errors.TaskExpired)],
)
async def test_a_job_ends_badly_half_way(name: str, state: str, error: type[Exception]):
    clock = Clock()
    upstream = sandbox(clock, video_seconds=4)
    job = await upstream.submit(filming(name), ACCOUNT)
    clock.now += 1
    assert (await upstream.poll(job, ACCOUNT)).state == "running"
    clock.now += 1
    update = await upstream.poll(job, ACCOUNT)
    assert update.state == state
    assert isinstance(update.error, error)


async def test_a_lost_job_is_not_known_any_more():
    upstream = sandbox()
    job = await upstream.submit(filming("lost_job"), ACCOUNT)
    with pytest.raises(errors.JobLost):
        await upstream.poll(job, ACCOUNT)
    with pytest.raises(errors.JobLost):
        await upstream.cancel(job, ACCOUNT)


async def test_a_lost_create_leaves_its_outcome_open():
    with pytest.raises(errors.UpstreamTimeout) as caught:
        await sandbox().submit(filming("lost_create"), ACCOUNT)
    assert caught.value.sent == "unknown"
