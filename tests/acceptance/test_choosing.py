"""Choosing a model: by name, by preference, by the operator's word; told beforehand and where it cannot be."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway_process import Gateway, running
from tests.acceptance.native import ask

FIVE_OR_TEN = {
    "id": "film-short",
    "kinds": ["t2v"],
    "closed": True,
    "parameters": {
        "seconds": {"type": "integer", "allowed": [5, 10], "default": 5, "unit": "s"},
        "size": {"type": "size", "allowed": ["16:9", "1:1"]},
    },
    "prices": {"currency": "USD", "second": 0.2},
    "estimate": 30,
}
ANY_SECONDS = {
    "id": "film-any",
    "kinds": ["t2v"],
    "parameters": {"seconds": {"type": "number", "least": 1, "most": 15, "unit": "s"}},
    "prices": {"currency": "USD", "second": 0.5},
    "default_seconds": 4,
}
SQUARES = {"id": "still-square", "kinds": ["t2i"], "parameters": {"size": {"type": "size", "allowed": ["1:1"]}}}
WIDE = {"id": "still-wide", "kinds": ["t2i"], "parameters": {"size": {"type": "size", "allowed": ["1:1", "16:9"]}}}
LAB = {"name": "lab", "type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 0.05}
TIRED = {
    "name": "tired",
    "type": "sandbox",
    "models": [{"id": "tired-film", "kinds": ["t2v"]}],
    "accounts": [{"name": "a", "enabled": False}],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    models = [FIVE_OR_TEN, ANY_SECONDS, SQUARES, WIDE, {"id": "sandbox-chat"}, {"id": "sandbox-image"}]
    config = {
        "upstreams": [{**LAB, "accounts": [{"name": "a"}], "models": models}, TIRED],
        "models": {"aliases": {"short": "film-short"}, "priorities": {"t2v": ["tired-film", "film-any"]}},
    }
    with running(tmp_path_factory.mktemp("choosing"), config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def quoted(http: httpx.Client, **body: Any) -> dict[str, Any]:
    return ask(http, "/api/quote", prompt="waves", **body)


def test_a_model_of_the_operator_s_own_is_shown_as_it_was_declared(http: httpx.Client) -> None:
    for path in ("/v1/models/film-short", "/api/models/film-short"):
        shown = http.get(path).json()
        assert (shown["object"], shown["source"], shown["active"], shown["aliases"]) == (
            "model", "custom", True, ["short"],
        )  # fmt: skip
        assert shown["parameters"] == [
            {"name": "seconds", "type": "integer", "allowed": [5, 10], "default": 5, "unit": "s"},
            {"name": "size", "type": "size", "allowed": ["16:9", "1:1"]},
        ]
        assert (shown["prices"], shown["estimate_seconds"]) == ([{"currency": "USD", "second": 0.2}], 30.0)
    assert http.get("/api/models/sandbox-image").json()["source"] == "system"
    assert http.get("/api/models/tired-film").json()["active"] is False


def test_seven_seconds_where_five_and_ten_exist_are_refused_with_who_can(http: httpx.Client) -> None:
    answer = http.post("/api/quote", json={"model": "film-short", "prompt": "waves", "kind": "t2v", "seconds": 7})
    told = answer.json()
    assert (answer.status_code, told["code"], told["param"]) == (400, "unsupported_value", "seconds")
    said = "'seconds' must be 5 or 10 with film-short, not 7; the nearest is 5; models that can: film-any"
    assert told["error"].startswith(said)
    price = {"amount": 3.5, "currency": "USD", "exact": True}
    assert told["alternatives"] == [
        {"model": "film-any", "why": "It takes 'seconds' 7 and can serve now.", "price": price}
    ]


@pytest.mark.parametrize("path", ["/api/chat", "/v1/images/generations"])
def test_a_shape_that_a_model_does_not_make_is_refused_with_who_can(http: httpx.Client, path: str) -> None:
    words = {"message": "waves", "chatType": "t2i"} if path == "/api/chat" else {"prompt": "waves"}
    answer = http.post(path, json={"model": "still-square", "size": "16:9", **words})
    assert answer.status_code == 400
    assert "; models that can: still-wide" in answer.text
    assert http.post(path, json={"model": "still-wide", "size": "16:9", **words}).status_code == 200


def test_who_allows_it_gets_the_nearest_and_is_told(http: httpx.Client) -> None:
    told = quoted(http, model="short", kind="t2v", seconds=7, on_unsupported="nearest")
    assert told["parameters"]["seconds"] == 5
    assert [(one["parameter"], one["asked"], one["used"]) for one in told["adjustments"]] == [("seconds", 7, 5)]
    assert (told["price"]["amount"], told["model"], told["available"]) == (1.0, "film-short", True)
    refused = http.post("/api/quote", json={"model": "short", "prompt": "waves", "kind": "t2v", "max_cost": 0.5})
    assert (refused.status_code, refused.json()["code"]) == (400, "price_exceeds_max")


def test_a_preference_fills_what_a_quote_leaves_open_and_what_it_names_stays(http: httpx.Client) -> None:
    assert quoted(http, kind="t2v")["model"] == "film-any", "the first of the list has no account"
    wrong = http.put("/api/preferences/t2v", json={"model": "film-short", "parameters": {"seconds": 7}})
    assert (wrong.status_code, wrong.json()["param"]) == (400, "seconds")
    saved = http.put("/api/preferences/t2v", json={"model": "short", "parameters": {"duration": 10, "size": "1:1"}})
    assert saved.json()["parameters"] == {"seconds": 10, "size": "1:1"}
    told = quoted(http, kind="t2v")
    assert (told["model"], told["parameters"]["seconds"], told["price"]["amount"]) == ("film-short", 10, 2.0)
    said = quoted(http, kind="t2v", model="auto", duration=5)["parameters"]
    assert (said["seconds"], said["size"]) == (5, "960x960")
    other = quoted(http, kind="t2v", model="film-any")["parameters"]
    assert (other["seconds"], other["size"]) == (5, "1280x720"), "as the sandbox makes it where nobody says"
    assert http.get("/api/preferences").json()["data"] == [http.get("/api/preferences/text_to_video").json()]
    assert http.delete("/api/preferences/t2v").json()["deleted"] is True
    assert http.get("/api/preferences/t2v").status_code == 404
    assert quoted(http, kind="t2v")["model"] == "film-any"
