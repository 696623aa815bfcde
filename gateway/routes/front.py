"""The door: every request gets an id, is admitted or refused, is answered in its dialect when it fails, and is logged.

One pure ASGI layer around the router. Nothing behind it has to remember to check a key.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.loopback import LOCAL, check_local
from gateway.drain import Drain
from gateway.errors import (
    ClientLeft,
    Draining,
    Forbidden,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from gateway.routes import attempts
from gateway.routes.house import Answer, House
from gateway.routes.visits import Visits
from gateway.types import Principal
from gateway.wire import errors as wire_errors
from gateway.wire.language import preferred

PUBLIC = frozenset({"/", "/healthz", "/readyz"})
SIGNED = ("/files/", "/uploads/")
"""Their paths carry their own proof."""
READS = frozenset({"GET", "HEAD"})
QUOTE = "/api/quote"
"""Asks, and spends nothing."""
METRICS = "/metrics"
"""Looked at to the end."""
ALIASES = ("/api/v1/", "/api/v2/")
LET_IN = "mediagate.let_in"
"""Where a scope has it: its request is in a house that was opened for it."""

log = structlog.get_logger("gateway.access")


class Front:
    house: House
    """Set when the lifespan has opened it."""
    visits: Visits | None = None
    """Who opens the house for each request, unless a lifespan did and all runs in the background."""
    reload: Callable[[], None] = staticmethod(lambda: None)
    """Go by the config as it is written now. Returns at once. Set when there is a house."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.visits is None:
            scope["app"] = self.house
        elif LET_IN not in scope:
            await self._visit(self.visits, scope, receive, send)
            return
        request_id = f"req_{random.getrandbits(96):024x}"
        facts: dict[str, Any] = {}
        scope["state"] = {"request_id": request_id, "log": facts}
        door = _Door(send, request_id.encode(), scope["state"])
        begun = time.perf_counter()
        with self.drain.track():
            try:
                await self._admitted(scope, receive, door)
            finally:
                self._log(scope, door.status, begun, facts, request_id)

    async def _visit(self, visits: Visits, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request into a house that is opened for it, if it is not open, and see it out."""
        with self.drain.track():
            try:
                house = await visits.enter()
            except Unavailable as error:
                await self._turn_away(scope, receive, send, error)
                visits.parting()
                return
            try:
                scope["app"], scope[LET_IN] = house, True
                await self(scope, receive, send)
            finally:
                await visits.leave()

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send, error: Unavailable) -> None:
        """Tell a caller that the house cannot be opened."""
        request_id = f"req_{random.getrandbits(96):024x}"
        facts: dict[str, Any] = {}
        scope["state"] = {"request_id": request_id, "log": facts}
        door = _Door(send, request_id.encode(), scope["state"])
        begun = time.perf_counter()
        try:
            await self._refuse(scope, receive, door, error)
        finally:
            self._log(scope, door.status, begun, facts, request_id)

    async def _admitted(self, scope: Scope, receive: Receive, door: _Door) -> None:
        try:
            if scope["path"].startswith(ALIASES):
                scope["path"] = "/api/" + scope["path"][len(ALIASES[0]) :]
            if scope["path"] not in PUBLIC:
                self._admit(scope)
            await self.app(scope, receive, door)
        except GatewayError as error:
            await self._refuse(scope, receive, door, error)
        except HTTPException as exc:
            await self._refuse(scope, receive, door, _translated(exc, scope))
        except asyncio.CancelledError:
            if not self.drain.expired or door.status:
                raise
            await self._refuse(scope, receive, door, Draining())
        except Exception:
            log.exception("request failed", request_id=scope["state"]["request_id"])
            await self._refuse(scope, receive, door, GatewayError())

    def _admit(self, scope: Scope) -> None:
        """Let a request in, with who sent it. Raises Draining, InvalidRequest, Unauthorized, Forbidden."""
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise InvalidRequest("the URL must not hold a NUL character", code="invalid_url")
        if self.drain.draining and scope["path"] != METRICS:
            raise Draining(advice="Send it again: another process takes it")
        if scope["path"].startswith(SIGNED):
            return
        scope["state"]["principal"] = principal = self._principal(scope)
        if principal.role == "viewer" and scope["method"] not in READS and scope["path"] != QUOTE:
            raise Forbidden("this key may only read")

    def _principal(self, scope: Scope) -> Principal:
        house: House = scope["app"]
        if house.keyring.empty:
            if not house.insecure:
                check_local(scope)
            return LOCAL
        authorization = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
                break
        return house.keyring.principal(authorization)

    async def _refuse(self, scope: Scope, receive: Receive, door: _Door, error: GatewayError) -> None:
        facts = scope["state"]["log"]
        facts["code"] = error.code
        if error.detail:
            facts["detail"] = error.detail
        attempts.failed(scope["state"], error)
        if error.attempts:
            facts["attempts"] = [f"{attempt.account}: {attempt.outcome}" for attempt in error.attempts]
        if isinstance(error, ClientLeft) or door.status:
            door.status = door.status or error.status
            return
        await refusal(scope, error)(scope, receive, door)

    def _log(self, scope: Scope, status: int, begun: float, facts: dict[str, Any], request_id: str) -> None:
        principal = scope["state"].get("principal")
        path = scope["path"]
        log.info(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=path if not path.startswith(SIGNED) else path.partition("/")[0] + path[: path.find("/", 1)],
            status=status,
            ms=round((time.perf_counter() - begun) * 1000, 1),
            key=principal.name if principal else None,
            **facts,
        )


def refusal(scope: Scope, error: GatewayError) -> Answer:
    """An error as the caller is told it: in its language and the dialect of the path, an upstream's own words for
    admins only."""
    state = scope["state"]
    tried, language = attempts.attempts_for(state, error), preferred(scope["headers"])
    if _speaks_openai(scope["path"]):
        body = wire_errors.openai(error, attempts=tried, language=language)
    else:
        body = wire_errors.native(error, admin=attempts.is_admin(state), attempts=tried, language=language)
    headers = wire_errors.headers(error, language)
    if error.upstream:
        headers.append((b"x-gateway-upstream", error.upstream.encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if error.status == 413:
        headers.append((b"connection", b"close"))
    return Answer(body, status=error.status, headers=headers)


class _Door:
    """`send`, with the request's id and, for admins, what was tried on every answer, and its status remembered."""

    __slots__ = ("_headers", "_send", "_state", "status")

    def __init__(self, send: Send, request_id: bytes, state: attempts.State) -> None:
        self._send = send
        self._headers = ((b"x-request-id", request_id),)
        self._state = state
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers, *attempts.headers(self._state)]
        await self._send(message)


def _translated(exc: HTTPException, scope: Scope) -> GatewayError:
    if exc.status_code == 405:
        allowed = ", ".join(sorted((exc.headers or {}).get("Allow", "").split(", ")))
        said = f"{scope['method']} is not a method of {scope['path'][:100]}"
        return MethodNotAllowed(f"{said}: use {allowed}", allowed=allowed)
    return NotFound(f"there is nothing at {scope['path'][:100]}")


def _speaks_openai(path: str) -> bool:
    return path.startswith("/v1") or path.endswith("/chat/completions")
