"""A ledger of what went on at some accounts, kept by one who sees leases, errors and operators, not a pool's own books.

It says what must not be (`Broken`), and what is known for certain: when an account could serve, and that it could now.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway import errors
from gateway.accounts.facts import Fact
from gateway.accounts.lease import Lease
from gateway.accounts.waiting import Want
from gateway.errors import Fault, GatewayError
from gateway.types import Account

DAY = 86_400.0
VIDEOS = ("t2v", "i2v", "flf2v", "ref2v")
SAYS_NOTHING = (errors.AdapterContract, errors.GenerationFailed, errors.TaskExpired, errors.JobLost)
"""Errors of upstreams that are no sign of trouble with them."""
ROUNDING = 2e-3
"""Seconds. A pool looks a millisecond after the moment, so that no rounding makes it look twice."""
ANY_OPENING = 62.0
"""Seconds for which a site that fails may be set aside."""
ANY_EJECTION = 302.0


class Broken(AssertionError):
    """Something happened that must not."""


def quota_day(account: Account, wall: float) -> float:
    """When the quota day of `wall` ends; only for zones that keep to UTC."""
    shift = account.quota_reset.hour * 3_600
    return ((wall - shift) // DAY + 1) * DAY + shift


@dataclass(eq=False)
class Site:
    unreached: int = 0
    failures: int = 0
    failed: bool = False
    """Often enough since it worked last."""
    latest: float = -math.inf
    """When it failed last."""
    out: int = 0

    def doubtful(self, now: float) -> bool:
        """Whether a pool may keep away from it: a while, or as long as somebody tries."""
        return self.failed and (self.out > 0 or now < self.latest + ANY_OPENING)


@dataclass(eq=False)
class Booked:
    """One lease."""

    lease: Lease
    pool: object
    at: float
    wall_day: float
    tokens: int
    epoch: int
    site: Site


@dataclass(eq=False)
class Book:
    """What is known of one account."""

    account: Account
    site: Site
    there: bool = True
    enabled: bool = True
    epoch: int = 0
    """Errors of leases from before a renewal say nothing any more."""
    out: list[Booked] = field(default_factory=list)
    starts: deque[Booked] = field(default_factory=deque)
    """Of the last minute and more."""
    latest: float = -math.inf
    used: dict[tuple[str, float], int] = field(default_factory=lambda: defaultdict(int))
    ever: dict[tuple[str, float], int] = field(default_factory=lambda: defaultdict(int))
    """The same, whether or not it was away in between."""
    rest: float = 0.0
    pace: float = 0.0
    exhausted: dict[str, float] = field(default_factory=dict)
    barred: set[object] = field(default_factory=set)
    """Pools that know of it."""
    off: set[tuple[object, str]] = field(default_factory=set)
    """The same, and the model."""
    strikes: int = 0
    ejected: float = 0.0
    """Until then at least it is to serve only where nobody better could."""
    worse: float = -math.inf
    """When something was last said against it."""
    limited: bool = False
    """Whether it was ever told to do less, so that it may have a single slot."""
    goods: int | None = None
    """Successes since its last rest; None: it had none."""
    unknown_rest: bool = False
    """Whether it rests for a time of the pool's own choice."""

    def renew(self) -> None:
        self.epoch += 1
        self.rest = self.pace = 0.0
        self.exhausted, self.off, self.barred = {}, set(), set()
        self.limited = self.unknown_rest = False
        self.strikes, self.ejected, self.goods = 0, 0.0, None

    def forget(self) -> None:
        self.renew()
        self.starts.clear()
        self.used.clear()
        self.latest = -math.inf

    def count(self, booked: Booked, leases: int) -> None:
        day = booked.lease.want.sort.group, booked.wall_day
        self.ever[day] += leases
        self.used[day] += leases

    # --- when it could ---

    def possible(self, want: Want, pool: object) -> bool:
        """Whether it could ever, without an operator, as far as this pool knows."""
        return (
            self.there
            and self.enabled
            and pool not in self.barred
            and (pool, want.sort.model) not in self.off
            and want.sort.model not in self.account.not_models
            and want.sort.tags <= self.account.tags
            and self.account.id not in want.exclude
            and want.only in (None, self.account.id)
        )

    def soonest(self, want: Want, now: float, wall: float, pool: object) -> float:
        """Seconds until nothing but a slot can be missing; infinite where an operator has to act."""
        if not self.possible(want, pool):
            return math.inf
        group = want.sort.group
        moment = max(self.rest, self.pace, self._rates(now, want.tokens))
        quota = self.exhausted.get(group, 0.0)
        most = self._quota(group)
        if most is not None and self.used[group, quota_day(self.account, wall)] >= most:
            quota = max(quota, quota_day(self.account, wall))
        return max(0.0, moment - now, quota - wall)

    def _quota(self, group: str) -> int | None:
        kinds = VIDEOS if group == "t2v" else ("t2i", "i2i") if group == "t2i" else (group,)
        return min((self.account.daily_quota[kind] for kind in kinds if kind in self.account.daily_quota), default=None)

    def _rates(self, now: float, tokens: int) -> float:
        account, moment = self.account, self.latest + self.account.min_interval
        last = [one for one in self.starts if one.at + 60.0 > now]
        if account.requests_per_minute and len(last) >= account.requests_per_minute:
            moment = max(moment, last[-account.requests_per_minute].at + 60.0)
        if account.tokens_per_minute:
            over = sum(one.tokens for one in last) + max(1, min(tokens, account.tokens_per_minute))
            over -= account.tokens_per_minute
            for one in last:
                if over <= 0:
                    break
                over -= one.tokens
                moment = max(moment, one.at + 60.0)
        return moment

    def better(self, want: Want, now: float, wall: float, pool: object) -> bool:
        """Whether this pool has no reason to keep it from this work, but for its slots."""
        return self.strikes == 0 and not self.site.doubtful(now) and self.soonest(want, now, wall, pool) <= 0.0

    def certainly_free(self, want: Want, now: float, wall: float, pool: object) -> bool:
        """The same, and it has a slot."""
        slots = 1 if self.limited else self.account.max_concurrency
        return len(self.out) < slots and self.better(want, now, wall, pool)


