"""What was told of one account and is not in the database yet, collapsed: no more than an entry for each fact.

Whatever the order of the telling, writing has one: first the renewal, then what was lifted, then the facts that were
noted after both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.accounts.facts import Fact

USED: Final = "used:"
"""How the name of what was used begins: its leases add up, and what is told of it are differences."""
OUTLIVE_RENEWAL: Final = ("disabled", "enabled")
"""What a renewal leaves as it is, besides what was used."""


def outlives_renewal(name: str) -> bool:
    return name in OUTLIVE_RENEWAL or name.startswith(USED)


def joined(known: Fact | None, told: Fact) -> Fact:
    """What two facts by one name say together: the one that lasts longer, of two that last as long the newer one."""
    if known is None or told.until > known.until:
        return told
    if told.until < known.until:
        return known
    return told._replace(leases=known.leases + told.leases) if told.name.startswith(USED) else told


@dataclass(slots=True)
class Unwritten:
    """What is to be written of one account."""

    renewed: bool = False
    lifted: set[str] = field(default_factory=set)
    """Names of facts that hold no more, whatever the database says."""
    facts: dict[str, Fact] = field(default_factory=dict)
    """By name: what was noted since. Of what was used, the difference."""

    @property
    def only_counts(self) -> bool:
        """Whether it tells of nothing but leases."""
        return not self.renewed and not self.lifted and all(name.startswith(USED) for name in self.facts)

    def note(self, fact: Fact) -> None:
        self.facts[fact.name] = joined(self.facts.get(fact.name), fact)

    def lift(self, name: str) -> None:
        self.facts.pop(name, None)
        self.lifted.add(name)

    def renew(self) -> None:
        self.renewed = True
        self.lifted = {name for name in self.lifted if outlives_renewal(name)}
        self.facts = {name: fact for name, fact in self.facts.items() if outlives_renewal(name)}

    def follow(self, later: Unwritten) -> None:
        """Take in what was told after all this."""
        if later.renewed:
            self.renew()
        for name in later.lifted:
            self.lift(name)
        for fact in later.facts.values():
            self.note(fact)

    def over(self, known: Iterable[Fact]) -> list[Fact]:
        """What holds where the database has `known`: the same as it will have once all this is written."""
        found = {fact.name: fact for fact in known if self._leaves(fact.name)}
        for fact in self.facts.values():
            found[fact.name] = joined(found.get(fact.name), fact)
        return [fact if fact.leases >= 0 else fact._replace(leases=0) for fact in found.values()]

    def _leaves(self, name: str) -> bool:
        return name not in self.lifted and (outlives_renewal(name) or not self.renewed)
