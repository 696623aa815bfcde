"""Who there is, read: from the stanzas of the config, from the environment, from what the database holds.

No provider is named here: each says itself which variables make an account of it, and which stands in while nobody
else is configured. What the config says wrong is an error. What is wrong in the database must keep nobody from
serving: such an account is there, and is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import SecretStr

from gateway.accounts.book import Entry
from gateway.accounts.pool import PoolRules
from gateway.config import AccountConfig, Config, UpstreamConfig, read_options
from gateway.config.problems import path_of
from gateway.errors import ConfigError
from gateway.http import Outbound
from gateway.types import Account, AccountSource, QuotaReset
from gateway.upstreams import types
from gateway.upstreams.base import Options, Upstream


@dataclass(frozen=True, slots=True)
class Configured:
    """An upstream with what its stanza says of it."""

    upstream: Upstream
    stanza: UpstreamConfig
    accounts: tuple[Account, ...]
    rules: PoolRules


class Part(NamedTuple):
    """A stanza, and where it stands."""

    path: str
    source: AccountSource
    stanza: UpstreamConfig


def read(
    config: Config,
    env: Mapping[str, str],
    http: Outbound,
    entries: Sequence[Entry] | None = None,
    before: Mapping[str, Configured] | None = None,
) -> list[Configured]:
    """Every upstream, best first; the stand-in is always among them. Raises ConfigError naming the key's path.

    `entries`: what the database holds; where it can hold any, a stanza may stand without accounts.
    `before`: what there was, by name. What is the same upstream still stays the same object, with all it remembers.
    """
    parts = parts_of(config, env, entries or ())
    held: dict[str, list[Entry]] = {part.stanza.name: [] for part in parts}
    for entry in entries or ():
        held[entry.upstream].append(entry)
    found = []
    for part in parts:
        name, stanza = part.stanza.name, part.stanza
        upstream, fault = _upstream(part, http, (before or {}).get(name))
        accounts = _accounts(part, type(upstream), held[name], fault)
        if not accounts and entries is None:
            raise ConfigError(f"{part.path}.accounts: must hold at least one account")
        found.append(Configured(upstream, stanza, accounts, _rules(config, stanza)))
    return sorted(found, key=lambda one: (one.upstream.stand_in, -one.stanza.priority))


# --- upstreams ---


def parts_of(config: Config, env: Mapping[str, str], entries: Sequence[Entry]) -> list[Part]:
    """Every stanza: those written, those that variables make, those of the database, and the stand-ins."""
    parts = [Part(f"upstreams[{index}]", "config", stanza) for index, stanza in enumerate(config.upstreams)]
    parts += [Part("environment", "environment", stanza) for stanza in _from_environment(config.upstreams, env)]
    built_in = [Part("built in", "built in", stanza) for stanza in _stand_ins([part.stanza for part in parts])]
    own = {part.stanza.name: part for part in (*parts, *built_in)}
    for entry in sorted(entries, key=lambda entry: entry.type is None):  # who brings it knows what it is
        own.setdefault(entry.upstream, Part(f"upstream {entry.upstream!r}", "database", own_stanza(entry)))
    return list(own.values())


def _from_environment(stanzas: Sequence[UpstreamConfig], env: Mapping[str, str]) -> Iterable[UpstreamConfig]:
    """Upstreams made by variables alone. A stanza of the same name or type has the word instead."""
    taken = {stanza.name for stanza in stanzas} | {stanza.type for stanza in stanzas if not stanza.base_url}
    for name, kind in sorted(types().items()):
        credentials = _credentials(kind, env)
        if not credentials or (kind.env_name or name) in taken or name in taken:
            continue
        accounts = tuple(
            AccountConfig(name=f"env-{number}", api_key=SecretStr(credential))
            for number, credential in enumerate(credentials, 1)
        )
        base_url = env.get(kind.env_base_url, "").strip() if kind.env_base_url else ""
        yield UpstreamConfig(name=kind.env_name or name, type=name, base_url=base_url or None, accounts=accounts)


def _credentials(kind: type[Upstream], env: Mapping[str, str]) -> list[str]:
    found: dict[str, None] = {}
    for variable in kind.env_credentials:
        for part in env.get(variable, "").split(",") if variable.endswith("S") else [env.get(variable, "")]:
            if part.strip():
                found[part.strip()] = None
    return list(found)


def _stand_ins(stanzas: Sequence[UpstreamConfig]) -> Iterable[UpstreamConfig]:
    present = {stanza.type for stanza in stanzas}
    for name, kind in types().items():
        if kind.stand_in and name not in present:
            yield UpstreamConfig(name=name, type=name)


def own_stanza(entry: Entry) -> UpstreamConfig:
    """Of an upstream that only the database knows. Nothing is refused here: who wrote it there was asked for it."""
    named = (name for name, kind in types().items() if entry.upstream in (name, kind.env_name))
    given = entry.type or next(named, entry.upstream)
    return UpstreamConfig.model_construct(name=entry.upstream, type=given, base_url=entry.base_url)


def _upstream(part: Part, http: Outbound, before: Configured | None) -> tuple[Upstream, str]:
    """The upstream of a stanza, or one of the database that can do nothing, and why."""
    try:
        kind = kind_of(part.stanza.type, part.path)
        if before is not None and type(before.upstream) is kind and _same(before.stanza, part.stanza):
            return before.upstream, ""
        return kind(part.stanza.name, read_options(part.stanza, kind.options_model, part.path), http), ""
    except ConfigError as error:
        if part.source != "database":
            raise
        return Upstream(part.stanza.name, Options(), http), str(error)


def kind_of(given: str, path: str) -> type[Upstream]:
    """The type of upstreams that goes by a name. Raises ConfigError."""
    if (kind := types().get(given)) is None:
        raise ConfigError(f"{path_of((path, 'type'))}: must be one of {', '.join(sorted(types()))} (got {given!r})")
    return kind


def _rules(config: Config, stanza: UpstreamConfig) -> PoolRules:
    pool = config.pool
    return PoolRules(stanza.selection, stanza.max_concurrency, pool.max_waiting, pool.retry_budget)


def _same(one: UpstreamConfig, other: UpstreamConfig) -> bool:
    """Whether two stanzas are of one upstream, whatever accounts it has and however they are shared."""
    return (one.type, one.base_url, one.options) == (other.type, other.base_url, other.options)


# --- accounts ---


def _accounts(part: Part, kind: type[Upstream], entries: Iterable[Entry], fault: str) -> tuple[Account, ...]:
    """Those of the stanza, then those of the database but for names that the stanza has."""
    given = part.stanza.accounts
    if not given and not kind.needs_credential and part.source != "database":
        given = (AccountConfig(name="default"),)
    written = [account(f"{part.path}.accounts[{index}]", part, kind, one) for index, one in enumerate(given)]
    taken = {one.name for one in written}
    return (*written, *(_held(part, kind, one, fault) for one in entries if one.account.name not in taken))


def account(path: str, part: Part, kind: type[Upstream], given: AccountConfig) -> Account:
    """An account as its stanza and its upstream complete it. Raises ConfigError for what they do not allow."""
    stanza, reset = part.stanza, part.stanza.quota_reset
    if given.api_key is None and kind.needs_credential:
        raise ConfigError(f"{path_of((path, 'api_key'))}: is required for an upstream of type {stanza.type}")
    return Account(
        id=f"{stanza.name}/{given.name}",
        name=given.name,
        upstream=stanza.name,
        credential=given.api_key.get_secret_value() if given.api_key else "",
        base_url=(given.base_url or stanza.base_url or kind.base_url).rstrip("/"),
        proxy=given.proxy,
        weight=given.weight,
        max_concurrency=given.max_concurrency or kind.max_concurrency,
        priority=given.priority,
        requests_per_minute=given.requests_per_minute,
        tokens_per_minute=given.tokens_per_minute,
        min_interval=given.min_interval,
        daily_quota=dict(given.daily_quota),
        quota_reset=QuotaReset(reset.hour, reset.zone) if reset else kind.quota_reset,
        not_models=frozenset(given.not_models),
        tags=frozenset(given.tags),
        label=given.label,
        source=part.source,
        enabled=given.enabled,
        options=read_options(given, kind.account_options_model, path),
    )


def _held(part: Part, kind: type[Upstream], entry: Entry, fault: str) -> Account:
    """An account of the database. What is wrong with it sets it aside, and is told with it."""
    given, stanza = entry.account, part.stanza
    try:
        if entry.type is None and part.source == "database":  # nobody knows any more where its credential may go
            raise ConfigError(f"the upstream {stanza.name!r} that it was added to is no longer configured")
        if fault or entry.problem:
            raise ConfigError(fault or entry.problem)
        if entry.type not in (None, stanza.type):
            raise ConfigError(f"it was added to a {entry.type}, and {stanza.name!r} is a {stanza.type} now")
        if entry.base_url is not None and given.base_url is None:  # its credential goes nowhere else
            given = given.model_copy(update={"base_url": entry.base_url})
        return account(entry.id, part._replace(source="database"), kind, given)
    except ConfigError as error:
        return Account(
            id=entry.id,
            name=given.name,
            upstream=stanza.name,
            tags=frozenset(given.tags),
            label=given.label,
            source="database",
            enabled=False,
            unusable=str(error),
        )
