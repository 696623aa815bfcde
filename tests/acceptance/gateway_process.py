"""`mediagate serve` as a process of its own, on a data directory that outlives it, and what it talks to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
from anyio.from_thread import start_blocking_portal
from openai import OpenAI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulators.serving import serve

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
T = TypeVar("T")


class Running(Protocol):
    """A process of its own."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


Begin = Callable[[Path, Mapping[str, str]], Running]
"""Begins a gateway in a directory, with that environment and no other; it writes to `out` and `log` there."""


def by_itself(home: Path, env: Mapping[str, str]) -> Running:
    with (home / "out").open("wb") as out, (home / "log").open("ab") as log:
        command = [sys.executable, "-m", "gateway", "serve"]
        return subprocess.Popen(command, cwd=home, env=env, stdout=out, stderr=log)


class Gateway:
    """The gateway in `home`: config, database, objects and log are there, whatever becomes of the process.

    `secrets` are the credentials in use: none of them may ever be in the log.
    """

    def __init__(
        self,
        home: Path,
        config: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        begin: Begin = by_itself,
    ) -> None:
        self.home = home
        self.secrets = tuple(secrets)
        self._begin = begin
        self.url = ""
        self.key = (env or {}).get("API_KEYS", "").split(",")[0]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PORT": "0"}
        self._env |= {"GATEWAY_DATA_DIR": str(home / "data"), **(env or {})}
        if config is not None:
            (home / "config.yaml").write_text(json.dumps(config))
        self._clients: list[httpx.Client] = []

    @property
    def port(self) -> int:
        """The one it was told to have, and keeps; 0: whichever is free, at every start."""
        return int(self._env["PORT"])

    # --- its life ---

    def start(self) -> "Gateway":
        """Start it, again if need be, and return once it is ready."""
        self.launch()
        return self.ready()

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.process = self._begin(self.home, self._env)

    def ready(self) -> "Gateway":
        self.url = eventually(self._address, START_SECONDS)
        eventually(lambda: httpx.get(f"{self.url}/readyz").status_code == 200, START_SECONDS)
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 10) -> int:
        """The exit code, once it has one."""
        return self.process.wait(seconds)

    def crash(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def restart(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal and start it on the same data; its address changes."""
        self.stop(number)
        self.ended()
        self.start()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.process.kill()
        self.process.wait()

    # --- what it says ---

    @property
    def banner(self) -> str:
        return (self.home / "out").read_text()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def check_log(self) -> None:
        """No crash was logged, and no credential."""
        log, banner = self.log, self.banner
        assert "Traceback" not in log, log[max(0, log.index("Traceback") - 500) :][:3000]
        for secret in (*self.secrets, *filter(None, [self.key])):
            assert secret not in log
            assert secret not in banner

    # --- its clients ---

    def client(self, **options: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        client = httpx.Client(
            **{"base_url": self.url, "headers": headers, "timeout": 30, "trust_env": False, **options}
        )
        self._clients.append(client)
        return client

    def openai(self, **options: Any) -> OpenAI:
        settings = {"base_url": f"{self.url}/v1", "api_key": self.key or "unused", "max_retries": 0, "timeout": 20}
        return OpenAI(**{**settings, **options})

    def accounts(self) -> dict[str, dict[str, Any]]:
        """The accounts of /api/status by id."""
        with self.client() as http:
            return {row["id"]: row for row in http.get("/api/status").json()["accounts"]}

    def in_flight(self) -> int:
        return sum(row["in_flight"] for row in self.accounts().values())

    # --- inside ---

    def _address(self) -> str:
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"the gateway ended with {code}: {self.log[-2000:]}")
        found = re.search(r"mediagate \S+ +· +(http://\S+)\n(?:.*\n)+.*t2v", self.banner)
        return found[1] if found else ""


@contextmanager
def running(
    home: Path,
    config: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    begin: Begin = by_itself,
) -> Iterator[Gateway]:
    """A gateway that is ready; at the end it is gone, and its log has been looked through."""
    gateway = Gateway(home, config, env=env, secrets=secrets, begin=begin)
    try:
        yield gateway.start()
    finally:
        gateway.close()
    gateway.check_log()


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """`app` on a real socket, on a loop in a thread of its own: tests may block. Yields its base URL."""
    with served_together(app) as (url,):
        yield url


@contextmanager
def served_together(*apps: ASGIApp) -> Iterator[list[str]]:
    """The same for several on one loop, which may share what they know."""
    with start_blocking_portal() as portal, ExitStack() as stack:
        yield [stack.enter_context(portal.wrap_async_context_manager(serve(_prompt(app)))) for app in apps]


def _prompt(app: ASGIApp) -> ASGIApp:
    """Every write leaves at once: held back for an acknowledgement, it would be lost where a reset follows."""

    async def prompt(scope: Scope, receive: Receive, send: Send) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await app(scope, receive, send)

    return prompt


def eventually(condition: Callable[[], T], seconds: float = 5.0) -> T:
    """What `condition` returns once it is true. Fails when it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {condition}"
        time.sleep(0.01)
    return found


def compatible(url: str, *credentials: str, name: str = "emulator", **stanza: Any) -> dict[str, Any]:
    """The stanza of an OpenAI-compatible upstream with an account for each credential: a1, a2, …"""
    accounts = [{"name": f"a{at}", "api_key": credential} for at, credential in enumerate(credentials, 1)]
    return {"name": name, "type": "openai_compatible", "base_url": f"{url}/v1", "accounts": accounts, **stanza}


def qwen(url: str, *tokens: str, **stanza: Any) -> dict[str, Any]:
    accounts = [{"name": f"a{at}", "token": token} for at, token in enumerate(tokens, 1)]
    return {
        "name": "qwen",
        "type": "qwen",
        "base_url": url,
        "oss_url": url + "/{bucket}",
        "accounts": accounts,
        **stanza,
    }


def lines(response: httpx.Response) -> list[Any]:
    """The data of a whole event stream, JSON decoded; `[DONE]` as it is."""
    found = [line.removeprefix("data:").strip() for line in response.text.split("\n") if line.startswith("data:")]
    return [data if data == "[DONE]" else json.loads(data) for data in found]
