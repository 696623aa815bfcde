"""Two gateways on one PostgreSQL, with Redis beside it and without: either serves any task, and none is done twice."""

import json
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.ark_gateway import (
    FINAL,
    REDIS,
    Gate,
    Look,
    Rows,
    all_tasks,
    ark,
    asked,
    config_of,
    created,
    database,
    finished,
    has_its_film,
    job_of,
    promised,
    told,
)
from tests.acceptance.gateway_process import Gateway, eventually, running, served, served_together
from tests.emulators.ark import ArkSite, Plan
from tests.emulators.receiver import Receiver

LEASE_SECONDS = 15.0
LOOK_SECONDS = 2.0
"""How often a process looks for what nobody holds any more."""
SHORTEST, LONGEST = 4.5, 6.1
"""Seconds between two looks at a job that is not older than 13."""
SLACK = 3.0
"""What a busy machine takes for what should take no time."""


@dataclass
class Pair:
    """Replicas `a` and `b`, each with a gate of its own to the same upstream."""

    a: Gateway
    b: Gateway
    site: ArkSite
    gates: dict[str, Gate]
    rows: Rows
    looks: list[Look] = field(default_factory=list)

    def __getitem__(self, name: str) -> Gateway:
        return {"a": self.a, "b": self.b}[name]

    def downloader(self, job: str) -> str:
        """Who fetches the result of a job, or will have; empty as long as nobody does."""
        return next((name for name, gate in self.gates.items() if job in gate.downloads), "")

    def moment(self, column: str, task_id: str) -> float:
        return float(self.rows.one(f"SELECT {column} FROM tasks WHERE id = '{task_id}'")[column])


@contextmanager
def pair(home: Path, redis: str | None = None, receiver: str = "") -> Iterator[Pair]:
    site, looks = ArkSite(), list[Look]()
    gates = {name: Gate(site.app, name, looks=looks) for name in "ab"}
    with database("postgresql", home) as rows, served_together(*gates.values()) as urls:
        env = {"DATABASE_URL": rows.url, "STORAGE_URL": f"file://{home}/objects"}
        env |= {"REDIS_URL": redis} if redis else {}
        for name in gates:
            (home / name).mkdir()
        config_a, config_b = (config_of(ark(url, max_concurrency=32), receiver=receiver) for url in urls)
        with running(home / "a", config_a, env=env) as a, running(home / "b", config_b, env=env) as b:
            yield Pair(a, b, site, gates, rows, looks)


@pytest.fixture(scope="module", params=[None, REDIS], ids=["alone", "with redis"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("replicas"), request.param) as both:
        yield both


@pytest.fixture(autouse=True)
def plain(request: pytest.FixtureRequest) -> None:
    """Jobs take their usual time, whatever the test before wanted."""
    if "both" in request.fixturenames:
        site = request.getfixturevalue("both").site
        site.plan, site.queued_seconds, site.running_seconds = Plan(), 0.2, 0.5


class Watcher(threading.Thread):
    """Reads the events of a task, and when each came."""

    def __init__(self, gateway: Gateway, task_id: str) -> None:
        super().__init__(name=f"watcher of {task_id}")
        self.gateway, self.task_id = gateway, task_id
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.ready = threading.Event()
        self.start()

    def run(self) -> None:
        with self.gateway.client(timeout=60).stream("GET", f"/api/tasks/{self.task_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.heard.append((time.time(), json.loads(line.removeprefix("data: "))))
                    self.ready.set()

    def end(self) -> float:
        """When it heard of the end."""
        self.join(30)
        moment, last = self.heard[-1]
        assert last["status"] in FINAL
        return moment


def test_who_watches_one_replica_hears_at_once_what_another_does(both: Pair) -> None:
    """Of films that the other one brought in, each watcher hears; most of them within a second of the end."""
    ids = {f"watched {number}": promised(both.a.client(), f"watched {number}") for number in range(6)}
    watchers = {prompt: {name: Watcher(both[name], task_id) for name in "ab"} for prompt, task_id in ids.items()}
    late = []
    for prompt, task_id in ids.items():
        heard = {name: watcher.end() for name, watcher in watchers[prompt].items()}
        maker = both.downloader(job_of(both.site, prompt).id)
        late += [moment - both.moment("finished_at", task_id) for name, moment in heard.items() if name != maker]
    assert len(late) == len(ids)
    assert statistics.median(late) < 1.0, late
    assert max(late) < 1.0 + SLACK, late


def test_any_replica_answers_cancels_and_deletes(both: Pair) -> None:
    a, b = both.a.client(), both.b.client()
    task_id = promised(a, "made on a")
    assert told(b, task_id)["status"] == "running"
    ended = finished(b, task_id)
    assert ended["status"] == "succeeded"
    assert has_its_film(both.b, ended, both.site)
    assert has_its_film(both.a, told(a, task_id), both.site)
    both.site.plan = Plan(queued=600)
    waiting = promised(a, "cancelled on b")
    cancelled = b.post(f"/api/tasks/{waiting}/cancel").json()
    assert (cancelled["status"], cancelled["upstream_cancelled"]) == ("cancelled", True)
    assert both.site.deletes == [job_of(both.site, "cancelled on b").id]
    assert told(a, waiting)["status"] == "cancelled"
    for gone in (task_id, waiting):
        assert b.delete(f"/api/tasks/{gone}").status_code == 200
        assert a.get(f"/api/tasks/{gone}").status_code == 404
    both.site.deletes.clear()


def test_a_task_that_is_waited_for_elsewhere_ends_the_wait(both: Pair) -> None:
    task_id = promised(both.a.client(), "waited for")
    ended = both.b.client().get(f"/api/tasks/{task_id}?wait=30").json()
    assert ended["status"] == "succeeded"
    assert time.time() - both.moment("finished_at", task_id) < 1.0 + SLACK


def test_one_key_on_both_replicas_at_once_is_one_task(both: Pair) -> None:
    barrier = threading.Barrier(4)

    def ask(gateway: Gateway, key: str) -> httpx.Response:
        client = gateway.client()
        barrier.wait()
        return client.post("/api/tasks", json=asked(key), headers={"idempotency-key": key})

    with ThreadPoolExecutor(4) as callers:
        for number in range(8):
            key = f"at once {number}"
            answers = list(callers.map(ask, (both.a, both.b) * 2, (key,) * 4))
            assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert created(both.site)[key] == 1


def test_no_job_is_looked_at_by_both_or_sooner_than_is_due(tmp_path: Path) -> None:
    """Forty jobs, taken on by both, are looked at by both: each every five seconds by one of them."""
    with pair(tmp_path) as both:
        both.site.running_seconds = 12.0
        make = lambda number: promised(both["ab"[number % 2]].client(), f"looked at {number}")  # noqa: E731
        with ThreadPoolExecutor(8) as callers:
            ids = list(callers.map(make, range(40)))
        http = both.b.client()
        assert {finished(http, task_id, 40)["status"] for task_id in ids} == {"succeeded"}
        seen: dict[str, list[Look]] = defaultdict(list)
        for look in sorted(both.looks, key=lambda look: look.begun):
            for job in look.jobs:
                seen[job].append(look)
        assert seen.keys() == both.site.jobs.keys()
        for job, looks in seen.items():
            assert looks[0].begun - both.site.jobs[job].created_at < LONGEST + SLACK
            for one, other in pairwise(looks):
                assert one.over < other.begun, f"{job} was looked at twice at once: {one} {other}"
                assert SHORTEST - 0.3 < other.begun - one.begun < LONGEST + SLACK, f"{job}: {one} {other}"
        assert {look.gate for look in both.looks} == {"a", "b"}, "both have their share"
        assert len(both.site.downloads) == 40, "no result was fetched twice"


# --- one of them dies, or seems to ---


@dataclass
class Held:
    """Three films that a replica has in hand at a moment of its life: `half` downloaded, and two not answered yet."""

    pair: Pair
    by: str
    half: str
    asking: list[threading.Thread]

    @property
    def other(self) -> Gateway:
        return self.pair["b" if self.by == "a" else "a"]

    @property
    def process(self) -> Gateway:
        return self.pair[self.by]

    def ids(self) -> dict[str, str]:
        """All tasks by prompt."""
        return {task["input"]["prompt"]: task["id"] for task in all_tasks(self.other.client())}


def holding(both: Pair, webhook_url: str | None = None) -> Held:
    both.site.plan, both.site.result_seconds = Plan(result="slow"), 60.0
    half = promised(both.a.client(), "half", webhook_url=webhook_url)
    by = eventually(lambda: both.downloader(job_of(both.site, "half").id), 15)
    both.site.plan = Plan()
    gate, client = both.gates[by], both[by].client()
    gate.holds = lambda call: "after" if call.prompt.startswith("unanswered") else None
    asking = [threading.Thread(target=_in_vain, args=(client, f"unanswered {number}")) for number in range(2)]
    for one in asking:
        one.start()
    eventually(lambda: len(gate.held) == 2)
    return Held(both, by, half, asking)


def _in_vain(client: httpx.Client, prompt: str) -> None:
    try:
        client.post("/api/tasks", json=asked(prompt))
    except httpx.TransportError:
        return


def test_what_a_dead_replica_held_is_finished_by_the_other(tmp_path: Path) -> None:
    with pair(tmp_path) as both:
        held = holding(both)
        going_on = promised(held.process.client(), "going on")  # nobody holds it: its first look is due later
        died = time.time()
        held.process.crash()
        both.site.result_seconds = 0.2
        for one in held.asking:
            one.join()
        http, ids = held.other.client(), held.ids()
        assert ids.keys() == {"half", "going on", "unanswered 0", "unanswered 1"}
        for prompt, task_id in ids.items():
            ended = finished(http, task_id, 60)
            assert ended["status"] == "succeeded", prompt
            assert has_its_film(held.other, ended, both.site)
        after = LEASE_SECONDS + LOOK_SECONDS + SLACK
        assert both.moment("finished_at", held.half) - died < after
        for number in range(2):
            found = both.moment("started_at", ids[f"unanswered {number}"])
            assert found - died < after + number, "found once the lease was over, one a second"
        assert both.moment("finished_at", going_on) - died < LONGEST + SLACK
        assert created(both.site) == dict.fromkeys(ids, 1)
        assert not both.rows.unsettled()


def test_a_replica_that_was_frozen_changes_nothing_when_it_wakes(tmp_path: Path) -> None:
    """It stands still long enough to be taken for dead; then its answers come, and its download goes on."""
    receiver = Receiver()
    with served(receiver.app) as hooks, pair(tmp_path, receiver=hooks) as both:
        held = holding(both, f"{hooks}/half")
        held.process.process.send_signal(signal.SIGSTOP)
        both.site.result_seconds = 0.2
        http, ids = held.other.client(), held.ids()
        for task_id in ids.values():
            assert finished(http, task_id, 60)["status"] == "succeeded"
        eventually(lambda: receiver.taken(held.half))
        eventually(lambda: len(both.rows("SELECT id FROM usage WHERE code = 'succeeded'")) == len(ids))
        before = _everything(both.rows)
        both.gates[held.by].holds = lambda call: None
        held.process.process.send_signal(signal.SIGCONT)
        for one in held.asking:
            one.join(20)
        assert {told(held.process.client(), task_id)["status"] for task_id in ids.values()} == {"succeeded"}
        time.sleep(2.0)  # in which it writes whatever it has to write
        assert _everything(both.rows) == before
        assert both.gates["a"].came + both.gates["b"].came == dict.fromkeys(ids, 1)
        assert has_its_film(held.other, told(http, held.half), both.site)
        assert len(receiver.hooks) == 1


def _everything(rows: Rows) -> list[Any]:
    """What is known of tasks: rows, outputs, assets, deliveries, usage of finished jobs."""
    tables = ("tasks", "outputs", "assets", "deliveries")
    found: list[Any] = [rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    return [*found, rows("SELECT task_id, code FROM usage ORDER BY task_id")]
