"""A zip that is made while it is sent."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import zipfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from gateway.assets import export
from gateway.assets.asset import Asset
from gateway.assets.export import SEND_BYTES, Source, zipped
from gateway.errors import NotFound, StorageUnavailable

pytestmark = pytest.mark.anyio

CHUNK = 256 * 1024


def asset(name: str = "a.png", size: int = 3, **fields: Any) -> Asset:
    whole = {
        "id": f"asset_{name}",
        "owner": "me",
        "family": "image",
        "key": f"images/2026-01/{name}",
        "mime": "image/png",
        "size": size,
        "sha256": "",
        "width": 1,
        "height": 1,
        "seconds": None,
        "filename": name,
        "prompt": "a lighthouse",
        "model": "m",
        "upstream": "u",
        "kind": "t2i",
        "task_id": None,
        "source_module": "api",
        "created_at": 1767225600.0,
        "metadata": {},
    } | fields
    return Asset(**whole)


@dataclass
class Shelf:
    """Objects, or what goes wrong with them, and what was read of them."""

    assets: list[Asset]
    objects: dict[str, Sequence[bytes | Exception]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Ids of those that are deleted meanwhile."""
    read: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def _read(self, key: str) -> AsyncGenerator[bytes]:
        self.read.append(key)
        try:
            for piece in self.objects.get(key, [b"abc"]):
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed.append(key)

    async def _many(self, ids: Sequence[str]) -> list[Asset]:
        return [one for one in self.assets if one.id in ids and one.id not in self.gone]

    async def _batches(self) -> AsyncGenerator[list[Asset]]:
        for start in range(0, len(self.assets), 2):
            yield self.assets[start : start + 2]

    def zip(self) -> AsyncGenerator[bytes]:
        columns = ("id", "prompt", "tags", "metadata")
        source = Source(
            self._read, self._many, lambda one: {name: getattr(one, name) for name in (*columns, "size")}, columns
        )
        return zipped(self._batches(), source)

    async def bytes(self) -> bytes:
        return b"".join([chunk async for chunk in self.zip()])

    async def opened(self) -> zipfile.ZipFile:
        opened = zipfile.ZipFile(io.BytesIO(await self.bytes()))
        assert opened.testzip() is None
        return opened


async def test_it_holds_every_object_and_what_is_told_of_it() -> None:
    shelf = Shelf([asset("a.png"), asset("b.mp4", 5, family="video"), asset("c.txt", 0, family="text")])
    shelf.objects = {"images/2026-01/b.mp4": [b"de", b"fgh"], "images/2026-01/c.txt": []}
    opened = await shelf.opened()
    assert opened.namelist() == ["images/a.png", "videos/b.mp4", "text/c.txt", "assets.json", "assets.csv"]
    assert [opened.read(name) for name in opened.namelist()[:3]] == [b"abc", b"defgh", b""]
    assert opened.getinfo("images/a.png").date_time == (2026, 1, 1, 0, 0, 0)
    told = json.loads(opened.read("assets.json"))
    assert [(one["id"], one["file"], one["missing"], one["size"]) for one in told] == [
        ("asset_a.png", "images/a.png", False, 3),
        ("asset_b.mp4", "videos/b.mp4", False, 5),
        ("asset_c.txt", "text/c.txt", False, 0),
    ]


async def test_the_table_tells_the_same_and_no_formula() -> None:
    shelf = Shelf(
        [
            asset("a.png", prompt="=1+1", tags=("sea", "night"), metadata={"é": [1]}),
            asset("b.png", prompt='one, "two"\nthree'),
        ]
    )
    text = (await shelf.opened()).read("assets.csv").decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["id", "file", "missing", "prompt", "tags", "metadata"],
        ["asset_a.png", "images/a.png", "false", "'=1+1", "sea, night", '{"é": [1]}'],
        ["asset_b.png", "images/b.png", "false", 'one, "two"\nthree', "", "{}"],
    ]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_begins_a_formula(first: str) -> None:
    shelf = Shelf([asset(prompt=f"{first}cmd|' /C calc'!A0")])
    text = (await shelf.opened()).read("assets.csv").decode()
    assert list(csv.reader(io.StringIO(text, newline="")))[1][3].startswith(f"'{first}")


async def test_none_is_a_zip_as_well() -> None:
    opened = await Shelf([]).opened()
    assert opened.namelist() == ["assets.json", "assets.csv"]
    assert json.loads(opened.read("assets.json")) == []
    assert opened.read("assets.csv").decode().splitlines() == ["id,file,missing,prompt,tags,metadata"]


async def test_what_is_missing_is_told_and_the_rest_is_there() -> None:
    shelf = Shelf([asset("a.png"), asset("b.png"), asset("c.png")], {"images/2026-01/b.png": [NotFound("gone")]})
    opened = await shelf.opened()
    assert opened.namelist()[:2] == ["images/a.png", "images/c.png"]
    told = json.loads(opened.read("assets.json"))
    assert [(one["file"], one["missing"]) for one in told] == [
        ("images/a.png", False),
        (None, True),
        ("images/c.png", False),
    ]


