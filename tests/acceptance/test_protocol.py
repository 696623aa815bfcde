"""What the server does to clients that send too much, nonsense, or too slowly, and what it must not break."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.process import GET, POST, Process, response, rest, running, stream_request

HASTY = {"header_seconds": 0.5, "body_seconds": 0.5, "linger_seconds": 0.2}


@pytest.fixture(scope="module")
def hasty() -> Iterator[Process]:
    """A server with short deadlines that no test ends."""
    with running(limits=HASTY) as process:
        yield process


@pytest.fixture(scope="module")
def patient() -> Iterator[Process]:
    """A server with the usual limits."""
    with running() as process:
        yield process


def assert_refused(answer: tuple[int, dict[str, str], Any], status: int, code: str) -> None:
    got, headers, body = answer
    assert (got, body["error"]["code"]) == (status, code)
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["param"] is None
    assert body["error"]["message"]
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"


# What is too big.


@pytest.mark.parametrize("size", [70_000, 300_000])
def test_long_header_is_refused_in_json(patient: Process, size: int) -> None:
    assert_refused(patient.ask(GET + b"x: " + b"a" * size + b"\r\n\r\n"), 431, "header_too_large")


def test_long_head_of_many_short_headers_is_refused_while_it_still_comes(patient: Process) -> None:
    assert_refused(patient.ask(GET, *[b"x: " + b"a" * 9_000 + b"\r\n"] * 8), 431, "header_too_large")


def test_too_many_headers_are_refused(patient: Process) -> None:
    assert_refused(patient.ask(GET + b"x: a\r\n" * 256 + b"\r\n"), 431, "header_too_large")
    assert patient.ask(GET + b"x: a\r\n" * 255 + b"\r\n")[0] == 200


@pytest.mark.parametrize("size", [17_000, 65_536, 500_000])
def test_long_url_is_refused(patient: Process, size: int) -> None:
    assert_refused(patient.ask(b"GET /echo?" + b"a" * size + b" HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "url_too_long")


def test_head_near_the_cap_with_a_large_body_passes(patient: Process) -> None:
    head = POST + b"x: " + b"a" * 60_000 + b"\r\ncontent-length: 1000000\r\n\r\n"
    assert patient.ask(head + b"b" * 1_000_000)[2]["size"] == 1_000_000


def test_large_body_before_a_pipelined_request_is_not_counted_as_its_head(patient: Process) -> None:
    with patient.connect(POST + b"content-length: 200000\r\n\r\n" + b"b" * 200_000 + GET[:20]) as sock:
        assert response(sock)[2]["size"] == 200_000
        sock.sendall(GET[20:] + b"\r\n")
        assert response(sock)[2]["size"] == 0


def test_small_honest_chunks_pass(patient: Process) -> None:
    body = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    assert patient.ask(POST + b"transfer-encoding: chunked\r\n\r\n" + body)[2]["size"] == 50_000


@pytest.mark.parametrize("flood", [b"1;" + b"e" * 900 + b"\r\nx\r\n", b"0\r\n" + b"t: t\r\n" * 40_000])
def test_chunk_extensions_and_trailers_are_bounded(patient: Process, flood: bytes) -> None:
    chunks = flood * (250_000 // len(flood) + 1)
    assert_refused(patient.ask(POST + b"transfer-encoding: chunked\r\n\r\n", chunks), 431, "header_too_large")


def test_trailers_do_not_become_headers(patient: Process) -> None:
    head = POST + b"transfer-encoding: chunked\r\n\r\n"
    assert "admin" not in patient.ask(head + b"1\r\nx\r\n0\r\nadmin: yes\r\n\r\n")[2]["headers"]


# What is malformed.


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        POST + b"content-length : 1\r\n\r\na",
        POST + b"content-length: -1\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
        GET + b"x: a\r\n b\r\n\r\n",
        b"GET /echo HTTP/1.1\nhost: a\n\n",
    ],
)
def test_malformed_request_is_refused_in_json(patient: Process, garbage: bytes) -> None:
    assert_refused(patient.ask(garbage), 400, "malformed_request")


def test_request_after_a_malformed_one_is_never_parsed(patient: Process) -> None:
    bad = POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    with patient.connect(bad + GET + b"\r\n") as sock:
        assert rest(sock).count(b"HTTP/1.1 ") == 1


def test_garbage_behind_a_request_does_not_spoil_its_answer(patient: Process) -> None:
    with patient.connect(b"GET /stream?count=3&gap=0.02 HTTP/1.1\r\nhost: a\r\n\r\n" + b"\0garbage\r\n\r\n") as sock:
        answer = rest(sock)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"4\r\nend\n\r\n0\r\n\r\n")


# What is slow.


def closes_within(sock: socket.socket, low: float, high: float, drip: bytes = b"") -> bytes:
    started = time.monotonic()
    sock.settimeout(0.1)
    received = b""
    while time.monotonic() - started < high:
        try:
            if drip:
                sock.send(drip)
            if not (data := sock.recv(65536)):
                break
            received += data
        except TimeoutError:
            continue
        except OSError:
            break
    assert low <= time.monotonic() - started < high
    return received


@pytest.mark.parametrize(("first", "drip"), [(b"", b""), (b"GET /ec", b"x"), (b"\r\n", b"\r\n")])
def test_header_that_does_not_end_is_cut_off(hasty: Process, first: bytes, drip: bytes) -> None:
    with hasty.connect(first) as sock:
        assert closes_within(sock, 0.4, 1.0, drip) == b""


def test_header_deadline_holds_on_a_kept_connection(hasty: Process) -> None:
    with hasty.connect(GET + b"\r\n") as sock:
        assert response(sock)[0] == 200
        time.sleep(0.6)  # idle is not slow
        sock.sendall(GET + b"\r\n")
        assert response(sock)[0] == 200
        sock.sendall(b"GET /echo HT")
        assert closes_within(sock, 0.4, 1.0) == b""


def test_body_that_stalls_or_trickles_is_cut_off(hasty: Process) -> None:
    head = POST + b"content-length: 5000\r\n\r\n" + b"x" * 200
    with hasty.connect(head) as stalling, hasty.connect(head) as trickling:
        answers = [closes_within(trickling, 0.4, 1.4, drip=b"x"), closes_within(stalling, 0.0, 0.5)]
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code": "request_timeout"' in answer


def test_body_that_keeps_the_pace_may_take_its_time(hasty: Process) -> None:
    with hasty.connect(POST + b"content-length: 8000\r\n\r\n") as sock:
        for _ in range(10):
            sock.sendall(b"x" * 800)
            time.sleep(0.08)
        assert response(sock)[2]["size"] == 8000


def test_client_is_not_blamed_for_waiting_for_the_application(hasty: Process) -> None:
    head = b"POST /late?seconds=0.8 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    with hasty.connect(head) as sock:
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert response(sock)[2]["size"] == 4


def test_body_that_nobody_reads_any_more_is_not_taken_for_ever(hasty: Process) -> None:
    head = b"POST /early?connection=keep-alive HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n"
    with hasty.connect(head) as sock:
        assert response(sock)[0] == 413
        closes_within(sock, 0.2, 1.4, drip=b"x" * 10_000)


# What has to go on working.


def test_pipelined_requests_are_answered_in_order(patient: Process) -> None:
    slow = b"GET /slow?seconds=0.1 HTTP/1.1\r\nhost: a\r\n\r\n"
    with patient.connect(slow + POST + b"content-length: 3\r\n\r\nabc" + GET + b"\r\n") as sock:
        stream = sock.makefile("rb")
        answers = []
        for _ in range(3):
            size = 0
            while line := stream.readline().strip():
                if line.startswith(b"content-length"):
                    size = int(line.split()[1])
            answers.append(json.loads(stream.read(size)))
    assert answers[0] == {"slow": True}
    assert [answer["size"] for answer in answers[1:]] == [3, 0]


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_offer_to_upgrade_is_ignored_and_the_body_kept(patient: Process, framing: str, pieces: int) -> None:
    """Java's HttpClient offers h2c on its first request, a POST with a body."""
    offer = POST + b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAA\r\nupgrade: h2c\r\n"
    body = b"content-length: 3\r\n\r\nabc"
    if framing == "chunked":
        body = b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    whole = (offer + body) * 2
    step = len(whole) // pieces + 1
    with patient.connect() as sock:
        for start in range(0, len(whole), step):
            sock.sendall(whole[start : start + step])
            time.sleep(0.01)
        received = b""
        while received.count(b'"size": 3') < 2:
            received += sock.recv(65536)


def test_idle_connections_keep_nobody_out() -> None:
    with running(limits={"connections": 4}) as process:
        idle = [process.connect(GET + b"\r\n") for _ in range(12)]
        assert process.ask(GET + b"\r\n")[0] == 200
        for sock in idle:
            sock.close()


def test_busy_connections_are_not_cut_for_new_ones() -> None:
    with running(limits={"connections": 2}) as process:
        busy = [process.connect(stream_request(1000, 0.05)) for _ in range(2)]
        assert all(sock.recv(1) for sock in busy)
        status, headers, body = process.ask(GET + b"\r\n")
        assert (status, headers["retry-after"], body["error"]["code"]) == (503, "1", "overloaded")
        assert all(len(sock.recv(1000)) for sock in busy)
        for sock in busy:
            sock.close()
        time.sleep(0.1)
        assert process.ask(GET + b"\r\n")[0] == 200


def test_server_does_not_name_itself(patient: Process) -> None:
    _, headers, _ = patient.ask(GET + b"\r\n")
    assert "server" not in headers
    assert "date" in headers
