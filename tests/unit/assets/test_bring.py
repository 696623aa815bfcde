"""Results of tasks are streamed into storage: once, whole, and what they should be, or nothing of them is there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from gateway import errors
from gateway.assets import download
from gateway.assets.download import ATTEMPTS, UNFETCHED
from gateway.assets.ingest import Kept, asset_id_of
from gateway.db.tables import assets
from gateway.errors import DatabaseUnavailable, ResultExpired, ResultUnavailable, StorageUnavailable
from gateway.types import Media
from tests.unit.assets.bringing import (
    Fetches,
    Source,
    cut,
    drips,
    elsewhere,
    film_of,
    index_first,
    objects,
    origin,
    pieces,
    rows,
    source,
    stalls,
    stored,
    whole,
)
from tests.unit.scripted import LIMIT, Rig, Talks, film, png, rig

pytestmark = pytest.mark.anyio

HTML = b"<!doctype html><title>Sign in</title>"
MB = 1024 * 1024


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.001)
    async with rig(tmp_path, Talks([])) as found:
        yield found


@pytest.fixture
async def server() -> AsyncIterator[Source]:
    async with source() as started:
        yield started


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "objects"


async def brought(house: Rig, media: Media, server: Source | None = None, position: int = 0, **fields: Any) -> Kept:
    given = origin(fields.pop("upstream", house.upstreams[0]), server.url if server else "", **fields)
    return await house.ingest.bring(media, given, position)


async def refused(house: Rig, media: Media, server: Source | None = None, **fields: Any) -> ResultUnavailable:
    """Why it was; nothing of it may be left."""
    with pytest.raises(ResultUnavailable) as told:
        await brought(house, media, server, **fields)
    assert told.value.code == "result_unavailable"
    assert await rows(house) == []
    assert objects(Path(house.storage._root or "")) == []
    assert connections(house) == 0
    return told.value


def connections(house: Rig) -> int:
    """Those in use."""
    connector = house.http._open.connector if house.http._open else None
    assert connector is not None
    return len(connector._acquired)


# --- what is brought in ---


async def test_a_film_is_stored_and_entered_as_its_bytes_show_it(house: Rig, server: Source) -> None:
    server.answers = [whole(film())]
    kept = await brought(house, server.film, server)
    assert kept == Kept(
        asset_id_of("task_1", 0),
        kept.key,
        "video/mp4",
        len(film()),
        64,
        48,
        0.5,
        hashlib.sha256(film()).hexdigest(),
    )
    assert re.fullmatch(r"videos/2026-01/Some-Model-1_20260105_101010_[0-9a-f]{8}\.mp4", kept.key)
    assert await stored(house, kept.key) == film()
    [row] = await rows(house)
    assert {name: row[name] for name in ("key", "mime", "size", "width", "height", "seconds", "sha256")} == {
        name: getattr(kept, name) for name in ("key", "mime", "size", "width", "height", "seconds", "sha256")
    }
    assert (row["id"], row["task_id"], row["owner"], row["family"]) == (kept.asset_id, "task_1", "owner", "video")
    assert row["created_at"] == pytest.approx(house.database.now(), abs=60)


@pytest.mark.parametrize("length", [None, 3 * LIMIT // 4])
async def test_a_film_of_many_chunks_with_its_index_at_the_end_is_whole(
    house: Rig, server: Source, length: int | None
) -> None:
    data = b"".join(film_of(3 * LIMIT // 4))
    server.answers = [pieces([data[at : at + 1000] for at in range(0, len(data), 1000)], length)]
    kept = await brought(house, server.film, server)
    assert (kept.seconds, kept.size, kept.sha256) == (0.5, len(data), hashlib.sha256(data).hexdigest())
    assert await stored(house, kept.key) == data


async def test_bytes_that_came_with_the_answer_go_the_same_way(house: Rig, place: Path) -> None:
    first = await brought(house, Media("video", data=film()))
    second = await brought(house, Media("image", b64=base64.b64encode(png(80, 40)).decode()), position=1)
    samples = await brought(house, Media("audio", mime="audio/pcm", data=b"\1\0" * 100), position=2)
    assert (first.asset_id, second.asset_id) == (asset_id_of("task_1", 0), asset_id_of("task_1", 1))
    assert (second.mime, second.width, second.height) == ("image/png", 80, 40)
    assert (samples.mime, samples.seconds) == ("audio/pcm", None)
    assert objects(place) == sorted([first.key, second.key, samples.key])


async def test_only_what_a_task_makes_can_be_brought_in(house: Rig) -> None:
    with pytest.raises(ValueError, match="a task"):
        await brought(house, Media("video", data=film()), task_id=None)


# --- once, however often ---


async def test_what_is_here_is_not_fetched_again(house: Rig, server: Source) -> None:
    server.answers = [whole(film()), whole(b"", 403)]
    first = await brought(house, server.film, server)
    assert await brought(house, server.film, server) == first
    assert server.asked == 1
    assert len(await rows(house)) == 1


async def test_a_crash_before_the_commit_is_made_good_by_the_same_row_and_another_object(
    house: Rig, server: Source, place: Path
) -> None:
    server.answers = [whole(film())]
    first = await brought(house, server.film, server)
    async with house.database.write() as connection:
        await connection.execute(delete(assets))
    second = await brought(house, server.film, server)
    assert second == replace(first, key=second.key)
    assert (server.asked, objects(place)) == (2, sorted([first.key, second.key]))
    assert await house.ingest.references.named([first.key, second.key]) == {second.key}


async def test_a_row_whose_object_is_gone_is_made_true_again(house: Rig, server: Source, place: Path) -> None:
    server.answers = [whole(film()), whole(index_first() + b"\0\0\0\x08free")]
    first = await brought(house, server.film, server)
    [before] = await rows(house)
    await house.storage.delete(first.key)
    second = await brought(house, server.film, server)
    assert (second.asset_id, second.key != first.key) == (first.asset_id, True)
    [row] = await rows(house)
    assert (row["sha256"], row["size"]) == (second.sha256, len(film()) + 8) != (first.sha256, first.size)
    assert row["created_at"] == before["created_at"]
    assert objects(place) == [second.key]


async def test_another_type_at_another_key_leaves_no_object_behind(house: Rig, place: Path) -> None:
    first = await brought(house, Media("image", data=png()))
    await house.storage.put(first.key, b"torn", mime="image/png")
    gif = base64.b64decode("R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs=")
    second = await brought(house, Media("image", data=gif))
    assert (second.asset_id, second.mime) == (first.asset_id, "image/gif")
    assert [row["key"] for row in await rows(house)] == objects(place) == [second.key]


async def test_each_position_is_an_asset_of_its_own(house: Rig, place: Path) -> None:
    both = await asyncio.gather(*(brought(house, Media("video", data=film()), position=at) for at in range(2)))
    assert len({kept.asset_id for kept in both} | {kept.key for kept in both}) == 4
    assert len(await rows(house)) == len(objects(place)) == 2


async def test_many_who_bring_the_same_make_one_asset(house: Rig, server: Source, place: Path) -> None:
    server.answers = [whole(film())]
    all_of_them = await asyncio.gather(*(brought(house, server.film, server) for _ in range(4)))
    assert len({kept.asset_id for kept in all_of_them}) == 1
    [row] = await rows(house)
    assert [row["key"]] == objects(place)
    assert row["key"] in {kept.key for kept in all_of_them}


# --- what is refused ---


@pytest.mark.parametrize(
    ("media", "why"),
    [
        (Media("video"), "the upstream named no result"),
        (Media("video", data=HTML), "the upstream's result is not a video"),
        (Media("video", data=png()), "the upstream's result is not a video"),
        (Media("video", data=film()[:200]), "the upstream's video cannot be read"),
        (Media("video", data=index_first()[:-1]), "the upstream's video cannot be read"),
        (Media("image", b64="a"), "the upstream's result is not valid base64"),
    ],
    ids=range(6),
)
async def test_what_is_not_what_it_should_be_leaves_nothing(house: Rig, media: Media, why: str) -> None:
    assert (await refused(house, media)).message == why


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (HTML, "the upstream's result is not a video"),
        (HTML * 1000, "the upstream's result is not a video"),
        (png(), "the upstream's result is not a video"),
        (b"", "the upstream's result is empty"),
        (film()[:500], "the upstream's video cannot be read"),
        (index_first()[:-1], "the upstream's video cannot be read"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("told", [True, False])
async def test_what_a_server_gives_instead_leaves_nothing(
    house: Rig, server: Source, data: bytes, why: str, told: bool
) -> None:
    server.answers = [pieces([data], len(data) if told else None)]
    assert (await refused(house, server.film, server)).message == why
    assert server.asked == 1


async def test_a_type_is_known_before_anything_is_uploaded(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def put(*_: Any, **__: Any) -> Any:
        raise AssertionError("an upload began")

    monkeypatch.setattr(house.storage, "put", put)
    upstream = Fetches([HTML, *[b"\0" * 1000] * 1000])
    assert "not a video" in (await refused(house, Media("video", url="x"), upstream=upstream)).message
    assert (upstream.given < 20_000, upstream.ended) == (True, 1)


async def test_a_told_size_past_the_limit_is_refused_at_once(house: Rig, server: Source) -> None:
    server.answers = [stalls(film(), LIMIT + 1)]
    assert (await refused(house, server.film, server)).message == f"the upstream's result is larger than {LIMIT} bytes"
    assert server.asked == 1


async def test_an_untold_size_past_the_limit_ends_the_upload(house: Rig, server: Source) -> None:
    server.answers = [pieces(film_of(2 * LIMIT))]
    assert "larger" in (await refused(house, server.film, server)).message
    assert server.asked == 1


@pytest.mark.parametrize("length", [len(film()), None])
async def test_a_result_that_breaks_off_is_tried_again(house: Rig, server: Source, length: int | None) -> None:
    server.answers = [cut(film()[:900], length), whole(b"", 503), whole(film())]
    kept = await brought(house, server.film, server)
    assert (server.asked, await stored(house, kept.key)) == (3, film())


@pytest.mark.parametrize("length", [len(film()), None])
async def test_a_result_that_always_breaks_off_leaves_nothing(house: Rig, server: Source, length: int | None) -> None:
    server.answers = [cut(film()[:900], length)]
    error = await refused(house, server.film, server)
    assert (error.message, server.asked, isinstance(error, ResultExpired)) == (UNFETCHED, ATTEMPTS, False)


async def test_a_result_that_stops_coming_leaves_nothing(
    house: Rig, server: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "IDLE_SECONDS", 0.05)
    server.answers = [stalls(film())]
    error = await refused(house, server.film, server)
    assert (error.message, error.detail, server.asked) == (UNFETCHED, "the upstream's result stopped coming", ATTEMPTS)


async def test_a_result_that_comes_too_slowly_leaves_nothing(
    house: Rig, server: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 0.3)
    server.answers = [drips()]
    assert "took longer" in (await refused(house, server.film, server)).message
    assert server.asked == 1


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/a.mp4", "http://169.254.169.254/latest", "file:///etc/passwd"])
async def test_a_redirect_to_where_nobody_may_go_leaves_nothing(house: Rig, server: Source, to: str) -> None:
    server.answers = [elsewhere(to)]
    error = await refused(house, server.film, server)
    assert (error.message, server.asked, isinstance(error, ResultExpired)) == (UNFETCHED, 1, False)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_url_that_no_longer_works_is_told_at_once(house: Rig, server: Source, status: int) -> None:
    server.answers = [whole(HTML, status)]
    error = await refused(house, server.film, server)
    assert isinstance(error, ResultExpired)
    assert (str(status) in error.message, server.asked) == (True, 1)
    assert server.url not in f"{error.message}{error.detail}"


@pytest.mark.parametrize("status", [206, 304, 429, 500, 503])
async def test_a_server_in_trouble_is_asked_a_few_times(house: Rig, server: Source, status: int) -> None:
    server.answers = [whole(b"", status)]
    error = await refused(house, server.film, server)
    assert (error.message, server.asked, isinstance(error, ResultExpired)) == (UNFETCHED, ATTEMPTS, False)


# --- results that need the account ---


async def test_an_upstream_s_own_fetch_is_streamed(house: Rig, place: Path) -> None:
    house.ingest.limit = 64 * MB
    seen: list[int] = []

    def watched() -> Any:
        for chunk in film_of(32 * MB):
            seen.append(len([name for name in objects(place) if "#" in name]))
            yield chunk

    upstream = Fetches(errors.UpstreamFailed(), watched())
    kept = await brought(house, Media("video", url="https://up.example/1"), upstream=upstream)
    assert (kept.size, kept.seconds, upstream.by, upstream.ended) == (32 * MB, 0.5, ["a", "a"], 1)
    assert (seen[0], seen[-1]) == (0, 1)  # the upload is under way before the last chunk is asked for


async def test_what_it_gives_past_the_limit_is_not_taken(house: Rig) -> None:
    upstream = Fetches(film_of(64 * LIMIT))
    assert "larger" in (await refused(house, Media("video", url="x"), upstream=upstream)).message
    assert (upstream.given <= 3 * LIMIT, upstream.ended) == (True, 1)


async def test_the_caller_s_errors_of_a_fetch_are_not_tried_again(house: Rig) -> None:
    upstream = Fetches(errors.InvalidRequest(), [film()])
    assert (await refused(house, Media("video", url="x"), upstream=upstream)).message == UNFETCHED
    assert len(upstream.by) == 1


# --- when our own side fails ---


async def test_a_store_that_cannot_be_written_passes_as_it_is(house: Rig, server: Source, place: Path) -> None:
    (place / "videos").write_text("a file where a directory belongs")
    server.answers = [whole(film())]
    with pytest.raises(StorageUnavailable):
        await brought(house, server.film, server)
    assert (server.asked, await rows(house), objects(place)) == (1, [], ["videos"])
    (place / "videos").unlink()
    assert (await brought(house, server.film, server)).seconds == 0.5


async def test_a_store_that_cannot_be_read_leaves_nothing_and_is_not_the_result_s_fault(
    house: Rig, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.storage, "reading", partial(_slow, house.storage.reading))
    with pytest.raises(StorageUnavailable):
        await brought(house, Media("video", data=film()))
    assert (await rows(house), objects(place)) == ([], [])


def _slow(reading: Any, key: str, size: int, *, seconds: float) -> Any:
    return reading(key, size, seconds=-seconds)


async def test_an_object_that_is_gone_before_it_is_read_is_the_store_s_fault(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = house.storage.put

    async def forgetful(key: str, data: Any, *, mime: str) -> Any:
        done = await put(key, data, mime=mime)
        await house.storage.delete(key)
        return done

    monkeypatch.setattr(house.storage, "put", forgetful)
    with pytest.raises(StorageUnavailable, match="did not keep"):
        await brought(house, Media("video", data=film()))
    assert await rows(house) == []


async def test_a_database_that_is_away_leaves_an_object_that_nothing_names(
    house: Rig, server: Source, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable

    server.answers = [whole(film())]
    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr(house.ingest.library, "enter", away)
        await brought(house, server.film, server)
    [left] = objects(place)
    kept = await brought(house, server.film, server)
    assert objects(place) == sorted([left, kept.key])
    assert await house.ingest.references.named([left, kept.key]) == {kept.key}


async def test_who_is_cancelled_leaves_nothing_and_gives_its_turn_back(
    house: Rig, server: Source, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.ingest, "_hands", asyncio.Semaphore(1))
    server.answers = [stalls(film()), whole(film())]
    first = asyncio.create_task(brought(house, server.film, server))
    while not server.asked:
        await asyncio.sleep(0.001)
    second = asyncio.create_task(brought(house, server.film, server, position=1))
    done, _ = await asyncio.wait({second}, timeout=0.1)
    assert (done, server.asked) == (set(), 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert connections(house) <= 1
    kept = await second
    assert objects(place) == [kept.key]


# --- forgetting ---


async def test_what_a_task_made_is_forgotten_with_it_and_nothing_else_is(house: Rig, place: Path) -> None:
    mine = [await brought(house, Media("video", data=film()), position=at) for at in range(3)]
    other = await brought(house, Media("video", data=film()), task_id="task_2")
    await house.storage.delete(mine[1].key)
    assert await house.ingest.forget("task_1", "somebody else") == 0
    assert len(await rows(house)) == 4
    assert await house.ingest.forget("task_1", "owner") == 3
    assert await house.ingest.forget("task_1", "owner") == 0
    assert [row["id"] for row in await rows(house)] == [other.asset_id]
    assert objects(place) == [other.key]


async def test_rows_go_even_where_their_objects_cannot_be_deleted_now(
    house: Rig, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(key: str) -> None:
        raise StorageUnavailable

    kept = await brought(house, Media("video", data=film()))
    monkeypatch.setattr(house.storage, "delete", fails)
    assert await house.ingest.forget("task_1", "owner") == 1
    assert (await rows(house), objects(place)) == ([], [kept.key])


# --- a process of its own ---

KILLED = """
import asyncio, sys
from pathlib import Path
from gateway.types import Media
from tests.unit.assets.bringing import origin
from tests.unit.scripted import Talks, rig

