"""What becomes of a task: submitted once, polled by who made it, ended one way, wherever a process stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway import errors
from gateway.db.engine import Database
from gateway.db.tables import assets, tasks
from gateway.errors import Conflict, GatewayError, NotFound, WaitTimeout
from gateway.tasks.failure import failure_of
from gateway.tasks.poller import Poller
from gateway.tasks.polling import LOST_POLLS
from gateway.tasks.results import TRIES
from gateway.tasks.store import Store
from gateway.tasks.task import Task
from gateway.tasks.tasks import Tasks
from gateway.types import Job, JobUpdate, Media, Principal, Usage, VideoRequest
from tests.unit.db.conftest import schema
from tests.unit.scripted import OWNER, Films, Rig, Scripted, Stops, film, made, rig, wired

pytestmark = pytest.mark.anyio

REQUEST = VideoRequest("m", "waves rolling in")
SOON = 0.01
RUNNING = JobUpdate("running", 10.0)


class House:
    """Tasks on a rig, and a poller that runs."""

    def __init__(self, base: Rig, *, deadline: float = 60.0) -> None:
        self.base = base
        self.store = Store(base.database)
        self.poller = Poller(self.store, base.relay, base.ingest, interval=SOON)
        self.tasks = Tasks(self.store, self.poller, base.relay, base.inputs, deadline=deadline)

    async def submit(self, request: VideoRequest = REQUEST, **fields: Any) -> Task:
        candidates = self.base.candidates("t2v", **fields)
        return await self.tasks.submit(request, candidates, OWNER, request_id="req_1", chat_id="chat_1")

    async def done(self, task: Task | str, seconds: float = 10.0) -> Task:
        """The task once it is over."""
        return await self.tasks.finished(task if isinstance(task, str) else task.id, seconds)

    async def made(self, **fields: Any) -> Task:
        return await self.done(await self.submit(**fields))

    async def only(self) -> Task:
        """The one task there is."""
        async with self.base.database.read() as connection:
            [task_id] = (await connection.execute(select(tasks.c.id))).scalars()
        return await self.store.get(task_id)


@asynccontextmanager
async def running(house: House) -> AsyncIterator[House]:
    work = asyncio.create_task(house.poller.run())
    await until(lambda: house.poller._group is not None)
    try:
        yield house
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def house(tmp_path: Path, *upstreams: Scripted, deadline: float = 60.0, **fields: Any) -> AsyncIterator[House]:
    async with rig(tmp_path, *upstreams, **fields) as base, running(House(base, deadline=deadline)) as found:
        yield found


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not met():
            await asyncio.sleep(0.002)


async def refused(house: House) -> GatewayError:
    with pytest.raises(GatewayError) as told:
        await house.submit()
    return told.value


async def count_assets(database: Database) -> int:
    async with database.read() as connection:
        return len((await connection.execute(select(assets.c.id))).all())


# --- submitting ---


async def test_a_task_goes_from_its_row_to_a_film_of_ours(tmp_path: Path) -> None:
    usage = Usage(seconds=5)
    ended = JobUpdate("succeeded", media=(Media("video", data=film()),), usage=usage)
    upstream = Films(polls=[JobUpdate("queued"), RUNNING, ended])
    async with house(tmp_path, upstream) as its:
        taken = await its.submit()
        assert (taken.state, taken.job, taken.upstream) == ("running", Job("job-1"), "up")
        assert taken.account in ("up/a", "up/b")
        done = await its.done(taken)
        assert (done.state, done.progress, done.error, done.usage and done.usage["seconds"]) == (
            "succeeded", 100.0, None, 5.0,
        )  # fmt: skip
        [output] = done.outputs
        assert (output.mime, output.width, output.height) == ("video/mp4", 64, 48)
        assert b"".join([chunk async for chunk in its.base.storage.get(output.key)]) == film()
        assert its.base.in_flight == 0
        [record] = its.base.records
        assert (record.code, record.task_id, record.account) == ("succeeded", done.id, done.account)


async def test_the_row_is_there_before_the_upstream_is_asked(tmp_path: Path) -> None:
    upstream = Films()
    seen: list[Task] = []
    async with house(tmp_path, upstream) as its:

        async def look() -> None:
            seen.append(await its.only())

        upstream.at_submit = look
        task = await its.submit()
    assert [(one.id, one.state, one.job) for one in seen] == [(task.id, "submitting", None)]
    assert seen[0].submitted_at is not None


async def test_polls_go_to_the_account_that_made_the_job(tmp_path: Path) -> None:
    upstream = Films(submits=[errors.RateLimited(), Job("job-2")], polls=[RUNNING, RUNNING, made()])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
    asked, maker = upstream.accounts
    assert asked != maker
    assert upstream.polled == [(Job("job-2"), maker)] * 3
    assert [attempt["outcome"] for attempt in done.attempts] == ["upstream_rate_limited", "ok"]


async def test_a_cursor_that_moves_is_gone_on_with(tmp_path: Path) -> None:
    upstream = Films(polls=[JobUpdate("running", job=Job("job-1", {"page": 2})), made()])
    async with house(tmp_path, upstream) as its:
        await its.made()
    assert [job.cursor for job, _ in upstream.polled] == [{}, {"page": 2}]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (errors.ContentRefused("no"), "failed"),
        (errors.InvalidRequest("'seconds' must be 5 or 8", param="seconds"), "failed"),
        (errors.UpstreamFailed(sent="yes"), "failed"),
    ],
)
async def test_what_refuses_a_task_at_once_is_told_at_once(tmp_path: Path, error: GatewayError, state: str) -> None:
    upstream = Films(submits=[error])
    async with house(tmp_path, upstream) as its:
        told = await refused(its)
        task = await its.only()
        assert (told.code, told.status, told.task_id, told.chat_id) == (error.code, error.status, task.id, "chat_1")
        assert (task.state, task.error and task.error["code"]) == (state, error.code)
        assert (len(upstream.submitted), its.base.in_flight) == (1, 0)
        assert failure_of(task).status == error.status


@pytest.mark.parametrize("error", [errors.UpstreamTimeout(sent="unknown"), errors.UpstreamFailed(sent="unknown")])
async def test_a_create_whose_outcome_nobody_knows_is_never_sent_again(tmp_path: Path, error: GatewayError) -> None:
    upstream = Films(submits=[error, Job("second")])
    async with house(tmp_path, upstream) as its:
        told = await refused(its)
        assert (told.code, told.resend_helps) == ("submit_outcome_unknown", False)
        await asyncio.sleep(5 * SOON)
        assert (len(upstream.submitted), (await its.only()).state) == (1, "failed")


async def test_with_all_accounts_resting_a_task_waits_for_one(tmp_path: Path) -> None:
    upstream = Films(submits=[errors.RateLimited(retry_after=1), Job("job-1")])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        task = await its.submit()
        assert (task.state, task.job) == ("queued", None)
        assert task.eta == pytest.approx(1.0, abs=0.1)
        assert (await its.done(task)).state == "succeeded"
        assert len(upstream.submitted) == 2


async def test_a_task_that_no_account_will_take_before_its_deadline_is_refused(tmp_path: Path) -> None:
    upstream = Films(submits=[errors.QuotaExhausted(retry_after=3600)])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        assert (await refused(its)).code == "insufficient_quota"
        assert (await its.only()).state == "failed"


async def test_another_upstream_takes_what_the_first_cannot(tmp_path: Path) -> None:
    first, second = Films(submits=[errors.CredentialRejected()], name="first"), Films(name="second")
    async with house(tmp_path, first, second) as its:
        done = await its.made()
    assert (done.upstream, done.state, len(first.submitted), len(second.submitted)) == ("second", "succeeded", 2, 1)


# --- polling ---


async def test_progress_never_falls_and_never_says_done_too_soon(tmp_path: Path) -> None:
    told = [JobUpdate("running", percent) for percent in (40.0, 10.0, None, 60.0, 100.0)]
    upstream = Films(polls=[*told, made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        seen = [one.progress async for one in its.tasks.watch(task.id, 3)]
    assert seen == sorted(seen)
    assert seen[-1] == 100.0
    assert max(seen[:-1]) <= 99.0


async def test_without_a_word_progress_follows_the_estimate_up_to_95(tmp_path: Path) -> None:
    upstream = Films(polls=[*[JobUpdate("running")] * 8, made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit(estimate=0.03)
        seen = [one.progress async for one in its.tasks.watch(task.id, 3)]
    assert 95.0 in seen
    assert max(seen[:-1]) == 95.0


async def test_a_state_nobody_knows_means_running_until_the_deadline(tmp_path: Path) -> None:
    upstream = Films(polls=[JobUpdate("running", native="WARPED")])
    async with house(tmp_path, upstream, deadline=1.0) as its:
        task = await its.submit()
        done = await its.done(task)
    assert len(upstream.polled) > 2
    assert (done.state, done.native) == ("expired", "WARPED")
    assert done.error is not None
    assert (done.error["code"], done.error["message"]) == ("expired", "the task did not finish within 1 s")


async def test_polls_that_fail_are_borne_until_the_deadline(tmp_path: Path) -> None:
    bad = [errors.UpstreamFailed(), errors.UpstreamTimeout(), errors.RateLimited(), errors.CredentialRejected()]
    upstream = Films(polls=[*bad, made()])
    async with house(tmp_path, upstream) as its:
        assert (await its.made()).state == "succeeded"
        assert set(its.base.standings.values()) == {"INVALID", "OK"}  # a rejected credential is, whoever noticed it


async def test_a_job_that_is_not_found_again_and_again_is_lost(tmp_path: Path) -> None:
    upstream = Films(polls=[errors.JobLost()])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
    assert len(upstream.polled) == LOST_POLLS
    assert (done.state, done.error and done.error["code"]) == ("expired", "task_lost_upstream")


async def test_a_job_that_is_found_in_between_is_not_lost(tmp_path: Path) -> None:
    lost = errors.JobLost()
    upstream = Films(polls=[lost, lost, RUNNING, lost, lost, made()])
    async with house(tmp_path, upstream) as its:
        assert (await its.made()).state == "succeeded"


@pytest.mark.parametrize(
    ("update_", "state", "code"),
    [
        (JobUpdate("failed", error=errors.ContentRefused("not this")), "failed", "content_policy_violation"),
        (JobUpdate("failed"), "failed", "generation_failed"),
        (JobUpdate("failed", error=ValueError("internals")), "failed", "generation_failed"),
        (JobUpdate("expired", error=errors.TaskExpired()), "expired", "expired"),
        (JobUpdate("expired"), "expired", "generation_failed"),
        (JobUpdate("cancelled"), "cancelled", None),
    ],
)
async def test_a_job_s_bad_end_is_the_task_s(tmp_path: Path, update_: JobUpdate, state: str, code: str | None) -> None:
    upstream = Films(polls=[update_])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
        assert (done.state, (done.error or {}).get("code")) == (state, code)
        assert len(upstream.submitted) == 1
        assert "internals" not in str(done.error)


async def test_an_account_that_is_gone_from_the_config_ends_its_tasks(tmp_path: Path) -> None:
    upstream = Films(polls=[RUNNING])
    async with rig(tmp_path, upstream, accounts=("old",)) as base:
        async with running(House(base)) as its:
            task = await its.submit()
        rewired = wired(base.database, base.http, tmp_path, [upstream], ("new",))
        async with running(House(rewired)) as its:
            await its.store.free_holds()
            done = await its.done(task)
    assert done.error is not None
    assert (done.state, done.error["code"]) == ("failed", "account_gone")


# --- results ---


@pytest.mark.parametrize(
    ("media", "why"),
    [
        ((), "the upstream says it is done but names no result"),
        ((Media("video"),), "the upstream named no result"),
        ((Media("video", data=b"<!doctype html><p>no</p>"),), "the upstream's result is not a video"),
        ((Media("video", data=b"\x00\x00\x00\x18ftypmp42garbage"),), "the upstream's video cannot be read"),
        ((Media("video", url="http://127.0.0.1/film.mp4"),), "the upstream's result could not be fetched"),
    ],
    ids=["no media", "empty media", "HTML", "broken", "a forbidden address"],
)
async def test_success_needs_evidence_and_is_never_made_again(tmp_path: Path, media: Sequence[Media], why: str) -> None:
    upstream = Films(polls=[JobUpdate("succeeded", media=tuple(media))])
    async with house(tmp_path, upstream) as its:
        done = await its.made()
        assert done.error is not None
        assert (done.state, done.error["code"], done.error["message"]) == ("failed", "result_unavailable", why)
        assert (len(upstream.submitted), len(upstream.polled)) == (1, TRIES)
        assert await count_assets(its.base.database) == 0


async def test_a_result_that_cannot_be_had_is_asked_for_anew(tmp_path: Path) -> None:
    upstream = Films(polls=[JobUpdate("succeeded", media=(Media("video", data=b"<html>"),)), made()])
    async with house(tmp_path, upstream) as its:
        assert (await its.made()).state == "succeeded"
        assert await count_assets(its.base.database) == 1


# --- waiting ---


async def test_a_watcher_sees_each_change_once_and_the_end(tmp_path: Path) -> None:
    upstream = Films(polls=[RUNNING, RUNNING, JobUpdate("running", 50.0), made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        seen = [(one.state, one.progress) async for one in its.tasks.watch(task.id, 3)]
    assert len(seen) == len(set(seen))
    assert seen[-1] == ("succeeded", 100.0)


async def test_the_wait_ends_and_the_task_goes_on(tmp_path: Path) -> None:
    ready = asyncio.Event()
    upstream = Films(polls=[ready, made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        with pytest.raises(WaitTimeout) as told:
            await its.done(task, 0.02)
        error = told.value
        assert (error.status, error.code, error.task_id, error.chat_id) == (504, "timeout", task.id, "chat_1")
        assert error.message == "the video was not ready within 0 s; it goes on"
        assert error.advice == f"Ask GET /api/tasks/status/{task.id} for it"
        ready.set()
        assert (await its.done(task)).state == "succeeded"
        assert its.poller.notices._waiting == {}


# --- cancelling ---


async def test_a_task_that_nobody_took_yet_is_cancelled_at_once(tmp_path: Path) -> None:
    upstream = Films(submits=[errors.RateLimited(retry_after=30)])
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        task = await its.submit()
        cancelled = await its.tasks.cancel(task.id, OWNER)
        assert (cancelled.state, cancelled.final, cancelled.job) == ("cancelled", True, None)
        assert failure_of(cancelled).status == 409


async def test_an_upstream_that_can_is_asked_to_stop(tmp_path: Path) -> None:
    upstream = Stops(polls=[RUNNING])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        assert (await its.tasks.cancel(task.id, OWNER)).state == "cancelled"
        assert upstream.stopped[0] == (Job("job-1"), (task.account or "").partition("/")[2])
        await quiet(upstream)


async def quiet(upstream: Films) -> None:
    """A poll that was under way may end; no other follows."""
    await asyncio.sleep(3 * SOON)
    polls = len(upstream.polled)
    await asyncio.sleep(5 * SOON)
    assert len(upstream.polled) == polls


async def test_an_upstream_that_cannot_is_left_to_it_and_asked_no_more(tmp_path: Path) -> None:
    upstream = Films(polls=[RUNNING])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        assert (await its.tasks.cancel(task.id, OWNER)).state == "cancelled"
        await quiet(upstream)


async def test_an_upstream_that_would_not_confirm_decides_by_its_job(tmp_path: Path) -> None:
    finish = asyncio.Event()
    upstream = Stops(stops=False, polls=[RUNNING, finish, made()])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        asked = await its.tasks.cancel(task.id, OWNER)
        assert (asked.state, asked.cancel_requested) == ("running", True)
        finish.set()
        assert (await its.done(task)).state == "succeeded"


async def test_a_result_that_wins_the_race_wins(tmp_path: Path) -> None:
    upstream = Stops()
    async with house(tmp_path, upstream) as its:
        done = await its.made()
        assert (await its.tasks.cancel(done.id, OWNER)).state == "succeeded"
        assert upstream.stopped == []


async def test_cancelling_twice_is_the_same_as_once(tmp_path: Path) -> None:
    upstream = Stops(polls=[RUNNING])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        assert (await its.tasks.cancel(task.id, OWNER)).state == "cancelled"
        asked = len(upstream.stopped)
        assert (await its.tasks.cancel(task.id, OWNER)).state == "cancelled"
        assert len(upstream.stopped) == asked


async def test_a_cancel_that_fails_is_told_and_changes_nothing(tmp_path: Path) -> None:
    upstream = Stops(stops=errors.UpstreamTimeout("no answer"), polls=[RUNNING])
    async with house(tmp_path, upstream) as its:
        task = await its.submit()
        with pytest.raises(Conflict, match="the task cannot be cancelled now: no answer"):
            await its.tasks.cancel(task.id, OWNER)
        assert (await its.store.get(task.id)).state == "running"


async def test_nobody_else_can_cancel(tmp_path: Path) -> None:
    async with house(tmp_path, Stops(polls=[RUNNING])) as its:
        task = await its.submit()
        with pytest.raises(NotFound):
            await its.tasks.cancel(task.id, Principal("other", "other"))


async def test_a_cancel_while_the_upstream_is_asked_counts_when_it_has_answered(tmp_path: Path) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    upstream = Stops(polls=[RUNNING])

    async def hold() -> None:
        asked.set()
        await answer.wait()

    upstream.at_submit = hold
    async with house(tmp_path, upstream) as its:
        submitting = asyncio.ensure_future(its.submit())
        await asked.wait()
        task = await its.only()
        await its.tasks.cancel(task.id, OWNER)
        answer.set()
        await submitting
        assert (await its.done(task, 1.0)).state == "cancelled"
        assert len(upstream.stopped) == 1


# --- a process that ends ---


@asynccontextmanager
async def restarted(tmp_path: Path, before: Films, after: Films | None = None) -> AsyncIterator[tuple[House, House]]:
    """A house that stops at the end of the first block's turn, and the one that comes after it on the same rows."""
    async with rig(tmp_path, before) as base:
        again = wired(base.database, base.http, tmp_path, [after or before])
        yield House(base), House(again)


