"""The rows of standings: all the SQL about what is known against accounts.

Nothing is deleted that another process may have seen: what holds no more gets an `until` long ago, until it is swept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, delete, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Update

from gateway.accounts.facts import Fact
from gateway.accounts.unwritten import OUTLIVE_RENEWAL, USED, Unwritten
from gateway.db.tables import standings

LONG_AGO: Final = 0.0
"""`until` of what was lifted."""
TURN: Final = text("SELECT set_config('idle_in_transaction_session_timeout', '10s', true), pg_advisory_xact_lock(:key)")
"""Also ends the turn of a process that is cut off from the database before it has committed."""
TURN_KEY: Final = 0x6D656469_73746E64
"""`medistnd` as a number."""

Row = dict[str, Any]


class Known(NamedTuple):
    """What the database has of one account."""

    account_id: str
    facts: tuple[Fact, ...]
    """Also those that are over."""
    stamps: tuple[float, ...]
    """When each was written, by the database's clock."""


async def take_turn(connection: AsyncConnection) -> None:
    """Let nobody else write standings until this transaction ends, and wait for who does. SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        await connection.execute(TURN, {"key": TURN_KEY})


async def read(connection: AsyncConnection, since: float) -> list[Known]:
    """All facts of the accounts of which one was written after `since`."""
    changed = select(standings.c.account_id).where(standings.c.updated_at > since)
    columns = (*(standings.c[name] for name in ("account_id", "fact", "until", "reason")), standings.c.count.label("n"))
    whole = select(*columns, standings.c.updated_at).where(standings.c.account_id.in_(changed))
    rows = (await connection.execute(whole.order_by(standings.c.account_id, standings.c.fact))).all()
    return list(_by_account(rows))


def _by_account(rows: Iterable[Any]) -> Iterator[Known]:
    for account_id, group in groupby(rows, key=lambda row: str(row.account_id)):
        found = list(group)
        facts = tuple(Fact(row.fact, row.until, row.reason, row.n) for row in found)
        yield Known(account_id, facts, tuple(row.updated_at for row in found))


async def write(
    connection: AsyncConnection, told: Mapping[str, Unwritten], now: float, stamp: ColumnElement[float]
) -> None:
    """Write what was told of each account: four statements at most. `stamp`: the database's clock, in SQL."""
    renewed = [account_id for account_id, of_it in told.items() if of_it.renewed]
    lifted = [{"the_account": one, "the_fact": name} for one, of_it in told.items() for name in of_it.lifted]
    facts = [(one, fact) for one, of_it in told.items() for fact in of_it.facts.values()]
    facts += [(one, Fact("renewed", now)) for one in renewed]
    noted = [_row(one, fact) for one, fact in facts if not fact.name.startswith(USED)]
    used = [_row(one, fact) | {"leases": fact.leases} for one, fact in facts if fact.name.startswith(USED)]
    if renewed:
        await connection.execute(_renew(renewed, stamp))
    if lifted:
        await connection.execute(_lift(stamp), lifted)
    if noted:
        await connection.execute(_note(connection, stamp), noted)
    if used:
        await connection.execute(_use(connection, stamp), used)


async def remove(connection: AsyncConnection, before: float) -> int:
    """Remove what was over by then, and was written before. Returns how many facts that were."""
    over = and_(standings.c.until < before, standings.c.updated_at < before)
    return (await connection.execute(delete(standings).where(over))).rowcount


def _row(account_id: str, fact: Fact) -> Row:
    name, until, reason, leases = fact
    return {"account_id": account_id, "fact": name, "until": until, "reason": reason, "count": max(0, leases)}


def _renew(account_ids: list[str], stamp: ColumnElement[float]) -> Update:
    forgotten = and_(standings.c.fact.not_in(OUTLIVE_RENEWAL), standings.c.fact.not_like(f"{USED}%"))
    return _end(and_(standings.c.account_id.in_(account_ids), forgotten), stamp)


def _lift(stamp: ColumnElement[float]) -> Update:
    one = and_(standings.c.account_id == bindparam("the_account"), standings.c.fact == bindparam("the_fact"))
    return _end(one, stamp)


def _end(which: ColumnElement[bool], stamp: ColumnElement[float]) -> Update:
    return update(standings).where(which).values(until=LONG_AGO, reason="", count=0, updated_at=stamp)


def _note(connection: AsyncConnection, stamp: ColumnElement[float]) -> postgresql.Insert | sqlite.Insert:
    """As `joined` says: what lasts longer stays, and of what lasts as long the newer."""
    new = _new(connection, stamp)
    return new.on_conflict_do_update(
        index_elements=["account_id", "fact"],
        set_={name: new.excluded[name] for name in ("until", "reason", "updated_at")},
        where=new.excluded.until >= standings.c.until,
    )


def _use(connection: AsyncConnection, stamp: ColumnElement[float]) -> postgresql.Insert | sqlite.Insert:
    """As `joined` says: leases of one day add up, never to less than none, and a later day begins anew."""
    new = _new(connection, stamp)
    later = new.excluded.until > standings.c.until
    total = standings.c.count + bindparam("leases", type_=Integer)
    count = case((later, new.excluded["count"]), (total > 0, total), else_=0)
    return new.on_conflict_do_update(
        index_elements=["account_id", "fact"],
        set_={"until": new.excluded.until, "count": count, "updated_at": new.excluded.updated_at},
        where=new.excluded.until >= standings.c.until,
    )


def _new(connection: AsyncConnection, stamp: ColumnElement[float]) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    given: dict[str, Any] = {name: bindparam(name) for name in ("account_id", "fact", "until", "reason", "count")}
    return insert(standings).values({**given, "updated_at": stamp})
