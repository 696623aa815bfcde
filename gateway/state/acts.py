"""What one round trip to Redis carries: acts on accounts, in the order they are done, and the keys they touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self, assert_never
from urllib.parse import quote

import msgspec
from redis.exceptions import RedisError

from gateway.state.scripts import ACTS, ACTS_SHA
from gateway.state.slots import Ask, Full

MICROS = 1_000_000
LONGEST_INTERVAL = 366 * 86400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A lease was made while Redis was away."""

    ask: Ask
    made: float
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class Give:
    """A lease is given back."""

    ask: Ask
    second: int | None = None
    """By the clock of Redis, where its tokens are counted; None: not known."""
    tokens: int | None = None
    """Really used; None: as expected."""
    refund: bool = False
    undone: bool = False
    """It never began."""


@dataclass(frozen=True, slots=True)
class Rest:
    account: str
    group: str | None
    until: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Forget:
    account: str


Tell = Hold | Give | Rest | Forget
"""What Redis is told, and answers nothing to."""


class Answers(NamedTuple):
    """What Redis says to a trip."""

    second: int
    """Of its clock."""
    of_takes: list[int | Full]
    """In their order; a number: taken, and so many leases has the account."""

    @classmethod
    def of(cls, packed: bytes) -> Self:
        """Raises RedisError."""
        try:
            match _ANSWERS.decode(packed):
                case [int() as second, *answers]:
                    return cls(second, answers)
                case _:
                    raise RedisError("its answer does not say when it is")
        except (msgspec.MsgspecError, TypeError) as error:
            raise RedisError("its answer cannot be read") from error


_ANSWERS = msgspec.msgpack.Decoder(list[int | Full])

OF_LEASE = ("rests", "slots", "ceiling", "quota", "starts", "tokens")
"""Keys of a lease, in the order in which the script counts on them."""


class Trip:
    """Acts that are sent together. An account's keys are named once, however many acts are about it."""

    def __init__(self, namespace: str, lease: float, now: float) -> None:
        """`lease`: seconds that a slot is held; `now`: monotonic."""
        self._prefix = f"mediagate:{{{namespace}}}:"
        self._lease = lease
        self._now = now
        self._keys: list[bytes] = []
        self._places: dict[tuple[Any, ...], int] = {}
        """Where the keys begin that belong to something."""
        self._acts: list[tuple[Any, ...]] = []

    def greet(self) -> None:
        """Write something: what cannot be written to is of no use."""
        self._acts.append(("greet", self._place(("greeting",))))

    def take(self, ask: Ask) -> None:
        self._acts.append(
            (
                "take",
                self._of_lease(ask),
                _text(ask.token),
                _field(ask.group),
                ask.slots,
                ask.ceiling,
                ask.requests_per_minute,
                ask.tokens_per_minute,
                ask.tokens,
                _interval(ask),
                ask.quota,
                ask.quota_used,
                ask.quota_ends,
            )
        )

    def keep(self, ask: Ask) -> None:
        """Hold its slot anew."""
        self._acts.append(("keep", self._of_lease(ask), _text(ask.token), ask.ceiling is not None))

    def tell(self, tell: Tell) -> None:
        match tell:
            case Hold():
                self._hold(tell)
            case Give():
                self._give(tell)
            case Rest(account, group, until):
                self._acts.append(("rest", self._place(("rests", account)), _field(group), until))
            case Forget(account):
                self._acts.append(("forget", self._place(("rests", account))))
            case _:
                assert_never(tell)

    def command(self, *, known: bool) -> tuple[bytes | str | int, ...]:
        """What to send. `known`: Redis has the script, and is told its name only."""
        script = ("EVALSHA", ACTS_SHA) if known else ("EVAL", ACTS)
        return (*script, len(self._keys), *self._keys, int(self._lease * MICROS), msgspec.msgpack.encode(self._acts))

    def _hold(self, hold: Hold) -> None:
        ask = hold.ask
        self._acts.append(
            (
                "hold",
                self._of_lease(ask),
                _text(ask.token),
                ask.ceiling is not None,
                ask.requests_per_minute,
                ask.tokens_per_minute,
                ask.tokens,
                _interval(ask),
                ask.quota,
                ask.quota_used,
                ask.quota_ends,
                int((self._now - hold.made) * MICROS),
            )
        )

    def _give(self, give: Give) -> None:
        ask = give.ask
        refund = give.refund and ask.quota is not None
        self._acts.append(
            ("give", self._of_lease(ask), _text(ask.token), refund, give.second, _correction(give), give.undone)
        )

    def _of_lease(self, ask: Ask) -> int:
        """Where the keys of a lease begin."""
        what = (ask.upstream, ask.account, ask.group, ask.quota_ends)
        place = self._places.get(what)
        if place is None:
            day = f"{ask.quota_ends:.0f}:{quote(ask.group, safe='', errors='surrogatepass')}"
            about = (ask.account, ask.account, ask.upstream, f"{day}:{ask.account}", ask.account, ask.account)
            place = self._places[what] = len(self._keys) + 1
            self._keys.extend(self._key(name, about) for name, about in zip(OF_LEASE, about, strict=True))
        return place

    def _place(self, what: tuple[str, ...]) -> int:
        """Where the one key is that goes by these words."""
        place = self._places.get(what)
        if place is None:
            place = self._places[what] = len(self._keys) + 1
            self._keys.append(self._key(*what))
        return place

    def _key(self, name: str, about: str = "") -> bytes:
        """What it is about stands last and as it is: nothing that follows it could be taken for a part of it."""
        return f"{self._prefix}{name}:{about}".encode("utf-8", "surrogatepass")


def _field(group: str | None) -> str:
    return "*" if group is None else _text(f":{group}")


def _text(word: str) -> str:
    """Any word at all: one that cannot be sent would stop the others."""
    return word if word.isascii() else word.encode("utf-8", "backslashreplace").decode()


def _interval(ask: Ask) -> int:
    """Microseconds."""
    return int(min(LONGEST_INTERVAL, ask.min_interval) * MICROS)


def _correction(give: Give) -> int:
    """Tokens used beyond what was expected. Fewer are corrected only where it is known when they were counted."""
    if give.tokens is None or give.ask.tokens_per_minute is None:
        return 0
    beyond = give.tokens - give.ask.tokens
    return beyond if give.second is not None else max(beyond, 0)
