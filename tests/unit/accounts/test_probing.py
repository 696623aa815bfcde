"""Sites that failed are asked by requests that spend nothing, before a caller's request is tried on them again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.pool import Pool
from gateway.accounts.probing import AHEAD_SECONDS, PROBE_SECONDS, Probing
from gateway.http import Outbound
from gateway.types import Account
from gateway.upstreams.base import Options, Upstream
from tests.unit.accounts.clocks import Clocks, JumpingLoop, account

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


class Probed(Upstream):
    """Answers probes as it is told."""

    def __init__(self) -> None:
        super().__init__("up", Options(), Outbound())
        self.asked: list[str] = []
        self.answer: errors.GatewayError | None = None
        self.silent = False

    async def probe(self, account: Account) -> None:
        self.asked.append(account.name)
        if self.silent:
            await asyncio.Event().wait()
        if self.answer is not None:
            raise self.answer


class Unprobed(Upstream):
    """Has no request that spends nothing."""


def house(*accounts: Account, upstream: Upstream | None = None) -> tuple[Clocks, Pool, Probing]:
    time = Clocks()
    pool = Pool("up", accounts, clock=time.clock, wall=time.wall)
    return time, pool, Probing({"up": upstream or Probed()}, {"up": pool, "gone": Pool("gone", ())})


def out_of_reach(pool: Pool) -> None:
    """So that its site is set aside for 2 s."""
    for _ in range(3):
        pool.take(model="m", kind="t2t").release(errors.UpstreamUnreachable(sent="no"))


def refused(pool: Pool) -> float | None:
    with pytest.raises(errors.AllResting) as told:
        pool.take(model="m", kind="t2t")
    return told.value.retry_after


def names(probing: Probing) -> list[str]:
    return [account.name for _, _, account in probing.due()]


async def test_a_site_that_works_is_not_asked() -> None:
    _, pool, probing = house(account())
    pool.take(model="m", kind="t2t").release(errors.UpstreamUnreachable(sent="no"))
    assert names(probing) == []


async def test_a_site_is_asked_once_and_only_shortly_before_it_is_tried() -> None:
    time, pool, probing = house(account("a"), account("b"))
    out_of_reach(pool)
    time.pass_by(2 - AHEAD_SECONDS - 0.01)
    assert names(probing) == []
    time.pass_by(0.01)
    assert names(probing) == ["a"], "one for all accounts behind it"
    assert names(probing) == []


async def test_who_needs_an_operator_is_not_asked_with() -> None:
    time, pool, probing = house(account("a", enabled=False), account("b"))
    out_of_reach(pool)
    time.pass_by(1.5)
    assert names(probing) == ["b"]


async def test_each_site_is_asked_by_itself() -> None:
    time, pool, probing = house(account("a", base_url="http://one"), account("b", base_url="http://two"))
    for name in ("a", "b"):
        for _ in range(3):
            pool.take(model="m", kind="t2t", only=f"up/{name}").release(errors.UpstreamUnreachable(sent="no"))
    time.pass_by(1.5)
    assert names(probing) == ["a", "b"]


async def test_an_upstream_without_a_free_request_is_left_to_the_trial() -> None:
    time, pool, probing = house(account(), upstream=Unprobed("up", Options(), Outbound()))
    out_of_reach(pool)
    time.pass_by(1.5)
    assert probing.due() == []


@pytest.mark.parametrize("error", [errors.UpstreamUnreachable(sent="no"), errors.UpstreamTimeout()])
async def test_one_that_is_still_not_reached_stays_set_aside_for_longer(error: errors.GatewayError) -> None:
    upstream = Probed()
    time, pool, probing = house(account(), upstream=upstream)
    out_of_reach(pool)
    time.pass_by(1.5)
    upstream.answer = error
    await probing.ask(*probing.due()[0])
    assert (upstream.asked, refused(pool)) == (["a"], 4)
    time.pass_by(3.5)
    await probing.ask(*probing.due()[0])
    assert refused(pool) == 8


async def test_one_that_does_not_answer_at_all_is_not_waited_for() -> None:
    upstream = Probed()
    upstream.silent = True
    time, pool, probing = house(account(), upstream=upstream)
    out_of_reach(pool)
    time.pass_by(1.5)
    begun = asyncio.get_running_loop().time()
    await probing.ask(*probing.due()[0])
    assert asyncio.get_running_loop().time() - begun == pytest.approx(PROBE_SECONDS, abs=0.1)
    assert refused(pool) == 4


@pytest.mark.parametrize("error", [None, errors.CredentialRejected(), errors.UpstreamFailed(), errors.NotFound()])
async def test_one_that_answers_is_left_to_the_trial_whatever_it_says(error: errors.GatewayError | None) -> None:
    upstream = Probed()
    time, pool, probing = house(account(), upstream=upstream)
    out_of_reach(pool)
    time.pass_by(1.5)
    upstream.answer = error
    await probing.ask(*probing.due()[0])
    assert (refused(pool), pool.status()[0].status) == (1, "OK")
    time.pass_by(0.5)
    pool.take(model="m", kind="t2t").release()
    assert pool.breaker_state == "closed"


async def test_it_runs_until_it_is_stopped() -> None:
    upstream = Probed()
    loop = asyncio.get_running_loop()
    pool = Pool("up", (account(),), clock=loop.time, wall=loop.time)
    out_of_reach(pool)
    running = asyncio.create_task(Probing({"up": upstream}, {"up": pool}).run())
    await until(lambda: upstream.asked == ["a"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never came true")