async def main(place, url):
    async with rig(Path(place), Talks([])) as house:
        house.ingest.limit = 1 << 30
        await house.ingest.bring(Media("video", url=url), origin(house.upstreams[0], url), 0)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_killed_process_began_the_next_one_ends(server: Source, tmp_path: Path, place: Path) -> None:
    server.answers = [stalls(b"".join(film_of(24 * MB))[: 20 * MB]), pieces(film_of(24 * MB), 24 * MB)]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path), server.url)
    async with asyncio.timeout(60):
        while not objects(place):
            assert child.returncode is None
            await asyncio.sleep(0.01)
        child.kill()
        await child.wait()
    [torn] = objects(place)
    async with rig(tmp_path, Talks([])) as house:
        house.ingest.limit = 64 * MB
        assert await rows(house) == []
        kept = await brought(house, server.film, server)
        assert (torn.partition("_")[0], torn[-2:], kept.size) == (kept.key.partition("_")[0], "#1", 24 * MB)
        assert [row["key"] for row in await rows(house)] == [kept.key]
        os.utime(place / torn, (0, 0))
        await house.storage.sweep()
        assert objects(place) == [kept.key]


CHILD = """
import asyncio, json, sys
from pathlib import Path
from gateway.types import Media
from tests.unit.assets.bringing import film_of, origin
from tests.unit.scripted import Talks, film, rig

def memory(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

async def main(place, url):
    async with rig(Path(place), Talks([])) as house:
        house.ingest.limit = 1 << 30
        given = origin(house.upstreams[0], url)
        await house.ingest.bring(Media("video", url=url + "/small"), given, 0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory("VmRSS")
        kept = await house.ingest.bring(Media("video", url=url + "/large"), given, 1)
        print(json.dumps([memory("VmHWM") - before, kept.size, kept.seconds, kept.sha256]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process's memory")
async def test_a_film_of_200_mb_is_never_in_memory(server: Source, tmp_path: Path) -> None:
    size = 200 * MB
    server.answers = [pieces(film_of(6 * MB), 6 * MB), pieces(film_of(size), size)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), server.url, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(child.communicate(), 90)
    grown, came, seconds, sha256 = json.loads(told)
    digest = hashlib.sha256()
    for piece in film_of(size):
        digest.update(piece)
    assert (came, seconds, sha256) == (size, 0.5, digest.hexdigest())
    assert grown < 30 * MB, f"{grown / MB:.0f} MB"
