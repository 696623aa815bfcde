"""The rows of webhooks, on both databases."""

import asyncio
from typing import Any, get_args

import pytest
from sqlalchemy import select, update

from gateway.db.engine import Database
from gateway.db.tables import deliveries, destinations
from gateway.errors import Conflict, NotFound
from gateway.tasks.outbox import GONE, HOLD_SECONDS, KEEP_SECONDS, Delivery, Outbox, Result, announce
from gateway.types import TaskState, Webhook

pytestmark = pytest.mark.anyio

URL = "https://a.example/hook"
FAILED = Result("pending", 500, "it answered 500", 1.0)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


async def told(
    outbox: Outbox, url: str = URL, *, state: TaskState = "succeeded", at: float | None = None, **fields: Any
) -> str:
    """Announce a change of a task. Returns the id of its delivery."""
    now = outbox.database.now() - 1 if at is None else at
    asked: dict[str, Any] = {"task_id": "task_1", "owner": "owner", "webhook": Webhook(url), "version": 3} | fields
    async with outbox.database.write() as connection:
        before = set((await connection.execute(select(deliveries.c.id))).scalars())
        await announce(connection, state=state, now=now, **asked)
        [made] = set((await connection.execute(select(deliveries.c.id))).scalars()) - before
    return str(made)


async def change(outbox: Outbox, **values: Any) -> None:
    async with outbox.database.write() as connection:
        await connection.execute(update(deliveries).values(values))


async def rows(outbox: Outbox) -> dict[str, Any]:
    async with outbox.database.read() as connection:
        return {row.id: row for row in (await connection.execute(select(deliveries))).all()}


async def ids(outbox: Outbox, limit: int = 10, **fields: Any) -> list[str]:
    asked: dict[str, Any] = {"state": None, "task_id": None, "after_id": None} | fields
    return [one.id for one in (await outbox.page("owner", limit=limit, **asked))[0]]


# --- announcing ---


async def test_a_change_that_its_webhook_wants_to_know_is_written_down(outbox: Outbox) -> None:
    made = await told(outbox, "HTTPS://A.example:443/hook?x=1", at=1000.5)
    assert made.startswith("evt_")
    assert len(made) == 4 + 32
    assert await outbox.get(made, "owner") == Delivery(
        id=made,
        owner="owner",
        task_id="task_1",
        type="task.succeeded",
        url="https://a.example/hook?x=1",
        sequence=3,
        state="pending",
        attempts=0,
        next_at=1000.5,
        status=None,
        error=None,
        created_at=1000.5,
        finished_at=None,
        hold=None,
        held_until=0.0,
    )


async def test_a_change_that_nobody_wants_to_know_is_not(outbox: Outbox) -> None:
    wanted = Webhook(URL, ("task.running",))
    async with outbox.database.write() as connection:
        for state in get_args(TaskState):
            for webhook in (None, wanted):
                if (state, webhook) != ("running", wanted):
                    await announce(connection, task_id="t", owner="o", webhook=webhook, state=state, version=1, now=1.0)
    assert await rows(outbox) == {}


async def test_what_is_announced_stands_or_falls_with_its_transaction(outbox: Outbox) -> None:
    with pytest.raises(RuntimeError, match="the task was not changed"):
        async with outbox.database.write() as connection:
            await announce(connection, task_id="t", owner="o", webhook=Webhook(URL), state="failed", version=1, now=1.0)
            raise RuntimeError("the task was not changed")
    assert await rows(outbox) == {}


async def test_a_url_that_cannot_be_read_does_not_stop_its_task(outbox: Outbox) -> None:
    made = await told(outbox, "http://xn--a/")
    assert (await outbox.get(made, "owner")).url == "http://xn--a/"


# --- claiming ---


