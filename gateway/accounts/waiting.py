"""Those who wait for a slot, oldest first. Whoever leaves early leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.errors import GatewayError, Overloaded
from gateway.types import Kind

MOST_WAITING: Final = 1_000
"""For one pool."""

T = TypeVar("T")


class Want(NamedTuple):
    """What somebody needs an account for, and which accounts they can take."""

    model: str
    group: Kind
    exclude: Collection[str]
    only: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Waiter(Generic[T]):
    """One who waits. Its future gets what it waits for, or why that cannot be."""

    want: Want
    future: asyncio.Future[T]


class Queue(Generic[T]):
    """A bounded line; with no waiters it is false."""

    __slots__ = ("_alarm", "_line")

    def __init__(self) -> None:
        self._line: OrderedDict[Waiter[T], None] = OrderedDict()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._line)

    def join(self, want: Want, upstream: str) -> Waiter[T]:
        """Stand at the end of the line. Raises Overloaded where it is full."""
        if len(self._line) >= MOST_WAITING:
            raise Overloaded(f"{MOST_WAITING} requests already wait for an account of {upstream!r}")
        waiter: Waiter[T] = Waiter(want, asyncio.get_running_loop().create_future())
        self._line[waiter] = None
        return waiter

    async def outcome(self, waiter: Waiter[T], seconds: float, give_back: Callable[[T], None]) -> T | None:
        """What the waiter was served within `seconds`, else None; raises what it was refused with.

        A waiter that is cancelled in the very moment it is served hands what it got to `give_back`.
        """
        future = waiter.future
        try:
            await asyncio.wait((future,), timeout=seconds)
        except asyncio.CancelledError:
            self._leave(waiter)
            if future.done() and future.exception() is None:
                give_back(future.result())
            raise
        self._leave(waiter)
        return future.result() if future.done() else None

    def first(self, fits: Callable[[Want], bool]) -> Waiter[T] | None:
        """The oldest whose want fits."""
        return next((waiter for waiter in self._line if fits(waiter.want)), None)

    def everyone(self) -> tuple[Waiter[T], ...]:
        return tuple(self._line)

    def serve(self, waiter: Waiter[T], what: T) -> None:
        self._leave(waiter)
        waiter.future.set_result(what)

    def refuse(self, waiter: Waiter[T], why: GatewayError) -> None:
        self._leave(waiter)
        waiter.future.set_exception(why)

    def wake_in(self, seconds: float | None, wake: Callable[[], None]) -> None:
        """Call `wake` after `seconds` if anybody waits, in place of any earlier such wish; None: not at all."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if seconds is not None and self._line:
            self._alarm = next(iter(self._line)).future.get_loop().call_later(seconds, wake)

    def _leave(self, waiter: Waiter[T]) -> None:
        self._line.pop(waiter, None)
        if not self._line and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
