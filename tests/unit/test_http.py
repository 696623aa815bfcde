import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.errors import (
    GatewayError,
    InvalidRequest,
    StreamInterrupted,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.http import Answer, Outbound, Timeouts, is_public

pytestmark = pytest.mark.anyio

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def http() -> AsyncIterator[Outbound]:
    made = Outbound(Timeouts(connect=2, idle=5, total=5))
    await made.start()
    yield made
    await made.close()


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """Hands each request's connection to `talk`, again and again until it closes it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                await talk(reader, writer)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=256)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def says(*pieces: bytes, close: bool = False, reset: bool = False) -> Talk:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if reset:
            await asyncio.sleep(0.02)  # what was written is out before the cut
            writer.transport.abort()
        if close:
            writer.close()

    return talk


async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def body_of(answer: Answer) -> bytes:
    try:
        return b"".join([chunk async for chunk in answer.chunks()])
    finally:
        answer.close()


def acquired(http: Outbound) -> int:
    return len(http._open.connector._acquired)  # type: ignore[union-attr]


# --- what went wrong, and whether it was sent ---


async def test_a_refused_dial_was_not_sent(http: Outbound) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await http.call("POST", f"http://127.0.0.1:{free_port()}/", content=b"{}")
    assert caught.value.sent == "no"


async def test_a_name_that_does_not_resolve_was_not_sent(http: Outbound) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await http.call("POST", "http://no-such-host.invalid/", content=b"{}")
    assert caught.value.sent == "no"


async def test_a_header_that_cannot_be_sent_was_not(http: Outbound) -> None:
    async with server(says(OK)) as base:
        with pytest.raises(UpstreamUnreachable) as caught:
            await http.call("POST", base, headers={"Authorization": "Bearer a\r\nX: y"}, content=b"{}")
    assert caught.value.sent == "no"
    assert acquired(http) == 0


@pytest.mark.parametrize(
    ("talk", "raised"),
    [
        (says(reset=True), UpstreamFailed),
        (says(close=True), UpstreamFailed),
        (says(b"HTTP/1.1 200 OK\r\nContent-", reset=True), UpstreamFailed),
        (says(b"what is this\r\n\r\n", close=True), UpstreamGarbled),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal", reset=True), UpstreamFailed),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal", close=True), UpstreamFailed),
        (says(CHUNKED, b"5\r\nhello\r\n", close=True), UpstreamFailed),
    ],
)
async def test_a_cut_after_sending_leaves_it_unknown(http: Outbound, talk: Talk, raised: type[UpstreamError]) -> None:
    async with server(talk) as base:
        with pytest.raises(UpstreamError) as caught:
            await http.call("POST", base, content=b"{}")
    assert type(caught.value) is raised
    assert caught.value.sent == "unknown"
    assert acquired(http) == 0


@pytest.mark.parametrize(
    "talk", [silent, says(b"HTTP/1.1 200 OK\r\n"), says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")]
)
async def test_silence_is_a_timeout_and_leaves_it_unknown(http: Outbound, talk: Talk) -> None:
    async with server(talk) as base:
        with pytest.raises(UpstreamTimeout) as caught:
            await http.call("POST", base, content=b"{}", silence=0.1)
    assert caught.value.sent == "unknown"
    assert acquired(http) == 0


@pytest.mark.parametrize("ending", [{"close": True}, {"reset": True}])
async def test_a_body_that_is_cut_is_an_interrupted_stream(http: Outbound, ending: dict[str, bool]) -> None:
    async with server(says(CHUNKED, b"5\r\nhello\r\n", **ending)) as base:
        answer = await http.open("GET", base, headers={})
        got = b""
        with pytest.raises(StreamInterrupted):
            async for chunk in answer.chunks():
                got += chunk
        answer.close()
    assert got == b"hello"


async def test_a_body_that_falls_silent_is_a_timeout(http: Outbound) -> None:
    async with server(says(CHUNKED, b"5\r\nhello\r\n")) as base:
        answer = await http.open("GET", base, headers={}, silence=0.1)
        with pytest.raises(UpstreamTimeout):
            await body_of(answer)


# --- what comes back ---


async def test_an_answer_comes_whole_whatever_its_status(http: Outbound) -> None:
    async with server(says(b"HTTP/1.1 418 No\r\nContent-Type: Text/Plain; x=y\r\nContent-Length: 2\r\n\r\nno")) as base:
        reply = await http.call("POST", base, json={"a": 1})
    assert (reply.status, reply.content_type, reply.body) == (418, "text/plain", b"no")


async def test_a_redirect_of_an_upstream_is_not_followed(http: Outbound) -> None:
    async with server(
        says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
    ) as base:
        assert (await http.call("POST", base, content=b"{}")).status == 302


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate"])
async def test_a_compressed_answer_is_refused(http: Outbound, coding: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 2\r\n\r\n"
    async with server(says(head.encode() + b"ok")) as base:
        with pytest.raises(UpstreamGarbled):
            await http.call("GET", base)
        with pytest.raises(UpstreamGarbled):
            await http.download(base, trusted=base)
    assert acquired(http) == 0


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_an_answer_past_its_limit_is_refused(http: Outbound, head: bytes) -> None:
    async with server(says(head, b"x" * 5000, close=True)) as base:
        with pytest.raises(UpstreamGarbled):
            await http.call("GET", base, limit=1000)
    assert acquired(http) == 0


async def test_what_is_no_json_is_garbled(http: Outbound) -> None:
    async with server(says(OK)) as base:
        reply = await http.call("GET", base)
    with pytest.raises(UpstreamGarbled):
        reply.json()


# --- connections ---


async def test_a_connection_serves_again_after_its_body_was_drained(http: Outbound) -> None:
    dialled: set[int] = set()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.add(id(writer))
        writer.write(CHUNKED + b"5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    async with server(talk) as base:
        for _ in range(3):
            answer = await http.open("GET", base, headers={})
            async for _chunk in answer.chunks():
                break
            await answer.drain()
            answer.close()
    assert len(dialled) == 1


async def test_a_body_that_never_ends_is_not_waited_for(http: Outbound) -> None:
    async with server(says(CHUNKED, b"5\r\nhello\r\n")) as base:
        answer = await http.open("GET", base, headers={})
        async with asyncio.timeout(1):
            await answer.drain()
        answer.close()
    assert acquired(http) == 0


@pytest.mark.parametrize("twice", [False, True])
async def test_cancelled_calls_lose_no_connections(http: Outbound, twice: bool) -> None:
    dice = random.Random(1)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _piece in range(3):
            writer.write(b"7\r\ndata: x\r\n")
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    async def one(base: str) -> None:
        await body_of(await http.open("POST", base, headers={}, content=b""))

    async with server(talk) as base:
        for _round in range(40):
            calls = [asyncio.create_task(one(base)) for _ in range(8)]
            for call in calls:
                await asyncio.sleep(dice.random() * 0.001)
                if dice.random() < 0.7:
                    call.cancel()
                    if twice:
                        await asyncio.sleep(0)
                        call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(2):
            await one(base)
    assert acquired(http) == 0


# --- URLs that somebody else names ---


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://192.88.99.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
        "http://[fec0::1]/",
        "http://[fe80::1%25lo]/",
        "http://[fd00:ec2::254]/",
        "http://[ff02::1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://localhost/",
        "http://LocalHost/",
        "http://8.8.8.8:22/",
        "http://8.8.8.8:8080/",
        "http://user@8.8.8.8/",
        "http://user:pass@8.8.8.8/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "data:text/plain,x",
        "//127.0.0.1/",
        "http:///127.0.0.1/",
        "http://",
        "",
        "http://127.0.0.1:80:81/",
        "http://[::1/",
        "http://127.0.0.1\\@8.8.8.8/",
        "http://127.0.0.1#@8.8.8.8/",
    ],
)
async def test_an_address_that_is_not_public_is_not_fetched(http: Outbound, url: str) -> None:
    with pytest.raises(GatewayError) as caught:
        async with asyncio.timeout(2):
            (await http.download(url)).close()
    assert isinstance(caught.value, InvalidRequest)
    assert caught.value.code == "invalid_url"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("198.18.0.1", False),
        ("192.0.2.1", False),
        ("192.0.0.170", False),
        ("240.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b:1::a9fe:a9fe", False),
        ("2001:0:7f00:1::", False),
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fe80::1%eth0", False),
        ("100::1", False),
        ("5f00::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_that_resolves_to_private_addresses_is_not_fetched(
    http: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        stream = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET, *stream, ("10.0.0.1", 80)),
            (socket.AF_INET, *stream, ("169.254.169.254", 80)),
            (socket.AF_INET6, *stream, ("fd00::1", 80, 0, 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(InvalidRequest) as caught:
        await http.download("http://innocent.example/")
    assert caught.value.code == "invalid_url"


async def test_the_upstreams_own_host_is_always_fetched(http: Outbound) -> None:
    async with server(says(OK)) as base:
        answer = await http.download(f"{base}/image.png", trusted=f"{base}/v1")
        assert await body_of(answer) == b"ok"


async def test_another_port_of_the_upstreams_host_is_not(http: Outbound) -> None:
    asked = 0

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(OK)

    async with server(talk) as other, server(says(OK)) as base:
        with pytest.raises(InvalidRequest):
            await http.download(other, trusted=base)
    assert asked == 0


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "//127.0.0.1:80/", "file:///etc/passwd"]
)
async def test_a_redirect_to_a_private_address_is_not_followed(http: Outbound, target: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    async with server(says(head.encode())) as base:
        with pytest.raises(InvalidRequest) as caught:
            await http.download(base, trusted=base)
    assert caught.value.code == "invalid_url"
    assert acquired(http) == 0


async def test_a_redirect_on_the_upstreams_own_host_is_followed(http: Outbound) -> None:
    answers = iter([b"HTTP/1.1 307 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", OK])

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))

    async with server(talk) as base:
        assert await body_of(await http.download(f"{base}/here", trusted=base)) == b"ok"


@pytest.mark.parametrize("location", ["Location: /again\r\n", ""])
async def test_a_redirect_without_end_is_refused(http: Outbound, location: str) -> None:
    async with server(says(f"HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\n\r\n".encode())) as base:
        with pytest.raises(InvalidRequest, match="too often"):
            await http.download(base, trusted=base)


async def test_a_proxy_of_the_environment_is_not_used(http: Outbound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with server(says(OK)) as base:
        assert (await http.call("GET", base)).body == b"ok"


async def test_a_proxy_that_is_down_means_nothing_was_sent(http: Outbound) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await http.call("POST", "http://upstream.example/", content=b"{}", proxy=f"http://127.0.0.1:{free_port()}")
    assert caught.value.sent == "no"
