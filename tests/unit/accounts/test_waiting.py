import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool, PoolRules
from gateway.accounts.waiting import Queue, Waiter, Want, want_of
from gateway.errors import AllResting, NoAccount, Overloaded
from gateway.types import Account
from tests.unit.accounts.clocks import JumpingLoop, account

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


def looped(*accounts: Account, **rules: Any) -> Pool:
    """A pool on the time of the running loop."""
    loop = asyncio.get_running_loop()
    return Pool(
        "up", accounts, rules=PoolRules(**rules), clock=loop.time, wall=lambda: 1_800_000_000 + loop.time(),
        rng=random.Random(1),
    )  # fmt: skip


class Creeping:
    """A clock on which a little time passes whenever somebody looks at it."""

    step = 1e-4

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def take(pool: Pool, **fields: Any) -> Lease:
    return pool.take(model="m", kind="t2t", **fields)


def asks(pool: Pool, wait: float = 1_000.0, **fields: Any) -> asyncio.Task[Lease]:
    return asyncio.create_task(pool.lease(**({"model": "m", "kind": "t2t", "wait": wait} | fields)))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


def now() -> float:
    return asyncio.get_running_loop().time()


def want(owner: str = "", model: str = "m") -> Want:
    return want_of(model=model, kind="t2t", owner=owner)


# --- the line itself ---


def order(queue: Queue[int]) -> list[tuple[str, int]]:
    """Serve all that wait, and say who they were."""
    served = []
    while (waiter := queue.first()) is not None:
        queue.serve(waiter, 0)
        served.append((waiter.want.owner, waiter.ticket))
    return served


async def test_callers_take_turns_and_each_has_its_oldest_served_first() -> None:
    queue: Queue[int] = Queue()
    for owner in "AAAABBC":
        queue.join(want(owner), "up")
    assert order(queue) == [("A", 1), ("B", 5), ("C", 7), ("A", 2), ("B", 6), ("A", 3), ("A", 4)]
    assert not queue


async def test_who_can_be_served_is_before_whose_turn_it_is() -> None:
    queue: Queue[int] = Queue()
    other, _, waiter = (queue.join(want(*one), "up") for one in (("A", "other"), ("B", "other"), ("A",)))
    assert queue.wants == 2
    assert queue.first({other.alike}) is waiter
    assert queue.first({other.alike, waiter.alike}) is None
    queue.serve(waiter, 0)
    assert queue.wants == 1
    assert queue.first({other.alike}) is None


@pytest.mark.parametrize("first", [0, 1])
async def test_who_gave_up_what_it_got_stands_where_it_stood(first: int) -> None:
    queue: Queue[int] = Queue()
    waiters = [queue.join(want(owner), "up") for owner in "AAABB"]
    for waiter in waiters[:2]:
        queue.serve(waiter, 0)
    for waiter in (waiters[first], waiters[1 - first]):
        queue.join(waiter.want, "up", waiter.ticket)
    assert order(queue) == [("A", 1), ("B", 4), ("A", 2), ("B", 5), ("A", 3)]


async def test_the_line_is_as_long_as_it_may_be_but_nobody_is_sent_away_who_had_a_place() -> None:
    queue: Queue[int] = Queue(2)
    first = queue.join(want("A"), "up")
    queue.serve(first, 0)
    for _ in range(2):
        queue.join(want("B"), "up")
    with pytest.raises(Overloaded, match="2 requests already wait for an account of 'up'"):
        queue.join(want("A"), "up")
    queue.join(want("A"), "up", first.ticket)
    queue.bind(4)
    queue.join(want("A"), "up")
    assert len(queue) == 4


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("ABCD"), max_size=30), st.sampled_from("ABCDE"))
def test_how_many_are_served_before(waiting: list[str], owner: str) -> None:
    async def served_before() -> None:
        queue: Queue[int] = Queue()
        for each in waiting:
            queue.join(want(each), "up")
        told = queue.ahead(owner)
        mine = queue.join(want(owner), "up")
        position = order(queue).index((owner, mine.ticket))
        assert told >= position
        assert told - position <= len(set(waiting) - {owner}), "no more than a turn of each"

    asyncio.run(served_before())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["join", "serve", "refuse", "leave", "rejoin"]), st.sampled_from("ABC"))))
