import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway import errors
from gateway.accounts.lease import Lease
from gateway.accounts.place import Sort
from gateway.accounts.pool import Pool
from gateway.accounts.quota import GROUP_OF
from gateway.accounts.verdict import DAY
from gateway.accounts.waiting import MOST_WAITING
from gateway.errors import AllResting, GatewayError, NoAccount, NotFound, Overloaded, Unavailable
from gateway.types import Account, Kind
from tests.unit.accounts.clocks import Clocks, JumpingLoop, account

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


def pool_of(*accounts: Account, time: Clocks | None = None) -> Pool:
    time = time or Clocks()
    return Pool("up", accounts, clock=time.clock, wall=time.wall, rng=random.Random(1))


def take(pool: Pool, model: str = "m", kind: Kind = "t2t", **fields: Any) -> Lease:
    return pool.take(model=model, kind=kind, **fields)


def refused(pool: Pool, model: str = "m", kind: Kind = "t2t", **fields: Any) -> Unavailable:
    with pytest.raises(Unavailable) as told:
        take(pool, model, kind, **fields)
    return told.value


# --- leases ---


async def test_a_slot_comes_back_once_however_often_it_is_released() -> None:
    pool = pool_of(account(max_concurrency=1))
    first = take(pool)
    first.release()
    take(pool)
    first.release()
    first.release(errors.CredentialRejected())
    assert refused(pool).message == "no account for 'm': 1 busy"


async def test_a_block_is_judged_by_what_leaves_it() -> None:
    pool = pool_of(account("a"), account("b"), account("c"))
    for name, error in (("a", errors.RateLimited(retry_after=9)), ("b", KeyError()), ("c", asyncio.CancelledError())):
        with pytest.raises(type(error)), take(pool, only=f"up/{name}"):
            raise error
    assert [(it.status, it.in_flight) for it in pool.status()] == [("RATE_LIMITED", 0), ("OK", 0), ("OK", 0)]


async def test_excluded_accounts_are_passed_over_and_only_means_only() -> None:
    pool = pool_of(account("a"), account("b"))
    assert take(pool, exclude={"up/a"}).account.name == "b"
    assert {take(pool, only="up/a").account.name for _ in range(3)} == {"a"}


async def test_what_a_key_of_the_upstream_may_not_use_is_left_to_others() -> None:
    pool = pool_of(account("a"), account("b", not_models=frozenset({"dear"})))
    take(pool, "dear", only="up/a").release(errors.ModelNotEnabled())
    assert refused(pool, "dear").message == "no account for 'dear': 1 not allowed to use it, 1 not enabled for it"
    assert {take(pool).account.name for _ in range(2)} == {"a", "b"}


@pytest.mark.parametrize(
    "error",
    [errors.ContentRefused(), errors.InvalidRequest(), errors.ClientLeft(), errors.GenerationFailed(),
     errors.InputUnreachable(), errors.TaskExpired(), errors.JobLost()],
)  # fmt: skip
async def test_faults_of_callers_and_jobs_keep_no_account_away(error: GatewayError) -> None:
    pool = pool_of(account())
    for _ in range(100):
        take(pool).release(error)
    shown = pool.status()[0]
    assert (shown.status, shown.strikes, shown.trust, shown.slots) == ("OK", 0, "trusted", 8)


@pytest.mark.parametrize(
    ("error", "times", "strikes"), [(errors.UpstreamUnreachable(sent="no"), 3, 0), (errors.UpstreamFailed(), 5, 5)]
)
async def test_an_upstream_that_fails_is_set_aside_and_its_accounts_are_not(
    error: GatewayError, times: int, strikes: int
) -> None:
    pool = pool_of(account())
    for _ in range(times):
        assert pool.breaker_state == "closed"
        take(pool).release(error)
    told = refused(pool)
    assert isinstance(told, AllResting)
    assert told.message == "no account for 'm': 1 behind an upstream that fails, next in 2 s"
    assert (told.status, told.code, told.retry_after) == (503, "no_account_available", 2)
    assert (pool.breaker_state, pool.status()[0].status, pool.status()[0].strikes) == ("open", "OK", strikes)
    assert pool.status()[0].reason == "its upstream fails; it is tried again shortly"


