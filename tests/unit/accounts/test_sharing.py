import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool, PoolRules
from gateway.accounts.sharing import CROWDED_MOST
from gateway.errors import AllResting, GatewayError
from gateway.state.slots import Ask
from gateway.types import Account
from tests.unit.accounts.clocks import JumpingLoop, account
from tests.unit.accounts.shared_slots import Shared, SharedSlots

pytestmark = pytest.mark.anyio
START = 1_800_000_000.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


def wall() -> float:
    return START + asyncio.get_running_loop().time()


class Processes:
    """Pools of several processes with the same accounts."""

    def __init__(self, count: int, *accounts: Account, pause: float = 0.001, **rules: Any) -> None:
        self.shared = Shared(wall)
        self.slots = [SharedSlots(self.shared, lambda: asyncio.sleep(pause)) for _ in range(count)]
        self.pools = [
            Pool(
                "up", accounts, rules=PoolRules(**rules), clock=asyncio.get_running_loop().time, wall=wall,
                rng=random.Random(n), slots=slots,
            )
            for n, slots in enumerate(self.slots)
        ]  # fmt: skip

    def idle(self) -> bool:
        local = [(pool.in_flight, pool.waiting, [it.in_flight for it in pool.status()]) for pool in self.pools]
        return self.shared.held() == 0 and all(
            (leases, waiting, sum(out)) == (0, 0, 0) for leases, waiting, out in local
        )


async def lease(pool: Pool, wait: float = 0.0, **fields: Any) -> Lease:
    return await pool.lease(model="m", kind=fields.pop("kind", "t2t"), wait=wait, **fields)


async def refused(pool: Pool, **fields: Any) -> GatewayError:
    with pytest.raises(AllResting) as told:
        await lease(pool, **fields)
    return told.value


# --- limits ---


async def test_a_slot_is_a_slot_over_all_processes() -> None:
    it = Processes(2, account(max_concurrency=1))
    one, other = it.pools
    held = await lease(one)
    assert (await refused(other)).message == "no account for 'm': 1 busy"
    assert other.in_flight == 0
    held.release()
    await asyncio.sleep(CROWDED_MOST)
    (await lease(other)).release()
    assert it.idle()


async def test_three_processes_keep_a_limit_of_ten_under_two_hundred_callers() -> None:
    it = Processes(3, account(max_concurrency=10), pause=0.003)
    running, most, served = 0, 0, Counter[int]()

    async def call(number: int) -> None:
        nonlocal running, most
        with await lease(it.pools[number % 3], wait=1_000, owner=f"caller {number % 7}"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.5)
            running -= 1
            served[number % 3] += 1

    begun = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(call(number))
    assert (most, served.total()) == (10, 200)
    assert asyncio.get_running_loop().time() - begun < 2 * 200 / 10 * 0.5, "slots given back do not lie about"
    assert it.idle()


async def test_a_ceiling_is_of_all_processes_and_accounts() -> None:
    it = Processes(2, account("a"), account("b"), ceiling=3)
    one, other = it.pools
    held = [await lease(one), await lease(one), await lease(other)]
    for pool in it.pools:
        assert (await refused(pool)).message == "no account for 'm': 2 busy"
    waiting = asyncio.create_task(lease(other, wait=5))
    await asyncio.sleep(0.1)
    held[0].release()
    assert (await waiting).account.name in "ab"


@pytest.mark.parametrize(
    ("limits", "why", "seconds"),
    [({"requests_per_minute": 1}, "1 at the rate limit, next in 60 s", 60.0),
     ({"min_interval": 30.0}, "1 at the rate limit, next in 30 s", 30.0),
     ({"tokens_per_minute": 100}, "1 at the rate limit, next in 60 s", 60.0),
     ({"daily_quota": {"t2t": 1}}, "1 out of quota, next in ", None)],
)  # fmt: skip
async def test_rates_and_quotas_are_of_all_processes(limits: dict[str, Any], why: str, seconds: float | None) -> None:
    it = Processes(2, account(**limits))
    one, other = it.pools
    (await lease(one, tokens=100)).release()
    told = await refused(other)
    assert f"no account for 'm': {why}" in told.message
    assert told.retry_after == (seconds or pytest.approx(86_400 - START % 86_400, abs=1))
    asked = len(it.slots[1].asked)
    await refused(other)
    assert len(it.slots[1].asked) == asked, "what is known need not be asked again"


