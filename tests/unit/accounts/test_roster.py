"""Who there is, changed while it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.access.sealing import Sealer
from gateway.accounts import stanzas
from gateway.accounts.book import Book, Entry
from gateway.accounts.facts import Fact
from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool
from gateway.accounts.roster import TOPIC, Roster
from gateway.accounts.stanzas import Configured
from gateway.config import AccountConfig, Config
from gateway.db.engine import Database
from gateway.db.tables import metadata
from gateway.errors import AllResting, ConfigError, DatabaseUnavailable, NoAccount
from gateway.http import Outbound
from gateway.state.slots import NEVER
from tests.unit.accounts.clouds import TYPES, Cloud, Keyless, cloud

pytestmark = pytest.mark.anyio

WRONG = {"name": "x", "type": "clowd"}


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stanzas, "types", lambda: TYPES)


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'book.db'}")
    await database.start()
    try:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield Book(database, Sealer("the master key of the tests, long enough"))
    finally:
        await database.close()


class Shelf:
    """A book that may be away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.away = False

    async def all(self) -> list[Entry]:
        if self.away:
            raise DatabaseUnavailable
        return self.entries


def config(*written: dict[str, Any], **fields: Any) -> Config:
    return Config(upstreams=written, **fields)  # type: ignore[arg-type]


def account(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "api_key": f"key of {name}"} | keys


def given(name: str, **keys: Any) -> AccountConfig:
    return AccountConfig.model_validate(account(name, **keys))


class Watched(Roster):
    """Counts its changes and keeps what it says."""

    def __init__(self, *written: dict[str, Any], env: Mapping[str, str] = {}, book: Any = None) -> None:
        self.said: list[str] = []
        super().__init__(config(*written), env, Outbound(), _pool, book, self.said.append)
        self.changes = 0
        self.changed = self._count

    def _count(self) -> None:
        self.changes += 1

    @property
    def ids(self) -> list[str]:
        """Who can be given work, best upstream first."""
        return [account.id for one in self.found for account in self.pools[one.stanza.name].accounts]


def _pool(one: Configured) -> Pool:
    return Pool(one.upstream.name, one.accounts, rules=one.rules)


async def loaded(*written: dict[str, Any], book: Any = None) -> Watched:
    roster = Watched(*written, book=book)
    await roster.load(tell=False)
    return roster


def leased(roster: Roster, upstream: str, only: str | None = None) -> Lease:
    return roster.pools[upstream].take(model="m", kind="t2t", only=only)


# --- a change ---


async def test_who_holds_the_pools_sees_every_change() -> None:
    roster = await loaded(cloud("mine"))
    pools, upstreams, mine = roster.pools, roster.upstreams, roster.pools["mine"]
    await roster.reload(config(cloud("mine", account("a"), account("b")), cloud("other")))
    assert roster.pools is pools
    assert roster.upstreams is upstreams
    assert pools["mine"] is mine
    assert list(upstreams) == list(pools) == ["mine", "stands", "other"]
    assert roster.ids == ["mine/a", "mine/b", "other/a", "stands/default"]
    assert roster.changes == 2


async def test_what_is_the_same_upstream_still_stays_the_same_object() -> None:
    roster = await loaded(cloud("mine", region="us"), cloud("moved"), cloud("other", region="us"))
    before = dict(roster.upstreams)
    more = cloud("mine", account("b"), region="us", priority=3, models=["m"], selection="sticky")
    await roster.reload(config(more, cloud("moved", base_url="https://moved.example"), cloud("other", region="asia")))
    assert roster.upstreams["mine"] is before["mine"]
    assert roster.upstreams["stands"] is before["stands"]
    assert roster.upstreams["moved"] is not before["moved"]
    assert roster.upstreams["other"] is not before["other"]
    assert roster.upstreams["other"].options.region == "asia"  # type: ignore[attr-defined]
    assert {one.upstream.name: one.upstream for one in roster.found} == roster.upstreams


async def test_another_type_is_another_upstream() -> None:
    roster = await loaded(cloud("mine"))
    await roster.reload(config({"name": "mine", "type": "keyless"}))
    assert [type(roster.upstreams["mine"]), type(roster.found[0].upstream)] == [Keyless, Keyless]


async def test_what_is_wrong_leaves_all_as_it_was() -> None:
    roster = await loaded(cloud("mine"))
    before = roster.config, roster.found, dict(roster.upstreams), roster.ids
    for wrong in (WRONG, cloud("mine", account("b", tier=0)), cloud("later", regoin="us")):
        with pytest.raises(ConfigError):
            await roster.reload(config(cloud("mine", account("b")), cloud("new"), wrong))
    assert (roster.config, roster.found, roster.upstreams, roster.ids) == before
    assert roster.changes == 1
    leased(roster, "mine").release()


