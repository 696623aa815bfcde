"""The accounts of one upstream, handed out as leases.

A lease is one attempt's use of one account. Taking and giving back never wait, so that between looking and taking
nobody else can come: all of a pool runs on one event loop. A caller's fault never counts against an account, and where
all accounts fail the upstream does: then the caller is told when to come back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Unpack

import structlog

from gateway.accounts.breaker import Breaker, BreakerState
from gateway.accounts.budget import Budget
from gateway.accounts.bulletin import Bulletin, of_another
from gateway.accounts.facts import Fact, Journal
from gateway.accounts.health import Level
from gateway.accounts.lease import Lease
from gateway.accounts.line import Line
from gateway.accounts.place import Place
from gateway.accounts.places import Places
from gateway.accounts.quota import GROUP_OF
from gateway.accounts.selection import SELECTIONS
from gateway.accounts.sharing import Sharing
from gateway.accounts.status import AccountStatus, status_of
from gateway.accounts.unwritten import outlives_renewal
from gateway.accounts.verdict import (
    Exhaust,
    ModelOff,
    Nothing,
    Park,
    Reject,
    Strike,
    Unreached,
    Verdict,
    spent_nothing,
    verdict,
)
from gateway.accounts.waiting import MOST_WAITING, Asked, Want, want_of
from gateway.accounts.why import Why
from gateway.config import SelectionName
from gateway.errors import AccountError, GatewayError, NotFound, RefusedByUpstream, Unavailable
from gateway.state.slots import Full, Slots
from gateway.types import Account, Kind

ANYONE: Final[Level] = 2
WELL: Final = Nothing()
NOBODY_FAILING: Final[Level] = 1
TRUSTED: Final[Level] = 0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolRules:
    """How an upstream's accounts are shared."""

    selection: SelectionName = "least_loaded"
    ceiling: int | None = None
    """Leases at once over all its accounts."""
    max_waiting: int = MOST_WAITING
    retry_budget: float = 0.2
    """Retries after faults of the upstream, for each request."""


