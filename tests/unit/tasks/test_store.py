"""The rows of tasks, on both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from gateway.db.engine import Database
from gateway.db.tables import assets, outputs, tasks
from gateway.errors import NotFound
from gateway.tasks.store import FINAL, OPEN, Output, Store, Task
from gateway.types import Input, Job, Size, VideoRequest

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
HOLD = 60.0

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
    return Store(database, hold=HOLD)


async def add(store: Store, *tasks: Task) -> None:
    for one in tasks:
        await store.add(one)


async def page(store: Store, owner: str = "owner", **fields: Any) -> tuple[list[str], bool]:
    asked = dict.fromkeys(("kind", "model", "since", "before", "after_id")) | {"states": (), "limit": 10} | fields
    found, more = await store.page(owner, **asked)
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
    )
    await add(store, whole)
    assert await store.get("task_1") == whole


async def test_a_task_is_its_owner_s_alone(store: Store) -> None:
    await add(store, task())
    assert (await store.get("task_1", "owner")).id == "task_1"
    for asked in (("task_1", "other"), ("task_2", "owner"), ("task_1' OR 1=1--", "owner"), ("task_2", None)):
        with pytest.raises(NotFound) as told:
            await store.get(*asked)
        assert told.value.message == f"no task {asked[0]!r}"
        assert (told.value.code, told.value.param) == ("task_not_found", "task_id")


# --- holds ---


async def test_due_tasks_are_claimed_the_longest_due_first(store: Store) -> None:
    await add(store, task(3), task(1), task(2), task(50))
    assert [one.id for one in await store.claim(2, NOW + 10)] in (["task_1", "task_2"], ["task_2", "task_1"])
    assert [one.id for one in await store.claim(9, NOW + 10)] == ["task_3"]
    assert await store.claim(9, NOW + 10) == []


@pytest.mark.parametrize("state", FINAL)
async def test_a_task_that_is_over_is_never_claimed(store: Store, state: Any) -> None:
    await add(store, task(state=state))
    assert await store.claim(9, NOW + 10) == []


@pytest.mark.parametrize("state", OPEN)
async def test_every_open_task_is_claimed_when_it_is_due(store: Store, state: Any) -> None:
    await add(store, task(state=state))
    assert await store.claim(9, NOW) == []
    assert [one.state for one in await store.claim(9, NOW + 1)] == [state]


async def test_a_hold_ends_by_itself_and_whoever_had_it_writes_no_more(store: Store, database: Database) -> None:
    other = Store(database, hold=HOLD)
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    assert await other.claim(1, NOW + 10 + HOLD - 1) == []
    [theirs] = await other.claim(1, NOW + 10 + HOLD + 1)
    assert not await store.save(replace(mine, progress=99.0))
    assert not await store.succeed(replace(mine, state="succeeded"), [])
    assert await other.save(replace(theirs, progress=10.0))
    assert (await store.get("task_1")).progress == 10.0


async def test_one_task_is_claimed_by_name_unless_it_is_held(store: Store, database: Database) -> None:
    await add(store, task())
    assert (await store.claim_one("task_1", NOW)) is not None
    assert await Store(database, hold=HOLD).claim_one("task_1", NOW + 1) is None
    assert await store.claim_one("task_9", NOW) is None


async def test_saving_gives_the_task_back_unless_told_otherwise(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    assert await store.save(replace(mine, state="submitting"), release=False)
    assert await store.claim(1, NOW + 20) == []
    assert await store.save(replace(mine, state="running", next_poll_at=NOW + 30))
    assert await store.claim(1, NOW + 20) == []
    assert [one.state for one in await store.claim(1, NOW + 30)] == ["running"]


async def test_the_holds_of_a_process_that_is_gone_can_be_dropped(store: Store, database: Database) -> None:
    await add(store, task())
    await Store(database, hold=HOLD).claim(1, NOW + 10)
    await store.free_holds()
    assert len(await store.claim(1, NOW + 10)) == 1


async def test_a_final_state_is_final(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    assert await store.end(replace(mine, state="cancelled", finished_at=NOW))
    assert not await store.save(replace(mine, state="running"))
    assert not await store.succeed(replace(mine, state="succeeded"), [])
    assert not await store.end(replace(mine, state="failed"))
    assert not await store.ask_to_cancel("task_1")
    assert (await store.get("task_1")).state == "cancelled"


async def test_a_cancel_asked_for_is_not_undone_by_who_holds_the_task(store: Store) -> None:
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    assert await store.ask_to_cancel("task_1")
    assert await store.save(replace(mine, state="running"))
    now = await store.get("task_1")
    assert (now.state, now.cancel_requested) == ("running", True)


async def test_what_is_due_next_is_known(store: Store) -> None:
    assert await store.next_due() is None
    await add(store, task(2), task(1), task(0, id="done", state="succeeded"))
    assert await store.next_due() == NOW + 1


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


async def test_a_task_succeeds_together_with_its_outputs(store: Store, database: Database) -> None:
    await keep(database, "asset_b", "asset_a")
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    assert await store.succeed(replace(mine, state="succeeded", progress=100.0), ["asset_b", "asset_a"])
    done = await store.get("task_1")
    assert (done.state, done.final) == ("succeeded", True)
    assert done.outputs == (
        Output("asset_b", "videos/asset_b.mp4", "video/mp4", 9, 640, 360, 5.0),
        Output("asset_a", "videos/asset_a.mp4", "video/mp4", 9, 640, 360, 5.0),
    )


async def test_a_result_comes_in_once(store: Store, database: Database) -> None:
    await keep(database, "asset_a")
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    done = replace(mine, state="succeeded")
    assert [await store.succeed(done, ["asset_a"]) for _ in range(2)] == [True, False]
    async with database.read() as connection:
        assert len((await connection.execute(select(outputs))).all()) == 1


async def test_outputs_that_cannot_be_written_leave_the_task_as_it_was(store: Store, database: Database) -> None:
    await add(store, task())
    [mine] = await store.claim(1, NOW + 10)
    async with database.write() as connection:
        await connection.execute(
            insert(outputs).values(id="out_1", task_id="task_1", position=0, state="succeeded", asset_id="x")
        )
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.succeed(replace(mine, state="succeeded"), ["asset_a"])
    assert (await store.get("task_1")).state == "queued"


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
        other = Store(second, hold=HOLD)
        rounds = await asyncio.gather(*(one.claim(4, NOW + 100) for _ in range(8) for one in (store, other)))
    finally:
        if second is not database:
            await second.close()
    claimed = [one.id for found in rounds for one in found]
    assert len(claimed) == len(set(claimed)) == 40


async def test_rows_written_before_a_field_was_known_are_still_read(store: Store, database: Database) -> None:
    await add(store, task())
    async with database.write() as connection:
        request = '{"type":"video","model":"m","prompt":"p"}'
        await connection.execute(update(tasks).values(request=request, native=""))
    assert (await store.get("task_1")).request == VideoRequest("m", "p")
