"""Three providers beside each other in one gateway: what is quoted is what is written down, what one does not make is
refused with who does, and what is made otherwise is told at every door."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, eventually, running, served_together
from tests.acceptance.native import ask, refused, task_done
from tests.emulators import ark, dashscope, ima
from tests.emulators.ark import FOURTH, LITE, PRO, ArkSite
from tests.emulators.dashscope import DashScopeSite, image
from tests.emulators.ima import ImaSite

PICTURE, OTHER = image(), image(400, 400)
PRICES = {
    "dashscope/wan2.5-*": [
        {"currency": "CNY", "second": 0.6, "when": {"resolution": "1080P"}},
        {"currency": "CNY", "second": 0.3},
    ],
    "dashscope/wan2*": {"currency": "CNY", "second": 0.5},
    "dashscope/wan*image": {"currency": "CNY", "image": 0.2},
    "dashscope/qwen-image*": {"currency": "CNY", "image": 0.25},
    "dashscope/*tts*": {"currency": "CNY", "request": 0.01},
    "ark/seedance*": [
        {"currency": "USD", "second": 0.12, "when": {"resolution": "1080p"}},
        {"currency": "USD", "second": 0.05},
    ],
    "ark/seedream*": {"currency": "USD", "image": 0.03},
}


@dataclass(frozen=True)
class Sites:
    dashscope: DashScopeSite
    ark: ArkSite
    ima: ImaSite

    @property
    def asked(self) -> int:
        """What was accepted for money, at all three."""
        return len(self.dashscope.creates) + len(self.ark.creates) + len(self.ark.paints) + len(self.ima.creates)


@pytest.fixture(scope="module")
def sites() -> Sites:
    return Sites(
        DashScopeSite(queued_seconds=0, running_seconds=0.1), ArkSite(queued_seconds=0, running_seconds=0.1), ImaSite()
    )


@pytest.fixture(scope="module")
def gateway(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    secrets = {"dashscope": dashscope.KEY, "ark": ark.KEY, "ima": ima.KEY}
    with served_together(sites.dashscope.app, sites.ark.app, sites.ima.app) as (first, second, third):
        own: dict[str, dict[str, Any]] = {
            "dashscope": {"base_url": first},
            "ark": {"base_url": second + ark.API},
            "ima": {"base_url": third, "upload_url": third, "poll_seconds": 0.05},
        }
        stanzas = [
            {"name": name, "type": name, **more,
             "accounts": [{"name": "a", "api_key": secrets[name], "max_concurrency": 16}]}
            for name, more in own.items()
        ]  # fmt: skip
        config = {"upstreams": stanzas, "models": {"prices": PRICES}}
        with running(tmp_path_factory.mktemp("three"), config, secrets=secrets.values()) as gateway:
            with gateway.client() as http:
                eventually(lambda: "wan2.6-t2v@wan2.6-t2v" in http.get("/v1/models").text, 20)
            yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


# --- what is quoted is what is written down ---

PRICED: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("dashscope", {"kind": "t2v", "model": "wan2.5-t2v-preview", "seconds": 10}, 6.0),
    ("dashscope", {"kind": "t2v", "model": "wan2.5-t2v-preview", "resolution": "480P"}, 1.5),
    ("dashscope", {"kind": "i2v", "model": "wan2.7-i2v", "seconds": 3, "images": [PICTURE]}, 1.5),
    ("dashscope", {"kind": "flf2v", "model": "wan2.2-kf2v-flash", "images": [PICTURE, OTHER]}, 2.5),
    ("dashscope", {"kind": "ref2v", "model": "wan2.7-r2v", "images": [PICTURE, OTHER]}, 2.5),
    ("dashscope", {"kind": "t2i", "model": "qwen-image-2.0", "n": 2}, 0.5),
    ("dashscope", {"kind": "t2i", "model": "qwen-image", "n": 2}, 0.5),
    ("dashscope", {"kind": "i2i", "model": "wan2.7-image", "n": 2, "images": [PICTURE]}, 0.4),
    ("dashscope", {"kind": "tts", "model": "qwen3-tts-flash"}, 0.01),
    ("ark", {"kind": "t2v", "model": PRO, "seconds": 4}, 0.48),
    ("ark", {"kind": "t2v", "model": PRO, "seconds": 4, "size": "16:9", "resolution": "480p"}, 0.2),
    ("ark", {"kind": "i2v", "model": PRO, "images": [PICTURE]}, 0.6),
    ("ark", {"kind": "flf2v", "model": LITE, "images": [PICTURE, OTHER]}, 0.25),
    ("ark", {"kind": "ref2v", "model": LITE, "images": [PICTURE, OTHER]}, 0.25),
    ("ark", {"kind": "t2i", "model": FOURTH, "n": 2, "resolution": "1K"}, 0.06),
    ("ark", {"kind": "i2i", "model": FOURTH, "n": 2, "resolution": "1K", "images": [PICTURE]}, 0.06),
    ("ima", {"kind": "t2i", "model": "doubao-seedream-4.5", "n": 2}, 10),
    ("ima", {"kind": "i2i", "model": "gemini-3.1-flash-image", "n": 2, "images": [PICTURE]}, 12),
    ("ima", {"kind": "t2v", "model": "wan2.6-t2v", "n": 2, "seconds": 10, "resolution": "720P"}, 100),
    ("ima", {"kind": "t2m", "model": "sonic"}, 25),
    ("ima", {"kind": "tts", "model": "seed-tts-2.0"}, 2),
)
ONE_BY_ONE = ("qwen-image", FOURTH)
"""Models that make one image a call: of a task each is asked for, and written down, by itself."""
CURRENCIES = {"dashscope": "CNY", "ark": "USD", "ima": "points"}


def test_what_is_quoted_is_written_down_at_every_place(http: httpx.Client, sites: Sites) -> None:
    sites.ima.creates.clear()
    names = []
    for provider, body, amount in PRICED:
        asked = {**body, "prompt": "a kite above the lake"}
        told = ask(http, "/api/quote", **asked)
        price = told["price"]
        assert (told["upstream"], price["amount"], price["currency"], price["exact"]) == (
            provider, amount, CURRENCIES[provider], True,
        ), body  # fmt: skip
        names.append(http.post("/api/tasks", json=asked).json()["id"])
    for name, (provider, body, amount) in zip(names, PRICED, strict=True):
        assert task_done(http, name)["status"] == "completed", body
        task = http.get(f"/api/tasks/{name}").json()
        cost = {"amount": amount, "currency": CURRENCIES[provider]}
        assert (task["upstream"], task["cost"]) == (provider, cost), body
        assert len(task["output"]["files"]) == body.get("n", 1), body
        askings = body.get("n", 1) if body["model"] in ONE_BY_ONE else 1
        assert written(http, askings, task_id=name) == cost, body
        shares = [asset(http, file["id"]) for file in task["output"]["files"]]
        assert {currency for _, currency in shares} == {CURRENCIES[provider]}, body
        assert sum(share for share, _ in shares) == pytest.approx(amount), body
    assert sites.ima.spent == sum(amount for provider, _, amount in PRICED if provider == "ima")


@pytest.mark.parametrize(
    ("model", "size"), [("qwen-image-2.0", "1024x1024"), ("qwen-image", "1328x1328"), (FOURTH, "1024x1024"),
                        ("doubao-seedream-4.5", "1:1")]
)  # fmt: skip
def test_two_images_at_openai_s_door_cost_what_was_quoted(http: httpx.Client, model: str, size: str) -> None:
    body = {"model": model, "prompt": "two kites", "n": 2, "size": size}
    quoted = ask(http, "/api/quote", **body, kind="t2i")["price"]
    answer = http.post("/v1/images/generations", json={**body, "response_format": "url"})
    assert (answer.status_code, len(answer.json()["data"])) == (200, 2), answer.text
    cost = written(http, request_id=answer.headers["x-request-id"])
    assert cost == {"amount": quoted["amount"], "currency": quoted["currency"]}


def written(http: httpx.Client, askings: int = 1, **of: str) -> Any:
    """What the usage log has of a request or a task in so many askings; it is written a moment after the answer."""
    [(name, value)] = of.items()

    def found() -> list[Any] | None:
        rows = http.get("/api/usage", params={"limit": "100"}).json()["data"]
        costs = [row["cost"] for row in rows if row[name] == value]
        return costs if len(costs) >= askings else None

    costs = eventually(found, 10) or []
    assert len(costs) == askings
    assert len({cost["currency"] for cost in costs}) == 1
    return costs[0] | {"amount": pytest.approx(sum(cost["amount"] for cost in costs))}


def asset(http: httpx.Client, name: str) -> tuple[float, str]:
    def told() -> tuple[float, str] | None:
        answer = http.get(f"/api/content-assets/{name}").json()
        return (answer["cost"], answer["currency"]) if answer.get("cost") is not None else None

    return eventually(told, 10) or (0.0, "")


# --- what one does not make ---

LENGTHS = {
    "dashscope": ("wan2.5-t2v-preview", 7, "5 or 10", 5),
    "ark": (PRO, 13, "a whole number from 2 to 12 s", 12),
    "ima": ("kling-video-o1", 7, "5 or 10", 5),
}
"""By provider: a model, a length that it does not make, what it says of that, and the nearest."""
DOORS = ("/api/chat", "/api/tasks", "/v1/chat/completions")


def at(door: str, model: str, **fields: Any) -> dict[str, Any]:
    """A body for a film, as a door has it."""
    if door == "/api/tasks":
        return {"kind": "t2v", "model": model, "prompt": "a kite", **fields}
    words = {"message": "a kite"} if door == "/api/chat" else {"messages": [{"role": "user", "content": "a kite"}]}
    return {"model": model, "chatType": "t2v", **words, **fields}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("provider", LENGTHS)
def test_a_length_that_is_not_made_is_refused_with_who_makes_it(
    http: httpx.Client, sites: Sites, provider: str, door: str
) -> None:
    model, seconds, allowed, nearest = LENGTHS[provider]
    before = sites.asked
    answer = http.post(door, json=at(door, model, seconds=seconds))
    told = answer.json() if door != "/v1/chat/completions" else answer.json()["error"]
    said = told["message"] if door == "/v1/chat/completions" else refused(answer, 400, "unsupported_value")["error"]
    assert (answer.status_code, told["param"], told["code"]) == (400, "seconds", "unsupported_value")
    assert f"'seconds' must be {allowed} with {model}, not {seconds}; the nearest is {nearest}; " in said
    able = [one["model"] for one in told["alternatives"]]
    assert able
    assert f"models that can: {', '.join(able)}" in said
    for one in able:
        quoted = http.post("/api/quote", json=at("/api/tasks", one, seconds=seconds))
        assert (quoted.status_code, quoted.json()["parameters"]["seconds"]) == (200, seconds), one
    assert sites.asked == before


@pytest.mark.parametrize("provider", LENGTHS)
def test_the_nearest_length_is_made_where_that_is_wished_and_told_at_every_door(
    http: httpx.Client, sites: Sites, provider: str
) -> None:
    model, seconds, _, nearest = LENGTHS[provider]
    names = []
    for door in DOORS:
        now = {"waitForCompletion": False} if door != "/api/tasks" else {}
        answer = http.post(door, json=at(door, model, seconds=seconds, on_unsupported="nearest", **now))
        assert answer.status_code in (200, 202), answer.text
        body = answer.json()
        names.append(body["id"] if door == "/api/tasks" else body["task_id"])
        [told] = body["adjustments"]
        assert (told["parameter"], told["asked"], told["used"]) == ("seconds", seconds, nearest), door
        if door != "/api/tasks":
            assert json.loads(answer.headers["x-gateway-adjustments"]) == [told]
    for name in names:
        task = http.get(f"/api/tasks/{name}").json()
        assert (task["adjustments"][0]["used"], task["parameters"]["seconds"]) == (nearest, nearest)
        http.post(f"/api/tasks/{name}/cancel")


@pytest.mark.parametrize(
    ("model", "size", "used"),
    [("qwen-image", "1024x1024", "1328x1328"), ("seedream-4-5-251128", "1024x1024", "2048x2048"),
     ("gemini-3.1-flash-image", "1920x1080", "16:9")],
)  # fmt: skip
def test_a_size_that_is_made_otherwise_is_told_at_every_door(
    http: httpx.Client, model: str, size: str, used: str
) -> None:
    for door in (*DOORS, "/v1/images/generations"):
        body = at(door if door in DOORS else "/api/tasks", model, size=size, on_unsupported="nearest")
        body |= {"chatType": "t2i"} if "chatType" in body else {"kind": "t2i"}
        answer = http.post(door, json=body)
        assert answer.status_code in (200, 202), answer.text
        [told] = answer.json()["adjustments"]
        assert (told["parameter"], told["asked"], told["used"]) == ("size", size, used), door


@pytest.mark.parametrize("model", ["seed-tts-2.0"])
def test_speech_that_is_made_otherwise_is_told_in_a_header(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": "Hello there", "voice": "en_male_tim_uranus_bigtts", "speed": 4}
    refusal = http.post("/v1/audio/speech", json=body)
    assert (refusal.status_code, refusal.json()["error"]["param"]) == (400, "speed"), refusal.text
    answer = http.post("/v1/audio/speech", json={**body, "on_unsupported": "nearest"})
    assert answer.status_code == 200, answer.text
    [told] = json.loads(answer.headers["x-gateway-adjustments"])
    assert (told["parameter"], told["asked"], told["used"]) == ("speed", 4.0, 2)