class Pool:
    """The accounts of the upstream `upstream`, and how each stands."""

    def __init__(
        self,
        upstream: str,
        accounts: Sequence[Account],
        *,
        rules: PoolRules = PoolRules(),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        slots: Slots | None = None,
        journal: Journal | None = None,
    ) -> None:
        """`clock`: monotonic seconds; `wall`: Unix seconds, the same in all processes that share anything."""
        self.upstream = upstream
        self._clock = clock
        self._wall = wall
        self._rng = rng or random.Random()
        self._sharing = Sharing(slots, upstream, self._rng) if slots is not None else None
        self._tell = Bulletin(journal, self._sharing)
        self._places = Places()
        self._turn = 0.0
        self.leased = self.refused = 0
        """Leases, and refusals, since the start."""
        self._in_flight = 0
        self._crowded_until = 0.0
        self.budget = Budget(rules.retry_budget, clock)
        self._why = Why(upstream, self._places, self._full, clock, wall)
        self._line = Line(upstream, self._try, self._undo, self._why.hopeful, self._refusal, self._next_change)
        self.rebind(accounts, rules)

    # --- leases ---

    def take(self, **asked: Unpack[Asked]) -> Lease:
        """A lease on the account whose turn it is, at once, by this process's own count.

        Raises NoAccount where none is configured, allowed or able until an operator acts, AllResting where time helps.
        """
        want = want_of(**asked)
        lease = self._try(want)
        if lease is None:
            raise self._refusal(want)
        return lease

    async def lease(self, *, wait: float = 0.0, **asked: Unpack[Asked]) -> Lease:
        """As `take`, but by what all processes count, and where an account is merely busy after a wait for a slot.

        Callers take turns; the wait ends after `wait` seconds. Raises as `take`, AllResting when the wait is over,
        Overloaded where too many wait already.
        """
        want = want_of(**asked)
        over, ticket = self._clock() + wait, None
        while True:
            lease = self._try(want)
            if lease is None:
                lease, ticket = await self._line.wait(want, over - self._clock(), ticket)
            if lease is None:
                raise self._refusal(want)
            if self._sharing is None or await self._stands(lease):
                return lease

    def could(self, **asked: Unpack[Asked]) -> bool:
        """Whether an account could take this work now, or as soon as it has a slot."""
        return self._why.hopeful(want_of(**asked))

    def blame(self, account_id: str, error: GatewayError, *, model: str, kind: Kind) -> None:
        """Judge an account by an error that happened outside of a lease: a poll, a download, a probe."""
        if (place := self._places.get(account_id)) is not None:
            how = verdict(error)
            self._judge(place, error, how, model, GROUP_OF[kind], place.standing.started + 1)
            self._touch(place)
            self._line.stir(turned_away=not isinstance(how, Nothing | Strike))

    def unreached(self, account_id: str) -> None:
        """A request that spends nothing did not reach the site of an account: if it is set aside, for longer."""
        place = self._places.get(account_id)
        if place is not None and place.breaker.extend(self._clock()):
            self._touch_site(place.breaker)

    # --- people ---

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(place.account for place in self._places)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._line)

    @property
    def counts_tokens(self) -> bool:
        """Whether an account has a limit of tokens, so that it matters what a request is expected to use."""
        return self._counts_tokens

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def shared(self) -> bool | None:
        """Whether limits are shared with other processes now; None where they never are."""
        return None if self._sharing is None else self._sharing.connected

    @property
    def breaker_state(self) -> BreakerState:
        """The best of the sites behind the accounts."""
        now = self._clock()
        states = {breaker.state(now) for breaker in self._places.breakers}
        return "closed" if "closed" in states or not states else "half_open" if "half_open" in states else "open"

    def probed(self, within: float) -> Iterator[Account]:
        """An account of each site that fails and may be tried so soon, once each time: for a request that spends
        nothing, so that no caller's has to find out. Seconds."""
        now = self._clock()
        for place in self._places:
            if place.standing.able and place.breaker.probe(now, within):
                yield place.account

    def account(self, account_id: str) -> Account | None:
        """An account by its id or name, whatever its standing: for work that it already holds."""
        place = self._places.get(account_id) or self._places.get(f"{self.upstream}/{account_id}")
        return place.account if place is not None else None

    def renewed(self, name: str) -> None:
        """Its fault was seen to: it starts afresh. (One with another credential does by `rebind`.)"""
        place = self._place(name)
        place.standing.renew()
        self._tell.renewed(place.account.id)
        self._touch(place)
        self._line.stir()

    def enable(self, name: str) -> None:
        self._switch(self._place(name), on=True)

    def disable(self, name: str) -> None:
        """Give it no new work. What it does already goes on."""
        self._switch(self._place(name), on=False)

    def status(self) -> list[AccountStatus]:
        """How each account stands; asking it spends nothing."""
        now, wall = self._clock(), self._wall()
        return [status_of(place, now, wall) for place in self._places]

    def soonest(self, **asked: Unpack[Asked]) -> float | None:
        """Seconds until an account could take this work: 0 where one could now or is merely busy, None for never."""
        return self._why.soonest(want_of(**asked))

    # --- what others say ---

    def rebind(self, accounts: Sequence[Account], rules: PoolRules) -> None:
        """These are the accounts from now on. Those that stay keep their standing and what they do.

        Those left out get no new work; what they do goes on. One with another credential starts afresh.
        """
        self._rules = rules
        self._counts_tokens = any(account.tokens_per_minute for account in accounts)
        self._selection = SELECTIONS[rules.selection]
        self.budget.share = rules.retry_budget
        self._line.bind(rules.max_waiting)
        for place in self._places.bind(accounts, self._selection.rank):
            place.standing.renew()
            self._tell.renewed(place.account.id)
        self._line.stir(turned_away=True)

    def learn(self, account_id: str, facts: Iterable[Fact]) -> None:
        """All that is known against an account, by any process, in place of what was known here."""
        if (place := self._places.get(account_id)) is not None:
            facts = tuple(facts)
            if of_another(place.account, facts):  # it was changed while nobody looked
                place.standing.renew()
                self._tell.renewed(account_id)
                facts = tuple(fact for fact in facts if outlives_renewal(fact.name))
            place.standing.learn(facts, enabled=place.account.enabled, now=self._clock(), wall=self._wall())
            self._places.restricted(place)
            self._touch(place)
            self._line.stir(turned_away=True)

    def ended(self, lease: Lease, error: GatewayError | None, *, well: bool) -> None:
        """A lease came back. Leases call this, nobody else."""
        place, standing, now = lease.place, lease.standing, self._clock()
        standing.in_flight -= 1
        self._in_flight -= 1
        refund = error is not None and spent_nothing(error)
        if refund and standing.quota.refund(lease.want.sort.group, lease.quota_ends):
            self._tell.used(lease, -1)
        if standing.rates is not None:
            standing.rates.settle(lease.number, lease.tokens)
        if self._sharing is not None:
            self._sharing.give(lease, refund=refund)
        how: Verdict = WELL
        if well:
            standing.succeed(lease.number, now, proved=lease.proved)
        elif error is not None:
            how = verdict(error)
            self._judge(place, error, how, lease.want.sort.model, lease.want.sort.group, lease.number)
        changed = False if well and lease.breaker.calm else self._site(lease, error, how, now, well=well)
        if not changed or lease.breaker is not place.breaker:
            self._places.touch(place, now, self._wall())
        self._line.slot_back(now)
        if self._line:
            worse = changed or not isinstance(how, Nothing | Strike)
            self._line.stir(turned_away=worse or self._why.outlasts(place, lease.want.sort))

    def proved(self, lease: Lease) -> None:
        """An answer began: others need not wait for its end to try the same. Leases call this, nobody else."""
        more = lease.standing.prove(lease.number)
        if not lease.breaker.calm and lease.breaker.worked():
            self._touch_site(lease.breaker)
        elif more:
            self._touch(lease.place)
        else:
            return
        self._line.stir()

    def paced(self, lease: Lease, seconds: float) -> None:
        """An answer said that its account has nothing left for so long. Leases call this, nobody else."""
        lease.standing.pace(seconds, self._clock())
        if self._sharing is not None:
            self._sharing.pace(lease.account.id, self._wall() + seconds)
        self._touch(lease.place)

    # --- choosing ---

    def _try(self, want: Want) -> Lease | None:
        """A lease by this process's own count, or None."""
        if self._rules.ceiling is not None and self._full() is not None:
            return None
        now, wall = self._clock(), self._wall()
        place = self._choose(want, now, wall, TRUSTED if want.trusted else NOBODY_FAILING)
        if place is None and not want.trusted and not self._why.better(want):
            place = self._choose(want, now, wall, ANYONE)
        return None if place is None else self._start(place, want, now, wall)

    def _choose(self, want: Want, now: float, wall: float, level: Level) -> Place | None:
        ready = self._places.ready(want.sort, now, wall)
        sort, exclude, tokens = want.sort, want.exclude, want.tokens

        def fits(place: Place) -> bool:
            return (
                place.free(sort, now, wall, tokens)
                and place.account.id not in exclude
                and (place.standing.level(now) <= level or want.only is not None)
            )

        if want.only is not None:
            only = self._places.get(want.only)
            return only if only is not None and fits(only) else None
        return self._selection.pick(ready, fits, self._rng, self._places.ring, want.owner)

    def _start(self, place: Place, want: Want, now: float, wall: float) -> Lease:
        standing = place.standing
        turn = max(standing.turn, self._turn)  # who was away is not flooded with the turns it missed
        standing.turn, self._turn = turn + self._selection.stride(standing), turn
        self.leased += 1
        self._in_flight += 1
        number = standing.start(want.sort.group, now, wall, want.tokens)
        lease = Lease(self, place, want, number, self.leased, now)
        if standing.quota.most:
            self._tell.used(lease, 1)
        if place.breaker.until and place.breaker.start(self.leased):
            self._touch_site(place.breaker)
        else:
            self._places.touch(place, now, wall)
        return lease

    async def _stands(self, lease: Lease) -> bool:
        """Whether all processes together have room for a lease; else it never was."""
        if self._sharing is None:
            return True
        elsewhere = lease.standing.elsewhere
        try:
            full = await self._sharing.confirm(lease, self._rules.ceiling, self._wall())
        except BaseException:
            self._undo(lease)
            raise
        if full is not None:
            self._undo(lease, full)
        elif lease.standing.elsewhere != elsewhere:
            self._touch(lease.place)
        return full is None

    def _undo(self, lease: Lease, full: Full | None = None) -> None:
        """A lease that nobody used: it never was. `full`: why it could not be."""
        if not lease.void():
            return
        self._in_flight -= 1
        lease.standing.undo(lease.want.sort.group, lease.number, lease.began, lease.quota_ends)
        self._tell.used(lease, -1)
        if full is not None and self._sharing is not None:
            self._sharing.learn(lease, full, self._clock(), self._wall())
            if full.why == "ceiling":
                self._crowded_until = lease.standing.crowded_until
        if lease.breaker.end(lease.serial):
            self._touch_site(lease.breaker)
        self._touch(lease.place)
        self._line.stir(turned_away=full is not None and full.why not in ("busy", "ceiling"))

    def _full(self) -> float | None:
        """Seconds until the upstream as a whole takes more, 0 where a slot must come back; None where it does now."""
        ceiling = self._rules.ceiling
        if ceiling is None:
            return None
        wait = self._crowded_until - self._clock()
        return wait if wait > 0 else 0.0 if self._in_flight >= ceiling else None

    # --- judging ---

    def _judge(self, place: Place, error: GatewayError, how: Verdict, model: str, group: Kind, number: int) -> None:
        if isinstance(how, Nothing) or self._places.get(place.account.id) is not place:  # nor of one that was left out
            return
        facts = place.standing.apply(
            how, model=model, group=group, number=number, now=self._clock(), wall=self._wall(), rng=self._rng
        )
        self._tell.note(place.account, facts)
        if isinstance(how, ModelOff):
            self._places.restricted(place)
        if isinstance(how, Reject | Park | Exhaust | ModelOff):
            log.warning(
                "account set aside", account=place.account.id, code=error.code, model=model, reason=error.message
            )

    def _site(self, lease: Lease, error: GatewayError | None, how: Verdict, now: float, *, well: bool) -> bool:
        """What a lease showed of the site that it went to. Whether all accounts there were filed anew for it."""
        breaker = lease.breaker
        changed = breaker.end(lease.serial)
        if well or isinstance(error, AccountError | RefusedByUpstream):
            changed |= breaker.worked()
        elif isinstance(how, Strike | Unreached):
            others = partial(self._places.trusted, breaker, lease.want.sort, now, self._wall())
            opened = breaker.failed(now, reached=isinstance(how, Strike), others=others)
            if opened:
                log.warning(
                    "upstream set aside", upstream=self.upstream, seconds=breaker.until - now, code=error and error.code
                )
            changed |= opened
        if changed:
            self._touch_site(breaker)
        return changed

    # --- those who wait ---

    def _refusal(self, want: Want) -> Unavailable:
        self.refused += 1
        ahead = self._line.ahead(want.owner)
        return self._why.refusal(want, ahead, self._line.eta(ahead))

    def _next_change(self) -> float | None:
        """Seconds until time next changes something for those who wait."""
        now = self._clock()
        moments = self._places.next_changes(now, self._wall())
        if self._crowded_until > now:
            moments = [*moments, self._crowded_until]
        return max(0.0, min(moments) - now) if moments else None

    # --- records ---

    def _place(self, name: str) -> Place:
        place = self._places.get(name) or self._places.get(f"{self.upstream}/{name}")
        if place is None:
            raise NotFound(f"{name!r} is not an account of {self.upstream!r}")
        return place

    def _touch(self, place: Place) -> None:
        self._places.touch(place, self._clock(), self._wall())

    def _touch_site(self, breaker: Breaker) -> None:
        self._places.touch_site(breaker, self._clock(), self._wall())

    def _switch(self, place: Place, *, on: bool) -> None:
        place.standing.enabled = on
        self._tell.switched(place.account, on=on)
        self._touch(place)
        self._line.stir(turned_away=not on)
