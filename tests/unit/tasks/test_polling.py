"""Looking at many jobs: in batches where the upstream has them, at its pace, each on its own schedule."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from gateway import errors
from gateway.db.tables import tasks
from gateway.tasks.pace import Pace
from gateway.tasks.schedule import BACKOFF_MAX, OLD_SECONDS, backoff, interval
from gateway.types import Job, JobUpdate, Media
from gateway.upstreams.base import Upstream
from tests.unit.scripted import Films, TellsOfMany, film, made
from tests.unit.tasks.test_poller import RUNNING, House, house, until

pytestmark = pytest.mark.anyio


async def together(its: House, count: int) -> list[str]:
    """So many running tasks, all due at once."""
    found = [(await its.submit()).id for _ in range(count)]
    async with its.base.database.write() as connection:
        await connection.execute(update(tasks).values(next_poll_at=0.0))
    return found


async def test_jobs_of_one_account_are_asked_for_together(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[RUNNING])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        await together(its, 25)
        await until(lambda: any(len(jobs) == 10 for jobs, _ in upstream.calls))
        upstream.polls = [made()]
        await until(lambda: len(its.base.records) == 25)
    assert max(len(jobs) for jobs, _ in upstream.calls) == 10
    alone = {job.id for job, _ in upstream.polled}  # whoever came due when nobody else was
    assert {job for jobs, _ in upstream.calls for job in jobs} | alone == {f"job-{n}" for n in range(1, 26)}


async def test_no_call_asks_for_jobs_of_two_accounts(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[RUNNING])
    async with house(tmp_path, upstream) as its:
        of = {}
        for _ in range(12):
            task = await its.submit()
            assert task.job is not None
            of[task.job.id] = (task.account or "").partition("/")[2]

        def looked_at() -> set[str]:
            return {job for jobs, _ in upstream.calls for job in jobs} | {job.id for job, _ in upstream.polled}

        await until(lambda: len(looked_at()) == 12)
    assert set(of.values()) == {"a", "b"}
    assert all(of[job] == account for jobs, account in upstream.calls for job in jobs)


async def test_each_job_of_an_answer_takes_its_own_way(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[RUNNING])
    upstream.stands = {
        "job-1": made(),
        "job-2": JobUpdate("failed", error=errors.ContentRefused("no")),
        "job-3": JobUpdate("succeeded", media=(Media("video", data=b"<html>"),)),
    }
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        first, second, third, fourth = await together(its, 4)
        ends = [(await its.done(name)).state for name in (first, second, third)]
        assert ends == ["succeeded", "failed", "failed"]
        assert (await its.store.get(fourth)).state == "running"


async def test_a_job_that_the_answer_leaves_out_is_asked_for_by_itself(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[RUNNING])
    upstream.stands = {"job-1": None}
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        names = await together(its, 3)
        await until(lambda: upstream.polled)
        upstream.polls = [errors.JobLost()]
        done = await its.done(names[0])
    assert (done.state, done.error and done.error["code"]) == ("expired", "task_lost_upstream")
    assert "job-1" in {job.id for job, _ in upstream.polled}


async def test_a_call_that_fails_puts_all_of_its_jobs_off(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[errors.UpstreamFailed(), errors.UpstreamTimeout(), made()])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        names = await together(its, 5)
        assert [(await its.done(name)).state for name in names] == ["succeeded"] * 5


async def test_one_slow_result_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    upstream = TellsOfMany(polls=[RUNNING])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        slow, quick = await together(its, 2)
        stuck = asyncio.Event()
        bring = its.base.ingest.bring

        async def held(media, origin, position, **how):  # type: ignore[no-untyped-def]
            if origin.task_id == slow:
                await stuck.wait()
            return await bring(media, origin, position, **how)

        its.base.ingest.bring = held  # type: ignore[method-assign]
        upstream.polls = [made()]
        assert (await its.done(quick)).state == "succeeded"
        stuck.set()
        assert (await its.done(slow)).state == "succeeded"


# --- results ---


def two(first: bytes, second: bytes) -> JobUpdate:
    return JobUpdate("succeeded", media=(Media("video", data=first), Media("video", data=second)))


async def test_some_results_are_better_than_none_and_the_others_say_why(tmp_path: Path) -> None:
    upstream = Films(polls=[two(film(), b"<html>")])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
    assert done.state == "succeeded"
    assert [(output.position, output.state) for output in done.outputs] == [(0, "succeeded"), (1, "failed")]
    assert (done.outputs[1].error or {})["code"] == "result_unavailable"


async def test_what_is_here_is_not_fetched_again(tmp_path: Path) -> None:
    upstream = Films(polls=[two(film(), b"<html>"), two(b"<html>", film())])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
    assert [output.state for output in done.outputs] == ["succeeded", "succeeded"]


async def test_a_storage_that_is_away_gives_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tasks.recorder.STORES_AWAY_SECONDS", 0.01)
    upstream = Films(polls=[made()])
    async with house(tmp_path, upstream) as its:
        bring, away = its.base.ingest.bring, 6

        async def failing(media, origin, position, **how):  # type: ignore[no-untyped-def]
            nonlocal away
            away -= 1
            if away > 0:
                raise errors.StorageUnavailable
            return await bring(media, origin, position, **how)

        its.base.ingest.bring = failing  # type: ignore[method-assign]
        assert (await its.made()).state == "succeeded"
    assert len(upstream.submitted) == 1


# --- the schedule ---


class Seldom(Upstream):
    poll_interval = 5.0
    poll_interval_old = 10.0


def test_old_jobs_are_looked_at_more_seldom_and_none_at_the_same_moment() -> None:
    upstream, dice = Seldom("s", None, None), random.Random(1)  # type: ignore[arg-type]

    def many(age: float) -> list[float]:
        return [interval(upstream, 2.0, age, dice) for _ in range(500)]

    for age, middle in ((0.0, 5.0), (OLD_SECONDS / 2, 7.5), (OLD_SECONDS, 10.0), (1e9, 10.0), (-5.0, 5.0)):
        found = many(age)
        assert sum(found) / 500 == pytest.approx(middle, rel=0.02)
        assert middle * 0.9 <= min(found) < max(found) <= middle * 1.1
    assert interval(None, 2.0, 50.0, dice) == pytest.approx(2.0, rel=0.11)


def test_failed_looks_come_further_and_further_apart() -> None:
    assert [backoff(5.0, faults) for faults in (1, 2, 3, 4, 99)] == [10.0, 20.0, 40.0, BACKOFF_MAX, BACKOFF_MAX]
    assert backoff(5.0, 1, asked=300.0) == 300.0
    assert backoff(5.0, 3, asked=1.0) == 40.0


async def test_turns_of_one_name_are_apart_and_others_do_not_wait() -> None:
    pace, begun = Pace(), time.monotonic()
    await asyncio.gather(*(pace.turn("a", 100.0) for _ in range(11)), pace.turn("b", 100.0), pace.turn("c", None))
    assert time.monotonic() - begun >= 0.1


async def test_the_pace_of_an_account_holds(tmp_path: Path) -> None:
    class Slow(Films):
        polls_per_second = 50.0

    upstream = Slow(polls=[RUNNING])
    moments: list[float] = []

    async def poll(job: Job, account: object) -> JobUpdate:
        moments.append(time.monotonic())
        return RUNNING

    upstream.poll = poll  # type: ignore[method-assign]
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        await together(its, 10)
        await until(lambda: len(moments) >= 20)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert sum(gaps) / len(gaps) >= 0.018


async def test_jobs_that_come_due_while_a_turn_is_awaited_go_along(tmp_path: Path) -> None:
    """However small the groups they come in, a turn takes all that are there: else they would come ever later."""

    class Wide(TellsOfMany):
        poll_batch = 50

    upstream, turn, asked = Wide(polls=[RUNNING]), asyncio.Event(), asyncio.Event()
    async with house(tmp_path, upstream, accounts=("only",)) as its:

        async def held(name: str, rate: float | None) -> None:
            asked.set()
            await turn.wait()

        its.poller.polling._pace.turn = held  # type: ignore[method-assign]
        await its.submit()
        await asked.wait()
        for _ in range(20):
            await its.submit()
        [line] = its.poller.polling._lines.values()
        await until(lambda: len(line._waiting) == 21)
        before = len(upstream.calls)
        turn.set()
        await until(lambda: len(upstream.calls) > before)
        assert len(upstream.calls[before][0]) == 21