async def test_after_a_restart_a_running_job_is_polled_on(tmp_path: Path) -> None:
    before, after = Films(polls=[asyncio.Event()]), Films()
    async with restarted(tmp_path, before, after) as (old, new):
        async with running(old):
            task = await old.submit()
            await until(lambda: before.polled)
        await new.store.free_holds()
        async with running(new):
            done = await new.done(task)
        assert (done.state, done.account) == ("succeeded", task.account)
        assert (after.submitted, len(after.polled)) == ([], 1)


async def test_after_a_restart_a_task_that_nobody_was_asked_for_is_submitted_once(tmp_path: Path) -> None:
    upstream = Films()
    async with restarted(tmp_path, upstream) as (old, new):
        old.poller.take_on = nothing  # type: ignore[method-assign]
        task = await old.submit()
        await new.store.free_holds()
        async with running(new):
            assert (await new.done(task)).state == "succeeded"
        assert len(upstream.submitted) == 1


async def nothing(task: Task, limit: float) -> None:
    """The process ends right after the row was written."""


async def test_after_a_restart_a_create_that_was_under_way_is_never_sent_again(tmp_path: Path) -> None:
    before, after = Films(submits=[asyncio.Event()]), Films()
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
        assert done.error is not None
        assert (done.state, done.error["code"]) == ("failed", "submit_outcome_unknown")
        assert after.submitted == []


