"""The accounts of one upstream, handed out as leases.

A lease is one attempt's use of one account. Taking and giving back never wait, so that between looking and taking
nobody else can come: all of the pool runs on one event loop. A caller's fault never counts against an account, and
an account that only struck stays available: where all are bad, the upstream is, and the caller is told when to come
back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self

import structlog

from gateway.accounts.health import GROUP_OF, Obstacle, Standing
from gateway.accounts.refusal import none_possible, refusal
from gateway.accounts.selection import Place, choose, take_turn
from gateway.accounts.status import AccountStatus, status_of
from gateway.accounts.verdict import Exhaust, ModelOff, Nothing, Park, Reject, Strike, spent_nothing, verdict
from gateway.accounts.waiting import Queue, Want
from gateway.errors import AllResting, GatewayError, NotFound, Unavailable
from gateway.types import Account, Kind

log = structlog.get_logger(__name__)


class Lease:
    """One attempt's use of `account`, until released. Usable as `with`: what leaves the block is what is judged."""

    __slots__ = ("_held", "_pool", "account", "group", "model", "number", "standing")

    def __init__(self, pool: Pool, place: Place, model: str, group: Kind, number: int) -> None:
        self._pool = pool
        self._held = True
        self.account, self.standing = place
        self.model = model
        self.group = group
        """The group of kinds that it counts for (`health.GROUP_OF`)."""
        self.number = number

    def release(self, error: GatewayError | None = None) -> None:
        """Give the slot back, and say how it went: no error is a success. Further calls do nothing."""
        self._end(error, well=error is None)

    def abandon(self) -> None:
        """Give the slot back where nothing was learned about the account."""
        self._end(None, well=False)

    def _end(self, error: GatewayError | None, *, well: bool) -> None:
        if self._held:
            self._held = False
            self._pool._ended(self, error, well)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None or isinstance(error, GatewayError):
            self.release(error)
        else:
            self.abandon()


