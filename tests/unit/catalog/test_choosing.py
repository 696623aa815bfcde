"""Which model a request goes to that names none, and in which order places are tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.catalog.choosing import Choice, Choosing
from gateway.catalog.models import Catalog
from gateway.catalog.preferences import AWAY_SECONDS, FRESH_SECONDS, Preference, Preferences
from gateway.catalog.prices import PriceBook
from gateway.db.engine import Database
from gateway.errors import DatabaseUnavailable
from gateway.types import ImageRequest, Kind, Parameter, Price, Principal, Size
from tests.unit.catalog.test_models import Shelf, StandIn, at, card, catalog, refused, source, where

pytestmark = pytest.mark.anyio

ME, OTHER = Principal("me", "me"), Principal("other", "other")


class Accounts:
    """When accounts could serve, by upstream or by `<upstream>/<model>`; now where nothing is said."""

    def __init__(self, **waits: float | None) -> None:
        self.waits: dict[str, float | None] = dict(waits)
        self.asked = 0

    def __call__(self, upstream: str, model: str, kind: Kind, tags: frozenset[str]) -> float | None:
        self.asked += 1
        if tags and "eu" not in upstream:
            return None
        return self.waits.get(f"{upstream}/{model}", self.waits.get(upstream, 0.0))


def studio(accounts: Accounts | None = None, **fields: Any) -> Catalog:
    one = Shelf("one", card("text"), card("a", "t2i", estimate=9.0), card("b", "t2i", estimate=1.0))
    two = Shelf("two", card("c", "t2i"), card("a", "t2i", estimate=2.0))
    return catalog(one, two, **{"wait": accounts or Accounts(), **fields})


# --- where nobody named a model ---


def test_the_default_goes_before_the_list_while_an_account_could_ever_serve_it() -> None:
    accounts = Accounts(one=60.0)
    found = studio(accounts, defaults={"t2i": "b"}, priorities={"t2i": ["c", "a"]})
    assert where(found, "auto", "t2i") == ["one/b", "two/c", "one/a", "two/a"]
    accounts.waits["one/b"] = None
    assert where(found, "", "t2i")[0] == "two/c"
    accounts.waits["two"] = None
    assert where(found, "auto", "t2i")[0] == "one/a", "nobody else ever could"
    accounts.waits["one"] = None
    assert where(found, "auto", "t2i")[0] == "one/b"


def test_the_first_of_the_list_is_taken_that_can_serve_now() -> None:
    accounts = Accounts()
    found = studio(accounts, priorities={"t2i": ["gone", "text", "b", "nick"]}, aliases={"nick": "c"})
    assert where(found, "auto", "t2i") == ["one/b", "two/c"]
    assert where(found, "auto", "t2i", fallback=False) == ["one/b"]
    accounts.waits["one"] = 30.0
    assert where(found, "auto", "t2i") == ["two/c"]
    accounts.waits["two"] = 10.0
    assert where(found, "auto", "t2i")[0] == "one/b", "nobody can now: the first that ever could"
    assert where(found, "auto") == ["one/text"]


def test_a_list_of_which_nothing_could_ever_serve_leaves_it_to_the_first_there_is() -> None:
    accounts = Accounts(two=None)
    assert where(studio(accounts, priorities={"t2i": ["c"]}), "auto", "t2i")[0] == "one/a"
    nobody = Accounts(**{"one/a": None, "two/a": None})
    assert where(studio(nobody, priorities={"t2i": ["gone"]}), "auto", "t2i") == ["two/c"]


def test_only_accounts_count_that_may_serve_the_caller() -> None:
    found = catalog(Shelf("us", card("a")), Shelf("eu", card("b")), priorities={"t2t": ["a", "b"]}, wait=Accounts())
    assert where(found, "auto")[0] == "us/a"
    assert where(found, "auto", tags=frozenset({"eu"}))[0] == "eu/b"


def test_a_named_model_is_found_without_asking_for_accounts() -> None:
    accounts = Accounts()
    found = studio(accounts)
    assert where(found, "a", "t2i") == ["one/a", "two/a"]
    assert where(found, "auto") == ["one/text"]
    assert accounts.asked == 0, "there is but one that does text"


def test_a_default_that_is_no_model_is_told_so() -> None:
    assert refused(studio(defaults={"t2i": "gone"}), "auto", "t2i").code == "model_not_found"
    assert refused(studio(defaults={"t2i": "text"}), "auto", "t2i").code == "model_cannot"


def test_the_stand_in_is_no_default_and_offered_to_nobody() -> None:
    found = catalog(Shelf("real", card("m")), StandIn("stands", card("own", "t2i"), card("talks")))
    assert [name.id for _, name in found.others("t2t")] == ["m"]
    error = refused(found, "m", "t2i")
    assert (error.message, error.alternatives) == ("the model 'm' does t2t, not t2i; models that can: own", ())


# --- what a caller prefers ---


async def choosing(database: Database, found: Catalog, **prices: Any) -> Choosing:
    return Choosing(found, Preferences(database), PriceBook(prices, found.known))


async def test_a_preference_is_followed_while_it_can_be_and_by_nobody_else(database: Database) -> None:
    accounts = Accounts()
    chooses = await choosing(database, studio(accounts, fallbacks={"c": ["b"]}))
    await chooses.preferences.put("me", "t2i", "c", {"seed": 4})
    chosen = await chooses.choose("auto", "t2i", ME)
    assert (at(chosen.candidates), chosen.params, chosen.kind) == (["two/c", "one/b"], {"seed": 4}, "t2i")
    for model, kind, who in [("a", "t2i", ME), ("", "t2i", OTHER), ("", "t2t", ME), ("", None, ME)]:
        other = await chooses.choose(model, kind, who)
        assert (other.candidates[0].card.id, other.params) == ("text" if kind != "t2i" else "a", {})
    assert at((await chooses.choose("", "t2i", ME, fallback=False)).candidates) == ["two/c"]
    accounts.waits["two"] = 3600.0
    assert (await chooses.choose("", "t2i", ME)).params
    accounts.waits["two"] = None
    assert not (await chooses.choose("", "t2i", ME)).params
    await chooses.preferences.put("me", "t2i", "gone", {})
    assert at((await chooses.choose("", "t2i", ME)).candidates)[0] == "one/a"


def test_a_preference_fills_what_a_body_leaves_open() -> None:
    def body(**values: Any) -> Mapping[str, msgspec.Raw]:
        return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}

    chosen = Choice("t2v", (), {"size": "1:1", "seconds": 10, "n": 2, "seed": 3})
    filled = chosen.filled(body(aspect_ratio="16:9", duration=5, n=1, seed=None))
    assert {name: msgspec.json.decode(raw) for name, raw in filled.items()} == {
        "aspect_ratio": "16:9", "duration": 5, "n": 1, "seed": 3,
    }  # fmt: skip
    text = Choice("t2t", (), {"format": "plain"}).filled(body(response_format={"type": "text"}))
    assert text.keys() == {"format", "response_format"}, "in a chat these are two"


async def test_preferences_are_kept_changed_and_forgotten(database: Database) -> None:
    mine = Preferences(database)
    assert await mine.all("me") == {}
    await mine.put("me", "t2v", "film", {"seconds": 5})
    await mine.put("me", "t2i", "still", {})
    await mine.put("me", "t2v", "other", {"size": "1:1", "sound": True})
    await mine.put("you", "t2v", "film", {})
    assert [(one.model, one.params) for one in (await mine.all("me")).values()] == [
        ("still", {}), ("other", {"size": "1:1", "sound": True}),
    ]  # fmt: skip
    assert (await mine.delete("me", "t2v"), await mine.delete("me", "t2v")) == (True, False)
    assert await mine.of("me", "t2v") is None
    assert (await mine.of("you", "t2v") or pytest.fail("lost")).model == "film"


async def test_what_another_process_changes_is_seen_once_its_time_is_over(database: Database) -> None:
    now = [100.0]
    here, there = Preferences(database, clock=lambda: now[0]), Preferences(database)
    assert await here.of("me", "t2t") is None
    await there.put("me", "t2t", "m", {})
    now[0] += FRESH_SECONDS - 0.1
    assert await here.of("me", "t2t") is None
    now[0] += 0.2
    assert isinstance(await here.of("me", "t2t"), Preference)


async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, look = Preferences(database), database.look

    @asynccontextmanager
    async def meanwhile() -> AsyncGenerator[AsyncConnection]:
        async with look() as connection:
            yield connection
        monkeypatch.undo()
        await mine.put("me", "t2t", "m", {})

    monkeypatch.setattr(database, "look", meanwhile)
    assert await mine.of("me", "t2t") is None
    assert (await mine.of("me", "t2t") or pytest.fail("forgotten")).model == "m"


async def test_text_is_served_while_the_database_is_away_and_media_wait_for_it(tmp_path: Path) -> None:
    chooses = await choosing(Database(f"sqlite+aiosqlite:///{tmp_path / 'closed.db'}"), studio())
    assert at((await chooses.choose("auto", None, ME)).candidates) == ["one/text"]
    assert at((await chooses.choose("a", "t2i", ME)).candidates) == ["one/a", "two/a"]
    with pytest.raises(DatabaseUnavailable):
        await chooses.choose("auto", "t2i", ME)


async def test_text_waits_but_once_for_a_database_that_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks, answers = [100.0], [0], asyncio.Event()
    look = database.look

    @asynccontextmanager
    async def hanging() -> AsyncGenerator[AsyncConnection]:
        looks[0] += 1
        await answers.wait()
        async with look() as connection:
            yield connection

    mine = Preferences(database, clock=lambda: now[0], patience=0.01)
    chooses = Choosing(studio(priorities={"t2t": ["text"]}), mine, PriceBook())
    await mine.put("me", "t2t", "text", {"seed": 4})
    assert (await mine.of("me", "t2t") or pytest.fail("not kept")).params == {"seed": 4}
    monkeypatch.setattr(database, "look", hanging)
    now[0] += FRESH_SECONDS
    assert (await chooses.choose("auto", "t2t", ME)).params == {"seed": 4}, "as it was known last"
    assert looks == [1]
    for _ in range(3):
        assert (await chooses.choose("auto", "t2t", OTHER)).params == {}
    assert looks == [1], "it did not answer a moment ago"
    now[0] += AWAY_SECONDS
    for who in (ME, OTHER, OTHER):
        await chooses.choose("auto", "t2t", who)
    assert looks == [1], "what is under way is waited for, and then nobody is for a while"
    now[0] += AWAY_SECONDS
    media = asyncio.create_task(chooses.choose("auto", "t2i", OTHER))
    while looks != [2]:
        await asyncio.sleep(0)
    assert not media.done()
    answers.set()
    assert (await media).params == {}
    assert (await chooses.choose("auto", "t2t", ME)).params == {"seed": 4}


async def test_who_asks_after_a_change_sees_it_though_a_look_from_before_is_under_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, look, read, goes_on = Preferences(database), database.look, asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncGenerator[AsyncConnection]:
        async with look() as connection:
            yield connection
        read.set()
        await goes_on.wait()

    monkeypatch.setattr(database, "look", slow)
    early = asyncio.create_task(mine.of("me", "t2t"))
    await read.wait()
    monkeypatch.undo()
    await mine.put("me", "t2t", "m", {})
    async with asyncio.timeout(30):
        assert (await mine.of("me", "t2t") or pytest.fail("not seen")).model == "m"
    goes_on.set()
    assert await early is None
    assert (await mine.of("me", "t2t") or pytest.fail("forgotten")).model == "m"


# --- in which order ---


async def ordered(found: Catalog, model: str, request: ImageRequest, **prices: Any) -> list[str]:
    chooses = Choosing(found, Preferences(Database("sqlite+aiosqlite:///unused.db")), PriceBook(prices, found.known))
    chosen = await chooses.choose(model, "t2i", ME)
    return at(chooses.in_order(chosen.candidates, request))


async def test_places_are_tried_as_configured_or_the_fastest_first_and_never_another_model_before_its_own() -> None:
    fields: dict[str, Any] = {"fallbacks": {"a": ["c", "b"]}}
    request = ImageRequest("a", "x")
    assert await ordered(studio(**fields), "a", request) == ["one/a", "two/a", "two/c", "one/b"]
    assert await ordered(studio(order="speed", **fields), "a", request) == ["two/a", "one/a", "one/b", "two/c"]


async def test_the_cheapest_place_for_this_very_request_comes_first() -> None:
    sizes = {"size": Parameter("size", allowed=("1:1",))}
    shelves = [
        Shelf("dear", card("a", "t2i", prices=(Price("USD", image=0.3),))),
        Shelf("by_call", card("a", "t2i", max_n=10, prices=(Price("USD", request=0.5),))),
        Shelf("unknown", card("a", "t2i")),
        Shelf("points", card("a", "t2i", prices=(Price("points", image=0.001),))),
        Shelf("square", card("a", "t2i", parameters=sizes, prices=(Price("USD", image=0.01),))),
    ]
    found = catalog(*map(source, shelves), order="price", wait=Accounts())

    async def first(request: ImageRequest) -> list[str]:
        return [place.partition("/")[0] for place in await ordered(found, "a", request)]

    assert await first(ImageRequest("a", "x")) == ["square", "dear", "by_call", "points", "unknown"]
    assert await first(ImageRequest("a", "x", n=2, size=Size("16:9"))) == [
        "by_call", "dear", "points", "unknown", "square",
    ]  # fmt: skip
