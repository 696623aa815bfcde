from __future__ import annotations

import asyncio

import pytest

from gateway.db.engine import Database
from gateway.db.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_value_is_kept_and_replaced(database: Database) -> None:
    settings = Settings(database)
    assert await settings.get("a") is None
    for value in ("one", "two"):
        await settings.put("a", value)
        assert await settings.get("a") == value
    assert await settings.get("b") is None


async def test_the_first_value_counts(database: Database) -> None:
    settings = Settings(database)
    told = await asyncio.gather(*(settings.first("a", str(number)) for number in range(5)))
    assert len(set(told)) == 1
    assert await settings.first("a", "later") == told[0]


async def test_a_value_changes_only_from_what_it_was(database: Database) -> None:
    settings = Settings(database)
    assert not await settings.swap("a", "one", "two")
    assert await settings.swap("a", None, "one")
    assert not await settings.swap("a", None, "other")
    assert not await settings.swap("a", "other", "two")
    assert await settings.get("a") == "one"
    assert await settings.swap("a", "one", "two")
    assert not await settings.swap("a", "one", None)
    assert await settings.swap("a", "two", None)
    assert await settings.get("a") is None


async def test_of_those_who_change_it_at_once_one_does(database: Database) -> None:
    settings = Settings(database)
    await settings.put("a", "0")
    done = await asyncio.gather(*(settings.swap("a", "0", str(number)) for number in range(1, 6)))
    assert sum(done) == 1
