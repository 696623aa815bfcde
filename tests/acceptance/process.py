"""The tiny application as a process of its own, and a client that writes bytes instead of requests."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GET = b"GET /echo HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /echo HTTP/1.1\r\nhost: a\r\n"


class Process:
    """The tiny application, running."""

    def __init__(self, **options: Any) -> None:
        command = [sys.executable, "-m", "tests.acceptance.tiny_app", json.dumps(options)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.port = 0

    def line(self) -> list[str]:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().split()

    def ready(self) -> "Process":
        assert self.line() == ["starting"]
        word, _, port = self.line()
        assert word == "ready"
        self.port = int(port)
        return self

    def connect(self, first: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        sock.sendall(first)
        return sock

    def ask(self, *parts: bytes) -> tuple[int, dict[str, str], Any]:
        """One connection, the parts sent in separate writes, the one answer decoded."""
        with self.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                sock.sendall(part)
                time.sleep(0.01 if len(parts) > 1 else 0)
            return response(sock)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Signal it; returns when that was."""
        self.popen.send_signal(number)
        return time.monotonic()

    def end(self, seconds: float = 5) -> tuple[int, str, str]:
        out, err = self.popen.communicate(timeout=seconds)
        return self.popen.returncode, out, err


@contextmanager
def running(**options: Any) -> Iterator[Process]:
    process = Process(**options)
    try:
        yield process.ready()
    finally:
        process.popen.kill()
        process.popen.communicate()


def response(sock: socket.socket) -> tuple[int, dict[str, str], Any]:
    stream = sock.makefile("rb")
    status = int(stream.readline().split()[1])
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    return status, headers, json.loads(stream.read(int(headers["content-length"])))


def rest(sock: socket.socket) -> bytes:
    """Everything until the server closes, however it closes."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def stream_request(count: int, gap: float) -> bytes:
    return b"GET /stream?count=%d&gap=%f HTTP/1.1\r\nhost: a\r\n\r\n" % (count, gap)