async def test_a_failed_account_is_followed_by_another() -> None:
    pool = pool_of(account("a"), account("b"))
    first = take(pool)
    first.release(errors.RateLimited())
    assert {take(pool).account.name for _ in range(4)} == {"a", "b"} - {first.account.name}


async def test_an_error_outside_of_a_lease_is_judged_as_well() -> None:
    pool = pool_of(account())
    for error in (errors.JobLost(), errors.ContentRefused()):
        pool.blame("up/a", error, model="m", kind="t2v")
    assert pool.status()[0].status == "OK"
    pool.blame("up/a", errors.CredentialRejected("the key was revoked"), model="m", kind="t2v")
    pool.blame("up/gone", errors.CredentialRejected(), model="m", kind="t2v")
    assert (pool.status()[0].status, pool.status()[0].reason) == ("INVALID", "the key was revoked")


# --- refusals ---


async def test_with_nothing_configured_or_all_tried_there_is_no_account() -> None:
    assert refused(pool_of()).message == "no account for 'm': none is configured for upstream 'up'"
    pool = pool_of(account("a"), account("b"))
    assert refused(pool, only="up/z").message == "no account for 'm': 'up/z' is not an account of 'up'"
    tried = refused(pool, exclude=["up/a", "up/b"])
    assert isinstance(tried, NoAccount)
    assert tried.message == "no account for 'm': 2 of 'up' tried, no other configured"
    assert (tried.status, tried.code, tried.upstream) == (503, "no_account_available", "up")


async def test_what_needs_an_operator_is_no_matter_of_time() -> None:
    pool = pool_of(account("a"), account("b"), account("c", enabled=False))
    take(pool, only="up/a").release(errors.CredentialRejected())
    take(pool, only="up/b").release(errors.Challenged())
    told = refused(pool)
    assert isinstance(told, NoAccount)
    assert told.message == "no account for 'm': 1 disabled, 1 with a rejected credential, 1 parked behind a challenge"


async def test_all_resting_by_rate_is_429_with_the_soonest_true_second() -> None:
    time = Clocks()
    pool = pool_of(account("a"), account("b"), account("c"), time=time)
    for name, seconds in (("a", 90.0), ("b", 40.2), ("c", 600.0)):
        take(pool, only=f"up/{name}").release(errors.RateLimited(retry_after=seconds))
    told = refused(pool, "qwen3-max")
    assert isinstance(told, AllResting)
    assert told.message == "no account for 'qwen3-max': 3 resting, next in 41 s"
    assert (told.status, told.code, told.type, told.retry_after) == (
        429, "upstream_rate_limited", "rate_limit_error", 41.0,
    )  # fmt: skip
    assert pool.soonest(model="m", kind="t2t") == pytest.approx(40.2)
    time.pass_by(41)
    assert take(pool).account.name == "b"


async def test_all_out_of_quota_is_429_insufficient_quota_for_that_kind_alone() -> None:
    time = Clocks(wall=20_000 * DAY + 6 * 3_600)
    pool = pool_of(account("a", daily_quota={"t2v": 1}), account("b"), time=time)
    take(pool, kind="i2v", only="up/a")
    take(pool, kind="i2v", only="up/b").release(errors.QuotaExhausted(retry_after=20 * 3_600))
    told = refused(pool, kind="t2v")
    assert told.message == "no account for 'm': 2 out of quota, next in 18 h"
    assert (told.status, told.code, told.type, told.retry_after, told.resend_helps) == (
        429, "insufficient_quota", "insufficient_quota", 18 * 3_600, False,
    )  # fmt: skip
    take(pool)


async def test_any_mixture_is_503() -> None:
    pool = pool_of(account("a", max_concurrency=1), account("b"), account("c"))
    take(pool, only="up/b").release(errors.RateLimited(retry_after=30))
    take(pool, only="up/c").release(errors.BalanceExhausted())
    mixed = refused(pool, exclude=["up/a"])
    assert (mixed.status, mixed.code, mixed.retry_after) == (503, "no_account_available", 30)
    assert mixed.message == "no account for 'm': 1 out of quota, 1 resting, next in 30 s"
    take(pool)
    busy = refused(pool)
    assert (busy.status, busy.code, busy.retry_after) == (503, "no_account_available", 1)
    assert pool.soonest(model="m", kind="t2t") == 0


