"""What is known against an account, as values that outlive the process.

| name | until | means |
|---|---|---|
| rest | when | asked to slow down |
| exhausted:<group> | when | no quota for a group of kinds |
| rejected, parked | never | an operator has to act; `reason` says why |
| model_off:<model> | never | it may not use the model |
| disabled, enabled | never | by the operator, whatever the config says |
| used:<group> | when the quota day ends | `leases` of a group in it |
| credential | never | `reason` tells apart which credential the other facts are of |
| renewed | when it was | whatever was known before is forgotten |
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Fact(NamedTuple):
    name: str
    until: float
    """Unix seconds; `state.slots.NEVER` for what only an operator ends."""
    reason: str = ""
    leases: int = 0
    """Of `used`."""


class Journal(Protocol):
    """Where a pool tells what it learns. It writes a little later: none of this waits or fails."""

    def note(self, account_id: str, fact: Fact) -> None:
        """A fact that is now known; of several by one name the one that lasts longest stays."""

    def lift(self, account_id: str, name: str) -> None:
        """A fact that holds no more."""

    def used(self, account_id: str, group: str, ends: float, leases: int) -> None:
        """So many more leases (fewer, if negative) of a group in the quota day that ends then."""

    def renewed(self, account_id: str) -> None:
        """Everything noted before is forgotten, but for what was used and what the operator disabled."""
