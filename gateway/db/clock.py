"""The time that rows are stamped with and compared by.

On PostgreSQL it is the server's clock, so that replicas agree whatever theirs say; between two looks at it a process
counts on by itself. On SQLite, which one process has at a time, it is that process's clock as it was at the start,
counted on. Either way somebody setting this machine's clock moves no lease, no poll and no deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import ColumnElement, Double, cast, func, literal

_counted: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds that nobody sets; where the system has such a clock, they go on while the machine sleeps."""


class Clock:
    """Unix seconds, steady. `seen` sets it by the database's."""

    def __init__(self) -> None:
        self._offset = time.time() - _counted()

    def now(self) -> float:
        return _counted() + self._offset

    def seen(self, moment: float) -> None:
        """What the database's clock says now."""
        self._offset = moment - _counted()


def server_time() -> ColumnElement[float]:
    """PostgreSQL's clock at the statement, in SQL."""
    return cast(func.extract("epoch", func.clock_timestamp()), Double)


def told_time(moment: float) -> ColumnElement[float]:
    return literal(moment, Double)