class Ledger:
    """`exact`: every count is of one pool, so that nothing is known late. Slack is seconds."""

    def __init__(
        self,
        accounts: Iterable[Account],
        clock: Callable[[], float],
        wall: Callable[[], float],
        *,
        ceiling: int | None = None,
        pools: int = 1,
        slack: float = 0.0,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self.ceiling = ceiling
        self.pools = pools
        self.slack = slack
        self.exact = pools == 1
        self.sites: dict[tuple[str, str | None], Site] = {}
        self.books = {account.id: self._book(account) for account in accounts}
        self.events: deque[str] = deque(maxlen=30)
        """The last until something broke."""
        self.broken = False
        self.served = 0
        self.apart = False
        """Whether processes count by themselves now, or did just now."""
        self.journal: dict[tuple[str, str, float], int] = defaultdict(int)

    def _book(self, account: Account) -> Book:
        return Book(account, self._site(account), enabled=account.enabled)

    def _site(self, account: Account) -> Site:
        return self.sites.setdefault((account.base_url, account.proxy), Site())

    def say(self, what: str) -> None:
        if not self.broken:
            self.events.append(f"{self._clock():10.3f} {what}")

    def check(self, right: bool, what: str) -> None:
        if not right:
            self.say(f"BROKEN: {what}")
            self.broken = True
            raise Broken(what)

    # --- leases ---

    def began(self, pool: object, lease: Lease) -> None:
        """A lease is there; from now on it counts."""
        now, wall, want = self._clock(), self._wall(), lease.want
        id_ = lease.account.id
        book = self.books[id_]
        account, out = book.account, [one for one in book.out if self.exact or one.pool is pool or not self.apart]
        self.say(f"{id_} begins for {want.owner}: {want.sort.model} {want.sort.group}, {len(book.out)} out")
        self.check(not self.exact or (lease.held and lease.place.account is account), f"{id_} is not what it was")
        self.check(len(out) < account.max_concurrency, f"{id_}: more at once than {account.max_concurrency}")
        if self.ceiling is not None and not self.apart:
            everything = sum(len(each.out) for each in self.books.values())
            self.check(everything < self.ceiling, f"more at once than the ceiling of {self.ceiling}")
        if self.exact:
            self.check(book.possible(want, pool), f"{id_} may not do that, or must not be used")
            soonest = book.soonest(want, now, wall, pool)
            self.check(soonest <= 1e-6, f"{id_} is used {soonest} s early")
            slow = book.goods is not None and len(out) >= 2**book.goods
            self.check(not slow, f"{id_} has {len(out)} out after {book.goods} successes since its rest")
            if book.ejected > now and want.only is None:
                better = [other.account.id for other in self.books.values() if other.better(want, now, wall, pool)]
                self.check(not better, f"{id_} failed over and over, and serves where {better[:3]} could")
        elif not self.apart and now - book.worse > self.slack:
            early = book.soonest(want, now + self.slack, wall + self.slack, pool)
            self.check(early <= 0, f"{id_} is used {early} s early")
        booked = Booked(lease, pool, now, lease.quota_ends, want.tokens, book.epoch, book.site)
        book.site.out += 1
        book.out.append(booked)
        book.starts.append(booked)
        while book.starts and book.starts[0].at < now - 120:
            book.starts.popleft()
        book.latest = now
        book.count(booked, 1)
        book.exhausted.pop(want.sort.group, None)
        self.check(
            not self.exact or abs(booked.wall_day - quota_day(account, wall)) < 1, f"{id_} counts in another day"
        )
        self.served += 1

    def undone(self, lease: Lease) -> None:
        """It never was."""
        booked = self._out(lease)
        if booked is None:
            return
        book = self.books[lease.account.id]
        self.say(f"{lease.account.id} did not begin")
        booked.site.out -= 1
        book.out.remove(booked)
        book.starts.remove(booked)
        book.latest = max((one.at for one in book.starts), default=-math.inf)
        book.count(booked, -1)
        self.served -= 1

    def proved(self, lease: Lease) -> None:
        book = self.books[lease.account.id]
        self.say(f"{lease.account.id} is let in")
        book.goods = None if book.goods is None else book.goods + 1
        self._works(lease)

    def paced(self, lease: Lease, seconds: float) -> None:
        book = self.books[lease.account.id]
        self.say(f"{lease.account.id} has nothing left for {seconds} s")
        if self.exact:  # other processes are not told
            book.pace = max(book.pace, self._clock() + seconds)

    def ends(self, lease: Lease, error: GatewayError | None, *, well: bool) -> None:
        """A lease is about to be given back. Called just before, so that who gets the slot is judged by it."""
        booked = self._out(lease)
        assert booked is not None
        book = self.books[lease.account.id]
        self.say(f"{lease.account.id} ends: {'well' if well else type(error).__name__}")
        book.out.remove(booked)
        booked.site.out -= 1
        if lease.tokens is not None:
            booked.tokens = lease.tokens
        if error is not None and _spent_nothing(error):
            book.count(booked, -1)
        if well:
            book.strikes, book.ejected = 0, 0.0
            if book.goods is not None and not lease.proved:
                book.goods += 1
        if well or isinstance(error, errors.AccountError | errors.RefusedByUpstream):
            self._works(lease)
        if error is not None and booked.epoch == book.epoch and book.there:
            self._blame(book, lease, error)
        if isinstance(error, errors.UpstreamError) and not isinstance(error, SAYS_NOTHING):
            site = self._site(lease.account)
            site.failures, site.latest = site.failures + 1, self._clock()
            site.unreached = site.unreached + 1 if isinstance(error, errors.UpstreamUnreachable) else 0
            site.failed = site.failed or site.unreached >= 3 or site.failures >= 5

    def _out(self, lease: Lease) -> Booked | None:
        return next((one for one in self.books[lease.account.id].out if one.lease is lease), None)

    def _works(self, lease: Lease) -> None:
        site = self._site(lease.account)
        site.failures, site.unreached, site.failed = 0, 0, False

    def _blame(self, book: Book, lease: Lease, error: GatewayError) -> None:
        now, wall, group, told = self._clock(), self._wall(), lease.want.sort.group, error.retry_after
        book.worse = now
        match error:
            case errors.ConcurrencyLimited():
                book.limited = True
                if told is not None or not [one for one in book.out if one.pool is self._pool_of(lease)]:
                    self._rest(book, told)
            case errors.QuotaExhausted():
                self._exhaust(book, (group,), wall + _asked(told, 31 * DAY, 3_600.0))
            case errors.BalanceExhausted():
                groups = {"t2v", "t2i", "t2t", "tts", "asr", "t2m", *book.exhausted, group}
                self._exhaust(book, groups, wall + _asked(told, 31 * DAY, 3_600.0))
            case errors.CredentialRejected() | errors.Challenged():
                book.barred.add(self._pool_of(lease))
            case errors.ModelNotEnabled():
                book.off.add((self._pool_of(lease), lease.want.sort.model))
            case errors.AccountError():
                self._rest(book, told)
            case errors.UpstreamUnreachable():
                pass
            case errors.UpstreamError() if not isinstance(error, SAYS_NOTHING):
                self._strike(book, now)

    def _strike(self, book: Book, now: float) -> None:
        book.strikes += 1
        book.limited = True
        busy = sum(one.at > now - 120 for one in book.starts) >= 20  # so that shares count, and it may be out already
        if book.strikes == 3 and not busy:
            book.ejected = now + 30.0

    def _pool_of(self, lease: Lease) -> object:
        return lease._lender

    def _rest(self, book: Book, told: float | None) -> None:
        book.limited, book.goods = True, 0
        if told is None:
            book.unknown_rest = True
        else:
            book.rest = max(book.rest, self._clock() + _asked(told, DAY, 0.0))

    def _exhaust(self, book: Book, groups: Iterable[str], until: float) -> None:
        for group in groups:
            book.exhausted[group] = max(until, book.exhausted.get(group, 0.0))

    # --- what a pool tells: a `Journal` ---

    def note(self, account_id: str, fact: Fact) -> None:
        """Only here is it heard how long a rest is that nobody asked for."""
        book = self.books[account_id]
        if fact.name == "rest":
            seconds = fact.until - self._wall()
            if book.unknown_rest:
                self.check(seconds >= 3.99, f"{account_id} rests for {seconds} s only")
                self.check(seconds <= max(60.0, book.rest - self._clock() + 0.01), f"{account_id} rests {seconds} s")
                book.rest = max(book.rest, self._clock() + seconds)
                book.unknown_rest = False
            self.check(abs(book.rest - self._clock() - seconds) < 0.01, f"{account_id} rests, and nobody said so")

    def lift(self, account_id: str, name: str) -> None:
        self.check(name in ("disabled", "enabled"), f"{name} is nothing that is lifted")

    def used(self, account_id: str, group: str, ends: float, leases: int) -> None:
        self.journal[account_id, group, ends] += leases

    def renewed(self, account_id: str) -> None:
        self.say(f"{account_id} renewed")

    # --- operators ---

    def bind(self, accounts: Iterable[Account]) -> None:
        """These are the accounts from now on."""
        given = {account.id: account for account in accounts}
        for id_, book in self.books.items():
            account = given.get(id_)
            if account is None:
                book.there = False
            else:
                self._rebind(book, account)
            if not book.there and not book.out:
                book.forget()
        for id_ in given.keys() - self.books.keys():
            self.books[id_] = self._book(given[id_])
        self.say(f"bound: {len(given)} accounts")

    def _rebind(self, book: Book, account: Account) -> None:
        if (back := not book.there) and not book.out:
            book.forget()
        if (book.account.credential, book.account.base_url) != (account.credential, account.base_url):
            book.renew()
        if (back and not book.out) or book.account.enabled != account.enabled:
            book.enabled = account.enabled
        if book.goods is not None and 2**book.goods >= book.account.max_concurrency:
            book.goods = None  # it had all its slots back
        book.there, book.account, book.site = True, account, self._site(account)
        book.limited = True  # its slots may not have grown with the limit

    # --- what must be ---

    def anybody(self, want: Want, pool: object, now: float) -> Book | None:
        """An account that is certainly free for this work."""
        if self.ceiling is not None and sum(len(each.out) for each in self.books.values()) >= self.ceiling:
            return None
        ago = self._clock() - now
        wall = self._wall() - ago
        return next((book for book in self.books.values() if book.certainly_free(want, now, wall, pool)), None)

    def waits(self, want: Want, pool: object) -> None:
        """Somebody waits, and has for a while."""
        book = self.anybody(want, pool, self._clock() - ROUNDING)
        self.check(book is None, f"{want.owner} waits for {want.sort} while {book and book.account.id} is free")

    def refused(self, want: Want, pool: object, error: GatewayError, *, early: bool) -> None:
        """`early`: before the time for which it would have waited was over."""
        now, wall = self._clock(), self._wall()
        self.say(f"{want.owner} refused {want.sort.model} {want.sort.group}: {error.message} ({error.retry_after})")
        if isinstance(error, errors.Overloaded) or not self.exact:
            return
        book = self.anybody(want, pool, now)
        self.check(book is None, f"refused while {book and book.account.id} is free")
        certain = lasting = math.inf
        for book in self.books.values():
            own = book.soonest(want, now, wall, pool)
            slack = (ANY_OPENING if book.site.doubtful(now) else 0.0) + (ANY_EJECTION if book.strikes else 0.0)
            certain, lasting = min(certain, own + slack), min(lasting, own)
        told = error.retry_after
        assert told is not None
        if isinstance(error, errors.NoAccount):
            self.check(math.isinf(lasting), f"no matter of time, but it is one of {lasting} s")
            return
        self.check(told >= 1 and told == int(told), f"{told} is no whole number of seconds")
        if "busy" in error.message:
            self.check(lasting <= ROUNDING, f"nobody is busy: the soonest could in {lasting} s")
            self.check(not early, "refused early, though a slot is all that was missing")
            return
        self.check(told >= min(lasting, told) and math.ceil(lasting - ROUNDING) <= told, f"{told} s is too early")
        self.check(told <= max(1, math.ceil(certain + ROUNDING)), f"{told} s is too late: {certain}")
        if early:
            self.check(certain > 0, "refused early, though a slot is all that was missing")

    def closed(self) -> None:
        """Everything is over: nothing is left behind."""
        left = [booked.lease.account.id for book in self.books.values() for booked in book.out]
        self.check(not left, f"never given back: {left}")
        for (id_, group, ends), leases in self.journal.items():
            if (id_, group) in self._counted() and ends > self._wall():
                used = self.books[id_].ever[group, ends]
                self.check(leases == used, f"{id_}: {leases} of {group} were told, {used} were used")

    def _counted(self) -> set[tuple[str, str]]:
        return {
            (id_, "t2v" if kind in VIDEOS else kind)
            for id_, book in self.books.items()
            for kind in book.account.daily_quota
        }


def _asked(told: float | None, longest: float, otherwise: float) -> float:
    return otherwise if told is None else min(max(1.0, told), longest)


def _spent_nothing(error: GatewayError) -> bool:
    if error.sent == "no":
        return True
    return not isinstance(error, errors.ClientLeft) and error.fault in (Fault.CALLER, Fault.ACCOUNT)
