"""One HTTP/1.1 connection: uvicorn's, with the bounds in bytes and time that it lacks.

Left to itself uvicorn takes headers of any size, waits for a client for ever, answers bad requests in plain text and
drops the body of a request that offers to upgrade.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import ClassVar, Final, Self, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.live import DEPARTURE, Departure

CHUNK_FRAMING_BYTES: Final = 16
"""What the size line and line ends of one honest chunk may take; more is a chunk extension or a trailer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost. Sizes in bytes, times in seconds, rate in bytes a second."""

    header_bytes: int = 64 * 1024
    """Request line and headers together."""
    header_count: int = 256
    url_bytes: int = 16 * 1024
    header_seconds: float = 10.0
    """From the connection, or from the first byte of a later request, to the end of its headers."""
    body_seconds: float = 30.0
    """How long a body may come slower than `body_rate`."""
    body_rate: int = 1024
    connections: int = 10_000
    """At the same time. Past it a connection that waits for nothing is closed for each that comes."""
    linger_seconds: float = 2.0
    """How long a refused client may go on sending, so that it can read why before the connection is reset."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer given below the application, in the error shape of the API."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    retry_after: int | None = None
    """Seconds."""

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return json.dumps({"error": error}).encode()


MALFORMED: Final = Refusal(400, "malformed_request", "The request is not valid HTTP/1.1.")
BODY_STALLED: Final = Refusal(408, "request_timeout", "The request body arrived too slowly or stopped arriving.")
OVERLOADED: Final = Refusal(503, "overloaded", "All connections are busy; try again shortly.", "server_error", 1)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, bounded in bytes and time.

    A request that comes whole in one read costs a few attribute writes. One timer per connection serves every
    deadline: it is armed only while the client owes bytes, looks when it fires, and is never moved per read.
    """

    limits: ClassVar[Limits] = Limits()

    @classmethod
    def within(cls, limits: Limits) -> type[Self]:
        """The same protocol under other limits; uvicorn takes a class, not an instance."""
        return type(cls.__name__, (cls,), {"limits": limits})

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""
        self._timer: asyncio.TimerHandle | None = None
        self._owed_since: float | None = None
        self._in_body = False
        self._read_size = 0
        self._overhead = 0  # bytes of this part of the request that are not body
        self._body_bytes = 0  # since the timer last looked
        self._refusal: Refusal | None = None
        self._deaf = False
        self._departure = Departure()

    # Bytes in.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._owed_since = self.loop.time()
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._refuse(OVERLOADED)
        else:
            self._arm(self.limits.header_seconds)

    def _make_room(self) -> bool:
        """Close one connection that waits for no answer: idle ones must not keep others out."""
        for other in self.connections:
            if other is not self and isinstance(other, Protocol) and other.idle:
                other.transport.close()
                return True
        return False

    @property
    def idle(self) -> bool:
        """Whether no request is being answered; one may have begun to arrive."""
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        self._departure.happened()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        if self._owed_since is None:
            self._owed_since = self.loop.time()
        self._read_size = len(data)
        self._overhead += self._read_size
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or MALFORMED)
            return
        if self._owed_since is not None:
            self._check_unfinished()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # We speak nothing else, and a server may ignore Upgrade. The parser would drop the body of such a
                # request, and Java's client asks for h2c on its first POST: parse the head again without the header.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("CONNECT asks for a proxy")
            return
        self._refusal = self._oversize()
        if self._refusal is not None:
            raise httptools.HttpParserError(self._refusal.code)
        super().on_headers_complete()
        cast(dict[str, object], self.scope)[DEPARTURE] = self._departure
        # The scope holds this list. Trailers would be appended to it, after it was checked.
        self.headers, self.url = [], b""
        self._in_body, self._overhead, self._body_bytes = True, 0, 0
        self._owed_since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._overhead -= len(body) + CHUNK_FRAMING_BYTES
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._in_body:
            return  # the end of a head that is about to be parsed again
        self._owed_since, self._in_body, self._overhead = None, False, 0
        super().on_message_complete()

    # Sizes.

    def _oversize(self) -> Refusal | None:
        """Judge a complete head. Its bytes are summed only when the reads it came in were large enough."""
        limits = self.limits
        if len(self.url) > limits.url_bytes:
            return _url_too_long(limits)
        if len(self.headers) > limits.header_count:
            return _headers_too_many(limits)
        if self._overhead + self._read_size > limits.header_bytes:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > limits.header_bytes:
                return _headers_too_large(limits)
        return None

    def _check_unfinished(self) -> None:
        limits = self.limits
        if self._overhead > limits.header_bytes:
            too_long = len(self.url) > limits.url_bytes
            self._refuse(_url_too_long(limits) if too_long else _headers_too_large(limits))
        elif self._timer is None:
            self._arm(self._tick())

    # Time.

    def _tick(self) -> float:
        return min(self.limits.header_seconds, self.limits.body_seconds / 3)

    def _arm(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The timer fired. A connection that owes nothing is left without one until it does."""
        self._timer = None
        if self._owed_since is None or self.transport.is_closing():
            return
        now = self.loop.time()
        if self._in_body and self._body_moves():
            self._owed_since = now
        self._body_bytes = 0
        left = self._owed_since + (self.limits.body_seconds if self._in_body else self.limits.header_seconds) - now
        if left > 0:
            self._arm(min(left, self._tick()))
        elif self._in_body:
            self._refuse(BODY_STALLED)
        else:
            self.transport.close()

    def _body_moves(self) -> bool:
        """Whether the client keeps the pace, or it is we who make it wait. Nobody waits for a body already answered."""
        if self.cycle.response_complete:
            return False
        ours = self.flow.read_paused or self.cycle.waiting_for_100_continue
        return ours or self._body_bytes >= self.limits.body_rate * self._tick()

    # Refusing.

    def _refuse(self, refusal: Refusal) -> None:
        """Hear no more from this client, and tell it why unless an answer to it is under way."""
        self._deaf, self._owed_since = True, None
        self._disarm()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._answer(refusal)
        elif not self._in_body:
            cycle.keep_alive = False  # the fault is in a later request: this answer ends in peace, then we close
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(refusal)

    def _answer(self, refusal: Refusal) -> None:
        body = refusal.body()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if refusal.retry_after is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[refusal.status] + lines + b"\r\n" + body)
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closing with unread bytes resets the connection, and a client still sending never reads its answer.
        self.transport.write_eof()
        self._timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)


def _url_too_long(limits: Limits) -> Refusal:
    return Refusal(414, "url_too_long", f"The URL is longer than {limits.url_bytes} bytes.")


def _headers_too_large(limits: Limits) -> Refusal:
    return Refusal(431, "header_too_large", f"The request headers are larger than {limits.header_bytes} bytes.")


def _headers_too_many(limits: Limits) -> Refusal:
    return Refusal(431, "header_too_large", f"The request has more than {limits.header_count} headers.")
