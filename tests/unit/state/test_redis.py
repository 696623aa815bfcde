"""Topics between processes over a real Redis, and what becomes of them when it is gone, silent or of no use."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from gateway.errors import ConfigError
from gateway.state import open_bus
from gateway.state.outbox import OUTBOX
from gateway.state.redis import ASK_SECONDS, GONE_SECONDS, LATE_SECONDS, SETTLED_SECONDS, Pulse, RedisBus
from gateway.state.redis_client import AGAIN_MAX_SECONDS, Standing
from tests.unit.state.redis_server import namespace, own_redis, running, shared_redis, until

pytestmark = pytest.mark.anyio

SOON = 5.0
PROMPTLY = 0.5


async def test_what_one_publishes_the_others_hear_and_itself_does_not() -> None:
    space = namespace()
    first: list[str] = []
    second: list[str] = []
    a, b = RedisBus(shared_redis(), space), RedisBus(shared_redis(), space)
    async with running(a, first.append), running(b, second.append):
        await until(lambda: a.connected and b.connected, SOON)
        a.publish("task_1")
        assert await until(lambda: second, SOON) < PROMPTLY
        b.publish("task 2 \u2028 ü")
        assert await until(lambda: first, SOON) < PROMPTLY
    assert (set(first), set(second)) == ({"task 2 \u2028 ü"}, {"task_1"})  # its end may repeat what was just sent


async def test_installations_that_share_a_redis_do_not_hear_each_other() -> None:
    ours, theirs = namespace(), namespace()
    here: list[str] = []
    there: list[str] = []
    a, b, c, d = (RedisBus(shared_redis(), space) for space in (ours, ours, theirs, theirs))
    async with running(a), running(b, here.append), running(c), running(d, there.append):
        await until(lambda: b.connected and d.connected, SOON)
        c.publish("task_1")
        await until(lambda: there, SOON)
        a.publish("task_2")
        await until(lambda: here, SOON)
        c.publish("task_3")
        await until(lambda: len(there) == 2, SOON)
    assert (here, there) == (["task_2"], ["task_1", "task_3"])


async def test_thousands_at_once_all_arrive_and_in_order() -> None:
    space = namespace()
    heard: list[str] = []
    a, b = RedisBus(shared_redis(), space), RedisBus(shared_redis(), space)
    topics = [f"task_{number}" for number in range(3000)]
    async with running(a), running(b, heard.append):
        await until(lambda: b.connected, SOON)
        for topic in topics:
            a.publish(topic)
        await until(lambda: len(heard) == len(topics), SOON)
    assert heard == topics


async def test_what_others_say_on_the_channel_does_no_harm() -> None:
    space = namespace()
    heard: list[str] = []
    bus = RedisBus(shared_redis(), space)
    async with redis.asyncio.Redis.from_url(shared_redis()) as stranger, running(bus, heard.append):
        await until(lambda: bus.connected, SOON)
        for nonsense in (b"", b"\xff\xfe", b"alone", b"some \xff", b"one task_1"):
            await stranger.publish(f"mediagate:{space}", nonsense)
        await until(lambda: "task_1" in heard, SOON)
    assert heard == ["\ufffd", "task_1"]


async def test_a_topic_that_cannot_be_written_does_not_hold_up_the_others() -> None:
    space = namespace()
    heard: list[str] = []
    a, b = RedisBus(shared_redis(), space), RedisBus(shared_redis(), space)
    async with running(a), running(b, heard.append):
        await until(lambda: b.connected, SOON)
        a.publish("half a pair \ud800")
        a.publish("task_1")
        await until(lambda: "task_1" in heard, SOON)


@pytest.mark.parametrize("version", [2, 3])
async def test_what_the_url_asks_for_is_done(version: int) -> None:
    space = namespace()
    heard: list[str] = []
    url = f"{shared_redis()}?protocol={version}&health_check_interval=1&socket_timeout=3"
    a, b = RedisBus(url, space), RedisBus(url, space)
    async with running(a), running(b, heard.append):
        await until(lambda: b.connected, SOON)
        a.publish("task_1")
        await until(lambda: heard == ["task_1"], SOON)


# --- away ---


async def test_publishing_without_redis_neither_waits_nor_fails_nor_grows(tmp_path: Path) -> None:
    async with own_redis(tmp_path) as server:
        server.kill()
        bus = RedisBus(server.url, namespace())
        with capture_logs() as lines:
            async with running(bus):
                start = time.process_time()
                for number in range(5 * OUTBOX):
                    bus.publish(f"task_{number}")
                assert time.process_time() - start < 1
                await until(lambda: bus._hearing.failures > 2 and bus._telling.failures > 2, SOON)
                assert not bus.connected
                assert len(bus._outbox.waiting) <= OUTBOX
                start = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - start < SOON  # nor does its end wait
    assert sorted(line["doing"] for line in lines) == ["hearing", "telling"]
    assert {line["event"] for line in lines} == {"redis away"}


async def test_redis_may_be_killed_and_come_back(tmp_path: Path) -> None:
    space = namespace()
    heard: list[str] = []
    async with own_redis(tmp_path) as server:
        a, b = RedisBus(server.url, space), RedisBus(server.url, space)
        with capture_logs() as lines:
            async with running(a), running(b, heard.append):
                await until(lambda: a.connected and b.connected, SOON)
                a.publish("before")
                await until(lambda: heard == ["before"], SOON)
                server.kill()
                await until(lambda: not b.connected, LATE_SECONDS)
                await until(lambda: a._hearing.failures and b._hearing.failures, SOON)
                a.publish("meanwhile")
                await until(lambda: a._telling.failures, SOON)
                await server.start()
                await until(lambda: a.connected and b.connected, AGAIN_MAX_SECONDS + SOON)
                a.publish("after")
                await until(lambda: "after" in heard, AGAIN_MAX_SECONDS + SOON)
                await until(lambda: a._hearing.well and b._hearing.well, SOON)
    told = [(line["event"], line["doing"]) for line in lines]
    assert sorted(told) == sorted(
        [("redis away", "hearing"), ("redis back", "hearing")] * 2
        + [("redis away", "telling"), ("redis back", "telling")]
    )
    assert all(line["detail"] for line in lines if line["event"] == "redis away")


async def test_a_redis_that_hangs_counts_as_away_until_it_answers_again(tmp_path: Path) -> None:
    async with own_redis(tmp_path) as server, running(RedisBus(server.url, namespace())) as bus:
        await until(lambda: bus.connected, SOON)
        server.hang()
        assert await until(lambda: not bus.connected, SOON) < ASK_SECONDS + LATE_SECONDS + PROMPTLY
        server.go_on()
        await until(lambda: bus.connected, SOON)
        assert bus._hearing.well  # the connection was kept


async def test_a_server_that_never_says_a_word_is_given_up() -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with capture_logs() as lines:
        async with running(RedisBus(f"redis://127.0.0.1:{port}", namespace())) as bus:
            bus.publish("task_1")
            await until(lambda: bus._hearing.failures and bus._telling.failures, SOON)
            assert not bus.connected
    silent.close()
    assert {line["error"] for line in lines} == {"TimeoutError"}


async def test_a_refused_password_is_told_and_not_quoted(tmp_path: Path) -> None:
    async with own_redis(tmp_path, "--requirepass", "right-horse") as server:
        url = server.url.replace("://", "://:wrong-battery@")
        with capture_logs() as lines:
            async with running(RedisBus(url, namespace())) as bus:
                await until(lambda: bus._hearing.failures > 1, SOON)
        assert "password" in lines[0]["detail"]
        assert "wrong-battery" not in str(lines)
        good = RedisBus(server.url.replace("://", "://:right-horse@"), namespace())
        async with running(good):
            await until(lambda: good.connected, SOON)


async def test_the_last_words_of_a_process_are_still_sent() -> None:
    space = namespace()
    heard: list[str] = []
    leaving, staying = RedisBus(shared_redis(), space), RedisBus(shared_redis(), space)
    async with running(staying, heard.append):
        await until(lambda: staying.connected, SOON)
        leaving.publish("task_1")
        await leaving.close()
        await until(lambda: heard == ["task_1"], SOON)


async def test_its_end_loses_no_connection(tmp_path: Path) -> None:
    async with own_redis(tmp_path) as server:
        async with running(RedisBus(server.url, namespace())) as bus:
            await until(lambda: bus.connected, SOON)
            bus.publish("task_1")
            await until(lambda: not bus._outbox.waiting, SOON)
        async with redis.asyncio.Redis.from_url(server.url) as asking:
            for _ in range(100):
                if len(await asking.client_list()) == 1:
                    break
                await asyncio.sleep(0.02)
            assert len(await asking.client_list()) == 1


# --- opening ---


def test_without_a_url_there_is_no_bus_and_no_client_library() -> None:
    code = """
