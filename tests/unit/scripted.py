"""Small real upstreams that do as they are told, and the rooms below the routes wired around them.

A step of a script is an event to yield or an answer to give, an error to raise, or an `asyncio.Event` to wait for.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import av
import msgspec
from PIL import Image
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.accounts.pool import Pool
from gateway.assets.ingest import Ingest
from gateway.assets.inputs import Inputs
from gateway.db.engine import Database
from gateway.db.tables import metadata
from gateway.http import Outbound, Timeouts
from gateway.links import Links
from gateway.relay import Relay, Work
from gateway.storage import Storage
from gateway.types import (
    Account,
    AnyRequest,
    Candidate,
    ChatRequest,
    Embeddings,
    Event,
    Finish,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    Media,
    ModelCard,
    Principal,
    TextDelta,
    UsageRecord,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.usage import Meter
from tests.emulators.serving import serve

OWNER = Principal("owner", "owner")
SECRET = b"a secret of the tests, long enough"
LIMIT = 256 * 1024
"""Bytes that a result may have here."""


@cache
def png(width: int = 64, height: int = 48) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


@cache
def film() -> bytes:
    """Half a second of black, as MP4."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def made(data: bytes | None = None) -> JobUpdate:
    """A job that has come to its end."""
    return JobUpdate("succeeded", media=(Media("video", data=film() if data is None else data),))


class Scripted(Upstream):
    """Every call takes the next script; the last one is kept for all that follow."""

    def __init__(self, *scripts: Sequence[Any], name: str = "up", http: Outbound | None = None) -> None:
        super().__init__(name, Options(), http or Outbound())
        self.scripts = list(scripts)
        self.asked: list[tuple[Any, str]] = []
        """What was asked, and of which account."""
        self.closed = 0
        """Generations that ended, one way or another."""

    def _next(self, asked: Any, account: Account) -> Sequence[Any]:
        self.asked.append((asked, account.name))
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    @property
    def accounts(self) -> list[str]:
        """Who was asked, in order."""
        return [account for _, account in self.asked]

    async def _play(self, request: AnyRequest, account: Account) -> AsyncGenerator[Event]:
        try:
            for step in self._next(request, account):
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed += 1


class Talks(Scripted):
    """Chats, makes images and embeds."""

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        return self._play(request, account)

    def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        return self._play(request, account)

    async def embed(self, request: Any, account: Account) -> Embeddings:
        async for step in self._play(request, account):
            return step  # type: ignore[return-value]
        raise AssertionError("the script gives an answer")


class Keeps(Talks):
    """Takes uploads too, numbering them."""

    def __init__(self, *scripts: Sequence[Any], name: str = "up") -> None:
        super().__init__(*scripts, name=name)
        self.uploads: list[tuple[bytes, str, str, str]] = []
        self.expires_at: float | None = None

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        self.uploads.append((data, name, mime, account.name))
        return {"id": f"up-{len(self.uploads)}", "expires_at": self.expires_at}


class Films(Scripted):
    """Makes videos: `submits` and `polls` are the answers in order, the last one for ever."""

    def __init__(
        self, *, submits: Sequence[Any] = (Job("job-1"),), polls: Sequence[Any] = (), name: str = "up"
    ) -> None:
        super().__init__(name=name)
        self.submits, self.polls = list(submits), list(polls) or [made()]
        self.submitted: list[VideoRequest] = []
        self.polled: list[tuple[Job, str]] = []
        self.at_submit: Callable[[], Any] | None = None
        """Looked at while the upstream is asked."""

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        self.submitted.append(request)
        self.asked.append((request, account.name))
        if self.at_submit is not None:
            await self.at_submit()
        answer: Job = await _given(self.submits)
        return answer

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        self.polled.append((job, account.name))
        answer: JobUpdate = await _given(self.polls)
        return answer


class Stops(Films):
    """Can be told to stop a job."""

    def __init__(self, *, stops: bool | Exception = True, **scripts: Any) -> None:
        super().__init__(**scripts)
        self.stops = stops
        self.stopped: list[tuple[Job, str]] = []

    async def cancel(self, job: Job, account: Account) -> bool:
        self.stopped.append((job, account.name))
        if isinstance(self.stops, Exception):
            raise self.stops
        return self.stops


class Finds(Films):
    """Can say whether a job was made whose create it did not answer."""

    def __init__(self, *, finds: Sequence[Any] = (None,), **scripts: Any) -> None:
        super().__init__(**scripts)
        self.finds = list(finds)
        self.sought: list[tuple[VideoRequest, float, str]] = []

    async def find(self, request: VideoRequest, since: float, account: Account) -> Job | None:
        self.sought.append((request, since, account.name))
        found: Job | None = await _given(self.finds)
        return found


