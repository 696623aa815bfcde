"""What no row names is deleted once it is old; nothing else ever is."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from gateway.assets import collector as collector_module
from gateway.assets.collector import SINCE, Collected, Collector, Rules, is_ours
from gateway.assets.marker import ROW, Shared
from gateway.assets.missing import WRONG, Missing, Seen
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.settings import Settings
from gateway.db.tables import assets, files
from gateway.errors import Draining, StorageUnavailable
from gateway.storage import Folder, ObjectInfo, Storage, object_key
from tests.unit.assets.keeping_shelf import DAY, HOUR, Shelf, new_key, no_pause

pytestmark = pytest.mark.anyio

FOR_REAL = Rules(dry_run=False)


@pytest.fixture
async def shelf(database: Database, tmp_path: Path) -> Shelf:
    """An installation that began ten days ago."""
    made = Shelf(database, tmp_path / "objects")
    await Settings(database).put(SINCE, repr(database.now() - 10 * DAY))
    return made


async def collected(shelf: Shelf, rules: Rules = FOR_REAL) -> Collected:
    return await Collector(shelf.references).collect(rules, no_pause)


# --- what is nobody's ---


async def test_what_no_row_names_is_deleted_once_it_is_old(shelf: Shelf) -> None:
    old, young = await shelf.put(new_key()), await shelf.put(new_key(), age=23 * HOUR)
    result = await collected(shelf)
    assert shelf.keys == {young}
    assert (result.orphans.count, result.orphans.bytes, result.keys) == (1, 10, [old])
    assert (result.deleted.count, result.deleted.bytes) == (1, 10)
    assert result.problem is None
    assert (await collected(shelf)).orphans.count == 0


async def test_the_age_can_be_given(shelf: Shelf) -> None:
    one, other = await shelf.put(new_key(), age=3 * HOUR), await shelf.put(new_key(), age=HOUR)
    await collected(shelf, Rules(dry_run=False, older_than=2 * HOUR))
    assert shelf.keys == {other}
    assert one not in shelf.keys


async def test_what_any_row_names_stays(shelf: Shelf) -> None:
    media, thumbnail, poster = new_key("videos", "mp4"), new_key("previews", "webp"), new_key("previews", "jpg")
    await shelf.asset(media, thumbnail_key=thumbnail, poster_key=poster)
    await shelf.file(upload := new_key("uploads"))
    await shelf.answer(answer := f"answers/2026-01/{'0' * 32}.bin")
    named = {media, thumbnail, poster, upload, answer}
    for key in named:
        await shelf.put(key)
    assert (await collected(shelf)).orphans.count == 0
    assert shelf.keys == named


async def test_what_an_unfinished_task_starts_from_stays_until_it_is_over(shelf: Shelf) -> None:
    key = await shelf.put(new_key("uploads"))
    task = await shelf.task(f'{{"inputs":[{{"url":"object:{key}","role":"image"}}]}}')
    await collected(shelf)
    assert shelf.keys == {key}
    await shelf.end(task)
    await collected(shelf)
    assert shelf.keys == set()


async def test_every_page_of_unfinished_tasks_is_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.assets.references.TASKS", 2)
    keys = {new_key("uploads") for _ in range(5)}
    for key in keys:
        await shelf.task(f'{{"url":"object:{key}"}}')
    await shelf.task('{"url":"object:uploads/2026-01/done.png"}', "failed")
    await shelf.task('{"prompt":"nothing"}')
    assert await shelf.references.awaited() == keys


async def test_names_are_looked_for_in_bounded_statements(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.assets.references.KEYS", 2)
    keys = [new_key() for _ in range(5)]
    for key in keys[::2]:
        await shelf.asset(key)
    assert await shelf.references.named(keys) == set(keys[::2])
    assert await shelf.references.named([]) == set()


async def test_what_is_not_named_like_ours_is_never_touched(shelf: Shelf) -> None:
    foreign = {
        "backup.tar",
        "images/2026-01/holiday.png",
        "images/2026-01/model-1_20260205_101010_0a1b2c3d.png",
        "images/holiday/model-1_20260105_101010_0a1b2c3d.png",
        "photos/2026-01/model-1_20260105_101010_0a1b2c3d.png",
        "mine/images/2026-01/model-1_20260105_101010_0a1b2c3d.png",
        "answers/2026-01/mine.bin",
        "answers/2026-01/more/00000000000000000000000000000000.bin",
    }
    for key in foreign:
        await shelf.put(key, age=9 * DAY)
    result = await collected(shelf, Rules(dry_run=False, include_earlier=True))
    assert shelf.keys == foreign
    assert (result.foreign.count, result.foreign.bytes, result.orphans.count) == (len(foreign), 10 * len(foreign), 0)


@given(
    folder=st.sampled_from(["images", "videos", "audio", "text", "uploads", "previews"]),
    model=st.text(max_size=80),
    when=st.floats(0, 4e9),
    digest=st.text("0123456789abcdef", min_size=1, max_size=32),
    extension=st.text(max_size=12),
)
def test_every_name_that_the_gateway_gives_is_known_as_its_own(
    folder: Folder, model: str, when: float, digest: str, extension: str
) -> None:
    assert is_ours(object_key(folder, model, when, digest, extension))


async def test_what_a_check_left_is_taken_and_the_marker_stays(shelf: Shelf) -> None:
    await shelf.put("health/check-0815", age=2 * DAY)
    await collected(shelf)
    [marker] = [path for path in (shelf.place / "health").iterdir() if path.name.startswith("installation-")]
    for rules in (Rules(), FOR_REAL):
        shelf.age(f"health/{marker.name}", 9 * DAY)
        assert (await collected(shelf, rules)).orphans.count == 0
    assert {path.name for path in (shelf.place / "health").iterdir()} == {marker.name, "clock"}


async def test_a_dry_run_says_the_same_and_changes_nothing(shelf: Shelf) -> None:
    for _ in range(3):
        await shelf.put(new_key())
    lost = await shelf.asset(new_key())
    for _ in range(2):
        await shelf.asset(await shelf.put(new_key()))
    before = shelf.keys
    result = await collected(shelf, Rules())
    assert (result.orphans.count, result.deleted.count, len(result.keys)) == (3, 0, 3)
    assert (result.missing.count, result.missing.new, result.missing.ids) == (1, 1, [lost])
    assert shelf.keys == before
    assert (await shelf.rows(assets))[lost].missing_since is None
    marked = await shelf.settings()
    await collected(shelf, Rules())
    assert await shelf.settings() == marked


async def test_only_so_many_keys_are_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "TOLD", 3)
    for _ in range(5):
        await shelf.put(new_key())
    result = await collected(shelf)
    assert (len(result.keys), result.deleted.count) == (3, 5)


# --- time ---


@pytest.mark.parametrize("offset", [-20 * DAY, 20 * DAY])
async def test_a_store_whose_clock_is_wrong_loses_nothing(shelf: Shelf, offset: float) -> None:
    shelf.storage.offset = offset
    old, young, earlier = [await shelf.put(new_key(), age=age) for age in (25 * HOUR, 23 * HOUR, 11 * DAY)]
    result = await collected(shelf)
    assert (shelf.keys, result.keys, result.earlier.count) == ({young, earlier}, [old], 1)


async def test_what_is_older_than_the_installation_is_left_unless_asked_for(shelf: Shelf) -> None:
    earlier, named = [await shelf.put(new_key(), age=11 * DAY) for _ in range(2)]
    await shelf.asset(named)
    result = await collected(shelf)
    assert (result.earlier.count, result.earlier.bytes, result.orphans.count) == (1, 10, 0)
    assert shelf.keys == {earlier, named}
    result = await collected(shelf, Rules(dry_run=False, include_earlier=True))
    assert (result.earlier.count, result.deleted.count) == (0, 1)
    assert shelf.keys == {named}


async def test_a_new_installation_takes_nothing_that_was_there(database: Database, tmp_path: Path) -> None:
    shelf = Shelf(database, tmp_path / "objects")
    await shelf.put(new_key(), age=2 * DAY)
    await Collector(shelf.references).begin()
    assert (await collected(shelf)).earlier.count == 1
    assert len(shelf.keys) == 1
    since = float((await shelf.settings())[SINCE])
    assert abs(since - database.now()) < 60
    await collected(shelf)
    assert float((await shelf.settings())[SINCE]) == since


# --- whose storage it is ---


async def test_another_installation_s_objects_are_left_alone(shelf: Shelf) -> None:
    await shelf.put(new_key())
    await shelf.put("health/installation-0123456789abcdef", age=0)
    for rules in (FOR_REAL, Rules()):
        with pytest.raises(Shared, match="another installation") as told:
            await collected(shelf, rules)
        assert (told.value.status, told.value.code) == (409, "storage_shared")
        assert "health/installation-0123456789abcdef" in (told.value.advice or "")
    assert len(shelf.keys) == 1
    await shelf.storage.delete("health/installation-0123456789abcdef")
    await collected(shelf)
    assert shelf.keys == set()


async def test_two_databases_on_one_store_refuse_each_other(shelf: Shelf, tmp_path: Path) -> None:
    other = Database(f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    await other.start()
    try:
        async with other.write() as connection:
            await connection.run_sync(assets.metadata.create_all)
        await Collector(shelf.references).begin()
        with pytest.raises(Shared):
            await Collector(References(other, shelf.storage)).begin()
    finally:
        await other.close()


async def test_a_database_from_a_backup_does_not_decide(shelf: Shelf) -> None:
    await collected(shelf)
    row = (await shelf.settings())[ROW]
    for _ in range(2):
        await collected(shelf)
    await Settings(shelf.database).put(ROW, row)
    orphan = await shelf.put(new_key())
    for rules in (FOR_REAL, Rules()):
        with pytest.raises(Shared, match="older state") as told:
            await collected(shelf, rules)
    assert shelf.keys == {orphan}
    marker = (told.value.advice or "").split("'")[1]
    await shelf.storage.delete(marker)
    await collected(shelf)
    assert shelf.keys == set()


async def test_a_crash_between_row_and_marker_is_forgiven(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await collected(shelf)

    async def dies(*_: object, **__: object) -> None:
        raise StorageUnavailable

    for _ in range(3):
        with monkeypatch.context() as patched, pytest.raises(StorageUnavailable):
            patched.setattr(shelf.storage, "put", dies)
            await collected(shelf)
    await collected(shelf)
    await collected(shelf)


async def test_the_content_of_the_marker_changes_with_every_real_collection_only(shelf: Shelf) -> None:
    async def content() -> bytes:
        [path] = (shelf.place / "health").glob("installation-*")
        return path.read_bytes()

    await Collector(shelf.references).begin()
    first = await content()
    await Collector(shelf.references).begin()
    await collected(shelf, Rules())
    assert await content() == first
    await collected(shelf)
    assert await content() != first


# --- right before it ---


class Late(References):
    """A row that comes between two looks."""

    shelf: Shelf
    looks = 0

    async def named(self, keys: Collection[str]) -> set[str]:
        self.looks += 1
        if self.looks == 2:
            await self.shelf.asset(next(iter(keys)))
        return await super().named(keys)


async def test_rows_are_looked_at_once_more_right_before_the_deletion(shelf: Shelf) -> None:
    keys = {await shelf.put(new_key()) for _ in range(2)}
    late = Late(shelf.database, shelf.storage)
    late.shelf = shelf
    result = await Collector(late).collect(FOR_REAL, no_pause)
    [row] = (await shelf.rows(assets)).values()
    assert shelf.keys == {row.key} < keys
    assert (result.orphans.count, result.deleted.count) == (2, 1)


async def test_a_store_that_fails_ends_the_collection_with_its_error(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await shelf.put(new_key())
    first, straight = sorted(shelf.keys)[0], shelf.storage.delete

    async def fails(key: str) -> None:
        if key != first:
            raise StorageUnavailable
        await straight(key)

    monkeypatch.setattr(shelf.storage, "delete", fails)
    with pytest.raises(StorageUnavailable):
        await collected(shelf)
    assert first not in shelf.keys
    assert len(shelf.keys) == 2


async def test_it_can_be_ended_between_two_steps(shelf: Shelf) -> None:
    await shelf.asset(await shelf.put(new_key()))

    async def over() -> None:
        raise Draining

    with pytest.raises(Draining):
        await Collector(shelf.references).collect(FOR_REAL, over)


# --- rows without an object ---


async def healthy(shelf: Shelf, number: int = 3) -> None:
    for _ in range(number):
        await shelf.asset(await shelf.put(new_key()))
        await shelf.file(await shelf.put(new_key("uploads")))


async def test_rows_whose_object_is_gone_are_marked_and_unmarked(shelf: Shelf) -> None:
    await healthy(shelf)
    asset, file = await shelf.asset(picture := new_key()), await shelf.file(new_key("uploads"))
    result = (await collected(shelf)).missing
    assert (result.rows, result.count, result.new, result.back, result.problem) == (8, 2, 2, 0, None)
    assert set(result.ids) == {asset, file}
    now = shelf.database.now()
    for table, row in ((assets, asset), (files, file)):
        marked = {name: found.missing_since for name, found in (await shelf.rows(table)).items()}
        assert [name for name, since in marked.items() if since is not None] == [row]
        assert abs(marked[row] - now) < 60
    since = (await shelf.rows(assets))[asset].missing_since
    await shelf.put(picture)
    result = (await collected(shelf)).missing
    assert (result.count, result.new, result.back) == (1, 0, 1)
    assert (await shelf.rows(assets))[asset].missing_since is None
    assert (await shelf.rows(files))[file].missing_since is not None
    assert since is not None


async def test_rows_are_looked_through_in_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.assets.missing.ROWS", 2)
    await healthy(shelf, 5)
    lost = {await shelf.asset(new_key()) for _ in range(3)}
    result = (await collected(shelf)).missing
    assert (result.rows, set(result.ids), result.new) == (13, lost, 3)


async def test_a_row_that_is_younger_than_the_listing_is_not_looked_at(shelf: Shelf) -> None:
    await healthy(shelf, 1)
    await shelf.asset(new_key(), age=-60)
    assert (await collected(shelf)).missing.rows == 2


async def test_an_object_that_came_after_its_page_is_asked_for(shelf: Shelf) -> None:
    await healthy(shelf)
    await shelf.asset(await shelf.put(new_key()))
    missing = Missing(shelf.references)
    seen = Seen()
    for row in list((await shelf.rows(assets)).values())[:2] + list((await shelf.rows(files)).values()):
        seen.add(row.key)
    result = await missing.look(seen, shelf.database.now(), no_pause, dry_run=False, remove_after=None)
    assert (result.rows, result.count, result.problem) == (7, 0, None)


async def test_where_most_are_missing_nothing_is_marked(shelf: Shelf) -> None:
    await healthy(shelf, 1)
    for _ in range(3):
        await shelf.asset(new_key())
    orphan = await shelf.put(new_key())
    result = await collected(shelf, Rules(dry_run=False, remove_missing=True))
    assert (result.problem, result.missing.problem) == (WRONG, WRONG)
    assert (result.missing.count, result.missing.new, result.deleted.count) == (3, 0, 0)
    assert orphan in shelf.keys
    assert {row.missing_since for row in (await shelf.rows(assets)).values()} == {None}


async def test_an_empty_storage_is_the_wrong_one(shelf: Shelf) -> None:
    await shelf.asset(new_key())
    result = await collected(shelf)
    assert (result.problem, result.missing.problem, result.missing.count) == (WRONG, WRONG, 1)


async def test_what_seems_to_be_the_wrong_storage_is_only_looked_at(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await healthy(shelf)
    lost, orphan = await shelf.asset(new_key()), await shelf.put(new_key())

    async def elsewhere(self: Missing) -> bool:
        return True

    monkeypatch.setattr(Missing, "elsewhere", elsewhere)
    result = await collected(shelf, Rules(dry_run=False, remove_missing=True))
    assert (result.problem, result.missing.problem, result.missing.ids) == (WRONG, None, [lost])
    assert (result.orphans.count, result.deleted.count) == (1, 0)
    assert orphan in shelf.keys
    assert (await shelf.rows(assets))[lost].missing_since is None


async def test_a_row_that_gets_another_object_meanwhile_is_left_as_it_is(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await healthy(shelf, 4)
    old, again = new_key(), await shelf.put(new_key())
    long = shelf.database.now() - 2 * DAY
    rows = [await shelf.asset(old), await shelf.asset(old, missing_since=long)]
    straight = shelf.storage.head

    async def head(key: str) -> ObjectInfo | None:
        if key == old:
            async with shelf.database.write() as connection:
                change = assets.update().where(assets.c.id.in_(rows))
                await connection.execute(change.values(key=again, missing_since=None))
        return await straight(key)

    monkeypatch.setattr(shelf.storage, "head", head)
    monkeypatch.setattr("gateway.assets.missing.SAMPLE", 0)
    result = await collected(shelf, Rules(dry_run=False, remove_missing=True))
    assert (result.missing.count, result.missing.removed) == (2, 0)
    left = await shelf.rows(assets)
    assert [(left[row].key, left[row].missing_since) for row in rows] == [(again, None)] * 2


async def test_half_may_be_missing(shelf: Shelf) -> None:
    await healthy(shelf, 1)
    for _ in range(2):
        await shelf.asset(new_key())
    result = await collected(shelf)
    assert (result.problem, result.missing.problem, result.missing.new) == (None, None, 2)


async def test_rows_are_removed_only_if_asked_for_and_missing_for_long(shelf: Shelf) -> None:
    await healthy(shelf, 4)
    now = shelf.database.now()
    thumbnail = await shelf.put(new_key("previews"))
    long = await shelf.asset(new_key(), missing_since=now - 25 * HOUR, thumbnail_key=thumbnail)
    file = await shelf.file(new_key("uploads"), missing_since=now - 25 * HOUR)
    short = await shelf.asset(new_key(), missing_since=now - 23 * HOUR)
    back = await shelf.asset(await shelf.put(new_key()), missing_since=now - 25 * HOUR)
    assert (await collected(shelf)).missing.removed == 0
    async with shelf.database.write() as connection:
        await connection.execute(assets.update().where(assets.c.id == back).values(missing_since=now - 25 * HOUR))
    assert (await collected(shelf, Rules(dry_run=True, remove_missing=True))).missing.removed == 0
    result = await collected(shelf, Rules(dry_run=False, remove_missing=True))
    assert (result.missing.removed, result.missing.back) == (2, 1)
    left = {*await shelf.rows(assets), *await shelf.rows(files)}
    assert not {long, file} & left
    assert {short, back} <= left
    assert thumbnail not in shelf.keys


@given(st.sets(st.text(max_size=40), max_size=30))
def test_a_key_that_was_shown_is_never_taken_for_missing(keys: set[str]) -> None:
    seen = Seen(64)
    for key in keys:
        seen.add(key)
    assert all(key in seen for key in keys)


def test_a_key_that_was_not_shown_is_nearly_always_known_to_be_missing() -> None:
    seen = Seen(64 * 1024)
    for number in range(8000):
        seen.add(f"images/{number}")
    assert sum(f"videos/{number}" in seen for number in range(20_000)) < 20


# --- size ---


class Endless(Storage):
    """Shows so many pages of a thousand objects that nobody put there."""

    pages = 0

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[list[ObjectInfo]]:
        moment = datetime.now(UTC) - timedelta(days=1, hours=1)
        for page in range(0 if prefix else self.pages):
            yield [
                ObjectInfo(f"images/2026-01/m_20260105_101010_{page * 1000 + at:08x}.png", 1, None, "", moment)
                for at in range(1000)
            ]


async def test_memory_does_not_grow_with_the_number_of_objects(shelf: Shelf) -> None:
    endless = Endless(shelf.storage._store, shelf.storage._root)

    async def peak(pages: int) -> int:
        endless.pages = pages
        tracemalloc.start()
        try:
            result = await Collector(References(shelf.database, endless)).collect(Rules(), no_pause)
            assert result.orphans.count == pages * 1000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = await peak(2)
    assert await peak(12) < few + 1_000_000


# --- while all goes on ---


class Stepped(Storage):
    """Gives others a turn before and after each of its steps, as the dice say."""

    dice = random.Random(0)

    async def _turns(self) -> None:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[list[ObjectInfo]]:
        async for page in super().list(prefix, after=after):
            for info in page:
                await self._turns()
                yield [info]

    async def delete(self, key: str) -> None:
        await self._turns()
        await super().delete(key)
        await self._turns()


class Bustle:
    """All who have to do with objects at once. An object is old as soon as it has its row: from then on nothing but
    the row protects it."""

    def __init__(self, shelf: Shelf, seed: int) -> None:
        self.shelf = shelf
        self.dice = random.Random(seed)
        self.storage = Stepped(shelf.storage._store, shelf.storage._root)
        self.storage.dice = self.dice
        self.references = References(shelf.database, self.storage)
        self.turns = self.storage._turns

    async def keeps(self) -> None:
        for _ in range(8):
            key = new_key("uploads")
            await self.storage.put(key, b"x", mime="text/plain")
            await self.turns()
            await self.shelf.file(key)
            self.shelf.age(key, 2 * DAY)
            await self.turns()

    async def crashes(self) -> None:
        """Before the row was written, two days ago."""
        for _ in range(8):
            await self.shelf.put(new_key("uploads"))
            await self.turns()

    async def shares(self) -> None:
        for _ in range(12):
            async with self.shelf.database.write() as connection:
                some = select(files).order_by(files.c.id).limit(1).with_for_update()
                row = (await connection.execute(some)).mappings().first()
                if row is not None:
                    again = {**row, "id": f"file_{self.dice.getrandbits(64):x}"}
                    await connection.execute(insert(files).values(again))
            await self.turns()

    async def removes(self) -> None:
        for _ in range(10):
            async with self.shelf.database.write() as connection:
                row = (await connection.execute(select(files.c.id, files.c.key).limit(1))).first()
                if row is not None:
                    await connection.execute(delete(files).where(files.c.id == row.id))
            await self.turns()
            if row is not None and self.dice.random() < 0.7:  # else: killed before it came to that
                await self.references.drop([row.key])

    async def collects(self) -> None:
        for _ in range(4):
            await Collector(self.references).collect(FOR_REAL, self.turns)


@pytest.mark.parametrize("seed", range(6))
async def test_no_living_row_ever_loses_its_object(shelf: Shelf, seed: int) -> None:
    here = Bustle(shelf, seed)
    await asyncio.gather(here.keeps(), here.crashes(), here.shares(), here.removes(), here.collects())
    living = {row.key for row in (await shelf.rows(files)).values()}
    assert living - shelf.keys == set(), f"seed {seed}"
    await here.collects()
    assert shelf.keys == living, f"seed {seed}"
