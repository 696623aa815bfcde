"""The library as a zip over HTTP."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anyio
import pytest
from starlette.types import Message

from gateway.errors import StorageUnavailable
from gateway.routes import exports
from gateway.storage import Storage
from tests.unit.routes.library_rig import ASSETS, COLLECTIONS, Caller, Rig, opened
from tests.unit.scripted import film, png

EXPORT = f"{ASSETS}/export"
CHUNK = 256 * 1024


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with opened(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def me(rig: Rig) -> Iterator[Caller]:
    yield rig.me
    for caller in (rig.me, rig.other):
        caller.told("POST", f"{ASSETS}/delete", {"filter": {}, "confirm": True})


def unpacked(answer: Any) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The files of a zip, and what it tells of its assets."""
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    files = {name: archive.read(name) for name in archive.namelist()}
    assert files.pop("assets.csv").startswith(b"id,file,missing,asset_type,")
    return files, json.loads(files.pop("assets.json"))


def test_a_filter_s_assets_are_exported(me: Caller) -> None:
    image = me.has(filename="sea.png", tags=("sea",), metadata={"a": [1]})
    video = me.has(film(), filename="sea.mp4", family="video", mime="video/mp4", tags=("sea",))
    me.has(filename="night.png")
    answer = me.get(EXPORT, tags="sea")
    files, told = unpacked(answer)
    assert files == {"images/sea.png": png(), "videos/sea.mp4": film()}
    assert {one["id"]: one["file"] for one in told} == {image.id: "images/sea.png", video.id: "videos/sea.mp4"}
    [one] = [one for one in told if one["id"] == image.id]
    assert (one["prompt"], one["tags"], one["metadata"], one["model"]) == ("a lighthouse", ["sea"], {"a": [1]}, "m")
    assert "file_url" not in one
    assert "key" not in one
    assert "owner" not in one
    headers = answer.headers
    assert (headers["content-type"], headers["x-content-type-options"]) == ("application/zip", "nosniff")
    assert headers["content-disposition"].startswith('attachment; filename="assets-')
    assert headers["cache-control"] == "private, no-store"
    assert "content-length" not in headers
    assert unpacked(me.post(EXPORT, {"filter": {"tags": ["sea"]}}))[0] == files


def test_named_ones_are_exported_in_their_order(me: Caller) -> None:
    assets = [me.has(filename=f"{number}.png") for number in range(3)]
    _, told = unpacked(me.post(EXPORT, {"asset_ids": [assets[2].id, assets[0].id, assets[2].id]}))
    assert [one["file"] for one in told] == ["images/2.png", "images/0.png"]


def test_a_collection_is_exported(me: Caller) -> None:
    asset = me.has(filename="a.png")
    me.has()
    collection = me.told("POST", COLLECTIONS, {"name": "c", "asset_ids": [asset.id]}, status=201)["id"]
    assert list(unpacked(me.get(EXPORT, collection=collection))[0]) == ["images/a.png"]


def test_nothing_found_is_an_empty_zip(me: Caller) -> None:
    assert unpacked(me.get(EXPORT, model="none")) == ({}, [])


def test_an_object_that_is_missing_is_told(me: Caller) -> None:
    here, lost = me.has(filename="here.png"), me.has(filename="lost.png")
    me.gone(lost.key)
    files, told = unpacked(me.get(EXPORT))
    assert list(files) == ["images/here.png"]
    assert {one["id"]: one["missing"] for one in told} == {here.id: False, lost.id: True}


def test_head_reads_nothing(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    me.has()
    monkeypatch.delattr(Storage, "get")
    answer = me.ask("HEAD", EXPORT)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "application/zip")
    assert me.ask("HEAD", f"{EXPORT}?colour=blue").status_code == 400


