"""The library over HTTP."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from PIL import Image

from gateway.assets.files import Files
from gateway.assets.registering import Said
from gateway.errors import StorageUnavailable
from gateway.routes import TABLE
from gateway.storage import Storage
from tests.unit.routes.library_rig import ASSETS, COLLECTIONS, Caller, Rig, opened
from tests.unit.scripted import film, png

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with opened(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def me(rig: Rig) -> Caller:
    return rig.me


def uploaded(caller: Caller, data: bytes, name: str = "photo.png") -> str:
    answer = caller.ask("POST", "/api/files/upload", files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["file"]["fileId"])


def data_url(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{b64encode(data).decode()}"


def ids(caller: Caller, path: str = ASSETS, **params: Any) -> list[str]:
    answer = caller.get(path, **params)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["assets"]]


# --- registering ---


def test_a_text_is_registered_with_all_that_is_said_of_it(me: Caller) -> None:
    parent = me.registers("before")
    said = {
        "title": "Sea",
        "description": "of words",
        "prompt": "about the sea",
        "tags": ["Night", "sea, night"],
        "metadata": {"mood": ["calm", 1, None]},
        "source_module": "notebook",
        "provider": "elsewhere",
        "model": "poet-1",
        "cost": 0.25,
        "currency": "USD",
        "generation_time": 1.5,
        "parents": [parent],
    }
    answer = me.post(f"{ASSETS}/", {"content": "# The sea\n", "mime": "text/markdown", "asset_type": "text", **said})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"{ASSETS}/{body['id']}"
    assert body == {
        "object": "asset",
        "id": body["id"],
        "asset_type": "text",
        "filename": "Sea.md",
        "file_url": body["file_url"],
        "file_size": 10,
        "mime_type": "text/markdown",
        "kind": None,
        "width": None,
        "height": None,
        "seconds": None,
        "sha256": body["sha256"],
        "task_id": None,
        "request_id": answer.headers["x-request-id"],
        "is_favorite": False,
        "use_count": 0,
        "download_count": 0,
        "share_count": 0,
        "view_count": 0,
        "thumbnail_url": None,
        "poster_url": None,
        "waveform": None,
        "created_at": body["created_at"],
        "updated_at": None,
        **said,
        "tags": ["Night", "sea"],
    }
    assert "/text/" in body["file_url"]
    assert me.client.get(body["file_url"]).text == "# The sea\n"
    whole = me.told("GET", f"{ASSETS}/{body['id']}")
    assert whole == body | {"content": "# The sea\n", "file_url": whole["file_url"]}


def test_an_upload_is_registered_with_its_own_bytes(me: Caller) -> None:
    file_id = uploaded(me, png(), "holiday.png")
    body = me.told("POST", ASSETS, {"file_id": file_id, "title": "Holiday"}, status=201)
    assert (body["asset_type"], body["mime_type"], body["width"], body["height"]) == ("image", "image/png", 64, 48)
    assert (body["filename"], body["source_module"], body["model"], body["provider"], body["parents"]) == (
        "holiday.png",
        "registered",
        None,
        None,
        [],
    )
    assert me.client.get(body["file_url"]).content == png()
    again = me.told("POST", ASSETS, {"file_id": file_id}, status=201)
    me.told("DELETE", f"{ASSETS}/{body['id']}")
    assert me.client.get(again["file_url"]).content == png(), "the file and the other asset have the same object"


def test_what_a_url_names_is_fetched_looked_at_and_stored(me: Caller) -> None:
    body = me.told("POST", ASSETS, {"url": data_url(film(), "image/png"), "asset_type": "video"}, status=201)
    assert (body["asset_type"], body["mime_type"], body["seconds"]) == ("video", "video/mp4", 0.5)
    assert body["filename"].endswith(".mp4")
    assert "/videos/" in body["file_url"]
    ours = me.told("POST", ASSETS, {"url": body["file_url"]}, status=201)
    assert (ours["sha256"], ours["file_url"].split("/")[-1] != body["file_url"].split("/")[-1]) == (
        body["sha256"],
        True,
    )
    me.told("DELETE", f"{ASSETS}/{body['id']}")
    assert me.client.get(ours["file_url"]).content == film()


def test_an_upload_that_goes_meanwhile_leaves_no_asset_without_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    files, file_id, total = rig.app.house.files, uploaded(rig.me, png()), rig.me.get(ASSETS).json()["total"]

    async def last_look(wanted: str, owner: str) -> Any:
        found = await Files.get(files, wanted, owner)
        await files.remove(wanted, owner)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(files, "get", last_look)
        patched.setattr(files, "remove", partial(Files.remove, Files(files.database, files.storage, files.references)))
        answer = rig.me.post(ASSETS, {"file_id": file_id})
    assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")
    assert rig.me.get(ASSETS).json()["total"] == total


def test_a_name_from_a_url_promises_nothing(rig: Rig) -> None:
    """What a server calls its file is not what the caller says it is."""
    registering, said = rig.app.house.registering, Said(rig.me.id, "req_1")
    for name, data, kept in (
        ("photo.png", film(), "photo.png.mp4"),
        ("clip.mov", film(), "clip.mov"),
        ("notes.md", b"# Notes", "notes.md"),
        ("setup.exe", b"only words", "setup.exe.txt"),
    ):
        asset = rig.me.run(partial(registering.fetched, data, name, said))
        assert asset.filename == kept


def test_an_own_file_may_be_a_parent(me: Caller) -> None:
    file_id = uploaded(me, png())
    body = me.told("POST", ASSETS, {"content": "a picture, in words", "parents": [file_id, file_id]}, status=201)
    assert body["parents"] == [file_id]


@pytest.mark.parametrize(
    ("mime", "content", "name"),
    [
        (None, "<script>alert(1)</script>", "text.txt"),
        ("text/plain", "<svg onload=alert(1)>", "text.txt"),
        ("text/csv", "a,b\n1,2\n", "text.csv"),
        ("application/json", '{"a": 1}', "text.json"),
        ("text/plain", "%PDF- is how a PDF begins", "text.txt"),
    ],
)
def test_a_text_is_only_ever_given_to_be_saved(me: Caller, mime: str | None, content: str, name: str) -> None:
    body = me.told("POST", ASSETS, {"content": content, "mime": mime}, status=201)
    assert (body["asset_type"], body["mime_type"], body["filename"]) == ("text", mime or "text/plain", name)
    for path in (body["file_url"], f"{ASSETS}/{body['id']}/content"):
        answer = me.get(path)
        assert answer.content.decode() == content
        assert answer.headers["content-disposition"].startswith("attachment")
        assert (answer.headers["x-content-type-options"], answer.headers["content-security-policy"]) == (
            "nosniff",
            "sandbox",
        )


def test_html_that_is_fetched_is_kept_and_never_shown(me: Caller) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    body = me.told("POST", ASSETS, {"url": data_url(page, "image/png")}, status=201)
    assert (body["asset_type"], body["mime_type"]) == ("text", "text/html")
    answer = me.get(f"{ASSETS}/{body['id']}/content")
    assert answer.headers["content-disposition"].startswith("attachment")
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    body = me.told("POST", ASSETS, {"url": data_url(drawing)}, status=201)
    assert (body["asset_type"], body["mime_type"]) == ("image", "image/svg+xml")
    assert me.get(f"{ASSETS}/{body['id']}/content").headers["content-disposition"].startswith("attachment")


def test_who_registers_chooses_no_path(me: Caller) -> None:
    for title in ("../../etc/passwd", "a/b\\c", "..", "con", "é\u202egnp.exe"):
        body = me.told("POST", ASSETS, {"content": "x", "title": title, "model": "../../m"}, status=201)
        assert "/" not in body["filename"]
        assert body["filename"].endswith(".txt")
        assert "\u202e" not in body["filename"]
        assert ".." not in body["file_url"]
    assert me.told("POST", ASSETS, {"content": "x", "title": "a/b\\c"}, status=201)["filename"] == "a-b-c.txt"


TEXT = {"content": "x"}
WRONG_NEW: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 400, "file_id"),
    ({"content": "x", "url": "https://example.com/a.png"}, 400, "content"),
    ({"content": None}, 400, "file_id"),
    ({"content": ""}, 400, "content"),
    ({"content": " \n "}, 400, "content"),
    ({"content": "a\0b"}, 400, "content"),
    ({"content": "a\x1b[0mb"}, 400, "content"),
    ({"content": 1}, 400, "content"),
    ({"content": "x" * (MIB + 1)}, 400, "content"),
    ({"content": "{", "mime": "application/json"}, 400, "content"),
    ({"content": "[" * 200_000, "mime": "application/json"}, 400, "content"),
    (TEXT | {"mime": "text/html"}, 400, "mime"),
    (TEXT | {"asset_type": "image"}, 400, "asset_type"),
    (TEXT | {"asset_type": "picture"}, 400, "asset_type"),
    (TEXT | {"id": "mine"}, 400, "id"),
    (TEXT | {"owner": "mine"}, 400, "owner"),
    (TEXT | {"title": "x" * 301}, 400, "title"),
    (TEXT | {"title": "a\0b"}, 400, "title"),
    (TEXT | {"description": "x" * 5001}, 400, "description"),
    (TEXT | {"prompt": "x" * 131_073}, 400, "prompt"),
    (TEXT | {"tags": "sea"}, 400, "tags"),
    (TEXT | {"tags": ["x" * 65]}, 400, "tags"),
    (TEXT | {"tags": ["a\0"]}, 400, "tags"),
    (TEXT | {"tags": [f"tag {number}" for number in range(51)]}, 400, "tags"),
    (TEXT | {"metadata": []}, 400, "metadata"),
    (TEXT | {"metadata": {"a": "x" * 16_400}}, 400, "metadata"),
    (TEXT | {"metadata": {"a": ["\0"]}}, 400, "metadata"),
    (TEXT | {"source_module": "x" * 201}, 400, "source_module"),
    (TEXT | {"cost": -1, "currency": "USD"}, 400, "cost"),
    (TEXT | {"cost": 1}, 400, "currency"),
    (TEXT | {"currency": "USD"}, 400, "cost"),
    (TEXT | {"cost": 1, "currency": "US$"}, 400, "currency"),
    (TEXT | {"cost": 1e300, "currency": "USD"}, 400, "cost"),
    (TEXT | {"generation_time": -0.1}, 400, "generation_time"),
    (TEXT | {"generation_time": "long"}, 400, "generation_time"),
    (TEXT | {"parents": ["asset_nope"]}, 400, "parents"),
    (TEXT | {"parents": ["file_nope"]}, 400, "parents"),
    (TEXT | {"parents": ["a\0b"]}, 400, "parents"),
    (TEXT | {"parents": [f"asset_{number}" for number in range(17)]}, 400, "parents"),
    ({"file_id": "file-nope"}, 404, "file_id"),
    ({"file_id": "file-" + "0" * 32}, 404, "file_id"),
    ({"file_id": "a\0b"}, 400, "file_id"),
    ({"url": "ftp://example.com/a.png"}, 400, "url"),
    ({"url": "file:///etc/passwd"}, 400, "url"),
    ({"url": "file-" + "0" * 32}, 400, "url"),
    ({"url": ""}, 400, "url"),
    ({"url": "http://127.0.0.1:9/a.png"}, 400, "url"),
    ({"url": "http://169.254.169.254/latest/meta-data"}, 400, "url"),
    ({"url": "data:image/png;base64,nonsense"}, 400, "url"),
    ({"url": data_url(b"\x00\x01\x02\x03")}, 400, "url"),
    ({"url": data_url(png()[:60])}, 400, "url"),
    ({"url": data_url(png()), "asset_type": "video"}, 400, "asset_type"),
    ({"url": data_url(png()), "asset_type": "document"}, 400, "asset_type"),
]


@pytest.mark.parametrize(("body", "status", "param"), WRONG_NEW)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    rig: Rig, body: dict[str, Any], status: int, param: str | None
) -> None:
    before, objects = rig.me.get(ASSETS, limit=1).json()["total"], rig.objects()
    answer = rig.me.post(ASSETS, body)
    assert (answer.status_code, answer.json().get("param")) == (status, param), answer.text
    assert answer.json()["error"]
    assert rig.me.get(ASSETS, limit=1).json()["total"] == before
    assert rig.objects() == objects


def test_no_url_reaches_into_the_storage(me: Caller) -> None:
    """Links are signed for what they open; a key of ours alone opens nothing."""
    asset = me.has()
    for url in (f"object:{asset.key}", f"/files/{'A' * 28}/{asset.key}", f"http://127.0.0.1/files/x/{asset.key}"):
        assert me.post(ASSETS, {"url": url}).status_code == 400


def test_a_file_of_another_type_than_said_is_refused_and_stays(me: Caller) -> None:
    file_id = uploaded(me, png())
    answer = me.post(ASSETS, {"file_id": file_id, "asset_type": "audio"})
    assert (answer.status_code, answer.json()["code"]) == (400, "asset_type_mismatch")
    assert answer.json()["error"].startswith("'asset_type' is audio, but by its content it is an image")
    assert me.post(ASSETS, {"file_id": file_id, "asset_type": "image"}).status_code == 201


def test_memory_for_what_is_fetched_is_counted(rig: Rig) -> None:
    house = rig.app.house
    house.uploading = house.config.limits.upload_memory - 1000
    try:
        answer = rig.me.post(ASSETS, {"url": data_url(png())})
    finally:
        house.uploading = 0
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert rig.me.post(ASSETS, {"url": data_url(png())}).status_code == 201
    assert house.uploading == 0


# --- one asset ---


def test_both_spellings_of_the_list_are_the_same(me: Caller) -> None:
    me.registers()
    for path in (ASSETS, f"{ASSETS}/", "/api/v1/content-assets/", "/api/v2/content-assets"):
        assert ids(me, path, limit=1) == ids(me, limit=1)


def test_only_what_is_named_changes(me: Caller) -> None:
    asset = me.registers("x", title="Sea", description="of words", tags=["sea"], metadata={"a": 1})
    path = f"{ASSETS}/{asset}"
    before = me.told("GET", path)
    after = me.told("PATCH", path, {"tags": ["Lake", "lake "], "is_favorite": True})
    assert (after["tags"], after["is_favorite"], after["title"], after["metadata"]) == (["Lake"], True, "Sea", {"a": 1})
    assert after["updated_at"] >= before["created_at"]
    after = me.told("PATCH", path, {"title": None, "description": "", "metadata": {}, "prompt": " p ", "tags": []})
    assert [after[name] for name in ("title", "description", "metadata", "prompt", "tags")] == [
        None,
        None,
        {},
        " p ",
        [],
    ]


WRONG_CHANGES: list[tuple[Any, str | None]] = [
    ({}, None),
    ({"model": "mine"}, "model"),
    ({"file_url": "mine"}, "file_url"),
    ({"use_count": 9}, "use_count"),
    ({"tags": None}, "tags"),
    ({"prompt": None}, "prompt"),
    ({"metadata": None}, "metadata"),
    ({"is_favorite": None}, "is_favorite"),
    ({"is_favorite": "yes"}, "is_favorite"),
    ({"title": 5}, "title"),
    ({"title": "a\0"}, "title"),
    ({"title": "new", "tags": [1]}, "tags[0]"),
    ({"title": "new", "metadata": {"a": "x" * 20_000}}, "metadata"),
    (b"[]", None),
    (b'{"title": "\xff"}', None),
]


@pytest.mark.parametrize(("body", "param"), WRONG_CHANGES)
def test_a_wrong_change_changes_nothing(me: Caller, body: Any, param: str | None) -> None:
    path = f"{ASSETS}/{me.registers('x', title='Sea')}"
    answer = me.ask("PATCH", path, body)
    assert (answer.status_code, answer.json().get("param")) == (400, param)
    assert me.told("GET", path)["title"] == "Sea"


def test_a_deleted_asset_is_gone_with_its_object(rig: Rig) -> None:
    asset = rig.me.has(preview=True)
    before = rig.objects()
    assert rig.me.told("DELETE", f"{ASSETS}/{asset.id}") == {
        "id": asset.id,
        "object": "asset.deleted",
        "deleted": True,
    }
    assert before - rig.objects() == {asset.key, asset.thumbnail_key}
    assert rig.me.ask("DELETE", f"{ASSETS}/{asset.id}").status_code == 404


def test_a_favourite_is_toggled_or_set(me: Caller) -> None:
    asset = me.registers()
    path = f"{ASSETS}/{asset}/favorite"
    assert me.told("POST", path) == {"id": asset, "is_favorite": True}
    assert me.told("POST", path, {}) == {"id": asset, "is_favorite": False}
    for wanted in (True, True, False, False):
        assert me.told("POST", path, {"is_favorite": wanted}) == {"id": asset, "is_favorite": wanted}
    assert me.told("GET", f"{ASSETS}/{asset}")["is_favorite"] is False
    assert me.post(path, {"is_favorite": 1}).status_code == 400
    assert me.post(path, {"favorite": True}).json()["param"] == "favorite"


def test_each_use_is_counted_by_itself(me: Caller) -> None:
    asset = me.registers()
    for action, times in (("use", 1), ("download", 2), ("share", 3), ("view", 4)):
        for _ in range(times):
            told = me.told("POST", f"{ASSETS}/{asset}/usage", {"action": action})
    assert told == {"id": asset, "use_count": 1, "download_count": 2, "share_count": 3, "view_count": 4}
    assert me.told("GET", f"{ASSETS}/{asset}")["view_count"] == 4
    for wrong in ({}, {"action": "steal"}, {"action": "use", "times": 2}):
        assert me.post(f"{ASSETS}/{asset}/usage", wrong).status_code == 400


def test_the_content_is_served_in_ranges_and_by_its_name(me: Caller) -> None:
    asset = me.has(filename="a lighthouse.png")
    path = f"{ASSETS}/{asset.id}/content"
    answer = me.get(path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, png(), "image/png")
    assert answer.headers["content-disposition"] == 'inline; filename="a lighthouse.png"'
    assert me.get(path, download="1").headers["content-disposition"].startswith("attachment")
    part = me.ask("GET", path, headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, png()[1:4])
    head = me.ask("HEAD", path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(png())))
    assert me.get(path, download="maybe").json()["param"] == "download"
    assert me.get(path, size="small").json()["param"] == "size"


def test_an_asset_without_its_object_says_so(me: Caller) -> None:
    asset = me.has()
    me.gone(asset.key)
    answer = me.get(f"{ASSETS}/{asset.id}/content")
    assert (answer.status_code, answer.json()["code"]) == (404, "asset_gone")
    text = me.registers("words")
    key = me.told("GET", f"{ASSETS}/{text}")["file_url"].partition("/files/")[2].partition("/")[2]
    me.gone(key)
    assert me.told("GET", f"{ASSETS}/{text}")["content"] is None


def test_a_long_text_is_told_by_its_link_alone(me: Caller) -> None:
    short = me.told("GET", f"{ASSETS}/{me.registers('é' * 32_768)}")
    assert short["content"] == "é" * 32_768
    long = me.told("GET", f"{ASSETS}/{me.registers('é' * 32_768 + 'x')}")
    assert (long["content"], long["file_size"]) == (None, 65_537)
    assert "content" not in me.told("GET", f"{ASSETS}/{me.has().id}")


def test_a_preview_is_served_where_there_is_one(me: Caller) -> None:
    with_one, small, without = me.has(preview=True), me.has(), me.has(width=2000)
    assert me.get(f"{ASSETS}/{with_one.id}/thumbnail").content == png()
    answer = me.get(f"{ASSETS}/{without.id}/thumbnail")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_preview")
    shown = me.told("GET", f"{ASSETS}/{with_one.id}")
    assert me.client.get(shown["thumbnail_url"]).content == png()
    assert me.told("GET", f"{ASSETS}/{small.id}")["thumbnail_url"].endswith(small.key)
    assert me.told("GET", f"{ASSETS}/{without.id}")["thumbnail_url"] is None


def test_lineage_is_told_in_both_directions(me: Caller) -> None:
    file_id = uploaded(me, png(), "root.png")
    root = me.registers("root", parents=[file_id], title="Root")
    middle = me.registers("middle", parents=[root])
    leaf = me.registers("leaf", parents=[middle])
    told = me.told("GET", f"{ASSETS}/{middle}/lineage")
    assert [(one["id"], one["object"], one["generation"], one["of"]) for one in told["ancestors"]] == [
        (root, "asset", 1, middle),
        (file_id, "file", 2, root),
    ]
    assert [(one["id"], one["generation"], one["of"]) for one in told["descendants"]] == [(leaf, 1, middle)]
    assert (told["id"], told["complete"]) == (middle, True)
    assert told["ancestors"][0]["title"] == "Root"
    assert me.client.get(told["ancestors"][1]["file_url"]).content == png()
    me.told("DELETE", f"{ASSETS}/{root}")
    [gone] = me.told("GET", f"{ASSETS}/{middle}/lineage")["ancestors"]
    assert (gone["id"], gone["object"]) == (root, "deleted")


# --- lists ---


@pytest.fixture(scope="module")
def shelf(rig: Rig) -> dict[str, str]:
    """Assets of somebody who has no others, by name."""
    rig.other.told("POST", f"{ASSETS}/delete", {"filter": {}, "confirm": True})
    day = datetime(2026, 1, 31, tzinfo=UTC).timestamp()
    made = {
        "image": rig.other.has(created_at=day, tags=("Sea", "night"), prompt="a lighthouse at dusk").id,
        "video": rig.other.has(
            film(), family="video", mime="video/mp4", created_at=day + 86_399, kind="t2v", tags=("sea",), model="films"
        ).id,
        "late": rig.other.has(created_at=day + 86_400, upstream="far", task_id="task_1", is_favorite=True).id,
        "text": rig.other.registers("words", source_module="notebook", title="Ode"),
    }
    collection = rig.other.told(
        "POST", COLLECTIONS, {"name": "c", "asset_ids": [made["image"], made["text"]]}, status=201
    )
    return made | {"collection": collection["id"]}


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"image", "video", "late", "text"}),
    ({"asset_type": "video"}, {"video"}),
    ({"asset_type": "text"}, {"text"}),
    ({"asset_type": "audio"}, set()),
    ({"source_module": "notebook"}, {"text"}),
    ({"provider": "far"}, {"late"}),
    ({"model": "films"}, {"video"}),
    ({"kind": "t2i"}, {"image", "late"}),
    ({"kind": "text_to_video"}, {"video"}),
    ({"tags": "SEA"}, {"image", "video"}),
    ({"tags": "sea,Night"}, {"image"}),
    ({"tags": ["sea", "night"]}, {"image"}),
    ({"favorites_only": "true"}, {"late"}),
    ({"favorites_only": "false"}, {"image", "video", "late", "text"}),
    ({"collection": "collection"}, {"image", "text"}),
    ({"collection": "col_nope"}, set()),
    ({"to": "2026-01-31"}, {"image", "video"}),
    ({"from": "2026-02-01"}, {"late", "text"}),
    ({"from": "2026-01-31", "to": "2026-01-31"}, {"image", "video"}),
    ({"from": "2026-01-31T00:00:01Z", "to": "2026-02-01"}, {"video", "late"}),
    ({"from": "2026-01-31T01:00:01+01:00", "to": "2026-02-01"}, {"video", "late"}),
    ({"to": "2026-01-31T23:59:59"}, {"image"}),
    ({"from": "2026-01-31T00:00:01", "to": "2026-01-31"}, {"video"}),
    ({"to": str(datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp())}, {"image"}),
    ({"search": "lighthouse dusk"}, {"image"}),
    ({"search": "ode"}, {"text"}),
    ({"task_id": "task_1"}, {"late"}),
    ({"asset_type": "image", "tags": "sea", "model": "films"}, set()),
]


@pytest.mark.parametrize(("filters", "wanted"), FILTERS)
def test_filters_find_what_they_say(rig: Rig, shelf: dict[str, str], filters: dict[str, Any], wanted: set[str]) -> None:
    given = {name: shelf.get(value, value) if name == "collection" else value for name, value in filters.items()}
    expected = {shelf[name] for name in wanted}
    page = rig.other.get(ASSETS, **given).json()
    assert {one["id"] for one in page["assets"]} == expected
    assert page["total"] == len(expected)
    assert rig.other.get(f"{ASSETS}/stats", **given).json()["count"] == len(expected)
    body = {name: value == "true" if name == "favorites_only" else value for name, value in given.items()}
    counted = rig.other.told("POST", f"{ASSETS}/delete", {"filter": body, "dry_run": True})
    assert (counted["count"], counted["dry_run"]) == (len(expected), True)


def test_pages_and_orders(rig: Rig, shelf: dict[str, str]) -> None:
    newest = [shelf[name] for name in ("text", "late", "video", "image")]
    assert ids(rig.other) == newest
    assert ids(rig.other, sort="created_at") == newest[::-1]
    page = rig.other.get(ASSETS, limit=2, offset=1).json()
    assert [one["id"] for one in page["assets"]] == newest[1:3]
    assert (page["total"], page["limit"], page["offset"]) == (4, 2, 1)
    assert rig.other.get(ASSETS).json()["limit"] == 20
    assert ids(rig.other, offset=4) == []


WRONG_QUERIES = [
    ("asset_type=picture", "asset_type"),
    ("asset_type=", "asset_type"),
    ("asset_type=image&asset_type=video", "asset_type"),
    ("type=image", "type"),
    ("kind=embroidery", "kind"),
    ("model=", "model"),
    ("model=" + "x" * 201, "model"),
    ("tags=,", "tags"),
    ("tags=" + "x" * 65, "tags"),
    ("favorites_only=yes", "favorites_only"),
    ("from=yesterday", "from"),
    ("from=2026-13-01", "from"),
    ("to=nan", "to"),
    ("to=1e999", "to"),
    ("to=2026-01-31T25:00:00Z", "to"),
]
WRONG_PAGES = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=²", "limit"),
    ("limit=ten", "limit"),
    ("offset=-1", "offset"),
    ("offset=99999999999", "offset"),
    ("sort=colour", "sort"),
    ("sort=", "sort"),
]


@pytest.mark.parametrize(("query", "param"), [*WRONG_QUERIES, *WRONG_PAGES])
def test_a_wrong_query_is_told_what_would_be_right(me: Caller, query: str, param: str) -> None:
    answer = me.ask("GET", f"{ASSETS}?{query}")
    assert (answer.status_code, answer.json()["param"]) == (400, param)
    assert "must " in answer.json()["error"] or "use" in answer.json()["error"] or "once" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/stats", "/export"])
@pytest.mark.parametrize(("query", "param"), [*WRONG_QUERIES, ("limit=5", "limit")])
def test_so_is_one_of_other_routes(me: Caller, path: str, query: str, param: str) -> None:
    answer = me.ask("GET", f"{ASSETS}{path}?{query}")
    assert (answer.status_code, answer.json()["param"]) == (400, param)


def test_sums(rig: Rig, shelf: dict[str, str]) -> None:
    told = rig.other.told("GET", f"{ASSETS}/stats")
    assert (told["count"], told["favorites"]) == (4, 1)
    assert told["bytes"] == 2 * len(png()) + len(film()) + len("words")
    assert {name: one["count"] for name, one in told["by_type"].items()} == {"image": 2, "video": 1, "text": 1}
    assert told["by_provider"]["far"]["count"] == 1
    assert told["by_month"]["2026-01"]["count"] == 2
    facets = rig.other.told("GET", f"{ASSETS}/facets")
    assert (facets["tags"]["sea"], facets["models"]["films"]) == (2, 1)


# --- many at once ---


def test_many_are_deleted_by_their_ids(rig: Rig) -> None:
    one, two = rig.me.registers(), rig.me.registers()
    theirs = rig.other.has().id
    body = {"asset_ids": [one, theirs, two, "asset_nope", one]}
    counted = rig.me.told("POST", f"{ASSETS}/delete", body | {"dry_run": True})
    assert counted == {"dry_run": True, "count": 2, "bytes": 20, "not_found": [theirs, "asset_nope"]}
    assert rig.me.get(f"{ASSETS}/{one}").status_code == 200
    assert rig.me.told("POST", f"{ASSETS}/delete", body) == {"deleted": 2, "not_found": [theirs, "asset_nope"]}
    assert rig.me.get(f"{ASSETS}/{one}").status_code == 404
    assert rig.other.get(f"{ASSETS}/{theirs}").status_code == 200
    rig.other.told("DELETE", f"{ASSETS}/{theirs}")


def test_what_a_filter_finds_is_deleted_and_nothing_else(rig: Rig) -> None:
    kept = rig.me.registers(source_module="kept")
    theirs = rig.other.registers(source_module="drafts")
    drafts = [rig.me.registers(f"draft {number}", source_module="drafts") for number in range(3)]
    filters = {"filter": {"source_module": "drafts"}}
    assert rig.me.post(f"{ASSETS}/delete", filters).json()["param"] == "confirm"
    assert rig.me.post(f"{ASSETS}/delete", filters | {"confirm": False}).status_code == 400
    assert rig.me.told("POST", f"{ASSETS}/delete", filters | {"dry_run": True, "confirm": True})["count"] == 3
    assert rig.me.told("POST", f"{ASSETS}/delete", filters | {"confirm": True}) == {"deleted": 3, "not_found": []}
    assert {rig.me.get(f"{ASSETS}/{draft}").status_code for draft in drafts} == {404}
    assert rig.me.get(f"{ASSETS}/{kept}").status_code == 200
    assert rig.other.get(f"{ASSETS}/{theirs}").status_code == 200
    rig.other.told("DELETE", f"{ASSETS}/{theirs}")


WRONG_FILTERS: list[tuple[Any, str]] = [
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": ["a"]}, "model"),
    ({"model": True}, "model"),
    ({"colour": "blue"}, "filter.colour"),
    ({"limit": 5}, "filter.limit"),
    ({"tags": []}, "tags"),
    ({"tags": [" "]}, "tags"),
    ({"tags": [1]}, "tags"),
    ({"favorites_only": 1}, "favorites_only"),
    ({"from": True}, "from"),
    ({"from": {}}, "from"),
    ({"asset_type": "picture"}, "asset_type"),
    ("all", "filter"),
]


@pytest.mark.parametrize("path", ["/delete", "/export"])
@pytest.mark.parametrize(("filters", "param"), WRONG_FILTERS)
def test_a_wrong_filter_deletes_nothing(me: Caller, path: str, filters: Any, param: str) -> None:
    kept = me.registers()
    body = {"filter": filters} | ({"confirm": True} if path == "/delete" else {})
    answer = me.post(f"{ASSETS}{path}", body)
    assert (answer.status_code, answer.json()["param"]) == (400, param), answer.text
    assert me.get(f"{ASSETS}/{kept}").status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "asset_ids"),
        ({"asset_ids": ["asset_1"], "filter": {}, "confirm": True}, "asset_ids"),
        ({"asset_ids": []}, "asset_ids"),
        ({"asset_ids": [f"asset_{number}" for number in range(1001)]}, "asset_ids"),
        ({"asset_ids": "all"}, "asset_ids"),
        ({"filters": {}}, "filters"),
        ({"filter": {}, "confirm": "yes"}, "confirm"),
        ({"filter": {}, "confirm": True, "dry_run": 1}, "dry_run"),
    ],
)
def test_a_wrong_deletion_is_none(me: Caller, body: Any, param: str) -> None:
    kept = me.registers()
    answer = me.post(f"{ASSETS}/delete", body)
    assert (answer.status_code, answer.json()["param"]) == (400, param)
    assert me.get(f"{ASSETS}/{kept}").status_code == 200


# --- whose they are ---

ON_ONE = [
    ("GET", f"{ASSETS}/{{asset}}", None),
    ("PATCH", f"{ASSETS}/{{asset}}", {"title": "mine"}),
    ("DELETE", f"{ASSETS}/{{asset}}", None),
    ("POST", f"{ASSETS}/{{asset}}/favorite", None),
    ("POST", f"{ASSETS}/{{asset}}/favorite", {"is_favorite": True}),
    ("POST", f"{ASSETS}/{{asset}}/usage", {"action": "use"}),
    ("GET", f"{ASSETS}/{{asset}}/content", None),
    ("HEAD", f"{ASSETS}/{{asset}}/content", None),
    ("GET", f"{ASSETS}/{{asset}}/thumbnail", None),
    ("GET", f"{ASSETS}/{{asset}}/lineage", None),
    ("GET", f"{COLLECTIONS}/{{collection}}", None),
    ("PATCH", f"{COLLECTIONS}/{{collection}}", {"name": "mine"}),
    ("DELETE", f"{COLLECTIONS}/{{collection}}", None),
    ("GET", f"{COLLECTIONS}/{{collection}}/assets", None),
    ("POST", f"{COLLECTIONS}/{{collection}}/assets", {"asset_ids": ["{mine}"]}),
    ("DELETE", f"{COLLECTIONS}/{{collection}}/assets", {"asset_ids": ["{asset}"]}),
    ("DELETE", f"{COLLECTIONS}/{{collection}}/assets/{{asset}}", None),
    ("PUT", f"{COLLECTIONS}/{{collection}}/order", {"asset_ids": ["{asset}"]}),
]
NAMED = [
    ("POST", ASSETS, {"content": "x", "parents": ["{asset}"]}),
    ("POST", ASSETS, {"content": "x", "parents": ["{file}"]}),
    ("POST", ASSETS, {"file_id": "{file}"}),
    ("GET", f"{ASSETS}?collection={{collection}}", None),
    ("GET", f"{ASSETS}/stats?collection={{collection}}", None),
    ("POST", f"{ASSETS}/delete", {"asset_ids": ["{asset}"]}),
    ("POST", f"{ASSETS}/delete", {"asset_ids": ["{asset}"], "dry_run": True}),
    ("POST", f"{ASSETS}/delete", {"filter": {"collection": "{collection}"}, "confirm": True}),
    ("POST", f"{ASSETS}/export", {"asset_ids": ["{asset}"]}),
    ("POST", COLLECTIONS, {"name": "mine", "asset_ids": ["{asset}"]}),
    ("POST", f"{COLLECTIONS}/{{own}}/assets", {"asset_ids": ["{mine}", "{asset}"]}),
    ("DELETE", f"{COLLECTIONS}/{{own}}/assets", {"asset_ids": ["{asset}"]}),
    ("DELETE", f"{COLLECTIONS}/{{own}}/assets/{{asset}}", None),
    ("PUT", f"{COLLECTIONS}/{{own}}/order", {"asset_ids": ["{asset}"]}),
    ("PATCH", f"{COLLECTIONS}/{{own}}", {"cover_asset_id": "{asset}"}),
]


def said(value: Any, names: dict[str, str]) -> Any:
    match value:
        case str():
            for name, meant in names.items():
                value = value.replace(f"{{{name}}}", meant)
            return value
        case list():
            return [said(one, names) for one in value]
        case dict():
            return {name: said(one, names) for name, one in value.items()}
    return value


@pytest.fixture(scope="module")
def strangers(rig: Rig) -> list[dict[str, str]]:
    """Things of another owner, and names of nothing that are as long."""
    asset = rig.other.has(preview=True).id
    theirs = {
        "asset": asset,
        "file": uploaded(rig.other, png()),
        "collection": rig.other.told("POST", COLLECTIONS, {"name": "theirs", "asset_ids": [asset]}, status=201)["id"],
    }
    return [theirs, {name: thing[:-8] + "ffffffff" for name, thing in theirs.items()}]


@pytest.mark.parametrize(("method", "path", "body"), [*ON_ONE, *NAMED])
def test_another_owner_s_is_as_one_that_is_not_there(
    rig: Rig, strangers: list[dict[str, str]], method: str, path: str, body: Any
) -> None:
    mine = rig.me.registers()
    own = rig.me.told("POST", COLLECTIONS, {"name": "own", "asset_ids": [mine]}, status=201)["id"]
    told = []
    for strange in strangers:
        names = strange | {"mine": mine, "own": own}
        answer = rig.me.ask(method, said(path, names), said(body, names))
        text = answer.text
        for name, thing in strange.items():
            text = text.replace(thing, f"<{name}>")
        told.append((answer.status_code, text))
    assert told[0] == told[1]
    if (method, path, body) in ON_ONE:
        assert told[0][0] == 404
    theirs = strangers[0]
    assert rig.other.told("GET", f"{ASSETS}/{theirs['asset']}")["title"] is None
    assert rig.other.told("GET", f"{ASSETS}/{theirs['asset']}")["use_count"] == 0
    assert rig.other.told("GET", f"{COLLECTIONS}/{theirs['collection']}")["asset_count"] == 1
    assert ids(rig.me, f"{COLLECTIONS}/{own}/assets") == [mine]


def test_every_route_of_the_library_that_takes_an_id_is_in_that_table() -> None:
    names = {"asset": "{asset_id}", "collection": "{id}"}
    tested = {(method, said(path, names)) for method, path, _ in ON_ONE}
    for entry in TABLE:
        if entry.path.startswith((f"{ASSETS}/{{", f"{COLLECTIONS}/{{")):
            assert (entry.method, entry.path.replace(f"{ASSETS}/{{id}}", f"{ASSETS}/{{asset_id}}")) in tested


def test_lists_hold_nothing_of_others(rig: Rig, strangers: list[dict[str, str]]) -> None:
    mine = set(ids(rig.me, limit=100))
    assert strangers[0]["asset"] not in mine
    assert strangers[0]["collection"] not in rig.me.get(COLLECTIONS, limit=100).text
    assert strangers[0]["asset"] not in rig.me.get("/api/history", limit=100).text


def test_who_may_only_read_changes_nothing(rig: Rig) -> None:
    for entry in TABLE:
        if entry.path.startswith((ASSETS, COLLECTIONS, "/api/history")):
            path = entry.path.replace("{id}", "x").replace("{asset_id}", "x")
            status = rig.viewer.ask(entry.method, path, None if entry.method == "GET" else {}).status_code
            assert (status == 403) == (entry.method != "GET"), entry


def test_a_store_that_is_away_is_told_as_that(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    text = rig.me.registers("words")

    async def away(*args: Any, **options: Any) -> Any:
        raise StorageUnavailable

    monkeypatch.setattr(Storage, "put", away)
    monkeypatch.setattr(Storage, "head", away)
    before = rig.me.get(ASSETS).json()["total"]
    assert rig.me.post(ASSETS, {"content": "x"}).json()["code"] == "storage_unavailable"
    assert rig.me.get(f"{ASSETS}/{text}/content").status_code == 503
    assert rig.me.get(ASSETS).json()["total"] == before


def test_a_picture_that_is_turned_is_measured_as_it_is_seen(me: Caller) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(out, "JPEG", exif=exif)
    body = me.told("POST", ASSETS, {"url": data_url(out.getvalue(), "image/jpeg")}, status=201)
    assert (body["width"], body["height"], body["filename"].rpartition(".")[2]) == (48, 64, "jpg")
