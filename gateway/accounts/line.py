"""How requests wait for a slot of a pool: served the moment one is free, refused the moment none can come any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.accounts.lease import Lease
from gateway.accounts.waiting import Queue, Waiter, Want
from gateway.errors import GatewayError

SMOOTHING: Final = 0.1
"""How much the latest of the times between slots counts in their mean."""


class Line:
    """Those who wait at one pool. `take` gives a lease if one is to be had, `undo` takes back one that was not used,
    `hopeful` tells whether a slot could help, `refusal` why it cannot, `next_change` the seconds until time next
    changes something.
    """

    def __init__(
        self,
        upstream: str,
        take: Callable[[Want], Lease | None],
        undo: Callable[[Lease], None],
        hopeful: Callable[[Want], bool],
        refusal: Callable[[Want], GatewayError],
        next_change: Callable[[], float | None],
    ) -> None:
        self._upstream = upstream
        self._take = take
        self._undo = undo
        self._hopeful = hopeful
        self._refusal = refusal
        self._next_change = next_change
        self._queue: Queue[Lease] = Queue()
        self._last_back: float | None = None
        self._between: float | None = None
        """Mean seconds between two slots that come back."""

    def __len__(self) -> int:
        return len(self._queue)

    def bind(self, most: int) -> None:
        """From now on so many may wait."""
        self._queue.bind(most)

    async def wait(self, want: Want, seconds: float, ticket: int | None) -> tuple[Lease | None, int | None]:
        """A lease as soon as one is to be had; None where none can be, or when the time is over.

        With the ticket that comes back, who gives the lease up at once stands where it stood before. Raises Overloaded.
        """
        if seconds <= 0 or not self._hopeful(want):
            return None, ticket
        waiter = self._queue.join(want, self._upstream, ticket)
        self._set_alarm()
        return await self._queue.outcome(waiter, seconds, self._undo), waiter.ticket

    def stir(self, *, turned_away: bool = False) -> None:
        """Something changed: serve who can be. `turned_away`: for the worse, so refuse who no longer can be."""
        if not self._queue:
            return
        self._serve()
        if turned_away:
            self._refuse()
        self._set_alarm()

    def slot_back(self, now: float) -> None:
        """A slot came back at the pool. Monotonic seconds."""
        if not self._queue:
            self._last_back = None  # a time in which nobody waited tells nothing
            return
        if self._last_back is not None:
            since = now - self._last_back
            self._between = since if self._between is None else self._between + SMOOTHING * (since - self._between)
        self._last_back = now

    def ahead(self, owner: str) -> int:
        """How many are served before one more of this caller."""
        return self._queue.ahead(owner)

    def eta(self, ahead: int) -> float | None:
        """Seconds until a slot is free for who has so many before them; None where nothing was seen yet."""
        return None if self._between is None else (ahead + 1) * self._between

    def _serve(self) -> None:
        """Leases for those who wait, in turn; who wants what was not to be had is not tried again now."""
        missing: set[Want] = set()
        while (waiter := self._queue.first(missing)) is not None:
            lease = self._take(waiter.want)
            if lease is None:
                missing.add(waiter.alike)
            else:
                self._queue.serve(waiter, lease)

    def _refuse(self) -> None:
        hopes: dict[Want, bool] = {}
        hopeless: list[Waiter[Lease]] = []
        for waiter in self._queue.everyone():
            if waiter.alike not in hopes:
                hopes[waiter.alike] = self._hopeful(waiter.want)
            if not hopes[waiter.alike]:
                hopeless.append(waiter)
        for waiter in hopeless:
            self._queue.refuse(waiter, self._refusal(waiter.want))

    def _set_alarm(self) -> None:
        self._queue.wake_in(self._next_change(), self.stir)
