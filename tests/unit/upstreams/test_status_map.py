"""What three providers say, cell by cell: how a task stands; the class and status of a no, and what the pool does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.verdict import (
    UNKNOWN_RESET,
    Exhaust,
    LowerSlots,
    ModelOff,
    Nothing,
    Park,
    Reject,
    Rest,
    Strike,
    verdict,
)
from gateway.types import Job, JobUpdate
from gateway.upstreams import types
from tests.emulators import ark as ark_site
from tests.emulators import dashscope as dashscope_site
from tests.emulators import ima as ima_site
from tests.unit.upstreams import ark_rig, dashscope_rig, ima_rig

pytestmark = pytest.mark.anyio

A, D, I = ark_site.Refusal, dashscope_site.Refusal, ima_site.Refusal  # noqa: E741 - the three, one beside the other
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


@dataclass(frozen=True)
class Meaning:
    """What a no means to us."""

    kind: type[errors.GatewayError]
    status: int
    """Of the answer to the caller."""
    code: str
    elsewhere: bool
    """Whether another account is tried."""
    verdict: type[object]
    """What the pool does about the account."""


MEANINGS = {
    "auth_invalid": Meaning(errors.CredentialRejected, 502, "upstream_credential_rejected", True, Reject),
    "model_not_enabled": Meaning(errors.ModelNotEnabled, 502, "upstream_model_not_enabled", True, ModelOff),
    "model_not_found": Meaning(errors.ModelNotFound, 404, "model_not_found", False, Nothing),
    "billing_insufficient": Meaning(errors.BalanceExhausted, 402, "upstream_balance_exhausted", True, Exhaust),
    "quota_exhausted": Meaning(errors.QuotaExhausted, 429, "insufficient_quota", True, Exhaust),
    "rate_limited": Meaning(errors.RateLimited, 429, "upstream_rate_limited", True, Rest),
    "concurrency_limited": Meaning(errors.ConcurrencyLimited, 429, "upstream_concurrency_limited", True, LowerSlots),
    "content_moderated": Meaning(errors.ContentRefused, 400, "content_policy_violation", False, Nothing),
    "invalid_parameter": Meaning(errors.UpstreamRefusedParameter, 400, "invalid_parameter", False, Nothing),
    "too_large": Meaning(errors.TooLarge, 413, "request_too_large", False, Nothing),
    "input_unreachable": Meaning(errors.InputUnreachable, 400, "input_unreachable", False, Nothing),
    "adapter_contract": Meaning(errors.AdapterContract, 502, "adapter_contract", False, Nothing),
    "upstream_transient": Meaning(errors.UpstreamFailed, 502, "upstream_failed", True, Strike),
    "upstream_timeout": Meaning(errors.UpstreamTimeout, 504, "upstream_timeout", True, Strike),
    "upstream_invalid_response": Meaning(errors.UpstreamGarbled, 502, "bad_upstream_response", True, Strike),
    "upstream_challenge": Meaning(errors.Challenged, 503, "upstream_challenge", True, Park),
}

SAID: dict[str, dict[str, tuple[Any, ...]]] = {
    "dashscope": {
        "auth_invalid": (D("InvalidApiKey"),),
        "model_not_enabled": (D("AccessDenied"), D("AccessDenied.Unpurchased")),
        "model_not_found": (D("ModelNotFound"), D("Model.NotExist")),
        "billing_insufficient": (D("Arrearage"),),
        "quota_exhausted": (D("AllocationQuota.FreeTierOnly"), D("insufficient_quota")),
        "rate_limited": (
            D("Throttling"), D("Throttling.RateQuota"), D("Throttling.AllocationQuota"), D("limit_requests"),
        ),
        "concurrency_limited": (D("Throttling", "Too many concurrent tasks, please try again later."),),
        "content_moderated": (
            D("DataInspectionFailed"), D("DataInspectionFailed", "Output data may contain inappropriate content."),
        ),
        "invalid_parameter": (
            D("InvalidParameter"), D("InvalidParameter.WrongSize", "size is wrong"), D("BadRequest.TooLarge"),
        ),
        "too_large": (D("InvalidParameter", "the body is too large", status=413),),
        "input_unreachable": (D("InvalidURL"), D("InvalidParameter.DataInspection")),
        "adapter_contract": (D("AccessDenied", "current user api does not support synchronous calls."),),
        "upstream_transient": (D("InternalError"), D("InternalError.Algo"), D("ServiceUnavailable")),
        "upstream_timeout": (D("InternalError.Timeout"), D("SomethingNew", "no", status=504)),
        "upstream_invalid_response": (dashscope_site.Raw(200, b"{", "application/json"),),
        "upstream_challenge": (dashscope_site.Raw(403, HTML),),
    },
    "ark": {
        "auth_invalid": (A("AuthenticationError"), A("InvalidAccountStatus")),
        "model_not_enabled": (
            A("ModelNotOpen"), A("AccessDenied"), A("OperationDenied.ServiceNotOpen"), A("UnsupportedModel"),
            A("InvalidEndpointOrModel.ModelIDAccessDisabled"), A("InvalidEndpoint.ClosedEndpoint"),
        ),
        "model_not_found": (A("InvalidEndpointOrModel.NotFound"),),
        "billing_insufficient": (
            A("AccountOverdueError"), A("OperationDenied.ServiceOverdue"), A("SetLimitExceeded"),
        ),
        "quota_exhausted": (A("QuotaExceeded", ark_site.FREE_TRIAL),),
        "rate_limited": (
            A("RateLimitExceeded.EndpointRPMExceeded"), A("ModelAccountRpmRateLimitExceeded"),
            A("ModelAccountTpmRateLimitExceeded", status=429), A("ModelAccountIpmRateLimitExceeded", status=429),
            A("RequestBurstTooFast"),
        ),
        "concurrency_limited": (A("InflightBatchsizeExceeded"), A("QuotaExceeded")),
        "content_moderated": (
            A("SensitiveContentDetected"), A("InputTextSensitiveContentDetected"), A("InputImageRiskDetection"),
            A("InputImageSensitiveContentDetected.PrivacyInformation"), A("OutputVideoSensitiveContentDetected"),
        ),
        "invalid_parameter": (
            A("MissingParameter"), A("MissingParameter.prompt"), A("InvalidParameter"),
            A("InvalidParameter.OversizedImage"),
        ),
        "input_unreachable": (A("InvalidParameter", "Error while downloading: https://example.com/a.png"),),
        "upstream_transient": (
            A("InternalServiceError"), A("ServerOverloaded"), A("ModelLoadingError"),
            A("ContentSecurityDetectionError"),
        ),
        "upstream_timeout": (ark_site.Raw(504),),
        "upstream_invalid_response": (ark_site.Raw(200, b"{", "application/json"),),
        "upstream_challenge": (ark_site.Raw(403, HTML),),
    },
    "ima": {
        "auth_invalid": (I(401), I(401, status=401)),
        "model_not_enabled": (I(4014),),
        "billing_insufficient": (I(4008),),
        "rate_limited": (I(429), I(429, status=429)),
        "content_moderated": (I(400, "the prompt violates the content policy"), I(500, "moderation refused it")),
        "invalid_parameter": (I(400, "Invalid value for size"),),
        "input_unreachable": (I(400, "could not download the image"),),
        "adapter_contract": (I(6006), I(6009), I(6010), I(400017), I(400, "Invalid product attribute")),
        "upstream_transient": (I(500), I(503), I(500, status=500)),
        "upstream_timeout": (ima_site.Raw(504),),
        "upstream_invalid_response": (ima_site.Raw(200, b'{"code":0,"data":{}}', "application/json"),),
        "upstream_challenge": (ima_site.Raw(403, HTML),),
    },
}  # fmt: skip
"""All that each is known to say, by what it means. Of two meanings the words of a request's own fields settle in other
tests: a product that is gone, and a control that is not mapped."""


# --- the three ---


@dataclass(frozen=True)
class House:
    fail: Callable[..., None]
    submit: Callable[[], Awaitable[Job]]
    poll: Callable[[Job], Awaitable[JobUpdate]]


@asynccontextmanager
async def living(provider: str) -> AsyncIterator[House]:
    if provider == "dashscope":
        async with dashscope_rig.living() as there:
            yield House(there.site.fail, there.submit, there.poll)
    elif provider == "ark":
        async with ark_rig.living() as here:
            yield House(here.site.fail, here.submit, here.poll)
    else:
        async with ima_rig.living() as house:
            yield House(house.site.fail, lambda: house.submit(ima_rig.film()), house.poll)


@pytest.mark.parametrize(("provider", "meaning"), [(name, meaning) for name in SAID for meaning in SAID[name]])
async def test_a_no_means_what_the_map_says(provider: str, meaning: str) -> None:
    for said in SAID[provider][meaning]:
        async with living(provider) as house:
            house.fail("create", said, said)  # what is stale is asked for anew once
            with pytest.raises(errors.GatewayError) as caught:
                await house.submit()
        error, wanted = caught.value, MEANINGS[meaning]
        assert isinstance(error, wanted.kind), getattr(said, "code", said)
        met = Meaning(wanted.kind, error.status, error.code, error.elsewhere, type(verdict(error)))
        assert met == wanted, getattr(said, "code", said)


def test_a_balance_rests_all_kinds_and_a_quota_one() -> None:
    assert verdict(errors.BalanceExhausted()) == Exhaust("all", UNKNOWN_RESET)
    assert verdict(errors.QuotaExhausted(retry_after=60)) == Exhaust("kind", 60)


# --- how a task stands ---


def dashscope_told(word: str) -> Any:
    output = {"task_id": "t", "task_status": word} | (
        {"video_url": "https://a.example/v.mp4"} if "SUCC" in word else {}
    )
    return dashscope_site.Raw(200, json.dumps({"output": output}).encode(), "application/json")


def ark_told(word: str) -> Any:
    content = {"content": {"video_url": "https://a.example/v.mp4"}} if word == "succeeded" else {}
    record = {"id": "t", "model": ark_site.PRO, "status": word, **content}
    return ark_site.Raw(200, json.dumps(record).encode(), "application/json")


def ima_told(*medias: tuple[int | None, str]) -> Any:
    told = [{"resource_status": number, "status": word, "url": "https://a.example/v"} for number, word in medias]
    return ima_site.Raw(200, json.dumps({"code": 0, "data": {"medias": told}}).encode(), "application/json")


STATES: dict[str, tuple[tuple[Any, str], ...]] = {
    "dashscope": (
        (dashscope_told("PENDING"), "queued"),
        (dashscope_told("RUNNING"), "running"),
        (dashscope_told("SUSPENDED"), "running"),
        (dashscope_told("SUCCEEDED"), "succeeded"),
        (dashscope_told("FAILED"), "failed"),
        (dashscope_told("CANCELED"), "cancelled"),
        (dashscope_told("UNKNOWN"), "lost"),
    ),
    "ark": (
        (ark_told("queued"), "queued"),
        (ark_told("running"), "running"),
        (ark_told("succeeded"), "succeeded"),
        (ark_told("failed"), "failed"),
        (ark_told("cancelled"), "cancelled"),
        (ark_told("expired"), "expired"),
        (A("NotFound.Task"), "lost"),
        (A("NotFound", "The specified task is not found.", status=404), "lost"),
    ),
    "ima": (
        (ima_told((None, "pending")), "queued"),
        (ima_told((0, "pending")), "queued"),
        (ima_told((None, "processing")), "running"),
        (ima_told((0, "processing")), "running"),
        (ima_told((1, "success")), "succeeded"),
        (ima_told((1, "success"), (0, "processing")), "running"),
        (ima_told((1, "success"), (1, "success")), "succeeded"),
        (ima_told((1, "failed")), "failed"),
        (ima_told((1, "success"), (0, "failed")), "failed"),
        (ima_told((2, "success")), "failed"),
        (ima_told((3, "success")), "failed"),
    ),
}


@pytest.mark.parametrize("provider", STATES)
async def test_a_word_for_a_task_is_the_state_of_the_map(provider: str) -> None:
    operation = "detail" if provider == "ima" else "get"
    async with living(provider) as house:
        job = await house.submit()
        for told, state in STATES[provider]:
            house.fail(operation, told)
            if state == "lost":
                with pytest.raises(errors.JobLost) as caught:
                    await house.poll(job)
                assert verdict(caught.value) == Nothing()
                continue
            update = await house.poll(job)
            assert update.state == state, told
            assert bool(update.media) is (state == "succeeded")


# --- who can be stopped ---


@pytest.mark.parametrize(
    ("provider", "stops", "finds"), [("dashscope", True, True), ("ark", True, True), ("ima", False, False)]
)
def test_what_cannot_be_cancelled_or_found_says_so(provider: str, stops: bool, finds: bool) -> None:
    can = types()[provider].operations()
    assert ("cancel" in can, "find" in can) == (stops, finds)
