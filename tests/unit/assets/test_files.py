"""What callers bring, on both databases: what is kept of it, who shares what, and when its bytes go."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.assets import files as files_module
from gateway.assets.files import INPUT, File, Files, is_file_id, new_id
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import files as table
from gateway.errors import GatewayError, NotFound, StorageUnavailable
from gateway.storage import ObjectInfo, Storage
from tests.unit.assets.samples import SAMPLES, Sample, docx, image, sample
from tests.unit.assets.test_media import png_header

pytestmark = pytest.mark.anyio

ME, OTHER = "owner-1", "owner-2"
NOBODY = "file-" + "0" * 32


class Shelf(Files):
    """Files on a local store, and a look at what there is of them."""

    async def rows(self) -> list[Any]:
        async with self.database.read() as connection:
            return list((await connection.execute(select(table).order_by(table.c.created_at))).all())

    async def change(self, file: File, **values: Any) -> None:
        async with self.database.write() as connection:
            await connection.execute(update(table).where(table.c.id == file.id).values(**values))

    async def there(self, *found: File) -> list[bool]:
        return [await self.storage.head(file.key) is not None for file in found]

    @property
    def objects(self) -> int:
        root = self.storage._root
        assert root is not None
        return sum(path.is_file() for path in root.rglob("*"))


class Watched(Storage):
    """A store that lets something happen while it is asked whether an object is there."""

    meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def head(self, key: str) -> ObjectInfo | None:
        found = await super().head(key)
        if (happens := self.meanwhile) is not None:
            self.meanwhile = None
            await happens()
        return found


def shelf_on(database: Database, tmp_path: Path) -> Shelf:
    opened = Storage.open((tmp_path / "objects").as_uri())
    storage = Watched(opened._store, opened._root)
    return Shelf(database, storage, References(database, storage))


@pytest.fixture
async def shelf(database: Database, tmp_path: Path) -> AsyncIterator[Shelf]:
    yield shelf_on(database, tmp_path)


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Shelf]:
    """On SQLite alone: for what no database has a part in."""
    from gateway.db.tables import metadata

    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'small.db'}")
    await database.start()
    try:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield shelf_on(database, tmp_path)
    finally:
        await database.close()


async def refused(work: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(GatewayError) as told:
        await work
    return told.value.status, told.value.code


# --- what is kept ---


@pytest.mark.parametrize("one", SAMPLES, ids=lambda one: one.name)
async def test_every_type_is_known_measured_and_kept(small: Shelf, one: Sample) -> None:
    data = sample(one.name)
    kept = await small.keep(ME, one.name, data)
    assert (kept.name, kept.mime, kept.size, kept.owner, kept.purpose) == (one.name, one.mime, len(data), ME, "upload")
    assert ((kept.width, kept.height) == (64, 48)) is one.shown
    assert (kept.seconds is not None and 0.9 < kept.seconds < 1.1) is one.heard
    assert re.fullmatch(r"uploads/\d{4}-\d{2}/upload_\d{8}_\d{6}_[0-9a-f]{8}\.[a-z0-9]{2,5}", kept.key)
    assert b"".join([chunk async for chunk in small.storage.get(kept.key)]) == data


@pytest.mark.parametrize("one", SAMPLES, ids=lambda one: one.name)
async def test_the_bytes_decide_whatever_the_name_leaves_open(small: Shelf, one: Sample) -> None:
    kept = await small.keep(ME, "something", sample(one.name))
    assert kept.mime == (one.mime if one.name not in ("a.md", "a.csv", "a.jsonl") else "text/plain")


async def test_a_file_is_told_again_as_it_was_kept(shelf: Shelf) -> None:
    kept = await shelf.keep(ME, "a.mp4", sample("a.mp4"), purpose="vision", expires_at=shelf.database.now() + 60)
    assert await shelf.get(kept.id, ME) == kept
    [row] = await shelf.rows()
    assert {name: getattr(row, name) for name in asdict(kept)} == asdict(kept)
    assert abs(kept.created_at - shelf.database.now()) < 60


@pytest.mark.parametrize(
    ("name", "data", "wrong"),
    [
        ("a.txt", b"", (400, "empty_file")),
        ("a.bin", b"\x00\x01\x02", (415, "unsupported_file_type")),
        ("a.exe", b"MZ\x90\x00" + bytes(200), (415, "unsupported_file_type")),
        ("a.png", b"<script>alert(1)</script>", (415, "unsupported_file_type")),
        ("a.png", b"%PDF-1.4\n%%EOF", (415, "unsupported_file_type")),
        ("a.mp3", sample("a.mp4"), (415, "unsupported_file_type")),
        ("a.pdf", b"words", (415, "unsupported_file_type")),
        ("a.zip", docx()[:-30], (400, "invalid_media")),
        ("a.png", image("PNG")[:-20], (400, "invalid_media")),
        ("a.png", png_header(30_000, 30_000), (400, "image_too_large")),
        ("a.mp4", sample("a.mp4")[:-100], (400, "invalid_media")),
    ],
    ids=range(11),
)
async def test_what_is_refused_leaves_nothing(small: Shelf, name: str, data: bytes, wrong: tuple[int, str]) -> None:
    assert await refused(small.keep(ME, name, data)) == wrong
    assert (await small.rows(), small.objects) == ([], 0)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\a\\b.txt", "b.txt"), ("a\0b\r\nc.txt", "abc.txt"), ("", "file"),
        ("\u202egnp.txt", "gnp.txt"), ("con.txt", "_con.txt"), ("中文.txt", "中文.txt"),
    ],
)  # fmt: skip
async def test_a_name_is_for_showing_alone(shelf: Shelf, name: str, shown: str) -> None:
    kept = await shelf.keep(ME, name, b"words")
    assert kept.name == shown
    assert kept.key.startswith("uploads/")
    assert (await shelf.get(kept.id, ME)).name == shown


async def test_a_store_that_is_away_leaves_no_row(small: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(small.storage, "put", away)
    assert await refused(small.keep(ME, "a.txt", b"words")) == (503, "storage_unavailable")
    assert await small.rows() == []


def test_an_id_cannot_be_guessed_and_has_one_form() -> None:
    first, second = new_id(), new_id()
    assert first != second
    assert is_file_id(first)
    assert is_file_id("file_" + "a" * 32)
    assert new_id(b"a") == new_id(b"a") != new_id(b"b")
    for text in ("", "file-", first[:-1], first + "0", first.upper(), first + "\n", f" {first}", "asset_" + "a" * 32):
        assert not is_file_id(text)


# --- the same bytes again ---


async def test_an_owner_has_the_same_bytes_once(shelf: Shelf) -> None:
    first, second = [await shelf.keep(ME, name, b"words") for name in ("a.txt", "b.txt")]
    assert first.id != second.id
    assert (first.key, first.sha256) == (second.key, second.sha256)
    assert [(row.name, row.key) for row in await shelf.rows()] == [("a.txt", first.key), ("b.txt", first.key)]
    assert shelf.objects == 1


async def test_the_bytes_go_with_the_last_file_that_has_them(shelf: Shelf) -> None:
    first, second = [await shelf.keep(ME, "a.txt", b"words") for _ in range(2)]
    await shelf.remove(first.id, ME)
    assert await shelf.there(second) == [True]
    assert await refused(shelf.get(first.id, ME)) == (404, "file_not_found")
    await shelf.remove(second.id, ME)
    assert (await shelf.there(second), shelf.objects) == ([False], 0)


async def test_a_file_goes_once_however_often_at_once(shelf: Shelf) -> None:
    file = await shelf.keep(ME, "a.txt", b"words")
    told = await asyncio.gather(*(shelf.remove(file.id, ME) for _ in range(5)), return_exceptions=True)
    assert sum(one is None for one in told) == 1
    assert sum(isinstance(one, NotFound) for one in told) == 4


async def test_nobody_shares_with_another_owner_nor_another_type(shelf: Shelf) -> None:
    found = [
        await shelf.keep(ME, "a.txt", b"a,b\n1,2"),
        await shelf.keep(OTHER, "a.txt", b"a,b\n1,2"),
        await shelf.keep(ME, "a.csv", b"a,b\n1,2"),
        await shelf.keep(ME, "a.txt", b"a,b\n1,3"),
    ]
    assert len({file.key for file in found}) == 4


async def test_what_is_not_there_is_not_shared(shelf: Shelf) -> None:
    gone = await shelf.keep(ME, "a.txt", b"words")
    await shelf.storage.delete(gone.key)
    again = await shelf.keep(ME, "a.txt", b"words")
    assert again.key != gone.key
    assert await shelf.there(gone, again) == [False, True]


@pytest.mark.parametrize("what", ["missing", "over", "cut"])
async def test_what_is_about_to_go_is_not_shared(shelf: Shelf, what: str) -> None:
    first = await shelf.keep(ME, "a.txt", b"words")
    match what:
        case "missing":
            await shelf.change(first, missing_since=1.0)
        case "over":
            await shelf.change(first, expires_at=shelf.database.now() - 1)
        case _:
            await shelf.storage.put(first.key, b"wor", mime="text/plain")
    assert (await shelf.keep(ME, "a.txt", b"words")).key != first.key


async def test_a_file_that_goes_while_it_is_looked_at_is_not_shared(shelf: Shelf) -> None:
    first = await shelf.keep(ME, "a.txt", b"words")
    assert isinstance(shelf.storage, Watched)
    shelf.storage.meanwhile = lambda: shelf.remove(first.id, ME)
    again = await shelf.keep(ME, "a.txt", b"words")
    assert again.key != first.key
    assert await shelf.there(first, again) == [False, True]


async def test_a_file_that_is_being_taken_out_is_waited_for(shelf: Shelf) -> None:
    """Its row is still to be seen while the transaction goes on that deletes it."""
    first = await shelf.keep(ME, "a.txt", b"words")
    deleted, over = asyncio.Event(), asyncio.Event()

    async def taken_out() -> None:
        async with shelf.database.write() as connection:
            await connection.execute(delete(table).where(table.c.id == first.id))
            deleted.set()
            await over.wait()
        await shelf.references.drop([first.key])

    async with asyncio.TaskGroup() as tasks:

        async def begin() -> None:
            tasks.create_task(taken_out())
            await deleted.wait()

        assert isinstance(shelf.storage, Watched)
        shelf.storage.meanwhile = begin
        keeping = tasks.create_task(shelf.keep(ME, "a.txt", b"words"))
        await deleted.wait()
        await asyncio.wait({keeping}, timeout=0.3)  # where it does not wait, it is done by now
        over.set()
    assert keeping.result().key != first.key
    assert await shelf.there(first, keeping.result()) == [False, True]


async def test_whatever_comes_and_goes_at_once_every_file_has_its_bytes(shelf: Shelf) -> None:
    chance = random.Random(7)

    async def come_and_go() -> None:
        for _ in range(6):
            file = await shelf.keep(ME, "a.txt", chance.choice((b"some words", b"other words")))
            if chance.random() < 0.7:
                await shelf.remove(file.id, ME)

    await asyncio.gather(*(come_and_go() for _ in range(6)))
    rows = await shelf.rows()
    assert [await shelf.storage.head(row.key) is not None for row in rows] == [True] * len(rows)
    assert shelf.objects == len({row.key for row in rows})


# --- a file that was promised ---


async def test_a_promise_is_kept_once(shelf: Shelf) -> None:
    promised = new_id(b"ticket")
    first = await shelf.keep(ME, "a.txt", b"words", file_id=promised)
    assert first.id == promised
    assert await shelf.keep(ME, "b.txt", b"others", file_id=promised) == first
    assert (len(await shelf.rows()), shelf.objects) == (1, 1)


async def test_a_promise_kept_many_times_at_once_is_one_file(shelf: Shelf) -> None:
    promised = new_id(b"ticket")
    texts = [b"one", b"two", b"one", b"two", b"one"]
    kept = await asyncio.gather(*(shelf.keep(ME, "a.txt", text, file_id=promised) for text in texts))
    assert len(set(kept)) == 1
    assert (len(await shelf.rows()), shelf.objects) == (1, 1)
    assert await shelf.there(kept[0]) == [True]


async def test_a_promise_shares_what_is_there(shelf: Shelf) -> None:
    first = await shelf.keep(ME, "a.txt", b"words")
    promised = new_id(b"ticket")
    kept = await asyncio.gather(*(shelf.keep(ME, "b.txt", b"words", file_id=promised) for _ in range(3)))
    assert {file.key for file in kept} == {first.key}
    assert (len(await shelf.rows()), shelf.objects) == (2, 1)


# --- whose they are ---


async def test_another_s_file_is_told_from_none_by_nothing(shelf: Shelf) -> None:
    mine = await shelf.keep(ME, "a.txt", b"words")

    async def told(work: Callable[[str, str], Awaitable[Any]], file_id: str) -> Any:
        with pytest.raises(NotFound) as error:
            await work(file_id, OTHER)
        one = error.value
        return one.message.replace(file_id, "ID"), one.code, one.param, one.advice, one.detail

    async def listed_after(file_id: str, owner: str) -> Any:
        return await shelf.list(owner, after=file_id)

    for work in (shelf.get, shelf.remove, listed_after):
        assert await told(work, mine.id) == await told(work, NOBODY)
    assert await shelf.find(mine.id, OTHER) is None
    assert await shelf.there(await shelf.get(mine.id, ME)) == [True]


@pytest.mark.parametrize("file_id", ["", "x", "file-x", "\0", "\ud800", "a" * 100_000, "file-" + "A" * 32])
async def test_what_is_no_id_names_no_file(shelf: Shelf, file_id: str) -> None:
    assert await refused(shelf.get(file_id, ME)) == (404, "file_not_found")


async def test_ids_of_the_earlier_form_go_on(shelf: Shelf) -> None:
    file = await shelf.keep(ME, "a.txt", b"words", file_id="file_" + "b" * 32)
    assert await shelf.get(file.id, ME) == file


# --- lists ---


async def all_pages(shelf: Shelf, limit: int, **asked: Any) -> list[str]:
    names: list[str] = []
    after, more = None, True
    while more:
        page, more = await shelf.list(ME, after=after, limit=limit, **asked)
        assert len(page) == limit or not more
        names += [file.name for file in page]
        after = page[-1].id if page else None
    return names


async def test_pages_hold_every_file_once_even_of_one_moment(shelf: Shelf) -> None:
    moments = [10.0, 20.0, 20.0, 20.0, 20.5, 30.0]
    for number, moment in enumerate(moments):
        await shelf.keep(ME, f"{number}.txt", b"words", created_at=moment)
    await shelf.keep(OTHER, "theirs.txt", b"words", created_at=20.0)
    whole = [file.name for file in (await shelf.list(ME, limit=10))[0]]
    assert [whole[0], whole[1], whole[-1]] == ["5.txt", "4.txt", "0.txt"]
    assert sorted(whole) == [f"{number}.txt" for number in range(6)]
    for limit in (1, 2, 3, 6, 7):
        assert await all_pages(shelf, limit) == whole
        assert await all_pages(shelf, limit, ascending=True) == whole[::-1]


async def test_a_full_last_page_says_that_it_is_the_last(shelf: Shelf) -> None:
    for number in range(4):
        await shelf.keep(ME, f"{number}.txt", b"words")
    assert (await shelf.list(ME, limit=4))[1] is False
    assert (await shelf.list(ME, limit=3))[1] is True


async def test_a_list_has_the_purposes_that_are_asked_for(shelf: Shelf) -> None:
    for purpose in ("upload", "batch", "vision", INPUT):
        await shelf.keep(ME, f"{purpose}.txt", b"words", purpose=purpose)

    async def named(*purposes: str) -> set[str]:
        return {file.name for file in (await shelf.list(ME, purposes=purposes))[0]}

    assert await named() == {"upload.txt", "batch.txt", "vision.txt"}
    assert await named("batch", "upload") == {"upload.txt", "batch.txt"}
    assert await named(INPUT) == {"input.txt"}
    assert await named("evals") == set()


async def test_what_came_inside_of_a_request_is_a_file_by_its_id(shelf: Shelf) -> None:
    file = await shelf.keep(ME, "a.txt", b"words", purpose=INPUT)
    assert "/input_" in file.key
    assert await shelf.get(file.id, ME) == file


# --- whose time is over ---


async def test_a_file_whose_time_is_over_is_gone_before_it_is_swept(shelf: Shelf) -> None:
    file = await shelf.keep(ME, "a.txt", b"words", expires_at=shelf.database.now() - 0.001)
    assert await refused(shelf.get(file.id, ME)) == (404, "file_not_found")
    assert await refused(shelf.remove(file.id, ME)) == (404, "file_not_found")
    assert (await shelf.list(ME))[0] == []
    assert await refused(shelf.list(ME, after=file.id)) == (404, "file_not_found")


async def test_a_sweep_takes_what_is_over_and_nothing_else(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "SWEEP_ROWS", 2)
    now = shelf.database.now()
    over = [await shelf.keep(ME, "a.txt", f"words {at}".encode(), expires_at=now - 1) for at in range(4)]
    await shelf.keep(OTHER, "a.txt", b"words", expires_at=now - 1)
    stays = [await shelf.keep(ME, "a.txt", b"stays", expires_at=when) for when in (None, now + 3600)]
    shared = [await shelf.keep(ME, "a.txt", b"shared", expires_at=when) for when in (None, now - 1)]
    assert shared[0].key == shared[1].key
    assert await shelf.sweep() == 6
    assert {row.id for row in await shelf.rows()} == {stays[0].id, stays[1].id, shared[0].id}
    assert await shelf.there(*over) == [False] * 4
    assert await shelf.there(*stays, shared[0]) == [True] * 3
    assert await shelf.sweep() == 0
