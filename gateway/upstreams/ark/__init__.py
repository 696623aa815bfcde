"""BytePlus ModelArk and Volcengine Ark: text, images of the Seedream models, and videos of the Seedance models.

One API on two sites, each with accounts, keys and model ids of its own: those of Volcengine begin with `doubao-`. An
endpoint (`ep-…`) can stand for a model. Sources: wire sheet, 2026-11-21; byteplus-python-sdk-v2 3.0.63; the vendor's
pages 1330310, 1520757, 1521309, 1521675, 1521720, 1541523, 2298881 and 1299023 as retold in 2026-09. What of it is not
obvious:

- A create has no idempotency key: `find` tells how a job is known again whose create was never answered.
- DELETE cancels a job that waits, and erases the record of one that is finished.
- Sound is on unless switched off, and 2.5 makes up to 30 s unless told how long. Both are paid for: both are told.
- Images have a watermark unless told not to. There is no number of them: a set, whose number the model decides, is made
  where the caller asks for one by the vendor's own parameter, and streamed.
- An image's answer begins with the image: half a minute of silence is no fault.
- Some images of an answer may have failed within a 200.
- 429 may also mean that the vendor is overloaded, and one code for quotas stands for three things.
- The list goes back seven days, shows one service tier, and may be asked for once a second; a single job, 20 times.
- Prices are stated nowhere that could be relied on: what is told are tokens.

Chapters: `models` (which there are), `names` (what a name tells), `films` and `stills` (what each takes), `payload`
(what is sent for a film), `records` and `pictures` (what comes back), `failures` (what goes wrong).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec
from yarl import URL

from gateway import errors, sse
from gateway.http import Answer, Reply
from gateway.types import (
    Account,
    ChatRequest,
    Event,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    MediaReady,
    MediaRequest,
    ModelCard,
    TextDelta,
    VideoRequest,
)
from gateway.upstreams.ark import failures, films, models, payload, records, stills
from gateway.upstreams.ark.names import is_endpoint
from gateway.upstreams.ark.pictures import Gathered, Images, Told
from gateway.upstreams.ark.records import Made, Page, Record
from gateway.upstreams.base import Upstream
from gateway.wire import openai_passing

__all__ = ["Ark"]

T = TypeVar("T")
Query = list[tuple[str, str | int]]

TASKS = "contents/generations/tasks"
IMAGES = "images/generations"
FLEX_MARGIN = 600.0
"""Seconds past its expiry after which a job that may wait is not waited for."""
SEARCHED = 500
"""Records on a page of a search."""
SEARCH_PAGES = 4
SEARCH_PAUSE = 1.1
"""Seconds between two pages: the list may be asked for once a second."""
SLACK = 60.0
"""Seconds that the vendor's clock may be behind."""
TOO_LATE = frozenset({400, 403, 409})
"""What a DELETE is answered with where the job has begun."""


