"""What lies in storage, as the rows tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.assets import holdings as holdings_module
from gateway.assets.holdings import GOOD_FOR_SECONDS, Held, Holdings
from gateway.db.engine import Database
from tests.unit.assets.keeping_shelf import Shelf, new_key

pytestmark = pytest.mark.anyio


async def test_objects_are_counted_by_folder_once_each(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings_module, "ROWS", 2)
    shelf = Shelf(database, tmp_path / "objects")
    for size in (1, 20, 300, 4000, 50_000):
        await shelf.asset(new_key(), size=size, thumbnail_key=new_key("previews"))
    await shelf.asset(new_key("videos", "mp4"), size=7, poster_key=new_key("previews"))
    shared = new_key("uploads")
    for _ in range(3):
        await shelf.file(shared, size=9)
    await shelf.answer(f"answers/2026-01/{'0' * 32}.bin")
    assert await Holdings(database).by_folder() == {
        "answers": Held(1, None),
        "images": Held(5, 54_321),
        "previews": Held(6, None),
        "uploads": Held(1, 9),
        "videos": Held(1, 7),
    }


async def test_they_are_not_counted_for_everybody_who_asks(database: Database, tmp_path: Path) -> None:
    shelf, now = Shelf(database, tmp_path / "objects"), 100.0
    holdings = Holdings(database, clock=lambda: now)
    assert await holdings.by_folder() == {}
    await shelf.asset(new_key())
    now += GOOD_FOR_SECONDS - 1
    assert await holdings.by_folder() == {}
    now += 1
    assert await holdings.by_folder() == {"images": Held(1, 10)}
