"""Images, speech and text as tasks: each output by itself, paid for once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway import errors
from gateway.db.tables import tasks
from gateway.tasks.task import Task
from gateway.types import Finish, ImageRequest, Media, MediaReady, Progress, Usage
from tests.unit.scripted import OWNER, Talks, chat_request, png, said, wired
from tests.unit.tasks.test_poller import House, house, rig, running, until

pytestmark = pytest.mark.anyio


def pictures(count: int = 1) -> list[Any]:
    return [*(MediaReady(Media("image", data=png(64 + n))) for n in range(count)), Usage(images=count), Finish()]


async def ask(its: House, n: int = 1, *, max_n: int = 1, kind: Any = "t2i", request: Any = None) -> Task:
    what = request or ImageRequest("m", "a lighthouse", n=n)
    candidates = its.base.candidates(kind, max_n=max_n)
    return await its.tasks.submit(what, candidates, OWNER, request_id="req_1", kind=kind)


def states(task: Task) -> list[str]:
    return [output.state for output in task.outputs]


async def test_images_are_made_as_a_task(tmp_path: Path) -> None:
    upstream = Talks(pictures(3))
    async with house(tmp_path, upstream) as its:
        task = await ask(its, 3, max_n=4)
        assert not task.final
        done = await its.done(task)
    assert (done.state, states(done), done.usage and done.usage["images"]) == ("succeeded", ["succeeded"] * 3, 3)
    assert [output.width for output in done.outputs] == [64, 65, 66]
    assert [request.n for request, _ in upstream.asked] == [3]
    assert [attempt["outcome"] for attempt in done.attempts] == ["ok"]


async def test_more_than_one_asking_can_make_are_asked_for_one_after_the_other(tmp_path: Path) -> None:
    upstream = Talks(pictures(2), pictures(2), pictures(1))
    async with house(tmp_path, upstream) as its:
        done = await its.done(await ask(its, 5, max_n=2))
    assert [request.n for request, _ in upstream.asked] == [2, 2, 1]
    assert (done.state, len(done.outputs), done.usage and done.usage["images"]) == ("succeeded", 5, 5)


async def test_one_output_that_is_refused_leaves_the_others(tmp_path: Path) -> None:
    upstream = Talks(pictures(), [errors.ContentRefused("not this one")], pictures())
    async with house(tmp_path, upstream) as its:
        done = await its.done(await ask(its, 3))
    assert (done.state, states(done)) == ("succeeded", ["succeeded", "failed", "succeeded"])
    assert (done.outputs[1].error or {})["code"] == "content_policy_violation"
    assert done.error is None


async def test_nothing_made_at_all_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    async with house(tmp_path, Talks([errors.ContentRefused("no")])) as its:
        done = await its.done(await ask(its, 2))
    assert (done.state, states(done)) == ("failed", ["failed"] * 2)
    assert done.error is not None
    assert (done.error["code"], done.error["message"]) == ("content_policy_violation", "no")


async def test_an_upstream_that_makes_fewer_is_not_asked_again(tmp_path: Path) -> None:
    upstream = Talks(pictures(1))
    async with house(tmp_path, upstream) as its:
        done = await its.done(await ask(its, 3, max_n=4))
    assert (states(done), len(upstream.asked)) == (["succeeded", "failed", "failed"], 1)


async def test_an_asking_whose_outcome_nobody_knows_ends_the_asking(tmp_path: Path) -> None:
    upstream = Talks(pictures(), [errors.UpstreamTimeout(sent="unknown")], pictures())
    async with house(tmp_path, upstream) as its:
        done = await its.done(await ask(its, 3))
    assert len(upstream.asked) == 2
    assert [output.error and output.error["code"] for output in done.outputs] == [
        None, "submit_outcome_unknown", "submit_outcome_unknown",
    ]  # fmt: skip


async def test_a_break_in_the_middle_keeps_what_came_before(tmp_path: Path) -> None:
    upstream = Talks([*pictures(2)[:2], errors.StreamInterrupted(sent="unknown")])
    async with house(tmp_path, upstream) as its:
        done = await its.done(await ask(its, 4, max_n=4))
    assert (done.state, states(done)) == ("succeeded", ["succeeded", "succeeded", "failed", "failed"])


async def test_with_every_account_resting_it_waits_and_then_makes_the_rest(tmp_path: Path) -> None:
    upstream = Talks(pictures(), [errors.RateLimited(retry_after=1)], pictures())
    async with house(tmp_path, upstream, accounts=("only",)) as its:
        task = await ask(its, 2)
        async for now in its.tasks.watch(task.id, 5):
            if now.state == "queued" and now.outputs:
                assert now.eta == pytest.approx(1.0, abs=0.2)
        done = await its.store.get(task.id)
    assert (done.state, states(done), len(upstream.asked)) == ("succeeded", ["succeeded"] * 2, 3)


async def test_text_is_an_answer(tmp_path: Path) -> None:
    async with house(tmp_path, Talks(said("so ", "be it"))) as its:
        done = await its.done(await ask(its, kind="t2t", request=chat_request("say it")))
    assert (done.state, done.answer, done.outputs) == ("succeeded", "so be it", ())


async def test_progress_is_told(tmp_path: Path) -> None:
    go = asyncio.Event()
    upstream = Talks([Progress(10), Progress(11), Progress(60), go, *pictures()])
    async with house(tmp_path, upstream) as its:
        task = await ask(its)
        seen = []
        async for now in its.tasks.watch(task.id, 3):
            seen.append(now.progress)
            if now.progress == 60.0:
                go.set()
    assert seen == sorted(seen)
    assert seen[-2:] == [60.0, 100.0]


async def test_a_cancelled_one_is_stopped_where_it_is_made(tmp_path: Path) -> None:
    upstream = Talks([Progress(50), asyncio.Event()])
    async with house(tmp_path, upstream) as its:
        task = await ask(its)
        await until(lambda: upstream.asked)
        await asyncio.sleep(0.05)
        cancelled = await its.tasks.cancel(task.id, OWNER)
        assert (cancelled.state, cancelled.error) == ("cancelled", {"upstream_cancelled": False})
        await until(lambda: upstream.closed)
        assert its.base.in_flight == 0


async def test_another_process_that_cancels_it_stops_it_at_its_next_write(tmp_path: Path) -> None:
    go = asyncio.Event()
    upstream = Talks([Progress(50), go, Progress(90), asyncio.Event()])
    async with house(tmp_path, upstream) as its:
        task = await ask(its)
        await until(lambda: upstream.asked)
        await asyncio.sleep(0.05)
        other = House(wired(its.base.database, its.base.http, tmp_path, [upstream]))
        assert (await other.tasks.cancel(task.id, OWNER)).state == "cancelled"
        go.set()
        await until(lambda: upstream.closed)
        assert its.base.in_flight == 0


async def test_whoever_lost_it_to_another_process_enters_nothing_more(tmp_path: Path) -> None:
    go = asyncio.Event()
    first, second, *end = pictures(2)
    upstream = Talks([Progress(50), first, go, Progress(90), second, *end])
    async with house(tmp_path, upstream) as its:
        task = await ask(its, 2, max_n=2)
        async with asyncio.timeout(5):
            while not (before := await its.store.get(task.id)).outputs:
                await asyncio.sleep(0.01)
        async with its.base.database.write() as connection:
            theirs = {"lease_owner": "another process", "lease_until": its.store.now() + 60}
            await connection.execute(update(tasks).where(tasks.c.id == task.id).values(theirs))
        go.set()
        await until(lambda: upstream.closed)
        await its.tasks.poller.settle(5)
        now = await its.store.get(task.id)
    assert (now.state, now.progress, states(now)) == ("running", 50.0, ["succeeded"])
    assert (now.lease, now.version) == ("another process", before.version)
    assert its.base.in_flight == 0


@pytest.mark.parametrize(
    ("kind", "state", "asked"), [("t2i", "succeeded", 0), ("t2t", "succeeded", 1)], ids=["paid for", "text"]
)
async def test_after_a_crash_only_text_is_asked_for_again(tmp_path: Path, kind: Any, state: str, asked: int) -> None:
    stuck = asyncio.Event()
    before = Talks([*pictures(1)[:1], stuck] if kind == "t2i" else [said("so")[0], stuck])
    after = Talks(said("so be it"))
    async with rig(tmp_path, before) as base:
        old, new = House(base), House(wired(base.database, base.http, tmp_path, [after]))
        async with running(old):
            task = await ask(old, 2, max_n=2, kind=kind, request=None if kind == "t2i" else chat_request())
            await until(lambda: before.asked)
            await asyncio.sleep(0.1)
        await new.store.free_holds()
        async with running(new):
            done = await new.done(task)
    assert (done.state, len(after.asked)) == (state, asked)
    if kind == "t2i":
        assert states(done) == ["succeeded", "failed"]
        assert (done.outputs[1].error or {})["code"] == "submit_outcome_unknown"
