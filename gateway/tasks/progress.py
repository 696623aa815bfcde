"""How far a job is, as its caller is told: pure."""

from __future__ import annotations

from gateway.tasks.task import Task
from gateway.types import JobUpdate


def standing(task: Task, now: float) -> tuple[float, float | None]:
    """Percent and seconds to go as they are at this moment: what is made without a job goes by the clock as well."""
    if task.state != "running" or task.job is not None or not task.estimate:
        return task.progress, task.eta
    return progress(task, JobUpdate("running"), now)


def progress(task: Task, update: JobUpdate, now: float) -> tuple[float, float | None]:
    """Percent and seconds to go: the upstream's word, else by the estimate; never falling, never done too soon."""
    elapsed = now - (task.started_at or now)
    guess = min(95.0, 100.0 * elapsed / task.estimate) if task.estimate else 0.0
    percent = max(task.progress, min(99.0, guess if update.progress is None else update.progress))
    if update.eta_seconds is not None:
        return percent, update.eta_seconds
    return percent, max(0.0, task.estimate - elapsed) if task.estimate else None
