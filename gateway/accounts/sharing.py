"""One pool's side of the limits that all processes share: what it asks for a lease, and what it learns from a no.

The pool decides by its own count whose turn it is; then everybody's count has the last word. While what is shared
cannot be reached, every process keeps the limits by itself.
"""

from __future__ import annotations

import random
import secrets
from typing import Final, assert_never

from gateway.accounts.facts import Fact
from gateway.accounts.lease import Lease
from gateway.state.slots import NEVER, Ask, Away, Full, Slots, Taken

CROWDED_SECONDS: Final = 0.02
"""How long a process leaves an account alone whose slots others hold; longer each time."""
CROWDED_MOST: Final = 0.25


class Sharing:
    """What one pool asks of `slots`."""

    __slots__ = ("_crowds", "_prefix", "_rng", "_slots", "_upstream")

    def __init__(self, slots: Slots, upstream: str, rng: random.Random) -> None:
        self._slots = slots
        self._upstream = upstream
        self._rng = rng
        self._prefix = secrets.token_hex(6)
        self._crowds: dict[str, int] = {}
        """How often in a row an account was full of others' leases."""

    @property
    def connected(self) -> bool:
        return self._slots.connected

    async def confirm(self, lease: Lease, ceiling: int | None, wall: float) -> Full | None:
        """Have everybody count the lease. None: it stands. Full: it does not, and nothing is held for it."""
        ask = self._ask(lease, ceiling, wall)
        try:
            answer = await self._slots.take(ask)
        except Away:
            self._slots.hold(ask)
            lease.token = ask.token
            return None
        if isinstance(answer, Taken):
            lease.token = ask.token
            lease.standing.elsewhere = max(0, answer.in_flight - lease.standing.in_flight)
            self._crowds.pop(lease.account.id, None)
            return None
        return answer

    def learn(self, lease: Lease, full: Full, now: float, wall: float) -> None:
        """What a no says of the account; its slot is given back already."""
        standing = lease.standing
        match full.why:
            case "busy" | "ceiling":
                crowds = self._crowds[lease.account.id] = self._crowds.get(lease.account.id, 0) + 1
                wait = min(CROWDED_MOST, CROWDED_SECONDS * 2.0 ** min(crowds - 1, 8)) * self._rng.uniform(0.5, 1.0)
                standing.elsewhere = max(0, full.in_flight - standing.in_flight)
                standing.crowded_until = now + wait
            case "paced":
                standing.pace(full.seconds, now)
            case "resting":
                standing.heed(now + full.seconds, now)
            case "exhausted":
                group = lease.want.sort.group
                standing.exhausted[group] = max(standing.exhausted.get(group, 0.0), wall + full.seconds)
            case _:
                assert_never(full.why)

    def give(self, lease: Lease, *, refund: bool) -> None:
        if lease.token is not None:
            self._slots.give(lease.token, tokens=lease.tokens, refund=refund)

    def tell(self, account_id: str, fact: Fact) -> None:
        """What keeps the account from work for a time, everybody is to know at once."""
        name, _, group = fact.name.partition(":")
        if name in ("rest", "exhausted") and fact.until < NEVER:
            self._slots.rest(account_id, group or None, fact.until)

    def pace(self, account_id: str, until: float) -> None:
        """Its rates are used up, as the upstream says: whoever's doing that was. Unix seconds."""
        self._slots.rest(account_id, None, until)

    def forget(self, account_id: str) -> None:
        self._crowds.pop(account_id, None)
        self._slots.forget(account_id)

    def _ask(self, lease: Lease, ceiling: int | None, wall: float) -> Ask:
        account, standing, group = lease.account, lease.standing, lease.want.sort.group
        quota = standing.quota
        return Ask(
            token=f"{self._prefix}.{lease.serial}",
            upstream=self._upstream,
            account=account.id,
            group=group,
            slots=standing.slots,
            ceiling=ceiling,
            requests_per_minute=account.requests_per_minute,
            tokens_per_minute=account.tokens_per_minute,
            tokens=lease.want.tokens,
            min_interval=account.min_interval,
            quota=quota.most.get(group),
            quota_ends=lease.quota_ends,
            quota_used=max(0, quota.today(wall).get(group, 0) - 1),  # this one is counted already
        )
