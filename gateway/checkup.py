"""`mediagate check`: everything a start needs, looked at without starting and without spending."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.access.sealing import Sealer
from gateway.accounts import stanzas
from gateway.accounts.book import Book, Entry
from gateway.accounts.stanzas import Configured
from gateway.config import Config
from gateway.db.engine import Database
from gateway.db.migrate import needs_migration
from gateway.errors import ConfigError, GatewayError
from gateway.http import Outbound, Timeouts
from gateway.storage import Storage
from gateway.types import Account


async def checkup(config: Config, env: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Say how each part stands, a line each. Returns how many are not fit to serve."""
    http = Outbound(Timeouts(**config.timeouts.model_dump()))
    await http.start()
    try:
        stanzas.read(config, env, http, ())
        say("config     ok")
        entries, problems = await _database(config, say)
        problems += await _storage(config, say)
        found = stanzas.read(config, env, http, entries)
        for one in found:
            if not one.accounts:
                say(f"{one.upstream.name}   has no accounts")
            for account in one.accounts:
                problems += await _account(one, account, say)
        return problems
    finally:
        await http.close()


async def _database(config: Config, say: Callable[[str], None]) -> tuple[Sequence[Entry], int]:
    """The accounts that it holds, and whether something is wrong with it."""
    database = Database(config.database_url)
    entries: Sequence[Entry] = ()
    try:
        await database.start()
        behind = await needs_migration(database)
        if not behind:
            entries = await Book(database, Sealer.of(config)).all()
    except (ConfigError, GatewayError) as error:
        say(f"database   {error}")
        return (), 1
    finally:
        await database.close()
    say("database   ok" + (", its schema is brought up to date at the next start" if behind else ""))
    return entries, 0


async def _storage(config: Config, say: Callable[[str], None]) -> int:
    try:
        await Storage.open(config.storage.url).check()
    except (ConfigError, GatewayError) as error:
        say(f"storage    {error}" + (f" [{error.detail}]" if isinstance(error, GatewayError) and error.detail else ""))
        if isinstance(error, GatewayError) and error.advice:
            say(f"           {error.advice}")
        return 1
    say("storage    ok")
    return 0


async def _account(one: Configured, account: Account, say: Callable[[str], None]) -> int:
    if account.unusable:
        say(f"{account.id}   {account.unusable}")
        return 1
    if "probe" not in one.upstream.operations():
        say(f"{account.id}   cannot be asked without spending")
        return 0
    try:
        await one.upstream.probe(account)
    except GatewayError as error:
        say(f"{account.id}   {error}")
        return 1
    say(f"{account.id}   ok")
    return 0
