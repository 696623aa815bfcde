from email.utils import formatdate

import pytest
from multidict import CIMultiDict

from gateway.wire.retry import CEILING, retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True)}, 1.0),
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "-5"}, 1.0),
        ({"Retry-After": "1e9"}, CEILING),
        ({"Retry-After": "99999999999999999999"}, CEILING),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after-ms": "12"}, 1.0),
        ({"retry-after-ms": "2500", "Retry-After": "60"}, 2.5),
        ({"retry-after-ms": "soon", "Retry-After": "60"}, 60.0),
    ],
)
def test_a_hint_becomes_seconds_within_a_second_and_a_day(headers: dict[str, str], wait: float) -> None:
    assert retry_after(CIMultiDict(headers), NOW) == wait


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-inf", "7 s", "Wed, 99 Foo 2026", "١٢x", "0x10", "\x00"])
def test_garbage_tells_nothing(text: str) -> None:
    assert retry_after(CIMultiDict({"Retry-After": text, "retry-after-ms": text}), NOW) is None


def test_no_headers_tell_nothing() -> None:
    assert retry_after(CIMultiDict(), NOW) is None


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("12ms", 1.0),
        ("30", 30.0),
        ("1800000045", 45.0),
        ("1800000045000", 45.0),
        ("48h", CEILING),
        ("6m0", None),
        ("m", None),
    ],
)
def test_a_reset_is_a_span_or_a_point_in_time(text: str, wait: float | None) -> None:
    assert retry_after(CIMultiDict({"x-ratelimit-reset-requests": text}), NOW) == wait
    assert retry_after(CIMultiDict({"x-ratelimit-reset": text}), NOW) == wait


def test_the_window_that_is_spent_counts() -> None:
    headers = CIMultiDict(
        {
            "x-ratelimit-remaining-requests": "12",
            "x-ratelimit-reset-requests": "2s",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m",
        }
    )
    assert retry_after(headers, NOW) == 60.0


def test_the_first_window_to_reset_counts_where_none_says_it_is_spent() -> None:
    headers = CIMultiDict({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "1m"})
    assert retry_after(headers, NOW) == 2.0


def test_what_the_upstream_asks_for_beats_what_its_windows_say() -> None:
    assert retry_after(CIMultiDict({"Retry-After": "5", "x-ratelimit-reset-requests": "1h"}), NOW) == 5.0