async def test_a_database_that_is_away_leaves_all_as_it_was() -> None:
    shelf = Shelf()
    roster = await loaded(cloud("mine"), book=shelf)
    shelf.away = True
    with pytest.raises(DatabaseUnavailable):
        await roster.reload(config(cloud("mine", account("b"))))
    with pytest.raises(DatabaseUnavailable):
        await roster.load()
    assert (roster.ids, roster.changes, roster.said) == (["mine/a", "stands/default"], 1, [])


# --- leases ---


async def test_who_is_left_out_ends_its_work_and_gets_no_more() -> None:
    roster = await loaded(cloud("mine", account("a"), account("b")))
    lease = leased(roster, "mine", "mine/a")
    await roster.reload(config(cloud("mine", account("b"))))
    assert lease.account.id == "mine/a"
    assert [leased(roster, "mine").account.id for _ in range(3)] == ["mine/b"] * 3
    with pytest.raises(NoAccount):
        leased(roster, "mine", "mine/a")
    assert roster.pools["mine"].account("mine/a") is roster.account("mine", "a") is None
    lease.release()
    assert roster.pools["mine"].in_flight == 3


async def test_who_stays_keeps_its_slots_and_gets_its_new_limits_at_once() -> None:
    roster = await loaded(cloud("mine", account("a", max_concurrency=2)))
    first, _second = leased(roster, "mine"), leased(roster, "mine")
    with pytest.raises(AllResting):
        leased(roster, "mine")
    await roster.reload(config(cloud("mine", account("a", max_concurrency=3))))
    leased(roster, "mine")
    await roster.reload(config(cloud("mine", account("a", max_concurrency=1))))
    first.release()
    with pytest.raises(AllResting):
        leased(roster, "mine")
    assert roster.pools["mine"].in_flight == 2


async def test_rules_of_the_pool_are_gone_by_at_once() -> None:
    roster = await loaded(cloud("mine", account("a"), account("b")))
    lease = leased(roster, "mine")
    await roster.reload(config(cloud("mine", account("a"), account("b"), max_concurrency=1)))
    with pytest.raises(AllResting):
        leased(roster, "mine")
    lease.release()
    leased(roster, "mine")


async def test_an_upstream_that_is_gone_has_nobody() -> None:
    roster = await loaded(cloud("mine"), cloud("other"))
    lease = leased(roster, "mine")
    await roster.reload(config(cloud("other")))
    assert [one.stanza.name for one in roster.found] == ["other", "stands"]
    assert roster.pools["mine"].accounts == ()
    with pytest.raises(NoAccount):
        leased(roster, "mine")
    await roster.load()
    assert "mine" in roster.pools, "its lease is not back yet"
    lease.release()
    await roster.load()
    assert list(roster.pools) == list(roster.upstreams) == ["other", "stands"]


async def test_an_upstream_stays_for_those_who_are_on_their_way_there() -> None:
    roster = await loaded(cloud("mine"), cloud("other"))
    await roster.reload(config(cloud("other")))
    assert "mine" in roster.pools
    assert "mine" in roster.upstreams


async def test_an_upstream_that_comes_back_serves_again() -> None:
    roster = await loaded(cloud("mine"), cloud("other"))
    pool = roster.pools["mine"]
    lease = leased(roster, "mine")
    await roster.reload(config(cloud("other")))
    await roster.reload(config(cloud("mine", region="us"), cloud("other")))
    assert roster.pools["mine"] is pool
    assert roster.upstreams["mine"] is roster.found[0].upstream
    assert leased(roster, "mine").account.id == "mine/a"
    lease.release()
    assert pool.in_flight == 1


# --- the database ---


async def test_the_first_real_account_takes_over_from_the_stand_in(book: Book) -> None:
    roster = await loaded(book=book)
    assert (roster.stand_in, roster.ids) == (True, ["stands/default"])
    await book.add("far", given("x"), type="cloud", base_url="https://far.example")
    await roster.load()
    assert (roster.stand_in, roster.ids) == (False, ["far/x", "stands/default"])
    assert isinstance(roster.upstreams["far"], Cloud)
    lease = leased(roster, "far")
    assert (lease.account.credential, lease.account.base_url) == ("key of x", "https://far.example")
    await book.remove("far/x")
    await roster.load()
    assert (roster.stand_in, roster.ids) == (True, ["stands/default"])


async def test_other_processes_are_told_of_what_people_change_here() -> None:
    roster = await loaded(cloud("mine"), book=Shelf())
    assert roster.said == []
    await roster.load()
    assert roster.said == [TOPIC]
    await roster.load(tell=False)
    await roster.reload(config(cloud("mine")))
    assert roster.said == [TOPIC]


async def test_a_reload_of_the_config_keeps_the_accounts_of_the_database(book: Book) -> None:
    await book.add("mine", given("x"))
    roster = await loaded(cloud("mine"), book=book)
    await roster.reload(config(cloud("mine", account("b"))))
    assert roster.ids == ["mine/b", "mine/x", "stands/default"]


