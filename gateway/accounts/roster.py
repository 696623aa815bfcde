"""Who there is, live: the upstreams and pools that serve now, changed in place while they serve.

A change is whole or not at all. Everything is read and made first, and what is wrong there leaves all as it was; then
it is put in the place of what was in one go, with nothing else happening in between. Requests under way keep the
upstream and the account that they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog
from pydantic import ValidationError

from gateway.accounts import stanzas
from gateway.accounts.book import Book, Entry
from gateway.accounts.facts import Fact
from gateway.accounts.pool import Pool, PoolRules
from gateway.accounts.stanzas import Configured, Part, read
from gateway.config import AccountConfig, Config, UpstreamConfig, read_options
from gateway.config.problems import config_error, sentences
from gateway.errors import ConfigError, DatabaseUnavailable
from gateway.http import Outbound
from gateway.types import Account
from gateway.upstreams.base import Upstream

__all__ = ["TOPIC", "Configured", "Roster", "read"]

TOPIC: Final = "accounts"
"""What processes tell each other when the accounts of the database have changed."""

log = structlog.get_logger(__name__)


class Roster:
    """`upstreams` and `pools` by name. Who holds them sees every change.

    One that is gone stays a while, without accounts: work that was begun there finds nobody, and says so.
    """

    def __init__(
        self,
        config: Config,
        env: Mapping[str, str],
        http: Outbound,
        make_pool: Callable[[Configured], Pool],
        book: Book | None = None,
        publish: Callable[[str], None] = lambda _topic: None,
    ) -> None:
        """Nothing is there before `load`. `publish` tells the other processes."""
        self.config = config
        self.upstreams: dict[str, Upstream] = {}
        self.pools: dict[str, Pool] = {}
        self.found: tuple[Configured, ...] = ()
        """Those that are configured now, best first."""
        self.changed: Callable[[], None] = lambda: None
        """Called with every change, as a part of it."""
        self.remember: Callable[[], Awaitable[None]] = _nothing
        """Has `learn` called with what is known against accounts. Raises DatabaseUnavailable."""
        self._env = env
        self._http = http
        self._make_pool = make_pool
        self._book = book
        self._publish = publish
        self._accounts: dict[str, Account] = {}
        self._turn = asyncio.Lock()
        self._shadowed: frozenset[str] = frozenset()
        """Accounts of the database that go by a name which a stanza has."""
        self._bare: frozenset[str] = frozenset()
        """Upstreams without accounts."""
        self._new = False
        """Whether there are accounts that nothing was learnt of."""

    async def load(self, *, tell: bool = True) -> None:
        """Go by what the database holds now, and tell other processes to. Raises ConfigError, DatabaseUnavailable."""
        async with self._turn:
            self._apply(self.config, await self._entries())
        if tell:
            self._publish(TOPIC)
        await self.recall()

    async def reload(self, config: Config) -> None:
        """Go by another config; `recall` is to follow. Raises ConfigError, DatabaseUnavailable; then all is as it was.

        Between the change and the return nothing else happens.
        """
        async with self._turn:
            self._apply(config, await self._entries())

    async def recall(self) -> None:
        """Learn what is known against accounts that are new here: they may have been here before, or be elsewhere."""
        if not self._new:
            return
        self._new = False
        try:
            await self.remember()
        except BaseException as error:
            self._new = True
            if not isinstance(error, DatabaseUnavailable):
                raise
            log.warning("what is known against new accounts is not known yet", code=error.code)

    def learn(self, account_id: str, facts: Sequence[Fact]) -> None:
        """All that is known against an account, which may be one that is no more."""
        if (pool := self.pools.get(account_id.partition("/")[0])) is not None:
            pool.learn(account_id, facts)

    @property
    def stand_in(self) -> bool:
        """Whether nobody is configured, so that the stand-in answers every name."""
        return all(one.upstream.stand_in for one in self.found)

    def account(self, upstream: str, name: str) -> Account | None:
        return self._accounts.get(f"{upstream}/{name}")

    def check(
        self, upstream: str, type_name: str | None, given: AccountConfig, *, base_url: str | None = None
    ) -> Account:
        """The account that `given` would be in the database. Raises ConfigError that names the key which forbids it.

        `type_name` and `base_url` are of the upstream, where the account brings it with it.
        """
        stanza = next((one.stanza for one in self.found if one.stanza.name == upstream), None)
        if stanza is None:
            stanza = _new_stanza(upstream, type_name, base_url)
        elif type_name not in (None, stanza.type):
            raise ConfigError(f"type: the upstream {upstream!r} is of type {stanza.type}, not {type_name}")
        kind = stanzas.kind_of(stanza.type, "")
        read_options(stanza, kind.options_model, "")
        known = self.account(upstream, given.name)
        if known is not None and known.source != "database":
            raise ConfigError(f"name: {known.id!r} is an account of the {known.source}; change it there")
        return stanzas.account("", Part("", "database", stanza), kind, given)

    # --- inside ---

    async def _entries(self) -> Sequence[Entry] | None:
        return None if self._book is None else await self._book.all()

    def _apply(self, config: Config, entries: Sequence[Entry] | None) -> None:
        before = {one.stanza.name: one for one in self.found}
        found = {one.stanza.name: one for one in read(config, self._env, self._http, entries, before)}
        made = {name: self._make_pool(one) for name, one in found.items() if name not in self.pools}
        # Nothing fails from here on.
        self._forget(self.pools.keys() - before.keys() - found.keys())
        for name, pool in self.pools.items():
            one = found.get(name)
            pool.rebind(one.accounts if one else (), one.rules if one else PoolRules())
        self.pools.update(made)
        self.upstreams.update({name: one.upstream for name, one in found.items()})
        self.config, self.found = config, tuple(found.values())
        accounts = {account.id: account for one in self.found for account in one.accounts}
        self._new = self._new or not accounts.keys() <= self._accounts.keys()
        self._accounts = accounts
        self._warn(entries or ())
        self.changed()

    def _forget(self, gone: Iterable[str]) -> None:
        """Those that were gone at the last change, and have nothing more to do."""
        for name in gone:
            if not self.pools[name].in_flight and not self.pools[name].waiting:
                del self.pools[name], self.upstreams[name]

    def _warn(self, entries: Sequence[Entry]) -> None:
        """Of what an operator may not have meant, once."""
        others = {account.id for account in self._accounts.values() if account.source != "database"}
        shadowed = frozenset(entry.id for entry in entries if entry.id in others)
        bare = frozenset(one.stanza.name for one in self.found if not one.accounts)
        if shadowed - self._shadowed:
            log.warning(
                "accounts of the database not used: the config or the environment has others of their names",
                accounts=sorted(shadowed),
            )
        if bare - self._bare:
            log.warning(
                "upstreams without accounts: name one in the config, or add one while the gateway runs",
                upstreams=sorted(bare),
            )
        self._shadowed, self._bare = shadowed, bare


async def _nothing() -> None:
    pass


def _new_stanza(name: str, type_name: str | None, base_url: str | None) -> UpstreamConfig:
    """Of an upstream that an account would bring with it."""
    entry = Entry(name, AccountConfig.model_construct(), type_name, base_url)
    try:
        return UpstreamConfig(name=name, type=stanzas.own_stanza(entry).type, base_url=base_url)
    except ValidationError as error:
        problems = sentences(error, UpstreamConfig)
        raise config_error(
            [(("upstream",) if where == ("name",) else where, text) for where, text in problems]
        ) from None
