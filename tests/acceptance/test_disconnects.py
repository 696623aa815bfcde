"""Clients that leave, clients that read slowly, and a gateway that has to go while it answers."""

import json
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from tests.acceptance.gateway_process import Gateway, compatible, eventually, lines, running, served
from tests.acceptance.tap import Tap
from tests.emulators.openai_compatible import IMAGE, REPLY, TEXT, Emulator

SECRET = "sk-emulator-good-0001"
NOTICED_SECONDS = 2.0
PATHS = ("/v1/chat/completions", "/api/chat")


class House(NamedTuple):
    """A gateway before an emulator whose answers can be held."""

    gateway: Gateway
    emulator: Emulator
    tap: Tap


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with before_emulator(tmp_path_factory.mktemp("disconnects")) as house:
        yield house


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    """The shared house. Afterwards nothing is held, and nobody is being served."""
    shared.tap.seen.clear()
    yield shared
    shared.tap.open()
    eventually(lambda: shared.gateway.in_flight() == 0, NOTICED_SECONDS)


@contextmanager
def before_emulator(home: Path, drain_seconds: int = 20) -> Iterator[House]:
    emulator = Emulator(keys=[SECRET])
    tap = Tap(emulator.app)
    with served(tap) as url:
        account = compatible(url, SECRET)
        account["accounts"][0]["max_concurrency"] = 64
        config = {"server": {"drain_seconds": drain_seconds}, "upstreams": [account]}
        with running(home, config, secrets=[SECRET]) as gateway:
            eventually(lambda: emulator.requests)
            yield House(gateway, emulator, tap)