async def test_a_stepped_wall_clock_ends_no_rest() -> None:
    time = Clocks()
    pool = pool_of(account(), time=time)
    take(pool).release(errors.RateLimited(retry_after=30))
    for step in (3_600, -7_200):
        time.unix += step
        assert refused(pool).retry_after == 30


# --- people ---


async def test_the_status_tells_each_account_apart() -> None:
    time = Clocks()
    names = ("ok", "slow", "spent", "poor", "bad", "parked", "off")
    pool = pool_of(*map(account, names), time=time)
    for name, error in {
        "ok": None,
        "slow": errors.RateLimited(retry_after=30),
        "spent": errors.QuotaExhausted(retry_after=600),
        "poor": errors.BalanceExhausted(),
        "bad": errors.CredentialRejected("the credential was rejected"),
        "parked": errors.Challenged("a page came"),
    }.items():
        take(pool, kind="i2v", only=f"up/{name}").release(error)
    pool.disable("off")
    shown = {it.name: it for it in pool.status()}
    assert {name: (it.status, it.reset_at) for name, it in shown.items()} == {
        "ok": ("OK", None),
        "slow": ("RATE_LIMITED", time.unix + 30),
        "spent": ("EXHAUSTED", time.unix + 600),
        "poor": ("EXHAUSTED", time.unix + 3_600),
        "bad": ("INVALID", None),
        "parked": ("INVALID", None),
        "off": ("DISABLED", None),
    }
    assert set(shown["spent"].exhausted) == {"t2v", "i2v", "flf2v", "ref2v"}
    assert shown["bad"].reason == "the credential was rejected"
    assert shown["ok"].used_today == {"t2v": 1}
    assert shown["slow"].used_today == {}
    assert (shown["ok"].id, shown["ok"].upstream, shown["ok"].slots, shown["ok"].in_flight) == ("up/ok", "up", 8, 0)


async def test_an_account_over_its_requests_per_minute_shows_when_it_goes_on() -> None:
    time = Clocks()
    pool = pool_of(account(requests_per_minute=1), time=time)
    take(pool).release()
    shown = pool.status()[0]
    assert (shown.status, shown.reset_at) == ("RATE_LIMITED", time.unix + 60)
    assert shown.reason == "its requests or tokens per minute are used up"


async def test_an_operator_turns_accounts_off_on_and_renews_them() -> None:
    pool = pool_of(account())
    running = take(pool)
    pool.disable("a")
    assert refused(pool).message == "no account for 'm': 1 disabled"
    pool.enable("up/a")
    take(pool).release(errors.CredentialRejected())
    pool.renewed("a")
    running.release(errors.CredentialRejected())
    assert take(pool).account.name == "a"
    with pytest.raises(NotFound, match="'z' is not an account of 'up'"):
        pool.disable("z")


async def test_an_account_is_found_for_work_it_holds_whatever_its_standing() -> None:
    pool = pool_of(account())
    take(pool).release(errors.RateLimited())
    found = pool.account("up/a")
    assert found is pool.accounts[0]
    assert pool.account("up/z") is None


# --- waiting ---


def looped(*accounts: Account) -> Pool:
    """A pool on the time of the running loop."""
    loop = asyncio.get_running_loop()
    return Pool("up", accounts, clock=loop.time, wall=lambda: 1_800_000_000 + loop.time(), rng=random.Random(1))


