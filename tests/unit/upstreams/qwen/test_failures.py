"""What goes wrong, and whose fault it is."""

import time
from dataclasses import replace
from typing import Any

import pytest

from gateway import errors
from tests.emulators.qwen import Fault
from tests.unit.upstreams.qwen.rig import A, House, no_secret_in, request

pytestmark = pytest.mark.anyio


FAULTS: list[tuple[Fault, type[errors.GatewayError]]] = [
    (Fault.api("Unauthorized"), errors.CredentialRejected),
    (Fault.api("Bad_Request", "Token has expired"), errors.CredentialRejected),
    (Fault.api("", "", status=401), errors.CredentialRejected),
    (Fault.api("", "", actual=401), errors.CredentialRejected),
    (Fault.rate_limited(4), errors.QuotaExhausted),
    (Fault.throttled(), errors.RateLimited),
    (replace(Fault.rate_limited(4), status=429), errors.QuotaExhausted),
    (Fault.api("invalid_input", "bad url", status=500), errors.UpstreamRefusedParameter),
    (Fault.api("Throttled", "Allocated quota exceeded, please wait"), errors.RateLimited),
    (Fault.api("Odd", "slow down", status=429), errors.RateLimited),
    (Fault.api("Odd", "slow down", actual=429), errors.RateLimited),
    (Fault.raw(b"slow down", "text/plain", 429), errors.RateLimited),
    (Fault.raw(b"<html>413 Request Entity Too Large</html>", "text/html", 413), errors.TooLarge),
    (Fault.api("Odd", "too large", actual=413), errors.TooLarge),
    (Fault.api("Unauthorized", num=""), errors.CredentialRejected),
    (Fault.api("", "", status=403), errors.CredentialRejected),
    (Fault.api("Bad_Request", "The field feature_config is wrong"), errors.AdapterContract),
    (Fault.api("Bad_Request", "Model not found"), errors.UpstreamRefusedParameter),
    (Fault.api("Bad_Request", "content is too long"), errors.UpstreamRefusedParameter),
    (Fault.api("Bad_Request", "internal error"), errors.UpstreamFailed),
    (Fault.api("internal_error", "oops"), errors.UpstreamFailed),
    (Fault.api("Never_Seen", "who knows"), errors.UpstreamFailed),
    (Fault.raw(b"<html>504</html>", "text/html", 504), errors.UpstreamFailed),
    (Fault.api("Bad_Request", "The chat is in progress!"), errors.ConcurrencyLimited),
    (Fault.api("Not_Found", "Chat not found"), errors.UpstreamFailed),
    (Fault.api("invalid_input", "bad url"), errors.UpstreamRefusedParameter),
    (Fault.api("data_inspection_failed", "no"), errors.ContentRefused),
    (Fault.api("Bad_Request", "Content Security Warning: inappropriate content"), errors.ContentRefused),
    (Fault.html(), errors.Challenged),
    (Fault.html(403), errors.Challenged),
    (Fault.html(404), errors.Challenged),
    (Fault.raw(b'{"ret": ["FAIL_SYS_USER_VALIDATE"], "data": {"url": "x"}}'), errors.Challenged),
    (Fault.raw(b"", "", 302), errors.Challenged),
    (Fault.raw(b'{"success": tr'), errors.UpstreamGarbled),
    (Fault.raw(b'{"success": true, "data": {}}'), errors.UpstreamGarbled),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
async def test_every_failure_has_its_class(house: House, fault: Fault, expected: type[errors.GatewayError]) -> None:
    house.site.fail("completions", replace(fault, details=f"{fault.details} {A}"))
    with pytest.raises(errors.GatewayError) as caught:
        await house.say("hi")
    assert type(caught.value) is expected
    assert len(house.site.asked("completions")) == 1
    no_secret_in(caught.value)


@pytest.mark.parametrize("shape", ["data", "text", "object"])
@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("RateLimited", "You've reached the upper limit for today's usage.", errors.QuotaExhausted),
        ("data_inspection_failed", "content security: refused", errors.ContentRefused),
        ("Bad_Request", "internal error", errors.UpstreamFailed),
    ],
)
@pytest.mark.parametrize("after", [0, 4])
async def test_failures_within_a_stream_count(
    house: House, shape: str, code: str, details: str, expected: type[Exception], after: int
) -> None:
    house.site.fail("completions", Fault.in_stream(code, f"{details} {A}", shape, after))
    events: list[Any] = []
    with pytest.raises(expected) as caught:
        async for event in house.qwen.chat(request("hi"), house.account):
            events.append(event)
    assert bool(events) is (after > 0)
    no_secret_in(caught.value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (4, 4 * 3600),
        ("2", 7200),
        (240, 240 * 3600),
        (None, None),
        ("soon", None),
        (0, None),
        (-3, None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ([4], None),
    ],
)
async def test_the_quota_rests_as_long_as_it_says_or_until_the_day_ends(house: House, told: Any, seconds: Any) -> None:
    house.site.fail("new", Fault.rate_limited(told))
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.say("hi")
    wait = caught.value.retry_after
    assert wait == pytest.approx(seconds if seconds else 86_400 - time.time() % 86_400, abs=5)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "7.5"}, 7.5),
        ({"retry-after-ms": "7500"}, 7.5),
        ({"Retry-After": "-5"}, 1),
        ({"Retry-After": "1e9"}, 86_400),
        ({"Retry-After": "later"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.throttled(), errors.RateLimited),
        (Fault.raw(b"slow down", "text/plain", 429), errors.RateLimited),
        (Fault.api("internal_error", status=503), errors.UpstreamFailed),
    ],
)
async def test_a_header_that_says_when_to_come_back_is_heard(
    house: House, fault: Fault, expected: type[errors.GatewayError], headers: dict[str, str], wait: float | None
) -> None:
    house.site.fail("completions", replace(fault, headers=headers))
    with pytest.raises(expected) as caught:
        await house.say("hi")
    assert caught.value.retry_after == wait


