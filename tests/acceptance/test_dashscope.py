"""Every kind of work by a Model Studio that is imitated: a real gateway, each of its doors, real media in the end."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, eventually, lines, running, served
from tests.acceptance.native import ask, refused, said, task_done
from tests.emulators.dashscope import KEY, REPLY, Cut, DashScopeSite, Plan, Raw, Refusal, image
from tests.emulators.qwen.media import png

FIRST, LAST = image(), image(400, 400)
MODELS = {
    "t2v": "wan2.7-t2v",
    "i2v": "wan2.7-i2v",
    "flf2v": "wan2.2-kf2v-flash",
    "ref2v": "wan2.7-r2v",
    "t2i": "wan2.6-t2i",
    "i2i": "wan2.7-image",
}
IMAGES = {"i2v": [FIRST], "flf2v": [FIRST, LAST], "ref2v": [FIRST, LAST], "i2i": [FIRST]}
FILMS = ("t2v", "i2v", "flf2v", "ref2v")


@pytest.fixture(scope="module")
def site() -> DashScopeSite:
    return DashScopeSite(queued_seconds=0, running_seconds=0.2)


@pytest.fixture(scope="module")
def gateway(site: DashScopeSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(site.app) as url:
        account = {"name": "a", "api_key": KEY, "max_concurrency": 4}
        stanza = {"name": "dashscope", "type": "dashscope", "base_url": url, "accounts": [account]}
        with running(tmp_path_factory.mktemp("dashscope"), {"upstreams": [stanza]}, secrets=[KEY]) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


@pytest.fixture(autouse=True)
def fresh(site: DashScopeSite) -> None:
    site.plan = Plan()
    site.plans.clear()
    site.creates.clear()
    site.downloads.clear()


def parts(kind: str, prompt: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": prompt}, *({"type": "image", "image": url} for url in IMAGES.get(kind, ()))]


def is_film(data: bytes) -> bool:
    with av.open(io.BytesIO(data)) as film:
        return bool(film.duration)


def is_picture(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size == (64, 36)


def is_sound(data: bytes, form: str) -> bool:
    with av.open(io.BytesIO(data)) as sound:
        return form in sound.format.name


def statuses(http: httpx.Client) -> list[str]:
    rows = http.get("/api/status").json()["accounts"]
    return sorted(row["status"] for row in rows if row["upstream"] == "dashscope")


# --- /api/chat ---


@pytest.mark.parametrize("stream", [False, True])
def test_text_in_the_native_api(http: httpx.Client, stream: bool) -> None:
    answer = http.post("/api/chat", json={"model": "qwen-plus", "message": "Tell me of kites", "stream": stream})
    assert answer.status_code == 200, answer.text
    if stream:
        *chunks, done = lines(answer)
        words = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        assert (words, done) == (REPLY, "[DONE]")
    else:
        assert said(answer.json()) == REPLY


@pytest.mark.parametrize("kind", ["t2i", "i2i"])
@pytest.mark.parametrize("stream", [False, True])
def test_images_in_the_native_api(http: httpx.Client, kind: str, stream: bool) -> None:
    body = {"model": MODELS[kind], "chatType": kind, "message": parts(kind, "a cat"), "stream": stream}
    answer = http.post("/api/chat", json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        chunks = [chunk for chunk in lines(answer)[:-1] if chunk["choices"]]
        link = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks).strip()
    else:
        link = said(answer.json())
    assert is_picture(http.get(link).content)


@pytest.mark.parametrize("kind", FILMS)
def test_films_in_the_native_api(http: httpx.Client, site: DashScopeSite, kind: str) -> None:
    answer = ask(http, model=MODELS[kind], chatType=kind, message=parts(kind, f"a {kind}"), seconds=5)
    assert is_film(http.get(answer["video_url"]).content)
    task = http.get(f"/api/tasks/{answer['task_id']}").json()
    assert (task["kind"], task["status"], task["upstream"]) == (kind, "succeeded", "dashscope")
    [create] = site.creates
    assert site.downloads == [create.id]


def test_speech_in_the_native_api(http: httpx.Client) -> None:
    answer = ask(http, model="qwen3-tts-flash", chatType="tts", message="Hello there", voice="Cherry", format="wav")
    assert is_sound(http.get(said(answer)).content, "wav")


# --- /api/tasks ---


@pytest.mark.parametrize("kind", [*MODELS, "tts", "t2t"])
def test_every_kind_as_a_task(http: httpx.Client, kind: str) -> None:
    model = {**MODELS, "tts": "qwen-tts", "t2t": "qwen3-max"}[kind]
    body: dict[str, Any] = {"kind": kind, "model": model, "message": f"a {kind} of a task"}
    if kind in IMAGES:
        body["images"] = IMAGES[kind]
    made = http.post("/api/tasks", json=body)
    assert made.status_code in (200, 201, 202), made.text
    name = made.json()["id"]
    assert task_done(http, name)["status"] == "completed"
    task = http.get(f"/api/tasks/{name}").json()
    if kind == "t2t":
        assert REPLY in str(task)
        return
    [file] = task["output"]["files"]
    data = http.get(file["url"]).content
    assert is_film(data) if kind in FILMS else is_sound(data, "mp3") if kind == "tts" else is_picture(data)


def test_of_several_images_some_may_be_missing(http: httpx.Client, site: DashScopeSite) -> None:
    site.plan = Plan(missing={1: ("DataInspectionFailed", "Output data may contain inappropriate content.")})
    body = {"kind": "t2i", "model": "wan2.2-t2i-flash", "prompt": "three cats", "n": 3}
    name = http.post("/api/tasks", json=body).json()["id"]
    assert task_done(http, name)["status"] == "completed"
    task = http.get(f"/api/tasks/{name}").json()
    assert len([file for file in task["output"]["files"] if file.get("url")]) == 2
    [failed] = task["output"]["failed"]
    assert failed["error"]["message"].startswith("fewer were made than asked for")
    assert len(site.creates) == 1
    answer = ask(http, model="wan2.2-t2i-flash", chatType="t2i", message="three cats", n=3)
    said_so, *links = said(answer).splitlines()
    assert said_so == "Of 3 images came to nothing 2: Output data may contain inappropriate content."
    assert all(is_picture(http.get(link).content) for link in links)
    assert len(links) == 2


def test_a_film_that_waits_can_be_cancelled(http: httpx.Client, site: DashScopeSite) -> None:
    site.plan = Plan(queued=1000)
    body = {"kind": "t2v", "model": MODELS["t2v"], "prompt": "never to be seen"}
    name = http.post("/api/tasks", json=body).json()["id"]
    eventually(lambda: site.creates, 10)
    http.post(f"/api/tasks/{name}/cancel")
    assert task_done(http, name)["status"] == "cancelled"
    assert site.cancels[-1:] == [site.creates[0].id]


@pytest.mark.parametrize(
    ("plan", "status", "code"),
    [
        (
            Plan(ends="FAILED", error=("DataInspectionFailed", "Output data may be inappropriate.")),
            400,
            "content_policy_violation",
        ),
        (Plan(ends="FAILED"), 502, "generation_failed"),
    ],
)
def test_a_film_that_failed_says_why(
    http: httpx.Client, site: DashScopeSite, plan: Plan, status: int, code: str
) -> None:
    site.plan = plan
    refused(http.post("/api/chat", json={"model": MODELS["t2v"], "chatType": "t2v", "message": "x"}), status, code)


def test_a_create_that_was_never_answered_is_found_and_not_sent_again(http: httpx.Client, site: DashScopeSite) -> None:
    site.fail("create", Cut(done=True))
    body = {"kind": "t2v", "model": MODELS["t2v"], "prompt": "a film that was nearly lost", "seconds": 6}
    name = http.post("/api/tasks", json=body).json()["id"]
    assert task_done(http, name)["status"] == "completed"
    [create] = site.creates
    assert create.body["input"]["prompt"] == "a film that was nearly lost"
    assert len(site.seen("create")) >= 1
    [file] = http.get(f"/api/tasks/{name}").json()["output"]["files"]
    assert is_film(http.get(file["url"]).content)


def test_a_bad_prompt_or_parameter_costs_nothing_and_blames_nobody(http: httpx.Client, site: DashScopeSite) -> None:
    body = {"model": MODELS["t2v"], "chatType": "t2v", "message": "a kite"}
    asked = {**body, "negative_prompt": "x" * 501}
    assert "500" in refused(http.post("/api/chat", json=asked), 400, "unsupported_parameter")["error"]
    refused(http.post("/api/chat", json={**body, "message": "something forbidden"}), 400, "content_policy_violation")
    refused(http.post("/api/chat", json={**body, "model": "wan9"}), 404, "model_not_found")
    assert site.creates == []
    assert statuses(http) == ["OK"]


# --- what a model takes ---


def test_seven_seconds_where_five_and_ten_exist_are_refused_and_these_are_named(
    http: httpx.Client, site: DashScopeSite
) -> None:
    body = {"model": "wan2.5-t2v-preview", "prompt": "a kite", "message": "a kite", "seconds": 7}
    native = http.post("/api/chat", json={**body, "chatType": "t2v"})
    assert "must be 5 or 10" in refused(native, 400, "unsupported_value")["error"]
    task = http.post("/api/tasks", json={name: value for name, value in body.items() if name != "message"})
    assert "must be 5 or 10" in refused(task, 400, "unsupported_value")["error"]
    messages = [{"role": "user", "content": "a kite"}]
    chat = http.post("/v1/chat/completions", json={"model": body["model"], "messages": messages, "seconds": 7})
    error = chat.json()["error"]
    assert (chat.status_code, error["param"], "must be 5 or 10" in error["message"]) == (400, "seconds", True)
    assert site.creates == []
    made = ask(http, **body, chatType="t2v", on_unsupported="nearest", waitForCompletion=False)
    [told] = made["adjustments"]
    assert (told["parameter"], told["asked"], told["used"]) == ("seconds", 7.0, 5)
    assert [create.body["parameters"]["duration"] for create in site.creates] == [5]


def test_a_size_that_is_not_made_is_the_nearest_of_its_shape_and_that_is_told(
    http: httpx.Client, gateway: Gateway, site: DashScopeSite
) -> None:
    drawn = {"model": "qwen-image", "chatType": "t2i", "message": "a cat", "size": "1024x1024"}
    [told] = ask(http, **drawn)["adjustments"]
    assert (told["parameter"], told["asked"], told["used"]) == ("size", "1024x1024", "1328x1328")
    [told] = http.post("/v1/images/generations", json={"prompt": "a cat", **drawn}).json()["adjustments"]
    assert told["used"] == "1328x1328"
    film = {"kind": "t2v", "model": "wan2.6-t2v", "prompt": "a kite", "size": "1024x1024"}
    name = http.post("/api/tasks", json=film).json()["id"]
    [told] = http.get(f"/api/tasks/{name}").json()["adjustments"]
    assert (told["parameter"], told["used"]) == ("size", "960x960")
    eventually(lambda: len(site.creates) == 3, 10)
    assert [create.body["parameters"]["size"] for create in site.creates] == ["1328*1328", "1328*1328", "960*960"]


# --- /v1 ---


def test_text_in_openai_s_api(gateway: Gateway) -> None:
    client = gateway.openai()
    asked: Any = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Tell me of kites"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == REPLY
    chunks = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REPLY
    thought = client.chat.completions.create(**{**asked, "model": "qwq-plus"}).choices[0].message
    assert (thought.content, getattr(thought, "reasoning_content", None)) == (REPLY, "Hm. ")


def test_images_in_openai_s_api(gateway: Gateway) -> None:
    client = gateway.openai()
    made = client.images.generate(model="qwen-image-2.0", prompt="a cat", n=2, size="1024x1024")
    assert len(made.data or ()) == 2
    assert is_picture(base64.b64decode((made.data or [])[0].b64_json or ""))
    slow = client.images.generate(model="wan2.2-t2i-flash", prompt="a cat", size="1024x1024")
    assert is_picture(base64.b64decode((slow.data or [])[0].b64_json or ""))


@pytest.mark.parametrize("form", ["mp3", "wav", "opus", "flac"])
def test_speech_in_openai_s_api(gateway: Gateway, form: Any) -> None:
    answer = gateway.openai().audio.speech.create(
        model="qwen3-tts-flash", voice="Ethan", input="Hello there", response_format=form
    )
    assert is_sound(answer.content, "ogg" if form == "opus" else form)


@pytest.mark.parametrize("kind", [*MODELS, "tts"])
def test_every_kind_of_media_in_openai_s_chat(gateway: Gateway, http: httpx.Client, kind: str) -> None:
    content: Any = [{"type": "text", "text": f"a {kind}"}]
    content += [{"type": "image_url", "image_url": {"url": url}} for url in IMAGES.get(kind, ())]
    answer = gateway.openai().chat.completions.create(
        model={**MODELS, "tts": "qwen3-tts-flash"}[kind],
        messages=[{"role": "user", "content": content}],
        extra_body={"chatType": kind},
    )
    found = re.search(r"https?://[^\s)\"'>]+", answer.choices[0].message.content or "")
    assert found, answer
    data = http.get(found[0]).content
    assert is_film(data) if kind in FILMS else is_sound(data, "mp3") if kind == "tts" else is_picture(data)


def test_the_models_are_listed(gateway: Gateway) -> None:
    listed = {model.id for model in gateway.openai().models.list()}
    assert {"qwen-plus", "wan2.7-t2v", "wan2.6-t2i", "qwen3-tts-flash"} <= listed


def test_what_the_vendor_refuses_is_told_in_openai_s_words(http: httpx.Client, site: DashScopeSite) -> None:
    site.fail("chat", Refusal("data_inspection_failed"))
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": "x"}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy_violation")


# --- accounts ---


def test_an_account_is_made_by_a_variable_alone(tmp_path: Path) -> None:
    site = DashScopeSite((KEY, "sk-dashscope-emulator-0002"))
    with served(site.app) as url:
        env = {"DASHSCOPE_API_KEYS": f"{KEY},sk-dashscope-emulator-0002", "DASHSCOPE_BASE_URL": f"{url}/api/v1"}
        with running(tmp_path, env=env, secrets=site.accounts) as gateway:
            assert {"dashscope/env-1", "dashscope/env-2"} <= set(gateway.accounts())
            with gateway.client() as http:
                assert said(ask(http, message="Tell me of kites")) == REPLY


def test_another_account_takes_over_and_a_page_parks_one(tmp_path: Path) -> None:
    site = DashScopeSite((KEY, "sk-dashscope-emulator-0002"))
    with served(site.app) as url:
        accounts = [{"name": f"a{at}", "api_key": key} for at, key in enumerate(site.accounts)]
        stanza = {"name": "dashscope", "type": "dashscope", "base_url": url, "accounts": accounts}
        with running(tmp_path, {"upstreams": [stanza]}, secrets=site.accounts) as gateway, gateway.client() as http:
            site.fail("chat", Refusal("Throttling.RateQuota", headers={"Retry-After": "600"}))
            assert said(ask(http, message="Tell me of kites", model="qwen-plus")) == REPLY
            assert statuses(http) == ["OK", "RATE_LIMITED"]
            site.fail("chat", Raw(403, b"<html>captcha</html>"))
            answer = http.post("/api/chat", json={"message": "x", "model": "qwen-plus"})
            assert answer.status_code in (429, 503)
            assert statuses(http) == ["INVALID", "RATE_LIMITED"]


def test_the_emulator_s_picture_is_the_one_that_is_looked_for() -> None:
    assert is_picture(png())