async def test_who_waits_is_refused_once_others_have_used_it_all_up() -> None:
    it = Processes(2, account(max_concurrency=1, requests_per_minute=2))
    one, other = it.pools[0], it.slots[1]
    held = await lease(one)
    waiting = [asyncio.create_task(lease(one, wait=30)) for _ in range(3)]
    while one.waiting < 3:
        await asyncio.sleep(0)
    other.hold(Ask("of-another", "up", "up/a", "t2t", slots=1))
    other.give("of-another")
    begun = wall()
    held.release()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [AllResting] * 3
    assert wall() - begun < 1.0
    assert it.idle()


async def test_tokens_that_were_not_used_are_there_for_all() -> None:
    it = Processes(2, account(tokens_per_minute=100))
    held = await lease(it.pools[0], tokens=90)
    held.tokens = 5
    held.release()
    assert (await lease(it.pools[1], tokens=90)).held


async def test_a_rest_is_known_everywhere_at_once_and_ends_with_one_slot() -> None:
    it = Processes(2, account(max_concurrency=4))
    one, other = it.pools
    (await lease(one)).release(errors.RateLimited(retry_after=20))
    told = await refused(other)
    assert (told.message, told.retry_after) == ("no account for 'm': 1 resting, next in 20 s", 20)
    await asyncio.sleep(20)
    await lease(other)
    assert [pool.status()[0].slots for pool in it.pools] == [1, 1]


async def test_a_quota_that_is_used_up_is_known_everywhere_by_kind() -> None:
    it = Processes(2, account())
    one, other = it.pools
    (await lease(one, kind="t2v")).release(errors.QuotaExhausted(retry_after=50))
    assert (await refused(other, kind="i2v")).message == "no account for 'm': 1 out of quota, next in 50 s"
    (await lease(other)).release(errors.BalanceExhausted(retry_after=70))
    assert (await refused(one)).retry_after == 70


async def test_what_an_answer_says_of_rates_is_known_everywhere() -> None:
    it = Processes(2, account())
    one, other = it.pools
    answered = await lease(one)
    answered.paced(12)
    answered.release()
    assert (await refused(other)).retry_after == 12


async def test_what_was_renewed_is_renewed_everywhere() -> None:
    it = Processes(2, account())
    one, other = it.pools
    (await lease(one)).release(errors.RateLimited(retry_after=20))
    one.renewed("a")
    assert (await lease(other)).held


async def test_what_spent_nothing_is_there_for_the_others() -> None:
    it = Processes(2, account(daily_quota={"t2v": 1}))
    (await lease(it.pools[0], kind="t2v")).release(errors.ContentRefused())
    (await lease(it.pools[1], kind="t2v")).release()
    await refused(it.pools[0], kind="t2v")


async def test_what_was_used_before_all_was_forgotten_still_counts() -> None:
    it = Processes(1, account(daily_quota={"t2v": 3}))
    for _ in range(2):
        (await lease(it.pools[0], kind="t2v")).release()
    it.shared.used.clear()
    (await lease(it.pools[0], kind="t2v")).release()
    assert list(it.shared.used.values()) == [3]


async def test_what_others_hold_counts_as_soon_as_it_is_heard() -> None:
    it = Processes(2, account("a", max_concurrency=10), account("b", max_concurrency=10))
    one, other = it.pools
    for _ in range(4):
        await lease(other, only="up/a")
    for _ in range(2):
        await lease(one, only="up/b")
    assert [(await lease(one)).account.name for _ in range(3)] == ["a", "b", "b"]


# --- a no ---