import sys
import gateway.tasks.notices
from gateway.state import open_bus
assert open_bus(None, "space") is None
assert not [name for name in sys.modules if name.split(".")[0] == "redis"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pass#word@127.0.0.1:6379/0",
        "redis://user:password@127.0.0.1:port/0",
        "redis://user:password@127.0.0.1/0?db=none",
        "redis://user:password@127.0.0.1/0?what=this",
        "redis://user:password@127.0.0.1/0?protocol=9",
    ],
)
def test_a_url_that_can_never_work_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="redis_url") as told:
        open_bus(url, "space")
    assert "pass" not in str(told.value)
    assert told.value.__suppress_context__


def test_a_bus_is_opened_without_a_connection() -> None:
    bus = open_bus("redis://127.0.0.1:1/0", "space")
    assert isinstance(bus, RedisBus)


# --- by the clock ---


def test_a_subscription_counts_once_it_has_stood_for_a_moment_and_answers_in_time() -> None:
    pulse = Pulse(100.0)
    assert pulse.due(100.0)
    pulse.asked(100.0)
    assert not pulse.due(150.0)
    assert not pulse.steady(100.0 + SETTLED_SECONDS)  # not answered yet
    pulse.answered(100.1)
    assert not pulse.steady(100.0 + SETTLED_SECONDS - 0.01)
    assert pulse.steady(100.0 + SETTLED_SECONDS)
    assert not pulse.due(100.0 + ASK_SECONDS - 0.01)
    assert pulse.due(100.0 + ASK_SECONDS)


