"""The emulator is what it says: the vendor's own SDK takes it for the vendor."""

import base64
import io
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import av
import dashscope
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from dashscope.aigc.image_synthesis import ImageSynthesis
from dashscope.aigc.video_synthesis import VideoSynthesis
from dashscope.audio.qwen_tts import SpeechSynthesizer
from dashscope.v2 import errors as raised
from openai import BadRequestError, OpenAI, RateLimitError

from tests.emulators.dashscope import (
    API,
    KEY,
    SAYS,
    Bent,
    Broken,
    DashScopeSite,
    Plan,
    Raw,
    Refusal,
    image,
)
from tests.emulators.dashscope.checks import picture
from tests.emulators.dashscope.models import FILMS, SPEECHES, STILLS, STREAMED
from tests.emulators.serving import serve

OTHER = "sk-dashscope-emulator-0002"
WEB = "https://example.com/a.png"


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> DashScopeSite:
    return DashScopeSite((KEY, OTHER), clock=clock, queued_seconds=10, running_seconds=50)


@pytest.fixture
def url(site: DashScopeSite) -> Iterator[str]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(site.app)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Callable[..., Any]]:
    """The SDK, as some key's account has it."""
    yield lambda key=KEY: dashscope.Client(api_key=key, base_url=url + API, max_retries=0, timeout=5)


@pytest.fixture
def sdk(client: Callable[..., Any]) -> Any:
    return client()


@pytest.fixture
def old(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The functions of the SDK's first version."""
    monkeypatch.setattr(dashscope, "base_http_api_url", url + API)
    monkeypatch.setattr(dashscope, "api_key", KEY)
    return dashscope


def read(url: str) -> bytes:
    return httpx.get(url, trust_env=False).content


# --- films ---


def test_a_film_waits_is_made_and_there(sdk: Any, site: DashScopeSite, clock: Clock) -> None:
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a kite", resolution="720P", ratio="16:9", duration=5)
    assert made.status == "PENDING"
    seen = []
    for _ in range(3):
        seen.append(sdk.videos.jobs.fetch(made.task_id))
        clock.now += 30
    assert [told.status for told in seen] == ["PENDING", "RUNNING", "SUCCEEDED"]
    done = seen[2]
    assert (done.output["orig_prompt"], done.submitted_at) == ("a kite", "2026-09-21 22:13:20.000")
    with av.open(io.BytesIO(read(done.video_url))) as film:
        assert film.duration
    assert [create.id for create in site.creates] == [made.task_id]


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("wan2.7-i2v", {"image_url": WEB, "duration": 15}),
        ("wan2.7-i2v", {"media": [{"type": "first_frame", "url": WEB}, {"type": "last_frame", "url": WEB}]}),
        ("wan2.7-i2v", {"media": [{"type": "first_clip", "url": WEB}, {"type": "last_frame", "url": WEB}]}),
        ("wan2.7-r2v", {"prompt": "Image 1 runs", "media": [{"type": "reference_image", "url": WEB}] * 5}),
        ("wan2.6-t2v", {"prompt": "a kite", "size": "1280*720", "parameters": {"shot_type": "multi"}}),
        ("wan2.6-i2v-flash", {"image_url": image(), "prompt": "go", "resolution": "1080P"}),
        ("wan2.5-t2v-preview", {"prompt": "a kite", "extra_input": {"audio_url": "https://example.com/a.mp3"}}),
        ("wanx2.1-i2v-plus", {"image_url": WEB, "watermark": True, "prompt_extend": False, "seed": 2**31 - 1}),
    ],
)
def test_each_mode_is_taken(sdk: Any, model: str, given: dict[str, Any]) -> None:
    made = sdk.videos.jobs.create(model=model, **given)
    assert sdk.videos.jobs.fetch(made.task_id).status == "PENDING"


