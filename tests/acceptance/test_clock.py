"""Somebody sets the machine's clock an hour ahead and then two hours back, while films are made and webhooks wait.

Not the machine's: `wall_clock.c`, preloaded, shows the gateway the time as if. libfaketime does the same, but takes a
lock whenever a thread asks for the time, and then a busy gateway stands still for seconds on end.
"""

import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.ark_gateway import (
    DATABASES,
    Gate,
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
    secret_of,
    told,
)
from tests.acceptance.gateway_process import Gateway, eventually, running, served_together
from tests.emulators.ark import ArkSite, Plan
from tests.emulators.receiver import Receiver

HOUR = 3600
SOURCE = Path(__file__).with_name("wall_clock.c")
SLACK = 3.0
"""What a busy machine takes for what should take no time."""

if shutil.which("cc") is None and not os.environ.get("CI"):
    pytest.skip("no C compiler: install one to test with a clock that is set", allow_module_level=True)


@dataclass
class Clock:
    """What the gateway takes for the time."""

    library: Path
    file: Path
    ahead: int = 0

    def set(self, ahead: int) -> None:
        """So many seconds from the true one, from now on."""
        self.ahead = ahead
        with self.file.open("r+b" if self.file.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=q", ahead))

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "WALL_CLOCK": str(self.file)}

    def arrive(self, http: httpx.Client) -> None:
        """Wait until the gateway goes by it: nothing here would be proven else."""

        def there() -> bool:
            date: datetime = parsedate_to_datetime(http.get("/healthz").headers["date"])
            return abs(date.timestamp() - time.time() - self.ahead) < 5

        eventually(there)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    library = tmp_path / "wall_clock.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    clock = Clock(library, tmp_path / "clock")
    clock.set(0)
    return clock


def test_only_the_wall_clock_is_moved(clock: Clock) -> None:
    clock.set(HOUR)
    script = "import time; print(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, env={**os.environ, **clock.env}, capture_output=True, check=True).stdout
    wall, monotonic, boot = map(float, said.split())
    assert abs(wall - time.time() - HOUR) < 30
    assert abs(monotonic - time.monotonic()) < 30
    assert abs(boot - time.clock_gettime(time.CLOCK_BOOTTIME)) < 30


class Waiting(threading.Thread):
    """A client that waits for its film."""

    def __init__(self, gateway: Gateway, prompt: str) -> None:
        super().__init__(name=f"waiting for {prompt}")
        self._gateway, self._prompt = gateway, prompt
        self.answer: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        client = self._gateway.client(timeout=60)
        self.answer = client.post("/api/tasks", json=asked(self._prompt), headers={"prefer": "wait=50"})

    def end(self) -> dict[str, Any]:
        self.join(60)
        assert self.answer is not None
        assert self.answer.status_code == 200, self.answer.text
        found: dict[str, Any] = self.answer.json()
        return found


@pytest.mark.parametrize("kind", DATABASES)
def test_a_clock_that_is_set_moves_nothing(tmp_path: Path, clock: Clock, kind: str) -> None:
    site, receiver = ArkSite(running_seconds=9.0), Receiver()
    gate = Gate(site.app)
    receiver.refusing = lambda hook: 0 if len(receiver.hooks) > 1 else 503
    with database(kind, tmp_path) as rows, served_together(gate, receiver.app) as (url, hooks):
        config = config_of(ark(url, max_concurrency=16), receiver=hooks)
        with running(tmp_path, config, env={"DATABASE_URL": rows.url, **clock.env}) as gateway:
            http = gateway.client()
            waiting = Waiting(gateway, "waited for")
            eventually(lambda: site.creates)
            long = promised(http, "long", key="once")
            site.plan = Plan(running=0.5)
            short = promised(http, "short", webhook_url=f"{hooks}/short")
            site.plan = Plan()

            eventually(lambda: receiver.hooks, 15)  # and is refused: it waits for five seconds
            clock.set(HOUR)
            clock.arrive(http)
            site.lose_create_replies = 1
            lost = promised(http, "lost")
            assert promised(http, "long", key="once") == long
            assert told(http, long)["status"] == "running"
            clock.set(-HOUR)
            clock.arrive(http)
            assert promised(http, "long", key="once") == long
            late = promised(http, "late")

            ended = {task_id: finished(http, task_id, 40) for task_id in (long, short, lost, late)}
            ended[waiting.end()["id"]] = waiting.end()
            assert {task["status"] for task in ended.values()} == {"succeeded"}
            assert len(ended) == len(all_tasks(http)) == len(site.creates) == 5
            assert set(created(site).values()) == {1}
            assert all(has_its_film(gateway, task, site) for task in ended.values())
            _check_the_schedule(site, gate)
            _check_the_webhook(receiver, short, secret_of(http))
            _check_the_stamps(site, list(ended.values()))
            assert not rows.unsettled()


def _check_the_schedule(site: ArkSite, gate: Gate) -> None:
    """Each job was looked at every five seconds or a little later, whatever the clock said."""
    for prompt in ("waited for", "long", "late"):
        job = job_of(site, prompt).id
        moments = sorted(look.begun for look in gate.looks if job in look.jobs)
        assert len(moments) >= 2
        for one, other in pairwise(moments):
            assert 4.0 < other - one < 6.6 + SLACK, f"{prompt} was looked at after {other - one:.1f} s"


def _check_the_webhook(receiver: Receiver, task_id: str, secret: str) -> None:
    eventually(lambda: receiver.taken(task_id))
    first, second = receiver.of(task_id)
    ahead = [int(hook.headers["webhook-timestamp"]) - hook.at for hook in (first, second)]
    assert abs(ahead[0]) < 5, "told by the true time"
    assert abs(ahead[1] + HOUR) < 5, "and told again when it was an hour earlier"
    assert 4.0 < second.at - first.at < 5.5 + SLACK
    assert [event["type"] for event in receiver.verified(secret, whenever=True)] == ["task.succeeded"]


def _check_the_stamps(site: ArkSite, tasks: list[dict[str, Any]]) -> None:
    """Rows tell when things happened, in one order, all by the clock as it was at the start."""
    for task in tasks:
        job = job_of(site, task["input"]["prompt"])
        assert abs(task["created_at"] - job.created_at) < 10
        assert task["created_at"] <= task["started_at"] <= task["finished_at"]
        assert task["finished_at"] - task["created_at"] < 40
        assert task["deadline"] - task["created_at"] == 1800