async def test_a_header_is_heard_with_a_failure_within_a_stream(house: House) -> None:
    slow_down = Fault.in_stream("Throttled", "Allocated quota exceeded")
    house.site.fail("completions", replace(slow_down, headers={"Retry-After": "7"}))
    with pytest.raises(errors.RateLimited) as caught:
        await house.say("hi")
    assert caught.value.retry_after == 7


async def test_a_quota_is_as_long_as_it_says_whatever_the_headers_say(house: House) -> None:
    house.site.fail("completions", replace(Fault.rate_limited(4), status=429, headers={"Retry-After": "7"}))
    with pytest.raises(errors.QuotaExhausted) as caught:
        await house.say("hi")
    assert caught.value.retry_after == 4 * 3600


async def test_what_breaks_before_the_generation_was_asked_for_may_be_repeated(house: House) -> None:
    house.site.fail("new", Fault.cut(), Fault.api("internal_error"), Fault.raw(b'{"success": true}'))
    for _ in range(3):
        with pytest.raises(errors.UpstreamError) as caught:
            await house.film()
        assert caught.value.sent == "no"
    assert house.site.asked("completions") == []


async def test_a_challenge_is_not_followed_by_another_call(house: House) -> None:
    house.site.fail("new", Fault.html())
    with pytest.raises(errors.Challenged):
        await house.say("hi")
    assert len(house.site.requests) == 1


async def test_the_details_are_kept_for_admins(house: House) -> None:
    house.site.fail("completions", Fault.api("Bad_Request", "The field x is wrong"))
    with pytest.raises(errors.AdapterContract) as caught:
        await house.say("hi")
    assert caught.value.detail == "Bad_Request: The field x is wrong"
    assert "field x" not in caught.value.message
