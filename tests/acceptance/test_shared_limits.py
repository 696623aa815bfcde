"""Three gateways on one PostgreSQL and one Redis keep the limits of an account together, and each alone without it."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from tests.acceptance.ark_gateway import database
from tests.acceptance.gateway_process import Gateway, Running, eventually, running, served
from tests.acceptance.keys_upstream import Ask, Key, KeysSite, Load, asked, one, statuses
from tests.emulators.openai_answers import refusal
from tests.unit.state.redis_server import RedisServer

LEASE_SECONDS = 6.0
"""How long Redis holds a slot for a process that is gone; as shipped it is a minute."""
SHORTER = f"""
import runpy, sys
from gateway.state.redis_slots import RedisSlots
RedisSlots.__init__.__kwdefaults__["lease"] = {LEASE_SECONDS}
sys.argv = ["gateway", "serve"]
runpy.run_module("gateway", run_name="__main__")
"""
NAMES = ("a", "b", "c")
TOLD = {
    "rate": (refusal(429, "rate_limit_exceeded", "Slow down.", retry_after="60"), "RATE_LIMITED"),
    "quota": (refusal(429, "insufficient_quota", "You exceeded your current quota."), "EXHAUSTED"),
    "rejected": (refusal(401, "invalid_api_key", "Incorrect API key provided."), "INVALID"),
}
"""What a key says to every request, and how it stands after that."""
SECONDS = 0.05
"""What an answer takes."""
NEWS_SECONDS = 15.0
"""Within them everybody has heard of everything, on a busy machine too."""
SETTLED = 2.0
"""Seconds in which what was under way before is over."""


def with_a_shorter_lease(home: Path, env: Mapping[str, str]) -> Running:
    with (home / "out").open("wb") as out, (home / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", SHORTER], cwd=home, env=env, stdout=out, stderr=log)


@dataclass
class Trio:
    """Replicas in front of one site, and the Redis that they share."""

    gateways: list[Gateway]
    site: KeysSite
    redis: RedisServer

    def key(self, upstream: str) -> Key:
        return self.site.of[upstream][0]

    def statuses(self, account: str) -> set[str]:
        """What the replicas say of how an account stands."""
        return {gateway.accounts()[account]["status"] for gateway in self.gateways}

    def alarms(self) -> list[set[str]]:
        """The codes of each replica's alarms about Redis."""
        return [_alarms(gateway) for gateway in self.gateways]

    def limits(self) -> set[str]:
        """What the replicas say of the limits that they keep."""
        return {_status(gateway)["upstreams"][0]["limits"] for gateway in self.gateways}


def _status(gateway: Gateway) -> dict[str, list[dict[str, str]]]:
    with gateway.client() as http:
        return dict(http.get("/api/status").json())


def _alarms(gateway: Gateway) -> set[str]:
    return {alarm["code"] for alarm in _status(gateway)["alarms"]} & {"redis_away"}


@contextmanager
def own_redis(home: Path) -> Iterator[RedisServer]:
    server = RedisServer(home)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    home, site = tmp_path_factory.mktemp("trio"), KeysSite()
    for upstream in ("ten", "load", "minute", "interval", "daily", "held"):
        site.add(upstream, 1, seconds=lambda: SECONDS)
    site.add("ceiling", 4, seconds=lambda: SECONDS)
    for name, (fault, _) in TOLD.items():
        site.add(name, 1, fault)
        site.add(name, 1)
    with ExitStack() as stack:
        url = stack.enter_context(served(site))
        server = stack.enter_context(own_redis(home))
        rows = stack.enter_context(database("postgresql", home))
        env = {"DATABASE_URL": rows.url, "STORAGE_URL": f"file://{home}/objects", "REDIS_URL": server.url}
        stanzas = [
            site.stanza(url, "ten", {"max_concurrency": 10}),
            site.stanza(url, "load", {"max_concurrency": 10}),
            site.stanza(url, "ceiling", max_concurrency=6),
            site.stanza(url, "minute", {"requests_per_minute": 30}),
            site.stanza(url, "interval", {"min_interval": 0.1}),
            site.stanza(url, "daily", {"daily_quota": {"t2t": 20}}),
            site.stanza(url, "held", {"max_concurrency": 9}),
            *(site.stanza(url, name) for name in TOLD),
        ]
        config = {"upstreams": stanzas, "server": {"drain_seconds": 1}}
        gateways = []
        for name in NAMES:
            (home / name).mkdir()
            gateway = running(home / name, config, env=env, secrets=site.keys, begin=with_a_shorter_lease)
            gateways.append(stack.enter_context(gateway))
        found = Trio(gateways, site, server)
        eventually(lambda: found.limits() == {"shared"})
        yield found


def test_three_processes_keep_ten_slots_under_two_hundred_callers(trio: Trio) -> None:
    asks = [Ask("ten", stream=at % 2 == 1) for at in range(200)]
    assert statuses(asked(trio.gateways, asks, 200)) == {200: 200}
    assert trio.key("ten").at_once.most == 10, "used to the full, and never passed"


def test_an_upstream_s_own_limit_is_that_of_all_processes_together(trio: Trio) -> None:
    assert statuses(asked(trio.gateways, [Ask("ceiling", stream=at % 2 == 1) for at in range(120)], 60)) == {200: 120}
    assert trio.site.at_once["ceiling"].most == 6