async def test_what_was_deleted_meanwhile_is_in_the_zip_and_told_by_its_name() -> None:
    shelf = Shelf([asset("a.png"), asset("b.png")], gone={"asset_a.png"})
    opened = await shelf.opened()
    told = json.loads(opened.read("assets.json"))
    assert told[0] == {"id": "asset_a.png", "file": "images/a.png", "missing": False}
    assert told[1]["prompt"] == "a lighthouse"
    assert opened.read("images/a.png") == b"abc"


async def test_names_are_safe_and_each_there_once() -> None:
    names = ["a.png", "A.PNG", "a.png", "a_2.png", "../../etc/passwd", "..", "con.png", "é/ü\\x\n.png", "x" * 300]
    shelf = Shelf([asset(name, id=f"asset_{number}", key="k") for number, name in enumerate(names)])
    found = (await shelf.opened()).namelist()[:-2]
    assert found[:5] == ["images/a.png", "images/A_2.PNG", "images/a_3.png", "images/a_2_2.png", "images/passwd"]
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        folder, _, file = name.partition("/")
        assert folder == "images"
        assert "/" not in file
        assert file.strip(". ") == file
        assert len(file.encode()) <= 260


async def test_ten_thousand_of_one_name_take_no_time_to_tell_apart() -> None:
    names = export._Names()
    found = {names.given(asset("a.png")) for _ in range(10_000)}
    assert len(found) == 10_000


async def test_little_is_in_memory_at_a_time() -> None:
    """A chunk is handed on before the next one is read, and what is small is handed on together."""
    large = asset("large.mp4", 40 * CHUNK, family="video")
    shelf = Shelf([large], {large.key: [bytes(CHUNK)] * 40})
    sizes = [len(chunk) async for chunk in shelf.zip()]
    assert len(sizes) >= 40
    assert max(sizes) < CHUNK + SEND_BYTES
    small = Shelf([asset(f"{number}.png") for number in range(100)])
    assert len([chunk async for chunk in small.zip()]) == 1


@pytest.mark.parametrize("failure", [StorageUnavailable("away"), NotFound("gone")])
async def test_a_store_that_fails_half_way_makes_no_zip(failure: Exception) -> None:
    shelf = Shelf([asset("a.png", 2 * CHUNK)], {"images/2026-01/a.png": [bytes(CHUNK), failure]})
    got = b""
    with pytest.raises(type(failure)):
        async for chunk in shelf.zip():
            got += chunk
    assert len(got) >= CHUNK
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(got))


async def test_a_store_that_is_away_is_no_missing_object() -> None:
    with pytest.raises(StorageUnavailable):
        await Shelf([asset()], {"images/2026-01/a.png": [StorageUnavailable("away")]}).bytes()


@pytest.mark.parametrize("size", [2, 4])
async def test_an_object_of_another_length_makes_no_zip(size: int) -> None:
    with pytest.raises(StorageUnavailable, match="another object"):
        await Shelf([asset(size=size)]).bytes()


async def test_an_object_that_goes_on_is_not_read_to_its_end() -> None:
    shelf = Shelf([asset(size=3 * CHUNK)], {"images/2026-01/a.png": [bytes(CHUNK)] * 40})
    got = 0
    with pytest.raises(StorageUnavailable):
        async for chunk in shelf.zip():
            got += len(chunk)
    assert got < 4 * CHUNK


async def test_who_leaves_ends_the_reading() -> None:
    names = ("a.png", "b.png")
    shelf = Shelf(
        [asset(name, 4 * CHUNK) for name in names], {f"images/2026-01/{name}": [bytes(CHUNK)] * 4 for name in names}
    )
    async with aclosing(shelf.zip()) as chunks:
        await anext(chunks)
    assert shelf.read == shelf.closed == ["images/2026-01/a.png"]


async def test_what_is_larger_than_the_old_format_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits as if they were small: sizes and places past them need other records."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    shelf = Shelf(
        [asset("large.mp4", 5000), asset("small.png"), asset("b.mp4", 3000)],
        {"images/2026-01/large.mp4": [bytes(range(250)) * 20], "images/2026-01/b.mp4": [b"b" * 1500] * 2},
    )
    data = await shelf.bytes()
    monkeypatch.undo()
    opened = zipfile.ZipFile(io.BytesIO(data))
    assert opened.testzip() is None
    assert opened.read("images/large.mp4") == bytes(range(250)) * 20
    assert b"PK\x06\x06" in data


@pytest.mark.skipif(which("unzip") is None, reason="no unzip here")
async def test_another_program_finds_it_whole(tmp_path: Path) -> None:
    shelf = Shelf([asset("ä.png"), asset("b.mp4", CHUNK, family="video")], {"images/2026-01/b.mp4": [bytes(CHUNK)]})
    file = tmp_path / "assets.zip"
    file.write_bytes(await shelf.bytes())
    ran = subprocess.run(["unzip", "-t", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "No errors detected" in ran.stdout
