"""Previews come by themselves: made, stored, and named by the row, in that order and once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from gateway.app import create_app
from gateway.assets import previewer, previews
from gateway.assets.asset import Asset, asset_of
from gateway.assets.previewer import Previewer
from gateway.config import load
from gateway.db.engine import Database
from gateway.db.tables import assets
from gateway.errors import DatabaseUnavailable, StorageUnavailable
from gateway.routes.front import Front
from gateway.storage import Storage, Stored
from tests.unit.assets.making import encoded, film, noisy, scene, sound
from tests.unit.routes.direct import KEY, asked

pytestmark = pytest.mark.anyio

SANDBOX = {"name": "sandbox", "type": "sandbox", "image_seconds": 0}
KEYS = {"name": "makes", "key": KEY}
PHOTO = encoded(noisy(), "JPEG")
FILM = film([scene(320, 240)] * 3)
MIMES = {"jpg": ("image", "image/jpeg"), "mp4": ("video", "video/mp4"), "wav": ("audio", "audio/wav")}


@dataclass
class Shelf:
    """A library of one's own."""

    database: Database
    storage: Storage
    place: Path
    now: float = 0.0
    maker: Previewer = field(init=False)

    def __post_init__(self) -> None:
        self.maker = self.another()

    def another(self, **fields: Any) -> Previewer:
        given = {"enabled": True, "clock": lambda: self.now, **fields}
        return Previewer(self.database, self.storage, **given)

    async def add(self, name: str, data: bytes | None, ending: str = "jpg", **fields: Any) -> str:
        """`data`: None is an object that is not there."""
        family, mime = MIMES.get(ending, ("text", "text/plain"))
        key = f"images/2026-01/{name}.{ending}"
        if data is not None:
            await self.storage.put(key, data, mime=mime)
        row = {
            "id": f"asset_{name}",
            "owner": "owner",
            "family": family,
            "key": key,
            "mime": mime,
            "size": len(data or b"x"),
            "sha256": "",
            "filename": "",
            "prompt": "",
            "model": "Some/Model 1",
            "upstream": "up",
            "kind": "t2i",
            "source_module": "api",
            "created_at": 1.0,
            "metadata": "{}",
        }
        async with self.database.write() as connection:
            await connection.execute(insert(assets).values(row | fields))
        return f"asset_{name}"

    async def asset(self, asset_id: str) -> Asset:
        async with self.database.read() as connection:
            return asset_of((await connection.execute(select(assets).where(assets.c.id == asset_id))).one())

    async def change(self, statement: Any) -> None:
        async with self.database.write() as connection:
            await connection.execute(statement)

    def previews(self) -> list[str]:
        """Every object that is a preview."""
        return sorted(
            str(path.relative_to(self.place))
            for path in self.place.rglob("*")
            if path.is_file() and "previews" in path.parts
        )


@pytest.fixture
async def shelf(database: Database, tmp_path: Path) -> AsyncIterator[Shelf]:
    place = tmp_path / "objects"
    yield Shelf(database, Storage.open(f"file://{place}"), place)


async def test_an_image_gets_a_thumbnail(shelf: Shelf) -> None:
    asset_id = await shelf.add("a", PHOTO)
    assert await shelf.maker.step(5) == 1
    asset = await shelf.asset(asset_id)
    assert asset.thumbnail_key is not None
    assert asset.thumbnail_key.startswith("previews/20")
    assert "/Some-Model-1_" in asset.thumbnail_key
    assert asset.thumbnail_key.endswith(".webp")
    assert (asset.poster_key, asset.waveform) == (None, None)
    assert asset.previewed_at == pytest.approx(shelf.database.now(), abs=60)
    assert shelf.previews() == [asset.thumbnail_key]
    data = b"".join([chunk async for chunk in shelf.storage.get(asset.thumbnail_key)])
    assert data == (await previews.previewed(PHOTO, previewer.JPEG)).thumbnail


async def test_a_video_gets_a_poster_too_and_a_sound_its_waveform(shelf: Shelf) -> None:
    video, heard = await shelf.add("v", FILM, "mp4"), await shelf.add("s", sound(), "wav")
    assert await shelf.maker.step(5) == 2
    asset = await shelf.asset(video)
    assert asset.thumbnail_key is not None
    assert asset.poster_key is not None
    assert asset.poster_key.endswith(".jpg")
    assert shelf.previews() == sorted([asset.thumbnail_key, asset.poster_key])
    asset = await shelf.asset(heard)
    assert (asset.thumbnail_key, asset.poster_key) == (None, None)
    assert asset.waveform is not None
    assert max(asset.waveform) == 100
    assert await shelf.maker.step(5) == 0


