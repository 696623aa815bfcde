"""One attempt's use of one account."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from gateway.accounts.health import Standing
from gateway.accounts.place import Place
from gateway.accounts.waiting import Want
from gateway.errors import GatewayError
from gateway.types import Account


class Lender(Protocol):
    """Who gets it back."""

    def ended(self, lease: Lease, error: GatewayError | None, *, well: bool) -> None: ...

    def paced(self, lease: Lease, seconds: float) -> None: ...

    def proved(self, lease: Lease) -> None: ...


class Lease:
    """Use of `account`, until released. Usable as `with`: what leaves the block is what is judged."""

    __slots__ = (
        "_held",
        "_lender",
        "account",
        "began",
        "breaker",
        "number",
        "place",
        "proved",
        "quota_ends",
        "serial",
        "token",
        "tokens",
        "want",
    )

    def __init__(self, lender: Lender, place: Place, want: Want, number: int, serial: int, began: float) -> None:
        self._lender = lender
        self._held = True
        self.place = place
        self.account: Account = place.account
        """As it was when the lease began."""
        self.breaker = place.breaker
        """Of the site that it went to."""
        self.want = want
        self.number = number
        """Of the account's leases."""
        self.serial = serial
        """Of the pool's leases."""
        self.began = began
        """Monotonic."""
        self.quota_ends = place.standing.quota.ends
        """The quota day that it counts in."""
        self.token: str | None = None
        """Its name among all processes, where they share limits."""
        self.proved = False
        """Whether the upstream was heard to let it in."""
        self.tokens: int | None = None
        """What it really used, once somebody knows."""

    @property
    def standing(self) -> Standing:
        return self.place.standing

    @property
    def held(self) -> bool:
        return self._held

    def release(self, error: GatewayError | None = None) -> None:
        """Give the slot back, and say how it went: no error is a success. Further calls do nothing."""
        self._end(error, well=error is None)

    def abandon(self) -> None:
        """Give the slot back where nothing was learned about the account."""
        self._end(None, well=False)

    def prove(self) -> None:
        """The upstream let it in and began to answer: how it goes on says nothing more about rests and reach."""
        if self._held and not self.proved:
            self.proved = True
            self._lender.proved(self)

    def paced(self, seconds: float) -> None:
        """The upstream said, in an answer that was none of a refusal, that nothing more goes for so long."""
        self._lender.paced(self, seconds)

    def void(self) -> bool:
        """Whether it was held; from now on it is not, and its lender need not hear of it."""
        held, self._held = self._held, False
        return held

    def _end(self, error: GatewayError | None, *, well: bool) -> None:
        if self.void():
            self._lender.ended(self, error, well=well)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None or isinstance(error, GatewayError):
            self.release(error)
        else:
            self.abandon()
