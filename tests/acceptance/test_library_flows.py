"""What is made stays, is found again and knows what it cost: on both databases, in a directory and on S3."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.acceptance.ark_gateway import database
from tests.acceptance.gateway_process import Gateway, eventually, lines, running
from tests.acceptance.native import SANDBOX, SMALL, ask, png
from tests.ceph import Ceph

MINE, THEIRS = "library-key-of-ada-1", "library-key-of-bob-2"
PRICES = {
    "sandbox-image": {"currency": "USD", "image": 0.04},
    "sandbox-video": {"currency": "CNY", "second": 0.3},
    "sandbox-text": {"currency": "USD", "input_tokens": 1.0, "output_tokens": 2.0},
}
CONFIG = {"upstreams": [SANDBOX], "models": {"prices": PRICES}}
WHERE = [(rows, objects) for rows in ("sqlite", "postgresql") for objects in ("directory", "s3")]


@contextmanager
def environment(request: pytest.FixtureRequest, home: Path, rows: str, objects: str) -> Iterator[dict[str, str]]:
    """Where a gateway of these tests keeps its rows and objects."""
    with database(rows, home) as found:
        env = {"API_KEYS": f"{MINE},{THEIRS}", "DATABASE_URL": found.url}
        if objects == "s3":
            ceph: Ceph = request.getfixturevalue("ceph")
            bucket = ceph.bucket()
            env |= {**ceph.env(), "STORAGE_URL": f"s3://{bucket}/kept"}
        yield env


@pytest.fixture(scope="module", params=WHERE, ids="-".join)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("library")
    with environment(request, home, *request.param) as env, running(home, CONFIG, env=env, secrets=[THEIRS]) as started:
        yield started


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


@pytest.fixture(scope="module")
def theirs(gateway: Gateway) -> httpx.Client:
    return gateway.client(headers={"authorization": f"Bearer {THEIRS}"})


def listed(http: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    answer = http.get("/api/content-assets/", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["assets"]
    assert answer.json()["total"] >= len(found)
    return found


def only(http: httpx.Client, **asked: Any) -> dict[str, Any]:
    [asset] = listed(http, **asked)
    return asset


def draw(http: httpx.Client, prompt: str, **more: Any) -> dict[str, Any]:
    """The asset of an image that is made now."""
    answer = http.post(
        "/v1/images/generations",
        json={"model": "sandbox-image", "prompt": prompt, "size": "96x64", "response_format": "url", **more},
    )
    assert answer.status_code == 200, answer.text
    return only(http, search=prompt)


def same_bytes(http: httpx.Client, asset: dict[str, Any]) -> bytes:
    """What its link gives, which is what it says it is."""
    data = httpx.get(asset["file_url"]).content
    assert (len(data), hashlib.sha256(data).hexdigest()) == (asset["file_size"], asset["sha256"])
    assert http.get(f"/api/content-assets/{asset['id']}/content").content == data
    return data


# --- everything made is there ---


def test_an_image_of_the_openai_dialect_is_an_asset(http: httpx.Client) -> None:
    asset = draw(http, "quokka on a beach")
    assert (asset["asset_type"], asset["mime_type"], asset["width"], asset["height"]) == ("image", "image/png", 96, 64)
    assert (asset["model"], asset["provider"], asset["kind"]) == ("sandbox-image", "sandbox", "t2i")
    assert Image.open(io.BytesIO(same_bytes(http, asset))).size == (96, 64)
    assert asset["filename"].startswith("sandbox-image_")


def test_a_link_serves_parts_and_heads(http: httpx.Client) -> None:
    asset = draw(http, "narwhal with a hat")
    data = same_bytes(http, asset)
    part = httpx.get(asset["file_url"], headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    head = httpx.head(asset["file_url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
    assert httpx.get(asset["file_url"], headers={"if-none-match": head.headers["etag"]}).status_code == 304
    assert httpx.get(asset["file_url"], headers={"range": f"bytes={len(data)}-"}).status_code == 416


def test_a_video_of_a_task_is_an_asset_with_its_task(http: httpx.Client) -> None:
    made = ask(http, **{**SMALL, "message": "pelican over the pier", "model": "sandbox-video"})
    asset = only(http, search="pelican pier")
    assert asset["task_id"] == made["task_id"]
    assert (asset["asset_type"], asset["width"], asset["height"]) == ("video", 128, 72)
    assert asset["seconds"] == pytest.approx(1, abs=0.1)
    assert same_bytes(http, asset)[4:8] == b"ftyp"
    task = http.get(f"/api/tasks/{made['task_id']}").json()
    assert task["output"]["files"][0]["id"] == asset["id"]


@pytest.mark.parametrize(("kind", "prompt"), [("tts", "Good morning heron"), ("t2m", "waltz of the wombats")])
def test_sound_is_an_asset(http: httpx.Client, kind: str, prompt: str) -> None:
    ask(http, chatType=kind, message=prompt, seconds=1, format="wav")
    asset = only(http, search=prompt)
    assert (asset["asset_type"], asset["mime_type"]) == ("audio", "audio/wav")
    assert asset["seconds"] > 0
    assert same_bytes(http, asset)[:4] == b"RIFF"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_text_is_an_asset_where_the_request_says_so(http: httpx.Client, path: str, stream: bool) -> None:
    prompt = f"Tell me of axolotls {'slowly' if stream else 'quickly'} by {path.split('/')[1]}"
    body = {"model": "sandbox-text", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    assert http.post(path, json=body).status_code == 200
    assert listed(http, search=f'"{prompt}"') == []
    answer = http.post(path, json={**body, "store": True})
    asset = only(http, search=f'"{prompt}"')
    if stream:
        parts = [chunk for chunk in lines(answer) if chunk != "[DONE]" and chunk["choices"]]
        told = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts)
    else:
        told = answer.json()["choices"][0]["message"]["content"]
        assert answer.headers["x-asset-id"] == asset["id"]
    assert (asset["asset_type"], asset["mime_type"]) == ("text", "text/markdown")
    assert same_bytes(http, asset).decode() == told.strip()
    assert http.get(f"/api/content-assets/{asset['id']}").json()["content"] == told.strip()


def test_text_of_a_task_is_an_asset_too(http: httpx.Client) -> None:
    asked = {"chatType": "t2t", "model": "sandbox-text", "prompt": "Of capybaras in short", "store": True}
    made = http.post("/api/tasks", json=asked, headers={"prefer": "wait=15"}).json()
    assert made["status"] == "succeeded", made
    asset = only(http, search="capybaras")
    assert (asset["task_id"], same_bytes(http, asset).decode()) == (made["id"], made["output"]["text"].strip())


# --- found, changed, put together ---


def test_search_finds_whole_words_beginnings_phrases_and_chinese(http: httpx.Client) -> None:
    lamp = draw(http, "an old lighthouse, painted in watercolours")
    cat = draw(http, "雪山上的红色小猫")
    for asked in ("lighthouse", "LIGHTHOUSE painted", "waterco", '"old lighthouse"'):
        assert [asset["id"] for asset in listed(http, search=asked)] == [lamp["id"]], asked
    for asked in ("雪山", "小猫", "红色小猫"):
        assert [asset["id"] for asset in listed(http, search=asked)] == [cat["id"]], asked
    for asked in ('"lighthouse old"', "lighthouse zebra", "山雪"):
        assert listed(http, search=asked) == [], asked
    for odd in (
        "'",
        '"',
        "a:b*",
        "lighthouse OR zebra NOT x",
        "(",
        "%",
        "\\",
        "-lighthouse AND",
        "NEAR(a b)",
        "&|!<->",
    ):
        assert http.get("/api/content-assets/", params={"search": odd}).status_code in (200, 400), odd


def test_what_is_said_of_an_asset_can_be_changed_and_found(http: httpx.Client) -> None:
    asset = draw(http, "a drab crate")
    path = f"/api/content-assets/{asset['id']}"
    said = {"title": "Kakapo", "description": "by night", "tags": ["Parrot", "green"], "metadata": {"shot": 3}}
    changed = http.patch(path, json=said).json()
    assert {name: changed[name] for name in ("title", "description", "metadata")} == {
        name: said[name] for name in ("title", "description", "metadata")
    }
    assert only(http, search="kakapo")["id"] == only(http, tags="parrot,green")["id"] == asset["id"]
    assert http.post(f"{path}/favorite").json() == {"id": asset["id"], "is_favorite": True}
    assert asset["id"] in [found["id"] for found in listed(http, favorites_only="true")]
    for action in ("download", "share", "view", "use", "use"):
        assert http.post(f"{path}/usage", json={"action": action}).status_code == 200
    told = http.get(path).json()
    counted = ("download_count", "share_count", "view_count", "use_count")
    assert [told[name] for name in counted] == [1, 1, 1, 2]
    assert http.post(f"{path}/favorite").json()["is_favorite"] is False


def test_a_collection_holds_what_is_put_into_it_in_order(http: httpx.Client) -> None:
    first, second, third = (draw(http, f"plate number {word}")["id"] for word in ("emu", "ibex", "okapi"))
    made = http.post("/api/collections", json={"name": "Plates", "asset_ids": [first, second]})
    assert made.status_code in (200, 201), made.text
    path = f"/api/collections/{made.json()['id']}"
    assert http.post(f"{path}/assets", json={"asset_ids": [third, first]}).status_code == 200
    assert http.put(f"{path}/order", json={"asset_ids": [third, first, second]}).status_code == 200
    held = [asset["id"] for asset in http.get(f"{path}/assets").json()["assets"]]
    assert held == [third, first, second]
    assert {asset["id"] for asset in listed(http, collection=made.json()["id"])} == set(held)
    assert http.delete(f"/api/content-assets/{first}").status_code == 200
    assert [asset["id"] for asset in http.get(f"{path}/assets").json()["assets"]] == [third, second]
    assert http.delete(path).status_code == 200
    assert http.get(f"/api/content-assets/{second}").status_code == 200


def test_lineage_says_what_came_of_what(http: httpx.Client) -> None:
    source = draw(http, "a bare tree in winter")
    asked = {"chatType": "i2i", "model": "sandbox-image", "size": "96x64", "message": "the thylacine tree"}
    ask(http, **asked, files=[source["file_url"]])
    child = only(http, search="thylacine")
    assert child["parents"] == [source["id"]]
    video = {**SMALL, "chatType": "i2v", "message": "the dugong swims", "files": [child["file_url"]]}
    ask(http, **video)
    film = only(http, search="dugong")
    assert film["parents"] == [child["id"]]
    told = json.dumps(http.get(f"/api/content-assets/{film['id']}/lineage").json())
    assert source["id"] in told
    assert child["id"] in told
    below = json.dumps(http.get(f"/api/content-assets/{source['id']}/lineage").json())
    assert film["id"] in below


def test_what_was_made_elsewhere_can_be_registered(http: httpx.Client) -> None:
    file = http.post("/api/files/upload", files={"file": ("pangolin.png", png(), "image/png")}).json()["file"]
    said = {"file_id": file["fileId"], "title": "A pangolin", "provider": "studio", "model": "by-hand"}
    made = http.post("/api/content-assets/", json=said)
    assert made.status_code == 201, made.text
    asset = only(http, search="pangolin")
    assert (asset["width"], asset["height"], asset["provider"], asset["model"]) == (40, 30, "studio", "by-hand")
    assert http.delete(f"/v1/files/{file['fileId']}").status_code == 200
    assert same_bytes(http, asset) == png()
    note = {"content": "# Numbat\nA note.", "mime": "text/markdown", "title": "Numbat note"}
    text = http.post("/api/content-assets/", json=note)
    assert text.status_code == 201, text.text
    assert same_bytes(http, only(http, search="numbat")).decode() == note["content"]


def test_an_export_holds_the_bytes(http: httpx.Client) -> None:
    kept = [draw(http, f"export of {word} tapir") for word in ("one", "two", "three")]
    answer = http.post("/api/content-assets/export", json={"asset_ids": [asset["id"] for asset in kept]})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        found = {hashlib.sha256(packed.read(name)).hexdigest() for name in packed.namelist()}
        manifest = json.loads(packed.read("assets.json"))
    assert {asset["sha256"] for asset in kept} <= found
    assert {asset["id"] for asset in kept} <= {row["id"] for row in manifest}


def test_many_are_deleted_at_once_with_their_bytes(http: httpx.Client) -> None:
    kept = [draw(http, f"bulk of {word} gharial") for word in ("one", "two")]
    told = http.post("/api/content-assets/delete", json={"asset_ids": [kept[0]["id"], kept[1]["id"], "asset_none"]})
    assert (told.status_code, told.json()["deleted"]) == (200, 2), told.text
    for asset in kept:
        assert http.get(f"/api/content-assets/{asset['id']}").status_code == 404
        assert httpx.get(asset["file_url"]).status_code == 404


# --- previews, costs, history ---


def test_previews_appear(http: httpx.Client) -> None:
    draw(http, "a wide fossa", size="1024x640")
    ask(http, **{**SMALL, "message": "a film of a fossa", "model": "sandbox-video"})
    ask(http, chatType="tts", message="the sound of fossa", format="wav")

    def shown() -> dict[str, dict[str, Any]] | None:
        found = {asset["asset_type"]: asset for asset in listed(http, search="fossa")}
        whole = found["image"]["thumbnail_url"] and found["video"]["poster_url"] and found["audio"]["waveform"]
        return found if whole else None

    found = eventually(shown, 30) or {}
    for url, longest in ((found["image"]["thumbnail_url"], 512), (found["video"]["poster_url"], 128)):
        assert max(Image.open(io.BytesIO(httpx.get(url).content)).size) == longest
    peaks = found["audio"]["waveform"]
    assert (len(peaks), max(peaks)) == (128, 100)


def test_costs_are_fixed_with_what_was_made_and_sum_up(http: httpx.Client, theirs: httpx.Client) -> None:
    draw(theirs, "priced aardvark")
    made = ask(theirs, **{**SMALL, "message": "priced okapi film", "model": "sandbox-video"})

    def priced() -> list[dict[str, Any]] | None:
        found = listed(theirs, search="priced", sort="created_at")
        return found if all(asset["cost"] is not None for asset in found) else None

    image, film = eventually(priced, 10) or []
    assert (image["cost"], image["currency"]) == (0.04, "USD")
    assert (film["cost"], film["currency"]) == (pytest.approx(0.3, rel=0.1), "CNY")
    assert http.get("/api/usage", params={"all": "true"}).status_code == 200
    assert theirs.get(f"/api/tasks/{made['task_id']}").json()["cost"]["currency"] == "CNY"
    told = theirs.get("/api/usage/summary", params={"group_by": "model"})
    assert told.status_code == 200, told.text
    sums = theirs.get("/api/usage", params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(sums.text)))
    assert {row["model"] for row in rows} == {"sandbox-image", "sandbox-video"}


def test_history_tells_the_last_generations(http: httpx.Client) -> None:
    ask(http, **{**SMALL, "message": "history of the saiga", "model": "sandbox-video"})
    draw(http, "history of the gnu")
    told = http.get("/api/history", params={"limit": 2})
    assert told.status_code == 200, told.text
    entries = told.json()["data"]
    assert [entry["prompt"] for entry in entries] == ["history of the gnu", "history of the saiga"]
    assert [entry["status"] for entry in entries] == ["succeeded", "succeeded"]


def test_stats_count_what_is_there(theirs: httpx.Client) -> None:
    told = theirs.get("/api/content-assets/stats").json()
    total = theirs.get("/api/content-assets/").json()["total"]
    assert str(total) in json.dumps(told)


# --- whose it is ---


def test_to_another_owner_none_of_it_exists(http: httpx.Client, theirs: httpx.Client) -> None:
    asset = draw(http, "a secret quagga")
    assert listed(theirs, search="quagga") == []
    missing = f"asset_{'0' * 32}"
    for method, path in (
        ("GET", "/api/content-assets/{}"),
        ("PATCH", "/api/content-assets/{}"),
        ("DELETE", "/api/content-assets/{}"),
        ("POST", "/api/content-assets/{}/favorite"),
        ("POST", "/api/content-assets/{}/usage"),
        ("GET", "/api/content-assets/{}/content"),
        ("GET", "/api/content-assets/{}/lineage"),
    ):
        body = {"PATCH": {"title": "mine"}, "POST": {"action": "view"} if "usage" in path else None}.get(method)
        foreign, none = (theirs.request(method, path.format(id), json=body) for id in (asset["id"], missing))
        assert (foreign.status_code, none.status_code) == (404, 404), (method, path)
        assert foreign.text.replace(asset["id"], missing) == none.text
    assert http.get(f"/api/content-assets/{asset['id']}").json()["title"] is None


@pytest.mark.parametrize("name", ["evil.svg", "evil.html"])
def test_what_could_run_is_never_shown_inline(http: httpx.Client, name: str) -> None:
    content = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    if name.endswith("html"):
        content = b"<!doctype html><script>alert(1)</script>"
    told = http.post("/api/files/upload", files={"file": (name, content, "image/png")}).json()
    answer = httpx.get(told["file"]["url"])
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


# --- after a restart ---


@pytest.mark.parametrize(("rows", "objects"), WHERE)
def test_after_a_restart_everything_is_there_and_nothing_is_left_over(
    request: pytest.FixtureRequest, tmp_path: Path, rows: str, objects: str
) -> None:
    def looked() -> dict[str, str]:
        with gateway.client() as http:
            return {asset["id"]: asset["sha256"] for asset in listed(http, limit=100)}

    with environment(request, tmp_path, rows, objects) as env, running(tmp_path, CONFIG, env=env) as gateway:
        with gateway.client() as http:
            draw(http, "a lasting lynx")
            ask(http, **{**SMALL, "message": "a lasting film"})
            http.post("/api/files/upload", files={"file": ("lynx.png", png(), "image/png")})
        before = looked()
        assert len(before) >= 2
        gateway.restart()
        assert looked() == before
        with gateway.client() as http:
            told = http.post("/api/storage/collect", json={"dry_run": True, "include_earlier": True})
            assert told.status_code == 200, told.text
            result = told.json()
    assert (result["orphans"]["count"], result["problem"]) == (0, None)
    assert result["scanned"]["count"] >= 3
    assert "'count': 0" in str(result["missing"])
