"""How the server starts, and how it ends."""

import signal
import socket
import time

import pytest

from tests.acceptance.process import GET, Process, rest, running, stream_request


def refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_live_stream_runs_to_its_end(number: int) -> None:
    with running() as process, process.connect(stream_request(10, 0.04)) as sock, process.connect() as idle:
        assert sock.recv(12) == b"HTTP/1.1 200"
        process.stop(number)
        time.sleep(0.2)
        assert refuses(process.port)
        assert idle.recv(1) == b""
        received = rest(sock)
        assert received.endswith(b"4\r\nend\n\r\n0\r\n\r\n")
        assert b"\n9\n" in received
        assert process.end() == (0, "closed\n", "")


def test_stream_that_outlives_its_grace_says_its_last_words() -> None:
    with running(grace=0.3) as process, process.connect(stream_request(1000, 0.05)) as sock:
        sock.recv(1)
        started = process.stop()
        assert rest(sock).endswith(b"e\r\nshutting_down\n\r\n4\r\nend\n\r\n0\r\n\r\n")
        assert process.end() == (0, "closed\n", "")
        assert 0.3 <= time.monotonic() - started < 1.5


def test_readiness_is_red_before_the_port_closes() -> None:
    with running(pre_stop=0.4) as process:
        assert process.ask(GET + b"\r\n")[2]["draining"] is False
        process.stop()
        time.sleep(0.05)
        assert process.ask(GET + b"\r\n")[2]["draining"] is True
        assert process.end()[0] == 0


def test_second_signal_ends_it_at_once() -> None:
    with running(grace=60) as process, process.connect(stream_request(1000, 0.05)) as sock:
        sock.recv(1)
        process.stop()
        time.sleep(0.2)
        started = process.stop()
        assert b"shutting_down" not in sock.recv(10)
        code, _, err = process.end()
        assert (code, err) == (128 + signal.SIGTERM, "")
        assert time.monotonic() - started < 1


def test_second_signal_ends_even_what_will_not_listen() -> None:
    requests = (b"GET /deaf HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /blocked?seconds=30 HTTP/1.1\r\nhost: a\r\n\r\n")
    with running(grace=60) as deaf, running(grace=60) as blocked:
        processes = (deaf, blocked)
        clients = [process.connect(request) for process, request in zip(processes, requests, strict=True)]
        assert all(client.recv(1) for client in clients)
        time.sleep(0.1)
        for process in processes:
            process.stop()
        time.sleep(0.2)
        started = max([process.stop() for process in processes])
        assert [process.end()[0] for process in processes] == [128 + signal.SIGTERM] * 2
        assert time.monotonic() - started < 2
        for client in clients:
            client.close()


def test_forgotten_thread_does_not_keep_the_process() -> None:
    with running() as process:
        assert process.ask(b"GET /thread?seconds=30 HTTP/1.1\r\nhost: a\r\n\r\n")[0] == 200
        started = process.stop()
        assert process.end()[:2] == (0, "closed\n")
        assert time.monotonic() - started < 2


def test_signal_during_the_start_ends_it() -> None:
    process = Process(startup=30)
    assert process.line() == ["starting"]
    started = process.stop()
    assert process.end() == (0, "", "")
    assert time.monotonic() - started < 2


def test_application_that_fails_to_start_ends_the_process() -> None:
    code, out, err = Process(startup="soon").end()
    assert (code, out) == (1, "starting\n")
    assert "Application startup failed" in err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_taken_port_is_told_in_one_sentence(host: str) -> None:
    with socket.create_server((host, 0)) as other:
        port = other.getsockname()[1]
        code, out, err = Process(host=host, port=port).end()
    assert (code, out) == (1, "")
    assert err.startswith(f"cannot listen on {host} port {port}: it is already in use;")
    assert err.count("\n") == 1


def test_unknown_host_is_told_in_one_sentence() -> None:
    code, _, err = Process(host="nowhere.invalid").end()
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("cannot listen on nowhere.invalid port 0: ")
