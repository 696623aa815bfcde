"""BytePlus ModelArk and Volcengine Ark: videos of the Seedance models, as jobs.

One API on two sites, each with accounts, keys and model ids of its own: those of Volcengine begin with `doubao-`. An
endpoint (`ep-…`) can stand for a model. Sources: wire sheet, 2026-11-20; byteplus-python-sdk-v2 3.0.63; the vendor's
pages 1520757, 1521309, 1521675, 1521720, 2298881 and 1299023 as retold in 2026-09. What of it is not obvious:

- A create has no idempotency key: `find` tells how a job is known again whose create was never answered.
- DELETE cancels a job that waits, and erases the record of one that is finished.
- Sound is on unless switched off, and 2.5 makes up to 30 s unless told how long. Both are paid for: both are told.
- 429 may also mean that the vendor is overloaded, and one code for quotas stands for three things.
- The list goes back seven days, shows one service tier, and may be asked for once a second; a single job, 20 times.

Chapters: `models`, `payload` (what is sent), `records` (what comes back), `failures` (what goes wrong).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec
from yarl import URL

from gateway import errors
from gateway.http import Reply
from gateway.types import Account, Job, JobUpdate, Kind, ModelCard, VideoRequest
from gateway.upstreams.ark import failures, payload, records
from gateway.upstreams.ark.models import MODELS, adopted, card, is_endpoint
from gateway.upstreams.ark.records import Made, Page, Record
from gateway.upstreams.base import Upstream

__all__ = ["Ark"]

T = TypeVar("T")
Query = list[tuple[str, str | int]]

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
        return [card(model, facts) for model, facts in MODELS.items()]

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        return adopted(model, kind)

    # --- jobs ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        wanted = payload.body(request)
        try:
            made = _decoded(await self._call("POST", account, json=wanted), account, Made)
        except errors.ModelNotFound as error:
            if not is_endpoint(request.model):
                raise
            raise errors.ModelNotEnabled(detail=error.detail) from error  # it may be another account's
        except errors.UpstreamError as error:
            error.sent = "unknown" if error.sent == "yes" else error.sent
            raise
        return records.job(made.id, request)

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
            reply = await self._ask("DELETE", account, job.id)
            if reply.status not in TOO_LATE:
                _checked(reply, account, of_job=True)
                return True
            status = (await self._record(job, account)).status  # begun meanwhile, or the connection asked twice
        return status == "cancelled"

    async def probe(self, account: Account) -> None:
        await self._page(account, [("page_num", 1), ("page_size", 1)])

    # --- calls ---

    async def _record(self, job: Job, account: Account) -> Record:
        return _decoded(await self._call("GET", account, job.id), account, Record)

    async def _page(self, account: Account, query: Query) -> Page:
        return _decoded(await self._call("GET", account, query=query), account, Page)

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

    async def _call(self, method: str, account: Account, job: str = "", **what: Any) -> Reply:
        return _checked(await self._ask(method, account, job, **what), account, of_job=bool(job))

    async def _ask(
        self, method: str, account: Account, job: str = "", *, query: Query | None = None, json: Any = None
    ) -> Reply:
        url = URL(f"{account.base_url}/contents/generations/tasks{'/' * bool(job)}{quote(job, safe='')}", encoded=True)
        headers = {"Authorization": f"Bearer {account.credential}"}
        return await self.http.call(
            method, url.with_query(query) if query else url, headers=headers, json=json, proxy=account.proxy
        )


def _checked(reply: Reply, account: Account, *, of_job: bool = False) -> Reply:
    if not 200 <= reply.status < 300:
        raise failures.refused(reply, account.credential, of_job=of_job)
    return reply


def _decoded(reply: Reply, account: Account, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=shape, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise failures.refused(reply, account.credential) from exc
