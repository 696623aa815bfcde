"""The rows of tasks, on both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select, update

from gateway.db.engine import Database
from gateway.db.tables import assets, deliveries, outputs, tasks
from gateway.errors import NotFound
from gateway.tasks import listing
from gateway.tasks.store import Store
from gateway.tasks.task import FINAL, OPEN, Output, Task
from gateway.types import (
    ChatRequest,
    ImageRequest,
    Input,
    Job,
    MusicRequest,
    Size,
    SpeechRequest,
    VideoRequest,
    Webhook,
)

pytestmark = pytest.mark.anyio

NOW = 1_500_000_000.0
"""Long ago: what is due then is due."""
FAR = 9_000_000_000.0

REQUEST = VideoRequest(
    "m",
    "waves \u2028 at dusk",
    kind="i2v",
    size=Size("16:9", 1280, 720),
    seconds=8.5,
    seed=2**63 - 1,
    inputs=(Input("object:uploads/2026-01/a.png", role="first_frame", mime="image/png", size=9),),
    params={"negative_prompt": "rain", "nested": {"a": [1, None]}},
    hints={"x-some": "hint"},
)


def task(number: int = 1, **fields: Any) -> Task:
    base = Task(
        id=f"task_{number}",
        owner="owner",
        kind="i2v",
        model="m",
        upstream="up",
        account=None,
        state="queued",
        request=REQUEST,
        job=None,
        progress=0.0,
        eta=30.0,
        error=None,
        usage=None,
        chat_id=None,
        attempts=(),
        created_at=NOW + number,
        submitted_at=None,
        started_at=None,
        finished_at=None,
        deadline=NOW + 1800,
        next_poll_at=NOW + number,
        cancel_requested=False,
        native="",
        candidates=(("up", "m"), ("other", "n")),
        estimate=30.0,
        request_id="req_1",
    )
    return replace(base, **fields)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


async def add(store: Store, *tasks: Task) -> None:
    """Tasks that nobody holds."""
    for one in tasks:
        await store.add(one)
    await store.free_holds()


async def set_row(database: Database, **values: Any) -> None:
    async with database.write() as connection:
        await connection.execute(update(tasks).values(values))


async def page(store: Store, owner: str = "owner", **fields: Any) -> tuple[list[str], bool]:
    asked = dict.fromkeys(("kind", "model", "since", "before", "after_id")) | {"states": (), "limit": 10} | fields
    found, more = await listing.page(store.database, owner, **asked)
    return [one.id for one in found], more


# --- rows ---


async def test_a_task_comes_back_as_it_was_written(store: Store) -> None:
    whole = task(
        account="up/a",
        state="failed",
        job=Job("job-1", {"id": 5, "urls": ["a"]}),
        progress=41.5,
        eta=None,
        error={"code": "x", "message": "m\u0000", "type": "t", "param": None},
        usage={"seconds": 5.0},
        chat_id="chat_1",
        attempts=({"upstream": "up", "account": "up/a", "outcome": "ok", "seconds": 0.25},),
        submitted_at=NOW + 0.125,
        started_at=NOW + 1,
        finished_at=NOW + 2,
        cancel_requested=True,
        native="RUNNING",
        estimate=None,
        most=4,
        polls=7,
        answer="so be it",
        metadata={"job": "7"},
        webhook=Webhook("https://a.example/hook?x=1", ("task.failed",)),
    )
    await add(store, whole)
    assert await store.get("task_1") == replace(whole, version=1)


async def test_a_task_is_its_owner_s_alone(store: Store) -> None:
    await add(store, task())
    assert (await store.get("task_1", "owner")).id == "task_1"
    for asked in (("task_1", "other"), ("task_2", "owner"), ("task_1' OR 1=1--", "owner"), ("task_2", None)):
        with pytest.raises(NotFound) as told:
            await store.get(*asked)
        assert told.value.message == f"no task {asked[0]!r}"
        assert (told.value.code, told.value.param) == ("task_not_found", "task_id")


# --- holds ---


async def test_a_new_task_is_held_by_who_wrote_it(store: Store, database: Database) -> None:
    written = await store.add(task())
    assert (written.lease or "").startswith(store.process)
    assert await Store(database).claim("make", 9) == []
    assert await store.save(replace(written, progress=5.0))


async def test_due_tasks_are_claimed_the_longest_due_first(store: Store) -> None:
    await add(store, task(3), task(1), task(2), task(50, next_poll_at=FAR))
    assert [one.id for one in await store.claim("make", 2)] == ["task_1", "task_2"]
    assert [one.id for one in await store.claim("make", 9)] == ["task_3"]
    assert await store.claim("make", 9) == []


async def test_tasks_with_a_job_are_polled_and_those_without_are_made(store: Store) -> None:
    await add(store, task(1), task(2, state="running", job=Job("j")))
    assert [one.id for one in await store.claim("poll", 9)] == ["task_2"]
    assert [one.id for one in await store.claim("make", 9)] == ["task_1"]


@pytest.mark.parametrize("state", FINAL)
async def test_a_task_that_is_over_is_never_claimed(store: Store, state: Any) -> None:
    await add(store, task(state=state))
    assert await store.claim("make", 9) == []
    assert await store.claim_one("task_1") is None


@pytest.mark.parametrize("state", OPEN)
async def test_every_open_task_is_claimed_when_it_is_due(store: Store, database: Database, state: Any) -> None:
    await add(store, task(state=state, next_poll_at=FAR))
    assert await store.claim("make", 9) == []
    assert await store.claim_one("task_1", due=True) is None
    await set_row(database, next_poll_at=NOW)
    assert [one.state for one in await store.claim("make", 9)] == [state]


async def test_a_hold_ends_by_itself_and_whoever_had_it_writes_no_more(store: Store, database: Database) -> None:
    other = Store(database)
    await add(store, task())
    [mine] = await store.claim("make", 1)
    assert await other.claim("make", 1) == []
    await set_row(database, lease_until=store.now() - 1)
    [theirs] = await other.claim("make", 1)
    assert not await store.save(replace(mine, progress=99.0))
    assert not await store.sending(replace(mine, state="submitting"))
    assert await other.save(replace(theirs, progress=10.0))
    assert (await store.get("task_1")).progress == 10.0


async def test_whoever_lost_a_task_to_another_changes_and_announces_nothing(store: Store, database: Database) -> None:
    other = Store(database)
    await add(store, task(webhook=Webhook("https://a.example/hook", ("task.running", "task.failed"))))
    [mine] = await store.claim("make", 1)
    await set_row(database, lease_until=store.now() - 1)
    [theirs] = await other.claim("make", 1)
    before = await store.get("task_1")
    assert not await store.sending(replace(mine, state="submitting"))
    assert not await store.save(replace(mine, progress=99.0), release=False)
    assert not await store.save(replace(mine, state="running"), release=False, begun=True)
    assert not await store.save(replace(mine, progress=99.0))
    assert not await store.save(replace(mine, state="failed", finished_at=NOW))
    assert await store.get("task_1") == before
    assert await announced(database) == []
    assert await other.save(replace(theirs, state="failed", finished_at=NOW))
    assert [kind for kind, _, _ in await announced(database)] == ["task.failed"]


async def test_even_the_same_process_cannot_write_under_a_lease_it_lost(store: Store, database: Database) -> None:
    await add(store, task())
    [first] = await store.claim("make", 1)
    await set_row(database, lease_until=store.now() - 1)
    [second] = await store.claim("make", 1)
    assert not await store.save(replace(first, progress=99.0))
    assert await store.save(replace(second, progress=10.0))


async def test_a_hold_that_is_renewed_lasts(store: Store, database: Database) -> None:
    await add(store, task(1), task(2))
    await store.claim("make", 9)
    await set_row(database, lease_until=store.now() - 1)
    await store.renew(["task_1"])
    assert [one.id for one in await Store(database).claim("make", 9)] == ["task_2"]


async def test_nobody_renews_what_another_holds(store: Store, database: Database) -> None:
    await add(store, task())
    await store.claim("make", 9)
    await set_row(database, lease_until=store.now() - 1)
    await Store(database).renew(["task_1"])
    assert len(await store.claim("make", 9)) == 1


async def test_one_task_is_claimed_by_name_unless_it_is_held(store: Store, database: Database) -> None:
    await add(store, task())
    assert (await store.claim_one("task_1")) is not None
    assert await Store(database).claim_one("task_1") is None
    assert await store.claim_one("task_9") is None


async def test_saving_gives_the_task_back_unless_told_otherwise(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim("make", 1)
    assert await store.sending(replace(mine, state="submitting"))
    assert await store.claim("make", 1) == []
    assert await store.save(replace(mine, state="queued", progress=5.0))
    assert [one.progress for one in await store.claim("make", 1)] == [5.0]


async def test_the_holds_of_a_process_that_is_gone_can_be_dropped(store: Store, database: Database) -> None:
    await add(store, task())
    await Store(database).claim("make", 1)
    await store.free_holds()
    assert len(await store.claim("make", 1)) == 1


async def test_a_process_on_its_way_out_drops_its_own_holds_only(store: Store, database: Database) -> None:
    other = Store(database)
    await add(store, task(1), task(2))
    [mine] = await store.claim("make", 1)
    await other.claim("make", 1)
    await store.let_go()
    assert [one.id for one in await Store(database).claim("make", 9)] == [mine.id]


async def test_a_final_state_is_final(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim("make", 1)
    assert await store.end(replace(mine, state="cancelled", finished_at=NOW))
    assert not await store.save(replace(mine, state="running"))
    assert not await store.end(replace(mine, state="failed"))
    assert not await store.ask_to_cancel("task_1")
    assert (await store.get("task_1")).state == "cancelled"


async def test_a_cancel_asked_for_is_not_undone_by_who_holds_the_task(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim("make", 1)
    assert await store.ask_to_cancel("task_1")
    assert not await store.sending(replace(mine, state="submitting"))
    assert await store.save(replace(mine, state="queued"))
    now = await store.get("task_1")
    assert (now.state, now.cancel_requested) == ("queued", True)


async def test_what_is_due_next_is_known(store: Store) -> None:
    assert await store.next_due("make") is None
    await add(store, task(2), task(1), task(0, id="done", state="succeeded"), task(9, job=Job("j")))
    assert await store.next_due("make") == NOW + 1
    assert await store.next_due("poll") == NOW + 9


async def test_every_change_counts_up_the_version(store: Store) -> None:
    written = await store.add(task())
    assert written.version == (await store.get("task_1")).version == 1
    await store.save(replace(written, progress=5.0), release=False)
    await store.ask_to_cancel("task_1")
    await store.save(replace(written, progress=6.0))
    assert await store.versions(["task_1", "task_9"]) == {"task_1": 4}


# --- jobs ---


async def submitting(store: Store, **fields: Any) -> Task:
    written = await store.add(task(**fields))
    sending = replace(written, state="submitting", account="up/a", submitted_at=store.now())
    assert await store.sending(sending)
    return sending


async def test_a_job_is_written_even_by_who_lost_the_task_while_it_was_made(store: Store, database: Database) -> None:
    sending = await submitting(store)
    await set_row(database, lease_until=store.now() - 1)
    other = Store(database)
    [theirs] = await other.claim("make", 1)
    assert await store.job_made(replace(sending, state="running", job=Job("j"))) is False
    assert not await other.save(replace(theirs, state="failed"))
    now = await store.get("task_1")
    assert (now.state, now.job, now.account) == ("running", Job("j"), "up/a")


async def test_a_job_says_whether_it_is_to_be_cancelled_at_once(store: Store) -> None:
    sending = await submitting(store)
    await store.ask_to_cancel("task_1")
    assert await store.job_made(replace(sending, state="running", job=Job("j"))) is True


async def test_a_job_of_an_older_asking_is_not_taken(store: Store) -> None:
    sending = await submitting(store)
    assert await store.sending(replace(sending, submitted_at=store.now() + 1))
    assert await store.job_made(replace(sending, state="running", job=Job("j"))) is None
    assert (await store.get("task_1")).job is None


async def test_whose_a_job_is_is_known(store: Store) -> None:
    await add(store, task(1, job=Job('odd%_"id'), account="up/a"), task(2, job=Job("odd"), account="up/a"))
    assert await store.holder_of("up", Job('odd%_"id'), "up/a") == "task_1"
    assert await store.holder_of("up", Job("odd"), "up/a") == "task_2"
    assert await store.holder_of("up", Job("odd"), "up/b") is None
    assert await store.holder_of("up", Job("od"), "up/a") is None


# --- results ---


async def keep(database: Database, *names: str) -> None:
    async with database.write() as connection:
        for name in names:
            await connection.execute(
                insert(assets).values(
                    id=name, owner="owner", family="video", key=f"videos/{name}.mp4", mime="video/mp4", size=9,
                    sha256="", width=640, height=360, seconds=5.0, filename="", prompt="", model="m", upstream="up",
                    kind="t2v", task_id="task_1", source_module="api", created_at=NOW, metadata="{}",
                )
            )  # fmt: skip


async def test_outputs_come_back_in_their_order_each_with_its_state(store: Store, database: Database) -> None:
    await keep(database, "asset_b", "asset_a")
    written = await store.add(task(state="running"))
    lost = {"code": "result_unavailable", "message": "gone"}
    await store.add_output(written, 2, None, lost)
    await store.add_output(written, 1, "asset_a")
    await store.add_output(written, 0, "asset_b")
    assert (await store.get("task_1")).outputs == (
        Output(0, "succeeded", "asset_b", "videos/asset_b.mp4", "video/mp4", 9, 640, 360, 5.0),
        Output(1, "succeeded", "asset_a", "videos/asset_a.mp4", "video/mp4", 9, 640, 360, 5.0),
        Output(2, "failed", error=lost),
    )


async def test_a_result_comes_in_once(store: Store, database: Database) -> None:
    await keep(database, "asset_a", "asset_b")
    written = await store.add(task(state="running"))
    for name in ("asset_a", "asset_b"):
        await store.add_output(written, 0, name)
    assert [output.asset_id for output in (await store.get("task_1")).outputs] == ["asset_a"]


async def test_a_deleted_task_leaves_nothing(store: Store, database: Database) -> None:
    await keep(database, "asset_a")
    await store.add_output(await store.add(task(state="running")), 0, "asset_a")
    await store.delete("task_1")
    async with database.read() as connection:
        assert (await connection.execute(select(outputs))).all() == []
    with pytest.raises(NotFound):
        await store.get("task_1")


# --- webhooks ---


@pytest.mark.parametrize("state", FINAL)
async def test_the_end_of_a_task_is_announced_with_it(store: Store, database: Database, state: Any) -> None:
    written = await store.add(task(webhook=Webhook("https://a.example/hook")))
    assert await announced(database) == []
    await store.save(replace(written, progress=5.0), release=False)
    await store.save(replace(written, state=state))
    assert await announced(database) == [(f"task.{state}", "https://a.example/hook", 3)]


async def test_what_nobody_asked_to_hear_is_not_announced(store: Store, database: Database) -> None:
    written = await store.add(task(webhook=Webhook("https://a.example/hook", ("task.running",))))
    await store.save(replace(written, state="running"), release=False, begun=True)
    await store.save(replace(written, state="running", progress=9.0), release=False)
    await store.save(replace(written, state="failed"))
    assert [kind for kind, _, _ in await announced(database)] == ["task.running"]


async def announced(database: Database) -> list[tuple[str, str, int]]:
    async with database.read() as connection:
        rows = await connection.execute(select(deliveries.c.type, deliveries.c.url, deliveries.c.sequence))
        return [tuple(row) for row in rows.all()]  # type: ignore[misc]


# --- lists ---


async def test_a_list_is_the_owner_s_newest_first_and_goes_on_where_it_stopped(store: Store) -> None:
    await add(store, *(task(number) for number in range(1, 6)), task(9, owner="other"))
    assert await page(store, limit=2) == (["task_5", "task_4"], True)
    assert await page(store, limit=2, after_id="task_4") == (["task_3", "task_2"], True)
    assert await page(store, limit=2, after_id="task_2") == (["task_1"], False)
    assert await page(store, limit=2, after_id="task_2", ascending=True) == (["task_3", "task_4"], True)
    assert await page(store, "nobody") == ([], False)


async def test_tasks_of_one_moment_are_each_listed_once(store: Store) -> None:
    await add(store, *(task(number, created_at=NOW) for number in range(1, 6)))
    for ascending in (False, True):
        seen: list[str] = []
        more = True
        while more:
            found, more = await page(store, limit=2, after_id=seen[-1] if seen else None, ascending=ascending)
            seen += found
        assert seen == sorted(seen, reverse=not ascending)
        assert len(seen) == 5


async def test_a_list_is_narrowed(store: Store) -> None:
    await add(store, task(1), task(2, state="failed"), task(3, kind="t2v"), task(4, model="n"))
    assert await page(store, states=("failed",)) == (["task_2"], False)
    assert await page(store, kind="t2v") == (["task_3"], False)
    assert await page(store, model="n") == (["task_4"], False)
    assert await page(store, since=NOW + 2, before=NOW + 4) == (["task_3", "task_2"], False)


async def test_a_list_after_somebody_else_s_task_is_refused(store: Store) -> None:
    await add(store, task(1), task(2, owner="other"))
    with pytest.raises(NotFound):
        await page(store, after_id="task_2")


# --- two processes ---


async def test_two_processes_never_hold_the_same_task(either_url: str, store: Store, database: Database) -> None:
    """On PostgreSQL two at once; on SQLite, which has one process, one after the other."""
    await add(store, *(task(number) for number in range(1, 41)))
    second = database
    if either_url.startswith("postgresql"):
        second = Database(either_url)
        await second.start()
    try:
        other = Store(second)
        rounds = await asyncio.gather(*(one.claim("make", 4) for _ in range(8) for one in (store, other)))
    finally:
        if second is not database:
            await second.close()
    claimed = [one.id for found in rounds for one in found]
    assert len(claimed) == len(set(claimed)) == 40


@pytest.mark.parametrize(
    "request_",
    [
        ImageRequest("m", "a cat", n=3, size=Size("1:1")),
        SpeechRequest("m", "hello", voice="v"),
        MusicRequest("m", "a tune", seconds=5.0),
        ChatRequest("m", {"messages": msgspec.Raw(b'[{"role":"user","content":"hi"}]'), "x": msgspec.Raw(b"[1, 2]")}),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_any_kind_of_request_comes_back_as_it_was_written(store: Store, request_: Any) -> None:
    await add(store, task(request=request_))
    found = (await store.get("task_1")).request
    assert type(found) is type(request_)
    assert msgspec.json.encode(found) == msgspec.json.encode(request_)


async def test_the_place_in_the_queue_counts_who_came_before(store: Store, database: Database) -> None:
    await add(store, task(1), task(2), task(3, upstream="other"), task(4, state="running"), task(5))
    place = [await listing.queue_position(database, await store.get(f"task_{number}")) for number in (1, 2, 3, 4, 5)]
    assert place == [0, 1, 0, None, 2]


async def test_rows_written_before_a_field_was_known_are_still_read(store: Store, database: Database) -> None:
    await add(store, task())
    async with database.write() as connection:
        request = '{"type":"video","model":"m","prompt":"p"}'
        await connection.execute(update(tasks).values(request=request, native=""))
    assert (await store.get("task_1")).request == VideoRequest("m", "p")
