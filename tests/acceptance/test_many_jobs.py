"""A thousand jobs of one account, running for long: each is looked at when it is due, and nothing else suffers."""

import json
import sqlite3
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import psutil

from tests.acceptance.ark_gateway import Rows, ark, config_of, database, promised
from tests.acceptance.gateway_process import Gateway, eventually, running, served
from tests.emulators.ark import ArkSite

JOBS = 1000
AGE = 60.0
"""A minute old, an account's jobs are so many as its list can tell of in time: 150 of them, once a second."""
WARM_SECONDS = 10.0
WATCHED_SECONDS = 30.0
YOUNG, OLD, OLD_AGE, JITTER = 5.0, 10.0, 120.0, 0.1
"""The schedule of an Ark: seconds between two looks at a job as it grows old."""
LATE, LATEST = 2.5, 5.0
"""Seconds past its time: what one look in a hundred may be, and what none may."""
GROWN = 4.0
"""Megabytes that the second half may have more than the first."""
MEGABYTE = 2**20


def due(age: float) -> tuple[float, float]:
    """The least and most seconds to the next look at a job of that age."""
    usual = YOUNG + (OLD - YOUNG) * min(1.0, age / OLD_AGE)
    return usual * (1 - JITTER), usual * (1 + JITTER)


def create_all(gateway: Gateway) -> None:
    """By sixteen callers, each on a connection of its own."""
    mine = threading.local()

    def one(number: int) -> None:
        if not hasattr(mine, "http"):
            mine.http = gateway.client()
        promised(mine.http, f"film {number}")

    with ThreadPoolExecutor(16) as callers:
        list(callers.map(one, range(JOBS)))


def grow_older(rows: Rows, seconds: float) -> None:
    """As if the gateway had been gone for so long."""
    file = rows.url.removeprefix("sqlite://")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE tasks SET started_at = started_at - ?", (seconds,))


class Samples(threading.Thread):
    """Memory of a gateway and how long it takes to say that it lives, four times a second."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(name="samples")
        self.memory: list[int] = []
        self.seconds: list[float] = []
        self._gateway = gateway
        self._over = threading.Event()

    def run(self) -> None:
        process, http = psutil.Process(self._gateway.process.pid), self._gateway.client()
        while not self._over.wait(0.25):
            begun = time.perf_counter()
            assert http.get("/healthz").status_code == 200
            self.seconds.append(time.perf_counter() - begun)
            self.memory.append(process.memory_info().rss)

    @contextmanager
    def taken(self) -> Iterator["Samples"]:
        self.start()
        try:
            yield self
        finally:
            self._over.set()
            self.join()


def test_a_thousand_jobs_are_each_looked_at_in_time(tmp_path: Path) -> None:
    site = ArkSite(running_seconds=3600)
    with database("sqlite", tmp_path) as rows, served(site.app) as url:
        config = config_of(ark(url, max_concurrency=64))
        with running(tmp_path, config, env={"DATABASE_URL": rows.url}) as gateway:
            create_all(gateway)
            assert (len(site.creates), len(site.jobs)) == (JOBS, JOBS)
            gateway.crash()
            grow_older(rows, AGE)
            gateway.start()
            time.sleep(WARM_SECONDS)
            begun = time.time()
            with Samples(gateway).taken() as samples:
                time.sleep(WATCHED_SECONDS / 2)
                _check_that_new_ones_are_taken_at_once(gateway)
                time.sleep(WATCHED_SECONDS / 2)
            over = time.time()
            _check_the_schedule(site, rows, begun, over)
            _check_the_samples(samples)
            _check_that_results_come_in(gateway, site, rows)


def _check_that_new_ones_are_taken_at_once(gateway: Gateway) -> None:
    http, begun = gateway.client(), time.monotonic()
    for number in range(5):
        promised(http, f"a new film {number}")
    assert time.monotonic() - begun < 5.0


def _check_the_schedule(site: ArkSite, rows: Rows, begun: float, over: float) -> None:
    """None is forgotten, none is looked at too soon or much too late, and one call tells of many."""
    started = {json.loads(row["job"])["id"]: row["started_at"] for row in rows("SELECT job, started_at FROM tasks")}
    old = [job for job, moment in started.items() if begun - moment > AGE]
    looks, calls = _looks(site, begun, over)
    late: list[float] = []
    for job in old:
        assert len(looks[job]) >= 2, f"{job} was looked at {len(looks[job])} times in {over - begun:.0f} s"
        for one, other in pairwise(looks[job]):
            least, most = due(one - started[job])
            assert other - one > least - 0.25, f"{job} was looked at too soon, after {other - one:.1f} s"
            late.append(other - one - most)
        at_both_ends = looks[job][0] - begun, over - looks[job][-1]
        assert max(at_both_ends) < due(over - started[job])[1] + LATEST
    late.sort()
    middle, nearly_all = late[len(late) // 2], late[len(late) * 99 // 100]
    print(f"{len(late)} gaps, {calls} calls, late: p50 {middle:.2f} s, p99 {nearly_all:.2f} s")  # noqa: T201
    assert (len(old), nearly_all < LATE, late[-1] < LATEST) == (JOBS, True, True)
    assert calls < (over - begun) * 1.1 + 2, "the list may be asked for once a second"
    assert len(late) > 50 * calls


def _looks(site: ArkSite, begun: float, over: float) -> tuple[dict[str, list[float]], int]:
    """When each job was looked at, and how many calls that took."""
    calls = [seen for seen in list(site.requests) if seen.operation in ("list", "get") and begun <= seen.at <= over]
    looks = defaultdict[str, list[float]](list)
    for seen in calls:
        for name, job in seen.query:
            if name == "filter.task_ids":
                looks[job].append(seen.at)
    return looks, len(calls)


def _check_the_samples(samples: Samples) -> None:
    half = len(samples.memory) // 2
    most, slowest = max(samples.memory) / MEGABYTE, max(samples.seconds)
    grown = most - max(samples.memory[:half]) / MEGABYTE
    print(f"memory {most:.0f} MB, grown by {grown:.1f}; /healthz took {slowest:.3f} s at most")  # noqa: T201
    assert grown < GROWN
    assert statistics.median(samples.seconds) < 0.1
    assert slowest < 1.5, "nothing may hold up the event loop"


def _check_that_results_come_in(gateway: Gateway, site: ArkSite, rows: Rows) -> None:
    """Those that are done are noticed in their turn, whatever the others do."""
    done = list(site.jobs)[: JOBS : JOBS // 40]
    site.hold("succeeded", *done)
    begun = time.monotonic()
    ended = "SELECT count(*) AS n FROM tasks WHERE state = 'succeeded'"
    eventually(lambda: rows.one(ended)["n"] == len(done), 40)
    assert time.monotonic() - begun < due(AGE * 2)[1] + LATEST + 10.0
