"""How often an account may be used: requests and tokens in a minute, and the time between two requests.

Windows slide: whatever the moment, the last sixty seconds hold no more than the limit. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Self

from gateway.types import Account

MINUTE: Final = 60.0


@dataclass(slots=True)
class Entry:
    """Tokens of one lease, or of several that began in the same second."""

    at: float
    tokens: int
    counted: bool = True
    """Whether its minute is not over."""


class Rates:
    """What was used of an account's rates, and when they let the next request through."""

    __slots__ = ("_before", "_entries", "_held", "_interval", "_last", "_most", "_requests", "_tokens", "_tokens_used")

    def __init__(self, account: Account, before: Rates | None = None) -> None:
        """`before`: the same account under other limits, whose use still counts."""
        self._most = account.requests_per_minute or 0
        self._interval = account.min_interval
        self._last: float = before._last if before else float("-inf")
        earlier = before._requests if before else ()
        self._requests: deque[float] = deque(earlier, maxlen=max(self._most, len(earlier)))
        self._before = self._last
        self._tokens = account.tokens_per_minute
        self._entries: deque[Entry] = before._entries if before else deque()
        self._tokens_used: int = before._tokens_used if before else 0
        self._held: dict[int, Entry] = before._held if before else {}
        """Where the tokens of a lease that is out are counted, by its number."""

    @classmethod
    def of(cls, account: Account, before: Rates | None = None) -> Self | None:
        """None for an account without any rate: nothing is counted then."""
        limited = account.requests_per_minute or account.tokens_per_minute or account.min_interval
        return cls(account, before) if limited else None

    def until(self, now: float, tokens: int = 0) -> float:
        """When the next request that may use so many tokens is let through; not later than `now` where it would now."""
        moment = self._last + self._interval
        if self._most and len(self._requests) >= self._most:
            moment = max(moment, self._requests[-self._most] + MINUTE)
        return moment if self._tokens is None else max(moment, self._room(now, tokens))

    def _room(self, now: float, tokens: int) -> float:
        """When there is room for so many tokens. One larger than the whole limit gets through alone."""
        assert self._tokens is not None
        self._forget(now)
        over = self._tokens_used + max(1, min(tokens, self._tokens)) - self._tokens
        if over <= 0:
            return now
        for entry in self._entries:
            over -= entry.tokens
            if over <= 0:
                return entry.at + MINUTE
        return now + MINUTE

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at + MINUTE <= now:
            entry = self._entries.popleft()
            entry.counted = False
            self._tokens_used -= entry.tokens

    def grows(self, now: float) -> float:
        """When more tokens are let through than now; infinite for never."""
        if self._tokens is None:
            return float("inf")
        self._forget(now)
        return self._entries[0].at + MINUTE if self._entries else float("inf")

    def start(self, number: int, now: float, tokens: int) -> None:
        """Lease `number` begins, expected to use so many tokens."""
        self._before, self._last = self._last, now
        self._requests.append(now)
        if self._tokens is not None:
            entry = Entry(now, tokens)
            self._entries.append(entry)
            self._held[number] = entry
            self._tokens_used += tokens

    def undo(self, number: int, began: float) -> None:
        """Lease `number`, begun then, did not begin after all. Others may have begun since."""
        if self._last == began:
            self._last = self._before
        if began in self._requests:
            self._requests.remove(began)
        self.settle(number, 0)

    def settle(self, number: int, tokens: int | None) -> None:
        """Lease `number` ended, and used so many tokens; None: nobody knows, so that what was expected counts."""
        entry = self._held.pop(number, None)
        if entry is not None and tokens is not None:
            if entry.counted:
                self._tokens_used += tokens - entry.tokens
            entry.tokens = tokens