def request(path: str = PATHS[0], *, stream: bool = True) -> bytes:
    body = json.dumps({"model": TEXT, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connect(gateway: Gateway, first: bytes, *, buffer: int = 0) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(20)
    sock.connect((host, int(port)))
    sock.sendall(first)
    return sock


def close(sock: socket.socket) -> None:
    sock.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    read = b""
    while wanted not in read:
        data = sock.recv(65536)
        assert data, read
        read += data
    return read


def read_all(sock: socket.socket) -> bytes:
    read = b""
    while data := sock.recv(65536):
        read += data
    return read


# --- leaving ---


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("head", [False, True], ids=["before-headers", "before-first-byte"])
def test_upstream_is_left_by_a_client_that_waited(
    house: House, head: bool, path: str, stream: bool, leave: Callable[[socket.socket], None]
) -> None:
    house.tap.shut(head=head)
    sock = connect(house.gateway, request(path, stream=stream))
    eventually(lambda: house.tap.seen["came"] == 1)
    assert house.gateway.in_flight() == 1
    leave(sock)
    eventually(lambda: house.tap.seen["left"] == 1, NOTICED_SECONDS)
    eventually(lambda: house.gateway.in_flight() == 0, NOTICED_SECONDS)
    assert house.tap.seen["came"] == 1


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("path", PATHS)
def test_upstream_is_left_in_the_middle_of_a_stream(
    house: House, path: str, leave: Callable[[socket.socket], None]
) -> None:
    house.tap.shut(after=3)
    sock = connect(house.gateway, request(path))
    read_until(sock, b"Hello ")
    leave(sock)
    eventually(lambda: house.tap.seen["left"] == 1, NOTICED_SECONDS)
    eventually(lambda: house.gateway.in_flight() == 0, NOTICED_SECONDS)


def test_upstream_is_left_when_an_image_is_no_longer_wanted(house: House) -> None:
    house.tap.shut()
    body = json.dumps({"model": IMAGE, "prompt": "a hill", "size": "256x256"}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    sock = connect(house.gateway, head.encode() + body)
    eventually(lambda: house.tap.seen["came"] == 1)
    sock.close()
    eventually(lambda: house.tap.seen["left"] == 1, NOTICED_SECONDS)


def test_client_that_leaves_while_it_asks_reaches_nobody(house: House) -> None:
    connect(house.gateway, request()[:-10]).close()
    time.sleep(0.1)
    assert (house.tap.seen["came"], house.gateway.in_flight()) == (0, 0)


def test_nothing_is_left_behind_by_many_who_leave(house: House) -> None:
    dice = random.Random(4)
    process = psutil.Process(house.gateway.process.pid)
    before = process.num_fds()

    def visit(patience: float, stream: bool, read: bool, leave: Callable[[socket.socket], None]) -> None:
        sock = connect(house.gateway, request(dice.choice(PATHS), stream=stream))
        if read:
            sock.recv(dice.choice([1, 300, 65536]))
        time.sleep(patience)
        leave(sock)

    with ThreadPoolExecutor(20) as clients:
        visits = [
            clients.submit(
                visit, dice.random() / 50, dice.random() < 0.6, dice.random() < 0.4, dice.choice([close, reset])
            )
            for _ in range(200)
        ]
        for each in visits:
            each.result()
    eventually(lambda: house.gateway.in_flight() == 0, NOTICED_SECONDS)
    with house.gateway.client() as http:
        turn = {"model": TEXT, "messages": [{"role": "user", "content": "Hello"}]}
        assert http.post(PATHS[0], json=turn).json()["choices"][0]["message"]["content"] == REPLY
    assert house.gateway.accounts()["emulator/a1"]["strikes"] == 0
    eventually(lambda: process.num_fds() <= before + 70, 5)  # what stays is kept open for the next requests


# --- reading slowly ---


def test_slow_reader_gets_every_word(house: House) -> None:
    words = [f"word-{at}-{'x' * 200}" for at in range(3_000)]
    house.emulator.text, before = " ".join(words), house.emulator.text
    sock = connect(house.gateway, request(), buffer=4096)
    started, read = time.monotonic(), b""
    while b"[DONE]" not in read[-200:]:
        data = sock.recv(8192)
        assert data
        read += data
        if time.monotonic() - started < 1.5:
            time.sleep(0.02)
    sock.close()
    house.emulator.text = before
    assert [at for at, word in enumerate(words) if word.encode() not in read] == []
    assert read.count(b'"finish_reason":"stop"') + read.count(b'"finish_reason": "stop"') == 1


# --- going ---


def hear(
    gateway: Gateway, heard: list[httpx.Response], path: str = PATHS[0], *, stream: bool = True
) -> threading.Thread:
    """A client in a thread of its own, that puts the whole answer into `heard`."""
    body = {"model": TEXT, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    client = gateway.client()
    thread = threading.Thread(target=lambda: heard.append(client.post(path, json=body)))
    thread.start()
    return thread


def text_of(answer: httpx.Response) -> str:
    chunks = [chunk for chunk in lines(answer) if chunk != "[DONE]" and chunk.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_streams_run_to_their_end_before_the_gateway_goes(tmp_path: Path) -> None:
    with before_emulator(tmp_path) as house:
        house.tap.shut(after=3)
        heard: list[httpx.Response] = []
        clients = [hear(house.gateway, heard, path) for path in PATHS]
        clients += [hear(house.gateway, heard, stream=False)]
        eventually(lambda: house.tap.seen["came"] == 3)
        house.gateway.stop(signal.SIGTERM)
        eventually(lambda: refuses(house.gateway))
        assert house.gateway.process.poll() is None
        house.tap.open()
        for client in clients:
            client.join(10)
        assert house.gateway.ended() == 0
        assert [answer.status_code for answer in heard] == [200] * 3
        streams = [answer for answer in heard if answer.headers["content-type"].startswith("text/event-stream")]
        assert [text_of(answer) for answer in streams] == [REPLY] * 2
        assert [lines(answer)[-1] for answer in streams] == ["[DONE]"] * 2


def test_streams_that_outlive_the_grace_are_told(tmp_path: Path) -> None:
    with before_emulator(tmp_path, drain_seconds=1) as house:
        house.tap.shut(after=3)
        heard: list[httpx.Response] = []
        clients = [hear(house.gateway, heard, path) for path in PATHS]
        eventually(lambda: house.tap.seen["held"] == 2)
        house.tap.shut()
        clients += [hear(house.gateway, heard, path, stream=False) for path in PATHS]
        eventually(lambda: house.tap.seen["came"] == 4)
        house.gateway.stop()
        for client in clients:
            client.join(10)
        assert house.gateway.ended() == 0
        streams = [answer for answer in heard if answer.status_code == 200]
        assert [lines(answer)[-1]["error"]["code"] for answer in streams] == ["shutting_down"] * 2
        assert not any("[DONE]" in answer.text for answer in streams)
        others = [answer for answer in heard if answer.status_code != 200]
        assert [(answer.status_code, "shutting_down" in answer.text) for answer in others] == [(503, True)] * 2
        assert all(answer.headers["retry-after"] for answer in others)


def refuses(gateway: Gateway) -> bool:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) != 0
