"""One request carried through: lease, attempt, commit, stream, settle.

The first event commits. Before it another account or candidate may be tried; after it the caller sees every failure.
What is paid for when it is made (all but text and vectors) is tried again only where it certainly was not made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool
from gateway.accounts.refusal import whole_seconds
from gateway.accounts.waiting import Asked
from gateway.assets.ingest import Ingest, Origin
from gateway.assets.inputs import Inputs
from gateway.errors import (
    AccountError,
    AllResting,
    Attempt,
    ClientLeft,
    GatewayError,
    NoAccount,
    Unavailable,
    UpstreamError,
    UpstreamGarbled,
    UpstreamTimeout,
)
from gateway.http import Timeouts
from gateway.patience import Patience
from gateway.types import (
    Account,
    AnyRequest,
    Candidate,
    ChatRequest,
    Event,
    Frame,
    Kind,
    Media,
    MediaReady,
    Paced,
    Principal,
    Usage,
    UsageRecord,
    Whole,
)
from gateway.upstreams.base import OPERATION_OF, Operation, Upstream
from gateway.usage import Meter
from gateway.wire.expected import expected_tokens

UPSTREAM_FAULTS = 2
"""Faults of upstreams, as against those of accounts, after which a request tries only what did not fail lately."""

FREE_TO_REPEAT: frozenset[Operation] = frozenset({"chat", "embed", "transcribe"})
"""Operations that may run twice without being paid for as two."""

Events = AsyncGenerator[Event]
T = TypeVar("T")
Sending = Callable[[Candidate, Account], Awaitable[None]]
"""Awaited when everything is ready and nothing was sent yet, before every attempt. What it raises stops the request."""


@dataclass(slots=True)
class Work:
    """A request on its way: what to do, for whom, and where it may go."""

    kind: Kind
    request: AnyRequest
    candidates: Sequence[Candidate]
    principal: Principal
    request_id: str
    only: str | None = None
    """The account that must serve it, by id."""
    task_id: str | None = None
    wait: float | None = None
    """Seconds to wait for a slot; None: as long as the config says."""
    sending: Sending | None = None
    attempts: list[Attempt] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def note(self, candidate: Candidate, account: Account, error: GatewayError | None, begun: float) -> None:
        """Remember how an attempt ended."""
        outcome, reason = ("ok", "") if error is None else (error.code, error.message)
        self.attempts.append(Attempt(candidate.upstream, account.id, outcome, time.monotonic() - begun, reason))


@dataclass(frozen=True, slots=True)
class _Begun:
    """An answer whose first event is there."""

    events: Events
    first: Event
    patience: Patience
    upstream: Upstream
    """Who gives it, though it may no longer be configured."""


@dataclass(slots=True)
class Served:
    """An answer that was asked for whole, and who gave it."""

    value: Any
    candidate: Candidate
    account: Account


class Relayed:
    """A committed answer: iterate its events once, then it is settled. `aclose` settles it early."""

    __slots__ = ("account", "attempts", "candidate", "events", "passed", "upstream", "usage")

    def __init__(self, work: Work, candidate: Candidate, account: Account, upstream: Upstream) -> None:
        self.upstream = upstream
        self.candidate = candidate
        self.account = account
        self.attempts = work.attempts
        self.usage = Usage()
        self.passed = False
        self.events: Events | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        assert self.events is not None
        return self.events

    async def aclose(self) -> None:
        if self.events is not None:
            await self.events.aclose()


class Relay:
    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        pools: Mapping[str, Pool],
        inputs: Inputs,
        ingest: Ingest,
        meter: Meter,
        timeouts: Timeouts,
        *,
        slot_wait: float = 30.0,
    ) -> None:
        """`upstreams` and `pools` may change while it runs. `slot_wait`: seconds a request waits for a slot."""
        self.upstreams = upstreams
        self.pools = pools
        self.inputs = inputs
        self.ingest = ingest
        self.meter = meter
        self.timeouts = timeouts
        self.slot_wait = slot_wait

    async def open(self, work: Work) -> Relayed:
        """Carry a streaming operation to its first event. Raises what ended the last attempt."""
        operation = OPERATION_OF[work.kind]
        streams = isinstance(work.request, ChatRequest) and work.request.stream
        limit = self.timeouts.first_event if streams else self.timeouts.total

        async def attempt(upstream: Upstream, request: AnyRequest, account: Account) -> _Begun:
            patience = Patience()
            events: Events = getattr(upstream, operation)(request, account)
            try:
                return _Begun(events, await _first(events, patience, limit), patience, upstream)
            except BaseException:
                patience.close()
                await events.aclose()
                raise

        begun, candidate, lease = await self._attempts(work, operation, attempt)
        lease.prove()
        relayed = Relayed(work, candidate, lease.account, begun.upstream)
        relayed.passed = isinstance(begun.first, Frame | Whole)
        relayed.events = self._committed(work, relayed, lease, begun)
        await anext(relayed.events)
        return relayed

    async def ask(self, work: Work) -> Served:
        """Carry an operation that answers whole: embed, transcribe, submit."""
        operation = OPERATION_OF[work.kind]

        async def attempt(upstream: Upstream, request: AnyRequest, account: Account) -> Any:
            return await within(getattr(upstream, operation)(request, account), self.timeouts.total)

        value, candidate, lease = await self._attempts(work, operation, attempt)
        usage = getattr(value, "usage", Usage())
        lease.tokens = _tokens(usage)
        lease.release()
        work.note(candidate, lease.account, None, lease.began)
        if operation != "submit":
            self._record(work, candidate.upstream, lease.account.id, None, usage)
        return Served(value, candidate, lease.account)

    # --- before commit ---

    async def _attempts(
        self, work: Work, operation: Operation, attempt: Callable[[Upstream, AnyRequest, Account], Awaitable[T]]
    ) -> tuple[T, Candidate, Lease]:
        """Try candidates and their accounts until one attempt succeeds; its lease is still held."""
        tried = _Tried()
        for candidate in work.candidates:
            while (lease := await self._leased(work, candidate, tried)) is not None:
                begun = time.monotonic()
                try:
                    upstream = self._upstream(candidate.upstream)
                    request = await self.inputs.staged(work.request, upstream, candidate.card.id, lease.account)
                    if work.sending is not None:
                        await work.sending(candidate, lease.account)
                    return await attempt(upstream, request, lease.account), candidate, lease
                except GatewayError as error:
                    _judge(lease, error)
                    error.upstream, error.account = candidate.upstream, lease.account.id
                    work.note(candidate, lease.account, error, begun)
                    if not tried.go_on(error, operation, lease.account.id):
                        raise self._given_up(work, error) from error.__cause__
                except BaseException as exc:
                    lease.abandon()
                    if isinstance(exc, asyncio.CancelledError):
                        self._record(work, candidate.upstream, lease.account.id, ClientLeft(), Usage())
                    raise
        assert tried.last is not None, "a resolved request has candidates"
        raise self._given_up(work, tried.last) from tried.last.__cause__

    async def _leased(self, work: Work, candidate: Candidate, tried: _Tried) -> Lease | None:
        """A lease for the next attempt at a candidate; None where it has no account left that is worth one."""
        pool = self.pools.get(candidate.upstream)
        if pool is None:
            tried.refused(NoAccount(f"the upstream {candidate.upstream!r} is no longer configured"))
            return None
        want: Asked = {
            "model": candidate.card.id,
            "kind": work.kind,
            "exclude": tried.accounts,
            "only": work.only,
            "owner": work.principal.id,
            "tags": work.principal.account_tags,
            "tokens": expected_tokens(work.request) if pool.counts_tokens else 0,
        }
        if not tried.faults:
            pool.budget.earn()
        elif not self._worth_a_retry(pool, want, tried):
            return None
        try:
            return await pool.lease(wait=self.slot_wait if work.wait is None else work.wait, **want)
        except (Unavailable, AccountError) as error:
            tried.refused(error)
            return None

    def _worth_a_retry(self, pool: Pool, want: Asked, tried: _Tried) -> bool:
        """Whether another try follows a fault of an upstream: by an account that did not fail lately if there is one,
        even if its slot must be waited for, else a few times by any; and only as often as the budget allows."""
        want["trusted"] = True
        want["trusted"] = pool.could(**want)
        return (want["trusted"] or not tried.enough) and pool.budget.spend()

    def _upstream(self, name: str) -> Upstream:
        upstream = self.upstreams.get(name)
        if upstream is None:
            raise NoAccount(f"the upstream {name!r} is no longer configured")
        return upstream

    def _given_up(self, work: Work, error: GatewayError) -> GatewayError:
        if isinstance(error, AccountError) and not error.acted and (soonest := self._soonest(work)) is not None:
            error.retry_after = whole_seconds(soonest)
        error.attempts = tuple(work.attempts)
        upstream = error.upstream or work.candidates[0].upstream
        self._record(work, upstream, error.account, error, Usage())
        return error

    def _soonest(self, work: Work) -> float | None:
        """Seconds until an account could take it, whichever it was that failed last; None for never."""
        pools = [(self.pools.get(candidate.upstream), candidate.card.id) for candidate in work.candidates]
        tags = work.principal.account_tags
        waits = [pool.soonest(model=model, kind=work.kind, only=work.only, tags=tags) for pool, model in pools if pool]
        return min((wait for wait in waits if wait is not None), default=None)

    # --- after commit ---

    async def _committed(self, work: Work, relayed: Relayed, lease: Lease, begun: _Begun) -> AsyncGenerator[Event]:
        """The events from the first on; whatever ends them, the lease goes back and the usage is recorded."""
        deadline = work.started + self.timeouts.total
        idle = self.timeouts.idle if work.kind == "t2t" else self.timeouts.total
        failure: GatewayError | None = None
        events, event, patience = begun.events, begun.first, begun.patience
        try:
            yield event  # taken by `open`: closing a generator that has not begun would settle nothing
            patience.hand_over()
            while True:
                if type(event) is Usage:
                    relayed.usage = event
                elif type(event) is MediaReady:
                    event = MediaReady(await self._kept(work, relayed, event.media))
                if type(event) is Paced:
                    lease.paced(event.seconds)
                else:
                    yield event
                patience.until(min(idle, deadline - time.monotonic()))
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    break
                patience.rest()
        except GatewayError as error:
            failure = error
            error.upstream, error.account = relayed.candidate.upstream, relayed.account.id
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if not patience.spent():
                failure = ClientLeft()
                raise
            failure = _fell_silent(idle)
            raise failure from None
        except BaseException:
            failure = GatewayError()
            raise
        finally:
            patience.close()
            lease.tokens = _tokens(relayed.usage)
            _judge(lease, failure)
            work.note(relayed.candidate, relayed.account, failure, lease.began)
            self._record(work, relayed.candidate.upstream, relayed.account.id, failure, relayed.usage)
            await events.aclose()

    async def _kept(self, work: Work, relayed: Relayed, media: Media) -> Media:
        origin = Origin(
            owner=work.principal.id,
            kind=work.kind,
            model=relayed.candidate.card.id,
            upstream=relayed.upstream,
            account=relayed.account,
            prompt=getattr(work.request, "prompt", ""),
            task_id=work.task_id,
        )
        return await self.ingest.keep(media, origin)

    def _record(self, work: Work, upstream: str, account: str | None, error: GatewayError | None, usage: Usage) -> None:
        self.meter.record(
            UsageRecord(
                at=time.time(),
                request_id=work.request_id,
                owner=work.principal.id,
                kind=work.kind,
                model=work.candidates[0].card.id,
                upstream=upstream,
                account=account or "",
                status=error.status if error else 200,
                code=error.code if error else "ok",
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                images=usage.images,
                media_seconds=usage.seconds,
                seconds=time.monotonic() - work.started,
                attempts=max(1, len(work.attempts)),
                task_id=work.task_id,
            )
        )


@dataclass(slots=True)
class _Tried:
    """What the attempts of a request have shown so far."""

    accounts: set[str] = field(default_factory=set)
    broke: set[str] = field(default_factory=set)
    faults: int = 0
    last: GatewayError | None = None

    @property
    def enough(self) -> bool:
        """Whether only accounts whose upstream did not fail lately are worth another try."""
        return self.faults > UPSTREAM_FAULTS

    def refused(self, error: GatewayError) -> None:
        """A candidate has no account. What an attempt showed says more; of refusals the one that ends soonest does."""
        last = self.last
        if last is None or (isinstance(last, NoAccount) and isinstance(error, AllResting)):
            self.last = error
        elif isinstance(last, AllResting) and isinstance(error, AllResting):
            self.last = min(last, error, key=lambda refusal: refusal.retry_after or 0.0)

    def go_on(self, error: GatewayError, operation: Operation, account: str) -> bool:
        """Whether another attempt may follow. A connection that broke is worth one more try at the same account."""
        self.last = error
        self.faults += not isinstance(error, AccountError)
        if not may_try_elsewhere(error, operation):
            return False
        if error.sent != "yes" and isinstance(error, UpstreamError) and account not in self.broke:
            self.broke.add(account)
        else:
            self.accounts.add(account)
        return True


def may_try_elsewhere(error: GatewayError, operation: Operation) -> bool:
    """Whether an error before commit leaves another attempt open."""
    if not error.elsewhere:
        return False
    if isinstance(error, AccountError) or error.sent == "no":
        return True
    return operation in FREE_TO_REPEAT


def _tokens(usage: Usage) -> int | None:
    """What counts against tokens per minute; None where nothing was measured."""
    return (usage.input_tokens + usage.output_tokens) or None


def _judge(lease: Lease, error: GatewayError | None) -> None:
    """Give a lease back with what it showed of its account, if it showed anything."""
    if error is not None and (error.acted or isinstance(error, ClientLeft)):
        lease.abandon()
    else:
        lease.release(error)


async def _first(events: Events, patience: Patience, limit: float) -> Event:
    """The event that commits."""
    patience.until(limit)
    try:
        return await anext(events)
    except StopAsyncIteration:
        raise UpstreamGarbled("the upstream's answer was empty") from None
    except asyncio.CancelledError:
        if not patience.spent():
            raise
        raise _fell_silent(limit) from None
    finally:
        patience.rest()


def _fell_silent(seconds: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"the upstream did not answer within {max(0, seconds):.0f} s", sent="unknown")


async def within(awaitable: Awaitable[T], seconds: float) -> T:
    """Await with a limit of the gateway's own. Raises UpstreamTimeout; whether it was sent is then unknown."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError as exc:
        raise _fell_silent(seconds) from exc
