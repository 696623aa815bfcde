"""How far a task is: the upstream's word, else the clock against the estimate; never falling, never done too soon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.tasks.progress import progress, standing
from gateway.tasks.task import Task
from gateway.types import ImageRequest, Job, JobUpdate

TASK = Task(
    id="task_1", owner="ada", kind="t2i", model="m", upstream="up", account="up/a", state="running",
    request=ImageRequest("m", "p"), job=None, progress=0.0, eta=20.0, error=None, usage=None, chat_id=None,
    attempts=(), created_at=90.0, submitted_at=95.0, started_at=100.0, finished_at=None, deadline=999.0,
    next_poll_at=0.0, cancel_requested=False, native="", candidates=(), estimate=20.0, request_id="r",
)  # fmt: skip
JOB = replace(TASK, job=Job("j"))


@pytest.mark.parametrize(
    ("task", "told", "now", "percent", "eta"),
    [
        (JOB, JobUpdate("running"), 110.0, 50.0, 10.0),
        (JOB, JobUpdate("running"), 119.9, 95.0, 0.1),
        (JOB, JobUpdate("running"), 500.0, 95.0, 0.0),
        (JOB, JobUpdate("running", 30.0), 110.0, 30.0, 10.0),
        (JOB, JobUpdate("running", 100.0), 110.0, 99.0, 10.0),
        (JOB, JobUpdate("running", eta_seconds=3.0), 110.0, 50.0, 3.0),
        (replace(JOB, progress=80.0), JobUpdate("running", 10.0), 110.0, 80.0, 10.0),
        (replace(JOB, estimate=None), JobUpdate("running"), 110.0, 0.0, None),
        (replace(JOB, started_at=None), JobUpdate("queued"), 110.0, 0.0, 20.0),
    ],
)
def test_of_a_job(task: Task, told: JobUpdate, now: float, percent: float, eta: float | None) -> None:
    found, left = progress(task, told, now)
    assert (found, left) == (pytest.approx(percent), None if eta is None else pytest.approx(eta))


def test_what_is_made_without_a_job_goes_by_the_clock_whenever_it_is_asked_about() -> None:
    assert standing(TASK, 110.0) == (50.0, 10.0)
    assert standing(TASK, 500.0) == (95.0, 0.0)
    assert standing(replace(TASK, progress=70.0), 110.0) == (70.0, 10.0)


@pytest.mark.parametrize("task", [JOB, replace(TASK, state="queued"), replace(TASK, estimate=None)])
def test_everything_else_stands_as_it_was_written(task: Task) -> None:
    assert standing(task, 110.0) == (task.progress, task.eta)
    done = replace(task, state="succeeded", progress=100.0, eta=0.0)
    assert standing(done, 110.0) == (100.0, 0.0)
