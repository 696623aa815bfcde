"""The accounts that operators added while the gateway ran: rows whose credentials only the master key opens.

A sealed value names the account and the column that it was sealed for, so that one moved to another row does not open
there. A type's own keys are kept unsealed, with the other settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import structlog
from pydantic import ValidationError
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.access.sealing import UNOPENABLE, Sealer
from gateway.config import AccountConfig
from gateway.config.problems import path_of, sentences
from gateway.db.engine import Database
from gateway.db.tables import accounts, file_copies, standings
from gateway.errors import Conflict, NotFound, SealBroken

Sealed = Literal["credential", "proxy"]
"""The columns whose text is sealed."""
FIELD_OF: Final[Mapping[Sealed, str]] = {"credential": "api_key", "proxy": "proxy"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """An account of the book."""

    upstream: str
    account: AccountConfig
    """Without what cannot be opened."""
    type: str | None = None
    """Where it brings its upstream with it: the upstream's type."""
    base_url: str | None = None
    """Of the upstream that it brings. None: the type's own."""
    created_at: float = 0.0
    """Unix seconds."""
    updated_at: float = 0.0
    problem: str | None = None
    """Why it cannot serve, and what to do, where its row cannot be read whole."""
    closed: frozenset[Sealed] = frozenset()
    """What no key opens."""
    legible: bool = True
    """Whether its settings are ones that an account can have; else `account` has its name alone."""

    @property
    def id(self) -> str:
        return f"{self.upstream}/{self.account.name}"


class Book:
    """The accounts table, opened. Everything raises DatabaseUnavailable, and NoMasterKey where something must be
    sealed and cannot be."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def all(self) -> list[Entry]:
        """Every account, oldest first; one that cannot be read is there too and says why."""
        return [self._entry(row) for row in await self._rows()]

    async def find(self, account_id: str) -> Entry | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(accounts).where(accounts.c.id == account_id))).one_or_none()
        return None if row is None else self._entry(row)

    async def add(
        self, upstream: str, account: AccountConfig, *, type: str | None = None, base_url: str | None = None
    ) -> None:
        """Write a new one. `type` and `base_url` are of the upstream, where the account brings it with it.

        Raises Conflict (code `account_exists`).
        """
        now = self._database.now()
        entry = Entry(upstream, account, type, base_url)
        row = {"id": entry.id, "upstream": upstream, "name": account.name, "settings": _settings(entry)}
        row |= {column: self._sealed(entry.id, column, account) for column in get_args(Sealed)}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(accounts).values(**row, created_at=now, updated_at=now))
        except IntegrityError as exc:
            raise exists(entry.id) from exc

    async def change(self, known: Entry, account: AccountConfig) -> None:
        """Write `account` in the place of what was known. What no key opens stays as it is unless it is given anew.

        Raises Conflict where somebody changed it meanwhile.
        """
        values: dict[str, Any] = {"settings": _settings(Entry(known.upstream, account, known.type, known.base_url))}
        for column in get_args(Sealed):
            if column not in known.closed or _plain(account, column) is not None:
                values[column] = self._sealed(known.id, column, account)
        values["updated_at"] = max(self._database.now(), math.nextafter(known.updated_at, math.inf))
        unchanged = (accounts.c.id == known.id) & (accounts.c.updated_at == known.updated_at)
        async with self._database.write() as connection:
            written = await connection.execute(update(accounts).where(unchanged).values(values))
        if not written.rowcount:
            raise Conflict(f"account {known.id!r} was changed by somebody else meanwhile; look at it and try again")

    async def remove(self, account_id: str, *, shadowed: bool = False) -> None:
        """Forget an account and what was known of it: who gets its name one day is another.

        `shadowed`: the config has one of its name, and what is known is of that one. Raises NotFound.
        """
        async with self._database.write() as connection:
            gone = await connection.execute(delete(accounts).where(accounts.c.id == account_id))
            for table in () if shadowed else (file_copies, standings):
                await connection.execute(delete(table).where(table.c.account_id == account_id))
        if not gone.rowcount:
            raise NotFound(f"no account {account_id[:140]!r} was added to this gateway", code="account_not_found")

    async def reseal(self) -> int:
        """Seal with the newest key what a previous one sealed; log which accounts none opens. Returns how many were."""
        rows = await self._rows()
        if closed := [row.id for row in rows if self._entry(row).closed]:
            log.error("credentials of accounts cannot be opened", accounts=closed, reason=UNOPENABLE)
        if not self._sealer.able:
            return 0
        stale = [(row, values) for row in rows if (values := self._resealed(row))]
        async with self._database.write() as connection:
            for row, values in stale:
                as_read = [accounts.c[column] == getattr(row, column) for column in values]
                await connection.execute(update(accounts).where(accounts.c.id == row.id, *as_read).values(values))
        if stale:
            log.info("credentials of accounts sealed anew", accounts=len(stale))
        return len(stale)

    # --- inside ---

    async def _rows(self) -> list[Row[Any]]:
        async with self._database.read() as connection:
            found = await connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
            return list(found.all())

    def _entry(self, row: Row[Any]) -> Entry:
        opened, problems, closed = {}, [], set()
        for column in get_args(Sealed):
            try:
                opened[FIELD_OF[column]] = self._opened(row, column)
            except SealBroken as error:
                closed.add(column)
                problems.append(f"its {column} cannot be opened: {error}")
        settings, legible = json.loads(row.settings), True
        given = settings["account"] | {name: text for name, text in opened.items() if text is not None}
        try:
            account = AccountConfig.model_validate({**given, "name": row.name})
        except ValidationError as error:
            account, legible = AccountConfig.model_construct({"name"}, name=row.name), False
            problems += [f"its {path_of(location)} {text}" for location, text in sentences(error, AccountConfig)]
        return Entry(
            upstream=row.upstream,
            account=account,
            type=settings.get("type"),
            base_url=settings.get("base_url"),
            created_at=row.created_at,
            updated_at=row.updated_at,
            problem="; ".join(problems) or None,
            closed=frozenset(closed),
            legible=legible,
        )

    def _sealed(self, account_id: str, column: Sealed, account: AccountConfig) -> str | None:
        text = _plain(account, column)
        return None if text is None else self._sealer.seal(json.dumps([account_id, column, text]))

    def _opened(self, row: Row[Any], column: Sealed) -> str | None:
        """Raises SealBroken."""
        sealed = getattr(row, column)
        if sealed is None:
            return None
        account_id, of, text = json.loads(self._sealer.open(sealed))
        if (account_id, of) != (row.id, column):
            raise SealBroken("it was sealed for another account; remove this one and add it anew")
        return str(text)

    def _resealed(self, row: Row[Any]) -> dict[str, str]:
        """The columns of a row that another key than the newest sealed, sealed by that."""
        found = {}
        for column in get_args(Sealed):
            sealed = getattr(row, column)
            if sealed is None or self._sealer.fresh(sealed):
                continue
            try:
                found[column] = self._sealer.seal(self._sealer.open(sealed))
            except SealBroken:
                continue  # told already
        return found


def exists(account_id: str) -> Conflict:
    return Conflict(f"there is an account {account_id!r} already", code="account_exists")


def _plain(account: AccountConfig, column: Sealed) -> str | None:
    match column:
        case "credential":
            return None if account.api_key is None else account.api_key.get_secret_value()
        case "proxy":
            return account.proxy


def _settings(entry: Entry) -> str:
    kept = entry.account.model_dump(mode="json", exclude_unset=True, exclude={"name", "api_key", "proxy"})
    return json.dumps({"account": kept, "type": entry.type, "base_url": entry.base_url})
