"""Gateways in front of an Ark that outlives them, and what their database, that Ark and its callers know afterwards."""

import asyncio
import json
import random
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import asyncpg
import httpx
from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.acceptance.gateway_process import Gateway, eventually
from tests.emulators.ark import API, FAST, KEY, ArkSite
from tests.emulators.ark.media import video
from tests.unit.db.conftest import POSTGRES, schema

DATABASES = ("sqlite", "postgresql")
FINAL = ("succeeded", "failed", "cancelled", "expired")
TASKS = f"{API}/contents/generations/tasks"
REDIS = "redis://127.0.0.1:6379"

# --- configuration ---


def ark(url: str, *, name: str = "ark", key: str = KEY, models: tuple[str, ...] = (FAST,), **account: Any) -> Any:
    """A stanza with one account."""
    accounts = [{"name": "a", "api_key": key, **account}]
    return {"name": name, "type": "ark", "base_url": f"{url}{API}", "models": list(models), "accounts": accounts}


def config_of(*stanzas: Any, receiver: str = "", **more: Any) -> dict[str, Any]:
    trusted = {"webhooks": {"trusted_origins": [receiver]}} if receiver else {}
    return {"upstreams": list(stanzas), "server": {"drain_seconds": 1}, **trusted, **more}


def asked(prompt: str, **fields: Any) -> dict[str, Any]:
    """What POST /api/tasks takes for a film."""
    return {"kind": "t2v", "model": FAST, "prompt": prompt, "seconds": 2, **fields}


def free_port() -> int:
    """One that no other process is given by chance: a gateway that begins again wants its old one."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 50):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


# --- the database ---


@dataclass
class Rows:
    """A database, as one who looks into it from outside sees it."""

    url: str
    _file: Path | None = None
    _schema: str = ""

    def __call__(self, query: str) -> list[dict[str, Any]]:
        if self._file is None:
            return asyncio.run(self._postgres(query))
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query).fetchall()]

    async def _postgres(self, query: str) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(POSTGRES, timeout=10, server_settings={"search_path": self._schema})
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    def one(self, query: str) -> dict[str, Any]:
        [row] = self(query)
        return row

    def unsettled(self) -> list[dict[str, Any]]:
        """What is open or held: nothing, once all is over."""
        return [
            *self("SELECT id, state, lease_owner, lease_until FROM tasks"
                  " WHERE state IN ('queued', 'submitting', 'submit_unknown', 'running')"
                  " OR lease_owner IS NOT NULL OR lease_until <> 0"),
            *self("SELECT id, state, lease_owner, attempts, error FROM deliveries"
                  " WHERE state <> 'delivered' OR lease_owner IS NOT NULL"),
            *self("SELECT owner, state FROM requests WHERE state <> 'done' OR lease_owner IS NOT NULL"),
        ]  # fmt: skip


@contextmanager
def database(kind: str, home: Path) -> Iterator[Rows]:
    """An empty one of a kind of DATABASES."""
    if kind == "sqlite":
        yield Rows(f"sqlite:///{home / 'tasks.db'}", home / "tasks.db")
        return
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(schema()) as url:
        yield Rows(url, None, url.rpartition("search_path=")[2])


# --- the way to the emulator ---

Hold = Literal["before", "after"]


@dataclass(frozen=True)
class Call:
    """A request to the emulator, as it was seen at a gate."""

    method: str
    jobs: tuple[str, ...]
    """The jobs that it asks for."""
    prompt: str
    key: str


@dataclass(frozen=True)
class Look:
    """A poll of some jobs, from its coming to its answer."""

    gate: str
    jobs: tuple[str, ...]
    begun: float
    over: float


@dataclass
class Gate:
    """Stands before the emulator. Calls that `holds` picks get stuck, before they reach it or with their answer ready,
    until it lets go of them or their sender is gone: one that is then still before it never comes to pass.

    Gates of several gateways may keep one book.
    """

    app: ASGIApp
    name: str = ""
    holds: Callable[[Call], Hold | None] = lambda call: None
    lag: Callable[[], float] = lambda: 0.0
    """Seconds that each create takes to get there, and its answer to get back."""
    looks: list[Look] = field(default_factory=list)
    came: Counter[str] = field(default_factory=Counter)
    """Creates by prompt, whether or not they reach the emulator."""
    held: list[tuple[Hold, Call]] = field(default_factory=list)
    stuck: int = 0
    """Calls that are held now; one whose sender is known to be gone is held no longer."""
    downloads: list[str] = field(default_factory=list)
    """Jobs whose results were asked for here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(TASKS):
            self.downloads.append(Path(scope["path"]).stem)
            await self.app(scope, receive, send)
            return
        begun, call, body = time.time(), *await _call(scope, receive)
        gone = asyncio.create_task(_gone(receive), name="gate")
        try:
            if call.method == "POST":
                self.came[call.prompt] += 1
            if await self._stuck("before", call, gone):
                await self.app(scope, _replayed(body, gone), self._holding(call, gone, send))
        finally:
            gone.cancel()
        if call.method == "GET" and call.jobs:
            self.looks.append(Look(self.name, call.jobs, begun, time.time()))

    def _holding(self, call: Call, gone: "asyncio.Task[None]", send: Send) -> Send:
        async def held(message: Message) -> None:
            if message["type"] == "http.response.start" and not await self._stuck("after", call, gone):
                raise asyncio.CancelledError
            await send(message)

        return held

    async def _stuck(self, where: Hold, call: Call, gone: "asyncio.Task[None]") -> bool:
        """Whether its sender is still there."""
        if self.holds(call) == where:
            self.held.append((where, call))
            self.stuck += 1
            try:
                while self.holds(call) == where and not gone.done():
                    await asyncio.sleep(0.005)
            finally:
                self.stuck -= 1
        if call.method == "POST" and (lag := self.lag()):
            await asyncio.wait({gone}, timeout=lag)
        return not gone.done()

    def holding(self, prompt: str) -> bool:
        return any(call.prompt == prompt for _, call in list(self.held))