def test_the_count_is_right_whatever_happens(steps: list[tuple[str, str]]) -> None:
    async def happen() -> None:
        queue: Queue[int] = Queue(10)
        waiting: list[Waiter[int]] = []
        given_up: list[Waiter[int]] = []
        for step, owner in steps:
            if step == "join" and len(waiting) < 10:
                waiting.append(queue.join(want(owner), "up"))
            elif step == "rejoin" and given_up:
                old = given_up.pop()
                waiting.append(queue.join(old.want, "up", old.ticket))
            elif step == "serve" and (served := next((one for one in waiting if one.want.owner == owner), None)):
                queue.serve(served, 0)
                waiting.remove(served)
                given_up.append(served)
            elif step == "refuse" and waiting:
                queue.refuse(waiting[0], AllResting())
                assert waiting.pop(0).future.exception() is not None
            elif step == "leave" and waiting:
                leaving = waiting.pop()
                assert await queue.outcome(leaving, 0, lambda _: None) is None
            assert len(queue) == len(waiting) == len(list(queue.everyone()))
            assert set(queue.everyone()) == set(waiting)
            assert queue.wants == len({one.alike for one in waiting})

    asyncio.run(happen())


# --- fair between callers ---


async def test_a_caller_with_one_request_does_not_wait_for_a_thousand_of_another() -> None:
    pool = looped(account(max_concurrency=1))
    held, served = take(pool), []

    async def call(owner: str) -> None:
        with await pool.lease(model="m", kind="t2t", wait=1e6, owner=owner):
            served.append((owner, now()))
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call("A")) for _ in range(999)]
        await until(lambda: pool.waiting == 999)
        calls.append(group.create_task(call("B")))
        await until(lambda: pool.waiting == 1_000)
        begun = now()
        held.release()
    waits = {owner: at - begun for owner, at in reversed(served)}
    assert waits["B"] <= 1.01
    assert Counter(owner for owner, _ in served) == {"A": 999, "B": 1}


async def test_three_callers_who_wait_get_a_third_each() -> None:
    pool = looped(account(max_concurrency=2))
    held, served = [take(pool), take(pool)], []

    async def call(owner: str) -> None:
        with await pool.lease(model="m", kind="t2t", wait=1e6, owner=owner):
            served.append(owner)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for owner, count in (("A", 200), ("B", 50), ("C", 50)):
            for _ in range(count):
                group.create_task(call(owner))
        await until(lambda: pool.waiting == 300)
        for lease in held:
            lease.release()
    assert set(Counter(served[:150]).values()) == {50}


