"""Days of a quota: they end at an hour of the upstream's own zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, get_args
from zoneinfo import ZoneInfo

from gateway.types import Account, Kind, QuotaReset

GROUPS: Final[tuple[tuple[Kind, ...], ...]] = (("t2v", "i2v", "flf2v", "ref2v"), ("t2i", "i2i"))
"""Kinds that share a quota, as providers count them. Every other kind has one of its own."""
GROUP_OF: Final[dict[Kind, Kind]] = {kind: kind for kind in get_args(Kind)} | {
    kind: group[0] for group in GROUPS for kind in group
}
"""A group goes by the name of its first kind."""
LONGEST_DAY: Final = 26 * 3600.0
"""No quota day ends later than that after any moment in it."""


def day_ends(reset: QuotaReset, wall: float) -> float:
    """When the quota day ends that `wall` is in. Both in Unix seconds."""
    zone = _zone(reset.zone)
    now = datetime.fromtimestamp(wall, zone)
    end = now.replace(hour=reset.hour, minute=0, second=0, microsecond=0, fold=0)
    while end.timestamp() <= wall:
        end += timedelta(days=1)  # on the wall clock there: a day may have 23 or 25 hours
    return end.astimezone(UTC).timestamp()


@lru_cache(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


class Quota:
    """Leases of an account in its quota day, by group of kinds."""

    __slots__ = ("_reset", "ends", "most", "used")

    def __init__(self, account: Account) -> None:
        self.ends = 0.0
        """Unix seconds at which the present quota day ends."""
        self.used: dict[Kind, int] = {}
        self.bind(account)

    def bind(self, account: Account) -> None:
        """Take the limits of `account`; what was used stays counted."""
        self._reset = account.quota_reset
        self.most: dict[Kind, int] = {}
        """Leases a day by group; where several of its kinds name a number, the lowest."""
        for kind, most in account.daily_quota.items():
            group = GROUP_OF[kind]
            self.most[group] = min(most, self.most.get(group, most))

    def today(self, wall: float) -> dict[Kind, int]:
        """What was used in the quota day of `wall`."""
        if wall >= self.ends:
            self.ends = day_ends(self._reset, wall)
            self.used.clear()
        elif self.ends - wall > LONGEST_DAY:  # the clock was far ahead, and was set right: what was used stays used
            self.ends = day_ends(self._reset, wall)
        return self.used

    def until(self, group: Kind, wall: float) -> float:
        """When there is some again, in Unix seconds; 0 where there is some now."""
        most = self.most.get(group)
        return self.ends if most is not None and self.today(wall).get(group, 0) >= most else 0.0

    def start(self, group: Kind, wall: float) -> float:
        """Count a lease. Returns the end of the day it counts in."""
        used = self.today(wall)
        used[group] = used.get(group, 0) + 1
        return self.ends

    def refund(self, group: Kind, ends: float) -> bool:
        """Take a lease out again that was counted in the day ending then. Whether that is still the day."""
        if ends != self.ends or not self.used.get(group):
            return False
        self.used[group] -= 1
        return True

    def learn(self, group: Kind, ends: float, leases: int, wall: float) -> None:
        """What all processes together used, as far as is known."""
        self.today(wall)
        if abs(ends - self.ends) < 1.0:
            self.used[group] = leases