def test_a_late_answer_counts_against_it_until_one_comes_in_time() -> None:
    pulse = Pulse(0.0)
    pulse.asked(10.0)
    pulse.answered(10.0 + LATE_SECONDS)
    assert not pulse.steady(11.0)
    pulse.asked(12.0)
    assert not pulse.steady(12.1)
    pulse.answered(12.2)
    assert pulse.steady(13.0)
    pulse.asked(14.0)
    assert pulse.steady(14.0 + LATE_SECONDS - 0.01)
    assert not pulse.steady(14.0 + LATE_SECONDS)


def test_without_an_answer_a_connection_is_gone() -> None:
    pulse = Pulse(0.0)
    assert not pulse.gone(100.0)  # not asked
    pulse.asked(100.0)
    assert not pulse.gone(100.0 + GONE_SECONDS - 0.01)
    assert pulse.gone(100.0 + GONE_SECONDS)
    pulse.answered(106.0)
    assert not pulse.gone(200.0)


def test_the_pauses_grow_to_a_limit() -> None:
    standing = Standing("hearing")
    with capture_logs() as lines:
        pauses = []
        for _ in range(2000):
            standing.failed(OSError("no route"))
            pauses.append(standing.pause)
    assert pauses[0] < 0.5
    assert AGAIN_MAX_SECONDS / 2 <= pauses[-1] <= AGAIN_MAX_SECONDS
    assert len(lines) == 1
    standing.good()
    assert standing.pause < 0.5
