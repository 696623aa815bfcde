"""Text, images and films by an Ark that is imitated: a real gateway, each of its doors, real media in the end."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import av
import httpx
import openai
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, lines, running, served
from tests.acceptance.native import ask, refused, said, task_done
from tests.emulators.ark import (
    API,
    FOUR_FIVE,
    FOURTH,
    KEY,
    PRO,
    REPLY,
    SEED,
    ArkSite,
    Plan,
    StillPlan,
    image,
)  # fmt: skip

FIRST = image()
BLOCKED = ("OutputImageSensitiveContentDetected", "The output image may contain sensitive information.")
SMALL = {"resolution": "1K"}


@pytest.fixture(scope="module")
def site() -> ArkSite:
    return ArkSite(queued_seconds=0, running_seconds=0.1)


@pytest.fixture(scope="module")
def gateway(site: ArkSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(site.app) as url:
        account = {"name": "a", "api_key": KEY, "max_concurrency": 4}
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


def test_a_length_that_the_model_does_not_make_is_refused_and_the_range_is_named(
    http: httpx.Client, site: ArkSite
) -> None:
    body = {"model": PRO, "chatType": "t2v", "message": "waves", "seconds": 13}
    assert "from 2 to 12" in refused(http.post("/api/chat", json=body), 400, "unsupported_value")["error"]
    assert site.creates == []