class Ark(Upstream):
    type_name: ClassVar[str] = "ark"
    base_url: ClassVar[str] = "https://ark.ap-southeast.bytepluses.com/api/v3"
    env_credentials: ClassVar[tuple[str, ...]] = ("ARK_API_KEYS", "ARK_API_KEY")
    env_base_url: ClassVar[str | None] = "ARK_BASE_URL"
    poll_interval: ClassVar[float | None] = 5.0
    poll_interval_old: ClassVar[float | None] = 10.0
    polls_per_second: ClassVar[float | None] = 1.0
    """What the list allows; it tells of so many jobs that more is not needed."""
    poll_batch: ClassVar[int] = 150
    deadline: ClassVar[float | None] = 1800.0

    def cards(self) -> Sequence[ModelCard]:
        return list(models.cards())

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        return models.adopted(model, kind)

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        match request:
            case VideoRequest():
                return films.effective(request)
            case ImageRequest():
                return stills.effective(request)
            case _:
                return request

    # --- text ---

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        async def opened() -> Answer:
            url, headers = _address(account, "chat/completions"), _headers(account)
            content = openai_passing.body(request)
            return await self.http.open("POST", url, headers=headers, content=content, proxy=account.proxy)

        async def answered() -> Reply:
            content, silence = openai_passing.body(request), self.http.timeouts.total
            reply = await self._ask(
                "POST", account, "chat/completions", content=content, silence=silence, headers=_headers(account)
            )
            return _checked(reply, account, model=request.model)

        def refused(status: int, headers: Mapping[str, str], body: bytes) -> errors.GatewayError:
            return failures.refused(status, headers, body, account.credential, model=request.model)

        if request.stream:
            return openai_passing.streamed(opened, refused, drop_usage=not request.include_usage)
        return openai_passing.whole(answered, refused)

    # --- images ---

    async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        """What came out, if anything did: of several images some may be missing, which is told, and nobody is charged
        for those."""
        made = Gathered(account.credential)
        ask = self._set if stills.is_set(request) else self._still
        for number in range(request.n):
            try:
                async with aclosing(ask(request, account, made)) as events:
                    async for event in events:
                        yield event
            except errors.GatewayError as error:
                if number == 0:
                    raise
                made.lost(request.n, error)
                break
        if made.told:
            yield TextDelta(made.told)
        yield made.usage

    async def _still(self, request: ImageRequest, account: Account, made: Gathered) -> AsyncGenerator[MediaReady]:
        """One image, or none: then the error says why."""
        reply = await self._create(account, IMAGES, stills.body(request), request.model, patient=True)
        for event in self._read(reply, account, request, made):
            yield event

    async def _set(self, request: ImageRequest, account: Account, made: Gathered) -> AsyncGenerator[MediaReady]:
        """Images that belong together, each as it comes."""
        before, made.completed, made.failure = made.usage.images, False, None
        with _unknown_if_sent():
            answer = await self.http.open(
                "POST",
                _address(account, IMAGES),
                headers=_headers(account),
                content=msgspec.json.encode(stills.body(request)),
                proxy=account.proxy,
                silence=self.http.timeouts.total,
            )
        try:
            if answer.content_type != "text/event-stream" or answer.status != 200:
                reply = Reply(answer.status, answer.headers, await answer.read())
                for event in self._read(_checked(reply, account, model=request.model), account, request, made):
                    yield event
                return
            async with aclosing(answer.chunks()) as chunks:
                async for one in sse.events(chunks):
                    if one.data.strip() == b"[DONE]":
                        break
                    for event in made.event(_event(one.data, account, request)):
                        yield event
            if made.usage.images == before:
                raise made.nothing
            if not (made.completed or made.failure):
                raise errors.StreamTruncated(sent="unknown")
            await answer.drain()
        finally:
            answer.close()

    def _read(self, reply: Reply, account: Account, request: ImageRequest, made: Gathered) -> list[MediaReady]:
        images = _decoded(reply, account, Images)
        if images.error is not None:
            raise failures.refused(reply.status, reply.headers, reply.body, account.credential, model=request.model)
        found = list(made.whole(images))
        if not found:
            raise made.nothing
        return found

    # --- jobs ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        reply = await self._create(account, TASKS, payload.body(request), request.model)
        return records.job(_decoded(reply, account, Made).id, request)

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        return records.update(job, await self._record(job, account), account.credential)

    async def poll_many(self, jobs: Sequence[Job], account: Account) -> Mapping[str, JobUpdate]:
        """As told by one list. Left out: what it does not show, and what succeeded without a video so far."""
        query: Query = [("page_num", 1), ("page_size", len(jobs))]
        query += [("filter.task_ids", job.id) for job in jobs]
        if all(job.cursor.get("flex") for job in jobs):
            query.append(("filter.service_tier", "flex"))
        page = await self._page(account, query)
        told = {record.id: record for record in page.records() if record.status != "succeeded" or record.video_url}
        return {job.id: records.update(job, told[job.id], account.credential) for job in jobs if job.id in told}

    async def find(self, request: VideoRequest, since: float, account: Account) -> Job | None:
        """The job that a lost create made, known by what its record tells again of the request.

        A task whose caller chose no seed has its mark for one: 31 random bits, nobody else's. But a seed is told only
        when the job has succeeded, and 2.x tell one of their own. So a task whose caller chose no expiry is marked by
        that as well, which is told from the first moment: an hour to a day, never the two days that jobs get where
        nobody says. Another program's job does not have it; another task's of this gateway does once in 82,800 times.

        Hence what was made for the model, on the account, since then, tells one of the task's own marks and speaks
        against no other is the task's job, unless another task is known to have it, which the caller can look up.
        Two that fit are none. Where the caller chose seed and expiry, no record is proof, and none is looked for.
        """
        if not payload.marks(request)[1]:
            return None
        tier: Query = [("filter.service_tier", "flex")] if payload.is_flex(request) else []
        named: Query = [*tier, ("filter.model", request.model)]
        after = since - SLACK
        try:  # not every site knows its own model ids as a filter, but all know endpoints
            listed = await self._since(after, account, named if is_endpoint(request.model) else tier)
        except errors.ModelNotEnabled:  # a key of limited rights must name what it looks for
            listed = await self._since(after, account, named)
        fitting = {record.id for record in listed if record.created_at >= after and records.is_of(request, record)}
        return records.job(fitting.pop(), request) if len(fitting) == 1 else None

    def allowance(self, request: VideoRequest) -> float | None:
        return payload.lifetime(request) + FLEX_MARGIN if payload.is_flex(request) else self.deadline

    async def cancel(self, job: Job, account: Account) -> bool:
        """Only a job that waits can be cancelled; asked of a finished one, the vendor would erase its record."""
        status = (await self._record(job, account)).status
        if status == "queued":
            reply = await self._ask("DELETE", account, _of(job))
            if reply.status not in TOO_LATE:
                _checked(reply, account, of_job=True)
                return True
            status = (await self._record(job, account)).status  # begun meanwhile, or the connection asked twice
        return status == "cancelled"

    async def probe(self, account: Account) -> None:
        await self._page(account, [("page_num", 1), ("page_size", 1)])

    # --- calls ---

    async def _record(self, job: Job, account: Account) -> Record:
        return _decoded(_checked(await self._ask("GET", account, _of(job)), account, of_job=True), account, Record)

    async def _page(self, account: Account, query: Query) -> Page:
        return _decoded(_checked(await self._ask("GET", account, TASKS, query=query), account), account, Page)

    async def _since(self, after: float, account: Account, query: Query) -> list[Record]:
        """The records of a list from the newest back to `after`, as far as a search goes."""
        found: list[Record] = []
        for number in range(1, SEARCH_PAGES + 1):
            page = await self._page(account, [("page_num", number), ("page_size", SEARCHED), *query])
            found += page.records()
            oldest = min((record.created_at for record in found), default=after)
            if not page.items or number * SEARCHED >= page.total or oldest < after:
                break
            await asyncio.sleep(SEARCH_PAUSE)
        return found

    async def _create(
        self, account: Account, path: str, body: Mapping[str, Any], model: str, *, patient: bool = False
    ) -> Reply:
        """What is paid for. `patient`: silence before the answer is no fault, since something is being made."""
        silence = self.http.timeouts.total if patient else None
        with _unknown_if_sent():
            reply = await self._ask("POST", account, path, json=body, silence=silence)
            return _checked(reply, account, model=model)

    async def _ask(self, method: str, account: Account, path: str, *, query: Query | None = None, **what: Any) -> Reply:
        url = _address(account, path)
        what.setdefault("headers", {"Authorization": f"Bearer {account.credential}"})
        return await self.http.call(method, url.with_query(query) if query else url, proxy=account.proxy, **what)