def test_the_first_version_of_the_sdk_makes_films_from_two_frames(old: Any, site: DashScopeSite, clock: Clock) -> None:
    given = {"first_frame_url": WEB, "last_frame_url": WEB, "resolution": "720P"}
    made = VideoSynthesis.async_call("wan2.2-kf2v-flash", prompt="from here to there", **given)
    assert made.status_code == HTTPStatus.OK, made.message
    assert site.creates[0].path == "aigc/image2video/video-synthesis"
    clock.now += 100
    assert VideoSynthesis.fetch(made).output.video_url
    assert VideoSynthesis.async_call("wan2.2-kf2v-flash", first_frame_url=WEB).code == "InvalidParameter"


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("wan2.7-t2v", {"prompt": "a", "duration": 16}, "duration"),
        ("wan2.7-t2v", {"prompt": "a", "duration": 1}, "duration"),
        ("wan2.7-t2v", {"prompt": "a", "size": "1280*720"}, "size"),
        ("wan2.7-t2v", {"prompt": "a", "ratio": "21:9"}, "ratio"),
        ("wan2.7-t2v", {"prompt": "a", "resolution": "480P"}, "resolution"),
        ("wan2.7-t2v", {"prompt": "a" * 5001}, "prompt"),
        ("wan2.7-t2v", {"prompt": "a", "image_url": WEB}, "img_url"),
        ("wan2.7-t2v", {"prompt": "a", "seed": 2**31}, "seed"),
        ("wan2.7-t2v", {"prompt": "a", "parameters": {"shot_type": "multi"}}, "shot_type"),
        ("wan2.7-t2v", {"prompt": "a", "watermark": "no"}, "watermark"),
        ("wan2.6-t2v", {"prompt": "a" * 1501}, "prompt"),
        ("wan2.6-t2v", {"prompt": "a", "size": "1280x720"}, "size"),
        ("wan2.6-t2v", {"prompt": "a", "size": "832*480"}, "size"),
        ("wan2.6-t2v", {"prompt": "a", "duration": 7}, "duration"),
        ("wan2.6-t2v", {"prompt": "a", "prompt_extend": False, "parameters": {"shot_type": "multi"}}, "shot_type"),
        ("wan2.2-t2v-plus", {"prompt": "a", "duration": 10}, "duration"),
        ("wan2.2-t2v-plus", {"prompt": "a", "parameters": {"audio": True}}, "audio"),
        ("wan2.6-i2v", {"prompt": "a"}, "img_url"),
        ("wan2.6-i2v", {"image_url": image(100, 320)}, "img_url"),
        ("wan2.6-i2v", {"image_url": "data:image/png;base64,bm8="}, "img_url"),
        ("wan2.6-i2v", {"image_url": WEB, "size": "1280*720"}, "size"),
        ("wan2.7-i2v", {"media": [{"type": "last_frame", "url": WEB}]}, "media"),
        ("wan2.7-i2v", {"media": [{"type": "reference_image", "url": WEB}]}, "media"),
        ("wan2.7-r2v", {"prompt": "a", "media": [{"type": "reference_image", "url": WEB}] * 6}, "media"),
        (
            "wan2.7-r2v",
            {"prompt": "a", "duration": 11, "media": [{"type": "reference_video", "url": "https://example.com/a.mp4"}]},
            "duration",
        ),
    ],
)
def test_what_the_vendor_would_refuse_is_refused(
    sdk: Any, site: DashScopeSite, model: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(raised.BadRequestError, match=said) as caught:
        sdk.videos.jobs.create(model=model, **given)
    assert (caught.value.code, site.creates, site.tasks) == ("InvalidParameter", [], {})


def test_keys_models_words_and_pictures_are_looked_at(client: Callable[..., Any], site: DashScopeSite) -> None:
    with pytest.raises(raised.AuthenticationError):
        client("sk-somebody-else").videos.jobs.create(model="wan2.7-t2v", prompt="a")
    with pytest.raises(raised.NotFoundError) as unknown:
        client().videos.jobs.create(model="wan9-t2v", prompt="a")
    assert unknown.value.code == "Model.NotExist"
    with pytest.raises(raised.ContentFilterError):
        client().videos.jobs.create(model="wan2.7-t2v", prompt="something forbidden")
    with pytest.raises(raised.APIStatusError) as unreachable:
        client().videos.jobs.create(model="wan2.6-i2v", image_url="https://example.com/unreachable.png")
    assert unreachable.value.code == "InvalidURL"
    site.closed.add("wan2.7-t2v")
    with pytest.raises(raised.PermissionDeniedError) as closed:
        client().videos.jobs.create(model="wan2.7-t2v", prompt="a")
    assert closed.value.code == "AccessDenied.Unpurchased"


def test_films_are_made_by_tasks_only_and_speech_is_not(url: str, site: DashScopeSite) -> None:
    sent = {"headers": {"Authorization": f"Bearer {KEY}"}, "trust_env": False}
    film = {"model": "wan2.7-t2v", "input": {"prompt": "a"}}
    answer = httpx.post(f"{url}{API}/services/aigc/video-generation/video-synthesis", json=film, **sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert "does not support synchronous calls" in answer.json()["message"]
    speech = {"model": "qwen3-tts-flash", "input": {"text": "Hello", "voice": "Cherry"}}
    sent["headers"] |= {"X-DashScope-Async": "enable"}
    answer = httpx.post(f"{url}{API}/services/aigc/multimodal-generation/generation", json=speech, **sent)
    assert "does not support asynchronous calls" in answer.json()["message"]
    assert site.creates == []


def test_a_workspace_is_named_where_it_must_be(url: str, site: DashScopeSite) -> None:
    site.workspaces = {site.accounts[KEY]: "ws-1"}
    for workspace, right in (("ws-1", True), ("ws-2", False), (None, False)):
        made = dashscope.Client(api_key=KEY, base_url=url + API, workspace=workspace, max_retries=0)
        if right:
            assert made.videos.jobs.create(model="wan2.7-t2v", prompt="a").task_id
        else:
            with pytest.raises(raised.PermissionDeniedError):
                made.videos.jobs.create(model="wan2.7-t2v", prompt="a")


# --- tasks ---


def test_tasks_are_their_account_s_for_a_day(client: Callable[..., Any], site: DashScopeSite, clock: Clock) -> None:
    made = client().videos.jobs.create(model="wan2.7-t2v", prompt="a")
    assert client(OTHER).videos.jobs.fetch(made.task_id).status == "UNKNOWN"
    assert client().videos.jobs.fetch("no-such-task").status == "UNKNOWN"
    clock.now += 86_399
    done = client().videos.jobs.fetch(made.task_id)
    clock.now += 2
    assert client().videos.jobs.fetch(made.task_id).status == "UNKNOWN"
    assert httpx.get(done.video_url, trust_env=False).status_code == 200, "its film is told of last"
    clock.now += 86_400
    assert httpx.get(done.video_url, trust_env=False).status_code == 403


def test_only_what_waits_is_cancelled(sdk: Any, site: DashScopeSite, clock: Clock) -> None:
    first, second = [sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a").task_id for _ in range(2)]
    sdk.videos.jobs.cancel(first)
    with pytest.raises(raised.DashScopeError, match="cancel"):
        sdk.videos.jobs.wait(first)
    clock.now += 30
    with pytest.raises(raised.APIStatusError) as caught:
        sdk.videos.jobs.cancel(second)
    assert (caught.value.code, caught.value.status_code) == ("UnsupportedOperation", 400)
    assert site.cancels == [first, second]


def test_a_task_that_failed_says_why_with_a_200(sdk: Any, site: DashScopeSite, clock: Clock) -> None:
    site.plan = Plan(ends="FAILED", error=("DataInspectionFailed", "Output data may contain inappropriate content."))
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    clock.now += 100
    with pytest.raises(raised.ContentFilterError) as caught:
        sdk.videos.jobs.fetch(made.task_id)
    assert (caught.value.code, caught.value.status_code) == ("DataInspectionFailed", 200)


def test_the_list_has_pages_and_filters(client: Callable[..., Any], clock: Clock) -> None:
    jobs = client().videos.jobs
    names = []
    for model in ("wan2.7-t2v", "wan2.7-t2v", "wan2.6-t2v"):
        names.append(jobs.create(model=model, prompt="a").task_id)
        clock.now += 3600
    pages = [jobs.list(page_no=number, page_size=2) for number in (1, 2)]
    assert [task.task_id for page in pages for task in page.tasks] == names[::-1]
    assert {page.total for page in pages} == {3}
    assert [task.task_id for task in jobs.list(model_name="wan2.6-t2v").tasks] == names[2:]
    assert jobs.list(status="PENDING").total == 0
    assert [task.task_id for task in jobs.list(start_time="20260921230000").tasks] == names[:0:-1]
    assert [task.task_id for task in jobs.list(end_time="20260921230000").tasks] == names[:1]
    assert client(OTHER).videos.jobs.list().total == 0


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        (Plan(ends="CANCELED"), "CANCELED"),
        (Plan(ends="UNKNOWN"), "UNKNOWN"),
        (Plan(running=500, word="SUSPENDED"), "SUSPENDED"),
        (Plan(queued=500), "PENDING"),
        (Plan(result="none"), "SUCCEEDED"),
    ],
)
def test_a_task_ends_as_it_is_planned(sdk: Any, site: DashScopeSite, clock: Clock, plan: Plan, status: str) -> None:
    site.plans.append(plan)
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    clock.now += 100
    told = sdk.videos.jobs.fetch(made.task_id)
    assert (told.status, told.video_url) == (status, None)


def test_tasks_can_be_held_and_forgotten(sdk: Any, site: DashScopeSite, clock: Clock) -> None:
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    clock.now += 100
    site.hold("RUNNING")
    assert sdk.videos.jobs.fetch(made.task_id).status == "RUNNING"
    site.hold(None)
    site.forget(made.task_id)
    assert sdk.videos.jobs.fetch(made.task_id).status == "UNKNOWN"
    assert sdk.videos.jobs.list().total == 0


@pytest.mark.parametrize(
    ("result", "status", "whole"),
    [
        ("whole", 200, True),
        ("forbidden", 403, False),
        ("gone", 404, False),
        ("truncated", 200, False),
        ("text", 200, False),
    ],
)
def test_a_result_is_as_it_is_planned(
    sdk: Any, site: DashScopeSite, clock: Clock, result: Any, status: int, whole: bool
) -> None:
    site.plan = Plan(result=result)
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    clock.now += 100
    where = sdk.videos.jobs.fetch(made.task_id).video_url
    answer = httpx.get(where, trust_env=False)
    assert (answer.status_code, made.task_id.encode() in answer.content) == (status, whole)
    assert httpx.get(where[:-1], trust_env=False).status_code in (403, 404)


# --- images ---


def test_newer_images_are_answered_at_once(sdk: Any, site: DashScopeSite) -> None:
    done = sdk.images.generate(model="wan2.6-t2i", prompt="a cat", n=2, size="1280x1280", negative_prompt="dogs")
    assert (done.succeeded, len(done.image_urls)) == (True, 2)
    assert all(read(url).startswith(b"\x89PNG") for url in done.image_urls)
    assert site.tasks == {}


def test_newer_images_can_be_made_by_tasks(sdk: Any, clock: Clock) -> None:
    made = sdk.images.jobs.create(model="wan2.6-image", prompt="make it blue", n=1, image_urls=[image()])
    clock.now += 100
    [url] = sdk.images.jobs.fetch(made.task_id).image_urls
    assert read(url).startswith(b"\x89PNG")


def test_older_images_are_made_by_tasks(sdk: Any, site: DashScopeSite, clock: Clock) -> None:
    made = sdk.images.jobs.create(model="wan2.2-t2i-flash", prompt="a cat", n=3, size="1024*1024")
    site.tasks[made.task_id].plan = Plan(missing={1: ("DataInspectionFailed", "Output data may be inappropriate.")})
    assert sdk.images.jobs.fetch(made.task_id).output["task_metrics"] == {"TOTAL": 3, "SUCCEEDED": 0, "FAILED": 0}
    clock.now += 100
    done = sdk.images.jobs.fetch(made.task_id)
    assert (done.status, len(done.results), len(done.image_urls)) == ("SUCCEEDED", 3, 2)
    assert done.results[1].code == "DataInspectionFailed"
    assert done.output["task_metrics"] == {"TOTAL": 3, "SUCCEEDED": 2, "FAILED": 1}


def test_the_first_version_of_the_sdk_edits_images(old: Any, clock: Clock) -> None:
    made = ImageSynthesis.async_call("wan2.5-i2i-preview", "make it blue", images=[WEB, WEB], n=1)
    assert made.status_code == HTTPStatus.OK, made.message
    edit = {"function": "description_edit_with_mask", "base_image_url": WEB, "mask_image_url": WEB}
    other = ImageSynthesis.async_call("wanx2.1-imageedit", "a hat", n=1, **edit)
    assert other.status_code == HTTPStatus.OK, other.message
    clock.now += 100
    assert ImageSynthesis.fetch(made).output.results[0].url
    wrong = ImageSynthesis.async_call("wanx2.1-imageedit", "a hat", n=1, **{**edit, "function": "description_edit"})
    assert wrong.code == "InvalidParameter"


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("wan2.6-t2i", {"size": "1024*1024"}, "size"),
        ("wan2.6-t2i", {"size": "2880*576"}, "size"),
        ("wan2.6-t2i", {"n": 5}, "n"),
        ("wan2.6-t2i", {"n": 0}, "n"),
        ("wan2.6-t2i", {"image_urls": [WEB]}, "input"),
        ("wan2.6-image", {}, "input"),
        ("wan2.6-image", {"image_urls": [WEB] * 5}, "input"),
        ("wan2.6-t2i", {"style": "<anime>"}, "style"),
        ("wan2.6-t2i", {"prompt": " "}, "messages"),
    ],
)
def test_an_image_that_the_vendor_would_refuse_is_refused(
    sdk: Any, site: DashScopeSite, model: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(raised.BadRequestError, match=said):
        sdk.images.generate(model=model, **{"prompt": "a cat", **given})
    assert site.creates == []


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("wan2.2-t2i-plus", {"size": "1024*400"}, "size"),
        ("wan2.2-t2i-plus", {"extra_input": {"messages": []}}, "messages"),
        ("wan2.2-t2i-plus", {"parameters": {"negative_prompt": "dogs"}}, "negative_prompt"),
        ("wan2.5-i2i-preview", {}, "url error"),
        ("qwen-image", {}, "url error"),
    ],
)
def test_an_older_image_that_the_vendor_would_refuse_is_refused(
    sdk: Any, site: DashScopeSite, model: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(raised.BadRequestError, match=said):
        sdk.images.jobs.create(model=model, prompt="a cat", **given)
    assert site.creates == []


def test_a_newer_model_makes_four_where_nobody_says(url: str) -> None:
    content = [{"text": "a cat"}]
    body = {"model": "wan2.7-image", "input": {"messages": [{"role": "user", "content": content}]}}
    answer = httpx.post(
        f"{url}{API}/services/aigc/multimodal-generation/generation",
        json=body,
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    assert len(answer.json()["output"]["choices"]) == 4


# --- files ---


def test_a_file_is_laid_down_and_read(sdk: Any, site: DashScopeSite, tmp_path: Path) -> None:
    file = tmp_path / "first.png"
    file.write_bytes(base64.b64decode(image().partition(",")[2]))
    sdk.videos.jobs.create(model="wan2.6-i2v", image_url=str(file))
    [key] = site.stored.objects
    assert site.stored.objects[key] == file.read_bytes()
    assert site.creates[0].body["input"]["img_url"] == f"oss://{key}"
    assert site.creates[0].headers["x-dashscope-ossresourceresolve"] == "enable"
    again = {"image_url": f"oss://{key}"}
    with pytest.raises(raised.DashScopeError) as caught:
        sdk.videos.jobs.create(model="wan2.6-i2v-flash", **again)
    assert caught.value.code == "InvalidParameter.DataInspection", "it is of one model"


def test_a_stored_file_is_not_read_without_being_asked_to(site: DashScopeSite) -> None:
    def closed(url: str) -> None:
        raise Refusal("InvalidParameter", url)

    with pytest.raises(Refusal):
        picture("input.img_url", "oss://a/b.png", closed)
    with pytest.raises(Refusal):
        picture("input.img_url", "file:///etc/passwd", closed)


def test_the_storage_takes_nothing_without_its_policy(url: str, sdk: Any, site: DashScopeSite) -> None:
    policy = httpx.get(
        f"{url}{API}/uploads",
        params={"action": "getPolicy", "model": "wan2.6-i2v"},
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    ).json()["data"]
    right = {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": f"{policy['upload_dir']}/a.png",
        "x-oss-object-acl": "private",
        "x-oss-forbid-overwrite": "true",
        "x-oss-content-type": "image/png",
        "success_action_status": "200",
    }

    def put(**changed: str) -> int:
        file = {"file": ("a.png", b"data")}
        return httpx.post(policy["upload_host"], data={**right, **changed}, files=file, trust_env=False).status_code

    assert put(Signature="wrong") == put(key="elsewhere/a.png") == put(extra="field") == 403
    assert (put(), put()) == (200, 403), "nothing is written over"


# --- speech ---


def test_speech_is_a_wav_behind_an_address(old: Any) -> None:
    said = SpeechSynthesizer.call("qwen3-tts-flash", "Hello there", voice="Cherry")
    assert said.status_code == HTTPStatus.OK, said.message
    assert read(said.output["audio"]["url"]).startswith(b"RIFF")
    assert said.usage["characters"] == 11


@pytest.mark.parametrize(
    ("given", "said"),
    [({"voice": "alloy"}, "voice"), ({}, "voice"), ({"voice": "Cherry", "text": "a" * 601}, "text")],
)
def test_speech_that_the_vendor_would_refuse_is_refused(old: Any, given: dict[str, Any], said: str) -> None:
    answer = SpeechSynthesizer.call("qwen3-tts-flash", **{"text": "Hello", **given})
    assert (answer.code, said in answer.message) == ("InvalidParameter", True)


# --- text ---


@pytest.fixture
def openai(url: str) -> OpenAI:
    return OpenAI(api_key=KEY, base_url=f"{url}/compatible-mode/v1", max_retries=0)


def test_text_is_openai_s_dialect(openai: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Tell me of kites"}]
    whole = openai.chat.completions.create(model="qwen-plus", messages=messages)
    streamed = openai.chat.completions.create(model="qwen-plus", messages=messages, stream=True)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert words == whole.choices[0].message.content
    extra = {"enable_thinking": False, "top_k": 5}
    assert openai.chat.completions.create(model="qwen-plus", messages=messages, extra_body=extra).choices


@pytest.mark.parametrize("model", STREAMED)
def test_some_models_think_and_answer_by_streams_only(openai: OpenAI, model: str) -> None:
    messages: Any = [{"role": "user", "content": "Tell me of kites"}]
    with pytest.raises(BadRequestError, match="enable_thinking"):
        openai.chat.completions.create(model=model, messages=messages)
    streamed = openai.chat.completions.create(model=model, messages=messages, stream=True)
    deltas = [chunk.choices[0].delta for chunk in streamed]
    assert [delta.reasoning_content for delta in deltas if hasattr(delta, "reasoning_content")] == ["Hm. "]


def test_text_goes_wrong_as_it_is_told_to(openai: OpenAI, site: DashScopeSite) -> None:
    messages: Any = [{"role": "user", "content": "Tell me of kites"}]
    site.fail("chat", Refusal("limit_requests"), Broken(2), Broken(2, b"data: {half\n\n"), Bent(cut_after=2))
    with pytest.raises(RateLimitError):
        openai.chat.completions.create(model="qwen-plus", messages=messages)
    for _ in range(2):
        with pytest.raises(Exception, match=r"."):
            list(openai.chat.completions.create(model="qwen-plus", messages=messages, stream=True))
    assert len(list(openai.chat.completions.create(model="qwen-plus", messages=messages, stream=True))) == 2
    with pytest.raises(BadRequestError) as caught:
        openai.chat.completions.create(model="qwen-plus", messages=[{"role": "user", "content": "forbidden"}])
    assert caught.value.code == "data_inspection_failed"


# --- faults ---


@pytest.mark.parametrize("code", sorted(SAYS))
def test_each_code_comes_with_its_status(sdk: Any, site: DashScopeSite, code: str) -> None:
    site.fail("create", Refusal(code, headers={"Retry-After": "7"}))
    with pytest.raises(raised.DashScopeError) as caught:
        sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    assert (caught.value.status_code, caught.value.code) == (SAYS[code][0], code)
    assert caught.value.headers["retry-after"] == "7"
    assert (site.creates, len(site.seen("create"))) == ([], 1)


def test_faults_come_once_each_and_in_order(sdk: Any, site: DashScopeSite) -> None:
    site.fail("get", Raw(502), None, Refusal("Throttling"))
    made = sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    with pytest.raises(raised.DashScopeError):
        sdk.videos.jobs.fetch(made.task_id)
    assert sdk.videos.jobs.fetch(made.task_id).status == "PENDING"
    with pytest.raises(raised.RateLimitError):
        sdk.videos.jobs.fetch(made.task_id)


def test_a_create_whose_reply_is_lost_is_done(sdk: Any, site: DashScopeSite) -> None:
    site.lose_create_replies = 1
    with pytest.raises(raised.APIConnectionError):
        sdk.videos.jobs.create(model="wan2.7-t2v", prompt="a")
    assert len(site.creates) == len(site.tasks) == 1


def test_every_model_has_a_place() -> None:
    assert not set(FILMS) & set(STILLS)
    assert not set(SPEECHES) & {*FILMS, *STILLS}
