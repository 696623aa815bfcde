"""The emulator is what it says: the vendor's own SDK takes it for the vendor."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import av
import httpx
import pytest
from byteplussdkarkruntime import AsyncArk
from byteplussdkarkruntime import _exceptions as raised
from byteplussdkarkruntime.types.images import OptimizePromptOptions, SequentialImageGenerationOptions
from PIL import Image

from tests.emulators.ark import (
    API,
    FAST,
    FIFTH,
    FIFTH_LITE,
    FIFTH_PRO,
    FOUR_FIVE,
    FOURTH,
    FREE_TRIAL,
    KEY,
    LITE,
    OLD,
    PRO,
    REPLY,
    SAYS,
    SECOND,
    SECOND_FAST,
    SEED,
    SOUND,
    T2V,
    ArkSite,
    Cut,
    Plan,
    Raw,
    Refusal,
    Slow,
    StillPlan,
    image,
)
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

WORDS = {"type": "text", "text": "waves at dusk"}
Tasks = Any


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> ArkSite:
    return ArkSite((KEY, "another-key-0002"), clock=clock, queued_seconds=10, running_seconds=50)


@pytest.fixture
async def client(site: ArkSite) -> AsyncIterator[Callable[..., Tasks]]:
    """The SDK's tasks, as some key's account has them."""
    async with serve(site.app) as url, AsyncExitStack() as opened:

        def tasks(key: str = KEY) -> Tasks:
            made = AsyncArk(api_key=key, base_url=url + API, max_retries=0, timeout=20)
            opened.push_async_callback(made.close)
            return made.content_generation.tasks

        yield tasks


@pytest.fixture
async def sdk(site: ArkSite) -> AsyncIterator[AsyncArk]:
    async with serve(site.app) as url:
        made = AsyncArk(api_key=KEY, base_url=url + API, max_retries=0, timeout=20)
        yield made
        await made.close()


@pytest.fixture
def tasks(client: Callable[..., Tasks]) -> Tasks:
    return client()


def frame(role: str | None = None, url: str = "https://example.com/a.png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}} | ({"role": role} if role else {})


async def test_a_video_is_queued_made_and_there(tasks: Tasks, site: ArkSite, clock: Clock) -> None:
    made = await tasks.create(
        model=PRO, content=[WORDS], resolution="720p", ratio="16:9", duration=5, seed=11, watermark=False
    )
    assert made.id.startswith("cgt-")
    seen = []
    for _ in range(3):
        seen.append(await tasks.get(task_id=made.id))
        clock.now += 30
    assert [told.status for told in seen] == ["queued", "running", "succeeded"]
    done = seen[2]
    assert (done.seed, done.resolution, done.ratio, done.duration, done.framespersecond) == (11, "720p", "16:9", 5, 24)
    assert (done.model, done.usage.completion_tokens, done.created_at) == (PRO, 5000, 1_790_000_000)
    async with httpx.AsyncClient() as web:
        data = (await web.get(done.content.video_url)).content
    with av.open(io.BytesIO(data)) as film:
        assert film.duration
    assert (site.creates[0].body["seed"], site.downloads) == (11, [made.id])
    assert [job.id for job in site.charged] == [made.id]


async def test_a_record_tells_seed_and_length_only_of_what_succeeded(tasks: Tasks, clock: Clock) -> None:
    made = await tasks.create(model=PRO, content=[WORDS], seed=11, execution_expires_after=4000)
    waiting = await tasks.get(task_id=made.id)
    assert (waiting.execution_expires_after, waiting.service_tier) == (4000, "default")
    assert getattr(waiting, "seed", None) is None
    clock.now += 100
    assert (await tasks.get(task_id=made.id)).seed == 11


async def test_the_second_generation_draws_its_own_seed(tasks: Tasks, clock: Clock) -> None:
    made = await tasks.create(model=SECOND, content=[WORDS], seed=2**31)
    clock.now += 100
    assert (await tasks.get(task_id=made.id)).seed < 100_000


@pytest.mark.parametrize(
    ("model", "content", "options"),
    [
        (PRO, [WORDS], {}),
        (PRO, [WORDS], {"frames": 29}),
        (PRO, [WORDS], {"service_tier": "flex"}),
        (FAST, [WORDS, frame()], {"ratio": "adaptive"}),
        (T2V, [WORDS], {"duration": 2}),
        (LITE, [frame("first_frame", image())], {}),
        (LITE, [WORDS, *[frame("reference_image")] * 4], {"resolution": "720p"}),
        (SOUND, [WORDS, frame("first_frame"), frame("last_frame")], {"duration": -1, "generate_audio": False}),
        (SOUND, [WORDS], {"draft": True, "resolution": "480p", "camera_fixed": True}),
        (SECOND, [WORDS, *[frame("reference_image")] * 9], {"resolution": "4k", "priority": 9}),
        (SECOND, [WORDS], {"extra_body": {"tools": [{"type": "web_search"}]}, "safety_identifier": "u"}),
        (FIFTH, [WORDS, frame("first_frame")], {"duration": 30, "ratio": "adaptive", "output_format": "mov"}),
        (f"doubao-{PRO}", [WORDS], {}),
        ("doubao-seedance-2-0-260128", [WORDS], {}),
    ],
)
async def test_each_mode_is_taken(tasks: Tasks, model: str, content: list[Any], options: dict[str, Any]) -> None:
    made = await tasks.create(model=model, content=content, **options)
    assert (await tasks.get(task_id=made.id)).status == "queued"


@pytest.mark.parametrize(
    ("model", "content", "options", "param"),
    [
        (PRO, [], {}, "content"),
        (PRO, [WORDS], {"extra_body": {"colour": "red"}}, "colour"),
        (PRO, [WORDS], {"duration": 13}, "duration"),
        (PRO, [WORDS], {"duration": -1}, "duration"),
        (PRO, [WORDS], {"extra_body": {"duration": 5.5}}, "duration"),
        (PRO, [WORDS], {"frames": 30}, "frames"),
        (SOUND, [WORDS], {"frames": 29}, "frames"),
        (SOUND, [WORDS], {"duration": 3}, "duration"),
        (PRO, [WORDS], {"resolution": "4k"}, "resolution"),
        (SECOND_FAST, [WORDS], {"resolution": "1080p"}, "resolution"),
        (LITE, [WORDS, frame("reference_image")], {"resolution": "1080p"}, "resolution"),
        (PRO, [WORDS], {"ratio": "5:4"}, "ratio"),
        (PRO, [WORDS], {"ratio": "adaptive"}, "ratio"),
        (FIFTH, [frame("first_frame")], {"ratio": "16:9"}, "ratio"),
        (PRO, [WORDS], {"seed": 2**32}, "seed"),
        (PRO, [WORDS], {"seed": -2}, "seed"),
        (PRO, [WORDS], {"execution_expires_after": 3599}, "execution_expires_after"),
        (PRO, [WORDS], {"execution_expires_after": 259_201}, "execution_expires_after"),
        (PRO, [WORDS], {"service_tier": "cheap"}, "service_tier"),
        (SECOND, [WORDS], {"service_tier": "flex"}, "service_tier"),
        (PRO, [WORDS], {"extra_body": {"watermark": "no"}}, "watermark"),
        (PRO, [WORDS], {"draft": True}, "draft"),
        (PRO, [WORDS], {"priority": 1}, "priority"),
        (PRO, [WORDS], {"extra_body": {"tools": [{"type": "web_search"}]}}, "tools"),
        (T2V, [WORDS, frame()], {}, "content"),
        (FAST, [frame("first_frame"), frame("last_frame")], {}, "content"),
        (PRO, [WORDS, frame("reference_image")], {}, "content"),
        (PRO, [frame("first_frame"), frame()], {}, "content"),
        (SECOND, [frame("first_frame"), frame("reference_image")], {}, "content"),
        (SECOND, [frame("reference_image")] * 10, {}, "content"),
        (PRO, [frame(url=image(200, 320))], {}, "content[0].image_url"),
        (PRO, [frame(url=image(301, 900))], {}, "content[0].image_url"),
        (PRO, [frame(url="data:image/png;base64,bm8=")], {}, "content[0].image_url"),
        (PRO, [frame(url="object:uploads/x")], {}, "content[0].image_url"),
        (PRO, [{"type": "audio_url", "audio_url": {"url": "https://x"}}], {}, "content[0]"),
    ],
)
async def test_what_the_vendor_would_refuse_is_refused(
    tasks: Tasks, site: ArkSite, model: str, content: list[Any], options: dict[str, Any], param: str
) -> None:
    with pytest.raises(raised.ArkBadRequestError) as caught:
        await tasks.create(model=model, content=content, **options)
    assert caught.value.param == param
    assert "Request id: 0217" in str(caught.value)
    assert (site.creates, site.jobs) == ([], {})


async def test_keys_models_and_words_are_looked_at(client: Callable[..., Tasks], site: ArkSite) -> None:
    with pytest.raises(raised.ArkAuthenticationError) as caught:
        await client("wrong-key-0003").create(model=PRO, content=[WORDS])
    assert caught.value.code == "AuthenticationError"
    with pytest.raises(raised.ArkNotFoundError) as unknown:
        await client().create(model="seedance-9", content=[WORDS])
    assert unknown.value.code == "InvalidEndpointOrModel.NotFound"
    site.closed.add(PRO)
    with pytest.raises(raised.ArkNotFoundError) as closed:
        await client().create(model=PRO, content=[WORDS])
    assert closed.value.code == "ModelNotOpen"
    with pytest.raises(raised.ArkBadRequestError) as refused:
        await client().create(model=FAST, content=[{"type": "text", "text": "something forbidden"}])
    assert refused.value.code == "InputTextSensitiveContentDetected"


async def test_an_endpoint_is_its_model(tasks: Tasks, site: ArkSite) -> None:
    site.endpoints["ep-20261121-abcde"] = SOUND
    made = await tasks.create(model="ep-20261121-abcde", content=[WORDS])
    assert (await tasks.get(task_id=made.id)).model == SOUND
    for name, count in (("ep-20261121-abcde", 1), (SOUND, 0)):
        assert (await tasks.list(model=name)).total == count


async def test_jobs_are_their_account_s(client: Callable[..., Tasks]) -> None:
    made = await client().create(model=PRO, content=[WORDS])
    with pytest.raises(raised.ArkNotFoundError):
        await client("another-key-0002").get(task_id=made.id)
    assert (await client("another-key-0002").list()).total == 0


async def test_the_list_has_pages_and_filters(tasks: Tasks, clock: Clock) -> None:
    names = [(await tasks.create(model=model, content=[WORDS])).id for model in (PRO, PRO, FAST)]
    flex = await tasks.create(model=PRO, content=[WORDS], service_tier="flex")
    pages = [await tasks.list(page_num=number, page_size=2) for number in (1, 2)]
    assert [item.id for page in pages for item in page.items or ()] == names[::-1]
    assert {page.total for page in pages} == {3}
    assert [item.id for item in (await tasks.list(task_ids=names[:2])).items] == names[1::-1]
    assert [item.id for item in (await tasks.list(model=FAST)).items] == names[2:]
    assert [item.id for item in (await tasks.list(service_tier="flex")).items] == [flex.id]
    assert (await tasks.list(status="succeeded")).total == 0
    clock.now += 100
    assert (await tasks.list(status="succeeded")).total == 3
    clock.now += 7 * 86_400
    assert (await tasks.list()).total == 0


@pytest.mark.parametrize("options", [{"page_size": 501}, {"page_num": 501}, {"status": "done"}])
async def test_a_wrong_list_is_refused(tasks: Tasks, options: dict[str, Any]) -> None:
    with pytest.raises(raised.ArkBadRequestError):
        await tasks.list(**options)


async def test_a_key_of_custom_rights_names_what_it_lists(tasks: Tasks, site: ArkSite) -> None:
    site.limited.add(KEY)
    with pytest.raises(raised.ArkPermissionDeniedError):
        await tasks.list()
    assert (await tasks.list(model=PRO)).total == 0


async def test_the_list_has_its_pace(tasks: Tasks, site: ArkSite) -> None:
    site.lists_per_second = 0.01
    await tasks.list()
    with pytest.raises(raised.ArkRateLimitError):
        await tasks.list()


async def test_a_delete_cancels_what_waits_and_erases_what_is_finished(
    tasks: Tasks, site: ArkSite, clock: Clock
) -> None:
    first, second = [(await tasks.create(model=PRO, content=[WORDS])).id for _ in range(2)]
    await tasks.delete(task_id=first)
    assert (await tasks.get(task_id=first)).status == "cancelled"
    clock.now += 30
    for name in (first, second):  # one cancelled already, one running
        with pytest.raises(raised.ArkBadRequestError):
            await tasks.delete(task_id=name)
    clock.now += 60
    await tasks.delete(task_id=second)
    with pytest.raises(raised.ArkNotFoundError):
        await tasks.get(task_id=second)
    clock.now += 86_400
    with pytest.raises(raised.ArkNotFoundError):
        await tasks.get(task_id=first)
    assert (site.deletes, site.erased) == ([first, first, second, second], [second])


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        (Plan(ends="failed", error=("OutputVideoSensitiveContentDetected", "no")), "failed"),
        (Plan(ends="expired"), "expired"),
        (Plan(queued=4000), "expired"),
        (Plan(running=500, word="polishing"), "polishing"),
    ],
)
async def test_a_job_ends_as_it_is_planned(tasks: Tasks, site: ArkSite, clock: Clock, plan: Plan, status: str) -> None:
    site.plan = plan
    made = await tasks.create(model=PRO, content=[WORDS], execution_expires_after=3600)
    clock.now += 3600 if plan.queued else 100
    told = await tasks.get(task_id=made.id)
    assert told.status == status
    if status == "failed":
        assert (told.error.code, told.error.message) == plan.error


async def test_plans_are_for_one_job_each_and_jobs_can_be_held_and_forgotten(
    tasks: Tasks, site: ArkSite, clock: Clock
) -> None:
    site.plans.extend([Plan(ends="failed"), Plan()])
    first, second = [(await tasks.create(model=PRO, content=[WORDS])).id for _ in range(2)]
    clock.now += 100
    assert site.statuses() == {first: "failed", second: "succeeded"}
    site.hold("running", second)
    assert (await tasks.get(task_id=second)).status == "running"
    site.hold(None)
    site.forget(first)
    with pytest.raises(raised.ArkNotFoundError):
        await tasks.get(task_id=first)
    assert (await tasks.list()).total == 1


@pytest.mark.parametrize(
    ("result", "status", "whole"),
    [
        ("film", 200, True),
        ("forbidden", 403, False),
        ("gone", 404, False),
        ("truncated", 200, False),
        ("text", 200, False),
        ("slow", 200, True),
    ],
)
async def test_a_result_is_as_it_is_planned(
    tasks: Tasks, site: ArkSite, clock: Clock, result: Any, status: int, whole: bool
) -> None:
    site.plan, site.result_seconds = Plan(result=result), 0.05
    made = await tasks.create(model=PRO, content=[WORDS], return_last_frame=True)
    clock.now += 100
    content = (await tasks.get(task_id=made.id)).content
    async with httpx.AsyncClient() as web:
        answer = await web.get(content.video_url)
        still = await web.get(content.last_frame_url)
        assert (await web.get(content.video_url[:-1])).status_code in (403, 404)
    assert (answer.status_code, made.id.encode() in answer.content) == (status, whole)
    assert still.status_code == status


async def test_a_success_may_name_no_video(tasks: Tasks, site: ArkSite, clock: Clock) -> None:
    site.plan = Plan(result="none")
    made = await tasks.create(model=PRO, content=[WORDS])
    clock.now += 100
    assert getattr((await tasks.get(task_id=made.id)).content, "video_url", None) is None


CLASSES = {
    400: raised.ArkBadRequestError,
    401: raised.ArkAuthenticationError,
    403: raised.ArkPermissionDeniedError,
    404: raised.ArkNotFoundError,
    429: raised.ArkRateLimitError,
    500: raised.ArkInternalServerError,
}


@pytest.mark.parametrize("code", sorted(SAYS))
async def test_each_code_comes_with_its_status(tasks: Tasks, site: ArkSite, code: str) -> None:
    site.fail("create", Refusal(code, headers={"Retry-After": "7"}))
    with pytest.raises(CLASSES[SAYS[code][0]]) as caught:
        await tasks.create(model=PRO, content=[WORDS])
    assert (caught.value.code, caught.value.response.headers["retry-after"]) == (code, "7")
    assert site.jobs == {}


async def test_creates_are_refused_as_long_as_they_shall_be(tasks: Tasks, site: ArkSite) -> None:
    site.refuse_creates = Refusal("QuotaExceeded", FREE_TRIAL)
    for _ in range(2):
        with pytest.raises(raised.ArkRateLimitError, match="free trial"):
            await tasks.create(model=PRO, content=[WORDS])
    site.refuse_creates = None
    await tasks.create(model=PRO, content=[WORDS])


async def test_no_more_than_so_many_jobs_wait(tasks: Tasks, site: ArkSite, clock: Clock) -> None:
    site.most_queued = 1
    await tasks.create(model=PRO, content=[WORDS])
    with pytest.raises(raised.ArkRateLimitError) as caught:
        await tasks.create(model=PRO, content=[WORDS])
    assert caught.value.code == "QuotaExceeded"
    clock.now += 20
    await tasks.create(model=PRO, content=[WORDS])
    assert site.unfinished.most == 2


async def test_a_lost_reply_leaves_a_job_and_a_dropped_create_none(tasks: Tasks, site: ArkSite) -> None:
    site.lose_create_replies, site.drop_creates = 1, 2
    jobs = []
    for _ in range(3):
        with pytest.raises(raised.ArkAPIConnectionError):
            await tasks.create(model=PRO, content=[WORDS])
        jobs.append(len(site.jobs))
    assert jobs == [0, 0, 1]
    await tasks.create(model=PRO, content=[WORDS])
    assert (len(site.jobs), len(site.creates)) == (2, 2)
    assert [seen.operation for seen in site.requests] == ["create"] * 4


async def test_slow_creates_are_counted_at_once(tasks: Tasks, site: ArkSite) -> None:
    site.create_seconds = 0.05
    await asyncio.gather(*(tasks.create(model=PRO, content=[WORDS]) for _ in range(3)))
    assert (site.gauges["create"].most, site.gauges["create"].now) == (3, 0)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Refusal("InternalServiceError"), raised.ArkInternalServerError),
        (Raw(502), raised.ArkInternalServerError),
        (Cut(), raised.ArkAPIConnectionError),
        (Cut(done=True), raised.ArkAPIConnectionError),
    ],
)
async def test_polls_lists_and_deletes_fail_as_they_shall(
    tasks: Tasks, site: ArkSite, fault: Any, error: type[Exception]
) -> None:
    made = await tasks.create(model=PRO, content=[WORDS])
    site.poll_fault = site.list_fault = site.delete_fault = fault
    for call in (tasks.get(task_id=made.id), tasks.list(), tasks.delete(task_id=made.id)):
        with pytest.raises(error):
            await call
    site.poll_fault = site.list_fault = site.delete_fault = None
    site.fail("get", fault)
    with pytest.raises(error):
        await tasks.get(task_id=made.id)
    await tasks.get(task_id=made.id)
    assert (site.deletes == [made.id]) == (fault == Cut(done=True)), "only a lost reply belongs to a thing done"


async def test_a_slow_answer_comes(tasks: Tasks, site: ArkSite) -> None:
    made = await tasks.create(model=PRO, content=[WORDS])
    site.fail("get", Slow(0.02))
    assert (await tasks.get(task_id=made.id)).id == made.id


# --- images ---

SETS = SequentialImageGenerationOptions(max_images=3)
BLOCKED = ("OutputImageSensitiveContentDetected", "The output image may contain sensitive information.")


async def test_an_image_is_made_and_there(sdk: AsyncArk, site: ArkSite) -> None:
    made = await sdk.images.generate(model=FOUR_FIVE, prompt="a cat", size="2560x1440", watermark=False)
    [one] = made.data
    assert (one.size, made.usage.generated_images, made.usage.output_tokens) == ("2560x1440", 1, 14400)
    async with httpx.AsyncClient() as web:
        data = (await web.get(one.url)).content
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.size, picture.format) == ((2560, 1440), "JPEG")
    assert site.paints == [{"model": FOUR_FIVE, "prompt": "a cat", "size": "2560x1440", "watermark": False}]


async def test_an_image_may_come_in_base64_and_as_png(sdk: AsyncArk) -> None:
    made = await sdk.images.generate(
        model=FIFTH_LITE, prompt="a cat", response_format="b64_json", output_format="png", size="2K"
    )
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")
    assert (made.data[0].size, made.data[0].output_format) == ("2048x2048", "png")


async def test_a_set_comes_image_by_image_and_tells_of_those_that_were_not_made(sdk: AsyncArk, site: ArkSite) -> None:
    asked = {
        "model": FOURTH,
        "prompt": "four seasons",
        "size": "1K",
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": SETS,
    }
    events = [event async for event in await sdk.images.generate(**asked, stream=True)]
    assert [event.type.partition(".")[2] for event in events] == ["partial_succeeded"] * 3 + ["completed"]
    assert [event.image_index for event in events[:3]] == [0, 1, 2]
    assert events[3].usage["generated_images"] == 3
    site.still_plan = StillPlan(errors={1: BLOCKED})
    whole = await sdk.images.generate(**asked)
    assert [getattr(one, "error", None) is None for one in whole.data] == [True, False, True]
    with pytest.raises(raised.ArkAPIError, match="sensitive"):  # the SDK makes an end at the first
        _ = [event async for event in await sdk.images.generate(**asked, stream=True)]


@pytest.mark.parametrize(
    ("model", "options", "param"),
    [
        (FOUR_FIVE, {"size": "1024x1024"}, "size"),
        (FOUR_FIVE, {"size": "1K"}, "size"),
        (FOUR_FIVE, {"size": "16384x512"}, "size"),
        (FOUR_FIVE, {"size": "square"}, "size"),
        (OLD, {"size": "2560x1440"}, "size"),
        (OLD, {"image": "https://example.com/a.png"}, "image"),
        (OLD, {"sequential_image_generation": "auto"}, "sequential_image_generation"),
        (OLD, {"stream": True}, "stream"),
        (FIFTH_PRO, {"size": "4096x4096"}, "size"),
        (FIFTH_PRO, {"image": ["https://example.com/a.png"] * 11}, "image"),
        (FIFTH_PRO, {"sequential_image_generation": "auto"}, "sequential_image_generation"),
        (FOURTH, {"seed": 7}, "seed"),
        (FOURTH, {"guidance_scale": 2.0}, "guidance_scale"),
        (FOURTH, {"output_format": "png"}, "output_format"),
        (FOURTH, {"image": "data:image/png;base64,aGk="}, "image"),
        (FOURTH, {"extra_body": {"n": 2}}, "n"),
        (FOUR_FIVE, {"optimize_prompt_options": OptimizePromptOptions(mode="fast")}, "optimize_prompt_options.mode"),
        (
            FOURTH,
            {
                "image": ["https://example.com/a.png"] * 13,
                "sequential_image_generation": "auto",
                "sequential_image_generation_options": SETS,
            },
            "sequential_image_generation_options.max_images",
        ),
    ],
)
async def test_what_the_vendor_would_not_draw_is_refused(
    sdk: AsyncArk, site: ArkSite, model: str, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(raised.ArkBadRequestError) as caught:
        await sdk.images.generate(model=model, prompt="a cat", **options)
    assert (caught.value.param, site.paints) == (param, [])


# --- text ---


async def test_text_is_answered_whole_or_word_by_word(sdk: AsyncArk, site: ArkSite) -> None:
    turns = [{"role": "user", "content": "Tell me of kites"}]
    whole = await sdk.chat.completions.create(model=SEED, messages=turns, thinking={"type": "enabled"})
    message = whole.choices[0].message
    assert (message.content, message.reasoning_content, whole.choices[0].finish_reason) == (REPLY, "Hm. ", "stop")
    stream = await sdk.chat.completions.create(
        model=SEED, messages=turns, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REPLY
    assert chunks[-1].usage.completion_tokens > 0
    assert [body["model"] for body in site.chats] == [SEED, SEED]


async def test_what_the_vendor_would_not_answer_is_refused(sdk: AsyncArk) -> None:
    turns = [{"role": "user", "content": "Tell me of kites"}]
    for options in ({"thinking": {"type": "deep"}}, {"max_tokens": 5, "max_completion_tokens": 5}, {"messages": []}):
        with pytest.raises(raised.ArkBadRequestError):
            await sdk.chat.completions.create(**{"model": SEED, "messages": turns, **options})
    with pytest.raises(raised.ArkNotFoundError):
        await sdk.chat.completions.create(model=PRO, messages=turns)