def _of(job: Job) -> str:
    return f"{TASKS}/{quote(job.id, safe='')}"


def _address(account: Account, path: str) -> URL:
    return URL(f"{account.base_url}/{path}", encoded=True)


def _headers(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credential}", "Content-Type": "application/json"}


@contextmanager
def _unknown_if_sent() -> Iterator[None]:
    """Of what is paid for nobody knows, after a fault of the upstream, whether it was made."""
    try:
        yield
    except errors.UpstreamError as error:
        error.sent = "unknown" if error.sent == "yes" else error.sent
        raise


def _event(data: bytes, account: Account, request: ImageRequest) -> Told:
    """An event of a set. Raises what it says where it is an error of the whole."""
    try:
        told = msgspec.json.decode(data, type=Told, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise errors.UpstreamGarbled("the upstream sent an event that cannot be understood", sent="unknown") from exc
    if told.error is not None and not told.type.endswith((".partial_failed", ".completed")):
        raise failures.refused(200, {}, data, account.credential, model=request.model)
    return told


def _checked(reply: Reply, account: Account, *, of_job: bool = False, model: str = "") -> Reply:
    if not 200 <= reply.status < 300:
        secret = account.credential
        raise failures.refused(reply.status, reply.headers, reply.body, secret, of_job=of_job, model=model)
    return reply


def _decoded(reply: Reply, account: Account, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=shape, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise failures.refused(reply.status, reply.headers, reply.body, account.credential) from exc
