"""A directory that is not the one it was: a disk that is not mounted, or was moved away."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.errors import StorageUnavailable
from gateway.storage import Storage

pytestmark = pytest.mark.anyio
KEY = "images/2026-01/a_20260105_101010_0a1b2c3d.png"


async def read(storage: Storage) -> bytes:
    return b"".join([chunk async for chunk in storage.get(KEY)])


async def listed(storage: Storage) -> list[str]:
    return [info.key async for page in storage.list() for info in page]


async def looked_into(storage: Storage) -> None:
    with storage.reading(KEY, 1):
        pass


STEPS: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "put": lambda storage: storage.put(KEY, b"x", mime="image/png"),
    "head": lambda storage: storage.head(KEY),
    "get": read,
    "delete": lambda storage: storage.delete(KEY),
    "list": listed,
    "reading": looked_into,
    "check": lambda storage: storage.check(),
}


@pytest.mark.parametrize("instead", ["nothing", "file", "directory"])
@pytest.mark.parametrize("step", STEPS)
async def test_it_is_away_and_nothing_is_taken_for_gone(tmp_path: Path, step: str, instead: str) -> None:
    place, away = tmp_path / "objects", tmp_path / "away"
    storage = Storage.open(place.as_uri())
    await storage.put(KEY, b"x", mime="image/png")
    place.rename(away)
    match instead:
        case "file":
            place.write_text("")
        case "directory":
            place.mkdir()
    with pytest.raises(StorageUnavailable) as told:
        await STEPS[step](storage)
    assert str(tmp_path) not in f"{told.value.message} {told.value.detail} {told.value.advice}"
    assert not place.is_dir() or list(place.iterdir()) == []
    if place.exists():
        place.unlink() if place.is_file() else place.rmdir()
    away.rename(place)
    assert await read(storage) == b"x"
    await STEPS[step](storage)


async def test_what_was_put_while_it_went_away_is_not_stored(tmp_path: Path) -> None:
    place = tmp_path / "objects"
    storage = Storage.open(place.as_uri())

    async def goes_away():  # type: ignore[no-untyped-def]
        yield b"x"
        place.rename(tmp_path / "away")
        place.mkdir()

    with pytest.raises(StorageUnavailable):
        await storage.put(KEY, goes_away(), mime="image/png")