async def test_ten_accounts_with_a_slot_each_serve_two_hundred_evenly_and_in_turn() -> None:
    pool = looped(*(account(str(n), max_concurrency=1) for n in range(10)))
    running: Counter[str] = Counter()
    served: Counter[str] = Counter()
    waits = []

    async def call() -> None:
        begun = now()
        with await pool.lease(model="m", kind="t2t", wait=1_000) as lease:
            waits.append(now() - begun)
            name = lease.account.name
            running[name] += 1
            assert running[name] == 1
            await asyncio.sleep(1)
            running[name] -= 1
            served[name] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(call())
    assert all(16 <= served[str(n)] <= 24 for n in range(10)), served
    waits.sort()
    assert waits[-2] / waits[len(waits) // 2] < 3


# --- what is told ---


async def test_a_refusal_tells_how_many_wait_before_and_how_long_that_takes() -> None:
    pool = looped(account(max_concurrency=1))
    leases = [take(pool)]
    waiting = [asks(pool, owner=owner) for owner in "AAAB"]
    await until(lambda: pool.waiting == 4)
    told = await refused(pool, owner="C")
    assert (told.message, told.retry_after) == ("no account for 'm': 1 busy, 2 waiting before", 1)
    for _ in range(2):
        await asyncio.sleep(6)
        leases.pop().release()
        await until(lambda: any(one.done() for one in waiting))
        done = next(one for one in waiting if one.done())
        waiting.remove(done)
        leases.append(done.result())
    told = await refused(pool, owner="C")
    assert told.message == "no account for 'm': 1 busy, 1 waiting before"
    assert told.retry_after == 12, "6 s for each slot, and this is the second"
    await cancelled(waiting)


async def test_a_time_in_which_nobody_waited_is_no_time_between_slots() -> None:
    pool = looped(account(max_concurrency=1))
    take(pool).release()
    await asyncio.sleep(3_600)
    held = take(pool)
    waiting = [asks(pool), asks(pool)]
    await until(lambda: pool.waiting == 2)
    held.release()
    await until(lambda: waiting[0].done())
    assert (await refused(pool)).retry_after == 1
    await cancelled(waiting[1:])


async def test_who_waits_before_does_not_hide_what_comes_back_sooner() -> None:
    pool = looped(account("a", max_concurrency=1), account("b", max_concurrency=1))
    take(pool, only="up/b").release(errors.RateLimited(retry_after=25))
    held = take(pool)
    for _ in range(2):
        waiting = asks(pool)
        await until(lambda: pool.waiting == 1)
        await asyncio.sleep(10)
        held.release()
        held = await waiting
    waiting = asks(pool)
    await until(lambda: pool.waiting == 1)
    told = await refused(pool)
    assert told.message == "no account for 'm': 1 resting, 1 busy, 1 waiting before"
    await cancelled([waiting])
    told = await refused(pool)
    assert (told.message, told.retry_after) == ("no account for 'm': 1 resting, 1 busy", 5)


async def refused(pool: Pool, **fields: Any) -> errors.GatewayError:
    with pytest.raises(errors.Unavailable) as told:
        await pool.lease(model="m", kind="t2t", **fields)
    return told.value


async def cancelled(tasks: list[asyncio.Task[Lease]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- what is waited for ---


@pytest.mark.parametrize(("interval", "waits"), [(5.0, True), (5.1, False)])
async def test_an_accounts_own_pace_is_waited_for_where_it_is_short(interval: float, waits: bool) -> None:
    pool = looped(account(min_interval=interval))
    take(pool)
    begun = now()
    if waits:
        await pool.lease(model="m", kind="t2t", wait=20)
        assert now() - begun == pytest.approx(interval, abs=0.01)
    else:
        told = await refused(pool, wait=20)
        assert (told.message, now()) == ("no account for 'm': 1 at the rate limit, next in 6 s", begun)
        assert (told.status, told.retry_after) == (429, 6)


async def test_what_an_answer_said_of_the_pace_is_kept() -> None:
    pool = looped(account())
    lease = take(pool)
    lease.paced(3)
    begun = now()
    await pool.lease(model="m", kind="t2t", wait=20)
    assert now() - begun == pytest.approx(3, abs=0.01)


async def test_tokens_are_waited_for_although_others_need_fewer() -> None:
    pool = looped(account(tokens_per_minute=100))
    first = take(pool, tokens=60)
    await asyncio.sleep(56)
    waiting = asks(pool, tokens=50)
    await until(lambda: pool.waiting == 1)
    begun = now()
    take(pool, tokens=40)
    assert (await waiting).held
    assert now() - begun == pytest.approx(4, abs=0.01)
    first.release()


async def test_tokens_that_were_not_used_serve_who_waits() -> None:
    pool = looped(account(tokens_per_minute=100))
    first = take(pool, tokens=60)
    await asyncio.sleep(56)
    waiting = asks(pool, tokens=50)
    await until(lambda: pool.waiting == 1)
    first.tokens = 10
    begun = now()
    first.release()
    assert (await waiting).held
    assert now() == begun


async def test_a_doubted_account_that_is_trusted_again_serves_who_wanted_a_trusted_one() -> None:
    pool = looped(account("a", max_concurrency=1), account("b"))
    held = take(pool, only="up/a")
    take(pool, only="up/b").release(errors.UpstreamFailed())
    waiting = asks(pool, trusted=True)
    await until(lambda: pool.waiting == 1)
    begun = now()
    assert (await waiting).account.name == "b"
    assert now() - begun == pytest.approx(5, abs=0.01)
    held.release()


async def test_an_account_that_fails_over_and_over_serves_once_its_ejection_is_over_or_nobody_else_can() -> None:
    pool = looped(account("a", max_concurrency=1), account("b"))
    held = take(pool, only="up/a")
    for _ in range(3):
        take(pool, only="up/b").release(errors.UpstreamFailed())
    waiting = [asks(pool), asks(pool, wait=100)]
    await until(lambda: pool.waiting == 2)
    begun = now()
    await asyncio.sleep(10)
    assert pool.waiting == 2
    held.release(errors.RateLimited(retry_after=600))
    assert (await waiting[0]).account.name == "b"
    assert (now() - begun, pool.waiting) == (pytest.approx(10, abs=0.01), 1)
    (await waiting[0]).release()
    assert (await waiting[1]).account.name == "b"


async def test_the_only_account_left_is_waited_for_even_where_it_fails() -> None:
    """Never is everybody ejected: of a single account the slot is all that is missing."""
    pool = looped(account())
    for _ in range(4):
        take(pool).release(errors.StreamInterrupted())
    assert pool.status()[0].trust == "failing"
    held = take(pool)
    told = await refused(pool)
    assert (told.message, told.retry_after) == ("no account for 'm': 1 busy", 1)
    assert pool.soonest(model="m", kind="t2t") == 0
    assert pool.could(model="m", kind="t2t")
    assert not pool.could(model="m", kind="t2t", trusted=True)
    waiting = asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release()
    assert (await waiting).held


async def test_who_waits_is_told_when_the_upstream_is_set_aside() -> None:
    pool = looped(account(max_concurrency=1))
    for _ in range(4):
        take(pool).release(errors.UpstreamFailed())
    held = take(pool)
    waiting = asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release(errors.UpstreamFailed())
    begun = now()
    with pytest.raises(AllResting, match="1 behind an upstream that fails, next in 2 s"):
        await waiting
    assert now() == begun


async def test_what_another_order_is_about_wakes_nobody_again_and_again() -> None:
    """Somebody waits while time has changed something for a sort of work that nobody asks for any more."""
    pool = looped(account("a", max_concurrency=1), account("b", not_models=frozenset({"x"})), account("c"))
    take(pool, only="up/c").release(errors.RateLimited(retry_after=2))
    pool.take(model="x", kind="t2t", exclude={"up/b", "up/c"}).release()
    for name in "ab":
        pool.disable(name) if name == "b" else take(pool, only="up/a")
    pool.disable("c")
    await asyncio.sleep(5)
    waiting, begun = asks(pool, wait=10), now()
    with pytest.raises(AllResting):
        await waiting
    assert now() - begun == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("looks", range(1, 25))
async def test_time_that_passes_between_two_looks_at_the_clock_leaves_nobody_waiting(looks: int) -> None:
    """Time sets an account free after so many looks at the clock: whoever looks then, somebody serves."""
    clock = Creeping(0.0)
    pool = Pool("up", [account(min_interval=10.0)], clock=clock, rng=random.Random(1))
    lease = take(pool)
    lease.release()
    clock.now = lease.began + 10.0 - looks * clock.step
    begun = now()
    (await asks(pool, wait=5)).release()
    assert now() - begun < 1.0


async def test_who_joins_the_line_does_not_put_off_who_waits_there() -> None:
    queue: Queue[int] = Queue()
    queue.join(want(), "up")
    rung: list[float] = []
    for seconds in (3.0, 2.0, None, 5.0):
        queue.wake_in(seconds, lambda: rung.append(now()))
    await asyncio.sleep(10)
    assert rung == [2.0], "at the soonest of them, once"
    queue.wake_in(1.0, lambda: rung.append(now()))
    await asyncio.sleep(10)
    assert rung == [2.0, 11.0], "and anew"


@pytest.mark.parametrize("limit", [{"requests_per_minute": 2}, {"daily_quota": {"t2t": 2}}])
async def test_who_waits_is_refused_once_those_before_have_used_it_all_up(limit: dict[str, Any]) -> None:
    pool = looped(account(max_concurrency=1, **limit))
    held, waiting = take(pool), [asks(pool, wait=30) for _ in range(4)]
    await until(lambda: pool.waiting == 4)
    begun = now()
    held.release()
    (await waiting[0]).release()
    told = await asyncio.gather(*waiting[1:], return_exceptions=True)
    assert [type(error) for error in told] == [AllResting] * 3
    assert now() == begun
    assert pool.waiting == 0


async def test_who_is_served_and_leaves_at_once_has_used_nothing() -> None:
    pool = looped(account(max_concurrency=1, daily_quota={"t2t": 2}, requests_per_minute=2))
    held, gone = take(pool), asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (dict(pool.status()[0].used_today), pool.in_flight) == ({"t2t": 1}, 0)
    take(pool).release()
    assert (await refused(pool)).retry_after is not None


async def test_those_who_wait_for_different_things_are_refused_apart() -> None:
    pool = looped(account("a", max_concurrency=1), account("b", max_concurrency=1, not_models=frozenset({"dear"})))
    held = {name: take(pool, only=f"up/{name}") for name in "ab"}
    dear, cheap = asks(pool, model="dear"), asks(pool)
    await until(lambda: pool.waiting == 2)
    held["a"].release(errors.Challenged())
    with pytest.raises(NoAccount, match="1 not allowed to use it, 1 parked"):
        await dear
    held["b"].release()
    assert (await cheap).account.name == "b"
