"""Those who wait for a slot: callers in turn, and of each caller the oldest first.

A caller with a thousand requests in line is served as often as one with a single request. Whoever leaves early leaves
nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, Generic, Required, TypedDict, TypeVar

import msgspec

from gateway.accounts.place import Sort
from gateway.accounts.quota import GROUP_OF
from gateway.errors import GatewayError, Overloaded
from gateway.types import Kind

MOST_WAITING: Final = 1_000
"""For one pool, unless the config says otherwise."""

T = TypeVar("T")


class Want(msgspec.Struct, frozen=True):
    """What somebody needs an account for, and which accounts they can take."""

    sort: Sort
    exclude: Collection[str] = ()
    """Ids of accounts."""
    only: str | None = None
    """The id of the one account that will do."""
    owner: str = ""
    """The caller: those who wait take turns."""
    tokens: int = 0
    """What it is expected to use."""
    trusted: bool = False
    """Only accounts that did not fail lately."""


class Asked(TypedDict, total=False):
    """A want, as people say it."""

    model: Required[str]
    kind: Required[Kind]
    exclude: Collection[str]
    only: str | None
    owner: str
    tags: frozenset[str]
    tokens: int
    trusted: bool


def want_of(
    *, model: str, kind: Kind, exclude: Collection[str] = (), tags: frozenset[str] = frozenset(), **rest: Any
) -> Want:
    """What is asked for, as a value."""
    return Want(Sort(model, GROUP_OF[kind], tags), frozenset(exclude), **rest)


@dataclass(slots=True, eq=False)
class Waiter(Generic[T]):
    """One who waits. Its future gets what it waits for, or why that cannot be."""

    want: Want
    ticket: int
    """Lower stands further in front of the same caller's others."""
    alike: Want
    """The same for all who can be served by the same accounts, whoever they are."""
    future: asyncio.Future[T] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Queue(Generic[T]):
    """A bounded line; with no waiters it is false."""

    __slots__ = ("_alarm", "_alike", "_count", "_due", "_most", "_owners", "_tickets")

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._owners: OrderedDict[str, OrderedDict[int, Waiter[T]]] = OrderedDict()
        """By caller, the next to be served first; of each by ticket."""
        self._alike: Counter[Want] = Counter()
        """How many wait for the same."""
        self._count = self._tickets = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When the alarm rings, by the loop's clock."""

    def __len__(self) -> int:
        return self._count

    @property
    def wants(self) -> int:
        """How many different things are waited for."""
        return len(self._alike)

    def bind(self, most: int) -> None:
        """From now on so many may wait; who waits already does."""
        self._most = most

    def join(self, want: Want, upstream: str, ticket: int | None = None) -> Waiter[T]:
        """Stand at the end of the line, or with a ticket from before where one was. Raises Overloaded if it is full."""
        if ticket is None and self._count >= self._most:
            raise Overloaded(f"{self._count} requests already wait for an account of {upstream!r}")
        self._tickets += 1
        alike = Want(want.sort, want.exclude, want.only, "", want.tokens, want.trusted)
        waiter: Waiter[T] = Waiter(want, self._tickets if ticket is None else ticket, alike)
        self._alike[alike] += 1
        line = self._owners.setdefault(want.owner, OrderedDict())
        line[waiter.ticket] = waiter
        if ticket is not None:
            before = list(takewhile(lambda other: other < ticket, line))
            for other in (ticket, *reversed(before)):
                line.move_to_end(other, last=False)
            self._owners.move_to_end(want.owner, last=False)
        self._count += 1
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

    def first(self, missing: Collection[Want] = ()) -> Waiter[T] | None:
        """Of the caller whose turn is longest due, the oldest who does not wait for what is `missing`, nor alike."""
        if len(missing) >= self.wants:
            return None
        return next((waiter for waiter in self.everyone() if waiter.alike not in missing), None)

    def everyone(self) -> Iterator[Waiter[T]]:
        return (waiter for line in self._owners.values() for waiter in line.values())

    def ahead(self, owner: str) -> int:
        """How many are served before one of this caller who joins now, each caller in its turn."""
        mine = len(self._owners.get(owner, ()))
        return mine + sum(min(len(line), mine + 1) for name, line in self._owners.items() if name != owner)

    def serve(self, waiter: Waiter[T], what: T) -> None:
        """Its caller has had a turn, and is the last to have the next."""
        self._leave(waiter)
        if waiter.want.owner in self._owners:
            self._owners.move_to_end(waiter.want.owner)
        waiter.future.set_result(what)

    def refuse(self, waiter: Waiter[T], why: GatewayError) -> None:
        self._leave(waiter)
        waiter.future.set_exception(why)

    def wake_in(self, seconds: float | None, wake: Callable[[], None]) -> None:
        """Call `wake` after `seconds` if anybody waits; None: time alone is no reason. A sooner call stays due."""
        if seconds is None or (waiter := next(self.everyone(), None)) is None:
            return
        loop = waiter.future.get_loop()
        due = loop.time() + seconds
        if self._alarm is not None:
            if self._due <= due:
                return
            self._alarm.cancel()
        self._due, self._alarm = due, loop.call_at(due, self._ring, wake)

    def _ring(self, wake: Callable[[], None]) -> None:
        self._alarm = None
        wake()

    def _leave(self, waiter: Waiter[T]) -> None:
        line = self._owners.get(waiter.want.owner)
        if line is None or line.get(waiter.ticket) is not waiter:
            return
        del line[waiter.ticket]
        self._count -= 1
        self._alike[waiter.alike] -= 1
        if not self._alike[waiter.alike]:
            del self._alike[waiter.alike]
        if not line:
            del self._owners[waiter.want.owner]
        if not self._count and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
