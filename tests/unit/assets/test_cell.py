"""What may take any memory, or crash, does so elsewhere."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.assets import cell, media, previews
from gateway.assets.cell import Cell, CellFailed, NoCell, apart
from gateway.assets.media import TYPES, Dimensions, MediaType, inspect_media, measured
from gateway.assets.previews import make, previewed
from gateway.errors import InvalidRequest, NotFound
from tests.unit.assets.making import bomb, encoded, film, fragment_bomb, noisy, scene

pytestmark = pytest.mark.anyio

FILM = film([scene(64, 48)] * 10)


def kind(media_type: MediaType) -> tuple[str, ...]:
    return (media_type.mime, media_type.extension, media_type.family, media_type.reader)


MP4 = kind(TYPES["video/mp4"])


@pytest.fixture
def own() -> Iterator[Cell]:
    made = Cell()
    yield made
    made._end()


def ask(own: Cell, file: Any = None, seconds: float = 30.0) -> Any:
    return own.ask("measure", file or io.BytesIO(FILM), *MP4, seconds=seconds)


def pid(own: Cell) -> int:
    assert own._process is not None
    return own._process.pid


def test_one_process_does_one_thing_after_the_other(own: Cell) -> None:
    assert ask(own) == [64, 48, 1.0]
    first = pid(own)
    assert ask(own) == [64, 48, 1.0]
    assert pid(own) == first


def test_what_fails_is_told_and_the_next_finds_a_new_one(own: Cell) -> None:
    ask(own)
    first = own._process
    assert first is not None
    with pytest.raises(CellFailed, match="cannot be read"):
        ask(own, io.BytesIO(FILM[: len(FILM) // 2]))
    assert first.poll() is not None
    assert ask(own) == [64, 48, 1.0]


def test_what_dies_is_told(own: Cell) -> None:
    class Killing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            os.kill(pid(own), signal.SIGSEGV)
            return super().read(size)

    with pytest.raises(CellFailed, match=f"-{int(signal.SIGSEGV)}"):
        ask(own, Killing(FILM))
    assert ask(own) == [64, 48, 1.0]


def test_what_takes_too_long_is_killed(own: Cell) -> None:
    with pytest.raises(CellFailed):
        ask(own, seconds=0.0)
    assert ask(own) == [64, 48, 1.0]


def test_it_can_be_killed_by_another_thread(own: Cell) -> None:
    class Waiting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            killing = threading.Thread(target=own.kill)
            killing.start()
            killing.join()
            return super().read(size)

    with pytest.raises(CellFailed):
        ask(own, Waiting(FILM))


def test_what_reading_raises_comes_through(own: Cell) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise NotFound

    with pytest.raises(NotFound):
        ask(own, Gone(FILM))
    assert ask(own) == [64, 48, 1.0]


def test_one_that_nobody_asks_ends(own: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "IDLE_SECONDS", 0.0)
    ask(own)
    assert own._idle is not None
    own._idle.join()
    assert own._process is None
    monkeypatch.setattr(cell, "IDLE_SECONDS", 60.0)
    ask(own)
    first = pid(own)
    ask(own)
    assert pid(own) == first


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_it_is_told_no_secrets_and_is_nobody_s_equal(own: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-seen")
    ask(own)
    place = Path(f"/proc/{pid(own)}")
    assert b"never-to-be-seen" not in (place / "environ").read_bytes()
    limits = (place / "limits").read_text()
    assert (
        next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max data size"))
        == [str(640 * 1024 * 1024)] * 2
    )
    assert (place / "stat").read_text().rsplit(") ", 1)[1].split()[16] == str(min(19, os.nice(0) + 10))
    assert os.getpgid(pid(own)) != os.getpgid(0)
    assert int((place / "oom_score_adj").read_text()) == 800


def test_where_no_process_can_be_begun_that_is_told(own: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("/nowhere/python", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(NoCell):
            ask(own)


async def test_and_it_is_done_here_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise NoCell

    monkeypatch.setattr(media, "apart", none)
    monkeypatch.setattr(previews._CELL, "ask", none)
    assert await measured(FILM, TYPES["video/mp4"]) == Dimensions(64, 48, 1.0)
    photo = encoded(noisy(), "JPEG")
    assert await previewed(photo, TYPES["image/jpeg"]) == make(photo, TYPES["image/jpeg"])


def test_each_thread_has_its_own() -> None:
    found: list[Any] = []

    def work() -> None:
        found.append(apart("measure", io.BytesIO(FILM), *MP4, seconds=30.0))
        found.append(cell._OWN.cell)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count([64, 48, 1.0]) == 2
    cells = [one for one in found if isinstance(one, Cell)]
    assert cells[0] is not cells[1]
    for one in cells:
        one._end()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
@pytest.mark.parametrize("data", [bomb(), fragment_bomb()], ids=["index", "fragment"])
async def test_a_small_file_that_wants_all_memory_is_measured_elsewhere(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def seen(work: str, *arguments: Any, **options: Any) -> Any:
        asked.append(work)
        return apart(work, *arguments, **options)

    monkeypatch.setattr(media, "apart", seen)
    try:
        found = await measured(data, TYPES["video/mp4"])
        assert (found.width, found.height) == (64, 48)
    except InvalidRequest as error:
        assert error.code == "invalid_media"
    assert asked == ["measure"]


async def test_what_is_refused_elsewhere_is_refused_the_same_way() -> None:
    with pytest.raises(InvalidRequest) as here:
        inspect_media(FILM[:400], TYPES["video/mp4"])
    with pytest.raises(InvalidRequest) as elsewhere:
        await measured(FILM[:400], TYPES["video/mp4"])
    assert (here.value.code, here.value.message) == (elsewhere.value.code, elsewhere.value.message)


def test_what_is_printed_is_no_answer(own: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    printing = "import os; from gateway.assets import celled; celled._done = lambda *_: [os.write(1, b'noise')]; "
    monkeypatch.setattr(cell, "_ENTRY", printing + "celled.main()")
    assert ask(own) == [5]


def test_what_was_done_in_time_is_not_killed_for_it_later(own: Cell) -> None:
    ask(own, seconds=31.25)
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert [timer for timer in timers if timer.interval == 31.25 and not timer.finished.is_set()] == []


def test_a_rest_that_was_cut_short_ends_nothing(own: Cell) -> None:
    ask(own)
    late = threading.Thread(target=own._expire)  # as of a timer that ran out while something else was asked
    late.start()
    late.join()
    assert own._process is not None
