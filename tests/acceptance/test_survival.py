"""kill -9 at every step of a film's life, on both databases; and creates whose answer never comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.acceptance.ark_gateway import (
    DATABASES,
    Call,
    Gate,
    Hold,
    Rows,
    all_tasks,
    ark,
    asked,
    config_of,
    created,
    database,
    film_of,
    finished,
    has_its_film,
    job_of,
    promised,
    secret_of,
)
from tests.acceptance.gateway_process import Begin, Gateway, eventually, running, served_together
from tests.acceptance.nursery import nursery
from tests.emulators.ark import PRO, T2V, ArkSite, Plan, Refusal
from tests.emulators.ark.media import video
from tests.emulators.receiver import Receiver

pytestmark = pytest.mark.timeout(180)

SOONER = (
    "gateway.tasks.submission.SETTLED_SECONDS=8.0",  # looks for a lost job: two minutes, else
    "gateway.tasks.outbox.HOLD_SECONDS=30.0",  # a delivery of a process that died waits so long: a minute, else
)
ONE, TWO, THREE = "ark-key-of-one-0001", "ark-key-of-two-0002", "ark-key-of-three-0003"
LEASE_SECONDS = 15.0
UNKNOWN = "submit_outcome_unknown"


@dataclass
class Scene:
    """A gateway, and what stays when it goes."""

    gateway: Gateway
    site: ArkSite
    gate: Gate
    receiver: Receiver
    hooks: str
    rows: Rows

    def ask(self, prompt: str, **fields: Any) -> Thread:
        """By a client of its own, which may wait in vain."""
        body = asked(prompt, webhook_url=f"{self.hooks}/{prompt.replace(' ', '-')}", **fields)
        asking = Thread(target=_in_vain, args=(self.gateway.client(), body))
        asking.start()
        return asking

    def task(self, prompt: str) -> dict[str, Any]:
        [found] = [task for task in all_tasks(self.gateway.client()) if task["input"]["prompt"] == prompt]
        return found

    def state(self, prompt: str) -> str:
        found = self.rows(f"SELECT state FROM tasks WHERE request LIKE '%\"{prompt}\"%'")
        return str(found[0]["state"]) if found else ""


def _in_vain(client: httpx.Client, body: dict[str, Any]) -> None:
    try:
        client.post("/api/tasks", json=body)
    except httpx.TransportError:
        return


@pytest.fixture(scope="module")
def begin() -> Iterator[Begin]:
    with nursery(*SOONER) as begin:
        yield begin


@contextmanager
def scene(home: Path, begin: Begin, kind: str = "sqlite") -> Iterator[Scene]:
    site, receiver = ArkSite(keys=(ONE, TWO, THREE), running_seconds=0.3), Receiver()
    gate = Gate(site.app)
    with database(kind, home) as rows, served_together(gate, receiver.app) as (url, hooks):
        stanzas = [
            ark(url, key=ONE, max_concurrency=16),
            ark(url, name="narrow", key=TWO, models=(T2V,), max_concurrency=1),
            ark(url, name="watched", key=THREE, models=(PRO,)),
        ]
        config = config_of(*stanzas, receiver=hooks)
        with running(home, config, env={"DATABASE_URL": rows.url}, secrets=(ONE, TWO, THREE), begin=begin) as gateway:
            yield Scene(gateway, site, gate, receiver, hooks, rows)


FATES = {
    "waiting for an account": "succeeded",
    "never arrived": "failed",
    "made but unanswered": "succeeded",
    "looked at": "succeeded",
    "half downloaded": "succeeded",
    "told in vain": "succeeded",
    "told and refused": "succeeded",
}
"""What becomes of a film at each step of whose life the gateway is killed."""


def _stuck(call: Call) -> Hold | None:
    if call.prompt == "never arrived" or (call.method == "GET" and call.key == THREE):
        return "before"
    return "after" if call.prompt == "made but unanswered" else None


def _bring_all_to_their_step(scene: Scene) -> list[Thread]:
    """One film at each step; none can go further."""
    site, gate, receiver = scene.site, scene.gate, scene.receiver
    gate.holds = _stuck
    site.result_seconds = 60.0
    receiver.silent = lambda hook: hook.path == "/told-in-vain"
    receiver.refusing = lambda hook: 503 if hook.path == "/told-and-refused" else 0
    clients = [scene.ask("never arrived", model=T2V)]
    eventually(lambda: gate.holding("never arrived"))
    clients.append(scene.ask("waiting for an account", model=T2V))
    clients.append(scene.ask("made but unanswered"))
    clients.append(scene.ask("looked at", model=PRO))
    eventually(lambda: gate.holding("made but unanswered"))
    site.plan = Plan(result="slow")
    promised(scene.gateway.client(), "half downloaded", webhook_url=f"{scene.hooks}/half-downloaded")
    site.plan = Plan()
    for prompt in ("told in vain", "told and refused"):
        promised(scene.gateway.client(), prompt, webhook_url=f"{scene.hooks}/{prompt.replace(' ', '-')}")
    half = job_of(site, "half downloaded").id
    eventually(lambda: half in site.downloads, 15)
    eventually(lambda: any(call.key == THREE for _, call in gate.held), 15)
    eventually(lambda: {hook.path for hook in receiver.hooks} >= {"/told-in-vain", "/told-and-refused"}, 15)
    eventually(lambda: scene.state("told and refused") == "succeeded")
    return clients


def _let_all_go(scene: Scene) -> None:
    scene.gate.holds = lambda call: None
    scene.site.result_seconds = 0.2
    scene.receiver.silent = lambda hook: False
    scene.receiver.refusing = lambda hook: 0


@pytest.mark.parametrize("kind", DATABASES)
def test_killed_at_any_step_a_film_is_made_once_and_told_of(tmp_path: Path, begin: Begin, kind: str) -> None:
    with scene(tmp_path, begin, kind) as here:
        clients = _bring_all_to_their_step(here)
        steps = {prompt: here.state(prompt) for prompt in FATES}
        assert steps == {
            "waiting for an account": "queued",
            "never arrived": "submitting",
            "made but unanswered": "submitting",
            "looked at": "running",
            "half downloaded": "running",
            "told in vain": "succeeded",
            "told and refused": "succeeded",
        }
        here.gateway.crash()
        for client in clients:
            client.join()
        eventually(lambda: not here.gate.stuck)  # let go before that is known, they would come to pass after all
        _let_all_go(here)
        here.gateway.start()
        _check_every_fate(here)


def _check_every_fate(here: Scene) -> None:
    http = here.gateway.client()
    ended = {prompt: finished(http, here.task(prompt)["id"], 60) for prompt in FATES}
    assert {prompt: task["status"] for prompt, task in ended.items()} == FATES
    assert ended["never arrived"]["error"]["code"] == UNKNOWN
    assert here.gate.came == dict.fromkeys(FATES, 1), "each create was sent once, also the one that was lost"
    assert created(here.site) == dict.fromkeys(FATES.keys() - {"never arrived"}, 1)
    for prompt in FATES.keys() - {"never arrived"}:
        assert has_its_film(here.gateway, ended[prompt], here.site), prompt
    eventually(lambda: all(here.receiver.taken(task["id"]) for task in ended.values()), 45)
    events = here.receiver.verified(secret_of(http))
    assert len(events) == len(FATES), "attempts at the same event have one id"
    assert {event["data"]["id"]: event["type"] for event in events} == {
        task["id"]: f"task.{FATES[prompt]}" for prompt, task in ended.items()
    }
    for prompt in ("told in vain", "told and refused"):
        eventually(partial(_told_twice, here, ended[prompt]["id"]), 45)  # before the crash and after it
    eventually(lambda: not here.rows.unsettled())


def _told_twice(here: Scene, task_id: str) -> bool:
    return len(here.receiver.of(task_id)) >= 2


# --- answers that never come, and nobody dies ---


def test_a_job_whose_create_was_not_answered_is_found_and_not_made_again(tmp_path: Path, begin: Begin) -> None:
    with scene(tmp_path, begin) as here:
        here.site.lose_create_replies = 1
        here.site.fail("list", Refusal("InternalServiceError"))  # the first look for it fails
        http = here.gateway.client()
        ended = finished(http, promised(http, "lost reply"), 40)
        assert ended["status"] == "succeeded"
        assert (created(here.site)["lost reply"], here.gate.came["lost reply"]) == (1, 1)
        assert has_its_film(here.gateway, ended, here.site)


def test_the_job_that_is_found_is_the_tasks_own_among_twins(tmp_path: Path, begin: Begin) -> None:
    """Five of the same, at once, all answers lost: each gets one job, and no two the same."""
    with scene(tmp_path, begin) as here:
        here.site.lose_create_replies = 5
        clients = [here.ask("twins", metadata={"twin": str(number)}) for number in range(5)]
        for client in clients:
            client.join()
        http = here.gateway.client()
        ended = [finished(http, task["id"], 60) for task in all_tasks(http)]
        assert [task["status"] for task in ended] == ["succeeded"] * 5
        assert {film_of(here.gateway, task) for task in ended} == {video(job) for job in here.site.jobs}
        assert (len(here.site.creates), here.gate.came["twins"]) == (5, 5)


def test_a_create_that_was_lost_on_its_way_is_never_sent_again(tmp_path: Path, begin: Begin) -> None:
    with scene(tmp_path, begin) as here:
        http = here.gateway.client()
        other = promised(http, "another")  # one that is there to be mistaken for it
        here.site.drop_creates = 1
        ended = finished(http, promised(http, "dropped"), 40)
        assert (ended["status"], ended["error"]["code"]) == ("failed", UNKNOWN)
        assert finished(http, other)["status"] == "succeeded"
        assert here.gate.came == {"another": 1, "dropped": 1}
        assert created(here.site) == {"another": 1}


def test_an_error_of_the_upstreams_own_says_nothing_about_the_job(tmp_path: Path, begin: Begin) -> None:
    """It answers 500 to a create, and the job is there all the same, or it is not: it is looked for, not sent again."""
    with scene(tmp_path, begin) as here:
        here.site.fail("create", Refusal("InternalServiceError"))
        http = here.gateway.client()
        ended = finished(http, promised(http, "broken"), 40)
        assert (ended["status"], ended["error"]["code"]) == ("failed", UNKNOWN)
        assert here.gate.came["broken"] == 1
