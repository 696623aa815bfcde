"""Creates whose answer was lost: looked for, never sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway import errors
from gateway.db.tables import tasks
from gateway.tasks.submission import FEWEST_LOOKS, SETTLED_SECONDS
from gateway.tasks.task import Task
from gateway.types import Job, JobUpdate
from tests.unit.scripted import OWNER as PRINCIPAL
from tests.unit.scripted import Finds, Stops, made
from tests.unit.tasks.test_poller import RUNNING, House, house, restarted, running, until

pytestmark = pytest.mark.anyio
LOST = errors.UpstreamTimeout("no answer", sent="unknown")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tasks.submission.LOOK_SECONDS", 0.01)


async def long_ago(house: House, **values: Any) -> None:
    """As if the upstream had been asked long before."""
    async with house.base.database.write() as connection:
        moment = house.store.now() - SETTLED_SECONDS - 1
        await connection.execute(update(tasks).values(submitted_at=moment, **values))


async def test_a_job_that_was_made_is_found_and_gone_on_with(tmp_path: Path) -> None:
    upstream = Finds(submits=[LOST], finds=[None, Job("job-7")], polls=[RUNNING, made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        assert (task.state, task.job) == ("submit_unknown", None)
        done = await its.done(task)
    assert (done.state, done.job, len(upstream.submitted)) == ("succeeded", Job("job-7"), 1)
    assert {job.id for job, _ in upstream.polled} == {"job-7"}
    assert {account for _, account in upstream.polled} == set(upstream.accounts)


async def test_it_is_looked_for_as_it_was_asked_for_and_by_whom(tmp_path: Path) -> None:
    upstream = Finds(submits=[LOST], finds=[Job("job-7")])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
        asked = upstream.submitted[0]
        [(sought, since, account), *_] = upstream.sought
    assert sought == asked
    assert asked.mark > 0
    assert account == upstream.accounts[0] == (done.account or "").partition("/")[2]
    assert done.submitted_at == since


async def test_no_two_requests_have_one_mark(tmp_path: Path) -> None:
    upstream = Finds()
    async with house(tmp_path, upstream) as its:
        for _ in range(3):
            await its.made()
    assert len({request.mark for request in upstream.submitted}) == 3


async def test_a_job_that_never_shows_is_given_up_and_not_asked_for_again(tmp_path: Path) -> None:
    upstream = Finds(submits=[LOST, Job("second")])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        await until(lambda: len(upstream.sought) > FEWEST_LOOKS)
        assert not (await its.store.get(task.id)).final
        await long_ago(its, next_poll_at=0.0)
        done = await its.done(task)
    assert done.error is not None
    assert (done.state, done.error["code"], len(upstream.submitted)) == ("failed", "submit_outcome_unknown", 1)


async def test_an_upstream_that_cannot_be_asked_is_asked_again(tmp_path: Path) -> None:
    upstream = Finds(submits=[LOST], finds=[errors.UpstreamFailed(), errors.RateLimited(), Job("job-7")])
    async with house(tmp_path, upstream) as its:
        assert (await its.made()).state == "succeeded"
    assert len(upstream.sought) == 3


async def test_a_job_of_another_task_is_not_taken(tmp_path: Path) -> None:
    upstream = Finds(submits=[Job("job-1"), LOST], finds=[Job("job-1"), Job("job-2")], polls=[RUNNING])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        first, second = await its.submit(), await its.submit()
        await until(lambda: {job.id for job, _ in upstream.polled} == {"job-1", "job-2"})
        jobs = [(await its.store.get(task.id)).job for task in (first, second)]
    assert jobs == [Job("job-1"), Job("job-2")]


async def test_after_a_restart_a_create_that_was_under_way_is_looked_for(tmp_path: Path) -> None:
    before, after = Finds(submits=[asyncio.Event()]), Finds(finds=[Job("job-7")])
    async with restarted(tmp_path, before, after) as (old, new):
        async with running(old):
            asking = asyncio.ensure_future(old.submit())
            await until(lambda: before.submitted)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        task = await new.only()
        assert task.state == "submitting"
        await new.store.free_holds()
        async with running(new):
            done = await new.done(task)
    assert (done.state, done.job, after.submitted) == ("succeeded", Job("job-7"), [])
    assert after.sought[0][2] == before.accounts[0]


async def test_a_cancel_is_remembered_until_the_job_is_found(tmp_path: Path) -> None:
    class Both(Finds, Stops):
        pass

    upstream = Both(submits=[LOST], finds=[None, None, Job("job-7")], polls=[RUNNING], stops=True)
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        asked = await its.tasks.cancel(task.id, PRINCIPAL)
        assert (asked.final, asked.cancel_requested) == (False, True)
        done = await its.done(task)
    assert (done.state, [job.id for job, _ in upstream.stopped]) == ("cancelled", ["job-7"])


async def test_what_surely_was_not_made_is_not_looked_for(tmp_path: Path) -> None:
    upstream = Finds(submits=[errors.UpstreamUnreachable(sent="no"), errors.RateLimited(), Job("job-1")])
    async with house(tmp_path, upstream) as its:
        assert (await its.made()).state == "succeeded"
    assert upstream.sought == []


async def test_a_task_says_who_is_being_asked_before_it_is_sent(tmp_path: Path) -> None:
    upstream = Finds(submits=[errors.RateLimited(), Job("job-1")])
    seen: list[Task] = []
    async with house(tmp_path, upstream) as its:

        async def look() -> None:
            seen.append(await its.only())

        upstream.at_submit = look
        await its.submit()
    assert [(one.state, (one.account or "").partition("/")[2]) for one in seen] == [
        ("submitting", account) for account in upstream.accounts
    ]


async def test_a_failure_that_the_upstream_told_of_is_no_lost_answer(tmp_path: Path) -> None:
    upstream = Finds(submits=[errors.UpstreamFailed(sent="yes")], polls=[JobUpdate("running")])
    async with house(tmp_path, upstream) as its:
        with pytest.raises(errors.UpstreamFailed):
            await its.submit()
    assert upstream.sought == []