async def test_due_deliveries_are_claimed_the_longest_due_first(outbox: Outbox) -> None:
    now = outbox.database.now()
    made = [await told(outbox, at=now - age) for age in (10, 30, 20)]
    await told(outbox, at=now + 60)
    assert [one.id for one in await outbox.claim(2)] == [made[1], made[2]]
    assert [one.id for one in await outbox.claim(2)] == [made[0]]
    assert await outbox.claim(2) == []


async def test_what_is_held_is_claimed_again_only_when_the_hold_is_over(outbox: Outbox) -> None:
    await told(outbox)
    [first] = await outbox.claim(10)
    assert first.held_until == pytest.approx(outbox.database.now() + HOLD_SECONDS, abs=2)
    assert await outbox.claim(10) == []
    await change(outbox, lease_until=outbox.database.now() - 1)
    [second] = await outbox.claim(10)
    assert second.id == first.id
    assert second.hold != first.hold


async def test_many_claims_at_once_never_share_a_delivery(outbox: Outbox) -> None:
    made = {await told(outbox) for _ in range(40)}
    batches = await asyncio.gather(*(outbox.claim(5) for _ in range(12)))
    claimed = [one.id for batch in batches for one in batch]
    assert len(claimed) == len(set(claimed))
    assert max(map(len, batches)) == 5
    claimed += [one.id for one in await outbox.claim(100)]
    assert sorted(claimed) == sorted(made)


async def test_origins_that_are_full_are_left_out_and_no_others(outbox: Outbox) -> None:
    full = ["https://a.example", "https://x_y.example:8443"]
    theirs = ("https://a.example/hook", "https://a.example", "https://a.example?x=1", "https://x_y.example:8443/%41")
    others = (
        "https://a.example.evil/",
        "https://a.example:444/",
        "http://a.example/",
        "https://b.example/?https://a.example/",
        "https://xzy.example:8443/",
    )
    for url in theirs:
        await told(outbox, url)
    assert await outbox.next_due(full) is None
    made = {await told(outbox, url) for url in others}
    assert await outbox.next_due(full) is not None
    assert {one.id for one in await outbox.claim(100, full)} == made
    assert len(await outbox.claim(100)) == len(theirs)


async def test_the_next_due_delivery_is_one_that_is_free(outbox: Outbox) -> None:
    now = outbox.database.now()
    assert await outbox.next_due() is None
    for at in (now - 5, now + 100, now + 50):
        await told(outbox, at=at)
    assert await outbox.next_due() == now - 5
    await outbox.claim(1)
    assert await outbox.next_due() == now + 50


async def test_what_was_not_tried_is_given_back_as_it_was(outbox: Outbox) -> None:
    made = await told(outbox)
    before = await outbox.get(made, "owner")
    [held] = await outbox.claim(1)
    await outbox.give_back(held)
    assert await outbox.get(made, "owner") == before
    [again] = await outbox.claim(1)
    await outbox.give_back(held)
    assert await outbox.claim(1) == []
    assert (await outbox.get(made, "owner")).hold == again.hold


async def test_an_origin_that_rests_is_put_off_whole(outbox: Outbox) -> None:
    now = outbox.database.now()
    later = await told(outbox, at=now + 500)
    other = await told(outbox, "https://b.example/")
    held_by_another = await told(outbox, at=now - 99)
    await outbox.claim(1)
    mine, free = await told(outbox, at=now - 9), await told(outbox, f"{URL}/2", at=now - 5)
    [held] = await outbox.claim(1)
    await outbox.put_off("https://a.example", now + 30, held.hold)
    found = await rows(outbox)
    assert {one: found[one].next_at for one in (mine, free, later)} == {
        mine: now + 30,
        free: now + 30,
        later: now + 500,
    }
    assert found[mine].lease_owner is None
    assert found[held_by_another].next_at == now - 99
    assert [one.id for one in await outbox.claim(10)] == [other]


async def test_a_process_that_has_the_database_alone_frees_the_holds_of_those_before_it(outbox: Outbox) -> None:
    await told(outbox)
    await outbox.claim(1)
    await outbox.free_holds()
    assert len(await outbox.claim(1)) == 1