def asks(pool: Pool, model: str = "m", wait: float = 30.0, **fields: Any) -> asyncio.Task[Lease]:
    return asyncio.create_task(pool.lease(model=model, kind="t2t", wait=wait, **fields))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def test_who_waits_is_served_in_turn() -> None:
    pool = looped(account(max_concurrency=1))
    held, served = take(pool), []

    async def one(number: int) -> None:
        with await pool.lease(model="m", kind="t2t", wait=30):
            served.append(number)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(one(number))
        await until(lambda: pool.waiting == 5)
        held.release()
    assert served == [0, 1, 2, 3, 4]
    assert (pool.waiting, pool.status()[0].in_flight) == (0, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    pool = looped(account(max_concurrency=1))
    held, waiting = take(pool), asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release()
    assert refused(pool).message == "no account for 'm': 1 busy"
    assert (await waiting).account.name == "a"


async def test_a_slot_goes_to_the_first_who_can_use_it() -> None:
    pool = looped(account("a", max_concurrency=1), account("b", max_concurrency=1))
    held = {lease.account.name: lease for lease in (take(pool), take(pool))}
    only_b, not_b = asks(pool, only="up/b"), asks(pool, exclude={"up/b"})
    await until(lambda: pool.waiting == 2)
    held["a"].release()
    assert (await not_b).account.name == "a"
    assert pool.waiting == 1
    held["b"].release()
    assert (await only_b).account.name == "b"


async def test_the_wait_has_an_end() -> None:
    pool = looped(account(max_concurrency=1))
    take(pool)
    begun = asyncio.get_running_loop().time()
    with pytest.raises(AllResting) as told:
        await pool.lease(model="m", kind="t2t", wait=5)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5, abs=0.01)
    assert (told.value.code, told.value.retry_after, pool.waiting) == ("no_account_available", 1, 0)


async def test_nobody_waits_for_accounts_that_rest_or_without_being_told_to() -> None:
    pool = looped(account("a", max_concurrency=1), account("b"))
    take(pool, only="up/b").release(errors.RateLimited(retry_after=5))
    take(pool)
    begun = asyncio.get_running_loop().time()
    for fields in ({"wait": 30.0, "only": "up/b"}, {"wait": 0.0}):
        with pytest.raises(AllResting):
            await pool.lease(model="m", kind="t2t", **fields)
    assert asyncio.get_running_loop().time() == pytest.approx(begun, abs=0.01)


async def test_an_account_that_ends_its_rest_serves_those_who_wait_for_another() -> None:
    pool = looped(account("a", max_concurrency=1), account("b"))
    take(pool, only="up/a")
    waiting = [asks(pool), asks(pool)]
    held = take(pool, only="up/b")
    assert pool.waiting == 0
    held.release(errors.RateLimited(retry_after=7))
    begun = asyncio.get_running_loop().time()
    first = await waiting[0]
    assert (first.account.name, pool.waiting) == ("b", 1), "who comes back from a rest has one slot"
    first.release()
    assert [(await waiting[1]).account.name, take(pool).account.name] == ["b", "b"]
    assert asyncio.get_running_loop().time() - begun == pytest.approx(7, abs=0.01)


async def test_a_rest_that_begins_while_they_wait_is_waited_out() -> None:
    pool = looped(account("a", max_concurrency=1), account("b", max_concurrency=1))
    take(pool, only="up/a")
    held, waiting = take(pool, only="up/b"), asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release(errors.RateLimited(retry_after=7))
    begun = asyncio.get_running_loop().time()
    assert (await waiting).account.name == "b"
    assert asyncio.get_running_loop().time() - begun == pytest.approx(7, abs=0.01)


async def test_requests_per_minute_hold_for_those_who_wait() -> None:
    pool = looped(account(max_concurrency=1, requests_per_minute=2))
    held, waiting = take(pool), [asks(pool, wait=200), asks(pool, wait=200)]
    await until(lambda: pool.waiting == 2)
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(57)
    held.release()
    (await waiting[0]).release()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(57, abs=0.1)
    (await waiting[1]).release()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(60, abs=0.1)


async def test_those_who_wait_are_told_at_once_when_no_slot_can_come_any_more() -> None:
    pool = looped(account(max_concurrency=1))
    begun = asyncio.get_running_loop().time()
    held, waiting = take(pool), asks(pool)
    await until(lambda: pool.waiting == 1)
    held.release(errors.CredentialRejected())
    with pytest.raises(NoAccount, match="1 with a rejected credential"):
        await waiting
    pool.renewed("a")
    take(pool)
    waiting = asks(pool)
    await until(lambda: pool.waiting == 1)
    pool.disable("a")
    with pytest.raises(NoAccount, match="1 disabled"):
        await waiting
    assert asyncio.get_running_loop().time() == pytest.approx(begun, abs=0.01)


