"""How the vendor says no, and what else can go wrong."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

SAYS: dict[str, tuple[int, str]] = {
    "InvalidApiKey": (401, "Invalid API-key provided."),
    "invalid_api_key": (401, "Incorrect API key provided."),
    "AccessDenied": (403, "Access denied."),
    "AccessDenied.Unpurchased": (403, "Access to model denied. Please make sure you are eligible for using the model."),
    "Model.AccessDenied": (403, "Model access denied."),
    "Arrearage": (400, "Access denied, please make sure your account is in good standing."),
    "AllocationQuota.FreeTierOnly": (403, "The free tier of the model has been exhausted."),
    "insufficient_quota": (429, "You exceeded your current quota, please check your plan and billing details."),
    "Throttling": (429, "Requests throttling triggered."),
    "Throttling.RateQuota": (429, "Requests rate limit exceeded, please try again later."),
    "Throttling.BurstRate": (429, "Request rate increased too quickly."),
    "Throttling.AllocationQuota": (429, "Allocated quota exceeded, please increase your quota limit."),
    "limit_requests": (429, "You exceeded your current requests list."),
    "DataInspectionFailed": (400, "Input data may contain inappropriate content."),
    "data_inspection_failed": (400, "Input text data may contain inappropriate content."),
    "IPInfringementSuspect": (400, "The output may infringe intellectual property."),
    "InvalidParameter": (400, "Required parameter(s) missing or invalid, please check the request parameters."),
    "InvalidParameter.DataInspection": (400, "Unable to download the media resource during the data inspection."),
    "InvalidURL": (400, "The request URL is invalid, please check the url is correct."),
    "BadRequest.TooLarge": (400, "Payload Too Large"),
    "BadRequest.InputDownloadFailed": (400, "Failed to download the input file."),
    "UnsupportedOperation": (400, "Failed to cancel the task, please confirm if the task is in PENDING status."),
    "ModelNotFound": (404, "Model can not be found."),
    "Model.NotExist": (404, "Model not exist."),
    "model_not_found": (404, "The model does not exist or you do not have access to it."),
    "InternalError": (500, "An internal error has occured, please try again later."),
    "InternalError.Algo": (500, "inference internal error"),
    "InternalError.Timeout": (500, "The inference timed out."),
    "ServiceUnavailable": (503, "Service is unavailable."),
    "ModelUnavailable": (503, "Model is unavailable, please try again later."),
}
"""Codes of the vendor with the status they come with and what they say."""
NOT_AT_ONCE = "current user api does not support synchronous calls."
NOT_BY_TASK = "current user api does not support asynchronous calls."


class Refusal(Exception):
    """The vendor's no."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known = SAYS.get(code, (400, ""))
        self.code = code
        self.status, self.message = status or known[0], message or known[1]
        self.headers = dict(headers or {})

    def response(self, *, dialect: bool = False) -> Response:
        """In the vendor's own shape, or in that of the OpenAI dialect."""
        request_id = secrets.token_hex(16)
        body: dict[str, object] = {"code": self.code, "message": self.message, "request_id": request_id}
        if dialect:
            error = {"message": self.message, "type": self.code, "param": None, "code": self.code}
            body = {"error": error, "request_id": request_id}
        return JSONResponse(body, self.status, self.headers)


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


def invalid(param: str, why: str) -> Refusal:
    return Refusal("InvalidParameter", f"{param} is invalid: {why}.")
