"""Who there is: upstreams and their accounts, from the stanzas of the config and from the environment.

No provider is named here: each says itself which variables make an account of it, and which stands in while nobody
else is configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from gateway.config import AccountConfig, Config, UpstreamConfig, read_options
from gateway.errors import ConfigError
from gateway.http import Outbound
from gateway.types import Account
from gateway.upstreams import types
from gateway.upstreams.base import Upstream


@dataclass(frozen=True, slots=True)
class Configured:
    """An upstream with what its stanza says of it."""

    upstream: Upstream
    stanza: UpstreamConfig
    accounts: tuple[Account, ...]


def read(config: Config, env: Mapping[str, str], http: Outbound) -> list[Configured]:
    """Every upstream, best first; the stand-in is always among them. Raises ConfigError naming the key's path."""
    stanzas = [(f"upstreams[{index}]", stanza) for index, stanza in enumerate(config.upstreams)]
    stanzas += [("environment", stanza) for stanza in _from_environment(config.upstreams, env)]
    stanzas += [("built in", stanza) for stanza in _stand_ins([stanza for _, stanza in stanzas])]
    found = [_configured(path, stanza, env, http) for path, stanza in stanzas]
    return sorted(found, key=lambda one: (one.upstream.stand_in, -one.stanza.priority))


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


def _configured(path: str, stanza: UpstreamConfig, env: Mapping[str, str], http: Outbound) -> Configured:
    kind = types().get(stanza.type)
    if kind is None:
        raise ConfigError(f"{path}.type: must be one of {', '.join(sorted(types()))} (got {stanza.type!r})")
    options = read_options(stanza, kind.options_model, path)
    given = stanza.accounts or (() if kind.needs_credential else (AccountConfig(name="default"),))
    if not given:
        raise ConfigError(f"{path}.accounts: must hold at least one account")
    accounts = tuple(
        _account(f"{path}.accounts[{index}]", kind, stanza, account) for index, account in enumerate(given)
    )
    return Configured(kind(stanza.name, options, http), stanza, accounts)


def _account(path: str, kind: type[Upstream], stanza: UpstreamConfig, given: AccountConfig) -> Account:
    if given.api_key is None and kind.needs_credential:
        raise ConfigError(f"{path}.api_key: is required for an upstream of type {stanza.type}")
    return Account(
        id=f"{stanza.name}/{given.name}",
        name=given.name,
        upstream=stanza.name,
        credential=given.api_key.get_secret_value() if given.api_key else "",
        base_url=(given.base_url or stanza.base_url or kind.base_url).rstrip("/"),
        proxy=given.proxy,
        weight=given.weight,
        max_concurrency=given.max_concurrency or kind.max_concurrency,
        requests_per_minute=given.requests_per_minute,
        daily_quota=dict(given.daily_quota),
        not_models=frozenset(given.not_models),
        enabled=given.enabled,
        options=read_options(given, kind.account_options_model, path),
    )