# --- results ---


async def test_a_delivery_that_was_taken_is_over(outbox: Outbox) -> None:
    made = await told(outbox)
    [held] = await outbox.claim(1)
    assert await outbox.write(held, Result("delivered", 204))
    found = await outbox.get(made, "owner")
    assert (found.state, found.attempts, found.status, found.error, found.hold) == ("delivered", 1, 204, None, None)
    assert found.finished_at == pytest.approx(outbox.database.now(), abs=2)
    assert await outbox.next_due() is None


async def test_a_failed_attempt_is_counted_and_tried_again_in_its_time(outbox: Outbox) -> None:
    made = await told(outbox)
    [held] = await outbox.claim(1)
    at = outbox.database.now() + 30
    assert await outbox.write(held, Result("pending", 500, "it answered 500", at))
    found = await outbox.get(made, "owner")
    assert (found.state, found.attempts, found.status, found.error) == ("pending", 1, 500, "it answered 500")
    assert (found.next_at, found.finished_at) == (at, None)
    assert await outbox.claim(1) == []


async def test_who_lost_its_hold_writes_nothing(outbox: Outbox) -> None:
    made = await told(outbox)
    [lost] = await outbox.claim(1)
    await change(outbox, lease_until=1.0)
    [held] = await outbox.claim(1)
    for result in (Result("delivered", 200), FAILED, Result("disabled", 410, GONE)):
        assert not await outbox.write(lost, result)
    assert (await outbox.get(made, "owner")).attempts == 0
    assert await outbox.write(held, FAILED)


async def test_a_destination_that_is_gone_gets_nothing_more(outbox: Outbox) -> None:
    first, second = await told(outbox, at=1.0), await told(outbox)
    elsewhere, other_owner = await told(outbox, f"{URL}/2"), await told(outbox, owner="other")
    [held] = await outbox.claim(1)
    assert held.id == first
    assert await outbox.write(held, Result("disabled", 410, GONE))
    found = await rows(outbox)
    states = {one: found[one].state for one in (first, second, elsewhere, other_owner)}
    assert states == {first: "disabled", second: "disabled", elsewhere: "pending", other_owner: "pending"}
    assert (found[second].attempts, found[second].error) == (0, GONE)
    late = await outbox.get(await told(outbox), "owner")
    assert (late.state, late.error) == ("disabled", GONE)
    assert late.finished_at == late.created_at


async def test_hearing_twice_that_a_destination_is_gone_is_one_fact(outbox: Outbox) -> None:
    await told(outbox)
    await told(outbox)
    held = await outbox.claim(2)
    await asyncio.gather(*(outbox.write(one, Result("disabled", 410, GONE)) for one in held))
    async with outbox.database.read() as connection:
        [row] = (await connection.execute(select(destinations))).all()
    assert (row.owner, row.url, row.reason) == ("owner", URL, GONE)
    assert {row.state for row in (await rows(outbox)).values()} == {"disabled"}


async def test_an_attempt_that_was_taken_while_another_heard_of_the_end_was_taken_all_the_same(outbox: Outbox) -> None:
    await told(outbox)
    await told(outbox)
    one, other = await outbox.claim(2)
    await outbox.write(one, Result("disabled", 410, GONE))
    assert (await outbox.get(other.id, "owner")).state == "disabled"
    assert not await outbox.write(other, FAILED)
    assert (await outbox.get(other.id, "owner")).state == "disabled"
    assert await outbox.write(other, Result("delivered", 200))
    assert (await outbox.get(other.id, "owner")).state == "delivered"


# --- looking back ---