class Pool:
    """The accounts of the upstream `upstream`, and how each stands."""

    def __init__(
        self,
        upstream: str,
        accounts: Sequence[Account],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.upstream = upstream
        self._clock = clock
        self._wall = wall
        self._rng = rng or random.Random()
        self._places = {account.id: Place(account, Standing(account)) for account in accounts}
        self._all = tuple(self._places.values())
        self._turn = 0.0
        self._queue: Queue[Lease] = Queue()

    # --- leases ---

    def take(self, *, model: str, kind: Kind, exclude: Collection[str] = (), only: str | None = None) -> Lease:
        """A lease on the account whose turn it is, at once. `exclude` and `only` hold account ids.

        Raises NoAccount where none is configured, allowed or able until an operator acts, AllResting where time helps.
        """
        now, wall, group = self._clock(), self._wall(), GROUP_OF[kind]
        free = [
            place
            for place in (self._all if only is None else self._among(only))
            if place.standing.free(model, group, now, wall) and place.account.id not in exclude
        ]
        if not free:
            raise self._refusal(Want(model, group, exclude, only))
        return self._start(choose(free, now), model, group, now, wall)

    def calm(self, *, model: str, kind: Kind, exclude: Collection[str] = (), only: str | None = None) -> bool:
        """Whether an account is free for this work whose upstream did not fail lately."""
        now, wall, group = self._clock(), self._wall(), GROUP_OF[kind]
        return any(
            place.standing.calm(now) and place.standing.free(model, group, now, wall)
            for place in (self._all if only is None else self._among(only))
            if place.account.id not in exclude
        )

    async def lease(
        self, *, model: str, kind: Kind, exclude: Collection[str] = (), only: str | None = None, wait: float = 0.0
    ) -> Lease:
        """As `take`, but where an account is merely busy wait for a slot, in turn, up to `wait` seconds.

        Raises as `take`, AllResting when the wait is over, Overloaded where too many wait already.
        """
        try:
            return self.take(model=model, kind=kind, exclude=exclude, only=only)
        except AllResting:
            want = Want(model, GROUP_OF[kind], frozenset(exclude), only)
            if wait <= 0 or not self._hopeful(want):
                raise
        waiter = self._queue.join(want, self.upstream)
        self._queue.wake_in(self._thaw(), self._thawed)
        lease = await self._queue.outcome(waiter, wait, Lease.abandon)
        return lease or self.take(model=model, kind=kind, exclude=exclude, only=only)

    def blame(self, account_id: str, error: GatewayError, *, model: str, kind: Kind) -> None:
        """Judge an account by an error that happened outside of a lease: a poll, a download, a probe."""
        if (place := self._places.get(account_id)) is not None:
            self._judge(place, error, model, GROUP_OF[kind], place.standing.started + 1)
            self._stir(place)

    # --- people ---

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(place.account for place in self._all)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._queue)

    def account(self, account_id: str) -> Account | None:
        """An account by its id or name, whatever its standing: for work that it already holds."""
        try:
            return self._place(account_id).account
        except NotFound:
            return None

    def renewed(self, name: str, account: Account | None = None) -> None:
        """Its credential was renewed, or its fault seen to: it starts afresh, as `account` where one is given."""
        place = self._place(name)
        place.standing.renew()
        if account is not None:
            place.standing.bind(account)
            self._places[place.account.id] = place = Place(account, place.standing)
            self._all = tuple(self._places.values())
        self._stir(place)

    def enable(self, name: str) -> None:
        place = self._place(name)
        place.standing.enabled = True
        self._stir(place)

    def disable(self, name: str) -> None:
        """Give it no new work. What it does already goes on."""
        self._place(name).standing.enabled = False
        self._turn_away()

    def status(self) -> list[AccountStatus]:
        """How each account stands; asking it spends nothing."""
        now, wall = self._clock(), self._wall()
        return [status_of(account, standing, now, wall) for account, standing in self._all]

    def soonest(
        self, *, model: str, kind: Kind, exclude: Collection[str] = (), only: str | None = None
    ) -> float | None:
        """Seconds until an account could take this work: 0 where one could now or is merely busy, None for never."""
        obstacles = self._obstacles(Want(model, GROUP_OF[kind], exclude, only))
        seconds = min((obstacle.seconds if obstacle else 0.0 for obstacle in obstacles), default=float("inf"))
        return None if seconds == float("inf") else seconds

    # --- inside ---

    def _among(self, only: str | None) -> tuple[Place, ...]:
        if only is None:
            return self._all
        place = self._places.get(only)
        return () if place is None else (place,)

    def _place(self, name: str) -> Place:
        place = self._places.get(name) or self._places.get(f"{self.upstream}/{name}")
        if place is None:
            raise NotFound(f"{name!r} is not an account of {self.upstream!r}")
        return place

    def _start(self, place: Place, model: str, group: Kind, now: float, wall: float) -> Lease:
        standing = place.standing
        self._turn = take_turn(standing, self._turn)
        return Lease(self, place, model, group, standing.start(group, now, wall))

    def _ended(self, lease: Lease, error: GatewayError | None, well: bool) -> None:
        standing = lease.standing
        standing.in_flight -= 1
        if well:
            standing.succeed(lease.number)
        elif error is not None:
            if spent_nothing(error):
                standing.refund(lease.group, lease.number)
            self._judge(Place(lease.account, standing), error, lease.model, lease.group, lease.number)
        if self._queue:
            self._stir(self._places[lease.account.id])

    def _judge(self, place: Place, error: GatewayError, model: str, group: Kind, number: int) -> None:
        how = verdict(error)
        if isinstance(how, Nothing):
            return
        place.standing.apply(
            how, model=model, group=group, number=number, now=self._clock(), wall=self._wall(), rng=self._rng
        )
        if not isinstance(how, Strike):
            self._turn_away()
        if isinstance(how, Reject | Park | Exhaust | ModelOff):
            log.warning(
                "account set aside", account=place.account.id, code=error.code, model=model, reason=error.message
            )

    def _obstacles(self, want: Want) -> list[Obstacle | None]:
        now, wall = self._clock(), self._wall()
        return [
            place.standing.obstacle(want.model, want.group, now, wall)
            for place in self._among(want.only)
            if place.account.id not in want.exclude
        ]

    def _refusal(self, want: Want) -> Unavailable:
        obstacles = [obstacle for obstacle in self._obstacles(want) if obstacle is not None]
        if obstacles:
            error = refusal(want.model, obstacles)
        else:
            tried = len(self._among(want.only))
            error = none_possible(want.model, self.upstream, only=want.only, tried=tried)
        error.upstream = self.upstream
        return error

    # --- those who wait ---

    def _stir(self, place: Place) -> None:
        """An account changed: serve who waits for it, and be there when the next rest ends."""
        if self._queue:
            self._offer(place)
            self._queue.wake_in(self._thaw(), self._thawed)

    def _offer(self, place: Place) -> None:
        """Hand the free slots of an account to those who wait, oldest first."""
        account, standing = place
        now, wall = self._clock(), self._wall()

        def fits(want: Want) -> bool:
            return (
                want.only in (None, account.id)
                and account.id not in want.exclude
                and standing.free(want.model, want.group, now, wall)
            )

        while standing.in_flight < standing.slots and (waiter := self._queue.first(fits)) is not None:
            want = waiter.want
            self._queue.serve(waiter, self._start(place, want.model, want.group, now, wall))

    def _turn_away(self) -> None:
        """Tell those who wait for accounts that no slot can make free any more."""
        for waiter in self._queue.everyone():
            if not self._hopeful(waiter.want):
                self._queue.refuse(waiter, self._refusal(waiter.want))

    def _hopeful(self, want: Want) -> bool:
        """Whether a slot is all that is missing."""
        return any(obstacle is None or obstacle.why == "busy" for obstacle in self._obstacles(want))

    def _thaw(self) -> float | None:
        """Seconds until the next rest of any account ends."""
        now = self._clock()
        rests = [max(standing.rest_until, standing.window_until()) - now for _, standing in self._all]
        return min((rest for rest in rests if rest > 0), default=None)

    def _thawed(self) -> None:
        """A rest is over: its account may serve those who wait."""
        for place in self._all:
            self._offer(place)
        self._queue.wake_in(self._thaw(), self._thawed)