async def test_after_a_restart_an_old_deadline_still_counts(tmp_path: Path) -> None:
    upstream = Films(polls=[RUNNING])
    async with restarted(tmp_path, upstream) as (old, new):
        async with running(old):
            task = await old.submit()
        async with old.base.database.write() as connection:
            await connection.execute(update(tasks).values(deadline=time.time() - 1, lease_until=0.0, next_poll_at=0.0))
        async with running(new):
            assert (await new.done(task)).state == "expired"


# --- two processes on one PostgreSQL ---


async def test_two_pollers_run_each_step_of_a_task_once(
    tmp_path: Path, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tasks.tasks.LOOK_SECONDS", 0.05)
    films = 12
    upstream = Films(polls=[RUNNING] * films + [made()])
    async with schema() as url, rig(tmp_path, upstream, url=url) as base:
        second = Database(url)
        await second.start()
        try:
            other = House(wired(second, base.http, tmp_path, [upstream]))
            its = House(base)
            its.poller.take_on = nothing  # type: ignore[method-assign]
            waiting = [await its.submit() for _ in range(films)]
            await its.store.free_holds()
            async with running(its), running(other):
                done = await asyncio.gather(*(other.done(task, 8) for task in waiting))
        finally:
            await second.close()
        assert [one.state for one in done] == ["succeeded"] * films
        assert len(upstream.submitted) == films
        assert await count_assets(base.database) == films
        assert all(len(one.outputs) == 1 for one in done)
