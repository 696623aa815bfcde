"""Accounts, for operators: what there is, adding, testing, switching off and on, and removing while all goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request

from gateway.accounts.affinity import held_by
from gateway.accounts.book import Entry, exists
from gateway.config import AccountConfig
from gateway.errors import ConfigError, Conflict, Forbidden, InvalidRequest, NotFound
from gateway.routes.account_asks import balance, balances, probed
from gateway.routes.account_fields import CREDENTIAL, FIXED, answered, asked, changed, draft_of, flag, values_of
from gateway.routes.account_resource import resource
from gateway.routes.house import Answer, House, connected, house_of, note, principal_of
from gateway.types import Account
from gateway.upstreams.base import Upstream


@dataclass(frozen=True, slots=True)
class _Found:
    """An account that a path names."""

    house: House
    account: Account
    entry: Entry | None
    """None where the database does not have it."""

    @property
    def upstream(self) -> Upstream:
        return self.house.roster.upstreams[self.account.upstream]

    @property
    def shown(self) -> dict[str, Any]:
        [status] = [one for one in self.house.roster.pools[self.account.upstream].status() if one.id == self.account.id]
        return resource(self.account, self.upstream, status, self.entry)


async def index(request: Request) -> Answer:
    """GET /api/accounts?balance="""
    house = _admitted(request)
    entries = {entry.id: entry for entry in await house.book.all()}
    if any(house.roster.account(entry.upstream, entry.account.name) is None for entry in entries.values()):
        await house.roster.load(tell=False)  # another process added it just now
    standing = {status.id: status for pool in house.roster.pools.values() for status in pool.status()}
    accounts = [(one.upstream, account) for one in house.roster.found for account in one.accounts]
    shown = [
        resource(account, upstream, standing[account.id], entries.get(account.id)) for upstream, account in accounts
    ]
    if asked(request, "balance"):
        with connected(request):
            for row, left in zip(shown, await balances(accounts), strict=True):
                row["balance"] = left
    return Answer(msgspec.json.encode({"object": "list", "data": shown}))


async def show(request: Request) -> Answer:
    """GET /api/accounts/{upstream}/{name}?balance="""
    found = await _found(request)
    shown = found.shown | {"held": (await held_by(found.house.database, found.account.id))._asdict()}
    if asked(request, "balance"):
        with connected(request):
            shown["balance"] = await balance(found.upstream, found.account)
    return Answer(msgspec.json.encode(shown))


async def create(request: Request) -> Answer:
    """POST /api/accounts"""
    house = _admitted(request)
    draft = draft_of(await values_of(request), house.roster.found, await house.book.all())
    upstream, account = draft.upstream, draft.account
    if house.roster.account(upstream, account.name) is not None:
        raise exists(f"{upstream}/{account.name}")
    with answered():
        house.roster.check(upstream, draft.type, account, base_url=draft.base_url)
        await house.book.add(upstream, account, type=draft.type, base_url=draft.base_url)
    await _applied(house)
    found = await _look(house, upstream, account.name)
    note(request, account=found.account.id)
    where = f"/api/accounts/{quote(upstream)}/{quote(account.name)}"
    return Answer(msgspec.json.encode(found.shown), status=201, headers=[(b"location", where.encode())])


async def change(request: Request) -> Answer:
    """PATCH /api/accounts/{upstream}/{name}"""
    found = await _found(request)
    values = await values_of(request)
    if CREDENTIAL & values.keys():
        raise InvalidRequest("a credential is changed by POST …/credential", param=min(CREDENTIAL & values.keys()))
    if FIXED & values.keys():
        name = min(FIXED & values.keys())
        raise InvalidRequest(f"{name!r} cannot be changed; remove the account and add another", param=name)
    enabled = flag(values, "enabled")
    keys = {name: value for name, value in values.items() if name != "enabled"}
    if keys:
        entry = _whole(_own(found))
        await _rewrite(found, entry, changed(entry, keys, type(found.upstream)))
    if enabled is not None:
        _switch(found, enabled)
    return await _shown(found)


async def test(request: Request) -> Answer:
    """POST /api/accounts/{upstream}/{name}/test: spends nothing, and changes nothing."""
    found = await _found(request)
    if found.account.unusable:
        raise _unusable(found.account.unusable)
    with connected(request):
        return Answer(msgspec.json.encode(await probed(found.upstream, found.account)))


async def disable(request: Request) -> Answer:
    """POST /api/accounts/{upstream}/{name}/disable"""
    found = await _found(request)
    _switch(found, False)
    return await _shown(found)


async def enable(request: Request) -> Answer:
    """POST /api/accounts/{upstream}/{name}/enable"""
    found = await _found(request)
    _switch(found, True)
    return await _shown(found)


async def renew(request: Request) -> Answer:
    """POST /api/accounts/{upstream}/{name}/renew: forget its faults."""
    found = await _found(request)
    found.house.roster.pools[found.account.upstream].renewed(found.account.name)
    return await _shown(found)


async def rotate(request: Request) -> Answer:
    """POST /api/accounts/{upstream}/{name}/credential"""
    found = await _found(request)
    entry = _own(found)
    values = await values_of(request)
    if unknown := values.keys() - CREDENTIAL - {"proxy"}:
        name = min(unknown)
        raise InvalidRequest(
            f"{name!r} is an unknown key; there are api_key, proxy, token", param=name, code="unknown_parameter"
        )
    if not any(values.get(name) for name in CREDENTIAL):
        raise InvalidRequest("'api_key' is required", param="api_key", code="missing_required_parameter")
    if not entry.legible:
        raise _unusable(f"{entry.problem}; remove the account and add it anew")
    if "proxy" in entry.closed and not values.get("proxy"):
        why = "its proxy cannot be opened either: give 'proxy' too"
        raise InvalidRequest(why, param="proxy", code="missing_required_parameter")
    known = {"api_key": None, "token": None} | values
    await _rewrite(found, entry, changed(entry, known, type(found.upstream)))
    found.house.roster.pools[found.account.upstream].renewed(found.account.name)
    return await _shown(found)


async def delete(request: Request) -> Answer:
    """DELETE /api/accounts/{upstream}/{name}?force="""
    found = await _found(request)
    if found.entry is None:
        raise _read_only(found.account)
    house, account = found.house, found.account
    shadowed = account.source != "database"
    if not shadowed and not asked(request, "force"):
        held = await held_by(house.database, account.id)
        if held.tasks:
            also = f"and {held.chats} chats, {held.files} files"
            raise Conflict(
                f"account {account.id!r} holds {held.tasks} unfinished tasks ({also})",
                advice="Wait for them, or remove it with ?force=true: then they fail",
                code="account_in_use",
            )
    await house.journal.flush()  # what it was told of the account is not written after the account is gone
    await house.book.remove(account.id, shadowed=shadowed)
    await _applied(house)
    return Answer(msgspec.json.encode({"id": account.id, "object": "account.deleted", "deleted": True}))


# --- steps ---


def _admitted(request: Request) -> House:
    if principal_of(request).role != "admin":
        raise Forbidden("this key may not see or change accounts: that takes one of the role admin")
    return house_of(request)


async def _found(request: Request) -> _Found:
    """The account of the path. Raises Forbidden, NotFound."""
    found = await _look(_admitted(request), request.path_params["upstream"], request.path_params["name"])
    note(request, account=found.account.id)
    return found


async def _look(house: House, upstream: str, name: str) -> _Found:
    entry, account = await house.book.find(f"{upstream}/{name}"), house.roster.account(upstream, name)
    if (account is not None and account.source == "database") != (entry is not None):
        await house.roster.load(tell=False)  # another process added or removed it just now
        account = house.roster.account(upstream, name)
    if account is None:
        raise NotFound(f"there is no account {f'{upstream}/{name}'[:140]!r}", code="account_not_found")
    return _Found(house, account, entry)


async def _shown(found: _Found) -> Answer:
    """The account as it is after a change."""
    account = found.account
    return Answer(msgspec.json.encode((await _look(found.house, account.upstream, account.name)).shown))


def _own(found: _Found) -> Entry:
    """The row of an account that the database has. Raises Conflict for any other."""
    if found.entry is None or found.account.source != "database":
        raise _read_only(found.account)
    return found.entry


def _whole(entry: Entry) -> Entry:
    if entry.problem:
        raise _unusable(f"{entry.problem}, or give it anew by POST …/credential")
    return entry


async def _rewrite(found: _Found, entry: Entry, account: AccountConfig) -> None:
    house = found.house
    with answered():
        house.roster.check(entry.upstream, entry.type, account, base_url=entry.base_url)
        await house.book.change(entry, account)
    await _applied(house)


async def _applied(house: House) -> None:
    """What is in the database is what serves, here and in the other processes."""
    try:
        await house.roster.load()
    except ConfigError as error:
        raise Conflict(f"the change is kept but not in use: {error}", code="account_not_applied") from error


def _switch(found: _Found, on: bool) -> None:
    pool = found.house.roster.pools[found.account.upstream]
    (pool.enable if on else pool.disable)(found.account.name)


def _read_only(account: Account) -> Conflict:
    match account.source:
        case "config" | "database":
            why = f"is written in the config: change it there, under the upstream {account.upstream!r}"
        case "environment":
            why = "comes from an environment variable: change that and start the gateway again"
        case "built in":
            why = "is built in"
    return Conflict(
        f"account {account.id!r} {why}", advice="Only 'enabled' can be changed here", code="account_read_only"
    )


def _unusable(why: str) -> Conflict:
    return Conflict(f"the account cannot be used: {why}", code="account_unusable")
