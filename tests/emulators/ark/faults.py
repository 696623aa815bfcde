"""How the vendor says no, and what else can go wrong."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

SAYS: dict[str, tuple[int, str]] = {
    "AuthenticationError": (401, "The API key or AK/SK in the request is missing or invalid."),
    "InvalidAccountStatus": (401, "There is an issue with your account status."),
    "AccountOverdueError": (403, "The request failed because your account has an overdue balance."),
    "AccessDenied": (403, "The request failed because you do not have access to the requested resource."),
    "OperationDenied.ServiceNotOpen": (403, "Operation is denied because the model service is unavailable."),
    "OperationDenied.PermissionDenied": (403, "Operation is denied because you are not permitted."),
    "OperationDenied.ServiceOverdue": (403, "Operation is denied because your account balance is overdue."),
    "ModelNotOpen": (404, "Your account 2100000001 has not activated the model."),
    "UnsupportedModel": (404, "The requested model does not support the coding plan feature."),
    "InvalidEndpointOrModel.ModelIDAccessDisabled": (404, "Accessing the model via Model ID is not allowed."),
    "InvalidEndpointOrModel.NotFound": (404, "The model or endpoint does not exist or you do not have access to it."),
    "InvalidEndpoint.ClosedEndpoint": (400, "The request targeted an endpoint that is currently closed."),
    "MissingParameter": (400, "The request failed because it is missing one or multiple required parameters."),
    "InvalidParameter": (400, "One or more parameters specified in the request are not valid."),
    "InvalidParameter.OversizedImage": (400, "The image is too large."),
    "InvalidParameter.TaskTypeConstraint": (400, "The task type does not go with the parameters."),
    "SensitiveContentDetected": (400, "The request failed because the input text may contain sensitive information."),
    "InputTextSensitiveContentDetected": (400, "The request failed because the input text may be sensitive."),
    "InputImageSensitiveContentDetected.PrivacyInformation": (400, "The input image may contain real person."),
    "InputImageRiskDetection": (400, "The request could not be processed: the input image includes sensitive content."),
    "OutputVideoSensitiveContentDetected": (400, "The request failed because the output video may be sensitive."),
    "OutputVideoSensitiveContentDetected.PolicyViolation": (400, "The output video may be copyrighted."),
    "ContentSecurityDetectionError": (400, "Internal error."),
    "RateLimitExceeded.EndpointRPMExceeded": (429, "The Requests Per Minute (RPM) limit has been exceeded."),
    "ModelAccountRpmRateLimitExceeded": (429, "RPM (Requests Per Minute) limit of the model is exceeded."),
    "APIAccountRpmRateLimitExceeded": (429, "The RPM limit for the API on your account has been exceeded."),
    "AccountRateLimitExceeded": (429, "Requests are too frequent."),
    "RequestBurstTooFast": (429, "System protection triggered by request burst."),
    "InflightBatchsizeExceeded": (429, "The Inflight Batchsize limit has been exceeded."),
    "QuotaExceeded": (429, "The request has exceeded the quota."),
    "AccountQuotaExceeded": (429, "You have exceeded the weekly usage quota."),
    "SetLimitExceeded": (429, "Your account has reached the set inference limit for the model."),
    "ServerOverloaded": (429, "The service is currently unable to handle additional requests due to server overload."),
    "ModelLoadingError": (429, "The model is being loaded."),
    "InternalServiceError": (500, "The service encountered an unexpected internal error."),
    "NotFound.Task": (404, "The specified task is not found."),
    "OperationDenied.UnsupportedPhase": (403, "Operation is denied because it is not supported in its phase."),
}
"""Codes of the vendor with the status they come with and what they say."""
PLAN = "You have exceeded the {window} usage quota. It will reset at {at} +0800 CST. We recommend upgrading your plan."
FREE_TRIAL = "Your account [2100000001] has exhausted its free trial quota for the [seedance] model."
TYPES = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 429: "TooManyRequests"}


class Refusal(Exception):
    """The vendor's no."""

    def __init__(
        self,
        code: str,
        message: str = "",
        param: str = "",
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known = SAYS.get(code, (400, ""))
        self.code, self.param = code, param
        self.status, self.message = status or known[0], message or known[1]
        self.headers = dict(headers or {})

    def response(self) -> Response:
        request_id = f"0217{secrets.token_hex(24)}"
        error = {
            "code": self.code,
            "message": f"{self.message} Request id: {request_id}",
            "param": self.param,
            "type": TYPES.get(self.status, "InternalServerError"),
        }
        return JSONResponse({"error": error}, self.status, {"X-Request-Id": request_id, **self.headers})


@dataclass(frozen=True)
class Cut:
    """An RST. `done`: what was asked for is done first, and only the reply is lost."""

    done: bool = False


@dataclass(frozen=True)
class Slow:
    """The answer comes after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Raw:
    """This, and nothing is done."""

    status: int = 200
    body: bytes = b"<html><body>Bad gateway</body></html>"
    mime: str = "text/html"
    headers: Mapping[str, str] | None = None


Fault = Refusal | Cut | Slow | Raw


def invalid(param: str, why: str, code: str = "InvalidParameter") -> Refusal:
    return Refusal(code, f"The parameter `{param}` specified in the request is not valid: {why}.", param)
