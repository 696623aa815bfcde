"""Everything that goes out: the one place where clients are made and foreign errors become ours.

On aiohttp itself: httpx's own pool loses slots for good when calls are cancelled, and the bridge from httpx to aiohttp
reports a connection that was cut after sending as a failed dial, which would make a paid create look safe to repeat.
Here the two are told apart: `sent="no"` only when the connection never stood.

Two sessions: one for upstreams that the operator configured, one guarded for URLs that somebody else named. The guard
looks at the address when it is dialled, so that neither names, redirects nor rebinding get around it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import aiohttp
import msgspec
from yarl import URL

from gateway.errors import (
    GatewayError,
    InvalidRequest,
    StreamInterrupted,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamTimeout,
    UpstreamUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multidict import CIMultiDictProxy

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of an answer that is read whole: a dozen images in base64 fit."""
MAX_REDIRECTS = 3
DRAIN_SECONDS = 0.1
"""What a connection saved is worth waiting for."""
MAX_ACKNOWLEDGEMENT = 64 * 1024
"""Bytes let in of what a told receiver has to say: nobody reads them."""
ACKNOWLEDGEMENT_SECONDS = 1.0
PUBLIC_PORTS = frozenset({80, 443})

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL6 = ipaddress.ip_network("2000::/3")
_NOT_GLOBAL6 = tuple(map(ipaddress.ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_RELAY_ANYCAST = ipaddress.ip_network("192.88.99.0/24")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    first_event: float = 60.0
    idle: float = 60.0
    total: float = 600.0


class Answer:
    """An upstream's answer with its body still to come. Close it; closing early drops the connection."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: CIMultiDictProxy[str] = response.headers

    @property
    def content_type(self) -> str:
        """Without parameters, lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes in. Raises StreamInterrupted, UpstreamTimeout."""
        with _translated(begun=True):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def read(self, limit: int = MAX_REPLY) -> bytes:
        """The whole body. Raises UpstreamGarbled past `limit` bytes."""
        with _translated(begun=True):
            if (self._response.content_length or 0) > limit:
                raise UpstreamGarbled(f"the upstream's answer is larger than {limit} bytes")
            if limit >= MAX_REPLY and self._response.content_length is not None:
                return await self._response.read()
            parts, size = [], 0
            async for chunk in self._response.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise UpstreamGarbled(f"the upstream's answer is larger than {limit} bytes")
                parts.append(chunk)
            return b"".join(parts)

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Let the end of a body come in that has nothing more to say, so that its connection serves again."""
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in self.chunks():
                    pass

    def close(self) -> None:
        """Give the connection back where the body was read to its end, drop it where not. Never waits."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """An upstream's answer, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The decoded body. Raises UpstreamGarbled where it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as exc:
            raise UpstreamGarbled("the upstream's answer is not JSON", detail=excerpt(self.body)) from exc


class Outbound:
    """The clients. Made by `start`, closed by `close`; both sessions keep connections alive between calls."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self._open: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None
        self._limits: dict[float, aiohttp.ClientTimeout] = {}

    async def start(self) -> None:
        self._open = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=15))
        self._guarded = _session(aiohttp.TCPConnector(limit=100, force_close=True, socket_factory=_public_socket))

    async def close(self) -> None:
        for session in (self._open, self._guarded):
            if session is not None:
                await session.close()

    async def open(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | aiohttp.MultipartWriter | None = None,
        proxy: str | None = None,
        silence: float | None = None,
    ) -> Answer:
        """Send to a configured upstream; the answer's head is there, its body is not.

        `silence`: seconds without a byte that are too many (default `timeouts.idle`). Redirects are not followed.
        Raises UpstreamUnreachable (nothing was sent), UpstreamTimeout or UpstreamFailed (`sent="unknown"`).
        """
        assert self._open is not None, "Outbound.start() comes first"
        with _translated(begun=False):
            response = await self._open.request(
                method,
                url,
                data=content,
                headers=headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=self._timeout(self.timeouts.idle if silence is None else silence),
            )
        return _plain(Answer(response))

    async def call(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | aiohttp.MultipartWriter | None = None,
        proxy: str | None = None,
        limit: int = MAX_REPLY,
        silence: float | None = None,
    ) -> Reply:
        """Send to a configured upstream and read the whole answer, whatever its status. Raises as `open` does."""
        sent = dict(headers or {})
        if json is not None:
            content = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        answer = await self.open(method, url, headers=sent, content=content, proxy=proxy, silence=silence)
        try:
            return Reply(answer.status, answer.headers, await answer.read(limit))
        except StreamInterrupted as exc:
            raise UpstreamFailed("the upstream broke off its answer", sent="unknown") from exc
        finally:
            answer.close()

    async def download(self, url: str, *, trusted: str = "") -> Answer:
        """GET a URL that an answer or a caller named.

        `trusted`: a base URL whose own host and port are always fetchable; every other address must be public, port
        80 or 443. Raises InvalidRequest(code="invalid_url") for an address that may not be fetched.
        """
        for _ in range(MAX_REDIRECTS + 1):
            target = fetchable(url)
            session = self._open if trusted and target.origin() == URL(trusted).origin() else self._guarded
            assert session is not None, "Outbound.start() comes first"
            if session is self._guarded:
                _check_literal(target)
            with _translated(begun=False):
                response = await _get(session, target, self._timeout(self.timeouts.idle))
            if response.status not in (301, 302, 303, 307, 308):
                return _plain(Answer(response))
            url = urljoin(url, response.headers.get("Location", ""))
            response.close()
        raise InvalidRequest("the URL redirects too often", code="invalid_url")

    async def tell(
        self, url: str, content: bytes, *, headers: Mapping[str, str], trusted: Collection[URL], seconds: float
    ) -> Reply:
        """POST to a URL that a caller named. How it was taken is the status; the body is let in, no more, and dropped.

        Takes `seconds` at most to be answered and follows no redirect. The address must be public, port 80 or 443,
        unless the URL's origin is one of `trusted`. Raises InvalidRequest(code="invalid_url") for one that is not, else
        as `open` does.
        """
        target = fetchable(url)
        known = target.origin() in trusted
        session = self._open if known else self._guarded
        assert session is not None, "Outbound.start() comes first"
        if not known:
            _check_literal(target)
        limits = self._timeout(seconds)
        with _translated(begun=False):
            async with asyncio.timeout(seconds):
                sending = session.post(target, data=content, headers=headers, allow_redirects=False, timeout=limits)
                answer = Answer(await sending)
        try:
            with suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(ACKNOWLEDGEMENT_SECONDS):
                    await answer.read(MAX_ACKNOWLEDGEMENT)
        finally:
            answer.close()
        return Reply(answer.status, answer.headers, b"")

    def _timeout(self, silence: float) -> aiohttp.ClientTimeout:
        found = self._limits.get(silence)
        if found is None:
            found = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect, sock_read=silence)
            if len(self._limits) < 64:
                self._limits[silence] = found
        return found


def fetchable(url: str) -> URL:
    """The one reading of a URL that is both checked and dialled. Raises InvalidRequest(code="invalid_url")."""
    try:
        parsed = URL(url)
        bare = bool(parsed.host) and not parsed.user and not parsed.password
    except ValueError as exc:  # also of a host that is no IDNA, which shows only when it is asked for
        raise InvalidRequest("not a URL that can be fetched", code="invalid_url") from exc
    if parsed.scheme not in ("http", "https") or not bare:
        raise InvalidRequest("only plain http:// and https:// URLs can be fetched", code="invalid_url")
    return parsed


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: no private, local, mapped, translated or reserved one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            return ip in _GLOBAL6 and not any(ip in network for network in _NOT_GLOBAL6)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _RELAY_ANYCAST


def excerpt(body: bytes, size: int = 300) -> str:
    """The beginning of an answer, for `detail`."""
    return body[:size].decode("utf-8", "replace")


class _Refused(OSError):
    """Our guard's no, told apart from the network's."""


async def _get(session: aiohttp.ClientSession, url: URL, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
    try:
        return await session.get(url, allow_redirects=False, timeout=timeout)
    except aiohttp.InvalidURL as exc:  # `http://127.1/` is a host to some and none to others
        raise InvalidRequest("not a URL that can be fetched", code="invalid_url") from exc


def _check_literal(url: URL) -> None:
    if (url.port or 0) not in PUBLIC_PORTS:
        raise InvalidRequest("the URL's address is not public", code="invalid_url")


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    family, kind, proto, _, address = info
    if not is_public(address[0]):
        raise _Refused("not a public address")
    made = socket.socket(family, kind, proto)
    made.setblocking(False)
    return made


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "mediagate"},
    )


def _plain(answer: Answer) -> Answer:
    """Compression was not asked for: an answer that has it is refused before it can unfold."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        answer.close()
        raise UpstreamGarbled("the upstream sent a compressed answer that was not asked for")
    return answer


@contextmanager
def _translated(*, begun: bool) -> Iterator[None]:
    """aiohttp's errors as ours. `begun`: the answer's head has come already."""
    try:
        yield
    except GatewayError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise (_never_sent(exc) or _after_sending(exc, begun)) from exc


def _never_sent(exc: Exception) -> GatewayError | None:
    """The error, where the connection never stood or the request could not be written down."""
    match exc:
        case aiohttp.ClientConnectorError(os_error=_Refused()):
            return InvalidRequest("the URL's address is not public", code="invalid_url")
        case aiohttp.ClientConnectorError():
            return UpstreamUnreachable(detail=str(exc.os_error), sent="no")
        case aiohttp.ConnectionTimeoutError():
            return UpstreamUnreachable("the upstream could not be reached in time", sent="no")
        case aiohttp.InvalidURL() | aiohttp.ClientHttpProxyError():
            return UpstreamUnreachable("the upstream's address or proxy cannot be used", sent="no")
        case ValueError():
            return UpstreamUnreachable("the request holds a header that cannot be sent", sent="no")
        case _:
            return None


def _after_sending(exc: Exception, begun: bool) -> GatewayError:
    detail = type(exc).__name__
    match exc:
        case TimeoutError():
            return UpstreamTimeout("the upstream fell silent", sent="unknown")
        case _ if begun:
            return StreamInterrupted(sent="unknown", detail=detail)
        case aiohttp.ClientResponseError():
            return UpstreamGarbled("the upstream's answer is not HTTP", sent="unknown", detail=exc.message)
        case _:
            return UpstreamFailed(
                "the upstream closed the connection before it answered", sent="unknown", detail=detail
            )
