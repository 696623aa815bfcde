"""Everything at once on a virtual clock: many accounts, thousands of requests, every fault, beside a ledger.

What is checked is in `ledger.py`. A failure prints its run, so that it can be run again, and the last of what happened.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.accounts.lease import Lease
from gateway.accounts.place import Place
from gateway.accounts.pool import Pool, PoolRules
from gateway.accounts.status import AccountStatus, status_of
from gateway.accounts.waiting import Want, want_of
from gateway.config import SelectionName
from gateway.errors import Fault, GatewayError
from gateway.state.slots import Full
from gateway.types import Account, Kind, QuotaReset
from tests.unit.accounts.clocks import JumpingLoop
from tests.unit.accounts.ledger import Ledger
from tests.unit.accounts.shared_slots import Shared, SharedSlots

START = 20_000 * 86_400.0 + 86_100.0
"""Five minutes before midnight, so that a quota day ends on the way."""
PAUSE = 0.02
"""Seconds at most to what is shared."""
SELECTIONS = get_args(SelectionName)
EVERY = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, GatewayError)]
CALLERS = [c for c in EVERY if c.fault is Fault.CALLER]
ACCOUNTS = [c for c in EVERY if c.fault is Fault.ACCOUNT]
OTHERS = [c for c in EVERY if c.fault is Fault.GATEWAY or issubclass(c, errors.GenerationFailed | errors.JobLost)]
UPSTREAMS = [c for c in EVERY if issubclass(c, errors.UpstreamError)]
KINDS: list[Kind] = ["t2t", "t2t", "t2i", "t2v", "i2v", "tts"]


@dataclass(frozen=True)
class Run:
    seed: int
    accounts: int = 60
    requests: int = 800
    seconds: float = 90.0
    """In which they come."""
    callers: int = 6
    selection: SelectionName = "least_loaded"
    faults: float = 0.3
    upstream_faults: bool = False
    ceiling: int | None = None
    operators: bool = True
    pools: int = 1
    away: bool = False


class Watched(Pool):
    """A pool that says what it lends, the moment that it does."""

    ledger: Ledger

    def _start(self, place: Place, want: Want, now: float, wall: float) -> Lease:
        lease = super()._start(place, want, now, wall)
        if self.ledger.exact:
            self.ledger.began(self, lease)
        return lease

    def _undo(self, lease: Lease, full: Full | None = None) -> None:
        if self.ledger.exact:
            self.ledger.undone(lease)
        super()._undo(lease, full)


class Simulation:
    def __init__(self, run: Run) -> None:
        self.run, self.rng = run, random.Random(run.seed)
        self.loop = asyncio.get_running_loop()
        self.accounts = [self.account(n) for n in range(run.accounts)]
        self.temper = {account.id: self.rng.choice([0.0, 0.0, 0.5, 1.0, 2.0]) for account in self.accounts}
        self.ledger = Ledger(
            self.accounts, self.loop.time, self.wall, ceiling=run.ceiling, pools=run.pools, slack=4 * PAUSE
        )
        self.shared = Shared(self.wall)
        self.slots = [SharedSlots(self.shared, self.pause) for _ in range(run.pools)]
        self.rules = PoolRules(selection=run.selection, ceiling=run.ceiling)
        self.pools = [self.pool(n) for n in range(run.pools)]
        self.pending: dict[int, tuple[Want, Pool, float]] = {}
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.down: set[str] = set()
        """Sites that nobody reaches now."""
        self.ends: Counter[str] = Counter()

    def wall(self) -> float:
        return START + self.loop.time()

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(0, PAUSE))

    def pool(self, number: int) -> Pool:
        pool = Watched.__new__(Watched)
        pool.ledger = self.ledger
        shared = self.slots[number] if self.run.pools > 1 else None
        journal = self.ledger if self.run.pools == 1 else None
        Pool.__init__(
            pool, "up", self.accounts, rules=self.rules, clock=self.loop.time, wall=self.wall,
            rng=random.Random(self.run.seed), slots=shared, journal=journal,
        )  # fmt: skip
        return pool

    def account(self, number: int, **fields: Any) -> Account:
        rng = self.rng

        def some(share: float, made: Callable[[], Any], otherwise: Any = None) -> Any:
            return made() if rng.random() < share else otherwise

        return Account(
            id=f"up/{number}",
            name=str(number),
            upstream="up",
            credential=f"key {number}",
            base_url=f"https://{number % 3}.example",
            max_concurrency=rng.choice([1, 1, 2, 3, 5]),
            weight=rng.choice([0.5, 1.0, 1.0, 3.0]),
            priority=some(0.2, lambda: 1, 0),
            requests_per_minute=some(0.3, lambda: rng.randint(1, 12)),
            tokens_per_minute=some(0.3, lambda: rng.randint(50, 400)),
            min_interval=some(0.2, lambda: rng.uniform(0.2, 8), 0.0),
            daily_quota=some(0.3, lambda: {"t2v": rng.randint(0, 4), "i2v": rng.randint(1, 4)}, {}),
            quota_reset=QuotaReset(rng.choice([0, 0, 5])),
            not_models=some(0.2, lambda: frozenset({"dear"}), frozenset()),
            tags=some(0.5, lambda: frozenset({"eu"}), frozenset()),
            **fields,
        )

    # --- callers ---

    async def request(self, number: int) -> str:
        rng = self.rng
        await asyncio.sleep(rng.uniform(0, self.run.seconds))
        pool = rng.choice(self.pools)
        asked: dict[str, Any] = {
            "model": rng.choice(["m", "m", "dear", "dear", "n"]),
            "kind": rng.choice(KINDS),
            "owner": f"caller {rng.randrange(self.run.callers)}",
            "tokens": rng.choice([0, 5, 30, 120]),
            "tags": rng.choice([frozenset(), frozenset(), frozenset({"eu"})]),
            "exclude": set(),
        }
        if rng.random() < 0.05:
            asked["only"] = rng.choice(self.accounts).id
        outcome = "served"
        for _ in range(3):
            wait = rng.choice([0.0, 0.0, 2.0, 15.0])
            lease = await self.lease(number, pool, want_of(**asked), wait, asked)
            if lease is None:
                return "refused"
            outcome = await self.work(lease)
            if outcome != "elsewhere":
                return outcome
            asked["exclude"] = {*asked["exclude"], lease.account.id}
        return outcome

    async def lease(self, number: int, pool: Pool, want: Want, wait: float, asked: dict[str, Any]) -> Lease | None:
        begun = self.loop.time()
        self.pending[number] = want, pool, begun
        try:
            lease = await pool.lease(wait=wait, **asked)
        except errors.Unavailable as error:
            took = self.loop.time() - begun
            self.ledger.check(self.run.pools > 1 or took <= wait + 0.01, f"refused {took - wait} s late")
            self.ledger.refused(want, pool, error, early=took < wait - 0.01)
            return None
        finally:
            del self.pending[number]
        self.ledger.check(lease.held, "a lease that is given back already")
        if not self.ledger.exact:
            self.ledger.began(pool, lease)
        return lease

    async def work(self, lease: Lease) -> str:
        """Use the lease for a while; whatever happens, it is given back once."""
        rng, error, well = self.rng, None, False
        try:
            await asyncio.sleep(rng.expovariate(1 / rng.choice([0.1, 1.0, 6.0])))
            if rng.random() < 0.3:
                self.ledger.proved(lease)
                lease.prove()
                await asyncio.sleep(rng.uniform(0, 1))
            if rng.random() < 0.03:
                seconds = rng.uniform(0.5, 20)
                self.ledger.paced(lease, seconds)
                lease.paced(seconds)
            error = self.fault(lease.account)
            well = error is None
        finally:
            if rng.random() < 0.5:
                lease.tokens = rng.choice([0, lease.want.tokens, 2 * lease.want.tokens])
            self.give_back(lease, error, well=well)
        return "served" if error is None else "elsewhere" if error.elsewhere else "failed"

    def give_back(self, lease: Lease, error: GatewayError | None, *, well: bool) -> None:
        before = self.shown(lease)
        self.ledger.ends(lease, error, well=well)
        if error is not None:
            lease.release(error)
        elif well:
            lease.release()
        else:
            lease.abandon()
        if not well and (error is None or error.fault in (Fault.CALLER, Fault.GATEWAY)):
            self.ledger.check(self.shown(lease) == before, f"{error!r} changed {lease.account.id}: {before}")
        lease.release(errors.CredentialRejected())
        if self.pending and self.rng.random() < 0.05:  # perhaps the very one that was served by this
            self.tasks[self.rng.choice(list(self.pending))].cancel()

    def shown(self, lease: Lease) -> tuple[Any, ...]:
        """What of an account only its own faults and successes may change."""
        it: AccountStatus = status_of(lease.place, self.loop.time(), self.wall())
        return it.slots, it.strikes, it.trust, it.status in ("INVALID", "DISABLED"), lease.standing.rest_until

    def fault(self, account: Account) -> GatewayError | None:
        rng = self.rng
        if account.base_url in self.down:
            return rng.choice([errors.UpstreamUnreachable(sent="no"), errors.UpstreamFailed()])
        if rng.random() > self.run.faults * self.temper[account.id]:
            return errors.ContentRefused() if rng.random() < 0.03 else None
        groups = [CALLERS, OTHERS, ACCOUNTS, ACCOUNTS, [errors.RateLimited, errors.ConcurrencyLimited]]
        if self.run.upstream_faults:
            groups += [UPSTREAMS] * 3
        made = rng.choice(rng.choice(groups))()
        if rng.random() < 0.6:
            made.retry_after = rng.choice([-5.0, 0.2, 3.0, 7.5, 40.0, 400.0])
        if isinstance(made, errors.UpstreamUnreachable):
            made.sent = "no"
        return made

    # --- operators ---

    async def operate(self) -> None:
        rng, pool, ledger = self.rng, self.pools[0], self.ledger
        while True:
            await asyncio.sleep(rng.uniform(0.2, 3))
            there = pool.accounts
            account = rng.choice(there)
            book = ledger.books[account.id]
            match rng.choice(["disable", "enable", "renew", "renew", "limits", "credential", "remove", "add", "fault"]):
                case "disable":
                    ledger.say(f"{account.id} disabled")
                    book.enabled = False
                    pool.disable(account.name)
                case "enable":
                    ledger.say(f"{account.id} enabled")
                    book.enabled = True
                    pool.enable(account.name)
                case "renew":
                    book.renew()
                    pool.renewed(account.name)
                case "limits":
                    self.bind([self.changed(each) if each is account else each for each in there])
                case "credential":
                    other = replace(account, credential=f"{account.credential}'", base_url=rng.choice(there).base_url)
                    self.bind([other if each is account else each for each in there])
                case "remove" if len(there) > 2:
                    self.bind([each for each in there if each is not account])
                case "add":
                    ids = {each.id for each in there}
                    gone = [each for each in self.accounts if each.id not in ids]
                    if gone:
                        self.bind([*there, rng.choice(gone)])
                case _:
                    pool.blame(account.id, rng.choice([errors.JobLost, *CALLERS])(), model="m", kind="t2v")

    def bind(self, accounts: list[Account]) -> None:
        self.ledger.bind(accounts)
        self.pools[0].rebind(accounts, self.rules)

    def changed(self, account: Account) -> Account:
        """With other limits, of those that it has."""
        rng = self.rng
        return replace(
            account,
            max_concurrency=rng.choice([1, 2, 4]),
            requests_per_minute=account.requests_per_minute and rng.randint(1, 12),
            tokens_per_minute=account.tokens_per_minute and rng.randint(50, 400),
            min_interval=account.min_interval and rng.uniform(0.2, 8),
            priority=rng.choice([0, 1]),
            weight=rng.choice([0.5, 2.0]),
            tags=rng.choice([frozenset(), frozenset({"eu"})]),
            not_models=rng.choice([frozenset(), frozenset({"dear"}), frozenset({"m"})]),
        )

    async def come_and_go(self) -> None:
        """What is shared cannot be reached for a while, by one process and then another."""
        while True:
            await asyncio.sleep(self.rng.uniform(1, 15))
            slots = self.rng.choice(self.slots)
            self.ledger.apart = True
            self.ledger.say("what is shared goes away")
            slots.go()
            await asyncio.sleep(self.rng.uniform(0.5, 5))
            slots.come_back()
            self.ledger.say("what is shared comes back")

    async def break_down(self) -> None:
        """Sites of upstreams fail for a while, one and sometimes all of them."""
        while True:
            await asyncio.sleep(self.rng.uniform(1, self.run.seconds / 4))
            self.down = set(self.rng.sample([f"https://{n}.example" for n in range(3)], self.rng.choice([1, 1, 3])))
            self.ledger.say(f"down: {sorted(self.down)}")
            await asyncio.sleep(self.rng.uniform(1, self.run.seconds / 8))
            self.down = set()

    async def audit(self) -> None:
        while self.ledger.exact:
            await asyncio.sleep(self.rng.uniform(0.5, 2))
            waiting = [(want, pool) for want, pool, since in self.pending.values() if since < self.loop.time()]
            for want, pool in self.rng.sample(waiting, min(4, len(waiting))):
                self.ledger.waits(want, pool)

    async def cancel(self, task: asyncio.Task[str]) -> None:
        await asyncio.sleep(self.rng.uniform(0, self.run.seconds * 1.2))
        task.cancel()

    # --- all of it ---

    async def go(self) -> None:
        beside = [asyncio.create_task(self.audit())]
        if self.run.operators and self.run.pools == 1:
            beside.append(asyncio.create_task(self.operate()))
        if self.run.upstream_faults:
            beside.append(asyncio.create_task(self.break_down()))
        if self.run.away:
            beside.append(asyncio.create_task(self.come_and_go()))
        requests = [asyncio.create_task(self.request(n)) for n in range(self.run.requests)]
        self.tasks = dict(enumerate(requests))
        cancels = [asyncio.create_task(self.cancel(task)) for task in requests if self.rng.random() < 0.2]
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        await asyncio.gather(*cancels)
        for slots in self.slots:
            slots.come_back()
        for task in beside:
            task.cancel()
        stopped = await asyncio.gather(*beside, return_exceptions=True)
        for outcome in [*outcomes, *stopped]:
            if isinstance(outcome, Exception):
                raise outcome
        self.ends = Counter("cancelled" if isinstance(outcome, BaseException) else outcome for outcome in outcomes)
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        ledger = self.ledger
        ledger.closed()
        for pool in self.pools:
            ledger.check((pool.in_flight, pool.waiting) == (0, 0), f"{pool.in_flight} out, {pool.waiting} waiting")
            ledger.check(not any(it.in_flight for it in pool.status()), "an account still does something")
        ledger.check(self.shared.held() == 0, "slots that are shared were not given back")
        ledger.check(self.ends.total() == self.run.requests, "a request had no end")


def simulate(run: Run) -> Simulation:
    """Raises with the run and the last events, where something is broken."""
    simulation: Simulation | None = None

    async def all_of_it() -> None:
        nonlocal simulation
        simulation = Simulation(run)
        async with asyncio.timeout(100_000):
            await simulation.go()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        try:
            runner.run(all_of_it())
        except Exception as error:
            events = "\n".join(simulation.ledger.events) if simulation is not None else ""
            raise AssertionError(f"{run}\n{events}\n{error!r}") from error
    assert simulation is not None
    return simulation


@pytest.mark.parametrize("seed", range(20))
def test_faults_of_accounts_and_callers(seed: int) -> None:
    """What time frees is known to the second."""
    few = Run(seed, accounts=12, requests=500, selection=SELECTIONS[seed % 5], ceiling=8 if seed % 3 == 0 else None)
    ends = simulate(few).ends
    assert min(ends["served"], ends["refused"], ends["cancelled"]) > 20, ends


@pytest.mark.parametrize("seed", range(20, 36))
def test_faults_of_upstreams_as_well(seed: int) -> None:
    ends = simulate(Run(seed, accounts=15, requests=500, selection=SELECTIONS[seed % 5], upstream_faults=True)).ends
    assert min(ends["served"], ends["refused"]) > 20, ends


@pytest.mark.parametrize("seed", [40, 41])
def test_hundreds_of_accounts_and_thousands_of_requests(seed: int) -> None:
    many = Run(seed, accounts=300, requests=2_500, seconds=60.0, callers=40, faults=0.2, upstream_faults=seed == 41)
    ends = simulate(many).ends
    assert ends["served"] > 1_200, ends


@pytest.mark.parametrize("seed", range(50, 62))
def test_processes_that_share_their_limits(seed: int) -> None:
    several = Run(seed, accounts=12, requests=400, pools=3, operators=False, ceiling=10 if seed % 2 else None)
    ends = simulate(replace(several, away=seed >= 56)).ends
    assert min(ends["served"], ends["refused"]) > 20, ends


RUNS = st.builds(
    Run,
    seed=st.integers(0, 10_000),
    accounts=st.integers(1, 30),
    requests=st.integers(1, 200),
    seconds=st.sampled_from([1.0, 20.0, 400.0]),
    callers=st.integers(1, 10),
    selection=st.sampled_from(SELECTIONS),
    faults=st.sampled_from([0.0, 0.3, 0.9]),
    upstream_faults=st.booleans(),
    ceiling=st.none() | st.integers(1, 20),
    pools=st.sampled_from([1, 1, 1, 3]),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RUNS)
def test_whatever_the_pool_is_like(run: Run) -> None:
    simulate(run)
