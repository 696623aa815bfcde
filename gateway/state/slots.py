"""The contract of limits that hold over all processes: slots, rates, quotas and rests of accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

NEVER = 1e18
"""An end that no clock reaches, in Unix seconds: only an operator ends it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One lease of one account, and what must hold for it."""

    token: str
    """The lease's own name, never used again."""
    upstream: str
    account: str
    """Its id."""
    group: str
    """The group of kinds that it counts for."""
    slots: int
    """Leases of the account at once."""
    ceiling: int | None = None
    """Leases of the whole upstream at once."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens: int = 0
    """What this lease is expected to use."""
    min_interval: float = 0.0
    """Seconds since the start of the account's last lease."""
    quota: int | None = None
    """Leases of the group until `quota_ends`."""
    quota_ends: float = 0.0
    """Unix seconds; names the quota day."""
    quota_used: int = 0
    """How many of them are known to be used up already: what others lost is not counted anew from zero."""


class Taken(NamedTuple):
    """The lease stands."""

    in_flight: int
    """Leases of the account over all processes, this one counted."""


class Full(NamedTuple):
    """The lease is not to be had now."""

    why: Literal["busy", "ceiling", "resting", "paced", "exhausted"]
    """`busy`: all slots taken; `ceiling`: all of the upstream; `resting`: told to; `paced`: by its own rates."""
    seconds: float
    """Until time alone lets it through; 0 where a slot must come back."""
    in_flight: int
    """Leases of the account over all processes."""


class Away(Exception):
    """What processes share cannot be reached."""


class Slots(Protocol):
    """Limits over all processes that share it. It may forget everything, and then learns it again from who asks."""

    @property
    def connected(self) -> bool:
        """Whether what is asked is answered. False: every process keeps the limits by itself."""

    async def take(self, ask: Ask) -> Taken | Full:
        """Ask for a lease; one that was taken is held until given back, or this process is gone. Raises Away.

        A caller that is cancelled, or told Away, holds nothing: what may have been taken all the same is given back.
        """

    def hold(self, ask: Ask) -> None:
        """A lease that was made while away: counted from now on, whether or not it is over a limit. Given back as any.

        Never waits nor fails.
        """

    def give(self, token: str, *, tokens: int | None = None, refund: bool = False) -> None:
        """Give a lease back. Never waits nor fails. `tokens`: really used; `refund`: its quota was not spent."""

    def rest(self, account: str, group: str | None, until: float) -> None:
        """No process gives this account work of the group (None: any) until then. Longer wins. Never waits nor fails.

        `until`: Unix seconds.
        """

    def forget(self, account: str) -> None:
        """An operator renewed it: its rests are over, of every group. Never waits nor fails."""

    async def run(self) -> None:
        """Keep what is held, send what waits to be sent, find back what went away. Runs until cancelled."""

    async def close(self) -> None:
        """Give back what is still held, if that is quick. Called when `run` has ended."""
