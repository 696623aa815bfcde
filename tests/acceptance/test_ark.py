"""Text, images and films by an Ark that is imitated: a real gateway, each of its doors, real media in the end."""

import base64
import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av
import httpx
import openai
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, eventually, lines, running, served
from tests.acceptance.native import ask, refused, said, task_done
from tests.emulators.ark import (
    API,
    FOUR_FIVE,
    FOURTH,
    KEY,
    LITE,
    PRO,
    REPLY,
    SEED,
    ArkSite,
    Plan,
    StillPlan,
    image,
)  # fmt: skip

FIRST, LAST = image(), image(400, 400)
FILMS = {
    "t2v": (PRO, []),
    "i2v": (PRO, [FIRST]),
    "flf2v": (LITE, [FIRST, LAST]),
    "ref2v": (LITE, [FIRST, LAST]),
}
"""A model for each kind of film, and the images that go in."""
BLOCKED = ("OutputImageSensitiveContentDetected", "The output image may contain sensitive information.")
SMALL = {"resolution": "1K"}


@pytest.fixture(scope="module")
def site() -> ArkSite:
    return ArkSite(queued_seconds=0, running_seconds=0.1)


@pytest.fixture(scope="module")
def gateway(site: ArkSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(site.app) as url:
        account = {"name": "a", "api_key": KEY, "max_concurrency": 16}
        stanza = {"name": "ark", "type": "ark", "base_url": url + API, "accounts": [account]}
        with running(tmp_path_factory.mktemp("ark"), {"upstreams": [stanza]}, secrets=[KEY]) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


@pytest.fixture(autouse=True)
def fresh(site: ArkSite) -> None:
    site.plan, site.still_plan = Plan(), StillPlan()
    for held in (site.plans, site.still_plans, site.creates, site.paints, site.chats, site.downloads):
        held.clear()


def picture(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.size


def is_film(data: bytes) -> bool:
    with av.open(io.BytesIO(data)) as film:
        return bool(film.duration)


def usual(http: httpx.Client) -> list[str]:
    rows = http.get("/api/status").json()["accounts"]
    return [row["status"] for row in rows if row["upstream"] == "ark"]


# --- text ---


def test_text_by_the_openai_sdk(gateway: Gateway, site: ArkSite) -> None:
    turns: Any = [{"role": "user", "content": "Tell me of kites"}]
    with gateway.openai() as client:
        extra = {"thinking": {"type": "enabled"}}
        whole = client.chat.completions.create(model=SEED, messages=turns, extra_body=extra)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (REPLY, "stop")
        assert whole.choices[0].message.model_extra == {"reasoning_content": "Hm. "}
        assert whole.usage is not None and whole.usage.completion_tokens > 0
        chunks = list(client.chat.completions.create(model=SEED, messages=turns, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REPLY
        thought = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content") for chunk in chunks]
        assert "Hm. " in thought
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=SEED, messages=[{"role": "user", "content": "forbidden"}])
        assert caught.value.code == "content_policy_violation"
    assert site.chats[0]["thinking"] == {"type": "enabled"}


def test_text_in_the_native_api(http: httpx.Client) -> None:
    assert said(ask(http, model=SEED, message="Tell me of kites")) == REPLY
    *chunks, done = lines(http.post("/api/chat", json={"model": SEED, "message": "Tell me of kites", "stream": True}))
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]) == REPLY
    assert done == "[DONE]"


# --- images ---


def test_images_by_the_openai_sdk_as_base64_and_as_links(gateway: Gateway, http: httpx.Client, site: ArkSite) -> None:
    with gateway.openai() as client:
        made = client.images.generate(model=FOURTH, prompt="a cat", size="1024x1024")
        [one] = made.data or []
        assert picture(base64.b64decode(one.b64_json or "")) == (1024, 1024)
        made = client.images.generate(model=FOURTH, prompt="a cat", size="1024x1024", response_format="url", n=2)
        assert [picture(http.get(one.url or "").content) for one in made.data or []] == [(1024, 1024)] * 2
    assert len(site.paints) == 3
    assert all(body["watermark"] is False and body["response_format"] == "url" for body in site.paints)


def test_pixels_that_a_model_does_not_make_become_those_that_it_does_and_it_is_told(
    http: httpx.Client, site: ArkSite
) -> None:
    body = {"model": FOUR_FIVE, "prompt": "a cat", "size": "1024x1024", "response_format": "url"}
    answer = http.post("/v1/images/generations", json=body)
    assert answer.status_code == 200, answer.text
    assert picture(http.get(answer.json()["data"][0]["url"]).content) == (2048, 2048)
    assert site.paints[0]["size"] == "2048x2048"
    [told] = answer.json()["adjustments"]
    assert (told["parameter"], told["asked"], told["used"]) == ("size", "1024x1024", "2048x2048")


def test_images_in_the_native_api(http: httpx.Client, site: ArkSite) -> None:
    made = ask(http, model=FOURTH, chatType="t2i", message="a cat", size="16:9", **SMALL)
    assert picture(http.get(said(made)).content) == (1280, 720)
    parts = [{"type": "text", "text": "with a hat"}, {"type": "image", "image": FIRST}]
    made = ask(http, model=FOURTH, chatType="i2i", message=parts, size="1024x1024")
    assert picture(http.get(said(made)).content) == (1024, 1024)
    assert site.paints[1]["image"].startswith("data:image/png;base64,")
    body = {"model": FOURTH, "chatType": "t2i", "message": "a cat", "stream": True, **SMALL}
    chunks = [chunk for chunk in lines(http.post("/api/chat", json=body))[:-1] if chunk["choices"]]
    link = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks).strip()
    assert picture(http.get(link).content) == (1024, 1024)


