"""The configuration read again while the gateway runs, as SIGHUP asks.

Accounts, models, keys and how requests share accounts are gone by at once; what a start alone can change is named. A
configuration with something wrong in it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from pydantic import BaseModel

from gateway.access.keys import Keyring, KeySpec
from gateway.accounts.roster import Configured
from gateway.config import AccessConfig, Config, KeyConfig
from gateway.errors import ConfigError, DatabaseUnavailable
from gateway.routes.house import House
from gateway.types import Webhook

LIVE: Final = ("upstreams", "pool", "models", "access", "retention")
"""What is gone by at once."""
RESTART: Final = tuple(name for name in Config.model_fields if name not in LIVE)

log = structlog.get_logger(__name__)


class Reload:
    """Brings the configuration as it is written now into a house. `read` reads it, in a thread."""

    def __init__(self, house: House, read: Callable[[], Config]) -> None:
        self._house = house
        self._read = read
        self._asked = False
        self._going: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Do it soon, on the loop that runs. Whoever asks while it is being done has it done once more after that."""
        self._asked = True
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._run(), name="reload")

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            try:
                await self.now()
            except ConfigError as error:
                log.error("config not reloaded, the one before stays", problem=str(error))
            except DatabaseUnavailable as error:
                log.error("config not reloaded, the one before stays", problem=error.message, code=error.code)
            except Exception:
                log.exception("config not reloaded, the one before stays")

    async def now(self) -> None:
        """Raises ConfigError, DatabaseUnavailable; then nothing has changed."""
        house = self._house
        config = await asyncio.to_thread(self._read)
        keyring = keyring_of(config.access)
        before, found = house.config, house.roster.found
        await house.roster.reload(config)
        # Nothing else comes in between: a request finds all of the one configuration, or all of the other.
        house.keyring = keyring
        house.config = before.model_copy(update={name: getattr(config, name) for name in LIVE})
        log.info("config reloaded", **changes(before, config, found, house.roster.found))
        if keyring.empty and before.access.keys:
            log.warning("no API keys any more: this machine alone is let in, without one")
        if waiting := differences(before, config, RESTART):
            log.warning(f"needs a restart: {', '.join(waiting)}")
        await house.roster.recall()


def keyring_of(access: AccessConfig) -> Keyring:
    """Who is let in. Raises ConfigError."""
    return Keyring(_key(key) for key in access.keys)


def _key(key: KeyConfig) -> KeySpec:
    webhook = Webhook(key.webhook_url, key.webhook_events) if key.webhook_url else None
    return KeySpec.of(key.name, key.key.get_secret_value(), key.role, webhook, key.account_tags)


def differences(before: Config, after: Config, sections: Iterable[str]) -> list[str]:
    """The paths of what differs. Never the values: some are secrets."""
    found: list[str] = []
    for name in sections:
        one, other = getattr(before, name), getattr(after, name)
        if isinstance(one, BaseModel):
            found += [f"{name}.{key}" for key in type(one).model_fields if getattr(one, key) != getattr(other, key)]
        elif one != other:
            found.append(name)
    return found


def changes(
    before: Config, after: Config, found: Iterable[Configured], found_now: Iterable[Configured]
) -> dict[str, list[str]]:
    """What another configuration brought, by names, for the log."""
    found, found_now = tuple(found), tuple(found_now)
    told = {
        **_compared("upstreams", _stanzas(found), _stanzas(found_now)),
        **_compared("accounts", _accounts(found), _accounts(found_now)),
        **_compared("keys", _keys(before), _keys(after)),
        "settings_changed": differences(before, after, ("pool", "models", "retention")),
    }
    return {what: names for what, names in told.items() if names}


def _compared(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, list[str]]:
    return {
        f"{what}_added": sorted(after.keys() - before.keys()),
        f"{what}_removed": sorted(before.keys() - after.keys()),
        f"{what}_changed": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
    }


def _stanzas(found: Iterable[Configured]) -> dict[str, object]:
    return {one.stanza.name: one.stanza.model_copy(update={"accounts": ()}) for one in found}


def _accounts(found: Iterable[Configured]) -> dict[str, object]:
    return {account.id: account for one in found for account in one.accounts}


def _keys(config: Config) -> dict[str, object]:
    return {key.name: key for key in config.access.keys}
