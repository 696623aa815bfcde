"""Every kind of work by an IMA Studio that is imitated: a real gateway, each of its doors, real media in the end."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, eventually, lines, running, served
from tests.acceptance.native import ask, refused, said, task_done
from tests.emulators.dashscope import image
from tests.emulators.ima import KEY, Cut, ImaSite, Plan, Refusal

FIRST, LAST = image(), image(400, 400)
VOICE = "en_male_tim_uranus_bigtts"
MODELS = {
    "t2i": "doubao-seedream-4.5",
    "i2i": "gemini-3.1-flash-image",
    "t2v": "wan2.6-t2v",
    "i2v": "wan2.6-i2v",
    "flf2v": "kling-video-o1",
    "ref2v": "ima-pro",
    "t2m": "sonic",
    "tts": "seed-tts-2.0",
}
POINTS = {"t2i": 5, "i2i": 6, "t2v": 40, "i2v": 40, "flf2v": 48, "ref2v": 44, "t2m": 25, "tts": 2}
IMAGES = {"i2v": [FIRST], "flf2v": [FIRST, LAST], "ref2v": [FIRST, LAST], "i2i": [FIRST]}
FILMS = ("t2v", "i2v", "flf2v", "ref2v")


@pytest.fixture(scope="module")
def site() -> ImaSite:
    return ImaSite()


@pytest.fixture(scope="module")
def gateway(site: ImaSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(site.app) as url:
        stanza = {
            "name": "ima",
            "type": "ima",
            "base_url": url,
            "upload_url": url,
            "poll_seconds": 0.05,
            "accounts": [{"name": "a", "api_key": KEY, "max_concurrency": 8}],
        }
        with running(tmp_path_factory.mktemp("ima"), {"upstreams": [stanza]}, secrets=[KEY]) as gateway:
            with gateway.client() as http:
                listed = lambda: "wan2.6-t2v@wan2.6-t2v" in http.get("/v1/models").text  # noqa: E731
                eventually(listed, 20)
            yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


@pytest.fixture(autouse=True)
def fresh(site: ImaSite) -> None:
    site.plan = Plan()
    site.creates.clear()
    site.asked.clear()


def parts(kind: str, prompt: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": prompt}, *({"type": "image", "image": url} for url in IMAGES.get(kind, ()))]


def is_right(kind: str, data: bytes) -> bool:
    if kind.endswith("2i"):
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size == (64, 36)
    with av.open(io.BytesIO(data)) as file:
        return bool(file.streams.video if kind in FILMS else file.streams.audio)


def result_of(answer: dict[str, Any]) -> str:
    return str(answer.get("video_url") or said(answer))


# --- /api/chat, /api/tasks, /v1 ---


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_in_the_native_api(http: httpx.Client, site: ImaSite, kind: str) -> None:
    answer = ask(http, model=MODELS[kind], chatType=kind, message=parts(kind, f"a {kind}"))
    assert is_right(kind, http.get(result_of(answer)).content)
    [create] = site.creates
    assert (create.points, create.body["task_type"]) == (POINTS[kind], create.product["category"])
    if kind in IMAGES:
        names = [url.rpartition("/")[2] for url in create.body["src_img_url"]]
        assert [base64.b64encode(site.storage.files[name]).decode() for name in names] == [
            url.partition(",")[2] for url in IMAGES[kind]
        ]


def test_images_come_in_a_stream(http: httpx.Client) -> None:
    body = {"model": MODELS["t2i"], "chatType": "t2i", "message": "a cat", "stream": True}
    chunks = [chunk for chunk in lines(http.post("/api/chat", json=body))[:-1] if chunk["choices"]]
    link = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks).strip()
    assert is_right("t2i", http.get(link).content)


def test_every_kind_as_a_task_at_the_price_that_was_quoted(http: httpx.Client, site: ImaSite) -> None:
    made = {}
    for kind, model in MODELS.items():
        body: dict[str, Any] = {"kind": kind, "model": model, "prompt": f"a {kind} of a task"}
        body |= {"images": IMAGES[kind]} if kind in IMAGES else {}
        told = ask(http, "/api/quote", **body)["price"]
        assert (told["amount"], told["currency"], told["exact"]) == (POINTS[kind], "points", True)
        made[kind] = http.post("/api/tasks", json=body).json()["id"]
    for kind, name in made.items():
        assert task_done(http, name)["status"] == "completed", kind
        task = http.get(f"/api/tasks/{name}").json()
        [file] = task["output"]["files"]
        assert is_right(kind, http.get(file["url"]).content)
        assert task["cost"] == {"amount": POINTS[kind], "currency": "points"}
        costs(http, file["id"], POINTS[kind])
    assert site.spent == sum(POINTS.values())


def costs(http: httpx.Client, asset: str, points: int) -> None:
    """What an asset cost is written down a moment after it is there."""

    def told() -> tuple[Any, Any]:
        answer = http.get(f"/api/content-assets/{asset}")
        assert answer.status_code == 200, answer.text
        return answer.json()["cost"], answer.json()["currency"]

    eventually(lambda: told() == (points, "points"), 10)


def test_four_images_cost_four_times_as_quoted(http: httpx.Client, site: ImaSite) -> None:
    body = {"chatType": "t2i", "model": "gemini-3.1-flash-image", "message": "cats", "n": 4, "resolution": "2k"}
    assert ask(http, "/api/quote", **body)["price"]["amount"] == 40
    ask(http, **body)
    [create] = site.creates
    assert (create.points, create.inner["n"], create.inner["size"]) == (40, 4, "2K")


def test_openai_s_api(gateway: Gateway, http: httpx.Client, site: ImaSite) -> None:
    client = gateway.openai()
    drawn = client.images.generate(model=MODELS["t2i"], prompt="a cat", n=2, size="1024x1024")
    assert [is_right("t2i", base64.b64decode(one.b64_json or "")) for one in drawn.data or ()] == [True, True]
    spoken = client.audio.speech.create(model=MODELS["tts"], voice=VOICE, input="Hello there")
    assert is_right("tts", spoken.content)
    assert site.creates[-1].inner["speaker"] == VOICE
    for kind in MODELS:
        content: Any = [{"type": "text", "text": f"a {kind}"}]
        content += [{"type": "image_url", "image_url": {"url": url}} for url in IMAGES.get(kind, ())]
        chat: Any = {"model": MODELS[kind], "messages": [{"role": "user", "content": content}]}
        answer = client.chat.completions.create(**chat, extra_body={"chatType": kind})
        link = (answer.choices[0].message.content or "").strip().rpartition("(")[2].rstrip(")")
        assert is_right(kind, http.get(link).content)


# --- what cannot be ---


def test_seven_seconds_where_five_and_ten_exist_are_refused_and_these_are_named(
    http: httpx.Client, site: ImaSite
) -> None:
    body = {"model": "kling-video-o1", "message": "a kite", "prompt": "a kite", "seconds": 7}
    native = http.post("/api/chat", json={**body, "chatType": "t2v"})
    assert "must be 5 or 10" in refused(native, 400, "unsupported_value")["error"]
    task = http.post("/api/tasks", json={name: value for name, value in body.items() if name != "message"})
    assert "must be 5 or 10" in refused(task, 400, "unsupported_value")["error"]
    messages = [{"role": "user", "content": "a kite"}]
    chat = http.post("/v1/chat/completions", json={"model": body["model"], "messages": messages, "seconds": 7})
    assert (chat.status_code, chat.json()["error"]["param"]) == (400, "seconds")
    assert site.creates == []
    made = ask(http, **body, chatType="t2v", on_unsupported="nearest")
    assert is_right("t2v", http.get(result_of(made)).content)
    assert site.creates[-1].inner["duration"] == "5"


def test_what_does_not_go_together_is_refused(http: httpx.Client, site: ImaSite) -> None:
    body = {"model": "MiniMax-Hailuo-2.3", "chatType": "i2v", "message": parts("i2v", "a kite")}
    refused(http.post("/api/chat", json={**body, "seconds": 10, "resolution": "1080P"}), 400, "unsupported_value")
    assert site.creates == []


def test_a_price_that_changed_is_told_and_not_paid(http: httpx.Client, site: ImaSite) -> None:
    body = {"model": "gemini-3-pro-image", "chatType": "t2i", "message": "a cat"}
    assert ask(http, "/api/quote", **body)["price"]["amount"] == 10
    site.reprice("text_to_image", "gemini-3-pro-image", 7)
    told = refused(http.post("/api/chat", json=body), 409, "price_changed")["error"]
    assert "17" in told
    assert "10" in told
    assert site.creates == []
    assert ask(http, "/api/quote", **body)["price"]["amount"] == 17
    too_dear = http.post("/api/chat", json={**body, "max_cost": 16})
    refused(too_dear, 400, "price_exceeds_max")
    ask(http, **body, max_cost=17)
    assert site.spent == 17


@pytest.mark.parametrize("door", ["/api/chat", "/api/tasks", "/v1/images/generations", "/v1/chat/completions"])
def test_a_price_that_changed_is_told_at_every_door(http: httpx.Client, site: ImaSite, door: str) -> None:
    body: dict[str, Any] = {"model": "gemini-3-pro-image", "chatType": "t2i", "message": "a cat", "resolution": "4K"}
    body |= {"messages": [{"role": "user", "content": "a cat"}], "prompt": "a cat"} if "/v1/" in door else {}
    body |= {"kind": "t2i"} if door == "/api/tasks" else {}
    price = ask(http, "/api/quote", **body)["price"]["amount"]
    site.reprice("text_to_image", "gemini-3-pro-image", 1)
    answer = http.post(door, json=body, headers={"prefer": "wait=10"})
    if door == "/api/tasks":
        task = http.get(f"/api/tasks/{answer.json()['id']}").json()
        assert (task["status"], task["error"]["code"], task["cost"]) == ("failed", "price_changed", None)
        words = task["error"]["message"]
    else:
        told = answer.json() if door == "/api/chat" else answer.json()["error"]
        assert (answer.status_code, told["code"]) == (409, "price_changed")
        words = told["error"] if door == "/api/chat" else told["message"]
    assert f"{price + 1:g} points now instead of {price:g}; nothing was made" in words
    assert (site.creates, len(site.seen("create"))) == ([], 1)
    assert ask(http, "/api/quote", **body)["price"]["amount"] == price + 1


@pytest.mark.parametrize("door", ["/api/chat", "/api/tasks"])
def test_a_film_whose_price_changed_is_refused(http: httpx.Client, site: ImaSite, door: str) -> None:
    body = {"model": "viduq2", "kind": "t2v", "chatType": "t2v", "message": "a kite"}
    price = ask(http, "/api/quote", **body)["price"]["amount"]
    site.reprice("text_to_video", "viduq2", 1)
    told = refused(http.post(door, json=body), 409, "price_changed")["error"]
    assert f"{price + 1:g} points now instead of {price:g}; nothing was made" in told
    assert (site.creates, len(site.seen("create"))) == ([], 1)


def test_another_id_at_the_same_price_is_charged_once_as_quoted(http: httpx.Client, site: ImaSite) -> None:
    for kind, category in (("t2i", "text_to_image"), ("t2v", "text_to_video"), ("t2m", "text_to_music")):
        site.creates.clear()
        site.asked.clear()
        body = {"kind": kind, "model": MODELS[kind], "prompt": "a kite"}
        price = ask(http, "/api/quote", **body)["price"]["amount"]
        site.renumber(category, MODELS[kind])
        name = http.post("/api/tasks", json=body).json()["id"]
        assert task_done(http, name)["status"] == "completed"
        task = http.get(f"/api/tasks/{name}").json()
        assert task["cost"] == {"amount": price, "currency": "points"}
        assert (site.spent, len(site.creates), len(site.seen("create"))) == (price, 1, 2)
        assert len(site.seen("list")) == 1


def test_a_cancelled_film_is_paid_for_and_not_shown(http: httpx.Client, site: ImaSite) -> None:
    site.plan = Plan(running=1000)
    name = http.post("/api/tasks", json={"kind": "t2v", "model": MODELS["t2v"], "prompt": "a kite"}).json()["id"]
    eventually(lambda: site.creates, 10)
    http.post(f"/api/tasks/{name}/cancel")
    assert task_done(http, name)["status"] == "cancelled"
    task = http.get(f"/api/tasks/{name}").json()
    assert (task["upstream_cancelled"], task["output"]["files"]) == (False, [])
    assert task["cost"] == {"amount": POINTS["t2v"], "currency": "points"}


def test_two_songs_cost_twice_as_quoted(http: httpx.Client, site: ImaSite) -> None:
    body = {"chatType": "t2m", "model": MODELS["t2m"], "message": "a sea shanty", "n": 2}
    assert ask(http, "/api/quote", **body)["price"]["amount"] == 50
    assert len(said(ask(http, **body)).split()) == 2
    assert site.spent == 50


def test_failures_say_whose_they_are(http: httpx.Client, site: ImaSite) -> None:
    film = {"model": MODELS["t2v"], "chatType": "t2v", "message": "a kite"}
    site.plan = Plan(ends={0: (1, "failed")}, why="violates the content policy")
    refused(http.post("/api/chat", json=film), 400, "content_policy_violation")
    site.plan = Plan(ends={0: (2, "failed")}, why="no memory")
    refused(http.post("/api/chat", json=film), 502, "generation_failed")
    site.plan = Plan()
    refused(http.post("/api/chat", json={**film, "message": "forbidden"}), 400, "content_policy_violation")
    site.fail("create", Refusal(500))
    refused(http.post("/api/chat", json=film), 502, "submit_outcome_unknown")
    assert len(site.creates) == 2


def test_a_create_that_was_never_answered_stays_unknown_and_is_not_sent_again(
    http: httpx.Client, site: ImaSite
) -> None:
    site.fail("create", Cut(done=True))
    body = {"kind": "t2v", "model": MODELS["t2v"], "prompt": "a film that was lost"}
    refused(http.post("/api/tasks", json=body), 502, "submit_outcome_unknown")
    assert (len(site.creates), len(site.seen("create"))) == (1, 1)


def test_models_tell_what_they_take_and_cost(http: httpx.Client) -> None:
    shown = http.get("/api/models/wan2.6-t2v").json()
    told = str(shown)
    for word in ("seconds", "resolution", "points"):
        assert word in told
    assert http.get("/api/models/seedance 2.0").status_code == 200
