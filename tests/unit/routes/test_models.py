"""Models over HTTP, and what a generation would be: that a quote comes true, whatever is made."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.config import load
from gateway.routes.front import Front
from tests.unit.routes.direct import KEY, Told, asked
from tests.unit.scripted import png

pytestmark = pytest.mark.anyio

EU = "key-of-europe-12345"
KEYS = [{"name": "boss", "key": KEY, "role": "admin"}, {"name": "eu", "key": EU, "account_tags": ["eu"]}]
QUICK = {"type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 0.01}
FILM = {
    "id": "film",
    "name": "Blue Film",
    "kinds": ["t2v", "i2v"],
    "parameters": {"seconds": {"type": "integer", "allowed": [1, 2], "default": 1}, "size": {"type": "size"}},
    "closed": True,
    "inputs": {"i2v": {"least": 1, "most": 1, "formats": ["png"]}},
    "prices": {"currency": "USD", "second": 0.25},
}
MOVES = {"id": "moves", "kinds": ["i2v"], "prices": {"currency": "USD", "request": 0.75}}
OWN = [f"sandbox-{what}" for what in ("chat", "image", "music", "speech", "embedding", "transcription")]
PRICES = {
    "sandbox-image": [{"currency": "USD", "image": 0.1, "request": 0.01}],
    "sandbox-music": {"currency": "credits", "second": 0.5},
    "sandbox-speech": {"currency": "USD", "characters": 15},
    "sandbox-chat": {"currency": "USD", "input_tokens": 1_000_000, "output_tokens": 1_000_000},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    home = tmp_path_factory.mktemp("models")
    lab = {
        "name": "lab",
        **QUICK,
        "models": [FILM, MOVES, *OWN],
        "accounts": [{"name": "a", "not_models": ["sandbox-music"]}],
    }
    other = {"name": "other", **QUICK, "accounts": [{"name": "b", "tags": ["eu"]}], "models": ["sandbox-music"]}
    named = {"prices": PRICES, "aliases": {"movie": "film"}}
    (home / "config.yaml").write_text(
        json.dumps({"upstreams": [lab, other], "access": {"keys": KEYS}, "models": named})
    )
    made = create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})
    async with made.app.lifespan_context(made.app):  # type: ignore[attr-defined]
        yield made


async def read(app: Front, path: str, key: str = KEY) -> Any:
    told = await asked(app, "GET", path, key=key)
    assert told.status == 200, told.body
    return told.json()


async def quoted(app: Front, key: str = KEY, **body: Any) -> Told:
    return await asked(app, "POST", "/api/quote", body, key=key)


# --- models ---


async def test_a_model_tells_what_goes_in_and_who_could_serve_it(app: Front) -> None:
    film = await read(app, "/api/models/film")
    assert film == await read(app, "/v1/models/film")
    assert film["inputs"] == {"i2v": {"least": 1, "most": 1, "formats": ["image/png"], "max_bytes": 25 * 1024 * 1024}}
    assert (film["aliases"], film["source"], film["closed"], film["available_in_seconds"]) == (
        ["movie"], "custom", True, 0.0,
    )  # fmt: skip
    chat = await read(app, "/api/models/sandbox-chat")
    assert (chat["vision"], chat["reasoning"], chat["context_length"], chat["source"]) == (
        True,
        True,
        131_072,
        "system",
    )
    assert (await read(app, "/api/models/movie"))["alias_of"] == "film"


async def test_active_is_what_an_account_of_the_caller_s_could_ever_serve(app: Front) -> None:
    def active(listed: Any) -> set[str]:
        return {one["id"] for one in listed["data"] if one["active"]}

    everyone = active(await read(app, "/api/models"))
    assert {"film", "movie", "sandbox-music"} <= everyone
    assert active(await read(app, "/api/models", EU)) == {"sandbox-music"}
    assert (await read(app, "/api/models/film", EU))["available_in_seconds"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("kind=t2m", ["sandbox-music"]),
        ("kind=text_to_video&q=BLUE", ["film", "movie"]),
        ("q=film+lab", ["film", "movie"]),
        ("q=other", ["sandbox-music"]),
        ("q=nothing-like-it", []),
    ],
)
async def test_models_are_found_by_kind_and_words(app: Front, query: str, found: list[str]) -> None:
    assert [one["id"] for one in (await read(app, f"/api/models?{query}"))["data"]] == found


# --- quotes ---

DATA = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
IMAGE = {"model": "sandbox-image", "prompt": "a hill", "kind": "t2i", "size": "64x64"}


@pytest.mark.parametrize(
    ("body", "amount"),
    [
        ({**IMAGE, "n": 3}, 0.31),
        ({**IMAGE, "kind": "i2i", "images": [DATA]}, 0.11),
        ({"model": "film", "prompt": "waves", "kind": "t2v", "size": "64x64"}, 0.25),
        ({"model": "movie", "prompt": "waves", "kind": "t2v", "size": "64x64", "seconds": "2"}, 0.5),
        ({"model": "film", "input": {"prompt": "waves", "size": "64x64", "first_frame": DATA}}, 0.25),
        ({"model": "moves", "prompt": "waves", "kind": "t2v", "images": [DATA], "size": "64x64"}, 0.75),
        ({"model": "moves", "prompt": "waves", "first_frame": DATA, "size": "64x64"}, 0.75),
        ({"model": "sandbox-music", "prompt": "rain", "kind": "t2m", "seconds": 2}, 1.0),
        ({"model": "sandbox-speech", "text": "hello", "kind": "tts"}, 0.000075),
    ],
)  # fmt: skip
async def test_what_is_made_costs_what_was_quoted(app: Front, body: Any, amount: float) -> None:
    quote = (await quoted(app, **body)).json()
    assert (quote["price"]["amount"], quote["price"]["exact"], quote["available"]) == (amount, True, True)
    made = await asked(app, "POST", "/api/tasks", body, prefer="wait=30")
    assert made.status == 200, made.body
    task = made.json()
    assert (task["status"], task["kind"], task["model"]) == ("succeeded", quote["kind"], quote["model"])
    assert task["cost"] == {"amount": amount, "currency": quote["price"]["currency"]}


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"model": "film", "kind": "t2v", "seconds": 7}, 400, "unsupported_value", "seconds"),
        ({"model": "film", "kind": "t2v", "style": "noir"}, 400, "unsupported_parameter", "style"),
        ({"model": "film", "kind": "t2v", "max_cost": 0.2}, 400, "price_exceeds_max", "max_cost"),
        ({"model": "moves", "kind": "t2v"}, 400, "model_cannot", "model"),
        ({"model": "sandbox-chat", "max_tokens": 9, "max_cost": 9.5}, 400, "price_exceeds_max", "max_cost"),
        ({"model": "sandbox-image", "continue_from": "odd"}, 400, "invalid_value", "continue_from"),
        ({"model": "film", "kind": "t2v", "on_unsupported": "maybe"}, 400, "invalid_value", "on_unsupported"),
        ({"model": "film", "kind": "t2i"}, 400, "model_cannot", "model"),
        ({"model": "no-such", "kind": "t2i"}, 404, "model_not_found", "model"),
        ({"model": "sandbox-image", "kind": "i2i", "images": ["file_0"]}, 400, "invalid_url", "images"),
    ],
)
async def test_what_would_refuse_the_generation_refuses_the_quote(
    app: Front, body: Any, status: int, code: str, param: str
) -> None:
    body = {"prompt": "waves", **body}
    told = await quoted(app, **body)
    assert (told.status, told.json()["code"], told.json()["param"]) == (status, code, param)
    made = await asked(app, "POST", "/api/tasks", body)
    assert (made.status, made.json()["code"], made.json()["param"]) == (status, code, param)


async def test_a_quote_of_going_on_is_of_what_goes_in_then(app: Front) -> None:
    first = (await asked(app, "POST", "/api/tasks", IMAGE, prefer="wait=30")).json()
    image = first["output"]["files"][0]["id"]
    on = {"model": "sandbox-image", "prompt": "by night", "continue_from": image}
    told = (await quoted(app, **on)).json()
    assert (told["kind"], told["price"]["amount"], told["price"]["exact"]) == ("i2i", 0.11, True)
    made = (await asked(app, "POST", "/api/tasks", on, prefer="wait=30")).json()
    assert (made["kind"], made["cost"]["amount"]) == ("i2i", 0.11)


async def test_a_text_within_its_most_is_quoted(app: Front) -> None:
    told = (await quoted(app, model="sandbox-chat", prompt="waves", max_tokens=9, max_cost=1000)).json()
    assert (told["kind"], told["available"], told["price"]["exact"]) == ("t2t", True, False)
    assert told["parameters"] == {"max_tokens": 9}


async def test_images_alone_say_what_is_made_where_nothing_makes_text(tmp_path: Path) -> None:
    lab = {"name": "lab", **QUICK, "models": [MOVES]}
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": [lab], "access": {"keys": KEYS}}))
    made = create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {})
    async with made.app.lifespan_context(made.app):  # type: ignore[attr-defined]
        told = await quoted(made, prompt="waves", first_frame=DATA)
        assert (told.status, told.json()["kind"], told.json()["model"]) == (200, "i2v", "moves")


async def test_a_quote_for_whom_no_account_may_serve_says_so(app: Front) -> None:
    told = (await quoted(app, EU, model="film", prompt="waves", kind="t2v")).json()
    assert (told["available"], told["available_in_seconds"], told["price"]["amount"]) == (False, None, 0.25)


async def test_a_quote_of_vectors_counts_what_goes_in(app: Front) -> None:
    told = (await quoted(app, model="sandbox-embedding", input=["a", "b"])).json()
    assert (told["kind"], told["price"], told["parameters"]) == ("embedding", None, {})
