from email.utils import formatdate

import pytest
from multidict import CIMultiDict

from gateway.wire.retry import CEILING, QUOTA_CEILING, paced, retry_after, told, until

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "7.5"}, 7.5),
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


def test_a_window_with_something_left_refused_nothing_and_tells_nothing() -> None:
    left = {"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "2s"}
    assert retry_after(CIMultiDict(left), NOW) is None
    assert retry_after(CIMultiDict({**left, "x-ratelimit-reset-tokens": "1m"}), NOW) == 60.0
    assert retry_after(CIMultiDict({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "9"}), NOW) is None


def test_what_the_upstream_asks_for_beats_what_its_windows_say() -> None:
    assert retry_after(CIMultiDict({"Retry-After": "5", "x-ratelimit-reset-requests": "1h"}), NOW) == 5.0


@pytest.mark.parametrize(
    "text",
    ["Wed, 99999999999999999999 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT", "Mon, 01 Jan 0001 00:00:00"],
)
def test_a_date_that_no_calendar_has_breaks_nothing(text: str) -> None:
    assert retry_after(CIMultiDict({"Retry-After": text}), NOW) in (None, 1.0)


def test_a_quota_may_take_longer_than_a_day() -> None:
    headers = CIMultiDict({"Retry-After": "259200"})
    assert retry_after(headers, NOW) == CEILING
    assert retry_after(headers, NOW, QUOTA_CEILING) == 259_200
    assert retry_after(CIMultiDict({"Retry-After": "1e9"}), NOW, QUOTA_CEILING) == QUOTA_CEILING


# --- told before any refusal ---


def limits(**windows: str) -> CIMultiDict[str]:
    return CIMultiDict({f"X-RateLimit-{name.replace('_', '-')}": value for name, value in windows.items()})


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"remaining_requests": "0", "reset_requests": "6m0s"}, 360.0),
        ({"remaining_tokens": "0", "reset_tokens": "1m30s"}, 90.0),
        ({"remaining_requests": "0", "reset_requests": "45"}, 45.0),
        ({"remaining_requests": "0", "reset_requests": "1800000045"}, 45.0),
        ({"remaining": "0", "reset": "1800000045000"}, 45.0),
        ({"remaining": "0", "reset": "30.5"}, 30.5),
        ({"remaining": "0", "reset": "48h"}, CEILING),
        ({"remaining_requests": "0", "reset_requests": "5s", "remaining_tokens": "0", "reset_tokens": "9s"}, 9.0),
        ({"remaining_requests": "0", "reset_requests": "9s", "remaining_tokens": "0", "reset_tokens": "5s"}, 9.0),
        ({"remaining_requests": "0", "reset_requests": "5s", "remaining_tokens": "7", "reset_tokens": "9s"}, 5.0),
    ],
)
def test_a_spent_window_paces_the_account(headers: dict[str, str], wait: float) -> None:
    assert paced(limits(**headers), NOW) == wait


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"remaining_requests": "1", "reset_requests": "6m0s"},
        {"remaining_requests": "0"},
        {"reset_requests": "6m0s", "reset": "60"},
        {"remaining_requests": "0", "reset_requests": "soon"},
        {"remaining_requests": "-1", "reset_requests": "60"},
        {"remaining_requests": "none", "reset_requests": "60"},
        {"remaining_requests": "0", "reset_requests": "0s"},
        {"remaining_requests": "0", "reset_requests": "12ms"},
        {"remaining": "0", "reset": "1799999999"},
        {"remaining_requests": "0", "reset_tokens": "60s"},
        {"remaining_tokens": "0", "reset_tokens": "60", "limit_tokens": "0"},
    ],
)
def test_what_is_not_spent_or_back_at_once_paces_nobody(headers: dict[str, str]) -> None:
    assert paced(limits(**headers), NOW) is None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"remaining_requests": "0", "reset_requests": "24h0m0s", "limit_requests": "200"}, 432.0),
        ({"remaining_requests": "0", "reset_requests": "1m0s", "limit_requests": "60"}, 1.0),
        ({"remaining_requests": "0", "reset_requests": "1m0s", "limit_requests": "5000"}, None),
        ({"remaining_tokens": "0", "reset_tokens": "1m0s", "limit_tokens": "150000"}, 6.0),
        ({"remaining_requests": "0", "reset_requests": "60", "limit_requests": "60"}, 60.0),
        ({"remaining_requests": "0", "reset_requests": "1800000060", "limit_requests": "60"}, 60.0),
    ],
)
def test_a_window_that_fills_all_the_time_has_room_before_it_is_whole(
    headers: dict[str, str], wait: float | None
) -> None:
    assert paced(limits(**headers), NOW) == wait


# --- told in words ---


@pytest.mark.parametrize(
    ("sentence", "wait"),
    [
        ("Rate limit reached on requests per day: Limit 200, Used 200. Please try again in 7m12s. Visit …", 432.0),
        ("Please try again in 1.898s.", 1.898),
        ("Please try again in 120ms.", 1.0),
        ("Please retry after 6 seconds.", 6.0),
        ("Please Retry in 37.6s.", 37.6),
        ("try again in 2 minutes", 120.0),
        ("try again in 20 milliseconds", 1.0),
        ("Your quota will reset after 161h39m41s.", CEILING),
        ("It will reset at 2027-01-15 16:01:00 +0800 CST. We recommend upgrading.", 60.0),
        ("It will reset at 2027-01-15T08:01:00Z", 60.0),
        ("It will reset at 2027-01-15 08:01.", 60.0),
        ("It will reset at 2027-01-14 08:00:00", 1.0),
        ("It will reset at 2027-99-99 08:00:00", None),
        ("Please try again later.", None),
        ("Please try again in a while, after 7 seconds of thought", None),
        ("", None),
    ],
)
def test_a_sentence_may_tell_when_to_come_back(sentence: str, wait: float | None) -> None:
    assert told(sentence, NOW) == wait


@pytest.mark.parametrize(
    ("moment", "wait"),
    [
        (1_800_000_090, 90.0),
        (1_800_000_090_000, 90.0),
        ("2027-01-15T08:01:30.000Z", 90.0),
        ("2027-01-15T16:01:30+08:00", 90.0),
        ("2027-01-15T08:01:30", 90.0),
        (60, None),
        (True, None),
        (None, None),
        ("tomorrow", None),
    ],
)
def test_a_body_may_tell_a_point_in_time(moment: object, wait: float | None) -> None:
    assert until(moment, NOW) == wait


def test_a_point_in_time_beyond_all_numbers_breaks_nothing() -> None:
    assert (until(10**400, NOW) or 0) > QUOTA_CEILING
