"""Who there is, read from the config, the environment and the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gateway.accounts import stanzas
from gateway.accounts.book import Entry
from gateway.accounts.pool import PoolRules
from gateway.accounts.stanzas import Configured
from gateway.config import AccountConfig, Config
from gateway.errors import ConfigError
from gateway.http import Outbound
from gateway.types import QuotaReset
from tests.unit.accounts.clouds import TYPES, Cloud, CloudAccount, CloudOptions, cloud


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stanzas, "types", lambda: TYPES)


def read(
    *written: dict[str, Any], env: Mapping[str, str] = {}, entries: Sequence[Entry] | None = None, **config: Any
) -> list[Configured]:
    given = Config(upstreams=written, **config)  # type: ignore[arg-type]
    return stanzas.read(given, env, Outbound(), entries)


def named(found: list[Configured]) -> dict[str, list[str]]:
    return {one.upstream.name: [account.credential for account in one.accounts] for one in found}


def refused(*written: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as told:
        read(*written)
    return str(told.value)


def entry(upstream: str, name: str = "x", *, problem: str | None = None, **given: Any) -> Entry:
    """An account of the database, with the credential `kept`."""
    brought = {key: given.pop(key) for key in ("type", "upstream_url") if key in given}
    account = AccountConfig.model_validate({"name": name, "api_key": "kept"} | given)
    return Entry(upstream, account, brought.get("type"), brought.get("upstream_url"), problem=problem)


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


def test_limits_and_what_people_say_of_it_are_the_account_s_own() -> None:
    own = {
        "name": "a", "api_key": "k", "priority": 2, "tokens_per_minute": 9000, "min_interval": 1.5,
        "tags": ["eu", "paid"], "label": "the good one",
    }  # fmt: skip
    [account] = read(cloud("mine", own))[0].accounts
    assert (account.priority, account.tokens_per_minute, account.min_interval) == (2, 9000, 1.5)
    assert (account.tags, account.label, account.source) == ({"eu", "paid"}, "the good one", "config")


def test_quotas_come_back_when_the_stanza_says_and_else_when_the_type_does() -> None:
    stated = cloud("stated", quota_reset={"hour": 9, "zone": "Asia/Shanghai"})
    found = {one.stanza.name: one.accounts[0] for one in read(stated, cloud("silent"))}
    assert found["stated"].quota_reset == QuotaReset(9, "Asia/Shanghai")
    assert found["silent"].quota_reset == Cloud.quota_reset == QuotaReset(4)
    assert found["stands"].quota_reset == QuotaReset()


def test_where_an_account_comes_from_is_known() -> None:
    found = read({"name": "k", "type": "keyless"}, env={"CLOUD_TOKEN": "t"}, entries=[entry("k")])
    told = {account.id: account.source for one in found for account in one.accounts}
    assert told == {
        "k/default": "config",
        "k/x": "database",
        "cloud/env-1": "environment",
        "stands/default": "built in",
    }


def test_how_accounts_are_shared_goes_with_them() -> None:
    stanza = cloud("mine", selection="sticky", max_concurrency=40)
    mine, stands = read(stanza, pool={"max_waiting": 7, "retry_budget": 0.5})
    assert mine.rules == PoolRules("sticky", 40, 7, 0.5)
    assert stands.rules == PoolRules("least_loaded", None, 7, 0.5)


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


# --- the database ---


def test_accounts_of_the_database_come_after_those_of_the_stanza() -> None:
    found = read(cloud("mine"), entries=[entry("mine", "b", weight=3), entry("mine", "c")])
    assert named(found)["mine"] == ["k", "kept", "kept"]
    assert [account.id for account in found[0].accounts] == ["mine/a", "mine/b", "mine/c"]
    assert found[0].accounts[1].weight == 3


def test_the_config_has_the_word_where_both_have_a_name() -> None:
    assert named(read(cloud("mine"), entries=[entry("mine", "a")]))["mine"] == ["k"]


def test_a_stanza_may_stand_without_accounts_where_the_database_can_hold_them() -> None:
    bare = {"name": "mine", "type": "cloud"}
    assert named(read(bare, entries=[])) == {"mine": [], "stands": [""]}
    assert named(read(bare, entries=[entry("mine")])) == {"mine": ["kept"], "stands": [""]}


def test_an_account_may_bring_its_upstream_with_it() -> None:
    far = entry("far", type="cloud", upstream_url="https://far.example")
    [one, _] = read(entries=[far, entry("far", "y", type="cloud", base_url="https://y.example")])
    assert (one.upstream.name, type(one.upstream), one.stanza.base_url) == ("far", Cloud, "https://far.example")
    assert [account.base_url for account in one.accounts] == ["https://far.example", "https://y.example"]


@pytest.mark.parametrize("name", ["cloud", "vendor", "mine"])
def test_an_account_goes_nowhere_when_the_stanza_it_was_added_to_is_gone(name: str) -> None:
    stanza = {"name": name, "type": "cloud", "base_url": "https://ours.example"}
    [there, _] = read(stanza, entries=[entry(name)])
    assert (there.accounts[0].credential, there.accounts[0].unusable) == ("kept", "")
    [gone, _] = read(entries=[entry(name)])
    assert gone.accounts[0].credential == ""
    assert gone.accounts[0].unusable == f"the upstream {name!r} that it was added to is no longer configured"


def test_who_brings_an_upstream_says_what_it_is_whoever_was_added_first() -> None:
    [one, _] = read(entries=[entry("far", "early"), entry("far", "late", type="cloud")])
    assert type(one.upstream) is Cloud
    assert [bool(account.unusable) for account in one.accounts] == [True, False]


def test_an_account_that_needs_no_stanza_stays_when_one_comes() -> None:
    mine = entry("cloud", type="cloud", upstream_url="https://mine.example")
    [alone, _] = read(entries=[mine])
    [beside, _] = read(entries=[mine], env={"CLOUD_TOKEN": "t"})
    assert [account.id for account in beside.accounts] == ["cloud/env-1", "cloud/x"]
    assert beside.accounts[1].base_url == alone.accounts[0].base_url == "https://mine.example", "its credential stays"


def test_the_stand_in_takes_accounts_and_keeps_its_own() -> None:
    [only] = read(entries=[entry("stands")])
    assert (only.upstream.stand_in, [account.id for account in only.accounts]) == (True, ["stands/default", "stands/x"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (entry("mine", problem="its credential cannot be opened"), "its credential cannot be opened"),
        (entry("mine", tier=0), "mine/x.tier: must be greater than or equal to 1"),
        (entry("mine", api_key=""), "mine/x.api_key: is required for an upstream of type cloud"),
        (entry("mine", type="keyless"), "it was added to a keyless, and 'mine' is a cloud now"),
        (
            entry("gone", type="clowd"),
            "upstream 'gone'.type: must be one of cloud, compatible, keyless, stands (got 'clowd')",
        ),
    ],
)
def test_what_is_wrong_in_the_database_keeps_nobody_else_from_serving(wrong: Entry, why: str) -> None:
    found = {account.id: account for one in read(cloud("mine"), entries=[wrong]) for account in one.accounts}
    assert (found["mine/a"].unusable, found["mine/a"].enabled) == ("", True)
    aside = found[wrong.id]
    assert (aside.unusable, aside.enabled, aside.credential, aside.source) == (why, False, "", "database")


def test_an_upstream_that_can_do_nothing_does_nothing() -> None:
    [gone, stands] = read(entries=[entry("gone", type="clowd")])
    assert (gone.upstream.operations(), gone.upstream.cards(), gone.upstream.stand_in) == (frozenset(), (), False)
    assert stands.upstream.stand_in
