"""Each code of the vendor's means the same wherever it comes: in a chat, for an image, for a video, in a record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway import errors
from gateway.upstreams.ark import failures
from tests.emulators.ark import FOUR_FIVE, FREE_TRIAL, SAYS, Plan, Refusal
from tests.unit.upstreams.ark_rig import House, living

pytestmark = pytest.mark.anyio

CELLS: dict[type[errors.GatewayError], tuple[str, ...]] = {
    errors.CredentialRejected: ("AuthenticationError", "InvalidApiKey", "InvalidAccountStatus"),
    errors.BalanceExhausted: ("AccountOverdueError", "OperationDenied.ServiceOverdue", "SetLimitExceeded"),
    errors.ModelNotEnabled: (
        "AccessDenied",
        "OperationDenied.ServiceNotOpen",
        "OperationDenied.PermissionDenied",
        "ModelNotOpen",
        "UnsupportedModel",
        "InvalidEndpointOrModel.ModelIDAccessDisabled",
        "InvalidEndpoint.ClosedEndpoint",
    ),
    errors.ModelNotFound: ("InvalidEndpointOrModel.NotFound",),
    errors.UpstreamRefusedParameter: (
        "MissingParameter",
        "MissingParameter.prompt",
        "InvalidParameter",
        "InvalidParameter.OversizedImage",
        "InvalidParameter.UnsupportedImageFormat",
        "InvalidParameter.TaskTypeConstraint",
    ),
    errors.ContentRefused: (
        "SensitiveContentDetected",
        "SensitiveContentDetected.SevereViolation",
        "InputTextSensitiveContentDetected",
        "InputImageSensitiveContentDetected.PrivacyInformation",
        "InputVideoSensitiveContentDetected.PolicyViolation",
        "InputAudioSensitiveContentDetected",
        "InputTextRiskDetection",
        "InputImageRiskDetection",
        "OutputTextSensitiveContentDetected",
        "OutputImageSensitiveContentDetected",
        "OutputVideoSensitiveContentDetected.PolicyViolation",
        "OutputImageRiskDetection",
    ),
    errors.RateLimited: (
        "RateLimitExceeded.EndpointRPMExceeded",
        "RateLimitExceeded.EndpointTPMExceeded",
        "ModelAccountRpmRateLimitExceeded",
        "ModelAccountTpmRateLimitExceeded",
        "ModelAccountIpmRateLimitExceeded",
        "APIAccountRpmRateLimitExceeded",
        "AccountRateLimitExceeded",
        "RequestBurstTooFast",
    ),
    errors.ConcurrencyLimited: ("InflightBatchsizeExceeded", "QuotaExceeded"),
    errors.QuotaExhausted: ("AccountQuotaExceeded",),
    errors.UpstreamFailed: (
        "ContentSecurityDetectionError",
        "ServerOverloaded",
        "ModelLoadingError",
        "InternalServiceError",
    ),
}
ODD = {"InvalidApiKey": 401}
"""Statuses of those that the emulator does not know; 429 for what limits, else 400."""
Ask = Callable[[House], Awaitable[Any]]
PATHS: dict[str, tuple[Any, Ask]] = {
    "chat": ("chat", lambda house: house.say(stream=False)),
    "streamed chat": ("chat", lambda house: house.say()),
    "image": ("image", lambda house: house.paint(FOUR_FIVE)),
    "set": ("image", lambda house: house.paint(FOUR_FIVE, params={"sequential_image_generation": "auto"})),
    "video": ("create", lambda house: house.submit()),
}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with living() as house:
        yield house


def refusal(code: str, message: str = "") -> Refusal:
    status = ODD.get(code) or (429 if "Limit" in code else 400)
    return Refusal(code, message, status=0 if code in SAYS else status)


@pytest.mark.parametrize("path", PATHS)
async def test_a_code_means_what_it_means(house: House, path: str) -> None:
    operation, ask = PATHS[path]
    for kind, codes in CELLS.items():
        for code in codes:
            house.site.fail(operation, refusal(code))
            with pytest.raises(errors.GatewayError) as caught:
                await ask(house)
            sent = "unknown" if code == "InternalServiceError" else "no"
            assert (code, type(caught.value), caught.value.sent) == (code, kind, sent)
            assert code.lower() in (caught.value.detail or "")
            again = "another try" in (caught.value.advice or "")
            assert again is code.startswith("Output"), code


@pytest.mark.parametrize("path", PATHS)
async def test_one_code_for_quotas_means_three_things(house: House, path: str) -> None:
    operation, ask = PATHS[path]
    for message, kind in (
        (FREE_TRIAL, errors.QuotaExhausted),
        ("You have exceeded the weekly usage quota. It will reset at 2026-12-01.", errors.QuotaExhausted),
        ("The request has exceeded the quota.", errors.ConcurrencyLimited),
    ):
        house.site.fail(operation, Refusal("QuotaExceeded", message))
        with pytest.raises(errors.GatewayError) as caught:
            await ask(house)
        assert type(caught.value) is kind


@pytest.mark.parametrize("path", PATHS)
async def test_an_image_that_could_not_be_fetched_is_the_caller_s(house: House, path: str) -> None:
    operation, ask = PATHS[path]
    house.site.fail(operation, Refusal("InvalidParameter", "Error while downloading: https://example.com/a.png"))
    with pytest.raises(errors.InputUnreachable):
        await ask(house)


async def test_a_job_that_failed_says_it_in_the_same_words(house: House) -> None:
    for kind, codes in CELLS.items():
        expected = errors.GenerationFailed if issubclass(kind, errors.UpstreamError) else kind
        for code in codes:
            assert type(failures.of_job(failures.Trouble(code, "no"), "")) is expected, code
    house.site.plan = Plan(queued=0, running=0, ends="failed", error=("OutputVideoSensitiveContentDetected", "no"))
    update = await house.poll(await house.submit())
    assert (update.state, type(update.error)) == ("failed", errors.ContentRefused)
