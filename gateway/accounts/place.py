"""An account where it stands: its own record, and the breaker of the site behind it."""

from __future__ import annotations

import msgspec

from gateway.accounts.breaker import Breaker
from gateway.accounts.health import Obstacle, Standing
from gateway.types import Account, Kind


class Sort(msgspec.Struct, frozen=True):
    """What sort of work: all that decides which accounts could ever take it."""

    model: str
    group: Kind
    tags: frozenset[str] = frozenset()


class Place:
    """One account of a pool. Compared by identity: it stays the same while its account is changed."""

    __slots__ = ("account", "breaker", "standing")

    def __init__(self, account: Account, breaker: Breaker, standing: Standing | None = None) -> None:
        self.account = account
        self.breaker = breaker
        self.standing = standing or Standing(account)

    def free(self, sort: Sort, now: float, wall: float, tokens: int = 0) -> bool:
        """Whether it can take this sort of work now: the same as no `obstacle`, told as fast as can be."""
        return (
            self.standing.free(sort.model, sort.group, now, wall, tokens)
            and (not self.breaker.until or not self.breaker.wait(now))
            and sort.tags <= self.account.tags
        )

    def obstacle(self, sort: Sort, now: float, wall: float, tokens: int = 0) -> Obstacle | None:
        """What stands against this sort of work, the most lasting thing first; None where nothing does."""
        own = self.own_obstacle(sort, now, wall, tokens)
        site = self.breaker.wait(now)
        if site > 0 and (own is None or own.seconds < site):
            return Obstacle("unreachable", site)
        return own

    def own_obstacle(self, sort: Sort, now: float, wall: float, tokens: int = 0) -> Obstacle | None:
        """The same, whatever becomes of the site behind it."""
        if not sort.tags <= self.account.tags:
            return Obstacle("not_allowed", float("inf"))
        return self.standing.obstacle(sort.model, sort.group, now, wall, tokens)