async def test_deliveries_are_their_owner_s_alone(outbox: Outbox) -> None:
    made = await told(outbox)
    for asked in ((made, "other"), ("evt_2", "owner"), (f"{made}' OR 1=1--", "owner")):
        for look in (outbox.get, outbox.replay):
            with pytest.raises(NotFound) as caught:
                await look(*asked)
            assert caught.value.code == "delivery_not_found"
        with pytest.raises(NotFound):
            await outbox.page(asked[1], state=None, task_id=None, after_id=asked[0], limit=10)
    assert (await outbox.page("other", state=None, task_id=None, after_id=None, limit=10)) == ([], False)


async def test_pages_are_newest_first_and_go_on_after_one(outbox: Outbox) -> None:
    made = [await told(outbox, at=1000.0 + number // 2) for number in range(7)]
    newest = sorted(made, key=lambda one: (made.index(one) // 2, one), reverse=True)
    assert await ids(outbox) == newest
    seen: list[str] = []
    after = None
    for more in (True, True, True, False):
        page, has_more = await outbox.page("owner", state=None, task_id=None, after_id=after, limit=2)
        assert has_more is more
        seen += [one.id for one in page]
        after = seen[-1]
    assert seen == newest


async def test_pages_can_be_of_a_state_and_of_a_task(outbox: Outbox) -> None:
    one, two = await told(outbox, task_id="task_1", at=1.0), await told(outbox, task_id="task_2", at=2.0)
    [held] = await outbox.claim(1)
    await outbox.write(held, Result("delivered", 200))
    assert await ids(outbox, state="delivered") == [one]
    assert await ids(outbox, state="pending") == [two]
    assert await ids(outbox, task_id="task_2") == [two]
    assert await ids(outbox, task_id="task_2", state="delivered") == []


async def test_a_replay_begins_anew_with_the_same_id(outbox: Outbox) -> None:
    made = await told(outbox)
    [held] = await outbox.claim(1)
    await outbox.write(held, Result("failed", 500, "it answered 500"))
    again = await outbox.replay(made, "owner")
    assert (again.id, again.state, again.attempts, again.status, again.error) == (made, "pending", 0, None, None)
    assert again.finished_at is None
    assert [one.id for one in await outbox.claim(1)] == [made]


async def test_a_replay_is_refused_while_the_delivery_is_under_way(outbox: Outbox) -> None:
    made = await told(outbox)
    with pytest.raises(Conflict):
        await outbox.replay(made, "owner")
    await told(outbox)
    one, other = await outbox.claim(2)
    await outbox.write(one, Result("disabled", 410, GONE))
    with pytest.raises(Conflict):  # disabled, but somebody is sending it
        await outbox.replay(other.id, "owner")


async def test_a_replay_enables_its_destination_again(outbox: Outbox) -> None:
    made = await told(outbox)
    [held] = await outbox.claim(1)
    await outbox.write(held, Result("disabled", 410, GONE))
    await outbox.replay(made, "owner")
    assert (await outbox.get(await told(outbox), "owner")).state == "pending"
    [held] = await outbox.claim(1)
    await outbox.write(held, Result("disabled", 410, GONE))
    assert (await outbox.get(await told(outbox), "owner")).state == "disabled"


async def test_what_ended_long_ago_is_removed_and_nothing_else(database: Database) -> None:
    outbox = Outbox(database)
    async with database.write() as connection:
        for number, state in enumerate(("failed", "succeeded", "cancelled")):
            await announce(
                connection,
                task_id=f"task_{number}",
                owner="owner",
                webhook=Webhook("https://a.example/hook"),
                state=state,  # type: ignore[arg-type]
                version=1,
                now=database.now(),
            )
        old, recent = database.now() - KEEP_SECONDS - 1, database.now() - KEEP_SECONDS + 60
        for task_id, moment in (("task_0", old), ("task_1", recent)):
            await connection.execute(
                update(deliveries).where(deliveries.c.task_id == task_id).values(finished_at=moment, state="delivered")
            )
    assert await outbox.sweep() == 1
    async with database.read() as connection:
        left = (await connection.execute(select(deliveries.c.task_id).order_by(deliveries.c.task_id))).scalars().all()
    assert left == ["task_1", "task_2"]