class TellsOfMany(Films):
    """Makes job after job, and tells of many in one call: `stands` by job id, else as `polls` says."""

    poll_batch = 10

    def __init__(self, **scripts: Any) -> None:
        super().__init__(**scripts)
        self.jobs = 0
        self.stands: dict[str, JobUpdate | None] = {}
        self.calls: list[tuple[list[str], str]] = []

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        self.submitted.append(request)
        self.jobs += 1
        return Job(f"job-{self.jobs}")

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        return self.stands.get(job.id) or await super().poll(job, account)

    async def poll_many(self, jobs: Sequence[Job], account: Account) -> dict[str, JobUpdate]:
        self.calls.append(([job.id for job in jobs], account.name))
        answer: JobUpdate = await _given(self.polls)
        told = {job.id: self.stands.get(job.id, answer) for job in jobs}
        return {name: update for name, update in told.items() if update is not None}


async def _given(answers: list[Any]) -> Any:
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(answer, asyncio.Event):
        await answer.wait()
        return await _given(answers)
    if isinstance(answer, Exception):
        raise answer
    return answer


def said(*texts: str) -> list[Event]:
    return [*map(TextDelta, texts), Finish()]


def accounts_of(upstream: str, *names: str, **fields: Any) -> list[Account]:
    return [Account(id=f"{upstream}/{name}", name=name, upstream=upstream, **fields) for name in names]


def chat_request(text: str = "hi", **fields: Any) -> ChatRequest:
    body = {"messages": msgspec.Raw(msgspec.json.encode([{"role": "user", "content": text}]))}
    return ChatRequest("m", body, **fields)


@dataclass
class Rig:
    """The rooms below the routes, on real stores, for some upstreams."""

    database: Database
    storage: Storage
    http: Outbound
    inputs: Inputs
    ingest: Ingest
    meter: Meter
    relay: Relay
    links: Links
    upstreams: list[Upstream] = field(default_factory=list)

    def candidates(self, kind: Kind = "t2t", **fields: Any) -> list[Candidate]:
        card = ModelCard("m", frozenset({kind}), **fields)
        return [Candidate(upstream.name, card) for upstream in self.upstreams]

    def work(self, kind: Kind = "t2t", request: AnyRequest | None = None, **fields: Any) -> Work:
        return Work(kind, request or chat_request(), self.candidates(kind), OWNER, "req_1", **fields)

    @property
    def in_flight(self) -> int:
        return sum(status.in_flight for pool in self.relay.pools.values() for status in pool.status())

    @property
    def standings(self) -> dict[str, str]:
        return {status.id: status.status for pool in self.relay.pools.values() for status in pool.status()}

    @property
    def records(self) -> list[UsageRecord]:
        """What was metered and is not written yet."""
        return list(self.meter._queue)


@asynccontextmanager
async def rig(
    tmp_path: Path,
    *upstreams: Upstream,
    accounts: Sequence[str] = ("a", "b"),
    url: str | None = None,
    timeouts: Timeouts | None = None,
    **fields: Any,
) -> AsyncIterator[Rig]:
    """Everything opened; `fields` go to each account. `url`: a database instead of a SQLite file of its own."""
    database = Database(url or f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}")
    http = Outbound(timeouts or Timeouts())
    await database.start()
    await http.start()
    try:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield wired(database, http, tmp_path, upstreams, accounts, fields)
    finally:
        await http.close()
        await database.close()


def wired(
    database: Database,
    http: Outbound,
    tmp_path: Path,
    upstreams: Sequence[Upstream],
    accounts: Sequence[str] = ("a", "b"),
    fields: dict[str, Any] | None = None,
) -> Rig:
    """The rooms anew around what is open already, as after a restart."""
    storage = Storage.open((tmp_path / "objects").as_uri())
    links = Links([SECRET], 3600)
    inputs = Inputs(storage, links, http, database)
    ingest = Ingest(storage, http, database, limit=LIMIT)
    meter = Meter(database)
    pools = {one.name: Pool(one.name, accounts_of(one.name, *accounts, **fields or {})) for one in upstreams}
    relay = Relay({one.name: one for one in upstreams}, pools, inputs, ingest, meter, http.timeouts)
    return Rig(database, storage, http, inputs, ingest, meter, relay, links, list(upstreams))


class Web:
    """A web server that gives its `answers` (status, type, body) in order, the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[tuple[int, str, bytes]] = []
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        status, mime, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await Response(body, status, media_type=mime)(scope, receive, send)


@asynccontextmanager
async def web() -> AsyncIterator[Web]:
    server = Web()
    async with serve(server) as server.url:
        yield server
