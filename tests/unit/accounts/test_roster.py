"""Who there is, from the config and from the environment, over providers made up here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from gateway.accounts import roster
from gateway.accounts.roster import Configured
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.http import Outbound
from gateway.upstreams.base import Options, Upstream


class CloudOptions(Options):
    region: str = "eu"


class CloudAccount(Options):
    tier: int = Field(1, ge=1)


class Cloud(Upstream):
    type_name = "cloud"
    base_url = "https://cloud.example/v1"
    env_credentials = ("CLOUD_TOKENS", "CLOUD_TOKEN")
    env_base_url = "CLOUD_BASE_URL"
    max_concurrency = 3
    options_model = CloudOptions
    account_options_model = CloudAccount


class Reseller(Upstream):
    type_name = "compatible"
    env_credentials = ("VENDOR_API_KEY", "VENDOR_API_KEYS")
    env_name = "vendor"
    base_url = "https://vendor.example/v1"


class Keyless(Upstream):
    type_name = "keyless"
    needs_credential = False


class StandIn(Upstream):
    type_name = "stands"
    needs_credential = False
    stand_in = True


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, type[Upstream]] = {kind.type_name: kind for kind in (Cloud, Reseller, Keyless, StandIn)}
    monkeypatch.setattr(roster, "types", lambda: made)


def read(*stanzas: dict[str, Any], env: Mapping[str, str] = {}) -> list[Configured]:
    return roster.read(Config(upstreams=stanzas), env, Outbound())  # type: ignore[arg-type]


def named(found: list[Configured]) -> dict[str, list[str]]:
    return {one.upstream.name: [account.credential for account in one.accounts] for one in found}


def refused(*stanzas: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as told:
        read(*stanzas)
    return str(told.value)


def cloud(name: str = "mine", *accounts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "cloud", "accounts": accounts or [{"name": "a", "api_key": "k"}]} | fields


# --- the environment ---


def test_with_nothing_configured_the_stand_in_stands_alone() -> None:
    [only] = read()
    assert (only.upstream.name, only.upstream.stand_in) == ("stands", True)
    assert [account.id for account in only.accounts] == ["stands/default"]


def test_a_variable_with_an_s_holds_several_credentials() -> None:
    found = read(env={"CLOUD_TOKENS": " a, b ,,c,a"})
    assert named(found) == {"cloud": ["a", "b", "c"], "stands": [""]}
    assert [account.id for account in found[0].accounts] == ["cloud/env-1", "cloud/env-2", "cloud/env-3"]
    assert {account.base_url for account in found[0].accounts} == {"https://cloud.example/v1"}


def test_a_variable_without_one_holds_one_whatever_is_in_it() -> None:
    assert named(read(env={"CLOUD_TOKEN": "a,b", "CLOUD_TOKENS": "c"}))["cloud"] == ["c", "a,b"]
    assert named(read(env={"VENDOR_API_KEY": "k"})) == {"vendor": ["k"], "stands": [""]}


def test_an_empty_variable_makes_nothing() -> None:
    assert named(read(env={"CLOUD_TOKENS": " , ", "VENDOR_API_KEY": " "})) == {"stands": [""]}


def test_a_variable_may_say_where_the_upstream_lives() -> None:
    [account] = read(env={"CLOUD_TOKEN": "k", "CLOUD_BASE_URL": "http://127.0.0.1:9/"})[0].accounts
    assert account.base_url == "http://127.0.0.1:9"


def test_a_stanza_of_the_same_name_or_type_has_the_word() -> None:
    env = {"CLOUD_TOKEN": "from-env"}
    assert named(read(cloud(), env=env)) == {"mine": ["k"], "stands": [""]}
    elsewhere = cloud(base_url="https://other.example")
    assert named(read(elsewhere, env=env)) == {"mine": ["k"], "cloud": ["from-env"], "stands": [""]}
    assert named(read(cloud("cloud", base_url="https://other.example"), env=env)) == {"cloud": ["k"], "stands": [""]}


# --- stanzas ---


def test_an_account_has_what_it_was_given_and_else_what_its_upstream_has() -> None:
    own = {
        "name": "b", "token": " key\n", "base_url": "https://b.example/", "proxy": "http://127.0.0.1:8080",
        "max_concurrency": 9, "requests_per_minute": 60, "weight": 2, "daily_quota": {"text_to_video": 3},
        "not_models": ["m"], "enabled": False, "tier": 2,
    }  # fmt: skip
    [mine, _] = read(cloud("mine", {"name": "a", "api_key": "k"}, own, base_url="https://mine.example", region="us"))
    a, b = mine.accounts
    assert (a.id, a.name, a.upstream, a.base_url, a.max_concurrency) == (
        "mine/a",
        "a",
        "mine",
        "https://mine.example",
        3,
    )
    assert (a.proxy, a.requests_per_minute, a.weight, a.enabled, a.options) == (None, None, 1.0, True, CloudAccount())
    assert (b.credential, b.base_url, b.proxy) == ("key", "https://b.example", "http://127.0.0.1:8080")
    assert (b.max_concurrency, b.requests_per_minute, b.weight, b.enabled) == (9, 60, 2.0, False)
    assert (b.daily_quota, b.not_models, b.options) == ({"t2v": 3}, {"m"}, CloudAccount(tier=2))
    assert mine.upstream.options == CloudOptions(region="us")
    assert "key" not in repr(b)


def test_the_best_come_first_and_the_stand_in_last() -> None:
    stanzas = [cloud("low"), cloud("high", priority=5), {"name": "s", "type": "stands", "priority": 9}, cloud("mid")]
    assert list(named(read(*stanzas))) == ["high", "low", "mid", "s"]


def test_a_stand_in_that_is_configured_is_not_added_again() -> None:
    assert list(named(read({"name": "mine", "type": "stands"}))) == ["mine"]


def test_who_needs_no_credential_needs_no_account() -> None:
    [keyless, _] = read({"name": "k", "type": "keyless"})
    assert [(account.id, account.credential) for account in keyless.accounts] == [("k/default", "")]


@pytest.mark.parametrize(
    ("stanza", "sentence"),
    [
        (
            {"name": "x", "type": "clowd"},
            "upstreams[0].type: must be one of cloud, compatible, keyless, stands (got 'clowd')",
        ),
        ({"name": "x", "type": "cloud"}, "upstreams[0].accounts: must hold at least one account"),
        (
            cloud("x", {"name": "a", "api_key": "k"}, {"name": "b"}),
            "upstreams[0].accounts[1].api_key: is required for an upstream of type cloud",
        ),
        (cloud(regoin="us"), "upstreams[0].regoin: unknown key; did you mean 'region'?"),
        (
            cloud("x", {"name": "a", "api_key": "k", "tiers": 2}),
            "upstreams[0].accounts[0].tiers: unknown key; did you mean 'tier'?",
        ),
        (
            cloud("x", {"name": "a", "api_key": "k", "tier": 0}),
            "upstreams[0].accounts[0].tier: must be greater than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(stanza: dict[str, Any], sentence: str) -> None:
    assert refused(stanza) == sentence


def test_a_wrong_stanza_after_right_ones_is_named_by_its_place() -> None:
    assert refused(cloud("a"), cloud("b"), {"name": "x", "type": "clowd"}).startswith("upstreams[2].type: ")
