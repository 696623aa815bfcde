"""What goes wrong, code by code; and what a probe tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway import errors
from gateway.upstreams.dashscope import DashScope, DashScopeOptions, failures
from tests.emulators.dashscope import KEY, SAYS, Plan, Raw, Refusal
from tests.unit.upstreams.dashscope_rig import House, living, no_secret_in, pictures

pytestmark = pytest.mark.anyio

OURS: dict[str, type[errors.GatewayError]] = {
    "InvalidApiKey": errors.CredentialRejected,
    "invalid_api_key": errors.CredentialRejected,
    "AccessDenied": errors.ModelNotEnabled,
    "AccessDenied.Unpurchased": errors.ModelNotEnabled,
    "Model.AccessDenied": errors.ModelNotEnabled,
    "Arrearage": errors.BalanceExhausted,
    "AllocationQuota.FreeTierOnly": errors.QuotaExhausted,
    "insufficient_quota": errors.QuotaExhausted,
    "Throttling": errors.RateLimited,
    "Throttling.RateQuota": errors.RateLimited,
    "Throttling.BurstRate": errors.RateLimited,
    "Throttling.AllocationQuota": errors.RateLimited,
    "limit_requests": errors.RateLimited,
    "DataInspectionFailed": errors.ContentRefused,
    "data_inspection_failed": errors.ContentRefused,
    "IPInfringementSuspect": errors.ContentRefused,
    "InvalidParameter": errors.UpstreamRefusedParameter,
    "InvalidParameter.DataInspection": errors.InputUnreachable,
    "InvalidURL": errors.InputUnreachable,
    "BadRequest.TooLarge": errors.UpstreamRefusedParameter,
    "BadRequest.InputDownloadFailed": errors.InputUnreachable,
    "UnsupportedOperation": errors.UpstreamRefusedParameter,
    "ModelNotFound": errors.ModelNotFound,
    "Model.NotExist": errors.ModelNotFound,
    "model_not_found": errors.ModelNotFound,
    "InternalError": errors.UpstreamFailed,
    "InternalError.Algo": errors.UpstreamFailed,
    "InternalError.Timeout": errors.UpstreamTimeout,
    "ServiceUnavailable": errors.UpstreamFailed,
    "ModelUnavailable": errors.UpstreamFailed,
}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


def test_every_code_that_is_known_has_a_class() -> None:
    assert set(OURS) == set(SAYS)


@pytest.mark.parametrize("code", sorted(SAYS))
@pytest.mark.parametrize("status", [0, 200])
async def test_each_code_is_what_it_is_whatever_it_wears(house: House, code: str, status: int) -> None:
    house.site.fail("create", Refusal(code, status=status))
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert type(caught.value) is OURS[code]
    assert code.lower() in (caught.value.detail or "")


@pytest.mark.parametrize("code", sorted(SAYS))
async def test_a_failed_task_says_why(house: House, code: str) -> None:
    house.site.plan = Plan(ends="FAILED", error=(code, f"{SAYS[code][1]} {KEY}"))
    job = await house.submit()
    house.clock.now += 100
    error = (await house.poll(job)).error
    wanted = OURS[code]
    assert type(error) is (errors.GenerationFailed if issubclass(wanted, errors.UpstreamError) else wanted)
    assert code.lower() in str(getattr(error, "detail", ""))
    no_secret_in(error)


@pytest.mark.parametrize(("code", "message"), [("NeverSeen", "it broke"), ("", ""), (None, None)])
def test_a_task_that_failed_for_no_known_reason_just_failed(code: Any, message: Any) -> None:
    assert type(failures.of_task(code, message, KEY)) is errors.GenerationFailed


@pytest.mark.parametrize(
    ("refusal", "kind", "param"),
    [
        (Refusal("InvalidParameter", "parameters.duration is invalid"), errors.UpstreamRefusedParameter, "duration"),
        (Refusal("InvalidParameter", "Field required: input.img_url"), errors.UpstreamRefusedParameter, "img_url"),
        (Refusal("InvalidParameter", "the 'size' is wrong"), errors.UpstreamRefusedParameter, "size"),
        (Refusal("InvalidParameter", "it is wrong"), errors.UpstreamRefusedParameter, None),
        (Refusal("InvalidParameter", "Failed to download the image"), errors.InputUnreachable, "files"),
        (Refusal("InvalidURL"), errors.InputUnreachable, "files"),
        (Refusal("InternalError.Algo.InvalidParameter", "input.text is wrong", status=400),
         errors.UpstreamRefusedParameter, "text"),
        (Refusal("ModelNotFound"), errors.ModelNotFound, "model"),
        (Refusal("DataInspectionFailed"), errors.ContentRefused, "prompt"),
        (Refusal("DataInspectionFailed", "Output data may contain it."), errors.ContentRefused, None),
        (Refusal("IPInfringementSuspect"), errors.ContentRefused, None),
        (Refusal("Throttling", "too many concurrent tasks"), errors.ConcurrencyLimited, None),
        (Refusal("Throttling.RateQuota", "the task-queue limit is reached"), errors.ConcurrencyLimited, None),
        (Refusal("SomethingNew", "too many concurrent requests", status=429), errors.ConcurrencyLimited, None),
        (Refusal("SomethingNew", "too many requests", status=429), errors.RateLimited, None),
        (Refusal("AccessDenied", "current user api does not support synchronous calls."),
         errors.AdapterContract, None),
        (Refusal("AccessDenied", "current user api does not support asynchronous calls."),
         errors.AdapterContract, None),
        (Refusal("InvalidParameter", "it is too large", status=413), errors.TooLarge, None),
        (Refusal("SomethingNew", "the `seed` is wrong", status=400), errors.UpstreamRefusedParameter, None),
        (Refusal("SomethingNew", "no", status=401), errors.CredentialRejected, None),
        (Refusal("SomethingNew", "the model may not be used", status=403), errors.ModelNotEnabled, None),
        (Refusal("SomethingNew", "no", status=503), errors.UpstreamFailed, None),
        (Refusal("SomethingNew", "no", status=504), errors.UpstreamTimeout, None),
        (Refusal("GatewayTimeout", "no", status=500), errors.UpstreamTimeout, None),
        (Refusal("Arrearage", status=403), errors.BalanceExhausted, None),
        (Refusal("AccessDenied.FreeTierOnly", status=403), errors.QuotaExhausted, None),
    ],
)  # fmt: skip
async def test_words_and_status_tell_what_the_code_does_not(
    house: House, refusal: Refusal, kind: type[errors.GatewayError], param: str | None
) -> None:
    house.site.fail("create", refusal)
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert (type(caught.value), caught.value.param) == (kind, param)


def test_what_was_made_may_come_out_differently_and_what_was_shown_may_not() -> None:
    made = failures.of_task("DataInspectionFailed", "Output data may contain it.", "")
    shown = failures.of_task("DataInspectionFailed", "Input data may contain it.", "")
    assert isinstance(made, errors.GatewayError)
    assert made.advice
    assert not shown.advice


@pytest.mark.parametrize("code", ["Throttling", "ServiceUnavailable", "insufficient_quota"])
@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"Retry-After": "7"}, 7), ({"retry-after-ms": "7500"}, 7.5), ({}, None), ({"Retry-After": "soon"}, None)],
)
async def test_a_rest_is_as_long_as_the_vendor_says(
    house: House, code: str, headers: dict[str, str], wait: float | None
) -> None:
    house.site.fail("create", Refusal(code, headers=headers))
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("code", "wait"), [("insufficient_quota", 259_200), ("Arrearage", 259_200), ("Throttling", 86_400)]
)
async def test_only_what_is_used_up_takes_longer_than_a_day(house: House, code: str, wait: float) -> None:
    house.site.fail("create", Refusal(code, headers={"Retry-After": "259200"}))
    with pytest.raises(errors.GatewayError) as caught:
        await house.submit()
    assert caught.value.retry_after == wait


async def test_a_refused_request_is_not_to_be_sent_later(house: House) -> None:
    house.site.fail("create", Refusal("InvalidParameter", headers={"Retry-After": "7"}))
    with pytest.raises(errors.UpstreamRefusedParameter) as caught:
        await house.submit()
    assert caught.value.retry_after is None


@pytest.mark.parametrize("operation", ["create", "get", "list", "cancel", "policy"])
@pytest.mark.parametrize("code", ["InvalidApiKey", "InvalidParameter", "InternalError", "NewOne"])
async def test_no_key_is_in_any_word_of_an_error(house: House, operation: str, code: str) -> None:
    job = await house.submit()
    house.site.fail(operation, Refusal(code, f"the key {KEY} is not good", status=SAYS.get(code, (401, ""))[0]))
    always = house.with_options(uploads="always")
    calls = {
        "create": lambda: house.submit(),
        "get": lambda: house.poll(job),
        "list": lambda: house.upstream.probe(house.account),
        "cancel": lambda: house.upstream.cancel(job, house.account),
        "policy": lambda: always.submit("wan2.7-i2v", kind="i2v", inputs=pictures("image")),
    }
    try:
        await calls[operation]()
    except errors.GatewayError as error:
        no_secret_in(error)
    else:
        assert (operation, code) == ("cancel", "InvalidParameter"), "the only no that is no error"


# --- probes ---


async def test_a_probe_spends_nothing(house: House) -> None:
    await house.upstream.probe(house.account)
    assert house.site.lists == [{"page_no": "1", "page_size": "1"}]
    assert [seen.operation for seen in house.site.requests] == ["list"]
    with pytest.raises(errors.CredentialRejected):
        await house.upstream.probe(replace(house.account, credential="sk-somebody-else"))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Raw(200, b"<html>hello</html>"), errors.UpstreamGarbled),
        (Raw(200, b"<html>Just a moment...</html>"), errors.Challenged),
        (Raw(403, b"<html>denied</html>"), errors.Challenged),
        (Raw(200, b"half of {", "application/json"), errors.UpstreamGarbled),
        (Raw(200, b"[]", "application/json"), errors.UpstreamGarbled),
        (Refusal("Arrearage"), errors.BalanceExhausted),
        (Refusal("Throttling.BurstRate"), errors.RateLimited),
        (Refusal("InvalidApiKey", status=200), errors.CredentialRejected),
    ],
)
async def test_a_probe_says_what_is_wrong(house: House, fault: Any, kind: type[errors.GatewayError]) -> None:
    house.site.fail("list", fault)
    with pytest.raises(errors.GatewayError) as caught:
        await house.upstream.probe(house.account)
    assert type(caught.value) is kind


def test_options_are_checked() -> None:
    for wrong in ({"uploads": "sometimes"}, {"image_tasks": "perhaps"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DashScopeOptions.model_validate(wrong)
    with pytest.raises(ValueError, match="workspace"):
        DashScope.account_options_model.model_validate({"workspace": "a\r\nb"})