def test_a_set_brings_what_was_made_and_tells_what_was_not(http: httpx.Client, site: ArkSite) -> None:
    site.still_plan = StillPlan(errors={1: BLOCKED})
    options = {"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 3}}
    made = ask(http, model=FOURTH, chatType="t2i", message="three seasons", **SMALL, **options)
    loss, *links = said(made).splitlines()
    assert loss.startswith("Of 3 images came to nothing 2: The output image")
    assert [picture(http.get(link).content) for link in links] == [(1024, 1024)] * 2


def test_an_image_that_is_refused_within_a_200_is_an_error(http: httpx.Client, site: ArkSite) -> None:
    site.still_plan = StillPlan(errors={0: BLOCKED})
    body = {"model": FOURTH, "chatType": "t2i", "message": "a cat", **SMALL}
    refused(http.post("/api/chat", json=body), 400, "content_policy_violation")
    assert usual(http) == ["OK"]


# --- tasks ---


def test_several_images_as_a_task(http: httpx.Client, site: ArkSite) -> None:
    site.still_plans.extend([StillPlan(), StillPlan(errors={0: BLOCKED})])
    body = {"kind": "t2i", "model": FOURTH, "prompt": "two cats", "n": 2, **SMALL}
    name = http.post("/api/tasks", json=body).json()["id"]
    assert task_done(http, name)["status"] == "completed"
    output = http.get(f"/api/tasks/{name}").json()["output"]
    [file] = output["files"]
    assert picture(http.get(file["url"]).content) == (1024, 1024)
    [failed] = output["failed"]
    assert failed["error"]["code"] == "content_policy_violation"
    assert len(site.paints) == 2


def test_films(http: httpx.Client, site: ArkSite) -> None:
    body: dict[str, Any] = {"model": PRO, "prompt": "waves", "seconds": 4, "size": "1792x1024"}
    asked = [
        {**body, "kind": "t2v"},
        {**body, "kind": "i2v", "images": [FIRST]},
        {**body, "kind": "t2v", "seconds": 13, "on_unsupported": "nearest"},
    ]
    names = [http.post("/api/tasks", json=one).json()["id"] for one in asked]
    for name in names:
        assert task_done(http, name)["status"] == "completed"
        [file] = http.get(f"/api/tasks/{name}").json()["output"]["files"]
        assert is_film(http.get(file["url"]).content)
    usual = {"resolution": "1080p", "ratio": "16:9", "watermark": False}
    sent = [{name: create.body[name] for name in ("duration", *usual)} for create in site.creates]
    assert sorted(one.pop("duration") for one in sent) == [4, 4, 12]
    assert sent == [usual] * 3


def test_every_kind_of_film_at_every_door(http: httpx.Client, site: ArkSite) -> None:
    """All at once: the vendor is looked at every five seconds."""

    def asked(door: str, kind: str) -> str:
        model, images = FILMS[kind]
        if door == "/api/tasks":
            body = {"kind": kind, "model": model, "prompt": "waves", "images": images}
            name = http.post(door, json=body).json()["id"]
            assert task_done(http, name)["status"] == "completed"
            return str(http.get(f"/api/tasks/{name}").json()["output"]["files"][0]["url"])
        words: Any = [{"type": "text", "text": "waves"}]
        if door == "/api/chat":
            words += [{"type": "image", "image": url} for url in images]
            return str(ask(http, model=model, chatType=kind, message=words)["video_url"])
        words += [{"type": "image_url", "image_url": {"url": url}} for url in images]
        answer = ask(http, door, model=model, chatType=kind, messages=[{"role": "user", "content": words}])
        found = re.search(r"https?://[^\s)]+", said(answer))
        assert found, answer
        return found[0]

    wanted = [(door, kind) for door in ("/api/chat", "/api/tasks", "/v1/chat/completions") for kind in FILMS]
    with ThreadPoolExecutor(len(wanted)) as pool:
        links = list(pool.map(lambda one: asked(*one), wanted))
    assert all(is_film(http.get(link).content) for link in links)
    roles = [[part.get("role") for part in create.body["content"] if part["type"] == "image_url"]
             for create in site.creates]  # fmt: skip
    frames, references = ["first_frame", "last_frame"], ["reference_image"] * 2
    assert sorted(map(len, roles)) == [0] * 3 + [1] * 3 + [2] * 6
    assert (roles.count(frames), roles.count(references)) == (3, 3)


def test_images_at_every_other_door(http: httpx.Client) -> None:
    words: Any = [{"type": "text", "text": "a cat"}]
    for kind, images in (("t2i", []), ("i2i", [FIRST])):
        content = words + [{"type": "image_url", "image_url": {"url": url}} for url in images]
        asked = {"model": FOURTH, "chatType": kind, **SMALL}
        answer = ask(http, "/v1/chat/completions", **asked, messages=[{"role": "user", "content": content}])
        found = re.search(r"https?://[^\s)]+", said(answer))
        assert found, answer
        assert picture(http.get(found[0]).content) == (1024, 1024)
        body = {"kind": kind, "model": FOURTH, "prompt": "a cat", "images": images, **SMALL}
        name = http.post("/api/tasks", json=body).json()["id"]
        assert task_done(http, name)["status"] == "completed"
        [file] = http.get(f"/api/tasks/{name}").json()["output"]["files"]
        assert picture(http.get(file["url"]).content) == (1024, 1024)


def test_text_as_a_task(http: httpx.Client) -> None:
    name = http.post("/api/tasks", json={"kind": "t2t", "model": SEED, "prompt": "Tell me of kites"}).json()["id"]
    assert task_done(http, name)["status"] == "completed"
    assert http.get(f"/api/tasks/{name}").json()["output"]["text"] == REPLY


def test_a_film_that_waits_can_be_cancelled(http: httpx.Client, site: ArkSite) -> None:
    site.plan = Plan(queued=1000)
    waits = http.post("/api/tasks", json={"kind": "t2v", "model": PRO, "prompt": "waves"}).json()["id"]
    eventually(lambda: site.creates, 10)
    told = http.post(f"/api/tasks/{waits}/cancel").json()
    assert task_done(http, waits)["status"] == "cancelled", told
    assert (site.deletes[-1:], site.erased) == ([site.creates[0].id], [])


def test_a_length_that_the_model_does_not_make_is_refused_and_the_range_is_named(
    http: httpx.Client, site: ArkSite
) -> None:
    body = {"model": PRO, "chatType": "t2v", "message": "waves", "seconds": 13}
    assert "from 2 to 12" in refused(http.post("/api/chat", json=body), 400, "unsupported_value")["error"]
    assert site.creates == []