def test_nobody_exports_another_s(rig: Rig, me: Caller) -> None:
    mine, theirs = me.has(), rig.other.has()
    told = unpacked(me.get(EXPORT))[1]
    assert [one["id"] for one in told] == [mine.id]
    answer = me.post(EXPORT, {"asset_ids": [mine.id, theirs.id]})
    told = answer.json()
    assert (answer.status_code, told["code"], told["param"]) == (400, "asset_not_found", "asset_ids")
    assert told["error"] == f"no asset '{theirs.id}'. {told['advice']}"


def test_who_may_only_read_may_export_by_a_get(rig: Rig) -> None:
    assert unpacked(rig.viewer.get(EXPORT)) == ({}, [])


def test_too_many_are_refused_before_anything_is_sent(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_ASSETS", 2)
    kept = [me.registers(str(number)) for number in range(3)]
    answer = me.get(EXPORT)
    assert (answer.status_code, answer.json()["code"]) == (400, "export_too_large")
    assert "at most 2 assets, and these are 3" in answer.json()["error"]
    answer = me.post(EXPORT, {"asset_ids": kept})
    assert (answer.status_code, answer.json()["param"]) == (400, "asset_ids")
    assert me.post(EXPORT, {"asset_ids": kept[:2]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "asset_ids"),
        ({"asset_ids": ["a"], "filter": {}}, "asset_ids"),
        ({"asset_ids": []}, "asset_ids"),
        ({"asset_ids": ["a\0b"]}, "asset_ids"),
        ({"ids": ["a"]}, "ids"),
    ],
)
def test_a_wrong_question_is_told(me: Caller, body: Any, param: str) -> None:
    answer = me.post(EXPORT, body)
    assert (answer.status_code, answer.json()["param"]) == (400, param)


def test_a_store_that_is_away_at_once_is_an_error_answer(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    me.has()

    async def away(storage: Storage, key: str, **options: Any) -> AsyncGenerator[bytes]:
        raise StorageUnavailable
        yield b""

    monkeypatch.setattr(Storage, "get", away)
    answer = me.get(EXPORT)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")


class Connection:
    """A client at the other end of the application itself: what it was sent, and when it leaves."""

    def __init__(self, caller: Caller, leaves_after: int | None = None) -> None:
        self.caller = caller
        self.leaves_after = leaves_after
        self.sent: list[Message] = []

    async def ask(self) -> None:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": EXPORT,
            "raw_path": EXPORT.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", self.caller.headers["authorization"].encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self.caller.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self.leaves_after is not None and len(self.bodies) >= self.leaves_after:
            return {"type": "http.disconnect"}
        await anyio.sleep_forever()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def bodies(self) -> list[Message]:
        return [message for message in self.sent if message["type"] == "http.response.body"]


def test_a_store_that_fails_half_way_leaves_the_answer_unfinished(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    me.has(bytes(4 * CHUNK))

    async def breaks(storage: Storage, key: str, **options: Any) -> AsyncGenerator[bytes]:
        yield bytes(CHUNK)
        yield bytes(CHUNK)
        raise StorageUnavailable

    monkeypatch.setattr(Storage, "get", breaks)
    connection = Connection(me)
    me.run(connection.ask)
    assert connection.sent[0]["status"] == 200
    assert sum(len(message["body"]) for message in connection.bodies) >= 2 * CHUNK
    assert all(message["more_body"] for message in connection.bodies)


def test_who_leaves_ends_the_reading(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    me.has(bytes(40 * CHUNK))
    read: list[int] = []
    closed: list[str] = []

    async def counted(storage: Storage, key: str, **options: Any) -> AsyncGenerator[bytes]:
        try:
            for number in range(40):
                read.append(number)
                yield bytes(CHUNK)
        finally:
            closed.append(key)

    monkeypatch.setattr(Storage, "get", counted)
    connection = Connection(me, leaves_after=3)
    me.run(connection.ask)
    assert len(read) < 8
    assert len(closed) == 1
    assert all(message["more_body"] for message in connection.bodies)
