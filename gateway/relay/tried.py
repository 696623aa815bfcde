"""What the attempts of a request have shown, and whether another may follow.

What is paid for when it is made (all but text and vectors) is tried again only where it certainly was not made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import AccountError, AllResting, GatewayError, InvalidRequest, NoAccount, UpstreamError
from gateway.upstreams.base import Operation

UPSTREAM_FAULTS = 2
"""Faults of upstreams, as against those of accounts, after which a request tries only what did not fail lately."""

FREE_TO_REPEAT: frozenset[Operation] = frozenset({"chat", "embed", "transcribe"})
"""Operations that may run twice without being paid for as two."""


@dataclass(slots=True)
class Tried:
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
        """A candidate has no account, or cannot do what is asked. What an attempt showed says more; of refusals the one
        that ends soonest does, and any says more than that there is nobody at all."""
        last = self.last
        if last is None or (isinstance(last, NoAccount) and isinstance(error, AllResting | InvalidRequest)):
            self.last = error
        elif isinstance(last, InvalidRequest) and isinstance(error, AllResting):
            self.last = error  # it can be done, only not now
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