@pytest.mark.parametrize(
    ("data", "ending"),
    [(PHOTO[: len(PHOTO) // 2], "jpg"), (b"hello", "txt"), (b"<svg/>", "svg"), (encoded(scene(64, 48), "JPEG"), "jpg")],
)
async def test_what_cannot_or_need_not_be_shown_is_done_with(shelf: Shelf, data: bytes, ending: str) -> None:
    asset_id = await shelf.add("a", data, ending)
    assert await shelf.maker.step(1) == 1
    asset = await shelf.asset(asset_id)
    assert (asset.thumbnail_key, asset.poster_key, asset.waveform) == (None, None, None)
    assert asset.previewed_at is not None
    assert shelf.previews() == []
    assert await shelf.maker.step(1) == 0


async def test_text_is_not_even_read(shelf: Shelf) -> None:
    await shelf.add("a", None, "txt")
    assert await shelf.maker.step(1) == 1
    assert await shelf.maker.step(1) == 0


async def test_where_none_are_wanted_nothing_is_done(shelf: Shelf) -> None:
    asset_id = await shelf.add("a", PHOTO)
    idle = shelf.another(enabled=False)
    assert await idle.step(5) == 0
    await idle.run()
    assert (await shelf.asset(asset_id)).previewed_at is None


async def test_the_newest_are_first(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previewer, "AMONG", 1)
    for name, when in (("b", 2.0), ("c", 3.0), ("a", 1.0)):
        await shelf.add(name, None, "txt", created_at=when)
    done = []
    while await shelf.maker.step(1):
        done += [n for n in "abc" if n not in done and (await shelf.asset(f"asset_{n}")).previewed_at]
    assert done == ["c", "b", "a"]


async def test_of_the_newest_any_may_be_next(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or two processes would always take the same."""
    monkeypatch.setattr(previewer, "AMONG", 3)
    for n in range(6):
        await shelf.add(str(n), None, "txt", created_at=float(n))
    found = [await shelf.maker._next() for _ in range(60)]
    assert {one.id for one in found if one is not None} == {"asset_5", "asset_4", "asset_3"}


async def test_two_processes_make_one_set_of_previews(shelf: Shelf) -> None:
    asset_ids = [await shelf.add(str(n), PHOTO) for n in range(3)]
    await asyncio.gather(*(shelf.another().step(3) for _ in range(3)))
    found = [(await shelf.asset(asset_id)).thumbnail_key for asset_id in asset_ids]
    assert shelf.previews() == sorted(key for key in found if key)
    assert len(shelf.previews()) == 3


class Interrupted(Storage):
    """Something happens after the first preview is stored."""

    def __init__(self, storage: Storage, happens: Any) -> None:
        super().__init__(storage._store, storage._root)
        self.happens = happens
        self.puts = 0

    async def put(self, key: str, data: Any, *, mime: str) -> Stored:
        self.puts += 1
        if self.puts == 1:
            stored = await super().put(key, data, mime=mime)
            await self.happens()
            return stored
        return await super().put(key, data, mime=mime)


@pytest.mark.parametrize(
    "change",
    [
        delete(assets),
        update(assets).values(previewed_at=5.0, thumbnail_key="previews/2026-01/other.webp"),
        update(assets).values(key="images/2026-01/other.jpg"),
    ],
    ids=["gone", "done", "another"],
)
async def test_what_no_row_waits_for_any_more_is_dropped(shelf: Shelf, change: Any) -> None:
    await shelf.add("a", FILM, "mp4")
    shelf.storage = Interrupted(shelf.storage, lambda: shelf.change(change))
    assert await shelf.another().step(1) == 1
    assert shelf.previews() == []
    async with shelf.database.read() as connection:
        rows = (await connection.execute(select(assets))).all()
    assert [row.thumbnail_key for row in rows if row.previewed_at] in ([], ["previews/2026-01/other.webp"])


async def test_a_store_that_goes_away_half_way_leaves_nothing(shelf: Shelf) -> None:
    asset_id = await shelf.add("a", FILM, "mp4")

    async def away() -> None:
        raise StorageUnavailable

    shelf.storage = Interrupted(shelf.storage, away)
    with pytest.raises(StorageUnavailable):
        await shelf.another().step(1)
    assert shelf.previews() == []
    assert (await shelf.asset(asset_id)).previewed_at is None


async def test_what_a_database_may_have_taken_is_left_to_the_collector(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.add("a", PHOTO)

    async def unknown(change: Any) -> Any:
        raise DatabaseUnavailable

    monkeypatch.setattr(shelf.database.writes, "commit", unknown)
    with pytest.raises(DatabaseUnavailable):
        await shelf.maker.step(1)
    assert len(shelf.previews()) == 1


async def test_one_whose_object_is_not_there_is_left_alone_for_a_while(shelf: Shelf) -> None:
    asset_id = await shelf.add("a", None)
    assert await shelf.maker.step(1) == 1
    assert await shelf.maker.step(1) == 0
    assert (await shelf.asset(asset_id)).previewed_at is None
    other = await shelf.add("b", PHOTO)
    assert await shelf.maker.step(1) == 1
    assert (await shelf.asset(other)).previewed_at is not None
    await shelf.storage.put("images/2026-01/a.jpg", PHOTO, mime="image/jpeg")
    await shelf.change(update(assets).where(assets.c.id == asset_id).values(size=len(PHOTO)))
    shelf.now += previewer.AGAIN_SECONDS - 1
    assert await shelf.maker.step(1) == 0
    shelf.now += 2
    assert await shelf.maker.step(1) == 1
    assert (await shelf.asset(asset_id)).thumbnail_key is not None


async def test_one_that_is_left_alone_is_in_nobody_s_way(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previewer, "AMONG", 1)
    gone, there = await shelf.add("gone", None, created_at=2.0), await shelf.add("there", PHOTO, created_at=1.0)
    assert await shelf.maker.step(2) == 2
    assert (await shelf.asset(there)).thumbnail_key is not None
    assert list(shelf.maker._put_off) == [gone]
    await shelf.storage.put("images/2026-01/gone.jpg", PHOTO, mime="image/jpeg")
    await shelf.change(update(assets).where(assets.c.id == gone).values(size=len(PHOTO)))
    shelf.now += previewer.AGAIN_SECONDS + 1
    assert await shelf.maker.step(2) == 1
    assert shelf.maker._put_off == {}


async def test_each_time_it_is_left_alone_for_longer(shelf: Shelf) -> None:
    await shelf.add("a", None)
    waits = []
    for _ in range(9):
        assert await shelf.maker.step(1) == 1
        began = shelf.now
        while not await shelf.maker._next():
            shelf.now += 30
        waits.append(shelf.now - began)
    assert waits[:3] == [60, 120, 240]
    assert waits[-1] == previewer.MOST_AGAIN_SECONDS


async def test_one_known_to_be_missing_is_not_looked_for(shelf: Shelf) -> None:
    await shelf.add("a", None, missing_since=1.0)
    assert await shelf.maker.step(1) == 0


async def test_where_everything_is_missing_little_is_tried(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previewer, "MOST_PUT_OFF", 4)
    for n in range(9):
        await shelf.add(str(n), None)
    assert await shelf.maker.step(50) == 4
    shelf.now += previewer.AGAIN_SECONDS + 1
    assert await shelf.maker.step(50) == 4
    assert len(shelf.maker._put_off) <= 8


async def test_a_store_that_is_away_marks_nothing_and_is_tried_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = await shelf.add("a", PHOTO)

    def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "reading", away)
        with pytest.raises(StorageUnavailable):
            await shelf.maker.step(1)
    assert (await shelf.asset(asset_id)).previewed_at is None
    shelf.now += previewer.AGAIN_SECONDS + 1
    assert await shelf.maker.step(1) == 1
    assert (await shelf.asset(asset_id)).thumbnail_key is not None


# --- by itself ---


@pytest.fixture
def pauses(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it slept, in time that passes by itself; what waits to be woken waits in truth."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        shelf.now += seconds
        await real(0)

    monkeypatch.setattr(previewer.asyncio, "sleep", sleep)
    return slept


async def until_done(shelf: Shelf, asset_id: str) -> Asset:
    async with asyncio.timeout(20):
        while True:
            asset = await shelf.asset(asset_id)
            if asset.previewed_at is not None:
                return asset
            await asyncio.wait(set(asyncio.all_tasks()) - {asyncio.current_task()}, timeout=0.01)  # type: ignore[arg-type]


async def test_it_makes_what_is_waiting_and_what_it_is_woken_for(shelf: Shelf, pauses: list[float]) -> None:
    first = await shelf.add("a", PHOTO)
    task = asyncio.create_task(shelf.maker.run())
    try:
        await until_done(shelf, first)
        second = await shelf.add("b", PHOTO)
        shelf.maker.wake()
        assert (await until_done(shelf, second)).thumbnail_key is not None
    finally:
        task.cancel()


async def test_woken_once_it_looks_once(shelf: Shelf, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    async def step(maker: Previewer, limit: int) -> int:
        looks.append(limit)
        return 0

    monkeypatch.setattr(Previewer, "step", step)
    task = asyncio.create_task(shelf.maker.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(looks) == 1
    shelf.maker.wake()
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    assert len(looks) == 2


async def test_it_looks_now_and_then_though_nobody_wakes_it(
    shelf: Shelf, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previewer, "LOOK_SECONDS", 0.01)
    task = asyncio.create_task(shelf.maker.run())
    try:
        asset_id = await shelf.add("a", None, "txt")
        await until_done(shelf, asset_id)
    finally:
        task.cancel()


async def test_it_rests_as_long_as_it_worked(
    shelf: Shelf, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = [await shelf.add(str(n), PHOTO) for n in range(3)][-1]
    took = iter([0.5, 1.0, 100.0])
    preview = Previewer._preview

    async def slow(maker: Previewer, asset: Any) -> None:
        shelf.now += next(took)
        await preview(maker, asset)

    monkeypatch.setattr(Previewer, "_preview", slow)
    task = asyncio.create_task(shelf.maker.run())
    try:
        await until_done(shelf, last)
        async with asyncio.timeout(20):
            while len(pauses) < 3:
                await asyncio.wait({task}, timeout=0.01)
    finally:
        task.cancel()
    assert pauses[:3] == [0.5, 1.0, previewer.REST_SECONDS]


async def test_it_waits_longer_and_longer_for_what_is_away(
    shelf: Shelf, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([StorageUnavailable()] * 5 + [DatabaseUnavailable()] * 4 + [None] + [StorageUnavailable()] * 2)
    over = asyncio.Event()

    async def step(maker: Previewer, limit: int) -> int:
        failure = next(failures, over)
        if failure is over:
            over.set()
            return 0
        if failure is not None:
            raise failure  # type: ignore[misc]
        return 1

    monkeypatch.setattr(Previewer, "step", step)
    task = asyncio.create_task(shelf.maker.run())
    try:
        async with asyncio.timeout(20):
            await over.wait()
    finally:
        task.cancel()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 0, 1, 2]


# --- in a house ---


@asynccontextmanager
async def house(home: Path, **written: Any) -> AsyncIterator[Front]:
    (home / "config.yaml").write_text(json.dumps({"upstreams": [SANDBOX], "access": {"keys": [KEYS]}, **written}))
    app = create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        yield app


async def painted(app: Front) -> tuple[str | None, float | None]:
    """The thumbnail of an image that was made just now, and when it was looked at for one."""
    body = {"prompt": "a lighthouse", "model": "sandbox-image", "size": "1024x1024", "response_format": "url"}
    told = await asked(app, "POST", "/v1/images/generations", body)
    assert told.status == 200, told.body
    return await looked_at(app)


async def looked_at(app: Front) -> tuple[str | None, float | None]:
    async with app.house.database.read() as connection:
        row = (await connection.execute(select(assets.c.thumbnail_key, assets.c.previewed_at))).one()
    return row.thumbnail_key, row.previewed_at


def working() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


async def test_a_tick_makes_them_where_nothing_runs_in_the_background(tmp_path: Path) -> None:
    async with house(tmp_path, tasks={"background": False}) as app:
        assert await painted(app) == (None, None)
        assert "previews" not in working()
        assert (await asked(app, "POST", "/internal/tick", None)).status == 200
        key, when = await looked_at(app)
        assert key is not None
        assert when is not None


async def test_a_tick_leaves_them_to_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(maker: Previewer) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Previewer, "run", nothing)
    async with house(tmp_path) as app:
        assert "previews" in working()
        await painted(app)
        assert (await asked(app, "POST", "/internal/tick", None)).status == 200
        assert await looked_at(app) == (None, None)


async def test_a_tick_ends_in_time_though_more_is_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    async def step(maker: Previewer, limit: int) -> int:
        steps.append(limit)
        await asyncio.sleep(0.4)
        return limit

    monkeypatch.setattr(Previewer, "step", step)
    async with house(tmp_path, tasks={"background": False}) as app:
        assert (await asked(app, "POST", "/internal/tick?seconds=1", None)).status == 200
    assert 1 <= len(steps) <= 3
    assert set(steps) == {1}


async def test_a_house_may_want_none(tmp_path: Path) -> None:
    async with house(tmp_path, library={"previews": False}) as app:
        assert "previews" not in working()
        await painted(app)
        assert await app.house.previewer.step(1) == 0
        assert await looked_at(app) == (None, None)