async def test_an_operator_can_open_accounts_for_those_who_wait() -> None:
    pool = looped(account("a", max_concurrency=1), account("b", enabled=False))
    take(pool)
    waiting = asks(pool)
    await until(lambda: pool.waiting == 1)
    pool.enable("b")
    assert (await waiting).account.name == "b"


async def test_who_leaves_while_waiting_leaves_nothing_behind() -> None:
    pool = looped(account(max_concurrency=1))
    held, gone, next_one = take(pool), asks(pool), asks(pool)
    await until(lambda: pool.waiting == 2)
    gone.cancel()
    held.release()
    assert (await next_one).account.name == "a"
    assert (gone.cancelled(), pool.waiting, pool.status()[0].in_flight) == (True, 0, 1)


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_who_is_served_and_cancelled_at_once_passes_the_slot_on(cancel_first: bool) -> None:
    pool = looped(account(max_concurrency=1))
    held, gone, next_one = take(pool), asks(pool), asks(pool)
    await until(lambda: pool.waiting == 2)
    for step in (gone.cancel, held.release) if cancel_first else (held.release, gone.cancel):
        step()
    (await next_one).release()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (pool.waiting, pool.status()[0].in_flight) == (0, 0)


async def test_the_line_is_bounded() -> None:
    pool = looped(account(max_concurrency=1))
    held, waiting = take(pool), [asks(pool) for _ in range(MOST_WAITING)]
    await until(lambda: pool.waiting == MOST_WAITING)
    with pytest.raises(Overloaded, match="1000 requests already wait for an account of 'up'"):
        await pool.lease(model="m", kind="t2t", wait=30)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    held.release()
    assert (pool.waiting, pool.status()[0].in_flight) == (0, 0)


async def test_many_requests_over_few_slots_pass_no_limit_and_share_evenly() -> None:
    pool = looped(*(account(str(i), max_concurrency=1) for i in range(10)))
    running: Counter[str] = Counter()
    served: Counter[str] = Counter()

    async def one() -> None:
        with await pool.lease(model="m", kind="t2t", wait=1_000) as lease:
            name = lease.account.name
            running[name] += 1
            assert running[name] == 1
            await asyncio.sleep(1)
            running[name] -= 1
            served[name] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(one())
    assert all(18 <= served[str(i)] <= 22 for i in range(10)), served


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_cancelled_no_slot_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    pool = looped(account("a", max_concurrency=2), account("b", max_concurrency=1, requests_per_minute=30))
    faults = [None, None, errors.ConcurrencyLimited(), errors.RateLimited(retry_after=2), errors.UpstreamFailed()]

    async def one() -> None:
        await asyncio.sleep(rng.uniform(0, 20))
        lease = await pool.lease(model="m", kind="t2t", wait=rng.uniform(0, 10))
        with lease:
            await asyncio.sleep(rng.uniform(0, 2))
            if (fault := rng.choice(faults)) is not None:
                raise fault

    async def cancelling(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(rng.uniform(0, 30))
        task.cancel()

    tasks = [asyncio.create_task(one()) for _ in range(100)]
    cancels = [asyncio.create_task(cancelling(task)) for task in tasks if rng.random() < 0.5]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*cancels)
    ends = Counter(type(outcome) for outcome in outcomes)
    assert min(ends[type(None)], ends[asyncio.CancelledError], ends[AllResting]) >= 5, ends
    assert all(outcome is None or isinstance(outcome, GatewayError | asyncio.CancelledError) for outcome in outcomes)
    assert (pool.waiting, [it.in_flight for it in pool.status()]) == (0, [0, 0])


# --- everything at once, against a simple model ---

