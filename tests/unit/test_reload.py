"""Another configuration: what it changed, what it leaves, and what is said of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.accounts.lookout import Lookout
from gateway.app import _hearing, opened
from gateway.config import Config
from gateway.drain import Drain
from gateway.errors import ConfigError, DatabaseUnavailable, Unauthorized
from gateway.links import Links
from gateway.reload import LIVE, RESTART, Reload, changes, differences, keyring_of
from gateway.routes.house import House

pytestmark = pytest.mark.anyio

SECRET = "sk-canary-0123456789"
OLD, NEW = "0123456789abcdef0123456789abcdef", "fedcba98765432100123456789abcdef"
TWICE = "one-key-for-two-0123456789"


def config(home: Path, **fields: Any) -> Config:
    return Config.model_validate({"data_dir": str(home), **fields}, context={"cwd": home})


def upstream(*accounts: str, **fields: Any) -> dict[str, Any]:
    given = [{"name": name, "api_key": f"{SECRET}-{name}", **fields} for name in accounts]
    return {"name": "up", "type": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "accounts": given}


def keys(*names: str, **fields: Any) -> dict[str, Any]:
    return {"keys": [{"name": name, "key": f"key-of-{name}-0123456789", **fields} for name in names]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(config(tmp_path, access=keys("ops")), {}, Drain()) as house:
        yield house


# --- what another config brings ---


def test_every_part_is_gone_by_or_needs_a_restart() -> None:
    assert {*LIVE, *RESTART} == set(Config.model_fields)
    assert not set(LIVE) & set(RESTART)


def test_what_needs_a_restart_is_named_by_its_path(tmp_path: Path) -> None:
    before = config(tmp_path, server={"port": 1, "max_body": 2}, master_key=OLD)
    after = config(tmp_path, server={"port": 2, "max_body": 2}, master_key=NEW, pool={"slot_wait": 1})
    assert differences(before, after, RESTART) == ["server.port", "master_key"]
    assert differences(before, before, RESTART) == []


async def test_what_changed_is_told_by_names_alone(house: House, tmp_path: Path) -> None:
    async def told(**fields: Any) -> dict[str, Any]:
        after = config(tmp_path, **fields)
        with capture_logs() as logs:
            await Reload(house, lambda: after).now()
        assert SECRET not in str(logs)
        assert "0123456789" not in str(logs)
        [line] = [line for line in logs if line["event"] == "config reloaded"]
        return {name: value for name, value in line.items() if name not in ("event", "log_level")}

    assert await told(access=keys("ops"), upstreams=[upstream("a", "b")]) == {
        "upstreams_added": ["up"],
        "accounts_added": ["up/a", "up/b"],
    }
    assert await told(access=keys("ops", "shop"), upstreams=[{**upstream("b", "c", weight=2), "priority": 1}]) == {
        "upstreams_changed": ["up"],
        "accounts_added": ["up/c"],
        "accounts_removed": ["up/a"],
        "accounts_changed": ["up/b"],
        "keys_added": ["shop"],
    }
    assert await told(access=keys("shop", role="admin"), models={"aliases": {"x": "y"}}, pool={"slot_wait": 2}) == {
        "upstreams_removed": ["up"],
        "accounts_removed": ["up/b", "up/c"],
        "keys_removed": ["ops"],
        "keys_changed": ["shop"],
        "settings_changed": ["pool.slot_wait", "models.aliases"],
    }
    same = {"access": keys("shop", role="admin"), "models": {"aliases": {"x": "y"}}, "pool": {"slot_wait": 2}}
    assert await told(**same) == {}


def test_nothing_is_told_where_nothing_changed(tmp_path: Path) -> None:
    one = config(tmp_path, access=keys("ops"))
    assert changes(one, config(tmp_path, access=keys("ops")), (), ()) == {}


# --- how it is gone by ---


async def test_all_that_goes_by_the_config_goes_by_the_new_one(house: House, tmp_path: Path) -> None:
    assert house.sandbox
    assert house.hints
    after = config(
        tmp_path,
        access=keys("shop", account_tags=["eu"]),
        upstreams=[{**upstream("a"), "models": ["m"]}],
        models={"aliases": {"quick": "m"}, "defaults": {"t2t": "m"}, "fallbacks": {"m": ["sandbox-chat"]}},
        pool={"slot_wait": 7},
        server={"max_body": 5},
    )
    before = house.config
    await Reload(house, lambda: after).now()
    assert not house.sandbox
    assert house.relay.slot_wait == 7
    assert [one.upstream for one in house.catalog.resolve("quick").candidates] == ["up", "sandbox"]
    assert house.catalog.resolve("auto").candidates[0].card.id == "m"
    principal = house.keyring.principal(b"Bearer key-of-shop-0123456789")
    assert (principal.name, principal.account_tags) == ("shop", {"eu"})
    with pytest.raises(Unauthorized):
        house.keyring.principal(b"Bearer key-of-ops-0123456789")
    assert (house.config.upstreams, house.config.access) == (after.upstreams, after.access)
    assert (house.config.server, house.config.database_url) == (before.server, before.database_url)


async def test_prices_alone_are_gone_by_too(house: House, tmp_path: Path) -> None:
    assert house.relay.prices.of("sandbox", "m") == ()
    for image in (2, 3):
        after = config(tmp_path, access=keys("ops"), models={"prices": {"m": {"currency": "USD", "image": image}}})
        await Reload(house, partial(Config.model_copy, after)).now()
        assert [price.image for price in house.relay.prices.of("sandbox", "m")] == [image]
    assert house.relay.prices is house.tasks.poller.recorder.prices


@pytest.mark.parametrize(
    "wrong",
    [
        {"upstreams": [{"name": "x", "type": "clowd"}]},
        {"access": {"keys": [{"name": "x", "key": TWICE, "role": "admin"}, {"name": "y", "key": TWICE}]}},
    ],
)
async def test_what_is_wrong_changes_nothing(house: House, tmp_path: Path, wrong: dict[str, Any]) -> None:
    before = house.config, house.keyring, house.roster.found, house.catalog.sources
    after = config(tmp_path, **{"upstreams": [upstream("a")], "access": keys("shop"), **wrong})
    with pytest.raises(ConfigError):
        await Reload(house, lambda: after).now()
    assert (house.config, house.keyring, house.roster.found, house.catalog.sources) == before


async def test_without_keys_it_is_said_who_is_let_in(house: House, tmp_path: Path) -> None:
    with capture_logs() as logs:
        await Reload(house, lambda: config(tmp_path)).now()
    assert house.keyring.empty
    assert logs[-1]["event"] == "no API keys any more: this machine alone is let in, without one"


# --- being asked ---


async def finished(reload: Reload) -> None:
    assert reload._going is not None
    async with asyncio.timeout(5):
        await reload._going


async def test_who_asks_while_it_is_done_has_it_done_once_more(house: House, tmp_path: Path) -> None:
    reads: list[int] = []
    gate = threading.Event()

    def read() -> Config:
        reads.append(len(reads))
        gate.wait(5)
        return config(tmp_path, access=keys("ops", f"key{len(reads)}"))

    reload = Reload(house, read)
    reload.ask()
    reload.ask()
    while not reads:
        await asyncio.sleep(0.001)
    for _ in range(10):
        reload.ask()
    gate.set()
    await finished(reload)
    assert reads == [0, 1]
    assert house.keyring.principal(b"Bearer key-of-key2-0123456789").name == "key2"
    reload.ask()
    await finished(reload)
    assert reads == [0, 1, 2]


def raising(error: Exception) -> Callable[[], Config]:
    def read() -> Config:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("server.port: must be a number"), {"problem": "server.port: must be a number"}),
        (DatabaseUnavailable("the database is away"), {"code": "database_unavailable"}),
        (RuntimeError("who knows"), {"exc_info": True}),
    ],
)
async def test_whatever_goes_wrong_is_logged_and_the_next_one_is_done(
    house: House, tmp_path: Path, error: Exception, told: dict[str, Any]
) -> None:
    reload = Reload(house, raising(error))
    with capture_logs() as logs:
        reload.ask()
        await finished(reload)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("config not reloaded, the one before stays", "error")
    ]
    assert told.items() <= logs[0].items()
    reload._read = lambda: config(tmp_path, access=keys("shop"))
    reload.ask()
    await finished(reload)
    assert house.config.access.keys[0].name == "shop"


# --- what other processes say ---


async def test_what_others_say_goes_to_whom_it_is_about(house: House) -> None:
    notices, journal = house.tasks.poller.notices, house.journal
    lookout = Lookout(house.roster, house.database)
    hear = _hearing(notices, journal, lookout)
    change, other = notices.next("task_1"), notices.next("accounts")

    def heard() -> tuple[bool, bool, bool]:
        return change.event.is_set(), lookout._news.is_set(), journal._told.is_set()

    assert heard() == (False, False, False)
    hear("accounts")
    assert heard() == (False, True, False)
    hear("standing up/a")
    assert heard() == (False, True, True)
    hear("task_1")
    assert heard() == (True, True, True)
    assert not other.event.is_set()
    _hearing(notices, journal, None)("accounts")


# --- keys and secrets ---


def test_a_key_brings_its_tags_to_whom_it_proves(tmp_path: Path) -> None:
    ring = keyring_of(config(tmp_path, access=keys("shop", account_tags=["eu", "paid"])).access)
    assert ring.principal(b"Bearer key-of-shop-0123456789").account_tags == {"eu", "paid"}


async def test_links_outlive_a_change_of_the_master_key(tmp_path: Path) -> None:
    def links(house: House) -> tuple[Links, Links]:
        return house.links, house.tickets

    made: list[str] = []
    async with opened(config(tmp_path, master_key=OLD), {}, Drain()) as house:
        made += [one.path("objects/x", 1000.0) for one in links(house)]
    async with opened(config(tmp_path, master_key=NEW, previous_master_keys=[OLD]), {}, Drain()) as house:
        for path, one in zip(made, links(house), strict=True):
            one.verify(path.split("/")[2], "objects/x", 1001.0)
        renewed = [one.path("objects/x", 1000.0) for one in links(house)]
    async with opened(config(tmp_path, master_key=NEW), {}, Drain()) as house:
        for old, new, one in zip(made, renewed, links(house), strict=True):
            one.verify(new.split("/")[2], "objects/x", 1001.0)
            with pytest.raises(Exception, match="not valid"):
                one.verify(old.split("/")[2], "objects/x", 1001.0)
