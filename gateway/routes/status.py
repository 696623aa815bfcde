"""How the house stands: for callers, for probes, for people who open the address in a browser."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request

from gateway import __version__
from gateway.accounts.status import AccountStatus
from gateway.errors import GatewayError
from gateway.routes.alarms import UpstreamState, alarms, states
from gateway.routes.house import Answer, House, house_of, principal_of, read_body
from gateway.wire import body as wire_body

FOR_ALL = frozenset({"id", "name", "upstream", "status"})
"""What callers who are no admins are told of an account, besides when it gets better."""


async def accounts(request: Request) -> Answer:
    """GET /api/status: each account's standing; for admins why, how the upstreams stand, and alarms. Spends nothing."""
    house, now = house_of(request), time.time()
    admin = principal_of(request).role == "admin"
    upstreams = states(house.relay.pools)
    shown = [account for upstream in upstreams for account in upstream.accounts]
    body = {
        "status": "ok" if any(account.status == "OK" for account in shown) else "degraded",
        "version": __version__,
        "uptime_seconds": round(now - house.started),
        "sandbox": house.sandbox,
        "accounts": [_row(account, admin) for account in shown],
    }
    if admin:
        body["upstreams"] = [_upstream(upstream) for upstream in upstreams]
        body["alarms"] = [asdict(alarm) for alarm in alarms(upstreams, now)]
    return Answer(msgspec.json.encode(body))


async def alive(request: Request) -> Answer:
    """GET /healthz: the process answers."""
    return Answer(b'{"status":"ok"}')


async def ready(request: Request) -> Answer:
    """GET /readyz: requests can be served. 503 while shutting down or without database or storage."""
    house = house_of(request)
    problem = await _problem(house)
    if problem is None:
        return Answer(b'{"status":"ready"}')
    body = msgspec.json.encode({"status": "not ready", "error": problem})
    return Answer(body, status=503, headers=[(b"retry-after", b"5")])


async def welcome(request: Request) -> Answer:
    """GET /: what this is and where to go on."""
    body = {
        "name": "mediagate",
        "version": __version__,
        "openai_base_url": "/v1",
        "native_api": "/api",
        "health": "/healthz",
    }
    return Answer(msgspec.json.encode(body))


async def create_chat(request: Request) -> Answer:
    """POST /api/chats `{name?, model?}`: an empty conversation to send chats to."""
    house = house_of(request)
    body = wire_body.decode(await read_body(request))
    model = wire_body.text(body, "model") or ""
    if model:
        house.catalog.resolve(model)
    chat_id = await house.conversations.create(
        principal_of(request).id, name=wire_body.text(body, "name") or "", model=model
    )
    return Answer(msgspec.json.encode({"chatId": chat_id, "success": True}))


def _row(account: AccountStatus, admin: bool) -> dict[str, Any]:
    """What anybody may know is whether it serves; why not, and how much it does, is for admins."""
    row = asdict(account)
    return {name: row[name] for name in row if admin or name in FOR_ALL} | {"resetAt": _iso(account.reset_at)}


def _upstream(state: UpstreamState) -> dict[str, Any]:
    return {
        "name": state.name,
        "breaker": state.breaker,
        "waiting": state.waiting,
        "limits": None if state.shared is None else "shared" if state.shared else "per process",
    }


async def _problem(house: House) -> str | None:
    if house.drain.draining:
        return "shutting down"
    try:
        async with house.database.read() as connection:
            await connection.exec_driver_sql("select 1")
        await house.storage.ping()
    except GatewayError as error:
        return error.message
    return None


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