async def _call(scope: Scope, receive: Receive) -> tuple[Call, bytes]:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), bool(message.get("more_body"))
    name = scope["path"].removeprefix(TASKS).strip("/")
    query = parse_qsl(scope["query_string"].decode())
    jobs = (name,) if name else tuple(job for key, job in query if key == "filter.task_ids")
    key = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
    return Call(scope["method"], jobs, json.loads(body)["content"][0]["text"] if body else "", key), body


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replayed(body: bytes, gone: "asyncio.Task[None]") -> Receive:
    told = False

    async def receive() -> Message:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    return receive


def created(site: ArkSite) -> Counter[str]:
    """Jobs by prompt."""
    return Counter(create.body["content"][0]["text"] for create in list(site.creates))


def job_of(site: ArkSite, prompt: str) -> Any:
    [job] = [job for job in list(site.jobs.values()) if job.body["content"][0]["text"] == prompt]
    return job


# --- callers ---


def promised(http: httpx.Client, prompt: str, key: str = "", **fields: Any) -> str:
    """The id of a new task."""
    headers = {"idempotency-key": key} if key else {}
    answer = http.post("/api/tasks", json=asked(prompt, **fields), headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["id"])


def told(http: httpx.Client, task_id: str) -> dict[str, Any]:
    answer = http.get(f"/api/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def finished(http: httpx.Client, task_id: str, seconds: float = 30.0) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = told(http, task_id)
        return now if now["status"] in FINAL else None

    return eventually(look, seconds) or {}


def all_tasks(http: httpx.Client) -> list[dict[str, Any]]:
    """The whole list, page by page."""
    found: list[dict[str, Any]] = []
    more, after = True, ""
    while more:
        page = http.get("/api/tasks", params={"limit": "100", **({"after": after} if after else {})}).json()
        found += page["data"]
        more, after = page["has_more"], page["last_id"]
    return found


def film_of(gateway: Gateway, task: Mapping[str, Any]) -> bytes:
    """The one file of a task, from the gateway as it now is."""
    [file] = task["output"]["files"]
    answer = httpx.get(gateway.url + "/" + file["url"].split("/", 3)[3], timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) == file["bytes"]
    return answer.content


def has_its_film(gateway: Gateway, task: Mapping[str, Any], site: ArkSite) -> bool:
    """Whether a task's file is, byte for byte, what the emulator made for it."""
    return film_of(gateway, task) == video(job_of(site, task["input"]["prompt"]).id)


def secret_of(http: httpx.Client) -> str:
    return str(http.get("/api/webhooks/secret").json()["secret"])
