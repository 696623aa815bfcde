"""One request carried through: lease, attempt, commit, stream, settle.

The first event commits. Before it another account or candidate may be tried; after it the caller sees every failure.
What is paid for when it is made (all but text and vectors) is tried again only where it certainly was not made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool
from gateway.accounts.refusal import whole_seconds
from gateway.accounts.waiting import Asked
from gateway.assets.ingest import Ingest, Origin
from gateway.assets.inputs import Inputs
from gateway.catalog.prices import PriceBook
from gateway.catalog.quotes import check_cost, quote
from gateway.errors import (
    AccountError,
    ClientLeft,
    GatewayError,
    InvalidRequest,
    NoAccount,
    Unavailable,
    UpstreamGarbled,
    UpstreamTimeout,
)
from gateway.http import Timeouts
from gateway.patience import Patience
from gateway.relay.measured import counted
from gateway.relay.tried import Tried
from gateway.relay.work import Events, Fit, Relayed, Served, Suggest, Work
from gateway.types import (
    Account,
    AnyRequest,
    Candidate,
    ChatRequest,
    Event,
    Fitted,
    Frame,
    Media,
    MediaReady,
    MediaRequest,
    Paced,
    Usage,
    UsageRecord,
    Whole,
    Wishes,
)
from gateway.upstreams.base import OPERATION_OF, Operation, Upstream
from gateway.usage import Meter, measures
from gateway.wire.expected import expected_tokens

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Begun:
    """An answer whose first event is there."""

    events: Events
    first: Event
    patience: Patience
    upstream: Upstream
    """Who gives it, though it may no longer be configured."""


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
        prices: PriceBook | None = None,
        fit: Fit | None = None,
        suggest: Suggest | None = None,
    ) -> None:
        """`upstreams` and `pools` may change while it runs. `slot_wait`: seconds a request waits for a slot. `fit`:
        what a candidate makes of a request; without it every candidate takes everything. `suggest`: which other models
        could do what none of the candidates did; without it nobody says."""
        self.upstreams = upstreams
        self.pools = pools
        self.inputs = inputs
        self.ingest = ingest
        self.meter = meter
        self.timeouts = timeouts
        self.slot_wait = slot_wait
        self.prices = prices or PriceBook()
        self.fit = fit
        self.suggest = suggest

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
            usage = self._priced(work, candidate, counted(usage, work.request))
            self._record(work, candidate, lease.account.id, None, usage)
        return Served(value, candidate, lease.account)

    # --- before commit ---

    def fitted(
        self, request: AnyRequest, candidate: Candidate, wishes: Wishes, whole: AnyRequest | None = None
    ) -> Fitted | None:
        """The request as a candidate takes it; None for what has no parameters of ours, as text.

        `whole`: what it is a part of. Raises Unsupported, or InvalidRequest for what cannot be, and TooDear.
        """
        if wishes.max_cost is not None:
            self._check_cost(whole or request, candidate, wishes, wishes.max_cost)
        if self.fit is None or not isinstance(request, MediaRequest):
            return None
        return self.fit(request, candidate, wishes.on_unsupported)

    def fitting(
        self, request: AnyRequest, places: Sequence[Candidate], wishes: Wishes, whole: AnyRequest | None = None
    ) -> Iterator[tuple[Candidate, Fitted | None, GatewayError | None]]:
        """Each place with the request as it takes it, or with what it has against it.

        Another model is no answer to a value that the one asked for does not take: its caller hears of that instead.
        """
        taken = refused = False
        for place in places:
            if refused and not taken and place.card.id != places[0].card.id:
                return
            try:
                fitted = self.fitted(request, place, wishes, whole)
            except InvalidRequest as error:
                refused = True
                yield place, None, error
            except NoAccount as error:
                yield place, None, error
            else:
                taken = True
                yield place, fitted, None

    def _check_cost(self, request: AnyRequest, candidate: Candidate, wishes: Wishes, most: float) -> None:
        if self.fit is not None and isinstance(request, MediaRequest):
            request = self.fit(request, candidate, wishes.on_unsupported).request
        card = self.prices.card(candidate.upstream, candidate.card.id) or candidate.card
        prices = self.prices.of(candidate.upstream, candidate.card.id, card)
        check_cost(quote(prices, request, card), most)

    async def _attempts(
        self, work: Work, operation: Operation, attempt: Callable[[Upstream, AnyRequest, Account], Awaitable[T]]
    ) -> tuple[T, Candidate, Lease]:
        """Try candidates and their accounts until one attempt succeeds; its lease is still held."""
        work.request = await self.inputs.resolved(work.request, work.principal.id)
        tried = Tried()
        for candidate, fitted, refusal in self.fitting(work.request, work.candidates, work.wishes, work.whole):
            work.fitted = fitted
            if refusal is not None:
                tried.refused(refusal)
                continue
            while (lease := await self._leased(work, candidate, tried)) is not None:
                begun = time.monotonic()
                try:
                    upstream = self._upstream(candidate.upstream)
                    request = await self.inputs.staged(work.made, upstream, candidate.card.id, lease.account)
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
                        self._record(work, candidate, lease.account.id, ClientLeft(), Usage())
                    raise
        assert tried.last is not None, "a resolved request has candidates"
        raise self._given_up(work, tried.last) from tried.last.__cause__

    async def _leased(self, work: Work, candidate: Candidate, tried: Tried) -> Lease | None:
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

    def _worth_a_retry(self, pool: Pool, want: Asked, tried: Tried) -> bool:
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
        self._suggested(work, error)
        error.attempts = tuple(work.attempts)
        first = work.candidates[0]
        blamed = next((candidate for candidate in work.candidates if candidate.upstream == error.upstream), first)
        self._record(work, blamed, error.account, error, Usage())
        return error

    def _suggested(self, work: Work, error: GatewayError) -> None:
        """Who is bound to an account, as a chat that goes on there, has another way left."""
        if self.suggest is not None and work.only is None:
            self.suggest(error, work.request, work.kind, work.candidates, work.principal.account_tags)

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
                if type(event) is MediaReady:
                    event = MediaReady(await self._kept(work, relayed, event.media))
                if type(event) is Paced:
                    lease.paced(event.seconds)
                else:
                    relayed.measured.add(event)
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
            self._suggested(work, error)
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
            self._settle(work, relayed, failure, time.monotonic() - lease.began)
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
            source_module="task" if work.task_id else "api",
            request_id=work.request_id,
            sources=self.inputs.sources(work.request),
        )
        return await self.ingest.keep(media, origin)

    def _settle(self, work: Work, relayed: Relayed, failure: GatewayError | None, seconds: float) -> None:
        """Measure and price an answer. One that failed before anything was made costs nothing, unless it is told."""
        measured = relayed.measured
        usage = counted(measured.usage, work.request, measured)
        if failure is None or isinstance(failure, ClientLeft) or measured.media or usage.cost is not None:
            usage = self._priced(work, relayed.candidate, usage)
        measured.usage, relayed.took = usage, seconds
        made = tuple(media.asset_id for media in measured.media if media.asset_id) if measured.media else ()
        self._record(work, relayed.candidate, relayed.account.id, failure, usage, made, seconds)

    def _priced(self, work: Work, candidate: Candidate, usage: Usage) -> Usage:
        card = None if work.task_id else candidate.card  # that of a task is but a name
        return self.prices.priced(usage, candidate.upstream, candidate.card.id, work.made, card)

    def _record(
        self,
        work: Work,
        candidate: Candidate,
        account: str | None,
        error: GatewayError | None,
        usage: Usage,
        made: tuple[str, ...] = (),
        seconds: float | None = None,
    ) -> None:
        """`made`: ids of assets, and how many `seconds` they took."""
        self.meter.record(
            UsageRecord(
                at=time.time(),
                request_id=work.request_id,
                owner=work.principal.id,
                kind=work.kind,
                model=candidate.card.id,
                upstream=candidate.upstream,
                account=account or "",
                status=error.status if error else 200,
                code=error.code if error else "ok",
                seconds=time.monotonic() - work.started,
                attempts=max(1, len(work.attempts)),
                task_id=work.task_id,
                key=work.principal.name,
                assets=made,
                generation_time=seconds,
                **measures(usage),
            )
        )


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
