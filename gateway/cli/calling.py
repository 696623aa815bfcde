"""Asking a gateway that runs, over its own API."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlsplit

import typer

from gateway.access.loopback import is_loopback
from gateway.cli.plainly import FAILED, stop, told
from gateway.config import Config, load
from gateway.errors import GatewayError, UpstreamUnreachable

if TYPE_CHECKING:
    from gateway.http import Reply

ANSWER_SECONDS: Final = 300.0
"""Silence that is too much: the balances of hundreds of accounts take their time."""
EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - what a gateway listens on

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Where the gateway is. Default: this machine, at PORT or the config's.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar="GATEWAY_KEY", help="A key of the role admin. Default: the first one of the config."),
]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that runs, and who asks it."""

    url: str
    key: str | None = field(default=None, repr=False)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer, decoded. Ends the command with the gateway's own sentence where it refuses."""
        try:
            reply = asyncio.run(self._ask(method, path, body))
        except UpstreamUnreachable:
            stop(f"no gateway answers at {self.url}: start it, or name another with --url", FAILED)
        except GatewayError as error:
            stop(f"{self.url} did not answer as a gateway does: {error.message}", FAILED)
        return self._read(reply)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        from gateway.http import Outbound

        http = Outbound()
        await http.start()
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            return await http.call(method, self.url + path, headers=headers, json=body, silence=ANSWER_SECONDS)
        finally:
            await http.close()

    def _read(self, reply: Reply) -> Any:
        try:
            answer = reply.json()
        except GatewayError:
            answer = None
        if not isinstance(answer, dict):
            stop(f"{self.url} is no gateway: it answered with status {reply.status} and no JSON", FAILED)
        if reply.status >= 400:
            hint = "; give one of the role admin as --key or GATEWAY_KEY" if reply.status == 401 else ""
            stop(f"{_said(answer, reply.status)}{hint}", FAILED)
        return answer


def _said(answer: Mapping[str, Any], status: int) -> str:
    """The gateway's sentence, without advice that only helps who calls the API."""
    said, advice = str(answer.get("error", f"status {status}")), answer.get("advice")
    if isinstance(advice, str) and "/api/" in advice:
        return said.removesuffix(advice).rstrip(" .")
    return said


def gateway_at(url: str | None, key: str | None) -> Gateway:
    """The gateway that the options name, else the one of this folder's config and environment.

    A key of the config goes nowhere but there, or to this machine.
    """
    if url is not None and (key or not is_loopback(urlsplit(url).hostname or "")):
        return Gateway(url.rstrip("/"), key)
    config = told(lambda: load(os.environ, Path.cwd()))
    return Gateway((url or _here(config)).rstrip("/"), key or _first_key(config))


def path_of(account: str, *steps: str) -> str:
    """Of an account's resource, by its id."""
    upstream, slash, name = account.partition("/")
    if not upstream or not slash or not name or "/" in name:
        stop(f"{account!r} is no account: name it as <upstream>/<name>")
    return "/".join(("/api/accounts", quote(upstream, safe=""), quote(name, safe=""), *steps))


def _here(config: Config) -> str:
    host, port = config.server.host, config.server.port
    if not port:
        stop("the gateway was told to take any free port: name it with --url")
    shown = "127.0.0.1" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _first_key(config: Config) -> str | None:
    return next((key.key.get_secret_value() for key in config.access.keys if key.role == "admin"), None)
