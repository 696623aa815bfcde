"""What a pool tells of its accounts: to the database, so that it outlives the process, and to the other processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.accounts.facts import Fact, Journal
from gateway.accounts.lease import Lease
from gateway.accounts.sharing import Sharing
from gateway.state.slots import NEVER
from gateway.types import Account

CREDENTIAL: Final = "credential"
"""The fact of which credential the others are."""


@dataclass(frozen=True, slots=True)
class Bulletin:
    """Neither has to be there: without a journal nothing outlives the process, without sharing nobody else is told."""

    journal: Journal | None
    sharing: Sharing | None

    def note(self, account: Account, facts: Sequence[Fact]) -> None:
        """Facts that are now known, and of which credential."""
        if self.journal is not None and facts:
            for fact in (*facts, Fact(CREDENTIAL, NEVER, fingerprint(account))):
                self.journal.note(account.id, fact)
        if self.sharing is not None:
            for fact in facts:
                self.sharing.tell(account.id, fact)

    def renewed(self, account_id: str) -> None:
        """Every fault is forgotten."""
        if self.journal is not None:
            self.journal.renewed(account_id)
        if self.sharing is not None:
            self.sharing.forget(account_id)

    def switched(self, account: Account, *, on: bool) -> None:
        """The operator's word, kept where it differs from what the account says of itself."""
        if self.journal is None:
            return
        self.journal.lift(account.id, "disabled" if on else "enabled")
        if on != account.enabled:
            self.journal.note(account.id, Fact("enabled" if on else "disabled", NEVER))

    def used(self, lease: Lease, leases: int) -> None:
        """So many more of a daily quota, where one is set: it must outlive the process."""
        group = lease.want.sort.group
        if self.journal is not None and group in lease.standing.quota.most:
            self.journal.used(lease.account.id, group, lease.quota_ends, leases)


def of_another(account: Account, facts: Iterable[Fact]) -> bool:
    """Whether facts are of a credential that the account had before: of the present one they say nothing."""
    return any(fact.name == CREDENTIAL and fact.reason != fingerprint(account) for fact in facts)


def fingerprint(account: Account) -> str:
    """What tells two credentials of an account apart, and tells nothing else of either."""
    return hashlib.sha256(f"{account.id}\0{account.credential}".encode()).hexdigest()[:16]
