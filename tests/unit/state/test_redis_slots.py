"""Limits over several processes on a real Redis: exact, given back whatever happens, and found again after an outage.

The clock is that of Redis: what is to lie in the past is moved there.
"""

import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from gateway.errors import ConfigError
from gateway.state import open_slots
from gateway.state.acts import Answers, Rest, Trip
from gateway.state.redis_client import Standing
from gateway.state.redis_slots import BATCH, LEASE_SECONDS, TELLS, RedisSlots
from gateway.state.slots import NEVER, Ask, Away, Full, Taken
from tests.unit.state.redis_server import keeping, namespace, own_redis, shared_redis, until

pytestmark = pytest.mark.anyio

SOON = 10.0
MINUTE = 60.0
SHORT = 1.0
"""A lease in seconds that may be waited for."""
TOMORROW = float((int(time.time()) // 86400 + 1) * 86400)


def ask(account: str = "up/a", **limits: Any) -> Ask:
    given = {"upstream": "up", "group": "t2i", "slots": 10} | limits
    return Ask(token=uuid.uuid4().hex, account=account, **given)


class Kept:
    """What lies in Redis for a namespace."""

    def __init__(self, client: redis.asyncio.Redis, space: str) -> None:
        self.client, self.prefix = client, f"mediagate:{{{space}}}:"

    async def tokens(self, account: str = "up/a", name: str = "slots") -> int:
        return int(await self.client.zcard(f"{self.prefix}{name}:{account}"))

    async def quota(self, account: str = "up/a", ends: float = TOMORROW) -> int:
        return int(await self.client.get(f"{self.prefix}quota:{ends:.0f}:t2i:{account}") or 0)

    async def starts_earlier(self, seconds: float, account: str = "up/a") -> None:
        """Everything that began, began so much earlier."""
        key = f"{self.prefix}starts:{account}"
        for token, at in await self.client.zrange(key, 0, -1, withscores=True):
            await self.client.zadd(key, {token: at - seconds * 1e6})

    async def tokens_earlier(self, seconds: int, account: str = "up/a") -> None:
        key = f"{self.prefix}tokens:{account}"
        for second, used in (await self.client.hgetall(key)).items():
            await self.client.hdel(key, second)
            await self.client.hincrby(key, str(int(second) - seconds), int(used))

    async def all(self) -> dict[bytes, Any]:
        """All that there is."""
        return {key: await self.client.dump(key) async for key in self.client.scan_iter(f"{self.prefix}*", count=1000)}


@pytest.fixture
async def space(anyio_backend: str) -> AsyncIterator[str]:
    """A namespace in the Redis that runs here, of which nothing is left."""
    space = namespace()
    yield space
    async with redis.asyncio.Redis.from_url(shared_redis()) as client:
        for key in await Kept(client, space).all():
            await client.delete(key)


@pytest.fixture
async def kept(space: str) -> AsyncIterator[Kept]:
    async with redis.asyncio.Redis.from_url(shared_redis()) as client:
        yield Kept(client, space)


@pytest.fixture
async def slots(space: str) -> AsyncIterator[RedisSlots]:
    async with keeping(RedisSlots(shared_redis(), space)) as slots:
        yield slots


@pytest.fixture
async def others(space: str) -> AsyncIterator[RedisSlots]:
    async with keeping(RedisSlots(shared_redis(), space)) as slots:
        yield slots


async def full(slots: RedisSlots, asked: Ask) -> Full:
    answer = await slots.take(asked)
    assert isinstance(answer, Full), answer
    return answer


async def taken(slots: RedisSlots, asked: Ask) -> Ask:
    answer = await slots.take(asked)
    assert isinstance(answer, Taken), answer
    return asked


async def told(slots: RedisSlots) -> None:
    """What was said before has been done."""
    await until(lambda: not slots._tells and not slots._filled.is_set(), SOON)
    probe = ask(f"probe {uuid.uuid4().hex}")
    await taken(slots, probe)
    slots.give(probe.token)


# --- slots ---


async def test_three_processes_keep_ten_at_ten_under_two_hundred_callers(space: str, kept: Kept) -> None:
    now, most, served = 0, 0, 0
    rng = random.Random(7)

    async def caller(slots: RedisSlots) -> None:
        nonlocal now, most, served
        while isinstance(answer := await slots.take(asked := ask(ceiling=1000)), Full):
            assert answer[:2] == ("busy", 0.0)
            await asyncio.sleep(rng.uniform(0, 0.02))
        now += 1
        most = max(most, now)
        assert answer.in_flight <= 10
        await asyncio.sleep(rng.uniform(0, 0.01))
        now -= 1
        served += 1
        slots.give(asked.token)

    async with (
        keeping(RedisSlots(shared_redis(), space)) as a,
        keeping(RedisSlots(shared_redis(), space)) as b,
        keeping(RedisSlots(shared_redis(), space)) as c,
    ):
        await asyncio.gather(*(caller((a, b, c)[number % 3]) for number in range(200)))
        for each in (a, b, c):
            await told(each)
        assert (most, served, now) == (10, 200, 0)
        assert await kept.tokens() == await kept.tokens("up", "ceiling") == 0


async def test_an_upstream_has_a_ceiling_over_its_accounts(slots: RedisSlots, others: RedisSlots) -> None:
    first = await taken(slots, ask("up/a", ceiling=2))
    await taken(others, ask("up/b", ceiling=2))
    assert await full(others, ask("up/c", ceiling=2)) == ("ceiling", 0.0, 0)
    assert await full(others, ask("up/b", ceiling=2, slots=1)) == ("ceiling", 0.0, 1)
    await taken(others, ask("it/c", upstream="it", ceiling=2))
    slots.give(first.token)
    await told(slots)
    assert await others.take(ask("up/c", ceiling=2)) == Taken(1)


async def test_what_is_given_twice_or_never_was_changes_nothing(slots: RedisSlots, kept: Kept) -> None:
    one = await taken(slots, ask(quota=5, quota_ends=TOMORROW))
    await taken(slots, ask(quota=5, quota_ends=TOMORROW))
    slots.give("never there", refund=True)
    slots.give(one.token, refund=True)
    slots.give(one.token, refund=True)
    await told(slots)
    assert (await kept.tokens(), await kept.quota()) == (1, 1)


async def test_callers_at_once_share_a_few_trips(tmp_path: Path) -> None:
    async with (
        own_redis(tmp_path) as server,
        redis.asyncio.Redis.from_url(server.url) as client,
        keeping(RedisSlots(server.url, namespace())) as slots,
    ):
        await client.config_resetstat()
        for _ in range(5):
            leases = [ask(slots=1000) for _ in range(200)]
            assert all(isinstance(answer, Taken) for answer in await asyncio.gather(*map(slots.take, leases)))
            for lease in leases:
                slots.give(lease.token)
        assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] <= 20


async def test_a_script_that_redis_forgot_is_sent_again(tmp_path: Path) -> None:
    async with (
        own_redis(tmp_path) as server,
        redis.asyncio.Redis.from_url(server.url) as client,
        keeping(RedisSlots(server.url, namespace())) as slots,
    ):
        await client.script_flush()
        await taken(slots, ask())
        assert slots.connected


# --- rates ---


async def test_requests_per_minute_are_counted_in_the_last_sixty_seconds(
    slots: RedisSlots, others: RedisSlots, kept: Kept
) -> None:
    answers = await asyncio.gather(*(each.take(ask(requests_per_minute=5)) for each in (slots, others) * 4))
    assert sum(isinstance(answer, Taken) for answer in answers) == 5
    why, seconds, in_flight = await full(slots, ask(requests_per_minute=5))
    assert (why, in_flight) == ("paced", 5)
    assert MINUTE - SOON < seconds <= MINUTE
    await kept.starts_earlier(MINUTE - SOON)
    assert 0 < (await full(others, ask(requests_per_minute=5))).seconds <= SOON
    await kept.starts_earlier(SOON)
    for _ in range(5):
        await taken(others, ask(requests_per_minute=5))
    await full(others, ask(requests_per_minute=5))
    assert await kept.tokens(name="starts") == 5  # the others are forgotten


async def test_the_window_slides_by_each_start(slots: RedisSlots, kept: Kept) -> None:
    for _ in range(3):
        await taken(slots, ask(requests_per_minute=3))
        await kept.starts_earlier(20)
    await taken(slots, ask(requests_per_minute=3))
    assert 20 - SOON < (await full(slots, ask(requests_per_minute=3))).seconds <= 20
    assert 40 - SOON < (await full(slots, ask(requests_per_minute=2))).seconds <= 40  # one more has to leave


async def test_time_passes_between_two_starts(slots: RedisSlots, others: RedisSlots, kept: Kept) -> None:
    await taken(slots, ask(min_interval=90, requests_per_minute=9))
    why, seconds, _ = await full(others, ask(min_interval=90, requests_per_minute=9))
    assert why == "paced"
    assert 90 - SOON < seconds <= 90
    await kept.starts_earlier(80)
    assert 0 < (await full(others, ask(min_interval=90))).seconds <= 10
    await kept.starts_earlier(10)
    await taken(others, ask(min_interval=90))
    await full(others, ask(min_interval=90))
    assert await kept.client.ttl(f"{kept.prefix}starts:up/a") >= 90 - SOON


async def test_tokens_per_minute_are_corrected_by_what_was_used(slots: RedisSlots, kept: Kept) -> None:
    rate: dict[str, Any] = {"tokens_per_minute": 1000}
    first = await taken(slots, ask(tokens=600, **rate))
    await taken(slots, ask(tokens=400, **rate))
    why, seconds, _ = await full(slots, ask(tokens=1, **rate))
    assert why == "paced"
    assert MINUTE - SOON < seconds <= MINUTE + 1
    await full(slots, ask(**rate))  # nobody knows what it would use
    slots.give(first.token, tokens=100)
    await told(slots)
    await full(slots, ask(tokens=501, **rate))
    second = await taken(slots, ask(tokens=300, **rate))
    slots.give(second.token, tokens=500)
    await told(slots)
    await full(slots, ask(tokens=1, **rate))
    await kept.tokens_earlier(61)
    await taken(slots, ask(tokens=1000, **rate))


async def test_tokens_come_back_by_the_second_they_were_used_in(slots: RedisSlots, kept: Kept) -> None:
    for _ in range(3):
        await taken(slots, ask(tokens_per_minute=900, tokens=300))
        await kept.tokens_earlier(15)
    assert 16 - SOON < (await full(slots, ask(tokens_per_minute=900, tokens=300))).seconds <= 16
    assert 31 - SOON < (await full(slots, ask(tokens_per_minute=900, tokens=301))).seconds <= 31
    await kept.tokens_earlier(16)
    await taken(slots, ask(tokens_per_minute=900, tokens=300))


async def test_the_last_token_of_a_second_counts_for_a_whole_minute(slots: RedisSlots, kept: Kept) -> None:
    await taken(slots, ask(tokens_per_minute=9, tokens=9))
    before = since = (0, 0)
    while since[0] != before[0] or not before[0]:  # until both fall into one second of the clock there
        before = await kept.client.time()
        await kept.client.delete(f"{kept.prefix}tokens:up/a")
        await kept.client.hset(f"{kept.prefix}tokens:up/a", str(before[0] - 60), "9")
        answer = await slots.take(ask(tokens_per_minute=9, tokens=9, slots=1000))
        since = await kept.client.time()
    assert isinstance(answer, Full)
    assert 0 < answer.seconds <= 1


async def test_a_lease_beyond_the_whole_limit_has_it_alone(slots: RedisSlots, kept: Kept) -> None:
    large = await taken(slots, ask(tokens_per_minute=1000, tokens=5000))
    await kept.tokens_earlier(30)
    assert 31 - SOON < (await full(slots, ask(tokens_per_minute=1000, tokens=5000))).seconds <= 31
    await kept.tokens_earlier(-30)
    slots.give(large.token, tokens=1)
    await told(slots)
    await full(slots, ask(tokens_per_minute=1000, tokens=5000))
    await kept.tokens_earlier(61)
    await taken(slots, ask(tokens_per_minute=1000, tokens=5000))


async def test_what_was_not_expected_counts_once_it_is_known(slots: RedisSlots) -> None:
    first = await taken(slots, ask(tokens_per_minute=1000))
    slots.give(first.token, tokens=1000)
    await told(slots)
    await full(slots, ask(tokens_per_minute=1000))


# --- quota ---


async def test_a_quota_counts_from_what_is_known_to_be_used(slots: RedisSlots, others: RedisSlots, kept: Kept) -> None:
    day: dict[str, Any] = {"quota": 5, "quota_ends": TOMORROW}
    await taken(slots, ask(quota_used=2, **day))
    one = await taken(others, ask(quota_used=1, **day))  # knows less
    assert await kept.quota() == 4
    await full(others, ask(quota_used=5, **day))  # knows more
    await taken(slots, ask(**day))
    why, seconds, _ = await full(slots, ask(**day))
    assert why == "exhausted"
    assert abs(seconds - (TOMORROW - time.time())) < SOON
    await taken(slots, ask(**(day | {"group": "t2v"})))
    await taken(slots, ask(**(day | {"quota_ends": TOMORROW + 86400})))
    others.give(one.token, refund=True)
    await told(others)
    await taken(slots, ask(**day))
    await full(slots, ask(**day))


async def test_only_a_refund_brings_a_quota_back(slots: RedisSlots, kept: Kept) -> None:
    one = await taken(slots, ask(quota=1, quota_ends=TOMORROW))
    slots.give(one.token)
    await told(slots)
    assert (await full(slots, ask(quota=1, quota_ends=TOMORROW))).why == "exhausted"
    unlimited = await taken(slots, ask(quota_ends=TOMORROW))
    slots.give(unlimited.token, refund=True)
    await told(slots)
    assert await kept.quota() == 1


async def test_each_group_has_a_quota_of_its_own(slots: RedisSlots) -> None:
    asked = [ask(group=group, quota=1, quota_ends=ends) for group in ("t2i", "t2v") for ends in (TOMORROW, 0.0)]
    answers = await asyncio.gather(*map(slots.take, asked))
    assert [type(answer) for answer in answers] == [Taken] * 4


async def test_a_day_that_is_over_by_the_clock_of_redis_is_still_kept(slots: RedisSlots) -> None:
    await taken(slots, ask(quota=1, quota_ends=time.time() - 30))
    ended = time.time() - 30
    await taken(slots, ask("up/b", quota=1, quota_ends=ended))
    assert (await full(slots, ask("up/b", quota=1, quota_ends=ended))).seconds > 0


# --- rests ---


async def test_a_rest_holds_everywhere_and_is_never_shortened(
    slots: RedisSlots, others: RedisSlots, kept: Kept
) -> None:
    now = time.time()
    slots.rest("up/a", None, now + 100)
    others.rest("up/a", None, now + 50)
    others.rest("up/a", "t2i", now + 200)
    others.rest("up/a", "t2v", now - 1)
    await told(slots)
    await told(others)
    for each in (slots, others):
        assert await _rests(each, "t2v") == pytest.approx(100, abs=SOON)
        assert await _rests(each, "t2i") == pytest.approx(200, abs=SOON)
    await taken(slots, ask("up/b"))
    slots.rest("up/a", "t2v", now + 150)
    await told(slots)
    assert await kept.client.ttl(f"{kept.prefix}rests:up/a") > 200 - SOON
    assert await _rests(others, "t2v") == pytest.approx(150, abs=SOON)
    others.forget("up/a")
    await told(others)
    await taken(slots, ask(group="t2v"))
    await taken(slots, ask(group="t2i"))


async def _rests(slots: RedisSlots, group: str) -> float:
    why, seconds, _ = await full(slots, ask(group=group))
    assert why == "resting"
    return seconds


async def test_a_rest_ends_by_itself(slots: RedisSlots) -> None:
    slots.rest("up/a", None, time.time() + 0.2)
    await told(slots)
    ends = asyncio.get_running_loop().time() + SOON
    while not isinstance(await slots.take(ask()), Taken):
        assert asyncio.get_running_loop().time() < ends
        await asyncio.sleep(0.02)


async def test_a_rest_without_an_end_stands(slots: RedisSlots) -> None:
    slots.rest("up/a", None, NEVER)
    slots.rest("up/a", "t2i", time.time() + 5)
    await told(slots)
    assert (await full(slots, ask())).seconds > 1e17


# --- refused ---


async def test_what_lasts_longest_is_told_and_nothing_is_changed(slots: RedisSlots, kept: Kept) -> None:
    limits: dict[str, Any] = {
        "slots": 1,
        "ceiling": 1,
        "requests_per_minute": 1,
        "tokens_per_minute": 10,
        "tokens": 10,
        "min_interval": 1,
        "quota": 1,
        "quota_ends": TOMORROW,
    }
    await taken(slots, ask(**limits))
    slots.rest("up/a", None, time.time() + 40)
    await told(slots)
    before = {key: value for key, value in (await kept.all()).items() if b"probe" not in key}
    assert (await full(slots, ask(**limits))).why == "exhausted"
    assert (await full(slots, ask(**(limits | {"quota": 9, "quota_used": 3})))).why == "paced"
    only_rests = {"slots": 1, "ceiling": 1, "quota": 9, "quota_used": 3, "quota_ends": TOMORROW}
    assert (await full(slots, ask(**only_rests))).why == "resting"
    assert {key: value for key, value in (await kept.all()).items() if b"probe" not in key} == before


# --- keys ---


async def test_odd_names_share_nothing_and_every_key_ends(slots: RedisSlots, kept: Kept) -> None:
    names = ("a", "a:b", "a b", "b", "ü", "u\u0308", "{a}", "a}", "*", "a\n", "a\ud800", "a?", "a\0", "", "t2i:a")
    everything = [
        ask(name, upstream=upstream, group=group, slots=3, ceiling=3, requests_per_minute=3, tokens_per_minute=3)
        for name in names
        for upstream, group in ((f"{name}:up", "t2i"), (f"{name}:up", "b:t2i"), (f"{name}:up", "b"))
    ]
    day = {"quota": 1, "quota_ends": TOMORROW, "tokens": 1, "min_interval": 0.0}
    for asked in everything:
        await taken(slots, Ask(**{name: getattr(asked, name) for name in Ask.__slots__} | day))
    for name in names:
        slots.rest(name, "t2i", time.time() + 99)
    await told(slots)
    assert (await full(slots, ask("a", slots=3))).why == "resting"
    assert await full(slots, ask("a", slots=3, group="b")) == ("busy", 0.0, 3)
    found = await kept.all()
    ttls = [await kept.client.ttl(key) for key in found]
    assert len([key for key in found if b"}:quota:" in key]) == 3 * len(names)
    assert len([key for key in found if b"}:slots:" in key and b"probe" not in key]) == len(names)
    assert min(ttls) > 0
    assert {key.decode("utf-8", "replace").split(":slots:")[0] + ":" for key in found if b"}:slots:" in key} == {
        kept.prefix
    }


# --- gone ---


async def test_who_vanishes_holds_nothing_after_the_lease_and_who_stays_does(space: str, kept: Kept) -> None:
    async with keeping(RedisSlots(shared_redis(), space, lease=SHORT)) as staying:
        vanishing = RedisSlots(shared_redis(), space, lease=SHORT)
        run = asyncio.create_task(vanishing.run())
        await until(lambda: vanishing.connected, SOON)
        await taken(vanishing, ask(slots=2, ceiling=2))
        await taken(staying, ask(slots=2, ceiling=2))
        await asyncio.sleep(1.5 * SHORT)
        assert await full(staying, ask(slots=2)) == ("busy", 0.0, 2)
        run.cancel()
        await asyncio.wait({run})
        ends = asyncio.get_running_loop().time() + SOON
        while await staying.take(asked := ask(slots=2, ceiling=2)) != Taken(2):
            assert asyncio.get_running_loop().time() < ends
            await asyncio.sleep(0.05)
        assert await full(staying, ask(slots=2)) == ("busy", 0.0, 2)  # its own stands
        staying.give(asked.token)


async def test_thousands_that_are_held_are_all_held_on(space: str) -> None:
    async with keeping(RedisSlots(shared_redis(), space, lease=SHORT)) as slots:
        for _ in range(4 * BATCH):
            slots.hold(ask())
        await asyncio.sleep(2 * SHORT)
        assert (await full(slots, ask())).in_flight == 4 * BATCH


async def test_a_killed_process_holds_nothing_after_the_lease(space: str) -> None:
    code = f"""
import asyncio, os, signal
from gateway.state.redis_slots import RedisSlots
from gateway.state.slots import Ask
async def main():
    slots = RedisSlots({shared_redis()!r}, {space!r}, lease={SHORT})
    asyncio.create_task(slots.run())
    while not slots.connected:
        await asyncio.sleep(0.01)
    for number in range(2):
        print(await slots.take(Ask(str(number), "up", "up/a", "t2i", 2)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    async with keeping(RedisSlots(shared_redis(), space, lease=SHORT)) as slots:
        killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, timeout=60)
        assert killed.stdout.decode().splitlines() == ["Taken(in_flight=1)", "Taken(in_flight=2)"]
        ends = asyncio.get_running_loop().time() + SOON
        while not isinstance(await slots.take(ask(slots=1)), Taken):
            assert asyncio.get_running_loop().time() < ends
            await asyncio.sleep(0.05)


async def test_who_closes_gives_everything_back_at_once(slots: RedisSlots, space: str, kept: Kept) -> None:
    async with keeping(RedisSlots(shared_redis(), space)) as leaving:
        for _ in range(3):
            await taken(leaving, ask(ceiling=9))
        await taken(slots, ask(ceiling=9))
        assert await kept.tokens() == 4
    assert await kept.tokens() == await kept.tokens("up", "ceiling") == 1


async def test_what_counts_after_every_lease_has_ended_is_forgotten(slots: RedisSlots, kept: Kept) -> None:
    far = (time.time() + LEASE_SECONDS + 3600) * 1e6  # counted before a clock was set back
    await kept.client.zadd(f"{kept.prefix}slots:up/a", {f"{number}": far for number in range(10)})
    await kept.client.zadd(f"{kept.prefix}starts:up/a", {f"{number}": far for number in range(10)})
    assert await slots.take(ask(slots=1, requests_per_minute=1, min_interval=1)) == Taken(1)


# --- cancelled ---


async def test_a_cancelled_caller_leaves_nothing_behind(slots: RedisSlots, kept: Kept) -> None:
    rng = random.Random(11)
    limits: dict[str, Any] = {"slots": 1000, "ceiling": 1000, "quota": 1000, "quota_ends": TOMORROW}
    limits |= {"requests_per_minute": 1000, "tokens_per_minute": 10**6, "tokens": 7}
    done = 0

    async def caller() -> None:
        nonlocal done
        asked = await taken(slots, ask(**limits))
        done += 1
        slots.give(asked.token)

    for _ in range(40):
        tasks = [asyncio.create_task(caller()) for _ in range(10)]
        for task in rng.sample(tasks, 8):
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(rng.choice((0, 0, 0.0003)))
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert 80 <= done < 400
    await told(slots)
    assert not slots._held
    assert await kept.tokens() == await kept.tokens("up", "ceiling") == 0
    assert await kept.quota() == await kept.tokens(name="starts") == done
    used = await kept.client.hvals(f"{kept.prefix}tokens:up/a")
    assert sum(map(int, used)) == done * 7


async def test_an_answer_that_comes_as_its_caller_is_cancelled_is_given_back(
    slots: RedisSlots, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = asyncio.create_task(slots.take(ask()))
    await until_gathered(slots)
    asking, deliver = slots._asking[0], slots._deliver

    def delivered(*arguments: Any) -> None:
        deliver(*arguments)
        task.cancel()

    monkeypatch.setattr(slots, "_deliver", delivered)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asking.answer.result() == Taken(1)
    monkeypatch.undo()
    await told(slots)
    assert await kept.tokens() == 0


async def until_gathered(slots: RedisSlots) -> None:
    while not slots._asking:
        await asyncio.sleep(0)


async def test_what_is_given_back_is_not_held_anew(space: str, kept: Kept) -> None:
    async with keeping(RedisSlots(shared_redis(), space, lease=0.03)) as slots:

        async def caller() -> None:
            for _ in range(20):
                asked = ask(slots=1000)
                await slots.take(asked)
                await asyncio.sleep(0.002)
                slots.give(asked.token)

        slots._lease = LEASE_SECONDS  # what were left over would stay
        slots._due_at = 0.0
        again = asyncio.create_task(_always_due(slots))
        await asyncio.gather(*(caller() for _ in range(20)))
        again.cancel()
        await told(slots)
        assert await kept.tokens() == 0


async def _always_due(slots: RedisSlots) -> None:
    while True:
        slots._due_at = 0.0
        await asyncio.sleep(0.001)


# --- away ---


async def test_what_redis_forgot_it_learns_again_from_who_holds(tmp_path: Path) -> None:
    space = namespace()
    async with (
        own_redis(tmp_path) as server,
        redis.asyncio.Redis.from_url(server.url) as client,
        keeping(RedisSlots(server.url, space, lease=SHORT)) as slots,
    ):
        kept = Kept(client, space)
        for _ in range(3):
            await taken(slots, ask(ceiling=9))
        await client.flushall()
        assert await kept.tokens() == 0
        ends = asyncio.get_running_loop().time() + SOON
        while (await kept.tokens(), await kept.tokens("up", "ceiling")) != (3, 3):
            assert asyncio.get_running_loop().time() < ends
            await asyncio.sleep(0.05)
        assert slots.connected


async def test_redis_may_be_killed_and_begin_anew(tmp_path: Path) -> None:
    space = namespace()
    async with own_redis(tmp_path) as server:
        with capture_logs() as lines:
            async with keeping(RedisSlots(server.url, space)) as slots:
                leases = [await taken(slots, ask(ceiling=9)) for _ in range(3)]
                server.kill()
                await until(lambda: not slots.connected, SOON)
                with pytest.raises(Away):
                    await slots.take(ask())
                slots.give(leases[0].token)
                slots.rest("up/b", None, time.time() + 99)
                late = ask(slots=1, ceiling=1, quota=5, quota_ends=TOMORROW)
                slots.hold(late)
                over = ask(quota=5, quota_ends=TOMORROW)
                slots.hold(over)
                slots.give(over.token, refund=True)
                await until(lambda: slots._standing.failures > 2, SOON)
                await server.start()
                async with redis.asyncio.Redis.from_url(server.url) as client:
                    kept = Kept(client, space)
                    await until(lambda: slots.connected, SOON)
                    assert await kept.tokens() == await kept.tokens("up", "ceiling") == 3
                    assert await kept.quota() == 1
                    assert (await full(slots, ask("up/b"))).why == "resting"
                    slots.give(late.token)
                    await told(slots)
                    assert await kept.tokens() == 2
    assert [(line["event"], line["doing"]) for line in lines] == [("redis away", "slots"), ("redis back", "slots")]


async def test_what_is_held_from_an_outage_counts_from_when_it_was_made(slots: RedisSlots, kept: Kept) -> None:
    rates: dict[str, Any] = {"requests_per_minute": 2, "tokens_per_minute": 100, "tokens": 50, "min_interval": 50}
    slots.hold(ask(**rates))
    slots._tells[0] = type(slots._tells[0])(slots._tells[0].ask, slots._tells[0].made - 40)  # type: ignore
    await told(slots)
    assert 0 < (await full(slots, ask(min_interval=50))).seconds <= 10
    await taken(slots, ask(requests_per_minute=2))
    assert 20 - SOON < (await full(slots, ask(requests_per_minute=2))).seconds <= 20
    assert 20 - SOON < (await full(slots, ask(tokens_per_minute=100, tokens=60))).seconds <= 21


async def test_a_redis_that_hangs_is_away_soon_and_nothing_is_left_when_it_goes_on(tmp_path: Path) -> None:
    space = namespace()
    day: dict[str, Any] = {"quota": 50, "quota_ends": TOMORROW, "requests_per_minute": 50, "ceiling": 50}
    async with own_redis(tmp_path) as server, keeping(RedisSlots(server.url, space)) as slots:
        lease = await taken(slots, ask(**day))
        server.hang()
        answers = await asyncio.wait_for(
            asyncio.gather(*(slots.take(ask(**day)) for _ in range(9)), return_exceptions=True), SOON
        )
        assert [type(answer) for answer in answers] == [Away] * 9
        assert not slots.connected
        connecting = slots._standing.failures
        for _ in range(1000):
            with pytest.raises(Away):
                await slots.take(ask(**day))  # never gives way to the loop, so that nothing can be waited for
        assert slots._standing.failures == connecting
        server.go_on()
        await until(lambda: slots.connected, SOON)
        await told(slots)
        async with redis.asyncio.Redis.from_url(server.url) as client:
            kept = Kept(client, space)
            assert await kept.tokens() == await kept.tokens("up", "ceiling") == await kept.quota() == 1
            assert await kept.tokens(name="starts") == 1
            slots.give(lease.token)
            await told(slots)
            assert await kept.tokens() == 0


@pytest.mark.parametrize("lost", ["answers", "requests"])
async def test_what_gets_lost_on_the_way_is_said_again_and_done_once(tmp_path: Path, lost: str) -> None:
    space = namespace()
    async with own_redis(tmp_path) as server, redis.asyncio.Redis.from_url(server.url) as client:
        kept = Kept(client, space)
        gate = Gate(server.port)
        async with gate.open() as url, keeping(RedisSlots(url, space)) as slots:
            first = await taken(slots, ask(quota=9, quota_ends=TOMORROW))
            await taken(slots, ask(quota=9, quota_ends=TOMORROW))
            gate.lost = lost
            slots.give(first.token, refund=True)
            with pytest.raises(Away):
                await slots.take(ask(quota=9, quota_ends=TOMORROW))
            gate.lost = ""
            await until(lambda: slots.connected, SOON)
            await told(slots)
            assert await kept.tokens() == await kept.quota() == 1


class Gate:
    """A way to Redis on which answers or requests can get lost."""

    def __init__(self, port: int) -> None:
        self.port, self.lost = port, ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._through, "127.0.0.1", 0)
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        answers = asyncio.create_task(self._answers(there, writer))
        while data := await reader.read(65536):
            if self.lost != "requests":
                back.write(data)
        back.close()
        answers.cancel()
        writer.close()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65536):
            if self.lost != "answers":
                writer.write(data)


async def test_a_redis_that_cannot_be_written_to_is_away(tmp_path: Path) -> None:
    async with own_redis(tmp_path, "--maxmemory", "1") as server:
        with capture_logs() as lines:
            async with keeping(RedisSlots(server.url, namespace()), connected=False) as slots:
                await until(lambda: slots._standing.failures > 2, SOON)
                assert not slots.connected
    assert [line["event"] for line in lines] == ["redis away"]


async def test_away_it_neither_waits_nor_grows(tmp_path: Path) -> None:
    async with own_redis(tmp_path) as server:
        server.kill()
        slots = RedisSlots(server.url, namespace())
        async with keeping(slots, connected=False):
            for number in range(2 * TELLS):
                slots.hold(ask())
                slots.rest(f"up/{number}", None, NEVER)
                with pytest.raises(Away):
                    await slots.take(ask())
            assert len(slots._tells) == TELLS
            await until(lambda: slots._standing.failures > 2, SOON)
            assert len(slots._tells) == TELLS


async def test_what_could_not_be_sent_does_not_grow_beyond_what_may_wait(tmp_path: Path) -> None:
    async with own_redis(tmp_path) as server, keeping(RedisSlots(server.url, namespace())) as slots:
        server.hang()
        for _ in range(2):
            for number in range(TELLS):
                slots.rest(f"up/{number}", None, NEVER)
            await asyncio.sleep(0.05)
        slots.rest("last", None, NEVER)
        await until(lambda: not slots.connected, SOON)
        assert len(slots._tells) == TELLS
        assert slots._tells[-1] == Rest("last", None, NEVER)


async def test_nobody_is_let_in_before_all_that_is_held_is_known(
    space: str, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = RedisSlots(shared_redis(), space)
    for _ in range(2 * BATCH + 1):
        slots.hold(ask())
    left: list[int] = []
    monkeypatch.setattr(Standing, "good", lambda _: left.append(len(slots._tells) + len(slots._due)))
    async with keeping(slots):
        assert left == [0]
        assert await kept.tokens() == 2 * BATCH + 1


async def test_who_asks_for_what_cannot_be_sent_is_told_and_holds_up_nobody(
    slots: RedisSlots, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Trip, "take", lambda *_: 1 / 0)
        with pytest.raises(Away):
            await asyncio.wait_for(slots.take(ask()), SOON)
    await until(lambda: slots.connected, SOON)
    assert await slots.take(ask(slots=1)) == Taken(1)


async def test_whatever_can_be_said_can_be_sent(slots: RedisSlots) -> None:
    odd = Ask("\ud800", "\ud800", "\ud800", "\ud800", 1, 1, quota=1, quota_ends=NEVER, min_interval=float("inf"))
    assert await slots.take(odd) == Taken(1)
    assert (await full(slots, odd)).why == "exhausted"
    slots.give(odd.token, tokens=-1, refund=True)
    slots.rest("\ud800", "\ud800", float("nan"))
    slots.rest("\ud800", "\ud800", float("inf"))
    await told(slots)
    assert (await full(slots, odd)).why == "resting"
    assert slots.connected


async def test_who_waits_as_it_ends_is_told(space: str) -> None:
    slots = RedisSlots(shared_redis(), space)
    async with keeping(slots):
        waiting = [asyncio.create_task(slots.take(ask(slots=100))) for _ in range(20)]
        await until_gathered(slots)
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), SOON)
    assert {type(answer) for answer in answers} == {Away}
    assert not slots.connected


@pytest.mark.parametrize(
    "answer", [b"", b"\xc1", b"\x90", b"\x91\xa1a", b"\x92\x01\xa1a", b"\x93\x01\x93\xa4lazy\x00\x01"]
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(redis.RedisError):
        Answers.of(answer)


# --- opening ---


def test_without_a_url_there_are_no_slots_and_no_client_library() -> None:
    code = """
import sys
from gateway.state import open_slots
assert open_slots(None, "space") is None
assert not [name for name in sys.modules if name.split(".")[0] == "redis"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_slots_are_opened_without_a_connection_and_a_url_of_no_use_is_refused() -> None:
    assert isinstance(open_slots("redis://127.0.0.1:1/0", "space"), RedisSlots)
    with pytest.raises(ConfigError, match="redis_url"):
        open_slots("redis://127.0.0.1/0?what=this", "space")
