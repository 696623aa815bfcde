"""Where a caller says it wants to hear of its task, and every way of saying it wrong."""

from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.types import Webhook
from gateway.wire import body as wire_body
from gateway.wire.webhook import origin_of, origins, spelled, webhook_of

ENDS = ("task.succeeded", "task.failed", "task.cancelled", "task.expired")
NO_URL = "must be an absolute http:// or https:// URL of at most 2048 characters, without user name and fragment"
NOT_PUBLIC = "must lead to a public address, port 80 or 443"
EVENTS = "use any of task.running, task.succeeded, task.failed, task.cancelled, task.expired"


def read(*trusted: str, **body: Any) -> Webhook | None:
    return webhook_of(wire_body.decode(msgspec.json.encode(body)), origins(trusted))


def refused(**body: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(**body)
    return caught.value


@pytest.mark.parametrize("body", [{}, {"webhook": None}, {"webhook_url": None, "webhook_events": None}])
def test_a_body_that_names_no_webhook_has_none(body: dict[str, Any]) -> None:
    assert read(**body) is None


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://a.example/hook?x=1&y=%2B", "https://a.example/hook?x=1&y=%2B"),
        ("HTTPS://A.Example:443/Hook", "https://a.example/Hook"),
        ("http://8.8.8.8", "http://8.8.8.8"),
        ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://a.example/" + "x" * 2030, "https://a.example/" + "x" * 2030),
    ],
)
def test_a_url_is_kept_in_the_one_spelling_it_is_dialled_by(url: str, same: str) -> None:
    assert read(webhook_url=url) == Webhook(same, ENDS)
    assert read(webhook={"url": url}) == Webhook(same, ENDS)
    assert spelled(url) == spelled(same) == same


def test_events_are_those_asked_for() -> None:
    asked = ["task.failed", "task.running", "task.failed"]
    wanted = Webhook("https://a.example/", ("task.running", "task.failed"))
    assert read(webhook_url="https://a.example/", webhook_events=asked) == wanted
    assert read(webhook={"url": "https://a.example/", "events": asked}) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example/hook",
        "//a.example/",
        "ftp://a.example/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "https://user@a.example/",
        "https://user:pass@a.example/",
        "https://a.example/#part",
        "https://a.example/#",
        "https://a.example/a b",
        "https://a\t.example/",
        "https://a.example/\r\nx: y",
        "https://a.example\\@b.example/",
        "http://[::1/",
        "http://a.example:99999/",
        "http://xn--a/",
        "https://a.example/" + "x" * 2031,
    ],
)
def test_what_is_no_url_to_send_to_is_refused_in_words(url: str) -> None:
    error = refused(webhook_url=url)
    assert (error.code, error.param, error.message) == ("invalid_url", "webhook_url", f"'webhook_url' {NO_URL}")
    error = refused(webhook={"url": url})
    assert (error.code, error.param, error.message) == ("invalid_url", "webhook.url", f"'webhook.url' {NO_URL}")


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0",
        "①②⑦.⓪.⓪.①", "127。0。0。1", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]", "[fd00:ec2::254]", "[fe80::1%25eth0]", "127.0.0.1.", "8.8.8.8:22", "a.example:8080",
    ],
)  # fmt: skip
def test_a_url_that_says_itself_that_it_is_not_public_is_refused_at_once(host: str) -> None:
    error = refused(webhook_url=f"http://{host}/hook")
    assert (error.code, error.param, error.message) == ("invalid_url", "webhook_url", f"'webhook_url' {NOT_PUBLIC}")


def test_a_trusted_origin_need_not_be_public() -> None:
    url = "http://10.0.0.5:8080/hook"
    assert read("http://10.0.0.5:8080", webhook_url=url) == Webhook(url, ENDS)
    for other in ("http://10.0.0.5:8081", "https://10.0.0.5:8080", "http://10.0.0.6:8080"):
        with pytest.raises(InvalidRequest, match="public"):
            read(other, webhook_url=url)


@pytest.mark.parametrize(
    ("body", "code", "param", "message"),
    [
        ({"webhook_url": 5}, "invalid_value", "webhook_url", "'webhook_url': expected str, got int"),
        ({"webhook": "https://a.b/"}, "invalid_value", "webhook", "'webhook': expected object, got str"),
        ({"webhook": {}}, "missing_required_parameter", "webhook.url", "'webhook.url' is required where 'webhook'"),
        (
            {"webhook_events": ["task.failed"]},
            "missing_required_parameter",
            "webhook_url",
            "'webhook_url' is required where 'webhook_events' is given",
        ),
        (
            {"webhook": {"url": "https://a.b/"}, "webhook_url": "https://a.b/"},
            "invalid_value",
            "webhook",
            "give 'webhook' or 'webhook_url', not both",
        ),
        (
            {"webhook_url": "https://a.b/", "webhook_events": ["task.done"]},
            "invalid_value",
            "webhook_events",
            f"'webhook_events' 'task.done' is unknown: {EVENTS}",
        ),
        (
            {"webhook": {"url": "https://a.b/", "events": []}},
            "invalid_value",
            "webhook.events",
            f"'webhook.events' must name at least one event: {EVENTS}",
        ),
        (
            {"webhook_url": "https://a.b/", "webhook_events": "task.failed"},
            "invalid_value",
            "webhook_events",
            "'webhook_events': expected array, got str",
        ),
        ({"webhook_url": "https://a.b/\0"}, "invalid_value", "webhook_url", "NUL"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(
    body: dict[str, Any], code: str, param: str, message: str
) -> None:
    error = refused(**body)
    assert (error.code, error.param) == (code, param)
    assert message in error.message


def test_a_receiver_goes_by_its_origin() -> None:
    for url in ("https://a.example", "https://a.example/x?y", "https://a.example:443/"):
        assert origin_of(url) == "https://a.example"
    assert origin_of("http://[2606:4700::1111]:8080/x") == "http://[2606:4700::1111]:8080"
    for nowhere in ("no url", "http://xn--a/", "http://user@a.example/"):
        assert origin_of(nowhere) == nowhere
