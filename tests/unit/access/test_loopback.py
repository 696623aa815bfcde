from typing import Any

import pytest

from gateway.access.loopback import LOCAL, check_local, is_loopback
from gateway.errors import Forbidden


def scope(client: str | None = "127.0.0.1", **headers: str) -> dict[str, Any]:
    named = {"host": "localhost:3264"} | headers
    return {
        "type": "http",
        "client": (client, 50_000) if client else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
    }


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "[::]", "10.0.0.1", "192.168.1.5", "::ffff:10.0.0.1", "example.com", "localhost.example.com",
     "127.0.0.1.nip.io", "127.evil.example", "0177.0.0.1", "127.1", "2130706433", "localhosts"],
)  # fmt: skip
def test_names_that_may_be_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "request_scope",
    [
        scope(),
        scope("::1", host="[::1]:3264"),
        scope("::ffff:127.0.0.1", host="127.0.0.1"),
        scope("127.0.0.9", host="LOCALHOST:80"),
        scope(origin="http://localhost:5173"),
        scope(origin="http://[::1]:3264"),
    ],
)
def test_this_machine_is_let_in(request_scope: dict[str, Any]) -> None:
    check_local(request_scope)


@pytest.mark.parametrize(
    "request_scope",
    [
        scope("192.168.1.7"),
        scope("::ffff:192.168.1.7"),
        scope(None),
        scope("testclient"),
    ],
)
def test_another_machine_is_not(request_scope: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match=r"only this machine .* set API_KEYS"):
        check_local(request_scope)


@pytest.mark.parametrize(
    "host",
    ["evil.example:3264", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
     "localhost:3264@evil.example", "localhost:evil", "localhost:", "", "[::1",
     "[::1]evil.example", "::1", "local host", "localhost\n"],
)  # fmt: skip
def test_a_rebound_name_is_not(host: str) -> None:
    with pytest.raises(Forbidden, match="set API_KEYS"):
        check_local(scope(host=host))


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://localhost.evil.example", "http://evil.example/localhost",
     "http://localhost@evil.example", "http://127.0.0.1.evil.example:3264", "localhost", "http://localhost http://evil.example"],
)  # fmt: skip
def test_a_page_from_elsewhere_is_not(origin: str) -> None:
    with pytest.raises(Forbidden, match=r"web pages of this machine .* set API_KEYS"):
        check_local(scope(origin=origin))


def test_one_host_is_named_and_every_one_of_them_counts() -> None:
    none, two, bad = scope(), scope(), scope()
    none["headers"] = []
    two["headers"] = [(b"host", b"localhost"), (b"host", b"localhost")]
    bad["headers"] = [(b"host", b"localhost"), (b"host", b"evil.example")]
    for request_scope in (none, two, bad):
        with pytest.raises(Forbidden):
            check_local(request_scope)


def test_who_is_local_may_do_everything() -> None:
    assert (LOCAL.id, LOCAL.role) == ("local", "admin")