async def test_an_account_whose_name_the_config_has_is_told_of_once() -> None:
    shelf = Shelf()
    shelf.entries = [Entry("mine", given("a")), Entry("mine", given("b"))]
    with capture_logs() as logs:
        roster = await loaded(cloud("mine"), book=shelf)
        await roster.load()
        await roster.reload(config(cloud("mine", account("a"), account("b"))))
    assert [line["accounts"] for line in logs] == [["mine/a"], ["mine/a", "mine/b"]]
    assert roster.pools["mine"].accounts[0].credential == "key of a"


async def test_an_upstream_without_accounts_is_told_of_once() -> None:
    bare = {"name": "mine", "type": "cloud"}
    with capture_logs() as logs:
        roster = await loaded(bare, book=Shelf())
        await roster.load()
        await roster.reload(config(cloud("mine")))
        await roster.reload(config(bare, {**bare, "name": "other"}))
    assert [line["upstreams"] for line in logs] == [["mine"], ["mine", "other"]]
    assert not roster.stand_in, "who names a provider does not want made-up results"


# --- what is known against accounts ---


async def test_what_is_known_against_new_accounts_is_asked_for() -> None:
    roster = Watched(cloud("mine"))
    asked: list[list[str]] = []

    async def remember() -> None:
        asked.append(roster.ids)
        roster.learn("mine/a", [Fact("rejected", NEVER, "no good")])
        roster.learn("gone/a", [Fact("rejected", NEVER)])
        roster.learn("mine/gone", [Fact("rejected", NEVER)])

    roster.remember = remember
    await roster.load()
    assert roster.pools["mine"].status()[0].reason == "no good"
    await roster.load()
    await roster.reload(config(cloud("mine", account("a", weight=2))))
    await roster.recall()
    assert asked == [["mine/a", "stands/default"]]
    await roster.reload(config(cloud("mine", account("b"))))
    await roster.recall()
    assert asked[1:] == [["mine/b", "stands/default"]]


async def test_what_cannot_be_asked_for_now_is_asked_for_at_the_next_change() -> None:
    roster = Watched(cloud("mine"))
    answers = [DatabaseUnavailable(), RuntimeError(), None]

    async def remember() -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    roster.remember = remember
    await roster.load()
    with pytest.raises(RuntimeError):
        await roster.load()
    assert len(answers) == 1
    await roster.load()
    await roster.load()
    assert answers == []


# --- what may be added ---


async def test_an_account_that_may_be_added_is_what_it_would_be(book: Book) -> None:
    roster = await loaded(cloud("mine", base_url="https://mine.example", quota_reset={"hour": 9}), book=book)
    wanted = given("x", tier=2, tags=["eu"])
    checked = roster.check("mine", None, wanted)
    await book.add("mine", wanted)
    await roster.load()
    assert checked == roster.account("mine", "x")
    assert (checked.source, checked.base_url, checked.quota_reset.hour) == ("database", "https://mine.example", 9)
    assert roster.check("mine", "cloud", given("x", tier=3)).options.tier == 3, "it may be changed"


async def test_it_may_bring_its_upstream(book: Book) -> None:
    roster = await loaded(book=book)
    assert roster.check("far", "cloud", given("x"), base_url="https://far.example").base_url == "https://far.example"
    assert roster.check("vendor", None, given("x")).base_url == "https://vendor.example/v1"


@pytest.mark.parametrize(
    ("upstream", "type_name", "keys", "sentence"),
    [
        ("mine", None, {"tier": 0}, "tier: must be greater than or equal to 1"),
        ("mine", None, {"tiers": 1}, "tiers: unknown key; did you mean 'tier'?"),
        ("mine", None, {"api_key": ""}, "api_key: is required for an upstream of type cloud"),
        ("mine", "keyless", {}, "type: the upstream 'mine' is of type cloud, not keyless"),
        ("mine", None, {"name": "a"}, "name: 'mine/a' is an account of the config; change it there"),
        ("far", "clowd", {}, "type: must be one of cloud, compatible, keyless, stands (got 'clowd')"),
        ("far", None, {}, "type: must be one of cloud, compatible, keyless, stands (got 'far')"),
        ("a/b", "cloud", {}, "upstream: must be a name of 1 to 64 plain ASCII characters without '/' (got \"a/b\")"),
    ],
)
async def test_what_may_not_be_added_is_told_by_its_key(
    upstream: str, type_name: str | None, keys: dict[str, Any], sentence: str
) -> None:
    roster = await loaded(cloud("mine"), book=Shelf())
    with pytest.raises(ConfigError) as told:
        roster.check(upstream, type_name, given(**({"name": "x"} | keys)))
    assert str(told.value) == sentence