def test_the_time_between_two_requests_is_kept_by_all_processes_together(trio: Trio) -> None:
    key = trio.key("interval")
    assert statuses(asked(trio.gateways, [Ask("interval")] * 15, 15)) == {200: 15}
    assert key.began[-1] - key.began[0] > 14 * 0.1 - 0.1
    assert min(later - sooner for sooner, later in pairwise(key.began)) > 0.04, "but for what the way there takes"


def test_requests_per_minute_are_those_of_all_processes_together(trio: Trio) -> None:
    answers = asked(trio.gateways, [Ask("minute")] * 90, 15)
    assert abs(trio.key("minute").started - 30) <= 1
    assert statuses(answers) == {200: trio.key("minute").started, 429: 90 - trio.key("minute").started}
    first = trio.key("minute").began[0]
    for heard in answers:
        if heard.status == 429:
            early, late = (first + 60 - moment for moment in (heard.got, heard.sent))
            assert early - 1 < heard.retry_after < late + 2
            assert heard.got - heard.sent < 10, "it was not made to wait in vain"


def test_a_daily_quota_is_that_of_all_processes_together(trio: Trio) -> None:
    answers = asked(trio.gateways, [Ask("daily")] * 60, 15)
    assert abs(trio.key("daily").started - 20) <= 1
    assert statuses(answers) == {200: trio.key("daily").started, 429: 60 - trio.key("daily").started}
    for gateway in trio.gateways:
        eventually(lambda gateway=gateway: gateway.accounts()["daily/a1"]["status"] == "EXHAUSTED", NEWS_SECONDS)


@pytest.mark.parametrize("name", TOLD)
def test_what_one_process_is_told_the_others_heed(trio: Trio, name: str) -> None:
    """When to come back at once, and whatever else as soon as they have the news."""
    bad, status = trio.key(name), TOLD[name][1]
    while not bad.started:
        assert one(trio.gateways[0], name).well
    if status == "INVALID":
        eventually(lambda: trio.statuses(f"{name}/a1") == {status}, NEWS_SECONDS)
    assert statuses(asked(trio.gateways, [Ask(name)] * 60, 6)) == {200: 60}
    assert bad.started == 1, "nobody else had to be told"
    eventually(lambda: trio.statuses(f"{name}/a1") == {status}, NEWS_SECONDS)


def test_what_an_operator_switches_off_is_off_everywhere(trio: Trio) -> None:
    site = trio.site.of["ceiling"]
    with trio.gateways[1].client() as http:
        for name in ("a1", "a2", "a3"):
            assert http.post(f"/api/accounts/ceiling/{name}/disable").status_code == 200
        for name in ("a1", "a2", "a3"):
            eventually(lambda name=name: trio.statuses(f"ceiling/{name}") == {"DISABLED"}, NEWS_SECONDS)
        for key in site:
            key.forget()
        assert statuses(asked(trio.gateways, [Ask("ceiling")] * 30, 6)) == {200: 30}
        assert [key.started for key in site] == [0, 0, 0, 30]
        assert http.post("/api/accounts/ceiling/a1/enable").status_code == 200
        eventually(lambda: trio.statuses("ceiling/a1") == {"OK"}, NEWS_SECONDS)


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_without_redis_each_process_keeps_the_limits_by_itself(trio: Trio, how: str) -> None:
    key = trio.key("load")
    with Load(trio.gateways, "load", callers=60) as load:
        key.forget()
        eventually(lambda: key.started > 100, 20)
        assert key.at_once.most == 10
        trio.redis.kill() if how == "killed" else trio.redis.hang()
        eventually(lambda: trio.alarms() == [{"redis_away"}] * 3, 10)
        key.forget()
        eventually(lambda: key.started > 200, 20)
        assert 10 < key.at_once.most <= 30
        assert trio.limits() == {"per process"}
        asyncio.run(trio.redis.start()) if how == "killed" else trio.redis.go_on()
        eventually(lambda: trio.alarms() == [set()] * 3, 15)
        time.sleep(SETTLED)
        key.forget()
        eventually(lambda: key.started > 200, 20)
        assert key.at_once.most == 10
        assert trio.limits() == {"shared"}
    assert statuses(load.answers).keys() == {200}


def test_what_redis_forgets_it_learns_again(trio: Trio) -> None:
    key = trio.key("load")
    with Load(trio.gateways, "load", callers=60) as load, redis.Redis.from_url(trio.redis.url) as client:
        key.forget()
        for _ in range(5):
            client.flushall()
            time.sleep(0.3)
        assert key.at_once.most <= 30
        time.sleep(SETTLED)
        key.forget()
        eventually(lambda: key.started > 200, 20)
        assert key.at_once.most == 10
        assert trio.alarms() == [set()] * 3
    assert statuses(load.answers).keys() == {200}


def test_what_a_dead_process_held_is_free_again_after_its_lease(trio: Trio) -> None:
    *others, dying = trio.gateways
    key = trio.key("held")
    key.seconds = lambda: 60.0
    holding = threading.Thread(target=asked, args=(dying, [Ask("held")] * 4, 4))
    holding.start()
    eventually(lambda: key.at_once.now == 4)
    key.seconds = lambda: SECONDS
    dying.crash()
    died = time.monotonic()
    holding.join()
    key.forget()
    with Load(others, "held", callers=30) as load:
        eventually(lambda: key.started > 20)
        if time.monotonic() - died < LEASE_SECONDS / 2:
            assert key.at_once.most <= 5, "four are still the dead one's"
        eventually(lambda: key.at_once.most == 9, LEASE_SECONDS + 5)
    assert key.at_once.most == 9
    assert statuses(load.answers).keys() == {200}
    dying.start()
    assert one(dying, "held").well