async def test_a_no_leaves_nothing_behind() -> None:
    limits = {"requests_per_minute": 5, "min_interval": 0.5, "daily_quota": {"t2v": 5}, "tokens_per_minute": 100}
    it = Processes(2, account(max_concurrency=1, **limits))
    one, other = it.pools
    held = await lease(one, kind="t2v", tokens=10)
    await asyncio.sleep(1)
    for _ in range(8):
        await refused(other, kind="t2v", tokens=90)
        await asyncio.sleep(CROWDED_MOST)
    held.tokens = 10
    held.release()
    shown = other.status()[0]
    assert (shown.in_flight, dict(shown.used_today), shown.status) == (0, {}, "OK")
    (await lease(other, kind="t2v", tokens=90)).release()
    assert it.idle()


async def test_who_is_told_no_by_one_account_is_served_by_the_next() -> None:
    it = Processes(2, account("a", max_concurrency=1, priority=1), account("b"))
    await lease(it.pools[0])
    assert (await lease(it.pools[1])).account.name == "b"


async def test_what_others_hold_is_asked_for_now_and_then_only() -> None:
    it = Processes(2, account(max_concurrency=1))
    held = await lease(it.pools[0])
    waiting = [asyncio.create_task(lease(it.pools[1], wait=100)) for _ in range(50)]
    await asyncio.sleep(10)
    assert 10 / CROWDED_MOST * 0.8 <= len(it.slots[1].asked) <= 10 / CROWDED_MOST * 2 + 10
    given = asyncio.get_running_loop().time()
    held.release()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert asyncio.get_running_loop().time() - given <= CROWDED_MOST + 0.02
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_was_told_no_stands_where_it_stood() -> None:
    it = Processes(2, account(max_concurrency=1))
    held, order = await lease(it.pools[0]), []

    async def call(number: int) -> None:
        with await lease(it.pools[1], wait=100):
            order.append(number)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(call(number))
            await asyncio.sleep(0.4)
        held.release()
    assert order == [0, 1, 2, 3, 4, 5]


async def test_a_trial_that_never_was_leaves_room_for_another() -> None:
    it = Processes(2, account("a", max_concurrency=1), account("b"))
    one, other = it.pools
    await lease(one, only="up/a")
    for _ in range(3):
        (await lease(other, only="up/b")).release(errors.UpstreamUnreachable())
    await asyncio.sleep(2)
    begun = asyncio.get_running_loop().time()
    assert (await lease(other, wait=5)).account.name == "b"
    assert asyncio.get_running_loop().time() - begun < 0.1


# --- cancelled, and away ---


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_leaves_while_it_is_asked_holds_nothing(seed: int) -> None:
    rng = random.Random(seed)
    it = Processes(2, account("a", max_concurrency=2, daily_quota={"t2t": 500}), account("b"), pause=0.05)

    async def call() -> None:
        with await lease(rng.choice(it.pools), wait=rng.choice([0.0, 3.0])):
            await asyncio.sleep(rng.uniform(0, 0.2))

    tasks = []
    for _ in range(150):
        tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(rng.uniform(0, 0.02))
        rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(task.cancelled() for task in tasks) >= 20
    assert it.idle()


async def test_while_it_is_away_every_process_keeps_the_limits_by_itself() -> None:
    it = Processes(2, account(max_concurrency=2))
    for slots in it.slots:
        slots.go()
    assert [pool.shared for pool in it.pools] == [False, False]
    held = [[await lease(pool) for _ in range(2)] for pool in it.pools]
    for pool in it.pools:
        assert (await refused(pool)).message == "no account for 'm': 1 busy"
    assert it.shared.held() == 0
    for slots in it.slots:
        slots.come_back()
    assert it.shared.held() == 4, "what was made while away is counted now"
    for leases in held:
        leases[0].release()
    assert (await refused(it.pools[0])).message == "no account for 'm': 1 busy"
    for leases in held:
        leases[1].release()
    await asyncio.sleep(CROWDED_MOST)
    (await lease(it.pools[0])).release()
    assert it.idle()


async def test_what_goes_away_in_between_holds_nothing_twice() -> None:
    it = Processes(1, account(), pause=1.0)
    asking = asyncio.create_task(lease(it.pools[0]))
    await asyncio.sleep(1.5)
    it.slots[0].go()
    held = await asking
    it.slots[0].come_back()
    assert it.shared.held() == 1
    held.release()
    assert it.idle()


async def test_a_pool_that_shares_nothing_says_so() -> None:
    assert Pool("up", [account()]).shared is None
