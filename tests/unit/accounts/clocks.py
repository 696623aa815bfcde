"""Time that tests move by hand, and a loop on which waiting takes none."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from gateway.types import Account


class Clocks:
    """Monotonic and wall time that go together unless the wall clock is stepped."""

    def __init__(self, now: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self.now = now
        self.unix = wall

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.unix += seconds

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.unix


class _Jumping(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the loop's time there."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        self.skipped += max(0.0, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever there is nothing else to do."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped


def account(name: str = "a", **fields: Any) -> Account:
    return Account(id=f"up/{name}", name=name, upstream="up", **fields)
