"""Limits of accounts over all processes of a namespace, kept in one Redis by one script.

Takes of many callers go together: while one round trip is under way the next gathers, and what is given back, or is to
be held on, goes along with it. There is one connection and one trip at a time, so that Redis does everything in the
order in which it was said. Whatever fails, the connection is given up and made anew; nobody who asks waits for that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError

from gateway.state.acts import Answers, Forget, Give, Hold, Rest, Tell, Trip
from gateway.state.redis_client import CONNECT_SECONDS, Standing, client_of, connection_of, kept_up
from gateway.state.slots import Ask, Away, Full, Taken

LEASE_SECONDS = 60.0
"""So long Redis holds a slot for a process that says nothing. It is held anew three times as often."""
TAKE_SECONDS = 0.5
"""How long a lease is waited for."""
LEAST_SECONDS = 0.05
"""What a trip gets at least, however long those who ask have waited for the trip before it."""
GRACE_SECONDS = 0.02
"""A process that was held up itself looks once more: the answer may have come meanwhile."""
ASK_SECONDS = 1.0
"""How often Redis is asked for a sign of life when nothing else is asked."""
CLOSE_SECONDS = 0.5
"""How long a shutdown waits until everything is given back."""
TELLS = 10_000
"""What may wait to be told. The oldest gives way: a slot not given back ends by itself."""
BATCH = 500
"""Acts of each sort in one trip."""

_clock = time.monotonic


@dataclass(slots=True)
class Asking:
    """A caller that waits for a lease."""

    ask: Ask
    answer: asyncio.Future[Taken | Full | None]
    """None: Redis is away."""
    since: float
    """Monotonic."""


class Held(NamedTuple):
    """A lease that stands."""

    ask: Ask
    second: int | None
    """By the clock of Redis, where its tokens are counted; None: not known."""


@dataclass(slots=True)
class Load:
    """What one trip carries, by who is to hear of it."""

    tells: list[Tell] = field(default_factory=list)
    held: list[Ask] = field(default_factory=list)
    asking: list[Asking] = field(default_factory=list)


class RedisSlots:
    """`Slots` over one Redis."""

    def __init__(self, url: str, namespace: str, *, lease: float = LEASE_SECONDS) -> None:
        """`lease`: seconds after which a process that is gone holds nothing any more. Raises ConfigError."""
        self._client = client_of(url)
        self._namespace = namespace
        self._lease = lease
        self._connected = False
        self._standing = Standing("slots")
        self._asking: deque[Asking] = deque()
        self._tells: deque[Tell] = deque()
        self._held: dict[str, Held] = {}
        """By token. What was given back is in here no more, and so never held anew."""
        self._due: deque[str] = deque()
        """Tokens to be held anew now."""
        self._due_at = 0.0
        """When all are next: monotonic."""
        self._filled = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._connected

    async def take(self, ask: Ask) -> Taken | Full:
        if not self._connected:
            raise Away("redis is away: limits hold in each process by itself until it is back")
        asking = Asking(ask, asyncio.get_running_loop().create_future(), _clock())
        self._asking.append(asking)
        self._filled.set()
        try:
            answer = await asking.answer
        except asyncio.CancelledError:
            self._undo(ask.token)  # the answer may have come at the same moment; if not, it finds nobody
            raise
        if answer is None:
            raise Away(f"redis did not answer or failed within {TAKE_SECONDS} s; the log says why")
        return answer

    def hold(self, ask: Ask) -> None:
        self._held[ask.token] = Held(ask, None)
        self._tell(Hold(ask, _clock()))

    def give(self, token: str, *, tokens: int | None = None, refund: bool = False) -> None:
        held = self._held.pop(token, None)
        if held is not None:
            self._tell(Give(held.ask, held.second, tokens, refund))

    def rest(self, account: str, group: str | None, until: float) -> None:
        self._tell(Rest(account, group, until))

    def forget(self, account: str) -> None:
        self._tell(Forget(account))

    async def run(self) -> None:
        await kept_up(self._stand, self._standing)

    async def close(self) -> None:
        for token in [*self._held]:
            self.give(token)
        if self._tells and self._standing.well:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._part()

    def _tell(self, tell: Tell) -> None:
        self._tells.append(tell)
        if len(self._tells) > TELLS:
            self._tells.popleft()
        self._filled.set()

    def _undo(self, token: str) -> None:
        """A lease that its caller never got."""
        held = self._held.pop(token, None)
        if held is not None:
            self._tell(_undone(held.ask, held.second))

    # --- the connection ---

    async def _stand(self) -> None:
        """Connect, say what is held, and answer until something fails."""
        connection = connection_of(self._client)
        try:
            await self._greet(connection)
            self._connected = True
            self._standing.good()
            while True:
                await self._wait()
                await self._trip(connection, TAKE_SECONDS)
        finally:
            self._connected = False
            self._refuse([*self._asking])
            self._asking.clear()
            await _drop(connection)

    async def _greet(self, connection: AbstractConnection) -> None:
        """What was said meanwhile, and what is held, is known to Redis before anybody is let in."""
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]
        self._hold_all()
        await self._trip(connection, CONNECT_SECONDS, greeting=True)
        while self._tells or self._due:
            await self._trip(connection, CONNECT_SECONDS)

    async def _part(self) -> None:
        """Say what is still to be said."""
        connection = connection_of(self._client)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            while self._tells:
                await self._trip(connection, CLOSE_SECONDS)
        finally:
            await _drop(connection)

    async def _wait(self) -> None:
        """Until there is something to say, or it is time for a sign of life."""
        if not self._filled.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(ASK_SECONDS, self._due_at - _clock())):
                    await self._filled.wait()
        if _clock() >= self._due_at:
            self._hold_all()

    def _hold_all(self) -> None:
        self._due = deque(self._held)
        self._due_at = _clock() + self._lease / 3
        if self._due:
            self._filled.set()

    # --- a trip ---

    async def _trip(self, connection: AbstractConnection, seconds: float, *, greeting: bool = False) -> None:
        """There and back. Raises whatever went wrong; then it is not known what was done."""
        load = self._load()
        if load.asking:
            seconds = max(load.asking[0].since + seconds - _clock(), LEAST_SECONDS)
        try:
            answers = await _answered(connection, self._packed(load, greeting), seconds)
            if len(answers.of_takes) != len(load.asking):
                raise RedisError("not an answer to what was asked")
        except BaseException:
            self._put_back(load)
            raise
        self._deliver(load.asking, answers)

    def _load(self) -> Load:
        """The next batch: what is given back makes room for who asks."""
        load = Load([self._tells.popleft() for _ in range(min(BATCH, len(self._tells)))])
        while self._due and len(load.held) < BATCH:
            held = self._held.get(self._due.popleft())
            if held is not None:
                load.held.append(held.ask)
        while self._asking and len(load.asking) < BATCH:
            asking = self._asking.popleft()
            if not asking.answer.done():
                load.asking.append(asking)
        if not (self._tells or self._due or self._asking):
            self._filled.clear()
        return load

    def _packed(self, load: Load, greeting: bool) -> Trip:
        trip = Trip(self._namespace, self._lease, _clock())
        if greeting:
            trip.greet()
        for tell in load.tells:
            trip.tell(tell)
        for ask in load.held:
            trip.keep(ask)
        for asking in load.asking:
            trip.take(asking.ask)
        return trip

    def _deliver(self, load: list[Asking], answers: Answers) -> None:
        for asking, answer in zip(load, answers.of_takes, strict=True):
            match answer:
                case int() if asking.answer.done():
                    self._tell(_undone(asking.ask, answers.second))  # its caller was cancelled
                case int():
                    self._held[asking.ask.token] = Held(asking.ask, answers.second)
                    asking.answer.set_result(Taken(answer))
                case Full() if not asking.answer.done():
                    asking.answer.set_result(answer)

    def _put_back(self, load: Load) -> None:
        """Say it again: what was done is not done twice. What may have been taken is given back."""
        taken = [_undone(asking.ask, None) for asking in load.asking]
        self._tells = deque([*load.tells, *taken, *self._tells][-TELLS:])
        self._refuse(load.asking)

    def _refuse(self, waiting: list[Asking]) -> None:
        for asking in waiting:
            if not asking.answer.done():
                asking.answer.set_result(None)


async def _answered(connection: AbstractConnection, trip: Trip, seconds: float) -> Answers:
    """What Redis says to it within so many seconds. Raises TimeoutError, RedisError and what sockets raise."""
    asking = asyncio.create_task(_asked(connection, trip), name="redis slots")
    try:
        await asyncio.wait({asking}, timeout=seconds)
        if not asking.done():
            await asyncio.sleep(GRACE_SECONDS)
        if not asking.done():
            raise TimeoutError(f"no answer within {seconds:.1f} s")
        return asking.result()
    finally:
        asking.cancel()


async def _asked(connection: AbstractConnection, trip: Trip) -> Answers:
    try:
        return await _asked_by(connection, trip.command(known=True))
    except NoScriptError:
        return await _asked_by(connection, trip.command(known=False))


async def _asked_by(connection: AbstractConnection, command: tuple[bytes | str | int, ...]) -> Answers:
    await connection.send_command(*command, check_health=False)
    return Answers.of(await connection.read_response(disable_decoding=True))


async def _drop(connection: AbstractConnection) -> None:
    with suppress(Exception):
        await connection.disconnect(nowait=True)


def _undone(ask: Ask, second: int | None) -> Give:
    """Given back as if it had never been."""
    return Give(ask, second, tokens=0, refund=True, undone=True)
