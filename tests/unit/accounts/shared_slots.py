"""What processes share, in memory: a small honest `Slots`, as far away as a test wants."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.state.slots import Ask, Away, Full, Taken

MINUTE = 60.0


@dataclass
class Held:
    ask: Ask
    at: float
    tokens: int
    given: bool = False


@dataclass
class Shared:
    """What all processes see. `wall`: Unix seconds."""

    wall: Callable[[], float]
    leases: dict[str, list[Held]] = field(default_factory=lambda: defaultdict(list))
    """Those of an account, in the order that they were taken."""
    by_token: dict[str, Held] = field(default_factory=dict)
    used: dict[tuple[str, str, float], int] = field(default_factory=dict)
    rests: dict[tuple[str, str | None], float] = field(default_factory=dict)

    def held(self, account: str | None = None) -> int:
        """How many leases are out, of an account or of all."""
        lists = self.leases.values() if account is None else [self.leases[account]]
        return sum(not one.given for leases in lists for one in leases)

    def take(self, ask: Ask) -> Taken | Full:
        now, busy = self.wall(), self.held(ask.account)
        self._learn_used(ask)
        for group, why in ((None, "resting"), (ask.group, "exhausted")):
            if (until := self.rests.get((ask.account, group), 0.0)) > now:
                return Full("resting" if why == "resting" else "exhausted", until - now, busy)
        if ask.quota is not None and self.used[ask.account, ask.group, ask.quota_ends] >= ask.quota:
            return Full("exhausted", ask.quota_ends - now, busy)
        if (pace := self._pace(ask, now)) > now:
            return Full("paced", pace - now, busy)
        if busy >= ask.slots:
            return Full("busy", 0.0, busy)
        if ask.ceiling is not None and self.held() >= ask.ceiling:
            return Full("ceiling", 0.0, busy)
        self.add(ask)
        return Taken(busy + 1)

    def add(self, ask: Ask) -> None:
        self._learn_used(ask)
        self.used[ask.account, ask.group, ask.quota_ends] += 1
        self.by_token[ask.token] = held = Held(ask, self.wall(), ask.tokens)
        self.leases[ask.account].append(held)

    def undo(self, ask: Ask) -> None:
        if (held := self.by_token.pop(ask.token, None)) is not None:
            self.leases[ask.account].remove(held)
            self.used[ask.account, ask.group, ask.quota_ends] -= 1

    def give(self, token: str, tokens: int | None, *, refund: bool) -> None:
        held = self.by_token.pop(token)
        held.given = True
        held.tokens = held.tokens if tokens is None else tokens
        if refund:
            self.used[held.ask.account, held.ask.group, held.ask.quota_ends] -= 1

    def rest(self, account: str, group: str | None, until: float) -> None:
        self.rests[account, group] = max(until, self.rests.get((account, group), 0.0))

    def forget(self, account: str) -> None:
        self.rests = {key: until for key, until in self.rests.items() if key[0] != account}

    def _learn_used(self, ask: Ask) -> None:
        self.used.setdefault((ask.account, ask.group, ask.quota_ends), ask.quota_used)

    def _pace(self, ask: Ask, now: float) -> float:
        """When the account's rates let the next through."""
        leases = self.leases[ask.account]
        last = [one for one in leases if one.at + MINUTE > now]
        moment = leases[-1].at + ask.min_interval if leases else 0.0
        if ask.requests_per_minute and len(last) >= ask.requests_per_minute:
            moment = max(moment, last[-ask.requests_per_minute].at + MINUTE)
        if ask.tokens_per_minute:
            over = sum(one.tokens for one in last) + max(1, min(ask.tokens, ask.tokens_per_minute))
            over -= ask.tokens_per_minute
            for one in last:
                if over <= 0:
                    break
                over -= one.tokens
                moment = max(moment, one.at + MINUTE)
        return moment


async def _at_once() -> None:
    await asyncio.sleep(0)


class SharedSlots:
    """One process's way to what is shared. `pause` is how long it takes to get there, and back again."""

    def __init__(self, shared: Shared, pause: Callable[[], Awaitable[None]] = _at_once) -> None:
        self._shared = shared
        self._pause = pause
        self._connected = True
        self._unsent: list[Callable[[], None]] = []
        self.asked: list[Ask] = []

    @property
    def connected(self) -> bool:
        return self._connected

    def go(self) -> None:
        """From now on it cannot be reached."""
        self._connected = False

    def come_back(self) -> None:
        self._connected = True
        unsent, self._unsent = self._unsent, []
        for send in unsent:
            send()

    async def take(self, ask: Ask) -> Taken | Full:
        self.asked.append(ask)
        if not self._connected:
            raise Away
        await self._pause()
        if not self._connected:
            raise Away
        answer = self._shared.take(ask)
        try:
            await self._pause()
            if not self._connected:
                raise Away
        except BaseException:
            self._send(lambda: self._shared.undo(ask))
            raise
        return answer

    def hold(self, ask: Ask) -> None:
        self._send(lambda: self._shared.add(ask))

    def give(self, token: str, *, tokens: int | None = None, refund: bool = False) -> None:
        self._send(lambda: self._shared.give(token, tokens, refund=refund))

    def rest(self, account: str, group: str | None, until: float) -> None:
        self._send(lambda: self._shared.rest(account, group, until))

    def forget(self, account: str) -> None:
        self._send(lambda: self._shared.forget(account))

    async def run(self) -> None:
        """Nothing has to be kept alive here."""

    async def close(self) -> None:
        """Nothing is left to send."""

    def _send(self, send: Callable[[], None]) -> None:
        if self._connected:
            send()
        else:
            self._unsent.append(send)