ACCOUNTS = st.builds(
    lambda slots, rpm, videos, barred: {
        "max_concurrency": slots,
        "requests_per_minute": rpm,
        "daily_quota": {} if videos is None else {"t2v": videos},
        "not_models": frozenset({"x"}) if barred else frozenset(),
    },
    st.integers(1, 3),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.booleans(),
)
KINDS: st.SearchStrategy[Kind] = st.sampled_from(["t2t", "t2i", "t2v", "i2v"])
MODELS = st.sampled_from(["m", "x"])
BLAMELESS = st.sampled_from(
    [errors.ContentRefused, errors.InvalidRequest, errors.InputUnreachable, errors.ClientLeft, errors.TooLarge,
     errors.GenerationFailed, errors.Unauthorized, errors.AdapterContract]
)  # fmt: skip
SECONDS = st.sampled_from([0.25, 1.0, 4.5, 30.0, 61.0, 4_000.0, 90_000.0])


class Books(RuleBasedStateMachine):
    """The pool beside a ledger that knows only what the outside saw."""

    leases = Bundle("leases")

    @initialize(limits=st.lists(ACCOUNTS, min_size=1, max_size=4))
    def open(self, limits: list[dict[str, Any]]) -> None:
        self.time = Clocks(now=5_000.0, wall=20_000 * DAY + 80_000.0)
        self.accounts = {f"up/{i}": account(str(i), **fields) for i, fields in enumerate(limits)}
        self.pool = Pool(
            "up", list(self.accounts.values()), clock=self.time.clock, wall=self.time.wall, rng=random.Random(7)
        )
        self.held: list[Lease] = []
        self.asked: dict[str, list[float]] = {id_: [] for id_ in self.accounts}
        self.videos: dict[str, list[float]] = {id_: [] for id_ in self.accounts}
        self.rest: dict[str, float] = {}
        self.spent: dict[tuple[str, str], float] = {}
        self.off: set[tuple[str, str]] = set()
        self.barred: set[str] = set()

    @rule(target=leases, model=MODELS, kind=KINDS, exclude=st.sets(st.integers(0, 3), max_size=2))
    def take(self, model: str, kind: Kind, exclude: set[int]) -> Lease | None:
        excluded = {f"up/{i}" for i in exclude}
        try:
            lease = take(self.pool, model, kind, exclude=excluded)
        except AllResting as error:
            self.check_retry_after(error, model, kind, excluded)
            return None
        except NoAccount:
            return None
        id_ = lease.account.id
        assert id_ not in excluded
        self.check_lease(id_, model, kind)
        self.held.append(lease)
        return lease

    def check_lease(self, id_: str, model: str, kind: Kind) -> None:
        limits, now, wall = self.accounts[id_], self.time.now, self.time.unix
        assert sum(lease.account.id == id_ for lease in self.held) < limits.max_concurrency
        assert id_ not in self.barred
        assert (id_, model) not in self.off
        assert model not in limits.not_models
        assert self.rest.get(id_, 0) <= now
        assert self.spent.get((id_, GROUP_OF[kind]), 0) <= wall
        assert self.spent.get((id_, "all"), 0) <= wall
        if limits.requests_per_minute:
            assert sum(at > now - 60 for at in self.asked[id_]) < limits.requests_per_minute
        self.asked[id_].append(now)
        if GROUP_OF[kind] == "t2v" and limits.daily_quota:
            assert sum(at // DAY == wall // DAY for at in self.videos[id_]) < limits.daily_quota["t2v"]
            self.videos[id_].append(wall)

    def check_retry_after(self, error: AllResting, model: str, kind: Kind, excluded: set[str]) -> None:
        """Told to come back in so many seconds: no earlier second would do, and then only a slot can be missing."""
        assert error.retry_after is not None
        assert error.retry_after >= 1
        if "busy" in error.message:
            return
        if error.retry_after > 1:
            self.time.pass_by(error.retry_after - 1)
            assert refused(self.pool, model, kind, exclude=excluded)
            self.time.pass_by(1)
        else:
            self.time.pass_by(error.retry_after)
        try:
            lease = take(self.pool, model, kind, exclude=excluded)
        except AllResting as later:
            assert "busy" in later.message
        else:
            self.check_lease(lease.account.id, model, kind)
            lease.abandon()

    def give_back(self, lease: Lease | None, error: GatewayError | None) -> bool:
        if lease is None or lease not in self.held:
            return False
        self.held.remove(lease)
        lease.release(error)
        lease.release(errors.CredentialRejected())
        return True

    @rule(lease=leases)
    def succeed(self, lease: Lease | None) -> None:
        self.give_back(lease, None)

    @rule(lease=leases, fault=BLAMELESS)
    def blameless(self, lease: Lease | None, fault: type[GatewayError]) -> None:
        if lease is None or lease not in self.held:
            return
        if fault is not errors.ClientLeft and fault().fault is errors.Fault.CALLER:
            self.unspend(lease)
        standing = lease.standing
        counters = ("in_flight", "quota", "rates")
        before = {name: getattr(standing, name) for name in standing.__slots__ if name not in counters}
        flight = standing.in_flight
        before["exhausted"], before["off_models"] = dict(standing.exhausted), set(standing.off_models)
        self.give_back(lease, fault())
        assert {name: getattr(standing, name) for name in before} == before
        assert standing.in_flight == flight - 1

    @rule(lease=leases, seconds=SECONDS)
    def rate_limited(self, lease: Lease | None, seconds: float) -> None:
        if self.give_back(lease, errors.RateLimited(retry_after=seconds)) and lease is not None:
            until = self.time.now + min(max(1.0, seconds), DAY)
            self.rest[lease.account.id] = max(until, self.rest.get(lease.account.id, 0))
            self.unspend(lease)

    @rule(lease=leases)
    def too_much_at_once(self, lease: Lease | None) -> None:
        if self.give_back(lease, errors.ConcurrencyLimited()) and lease is not None:
            self.unspend(lease)

    @rule(lease=leases, seconds=SECONDS, balance=st.booleans())
    def exhausted(self, lease: Lease | None, seconds: float, balance: bool) -> None:
        error = (errors.BalanceExhausted if balance else errors.QuotaExhausted)(retry_after=seconds)
        if self.give_back(lease, error) and lease is not None:
            key = (lease.account.id, "all" if balance else lease.want.sort.group)
            self.spent[key] = max(self.time.unix + max(1.0, seconds), self.spent.get(key, 0))
            self.unspend(lease)

    @rule(lease=leases, challenge=st.booleans())
    def rejected(self, lease: Lease | None, challenge: bool) -> None:
        error = errors.Challenged() if challenge else errors.CredentialRejected()
        if self.give_back(lease, error) and lease is not None:
            self.barred.add(lease.account.id)
            self.unspend(lease)

    @rule(lease=leases)
    def model_off(self, lease: Lease | None) -> None:
        if self.give_back(lease, errors.ModelNotEnabled()) and lease is not None:
            self.off.add((lease.account.id, lease.want.sort.model))
            self.unspend(lease)

    def unspend(self, lease: Lease) -> None:
        if lease.want.sort.group == "t2v":
            self.videos[lease.account.id] = self.videos[lease.account.id][:-1]

    @precondition(lambda self: not self.held)
    @rule(index=st.integers(0, 3))
    def renew(self, index: int) -> None:
        id_ = f"up/{index}"
        if id_ not in self.accounts:
            return
        self.pool.renewed(id_)
        self.barred.discard(id_)
        self.rest.pop(id_, None)
        self.off = {(at, model) for at, model in self.off if at != id_}
        self.spent = {(at, group): until for (at, group), until in self.spent.items() if at != id_}

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.time.pass_by(seconds)

    @invariant()
    def books_agree(self) -> None:
        for shown in self.pool.status():
            assert shown.in_flight == sum(lease.account.id == shown.id for lease in self.held)
            assert (shown.status == "INVALID") == (shown.id in self.barred)
            assert shown.reset_at is None or shown.reset_at > self.time.unix

    @invariant()
    def free_is_no_obstacle(self) -> None:
        now, wall = self.time.now, self.time.unix
        for place in self.pool._places:
            for model in ("m", "x"):
                for group in ("t2t", "t2v"):
                    sort = Sort(model, GROUP_OF[group])
                    assert place.free(sort, now, wall) == (place.obstacle(sort, now, wall) is None)


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase
