"""Kills at random moments, while callers go on asking: nothing that was promised is lost, nothing is made twice.

`CHAOS_SEED` repeats a run as far as chance allows, `CHAOS_ROUNDS` makes it longer.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.ark_gateway import (
    FINAL,
    Gate,
    Rows,
    all_tasks,
    ark,
    asked,
    config_of,
    created,
    database,
    film_of,
    free_port,
    secret_of,
)
from tests.acceptance.gateway_process import Begin, Gateway, eventually, served_together
from tests.acceptance.nursery import nursery
from tests.emulators.ark import ArkSite
from tests.emulators.ark.media import video
from tests.emulators.receiver import Receiver

pytestmark = pytest.mark.timeout(400)

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
SOONER = (
    "gateway.tasks.submission.SETTLED_SECONDS=12.0",  # looks for a lost job: two minutes, else
    "gateway.tasks.outbox.HOLD_SECONDS=27.0",  # a delivery of a process that died waits so long: a minute, else
)
KEY = "key-of-the-chaos-0815"
CALLERS = 6
ANSWER_SECONDS = 12.0
PROMISE_SECONDS = 90.0
"""In this time every caller has its promise, however often it must ask."""
OVER_SECONDS = 75.0
"""All is over so long after the last kill: a lease, the search for a lost job, a delivery's hold, and some polls."""
USAGE_SECONDS = 3.0
"""A process that dies forgets what it measured less than a second ago, and what it had not the time to write."""


@dataclass
class Chaos:
    """Gateways on one database, callers that will not be put off, and somebody who kills."""

    gateways: list[Gateway]
    site: ArkSite
    gate: Gate
    receiver: Receiver
    hooks: str
    rows: Rows
    dice: random.Random
    promises: dict[str, set[str]] = field(default_factory=dict)
    """The ids that callers were told, by the key they asked with."""
    kills: list[float] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Answers that nobody should get."""

    def caller(self, key: str, seed: int) -> None:
        """Ask until there is a promise, of whichever gateway answers."""
        dice, over = random.Random(seed), time.monotonic() + PROMISE_SECONDS
        body = asked(key, webhook_url=f"{self.hooks}/{key}", metadata={"key": key})
        while time.monotonic() < over:
            try:
                answer = self.ask(dice.choice(self.gateways), body, key)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code in (200, 202):
                self.promises.setdefault(key, set()).add(answer.json()["id"])
                return
            if answer.json().get("task_id"):  # a promise that came to nothing at once is one as well
                self.promises.setdefault(key, set()).add(answer.json()["task_id"])
            if answer.status_code != 503:
                self.odd.append(f"{key}: {answer.status_code} {answer.text[:300]}")
                return
            time.sleep(0.1)
        self.odd.append(f"{key}: no promise within {PROMISE_SECONDS:g} s")

    def ask(self, gateway: Gateway, body: Any, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key}
        return httpx.post(
            f"{address(gateway)}/api/tasks", json=body, headers=headers, timeout=ANSWER_SECONDS, trust_env=False
        )

    def kill(self, gateway: Gateway) -> None:
        self.kills.append(time.time())
        gateway.crash()
        gateway.launch()


def address(gateway: Gateway) -> str:
    """The same before and after a crash."""
    return f"http://127.0.0.1:{gateway.port}"


@pytest.fixture(scope="module")
def begin() -> Iterator[Begin]:
    with nursery(*SOONER) as begin:
        yield begin


@contextmanager
def chaos(home: Path, begin: Begin, kind: str, replicas: int) -> Iterator[Chaos]:
    dice = random.Random(SEED)
    site, receiver = ArkSite(queued_seconds=0.2, running_seconds=1.0), Receiver(seconds=0.01)
    gate = Gate(site.app, lag=lambda: dice.choice((0.0, 0.0, 0.02, 0.3)))
    with database(kind, home) as rows, served_together(gate, receiver.app) as (url, hooks), ExitStack() as stack:
        config = config_of(ark(url, max_concurrency=32), receiver=hooks)
        gateways = []
        for number in range(replicas):
            (place := home / str(number)).mkdir()
            env = {"DATABASE_URL": rows.url, "STORAGE_URL": f"file://{home}/objects", "API_KEYS": KEY}
            gateway = Gateway(place, config, env={**env, "PORT": str(free_port())}, begin=begin)
            stack.callback(gateway.close)
            gateways.append(gateway.start())
        here = Chaos(gateways, site, gate, receiver, hooks, rows, random.Random(SEED + 1))
        yield here
    for gateway in gateways:
        gateway.check_log()


@pytest.mark.parametrize(("kind", "replicas"), [("sqlite", 1), ("postgresql", 2)])
def test_nothing_is_lost_and_nothing_made_twice(tmp_path: Path, begin: Begin, kind: str, replicas: int) -> None:
    print(f"CHAOS_SEED={SEED}")  # noqa: T201 - shown when it fails
    with chaos(tmp_path, begin, kind, replicas) as here:
        with ThreadPoolExecutor(CALLERS) as callers:
            calling = _rounds(here, callers)
            for call in calling:
                call.result()
        assert not here.odd
        for gateway in here.gateways:
            gateway.ready()
        _until_over(here)
        print(_summary(here))  # noqa: T201
        _check_the_promises(here)
        _check_the_upstream(here)
        _check_the_webhooks(here)
        _check_the_ledger(here)


def _rounds(here: Chaos, callers: ThreadPoolExecutor) -> list["Future[None]"]:
    """Some new tasks, a moment that nobody chose, a kill. Who was killed begins again while the next one dies."""
    calling: list[Future[None]] = []
    for number in range(ROUNDS):
        for _ in range(here.dice.choice((1, 2, 3))):
            calling.append(callers.submit(here.caller, f"film-{len(calling)}", here.dice.randrange(10**9)))
        victim = here.gateways[number % len(here.gateways)]
        if here.dice.random() < 0.85:
            eventually(partial(_ready, victim), 30)  # else: killed while it begins
        _let_some_time_pass(here)
        here.kill(victim)
    return calling


def _let_some_time_pass(here: Chaos) -> None:
    """Any moment will do; but more happens just after the upstream, or a receiver, was asked for something."""
    things: list[Any] = [here.site.creates, here.gate.looks, here.site.downloads, here.receiver.hooks]
    if here.dice.random() < 0.4:
        time.sleep(here.dice.uniform(0.0, 1.0))
        return
    seen = here.dice.choice(things)
    before, over = len(seen), time.monotonic() + 1.0
    while len(seen) == before and time.monotonic() < over:
        time.sleep(0.001)
    time.sleep(here.dice.uniform(0.0, 0.15))


def _ready(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{address(gateway)}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _until_over(here: Chaos) -> None:
    try:
        eventually(lambda: not here.rows.unsettled(), OVER_SECONDS)
    except AssertionError:
        raise AssertionError(f"open or held after {OVER_SECONDS:g} s: {here.rows.unsettled()}") from None


def _check_the_promises(here: Chaos) -> None:
    """Each key has one task, each task its end, and all gateways tell the same of it. Asked again, none makes more."""
    assert {len(ids) for ids in here.promises.values()} == {1}
    ids = {key: next(iter(found)) for key, found in here.promises.items()}
    for gateway in here.gateways:
        listed = {task["metadata"]["key"]: task["id"] for task in all_tasks(gateway.client())}
        assert listed == ids, "the list tells what was promised, and nothing else"
    for key, task_id in ids.items():
        gateway = here.dice.choice(here.gateways)
        with gateway.client() as http:
            assert http.get(f"/api/tasks/{task_id}").json()["status"] in FINAL
        if here.dice.random() < 0.3:
            again = here.ask(gateway, asked(key, webhook_url=f"{here.hooks}/{key}", metadata={"key": key}), key)
            assert (again.status_code, again.json()["id"]) == (200, task_id)


def _check_the_upstream(here: Chaos) -> None:
    """What it was asked for, it was asked for once; what it made is here; and no task failed that had a job."""
    tasks = {task["metadata"]["key"]: task for task in all_tasks(here.gateways[0].client())}
    made = created(here.site)
    assert set(here.gate.came.values()) == {1}, "a create was sent twice"
    assert set(made.values()) == {1}, "a job was made twice"
    ended = {key: task["status"] for key, task in tasks.items()}
    assert ended == {key: "succeeded" if key in made else "failed" for key in tasks}
    failures = {task["error"]["code"] for task in tasks.values() if task["status"] == "failed"}
    assert failures <= {"submit_outcome_unknown"}
    for job in here.site.jobs.values():
        key = job.body["content"][0]["text"]
        assert film_of(here.dice.choice(here.gateways), tasks[key]) == video(job.id), key


def _check_the_webhooks(here: Chaos) -> None:
    """Every end was told at least once, always under one id, rightly signed."""
    ended = {task["id"]: f"task.{task['status']}" for task in all_tasks(here.gateways[0].client())}
    events = here.receiver.verified(secret_of(here.gateways[-1].client()))
    assert sorted((event["data"]["id"], event["type"]) for event in events) == sorted(ended.items())


def _check_the_ledger(here: Chaos) -> None:
    """One row for each job. Missing are at most those of a process that died with them in hand."""
    ends = {row["id"]: row["finished_at"] for row in here.rows("SELECT * FROM tasks WHERE state = 'succeeded'")}
    rows = Counter(row["task_id"] for row in here.rows("SELECT task_id FROM usage WHERE code = 'succeeded'"))
    assert set(rows.values()) == {1}
    assert set(rows) <= set(ends)
    for missing in ends.keys() - rows.keys():
        after = [kill - ends[missing] for kill in here.kills]
        assert any(-0.1 <= seconds <= USAGE_SECONDS for seconds in after), f"{missing} was never accounted for"


def _summary(here: Chaos) -> str:
    """What chance brought about: shown when the test fails, and with `pytest -rP`."""
    tasks = here.rows("SELECT state, polls, attempts, submitted_at, started_at FROM tasks")
    told = Counter(len(here.receiver.of(hook.task)) for hook in here.receiver.hooks)
    found = sum(gateway.log.count("lost job found") for gateway in here.gateways)
    usage = here.rows.one("SELECT count(*) AS n FROM usage WHERE code = 'succeeded'")["n"]
    states = Counter(row["state"] for row in tasks)
    return f"{len(here.kills)} kills, {states}, {found} lost jobs found, {usage} usage rows, attempts to tell {told}"
