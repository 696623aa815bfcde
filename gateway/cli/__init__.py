"""The command `mediagate`: serve, check, migrate, accounts, storage."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import accounts, storage
from gateway.cli.plainly import stop, told
from gateway.config import Config, load

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One OpenAI-compatible server in front of every provider that generates media.",
)

app.add_typer(accounts.app, name="accounts")
app.add_typer(storage.app, name="storage")

HostOption = Annotated[str | None, typer.Option(help="Address to listen on. Default: HOST, then the config.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on. Default: PORT, then the config.")]
ToOption = Annotated[str | None, typer.Option("--to", help="An older schema. What it has no room for is forgotten.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without API keys.")]


@app.command()
def serve(host: HostOption = None, port: PortOption = None, insecure: InsecureOption = False) -> None:
    """Start the gateway."""
    _hold_hangups()
    from gateway.access.loopback import is_loopback
    from gateway.app import create_app
    from gateway.banner import banner
    from gateway.drain import Drain
    from gateway.logs import configure
    from gateway.server import Limits
    from gateway.server import serve as run

    config = _config(os.environ)
    configure(config.log)
    address, number = host or config.server.host, config.server.port if port is None else port
    if not config.access.keys and not insecure and not is_loopback(address):
        stop(
            f"without API keys the gateway listens on loopback only, not on {address}: "
            "set API_KEYS=<key>, or insist with --insecure"
        )
    drain = Drain()
    front = create_app(config, os.environ, drain=drain, insecure=insecure)

    def ready(at: str, on: int) -> None:
        print(banner(front.house, at, on), flush=True)

    code = run(
        front,
        host=address,
        port=number,
        drain=drain,
        limits=Limits(header_bytes=config.limits.header_bytes),
        grace=config.server.drain_seconds,
        on_ready=ready,
        on_hangup=lambda: front.reload(),
    )
    raise typer.Exit(code)


@app.command()
def check() -> None:
    """Look at the config, the database, the storage and every account. Spends nothing."""
    from gateway.checkup import checkup

    problems = told(lambda: asyncio.run(checkup(_config(os.environ), os.environ, print)))
    raise typer.Exit(1 if problems else 0)


@app.command()
def migrate(to: ToOption = None) -> None:
    """Bring the database's schema up to date; `serve` does it by itself. With --to, back: stop every gateway first."""
    from gateway.db.migrate import HEAD
    from gateway.db.migrate import migrate as bring

    config = _config(os.environ)
    told(lambda: asyncio.run(bring(config.database_url, HEAD if to is None else to)))
    print("the schema is up to date" if to is None else f"the schema is {to}")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    app()


def _hold_hangups() -> None:
    """Have SIGHUP wait until the server takes it: before that it would end the process."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _config(env: Mapping[str, str]) -> Config:
    return told(lambda: load(env, Path.cwd()))
